"""The store of worker processes that have none: nobody else's, and gone with whoever started it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from realtime import valkey
from realtime.valkey import Valkey
from support.tools import ROOT

#: Seconds after which a wait has failed.
LONG = 30.0


@pytest.fixture
def store() -> Iterator[Valkey]:
    store = Valkey()
    yield store
    store.stop()


def test_nobody_else_gets_in_and_nothing_is_written(store: Valkey) -> None:
    """No port, a socket for its owner in a folder of its owner's, and memory alone. It is another session: what a
    terminal sends is not for it.
    """
    path = Path(store.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with redis.Redis(unix_socket_path=str(path)) as client:
        said = {name: client.config_get(name)[name] for name in ("port", "save", "appendonly", "dir")}
        assert said == {"port": "0", "save": "", "appendonly": "no", "dir": str(path.parent)}
    assert os.getsid(store._process.pid) == store._process.pid
    assert store.trouble() is None
    store.stop()
    assert not path.parent.exists()
    assert "ended with -9" in (store.trouble() or "")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Which can do nothing about it any more."""
    code = "import os, signal\nfrom realtime.valkey import Valkey\nstore = Valkey()\n"
    code += "print(store._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}  # its folder stays behind
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, timeout=LONG, check=False)
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):  # gone already
        process = os.pidfd_open(int(done.stdout))
        try:
            assert select.select([process], [], [], LONG)[0], "it runs on"
        finally:
            os.close(process)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_does_not_start_for_a_parent_that_has_gone() -> None:
    """Killed just before it could be told of that."""
    command = [sys.executable, "-I", "-S", "-c", valkey._DIE_WITH_US]
    gone = subprocess.run([*command, "1", "/bin/echo", "here"], capture_output=True, timeout=LONG, check=False)
    assert (gone.returncode, gone.stdout) == (1, b"")
    there = subprocess.run(
        [*command, str(os.getpid()), "/bin/echo", "here"], capture_output=True, timeout=LONG, check=False
    )
    assert (there.returncode, there.stdout) == (0, b"here\n")
