"""Clients as people have them, on `realtime serve`: each sees exactly its own, by any library and transport."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest
import socketio
from socketio.exceptions import ConnectionError as Rejected

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import Viewer, watching
from support.wire import CONNECT, wire


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")], ids="+".join)
def test_two_users_see_exactly_their_own(transports: tuple[str, ...], plain: Remote) -> None:
    """From creation to the end, in order, and nothing of the other's."""
    with watching(plain.url, "ada", *transports) as ada, watching(plain.url, "grace", *transports) as grace:
        theirs = {"ada": plain.job("steps", "ada", count=5), "grace": plain.job("steps", "grace", count=5)}
        for viewer, user in ((ada, "ada"), (grace, "grace")):
            viewer.wait_for_task(theirs[user], status="completed")
            heard = viewer.heard_of(theirs[user])
            assert heard[0][0] in ("task_created", "task_completed")
            versions = [task["version"] for _, task in heard]
            assert versions == sorted(set(versions))
        assert ada.heard_of(theirs["grace"]) == grace.heard_of(theirs["ada"]) == []


def test_the_official_client_sees_exactly_its_own(plain: Remote, node: str, node_modules: Path) -> None:
    """socket.io-client for JavaScript, two users, from the first snapshot to the end of their tasks."""
    script = Path(__file__).with_name("official_client.mjs")
    command = [node, str(script), plain.url, str(node_modules / "socket.io-client")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        lines = [json.loads(client.stdout.readline()) for _ in range(2)]
        assert {(line["user"], line["event"]) for line in lines} == {
            ("ada", "tasks_snapshot"), ("grace", "tasks_snapshot"),
        }  # fmt: skip
        theirs = {user: plain.job("steps", user, count=5) for user in ("ada", "grace")}
        told = [json.loads(line) for line in client.stdout]
        assert client.wait(PATIENCE) == 0
    for user, task_id in theirs.items():
        mine = [line for line in told if line["user"] == user]
        assert {line["payload"]["task_id"] for line in mine} == {task_id}
        assert mine[-1]["event"] == "task_completed"
        assert mine[-1]["payload"]["result"]["message"] == "done"


def test_somebody_elses_task_looks_like_none(plain: Remote) -> None:
    """By every door a viewer has: the same answer, word for word, but for the id."""
    theirs, none = plain.create("grace"), "no-such-task"
    with watching(plain.url, "ada") as viewer:
        for command in ("cancel_task", "remove_task"):
            answers = [viewer.ask(command, task_id=task_id) for task_id in (theirs, none)]
            assert answers[0] == answers[1]
            assert answers[0]["error"]["code"] == "not_found"
        answer = viewer.ask("subscribe", task_ids=[theirs, none])
        assert (answer["tasks"], answer["denied"]) == ([], [theirs, none])
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        answers = [plain.request(method, f"/realtime/v1/tasks/{task_id}{path}?user=ada") for task_id in (theirs, none)]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404


def test_refusals_say_why(server_process: StartServer) -> None:
    """Each reason has a code that a page can switch on."""
    server = remote.start(
        server_process, remote.serve("plain:app"),
        FLASK_REALTIME_MAX_VIEWERS_PER_USER="1", FLASK_REALTIME_TICKET_AGE="1",
    )  # fmt: skip
    ticket = server.ticket(user="ada")
    assert Viewer(server.url).connect_refused() == "unauthenticated"
    assert Viewer(server.url).connect_refused(auth={"ticket": "forged"}) == "ticket_invalid"
    assert Viewer(server.url, "ada").connect_refused(headers={"Origin": "http://evil.example"}) == "origin_not_allowed"
    with watching(server.url, "ada"):
        assert Viewer(server.url, "ada").connect_refused() == "limit"

    def refused() -> str:
        try:
            with watching(server.url, None, auth={"ticket": ticket}):
                return ""
        except Rejected:
            # Another reason may be that the server has not noticed yet that the former one has gone.
            with contextlib.suppress(AssertionError):
                code = str(Viewer(server.url).connect_refused(auth={"ticket": ticket}))
                return "" if code == "limit" else code
            return ""

    assert remote.wait_until(refused, bool) == "ticket_expired"


def test_nothing_precedes_the_connect_answer(plain: Remote) -> None:
    """While a viewer is still being identified, its tasks change; it is told after the answer, of the newest."""
    with wire(plain.url, "ada", gate="answer") as viewer:
        viewer.send(CONNECT)
        plain.server.output()
        remote.wait_until(lambda: plain.waiting_at("answer"), lambda waiting: waiting == 1)
        task_id = plain.create("ada")
        plain.call("update_task_progress", task_id=task_id, percent=40)
        plain.open_gate("answer")
        first = viewer.receive()
        assert isinstance(first, str)
        assert first.startswith('40/tasks,{"sid"')
        event, snapshot = viewer.receive_event()
        assert event == "tasks_snapshot"
        assert [task["progress"]["percent"] for task in snapshot["tasks"] if task["task_id"] == task_id] == [40]


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        ("42/tasks,not json", {1002, 1007, 1008}),
        ("42/tasks," + "[" * 10_000, {1002, 1007, 1008}),
        ('42/tasks,["subscribe","' + "x" * 17_000 + '"]', {1009}),
        (b"\x00\x01", {1003}),
        ("xyz", {1002}),
        ('451-/tasks,["subscribe",{"_placeholder":true,"num":0}]', {1003, 1008}),
    ],
    ids=["not json", "deep", "long", "binary", "not engine.io", "attachment"],
)
def test_a_hostile_message_ends_its_connection_only(message: str | bytes, codes: set[int], plain: Remote) -> None:
    """No traceback (the fixture looks), no ghost among viewers, rooms and sockets; the others go on."""
    with watching(plain.url, "grace") as other:
        before = plain.stats()
        with wire(plain.url, "mallory") as viewer:
            viewer.watch()
            viewer.send(message)
            assert viewer.receive_until_closed() in codes
        plain.wait_for_stats(
            lambda stats: all(stats[name] == before[name] for name in ("viewers", "rooms", "sockets", "environs"))
        )
        task_id = plain.create("grace")
        other.wait_for_task(task_id)


