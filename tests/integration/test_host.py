"""A host app with a ``SocketIO`` of its own: what it does keeps its meaning, and viewers watch beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import socketio

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import Viewer, watching
from support.wire import wire

GUNICORN = [
    "python", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--no-control-socket", "--threads", "20",
    "support.apps.host:app",
]  # fmt: skip
#: gunicorn leaves the socket of a WebSocket that has ended to the garbage collector.
QUIET = {"PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning"}


@pytest.fixture(scope="module", params=["serve", "gthread"])
def host(request: pytest.FixtureRequest, module_servers: StartServer) -> Remote:
    """The host under our server, where all of its code runs on native threads; and under gunicorn's threads."""
    if request.param == "serve":
        return remote.start(module_servers, remote.serve("host:app"))
    return remote.start(module_servers, GUNICORN, QUIET)


class Worker:
    """A client of the host's own namespace, and of ``/tasks`` on the same connection."""

    def __init__(self) -> None:
        self.client = socketio.Client(reconnection=False)
        self._news = threading.Condition()
        self.events: list[tuple[str, Any]] = []
        self.client.on("*", self._note, namespace="/work")
        self.client.on("*", self._note, namespace="/tasks")
        self.client.on("question", self._answer, namespace="/work")
        self.client.on("disconnect", lambda *_: self._note("disconnect"), namespace="/work")

    def connect(self, url: str, *transports: str, **query: str) -> None:
        more = "".join(f"&{name}={value}" for name, value in query.items())
        self.client.connect(
            f"{url}?user=ada{more}", namespaces=["/tasks", "/work"], transports=list(transports or ("websocket",)),
            wait_timeout=PATIENCE,
        )  # fmt: skip

    def ask(self, event: str, data: Any = None) -> Any:
        return self.client.call(event, data, namespace="/work", timeout=int(PATIENCE))

    def send(self, event: str, data: Any = None) -> None:
        self.client.emit(event, data, namespace="/work")

    def wait_for(self, event: str) -> Any:
        def found() -> Any:
            return next((data for name, data in self.events if name == event), self)

        with self._news:
            assert self._news.wait_for(lambda: found() is not self, PATIENCE), self.events
            return found()

    def _note(self, event: str, data: Any = None, *_: Any) -> None:
        with self._news:
            self.events.append((event, data))
            self._news.notify_all()

    def _answer(self, question: str) -> str:
        return f"{question}!"


@contextmanager
def working(url: str, *transports: str, **query: str) -> Iterator[Worker]:
    worker = Worker()
    try:
        worker.connect(url, *transports, **query)
        yield worker
    finally:
        worker.client.disconnect()
        worker.client.eio.wait()


def watch_one(server: Remote, viewer: Viewer) -> None:
    """Pushes go on."""
    viewer.wait_for_task(server.job("steps", "ada"), status="completed")


def test_eventlet_being_installed_changes_no_mode(host: Remote) -> None:
    """The host has named no mode: under gunicorn's threads it gets threads, though Engine.IO would take eventlet."""
    stats = host.stats()
    assert stats["engine"] == stats["mode"]
    assert stats["mode"] == ("threading" if "gunicorn" in host.server.command else "eventlet")


def test_handlers_run_where_they_may_wait(host: Remote) -> None:
    """Handlers, connect handlers and callbacks of emits are held up, each in a thread of its own; pushes go on."""
    with watching(host.url, "ada") as viewer, working(host.url) as worker:
        assert worker.ask("where") != "hub"
        assert worker.ask("who") == ["ada", "/socket.io/"]
        for _ in range(5):
            worker.send("slow", "handlers")
        worker.send("call back", "handlers")
        late = Worker()
        connecting = threading.Thread(target=late.connect, args=(host.url,), kwargs={"gate": "handlers"}, daemon=True)
        connecting.start()
        remote.wait_until(lambda: host.waiting_at("handlers"), lambda waiting: waiting == 7)
        watch_one(host, viewer)
        assert host.waiting_at("handlers") == 7
        host.open_gate("handlers")
        remote.wait_until(lambda: host.json("GET", "/told"), lambda told: any(item[0] == ["back!"] for item in told))
        connecting.join(PATIENCE)
        assert late.ask("where") != "hub"
        late.client.disconnect()
    assert all(item[1] != "hub" for item in host.json("GET", "/told") if item != "left")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_background_task_asks_a_client_and_gets_its_answer(transport: str, host: Remote) -> None:
    """``start_background_task``, ``call``, ``sleep`` and ``emit`` of the host, on a thread of their own."""
    with working(host.url, transport) as worker:
        worker.send("ask me", "really?")
        answer, thread = worker.wait_for("answered")
        assert answer == "really?!"
        assert thread != "hub"


