"""``realtime top`` over real servers: one row for each, which goes with it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote, wait_until
from support.viewer import watching

TOKEN = "the-secret-of-a-scraper"


def environ(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return {**clean, **remote.environment(FLASK_REALTIME_METRICS=TOKEN, TERM="xterm-256color", **more)}


def top(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command, once."""
    return subprocess.run(
        remote.realtime("top", *arguments, "--once"), env=environ(**more), capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip


def servers(server: Remote) -> list[dict[str, Any]]:
    """What any of them says of all; nothing of one that is killed meanwhile."""
    try:
        status, text = server.request("GET", "/realtime/v1/servers", headers={"Authorization": f"Bearer {TOKEN}"})
    except (ConnectionError, http.client.HTTPException):
        return []
    assert status == 200, text
    found: list[dict[str, Any]] = json.loads(text)["servers"]
    return found


def address_of_store(pid: int) -> str:
    """Where the store is that a worker uses."""
    settings = dict(
        line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line
    )  # fmt: skip
    return settings["FLASK_REALTIME_REGISTRY"]


def test_each_worker_has_a_row_which_goes_with_it(server_process: StartServer) -> None:
    """Whichever of two is asked: both are shown, with the viewers of each. One is killed, and goes; the one that takes
    its place comes. The store itself says the same without any server's help."""
    server = remote.start(server_process, remote.serve("plain:app", "--workers", "2"), FLASK_REALTIME_METRICS=TOKEN)
    before = wait_until(lambda: servers(server), lambda found: len(found) == 2)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            viewer = stack.enter_context(watching(server.url, "ada"))
        viewer.wait_for_task(server.create("ada"))
        wait_until(lambda: servers(server), lambda found: sum(one["viewers"] for one in found) == 3)
        told = top(server.url, COLUMNS="200")
        assert (told.returncode, told.stderr) == (0, "")
        assert "\x1b" not in told.stdout
        assert all(f":{one['pid']} " in told.stdout for one in before)
        total = told.stdout.splitlines()[-1].split()
        assert total[:3] == ["2", "servers", "3"]
        assert told.stdout.startswith("Tasks in unix  in reach  1 unfinished, 0 finished\n")
        _, text = server.request("GET", "/realtime/v1/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        each = [line for line in text.splitlines() if line.startswith("realtime_server_viewers{")]
        assert len(each) == 2
        assert sum(float(line.rpartition(" ")[2]) for line in each) == 3
    told = top(address_of_store(before[0]["pid"]), "--json")
    assert {one["id"] for one in json.loads(told.stdout)["servers"]} == {one["id"] for one in before}
    killed, stays = before
    os.kill(killed["pid"], signal.SIGKILL)
    after = wait_until(
        lambda: servers(server), lambda found: len(found) == 2 and killed["id"] not in {one["id"] for one in found}
    )  # fmt: skip
    assert stays["id"] in {one["id"] for one in after}


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command in a terminal of 100 columns, and the other end of that."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    process = subprocess.Popen(
        remote.realtime("top", *arguments), env=environ(), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(ours: int, *words: bytes) -> bytes:
    """What is shown, until all words are there in this order."""
    seen, until = b"", time.monotonic() + PATIENCE
    while True:
        at = 0
        for word in words:
            at = seen.find(word, at)
            if at < 0:
                break
        else:
            return seen
        assert time.monotonic() < until, seen
        if select.select([ours], [], [], 1)[0]:
            seen += os.read(ours, 65536)


def read_to_end(ours: int) -> bytes:
    """What is shown until nobody is left to show anything."""
    seen = b""
    with contextlib.suppress(OSError):  # Linux says so of a terminal that nobody holds
        while piece := os.read(ours, 65536):
            seen += piece
    return seen


def test_a_screen_that_is_left_as_it_was(server_process: StartServer) -> None:
    """In a terminal the table stays in one place. A server that goes away is told in a line, while the last table is
    still there; Ctrl-C brings the screen and the cursor back."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_METRICS=TOKEN)
    with terminal(server.url, "--interval", "0.2") as (process, ours):
        shown = read_until(ours, b"\x1b[?1049h", b"memory", b"pushes/s", b":%d" % server.server.pid)
        assert b"\x1b[?1049l" not in shown
        server.server.send_signal(signal.SIGTERM)
        server.server.wait()
        read_until(ours, b"cannot be reached", b"Trying again", b"pushes/s")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        shown = read_to_end(ours)
        assert b"\x1b[?1049l" in shown
        assert b"\x1b[?25h" in shown
        assert b"Traceback" not in shown


def test_a_signal_leaves_the_screen_in_order_too() -> None:
    """Also where nothing was ever read."""
    with terminal("http://127.0.0.1:1", "--interval", "0.2") as (process, ours):
        read_until(ours, b"\x1b[?1049h", b"cannot be reached")
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        shown = read_to_end(ours)
        assert b"\x1b[?1049l" in shown
        assert b"\x1b[?25h" in shown


def test_into_a_pipe_one_line_after_the_other(server_process: StartServer) -> None:
    """Each is whole and is there at once."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_METRICS=TOKEN)
    command = remote.realtime("top", server.url, "--json", "--interval", "0.2")
    with subprocess.Popen(command, env=environ(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [json.loads(process.stdout.readline())["servers"][0]["pid"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert (pids, process.wait(PATIENCE)) == ([server.server.pid] * 2, 0)
