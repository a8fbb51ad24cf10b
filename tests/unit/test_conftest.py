"""What the other tests lean on: servers that are started and stopped, free ports, and a Python nobody has patched."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import tools
from support.process import StartServer

#: Answers 204 to every GET on the port given, and starts a child that sleeps.
SERVER = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

#: Says how many green threads there are beside a native thread that waits.
THREAD = """
import gc, threading, greenlet
from support import tracing
{mend}
runs, go_on = threading.Event(), threading.Event()
def work():
    runs.set()
    go_on.wait()
thread = threading.Thread(target=work)
thread.start()
runs.wait()
print(sum(isinstance(found, greenlet.greenlet) for found in gc.get_objects()))
go_on.set()
thread.join()
"""


def test_a_server_answers_once_it_is_started(server_process: StartServer) -> None:
    """``server_process`` returns when the server answers, and ``stop`` gives its exit code."""
    server = server_process(["python", "-c", SERVER, "{port}"])
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.returncode is None
    assert server.stop() == -signal.SIGTERM


def test_what_a_server_started_ends_with_it(server_process: StartServer) -> None:
    """Killing a server ends its children too."""
    server = server_process(["python", "-c", SERVER, "{port}"])
    child = int(server.wait_for_output(r"child (\d+)")[1])
    handle = os.pidfd_open(child)
    try:
        server.kill()
        readable, _, _ = select.select([handle], [], [], 10)  # as the handle of an ended process is
        assert readable
    finally:
        os.close(handle)


def test_a_server_that_ends_at_its_start_is_told_with_its_log(server_process: StartServer) -> None:
    """The reason is in the failure, at once and not after a time-out."""
    with pytest.raises(AssertionError, match=r"no such port(?s:.*)ended with 3"):
        server_process(["python", "-c", "import sys; print('no such port'); sys.exit(3)"])


def test_a_traceback_or_a_warning_in_a_log_is_a_problem(server_process: StartServer) -> None:
    """Warnings are errors in servers too, but for eventlet's word that it is deprecated."""
    code = "import eventlet, warnings; warnings.warn('old'); 1 / 0"
    server = server_process(["python", "-c", code], ready=None, noisy=True)
    assert server.wait() == 1
    traceback, warning = server.problems()
    assert "ZeroDivisionError" in traceback
    assert warning.endswith("UserWarning: old")
    assert "EventletDeprecationWarning" in server.output()


@pytest.mark.parametrize(("spared", "states"), [(False, 2), (True, 1)])
def test_coverage_leaves_no_green_thread_behind_native_ones(spared: bool, states: int, tmp_path: Path) -> None:
    """Measured as our servers are, a native thread has none; without our doing it would have one."""
    (tmp_path / "program.py").write_text(THREAD.format(mend="tracing.spare_native_threads()" if spared else ""))
    command = [sys.executable, "-m", "coverage", "run", "--concurrency=thread,greenlet", "program.py"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    env["PYTHONPATH"] = str(tools.ROOT / "tests")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{states}\n"


def test_a_free_port_can_be_bound(free_port: Callable[[], int]) -> None:
    """A port that is taken is not handed out."""
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert port not in {free_port() for _ in range(100)}


def test_a_missing_tool_skips_on_a_desk_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With ``CI`` set a test that needs Chromium never skips."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        tools.find_chromium()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        tools.find_chromium()


def test_a_test_that_patches_this_process_fails(tmp_path: Path) -> None:
    """Were a test to monkey-patch the process that runs the tests, it would be told by name."""
    (tmp_path / "test_patching.py").write_text("import gevent.monkey\ndef test_it():\n    gevent.monkey.patch_time()\n")
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "."]
    env = {**os.environ, "PYTHONPATH": str(tools.ROOT / "tests")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "patched in the test process: sleep" in done.stdout
    assert done.returncode == 1