@pytest.mark.parametrize("where", ["handler", "view", "thread", "timer", "pool"])
def test_sending_a_client_away_leaves_its_viewer(where: str, host: Remote) -> None:
    """``disconnect`` for the host's namespace, from anywhere, leaves ``/tasks`` on the same connection alone."""
    with working(host.url) as worker:
        worker.wait_for("tasks_snapshot")
        if where == "handler":
            worker.send("go")
        else:
            host.json("POST", f"/send-away/{worker.ask('me')}?where={where}")
        worker.wait_for("disconnect")
        host.create("ada", name=where)
        worker.wait_for("task_created")


@pytest.mark.parametrize("where", ["view", "thread", "timer", "pool"])
def test_emits_arrive_from_anywhere(where: str, host: Remote) -> None:
    """In the host's namespace and in the room of a user of ours, small and large, text and bytes, in order."""
    with working(host.url) as worker, watching(host.url, "bob") as bob:
        worker.wait_for("tasks_snapshot")
        for number in range(3):
            host.emit(f"small {number}", where, data=number, namespace="/work")
        host.emit("large", where, data="x" * 300_000, namespace="/work")
        # One after another: of what a viewer has still to take, 256 KiB may wait, and a busy machine takes its time.
        assert worker.wait_for("large") == "x" * 300_000
        host.emit("bytes", where, binary=200_000, namespace="/work")
        assert worker.wait_for("bytes") == b"\x00\xff" * 200_000
        host.emit("user", where, data="hello", namespace="/tasks", to="user:ada")
        assert worker.wait_for("user") == "hello"
        names = [event for event, _ in worker.events if event != "tasks_snapshot"]
        assert names == ["small 0", "small 1", "small 2", "large", "bytes", "user"]
        host.emit("everybody", where, data=1, namespace="/tasks")
        bob.wait_for_event("everybody")
        assert not bob.count("user")


def test_what_is_refused_on_another_namespace_stays_refused(server_process: StartServer) -> None:
    """A host that refuses ``/``: ``/tasks`` is watched all the same, and opens no way to ``/``."""
    server = remote.start(server_process, remote.serve("host:app"), HOST_ROOT="refuse")
    with wire(server.url, "ada") as viewer:
        viewer.send("40")
        assert str(viewer.receive()).startswith("44")
        viewer.watch()
        viewer.send("40")
        assert str(viewer.receive()).startswith("44")
        viewer.send('421["anything"]')
        assert viewer.ask("list_tasks", {"limit": 1})["ok"]
        assert not any(str(frame).startswith("43") and "/tasks" not in str(frame) for frame in viewer.frames)


@pytest.mark.parametrize("kind", ["serve", "gthread"])
def test_a_handler_that_fails_at_a_disconnect_leaves_no_ghost(kind: str, server_process: StartServer) -> None:
    """The host's own error goes to its log, and the viewer of the same connection is forgotten all the same."""
    command = remote.serve("host:app") if kind == "serve" else GUNICORN
    server = remote.start(server_process, command, QUIET, noisy=True)
    with wire(server.url, "ada", rude="1") as both:
        both.send("40/work,")
        assert str(both.receive()).startswith("40/work,{")
        both.watch()
    left = server.wait_for_stats(lambda stats: not stats["viewers"] and not stats["sockets"])
    assert left["rooms"] == []
    assert "/tasks" not in left["members"]
    assert "a handler of the host" in server.server.output()


def test_flasks_own_command_serves_a_host_too(server_process: StartServer) -> None:
    """Under every ``flask`` command Flask-SocketIO names a mode of its own, which is not the host's word."""
    command = ["python", "-m", "flask", "--app", "support.apps.host:app", "realtime", "serve", "--port", "{port}"]
    server = remote.start(server_process, command)
    with working(server.url) as worker:
        assert worker.ask("where") != "hub"
        worker.wait_for("tasks_snapshot")
