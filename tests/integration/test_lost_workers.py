"""Workers in processes of their own that die, or are stopped for longer than their lease: over HTTP and Redis."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime import keys
from realtime.client import Client
from realtime.errors import LeaseHeld
from realtime.registry.redis import RedisRegistry
from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote, wait_until
from support.stores import StoreServer
from support.viewer import Viewer, watching

#: A job that holds its task, says so, and is silent until it is given a line; then it speaks, until it must not any
#: more.
WORKER = """
import sys
from realtime.client import Client
from realtime.errors import TaskAlreadyFinished

def refusal(function):
    try:
        function()
    except TaskAlreadyFinished as late:
        return late.status

def work():
    with client.progress(user_id="ada", task_id="held", message="waiting") as task:
        print("in the block", flush=True)
        sys.stdin.readline()
        while True:
            task.update("speaking")

client = Client(sys.argv[1], sys.argv[2] or None, lease=2)
print(refusal(work), refusal(lambda: client.complete_task("held")))
print(refusal(lambda: client.heartbeat_task("held")))
client.close()
"""


#: The same with a lease that it does not sleep through, and with what its block's words come to.
LEASED = """
import sys
from realtime.client import Client
from realtime.errors import LeaseHeld

def work():
    try:
        with client.progress(user_id="ada", task_id="held", message="waiting") as task:
            print("in the block", flush=True)
            sys.stdin.readline()
            while True:
                task.update("speaking")
                client.flush()
    except LeaseHeld:
        print("LeaseHeld")

client = Client(sys.argv[1], sys.argv[2] or None, lease=20)
work()
try:
    with client.task("held"):
        pass
except LeaseHeld:
    print("LeaseHeld")
client.close()
"""


class Place:
    """Where workers report: the server's pages, and the arguments that bring a worker there."""

    def __init__(self, server: Remote, url: str, key: str) -> None:
        self.server = server
        self.url = url
        self.key = key

    def work(self, worker: str = WORKER) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", worker, self.url, self.key], env={**os.environ, **remote.environment()},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(key_file: Path) -> str:
    return keys.create(key_file, ["create", "report", "read", "control"])[0]


@pytest.fixture
def served(server_process: StartServer, key_file: Path, key: str) -> Place:
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_WORKER_KEYS=str(key_file))
    return Place(server, server.url, key)


@pytest.fixture
def shared(server_process: StartServer) -> Iterator[Place]:
    store = StoreServer("redis")
    store.start()
    try:
        server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=store.url)
        yield Place(server, store.url, "")
    finally:
        store.remove()


@pytest.fixture(params=["served", "shared"])
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(request.param)
    return made


def wait_for_block(worker: subprocess.Popen[str]) -> None:
    """Until the worker is in its block: from there on its task is held, whatever becomes of it."""
    assert worker.stdout is not None
    assert worker.stdout.readline() == "in the block\n"


def outlive(viewer: Viewer, lease: float) -> None:
    """Let more than a lease go by, in which the worker says nothing but that it is alive."""
    begun = time.monotonic()
    wait_until(time.monotonic, lambda now: now > begun + 1.5 * lease)
    assert viewer.tasks["held"]["status"] == "processing"


def test_a_worker_that_is_killed_is_lost(place: Place) -> None:
    """It lives by heartbeats alone; then its task fails, while somebody looks, who sees that a silent one stalls."""
    with watching(place.server.url, "ada") as viewer:
        # Of a lease that is this long it is sure that somebody sweeps between its middle and its end.
        silent = place.server.create("ada")
        place.server.call("heartbeat_task", task_id=silent, lease=8)
        worker = place.work()
        try:
            wait_for_block(worker)
            viewer.wait_for_task("held", message="waiting")
            outlive(viewer, 2)
            worker.send_signal(signal.SIGKILL)
            end = viewer.wait_for_task("held", status="failed")
        finally:
            worker.kill()
            worker.communicate()
        assert (end["error"]["code"], end["error"]["retryable"]) == ("worker_lost", True)
        viewer.wait_for(lambda: any(payload["stalled_since"] for _, payload in viewer.heard_of(silent)), "stall")


def test_a_worker_is_lost_though_nobody_looks(shared: Place) -> None:
    """No viewer has ever come to the server, and no heartbeat: the worker speaks to the store itself."""
    worker = shared.work()
    try:
        wait_for_block(worker)
    finally:
        worker.kill()
        worker.communicate()
    with contextlib.closing(RedisRegistry(shared.url, timeout=10.0)) as store:
        ended = wait_until(lambda: store.get("held"), lambda task: task is not None and task.finished)
    assert ended is not None
    assert ended.error is not None
    assert ended.error.code == "worker_lost"


def test_a_worker_that_was_stopped_for_too_long_is_refused(place: Place) -> None:
    """Its updates, its end and its heartbeats; it goes out of its block and ends well."""
    with watching(place.server.url, "ada") as viewer:
        worker = place.work()
        try:
            wait_for_block(worker)
            worker.send_signal(signal.SIGSTOP)
            end = viewer.wait_for_task("held", status="failed")
            worker.send_signal(signal.SIGCONT)
            out, _ = worker.communicate("go on\n", timeout=PATIENCE)
        finally:
            worker.kill()
            worker.communicate()
        assert out.split() == ["failed"] * 3
        assert worker.returncode == 0
        assert viewer.tasks["held"] == end


def test_a_worker_that_is_replaced_while_it_is_stopped_is_fenced(place: Place) -> None:
    """Within its lease another takes its task over; when it wakes up, nothing of what it says is taken."""
    with watching(place.server.url, "ada") as viewer, Client(place.url, place.key or None, lease=20) as client:
        worker = place.work(LEASED)
        try:
            wait_for_block(worker)
            worker.send_signal(signal.SIGSTOP)
            with pytest.raises(LeaseHeld), client.task("held"):
                pytest.fail("the block was entered")
            with client.task("held", takeover=True) as task:
                task.update("in its place")
                worker.send_signal(signal.SIGCONT)
                out, _ = worker.communicate("go on\n", timeout=PATIENCE)
                assert client.get_task_status("held").message == "in its place"  # type: ignore[union-attr]
        finally:
            worker.kill()
            worker.communicate()
        assert out.split() == ["LeaseHeld"] * 2
        assert viewer.wait_for_task("held", status="completed")["result"] is None
        assert "speaking" not in [payload["progress"]["message"] for _, payload in viewer.heard_of("held")]


def test_a_command_whose_program_is_killed_is_lost(served: Place) -> None:
    """``realtime run`` holds its task by a lease, too."""
    run = subprocess.Popen(
        remote.realtime(
            "run", "--url", served.url, "--user", "ada", "--task-id", "held", "--lease", "2", "--",
            "sh", "-c", "echo $$; exec sleep 600",
        ),
        env={**os.environ, "PYTHONWARNINGS": "ignore", "REALTIME_KEY": served.key},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    stop: Callable[[], None] = run.kill
    with watching(served.server.url, "ada") as viewer:
        try:
            assert run.stdout is not None
            command = int(run.stdout.readline())
            stop = lambda: os.kill(command, signal.SIGKILL)  # noqa: E731
            viewer.wait_for_task("held", message="Running")
            outlive(viewer, 2)
            run.kill()
            end = viewer.wait_for_task("held", status="failed")
        finally:
            run.kill()
            stop()
            run.communicate()
        assert end["error"]["code"] == "worker_lost"
