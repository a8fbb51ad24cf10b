"""Workers in processes of their own, with real servers: what they say is on the page, and what the page asks reaches
them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime import keys
from realtime.client import Client
from realtime.errors import (
    InsufficientScope,
    InvalidValue,
    KeyInvalid,
    TaskAlreadyFinished,
    TaskCancelled,
    TaskExists,
    TaskNotFound,
)
from realtime.registry.redis import followers
from realtime.task import TaskStatus
from support import remote
from support.process import StartServer
from support.remote import Remote, wait_until
from support.stores import StoreServer
from support.viewer import Viewer, watching

LONG = 30.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer may take its time."""
    monkeypatch.setattr("realtime.client.registry.PATIENCE", LONG)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    return keys.create(key_file, ["create", "report", "read", "control"])[0]


@pytest.fixture(scope="module")
def served(module_servers: StartServer, key_file: Path, key: str) -> Remote:
    """``realtime serve``, which takes workers."""
    return remote.start(
        module_servers, remote.serve("plain:app"), FLASK_REALTIME_FLUSH_INTERVAL="0.02",
        FLASK_REALTIME_WORKER_KEYS=str(key_file),
    )  # fmt: skip


@pytest.fixture
def client(served: Remote, key: str) -> Iterator[Client]:
    with Client(served.url, key, timeout=LONG) as client:
        yield client


def written(viewer: Viewer, task_id: str) -> str:
    """The output that a page has heard of, in the order in which it came."""
    return "".join(
        payload["text"] for name, payload in viewer.events if name == "task_output" and payload["task_id"] == task_id
    )


def test_what_a_worker_says_is_on_the_page(served: Remote, client: Client) -> None:
    """Each state as the server has it, the output whole, and the end after it."""
    with watching(served.url, "ada") as viewer:
        with client.progress(user_id="ada", name="Export", total=200) as task:
            for number in task.track(range(200)):
                task.write(f"line {number} é\n")
        viewer.wait_for_task(task.task_id, status="completed")
        assert written(viewer, task.task_id) == "".join(f"line {number} é\n" for number in range(200))
        last, payload = viewer.events[-1]
    assert last == "task_completed"
    assert payload["progress"]["current"] == 200


def test_cancel_on_the_page_reaches_the_worker(served: Remote, client: Client) -> None:
    """At its next word, in another process; the page sees that the request has arrived, and that it has stopped."""

    def job() -> None:
        with client.progress(user_id="ada", task_id="cancelled") as task:
            viewer.wait_for_task("cancelled", status="processing")
            assert viewer.ask("cancel_task", task_id="cancelled")["ok"]
            until = time.monotonic() + LONG
            try:
                while time.monotonic() < until:
                    task.update("still here")
            except TaskCancelled:
                viewer.wait_for(lambda: viewer.tasks["cancelled"]["cancel_acknowledged_at"], "acknowledgement")
                assert viewer.tasks["cancelled"]["status"] == "processing"
                raise

    with watching(served.url, "ada") as viewer:
        with pytest.raises(TaskCancelled):
            job()
        viewer.wait_for_task("cancelled", status="cancelled")


def test_a_worker_knows_whether_somebody_looks(served: Remote, client: Client) -> None:
    """As the server said with its last answer."""
    with client.progress(user_id="bob", task_id="looked-at") as task:
        task.update("nobody is there")
        assert client.flush(LONG)
        assert client.watched("looked-at") is task.watched is False
        with watching(served.url, "bob") as viewer:
            viewer.wait_for_task("looked-at", status="processing")
            task.update("somebody is there")
            assert client.flush(LONG)
            assert client.watched("looked-at") is task.watched is True


def test_the_real_endpoints_answer_as_the_client_reads_them(served: Remote, client: Client) -> None:
    """Functions and errors, one after the other."""
    made = client.create_task("real", 42, name="Export", total=10, groups=("team:7",), metadata={"a": [1]})
    assert made.as_dict() == client.get_task_status("real").as_dict()  # type: ignore[union-attr]
    with pytest.raises(TaskExists):
        client.create_task("real", 42)
    assert client.create_task("real", 42, exist_ok=True).task_id == "real"
    with pytest.raises(InvalidValue, match="stream"):
        client.append_output("real", "x", stream="")
    made_of = client.update_many([("real", {"advance": 4}), ("nowhere", 1)])
    assert made_of[0].current == 4  # type: ignore[union-attr]
    assert isinstance(made_of[1], TaskNotFound)
    failed = client.fail_task("real", "no paper", code="paper", details={"tray": 2}, retryable=True)
    assert failed.error is not None
    assert (failed.error.code, failed.error.details, failed.error.retryable) == ("paper", {"tray": 2}, True)
    assert [client.create_task(None, 42, message=text).message for text in (None, "", "x")] == [None, "", "x"]
    assert "real" in [task.task_id for task in client.list_tasks(42)]
    assert "real" in [task.task_id for task in client.list_tasks(42, limit=1000, finished=True)]
    assert "real" not in [task.task_id for task in client.list_tasks(42, finished=False)]
    assert client.remove_task("real").task_id == "real"
    assert client.get_task_status("real") is None
    with pytest.raises(TaskNotFound):
        client.remove_task("real")


