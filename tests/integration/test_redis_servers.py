"""Several servers and a worker on one store: what any of them does is seen by everybody's viewers."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator

import pytest

from realtime.protocol import task_room
from realtime.registry.redis import RedisRegistry
from realtime.task import NewTask, TaskFailure
from support import remote
from support.process import StartServer
from support.remote import Remote, wait_until
from support.stores import StoreServer
from support.viewer import Viewer, watching


@pytest.fixture
def worker(store: StoreServer) -> Iterator[RedisRegistry]:
    """A process without viewers."""
    with contextlib.closing(RedisRegistry(store.url, timeout=10.0)) as registry:
        yield registry


def start(server_process: StartServer, store: StoreServer, timeout: float = 20.0) -> Remote:
    """``timeout`` is that of the store's answers, in seconds: short only where a test makes it wait for them."""
    return remote.start(
        server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=f"{store.url}?timeout={timeout}",
        FLASK_REALTIME_FLUSH_INTERVAL="0.02",
    )  # fmt: skip


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_what_a_worker_does_is_seen_on_every_server(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry, transport: str
) -> None:
    """Creation, progress, all of the output before the end, the end, and the removal."""
    servers = [start(server_process, store) for _ in range(2)]
    with watching(servers[0].url, "ada", transport) as one, watching(servers[1].url, "ada", transport) as two:
        worker.create(NewTask("a", "ada", total=4))
        for viewer in (one, two):
            viewer.wait_for_task("a", status="processing")
        worker.update("a", "Reading", current=1)
        for viewer in (one, two):
            viewer.wait_for_task("a", message="Reading", percent=25.0)
        for piece in (b"one ", b"two ", b"three"):
            worker.append_output("a", "output", piece)
        ended = worker.complete("a", b'{"rows":7}')
        for viewer in (one, two):
            assert viewer.wait_for_event("task_completed") == ended.as_dict()
            events = [event for event, payload in viewer.events if payload.get("task_id") == "a"]
            assert (events[0], events[-1]) == ("task_created", "task_completed")
            text = "".join(payload["text"] for event, payload in viewer.events if event == "task_output")
            assert text == "one two three"
        removed = worker.remove("a")
        for viewer in (one, two):
            assert viewer.wait_for_event("task_removed")["version"] == removed.version


def test_a_viewer_reaches_tasks_of_another_server(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry
) -> None:
    """It sees in its first snapshot what was made there, lists it, subscribes to it and its output, and asks it to
    stop; a view of one server reads what another has made."""
    first, second = start(server_process, store), start(server_process, store)
    made = first.create("ada", groups=["team"])
    first.call("append_output", task_id=made, text="one ")
    with watching(second.url, "ada") as viewer:
        assert viewer.tasks[made]["status"] == "processing"
        assert [task["task_id"] for task in viewer.ask("list_tasks", limit=5)["tasks"]] == [made]
        answer = viewer.ask("subscribe", task_ids=[made], outputs={made: 0})
        assert (answer["ok"], answer["denied"]) == (True, [])
        assert viewer.wait_for_event("task_output")["text"] == "one "
        first.call("append_output", task_id=made, text="two")
        assert viewer.wait_for_event("task_output", lambda payload: payload["offset"] == 4)["text"] == "two"
        assert viewer.ask("cancel_task", task_id=made)["ok"]
        viewer.wait_for(lambda: viewer.tasks[made]["cancel_requested_at"] is not None, "request to stop")
        assert first.call("get_task_status", task_id=made)["cancel_requested_at"] is not None
    assert second.call("get_task_status", task_id=made)["task_id"] == made


def test_viewers_are_right_again_after_the_store_was_away(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry
) -> None:
    """Paused, it costs nobody the connection, and what happened meanwhile follows."""
    server = start(server_process, store, timeout=1.0)
    worker.create(NewTask("a", "ada"))
    with watching(server.url, "ada") as viewer:
        viewer.wait_for_task("a", status="processing")
        store.send_signal(signal.SIGSTOP)
        try:
            server.server.wait_for_output("out of reach")
            status, _ = server.request("GET", "/realtime/v1/healthz")
            assert status == 200
        finally:
            store.send_signal(signal.SIGCONT)
        worker.fail("a", TaskFailure(None, "no", "failed"))
        viewer.wait_for_task("a", status="failed")
        assert viewer.count("disconnect") == 0


def test_viewers_begin_anew_after_the_store_has_lost_its_memory(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry
) -> None:
    """Their connections end, and the next snapshot is of another epoch."""
    server = start(server_process, store)
    worker.create(NewTask("a", "ada"))
    with watching(server.url, "ada") as viewer:
        before = viewer.wait_for_event("tasks_snapshot")
        store.kill()
        server.server.wait_for_output("out of reach")
        store.start()
        viewer.wait_for_event("disconnect")
    again = Viewer(server.url, "ada")
    try:
        after = again.connect().wait_for_event("tasks_snapshot")
        assert after["epoch"] != before["epoch"]
        assert (after["tasks"], after["removed"]) == ([], [])
        worker.create(NewTask("b", "ada"))
        assert again.wait_for_task("b", status="processing")["epoch"] == after["epoch"]
    finally:
        again.close()


def test_a_server_that_is_restarted_has_all_tasks(server_process: StartServer, store: StoreServer) -> None:
    """Its jobs and blocks have failed with ``server_stopped``; what plain functions change stays as it was."""
    first = start(server_process, store)
    job, mine, held = first.job("listen", "ada", gate="never"), first.create("ada", total=5), first.create("ada")
    first.json("POST", f"/block/{held}", {})
    before = first.call("update_task_progress", task_id=mine, current=3)
    first.server.stop()
    second = start(server_process, store)
    for task_id in (job, held):
        assert second.call("get_task_status", task_id=task_id)["error"]["code"] == "server_stopped"
    assert second.call("get_task_status", task_id=mine) == before


