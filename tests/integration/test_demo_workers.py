"""``realtime demo --workers 2``: the demo over two processes, whichever of them is asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from realtime.demo_worker import PARTS
from support import remote
from support.process import ServerProcess, StartServer
from support.remote import PATIENCE, wait_until
from support.tools import ROOT
from support.viewer import Viewer

pytestmark = pytest.mark.timeout(300)


class Connection(http.client.HTTPConnection):
    """One connection to one of the processes. It keeps its cookies."""

    def __init__(self, port: int, cookies: dict[str, str]) -> None:
        super().__init__("127.0.0.1", port, timeout=PATIENCE)
        self.cookies = cookies

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Status and body of an answer, which is read as JSON if it is."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.putrequest(method, path)
        if cookie:
            self.putheader("Cookie", cookie)
        self.putheader("Content-Length", str(len(body)))
        self.endheaders(body)
        answer = self.getresponse()
        text = answer.read().decode()
        for given in answer.headers.get_all("Set-Cookie", []):
            name, _, value = given.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, json.loads(text) if answer.headers.get_content_type() == "application/json" else text


class Pair:
    """The demo, and its two processes."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.pids = [pid for pid in children_of(server.pid) if "demo" in command_of(pid)]

    def holder(self, port: int) -> int:
        """Which of them holds the connection that comes from a port."""
        server = f"0100007F:{self.server.port:04X} 0100007F:{port:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        [inode] = [line.split()[9] for line in lines if " ".join(line.split()[1:3]) == server]
        [holder] = [pid for pid in self.pids if f"socket:[{inode}]" in descriptors_of(pid)]
        return holder

    def connect(self, stack: ExitStack, cookies: dict[str, str]) -> dict[int, Connection]:
        """A connection to each of them, by process."""
        found: dict[int, Connection] = {}
        for _ in range(64):  # the kernel deals them out
            connection = stack.enter_context(closing(Connection(self.server.port, cookies)))
            assert connection.ask("GET", "/")[0] == 200
            found.setdefault(self.holder(connection.sock.getsockname()[1]), connection)
            if len(found) == len(self.pids):
                return found
        raise AssertionError(f"only {list(found)} of {self.pids} have answered")

    def watch(self, stack: ExitStack, ticket: str) -> dict[int, Viewer]:
        """A viewer on each of them, by process."""
        found: dict[int, Viewer] = {}
        for _ in range(64):
            viewer = Viewer(self.server.url)
            stack.callback(viewer.close)
            viewer.connect(auth={"ticket": ticket})
            found.setdefault(self.holder(viewer.client.eio.ws.sock.getsockname()[1]), viewer)
            if len(found) == len(self.pids):
                return found
        raise AssertionError(f"only {list(found)} of {self.pids} have a viewer")


def children_of(parent: int) -> list[int]:
    """Also those of its threads."""
    found: list[int] = []
    for thread in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
            found += map(int, (thread / "children").read_text().split())
    return found


def command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def descriptors_of(pid: int) -> list[str]:
    found: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # one that was closed meanwhile
            found.append(str(link.readlink()))
    return found


def start(start_server: StartServer) -> Pair:
    command = remote.realtime("demo", "--port", "{port}", "--workers", "2")
    server = start_server(command, env={"PYTHONPATH": str(ROOT)}, ready=None)
    said = server.wait_for_output("^The demo runs at (.*)$", timeout=60)[1]
    assert said == f"{server.url}/  (2 processes and a Valkey that they share; Ctrl-C stops them)"
    pair = Pair(server)
    assert len(pair.pids) == 2
    return pair


@pytest.fixture(scope="module")
def pair(module_servers: StartServer) -> Pair:
    return start(module_servers)


def test_a_job_of_one_process_is_seen_on_the_other(pair: Pair) -> None:
    """The page comes from both; viewers of both see the job move and end."""
    with ExitStack() as stack:
        asked = list(pair.connect(stack, {}).values())
        assert ["Ada sees" in connection.ask("GET", "/")[1] for connection in asked] == [True, True]
        viewers = pair.watch(stack, asked[0].ask("GET", "/tickets/ada.json")[1]["ticket"])
        customers = asked[0].ask("GET", "/samples/customers.csv")[1].encode()
        status, task = asked[1].ask("POST", "/jobs/import?as=ada", customers)
        assert status == 202
        for viewer in viewers.values():
            viewer.wait_for_task(task["task_id"], status="completed", current=500)
            places = [payload["progress"]["current"] or 0 for _, payload in viewer.heard_of(task["task_id"])]
            assert places == sorted(places)
            assert len(set(places)) >= 3


def test_a_kill_reaches_the_worker_from_the_other_process(pair: Pair) -> None:
    """It is asked of the one that has not started it. A stranger is refused by both. The page is told of the loss."""
    first, second = pair.pids
    with ExitStack() as stack:
        mine: dict[str, str] = {}
        theirs: dict[str, str] = {}
        visitor, stranger = pair.connect(stack, mine), pair.connect(stack, theirs)
        assert mine != theirs
        viewers = pair.watch(stack, visitor[first].ask("GET", "/tickets/ada.json")[1]["ticket"])
        status, task = visitor[first].ask("POST", "/worker?as=ada")
        assert status == 202
        assert children_of(second) == []
        [worker] = children_of(first)
        assert visitor[second].ask("POST", "/worker?as=ada")[0] == 409
        viewers[second].wait_for(lambda: len(parts_of(viewers[second], task)) == PARTS, "parts")
        assert [stranger[pid].ask("POST", "/worker/kill")[0] for pid in pair.pids] == [409, 409]
        assert is_alive(worker)
        assert visitor[second].ask("POST", "/worker/kill")[0] == 202
        wait_until(lambda: children_of(first), lambda children: children == [])
        for viewer in viewers.values():
            end = viewer.wait_for_task(task["task_id"], status="failed")
            assert end["error"]["code"] == "worker_lost"
            assert any(payload["stalled_since"] for _, payload in viewer.heard_of(task["task_id"]))
            for part in parts_of(viewer, task):
                assert viewer.wait_for_task(part, status="failed")["error"]["code"] == "worker_lost"


def parts_of(viewer: Viewer, whole: Any) -> list[str]:
    return [task["task_id"] for task in list(viewer.tasks.values()) if task["parent_id"] == whole["task_id"]]


def test_ctrl_c_ends_all(server_process: StartServer) -> None:
    """Both processes, their store, and a worker that is at work: Ctrl-C in a terminal goes to the whole group."""
    pair = start(server_process)
    with closing(Connection(pair.server.port, {})) as visitor:
        assert visitor.ask("POST", "/worker?as=ada")[0] == 202
        processes = children_of(pair.server.pid)
        [worker] = wait_until(lambda: [child for pid in pair.pids for child in children_of(pid)], bool)
        wait_until(lambda: command_of(worker), lambda command: "realtime.demo_worker" in command)
        os.killpg(pair.server.pid, signal.SIGINT)
        assert pair.server.wait(timeout=60) == 0
    wait_until(lambda: [pid for pid in (*processes, worker) if is_alive(pid)], lambda alive: alive == [])
    assert re.findall("Traceback|Interrupt", pair.server.output()) == []


def is_alive(pid: int) -> bool:
    """Not as a zombie: whoever reaps an orphan may take its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