def test_a_host_app_keeps_its_own(server_process: StartServer) -> None:
    """A namespace that refuses all still does, large messages and bytes still pass, emits arrive from any thread."""
    server = remote.start(server_process, remote.serve("chat:app"))
    with watching(server.url, "ada") as ada:
        client = socketio.Client(reconnection=False)
        seen: list[object] = []
        client.on("seen", seen.append)
        client.connect(f"{server.url}?user=ada", namespaces=["/"], transports=["websocket"], wait_timeout=PATIENCE)
        assert client.call("size", "x" * 100_000, timeout=int(PATIENCE)) == 100_000
        assert client.call("size", b"x" * 50_000, timeout=int(PATIENCE)) == 50_000
        client.disconnect()
        with wire(server.url, "ada") as both:
            both.watch()
            both.send("40/chat,")
            refusal = both.receive()
            assert isinstance(refusal, str)
            assert refusal.startswith("44/chat,")
            both.send('42/chat,7["hello","x"]')
            assert both.ask("list_tasks", {"limit": 1})["ok"]
            assert not any(isinstance(frame, str) and frame.startswith("43/chat") for frame in both.frames)
        for where in ("view", "thread", "timer"):
            server.emit("from_host", where=where, data=where, to="user:ada", namespace="/tasks")
            remote.wait_until(lambda where=where: ("from_host", where) in ada.events, bool)  # type: ignore[misc]
    calls = server.json("GET", "/calls")
    assert calls.count("chat connect") == 1
    assert "chat hello" not in calls


def test_our_own_socketio_serves_nothing_else(plain: Remote) -> None:
    """Without a host's handlers ``/`` and other namespaces are refused."""
    for namespace in ("/", "/chat"):
        client = socketio.Client(reconnection=False)
        with pytest.raises(Rejected):
            client.connect(f"{plain.url}?user=ada", namespaces=[namespace], transports=["websocket"], wait_timeout=5)
        client.disconnect()