def test_a_worker_that_promised_a_sign_of_life_and_gives_none_is_lost(served: Remote, client: Client) -> None:
    """It holds its task by a lease, as `rt.heartbeat_task` does in the server."""
    task_id = client.create_task(None, "ada").task_id
    client.heartbeat_task(task_id, lease=1)
    with watching(served.url, "ada") as viewer:
        viewer.wait_for_task(task_id, status="failed")
    with pytest.raises(TaskAlreadyFinished):
        client.heartbeat_task(task_id)
    lost = client.get_task_status(task_id)
    assert lost is not None
    assert lost.error is not None
    assert lost.error.code == "worker_lost"


def test_a_key_may_do_what_its_scopes_say(served: Remote, key_file: Path) -> None:
    """The errors are of the classes that the server's are."""
    reporter = keys.create(key_file, ["report"])[0]
    with Client(served.url, reporter, timeout=LONG) as client, pytest.raises(InsufficientScope, match="create"):
        client.create_task("t", "ada")
    with Client(served.url, "rt_00000000_" + "w" * 43, timeout=LONG) as client, pytest.raises(KeyInvalid):
        client.create_task("t", "ada")


WORKER = """
import sys
from realtime import append_output, create_task, update_task_progress
create_task("killed", "ada", total=10**9)
number = 0
while True:
    number += 1
    update_task_progress("killed", current=number)
    if number % 1000 == 0:
        append_output("killed", f"{number}\\n")
"""


def test_a_worker_that_is_killed_leaves_its_task_as_it_was(served: Remote, key: str) -> None:
    """Nobody else is disturbed, its output has no hole, and another worker can go on with the task."""
    environ = {**os.environ, **remote.environment(REALTIME_URL=served.url, REALTIME_KEY=key)}
    with watching(served.url, "ada") as viewer:
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environ)
        try:
            viewer.wait_for(lambda: viewer.count("task_output") > 3, "output of the worker")
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait(LONG)
        with Client(served.url, key, timeout=LONG) as client:

            def current() -> float:
                task = client.get_task_status("killed")
                assert task is not None
                assert task.current is not None
                return task.current

            def goes_on() -> bool:
                before = current()
                client.update_task_progress("killed", advance=1)
                return current() == before + 1

            # One request of the dead worker, and no more, may have been under way to the server, and come in between.
            assert goes_on() or goes_on()
            client.complete_task("killed")
        viewer.wait_for_task("killed", status="completed")
        text = written(viewer, "killed")
    assert text.startswith("1000\n2000\n3000\n")
    assert text == "".join(f"{number * 1000}\n" for number in range(1, text.count("\n") + 1))


def test_a_server_that_restarts_has_all_that_was_said_meanwhile(
    server_process: StartServer, key_file: Path, key: str, tmp_path: Path
) -> None:
    """With tasks in a shared store: the worker goes on through the restart, and loses neither count nor output."""
    store = StoreServer("redis")
    store.start()
    try:
        settings = {"FLASK_REALTIME_REGISTRY": store.url, "FLASK_REALTIME_WORKER_KEYS": str(key_file)}
        server = remote.start(server_process, remote.serve("plain:app"), settings)
        with Client(server.url, key, timeout=LONG) as client:
            client.create_task("t", "ada", total=2000)
            for number in range(2000):
                client.update_task_progress("t", advance=1)
                client.append_output("t", f"{number}\n")
                if number == 1000:
                    server.server.stop()
            server_process(
                remote.serve("plain:app"), port=server.server.port, env=remote.environment(**settings)
            )  # fmt: skip
            done = client.complete_task("t")
        assert done.current == 2000
        assert done.output_size == sum(len(f"{number}\n") for number in range(2000))
    finally:
        store.remove()


def test_a_worker_at_the_store_itself_is_seen_by_the_servers_viewers(
    server_process: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Client("redis://…")`` writes to the store; the server hears of it there, and so does its page."""
    monkeypatch.setattr(followers, "_YOUNG", 0.0)  # the store is, and says so by that it does not know
    store = StoreServer("redis")
    store.start()
    try:
        server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=store.url)
        with Client(store.url, timeout=LONG) as client, client.progress(user_id="bob") as unseen:
            assert client.watched(unseen.task_id) is unseen.watched is False
            with watching(server.url, "bob"):
                assert wait_until(lambda: client.watched(unseen.task_id), lambda watched: watched is None) is None
                assert unseen.watched
        assert client.watched(unseen.task_id) is False
        with watching(server.url, "ada") as viewer, Client(store.url, timeout=LONG) as client:
            with client.progress(user_id="ada", total=50) as task:
                for number in task.track(range(50)):
                    task.write(f"{number}\n")
            viewer.wait_for_task(task.task_id, status="completed")
            assert viewer.ask("list_tasks", limit=5)["ok"]
            other = client.create_task("other", "ada").task_id
            viewer.wait_for_task(other, status="processing")
            assert viewer.ask("cancel_task", task_id=other)["ok"]
            asked = wait_until(
                lambda: client.update_task_progress(other, "still here").cancel_requested_at, lambda at: at is not None
            )
            assert asked is not None
            assert client.cancel_task(other, done=True).status is TaskStatus.CANCELLED
            viewer.wait_for_task(other, status="cancelled")
    finally:
        store.remove()