def test_a_store_that_keeps_a_file_has_all_that_was_answered(server_process: StartServer) -> None:
    """It is killed: tasks at work and tasks that have ended are as they were, under a new epoch."""
    store = StoreServer(durable=True)
    try:
        store.start()
        server = start(server_process, store)
        ended, moving = server.create("ada"), server.create("ada", total=1000)
        server.call("append_output", task_id=ended, text="all of it\n")
        server.call("complete_task", task_id=ended, result={"rows": 7})
        for current in range(50):
            server.call("update_task_progress", task_id=moving, current=current)
        before = [server.call("get_task_status", task_id=task_id) for task_id in (ended, moving)]
        store.kill()
        server.server.wait_for_output("out of reach")
        store.start()
        wait_until(lambda: server.request("GET", "/realtime/v1/readyz")[0], lambda status: status == 200)
        after = [server.call("get_task_status", task_id=task_id) for task_id in (ended, moving)]
        assert [task | {"epoch": None} for task in after] == [task | {"epoch": None} for task in before]
        with watching(server.url, "ada") as viewer:
            assert viewer.tasks == {task["task_id"]: task for task in after}
    finally:
        store.remove()


def test_a_long_poll_is_answered_when_another_process_changes_the_task(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry
) -> None:
    """Nobody else watches the task on that server, and nobody does afterwards."""
    server = start(server_process, store)
    task = worker.create(NewTask("a", "ada"))[0]
    channel = worker._link.keys.channel(task_room("a"))
    with contextlib.closing(store.client()) as client:
        path = f"/realtime/v1/tasks/a?user=ada&wait=25&after={task.etag[1:-1]}"
        with server.in_background("GET", path) as answers:
            remote.wait_until(lambda: client.pubsub_numsub(channel), lambda found: found[0][1] == 1)
            ended = worker.complete("a", None)
    ((status, body),) = answers
    assert (status, json.loads(body)) == (200, ended.as_dict())


def states(viewer: Viewer) -> list[str]:
    """What the server has said of its store, in order."""
    return [payload["state"] for event, payload in viewer.events if event == "server_state"]


def ready(server: Remote) -> int:
    return server.request("GET", "/realtime/v1/readyz")[0]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_viewers_are_told_that_the_store_is_away_and_is_back(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry, transport: str
) -> None:
    """Paused, it makes pages stale and the server not ready; what viewers ask for is refused in words. Who comes
    meanwhile is told the same, and gets its snapshot when the store goes on; nobody has to connect again."""
    server = start(server_process, store, timeout=1.0)
    worker.create(NewTask("a", "ada"))
    with watching(server.url, "ada", transport) as before:
        before.wait_for_task("a", status="processing")
        wait_until(lambda: ready(server), lambda status: status == 200)
        store.send_signal(signal.SIGSTOP)
        try:
            before.wait_for(lambda: states(before)[-1:] == ["stale"], "stale")
            assert ready(server) == 503
            refusal = before.ask("cancel_task", task_id="a")
            assert refusal["error"]["code"] == "unavailable"
            during = Viewer(server.url, "ada").connect(first="server_state")
            assert [event for event, _ in during.events] == ["server_state"]
            assert states(during) == ["stale"]
        finally:
            store.send_signal(signal.SIGCONT)
        try:
            for viewer in (before, during):
                viewer.wait_for_event("server_state", lambda payload: payload["state"] == "live")
                assert states(viewer)[:2] == ["stale", "live"]  # on a slow machine it may be away again
            wait_until(lambda: ready(server), lambda status: status == 200)
            names = [event for event, _ in during.events]
            assert names.index("tasks_snapshot") < len(names) - 1 - names[::-1].index("server_state")
            worker.complete("a", None)
            for viewer in (before, during):
                viewer.wait_for_task("a", status="completed")
                assert viewer.count("disconnect") == 0
        finally:
            during.close()


def test_a_viewer_that_comes_before_the_outage_is_noticed_is_told_too(
    server_process: StartServer, store: StoreServer, worker: RedisRegistry
) -> None:
    """Its snapshot cannot be read: it is not refused, and has it once the store answers."""
    server = start(server_process, store, timeout=1.0)
    worker.create(NewTask("a", "ada"))
    store.send_signal(signal.SIGSTOP)
    try:
        viewer = Viewer(server.url, "ada").connect(first="server_state")
        assert states(viewer)[:1] == ["stale"]
    finally:
        store.send_signal(signal.SIGCONT)
    try:
        viewer.wait_for(lambda: states(viewer)[-1] == "live", "live")
        assert viewer.tasks["a"]["status"] == "processing"
        assert viewer.count("tasks_snapshot") == 1
    finally:
        viewer.close()


def test_a_server_that_nobody_watches_on_is_not_ready_while_the_store_is_away(
    server_process: StartServer, store: StoreServer
) -> None:
    """It finds out when it is asked; a store that is started again is found, too. The answer names no address."""
    server = start(server_process, store)
    assert ready(server) == 200
    store.kill()
    status, body = server.request("GET", "/realtime/v1/readyz")
    assert (status, json.loads(body)["error"]["code"]) == (503, "unavailable")
    assert str(store.socket) not in body
    assert server.request("GET", "/realtime/v1/healthz")[0] == 200
    store.start()
    remote.wait_until(lambda: ready(server), lambda status: status == 200)
