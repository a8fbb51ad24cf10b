"""Where a viewer is admitted: on the hub when nothing can block, else on a native thread."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import engineio
import engineio.socket
import flask
import pytest
from werkzeug.test import EnvironBuilder

from realtime import Realtime
from realtime.auth import Grant
from realtime.errors import InvalidValue, LimitReached
from realtime.protocol import ConnectAuth, SubscribeRequest, TaskRequest, parse
from realtime.viewer import Viewer


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("app")


def test_only_identify_takes_a_thread(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket is verified where the viewer's message was read; a function of the user's may block, and runs once."""
    app.config["SECRET_KEY"] = "x" * 32
    rt = Realtime(app)
    eio, took = rt.socketio.server.eio, []

    def execute(function: Callable[[], Any]) -> Any:
        took.append(function)
        return function()

    def admitted(auth: Any) -> str | None:
        eio.sockets["c"] = engineio.socket.Socket(eio, "c")
        rt.socketio.server.environ["c"] = EnvironBuilder("/socket.io/?user=bob").get_environ()
        return rt.transport._admit("c", auth)[0].grant.user_id

    monkeypatch.setattr(rt.concurrency, "execute", execute)
    monkeypatch.setattr(rt.hub, "start", lambda: None)
    assert admitted({"ticket": rt.ticket("ada")}) == "ada"
    assert took == []
    asked: list[int] = []

    @rt.identify
    def identify(request: flask.Request) -> str:
        asked.append(len(took))
        return request.args["user"]

    assert admitted(None) == "bob"
    assert asked == [1]
    assert len(took) == 1


@pytest.mark.parametrize(
    "auth",
    [
        '{"ticket":"t","cursors":{"a":1}}', '{"a":NaN}', '{"big":1%s}' % ("0" * 80), "7{}", "",
        '{"ticket":"t","ticket":"u","more":[{}]}', '{"output":false,"epoch":null}', "{}",
    ],
)  # fmt: skip
def test_what_is_read_at_once_is_what_socketio_reads(
    auth: str, app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways to read a request to watch find the same in it."""
    rt = Realtime(app)
    found: list[Any] = []
    monkeypatch.setattr(rt.transport, "_handle_connect", lambda *given: found.append(given))
    monkeypatch.setattr(rt.socketio.server, "_handle_connect", lambda *given: found.append(given))
    rt.transport._handle_message("c", f"0/tasks,{auth}")
    rt.transport._other_message("c", f"0/tasks,{auth}")
    assert len(found) == 2
    first, second = (parse(ConnectAuth, given[2]) for given in found)
    assert repr(first) == repr(second)
    assert found[0][:2] == found[1][:2] == ("c", "/tasks")


@pytest.mark.parametrize("auth", ['{"ticket":7}', '{"cursors":{"a":"b"}}', "[]", '{"cursors":{%s}}'])
def test_what_is_wrong_in_it_is_said_by_name(auth: str, app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way reads it: the field that is wrong, or its bound."""
    many = ",".join(f'"t{number}":1' for number in range(101))
    rt = Realtime(app)
    found: list[Any] = []
    monkeypatch.setattr(rt.transport, "_handle_connect", lambda *given: found.append(given))
    monkeypatch.setattr(rt.socketio.server, "_handle_connect", lambda *given: found.append(given))
    rt.transport._handle_message("c", f"0/tasks,{auth.replace('%s', many)}")
    ((_, _, data),) = found
    with pytest.raises(InvalidValue):
        parse(ConnectAuth, data)


def test_a_viewer_that_is_upgraded_while_its_snapshot_is_read_is_told_on(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known as a viewer before, so nobody moves it: what it is told goes where its connection is then."""
    rt = Realtime(app)
    rt.identify(lambda request: "ada")
    server = rt.socketio.server
    session = engineio.socket.Socket(server.eio, "c")
    server.eio.sockets["c"] = session
    server.environ["c"] = EnvironBuilder("/socket.io/").get_environ()
    former, later = session.queue, server.eio.create_queue()

    def snapshot(*_: Any) -> tuple[dict[str, Any], list[str]]:
        session.queue = later
        return {"epoch": rt.registry.epoch}, []

    monkeypatch.setattr(rt.commands, "snapshot", snapshot)
    monkeypatch.setattr(rt.hub, "start", lambda: None)
    rt.transport._handle_connect("c", "/tasks", None)
    (viewer,) = rt.hub.viewers.values()
    assert viewer.outbox is later
    assert former.empty()
    assert not later.empty()


def test_a_viewer_whose_snapshot_is_of_a_former_epoch_is_closed(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one began while it was read, and whoever looked then did not know of the viewer: it comes back."""
    rt = Realtime(app)
    rt.identify(lambda request: "ada")
    server = rt.socketio.server
    server.eio.sockets["c"] = engineio.socket.Socket(server.eio, "c")
    server.environ["c"] = EnvironBuilder("/socket.io/").get_environ()
    closed: list[str] = []
    monkeypatch.setattr(rt.commands, "snapshot", lambda *_: ({"epoch": "former"}, []))
    monkeypatch.setattr(rt.hub, "start", lambda: None)
    monkeypatch.setattr(rt.hub, "close_viewer", lambda viewer, reason: closed.append(viewer.connection))
    rt.transport._handle_connect("c", "/tasks", None)
    assert closed == ["c"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ConnectAuth, {"cursors": {"\ud800": 1}}),
        (SubscribeRequest, {"task_ids": ["\ud800"]}),
        (SubscribeRequest, {"task_ids": [], "outputs": {"a": {"\udfff": 0}}}),
        (TaskRequest, {"task_id": "a\ud800"}),
    ],
)
def test_what_could_not_be_told_back_is_refused(kind: Any, message: Any) -> None:
    """JSON can say half a character, UTF-8 cannot: the answer that names the id would fail, with a traceback."""
    with pytest.raises(InvalidValue, match="surrogate"):
        parse(kind, message)


def test_requests_that_are_too_many_are_counted_until_a_quiet_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on and on is known by it; who asks much once is not."""
    now = [100.0]
    monkeypatch.setattr("realtime.viewer.time", SimpleNamespace(monotonic=lambda: now[0]))
    outbox: Any = None
    viewer = Viewer("s", "c", Grant("ada"), "", outbox)

    def ask(times: int) -> int:
        """How many of so many were refused."""
        refused = 0
        for _ in range(times):
            try:
                viewer.spend()
            except LimitReached:
                refused += 1
        return refused

    assert (ask(700), viewer.refused) == (500, 500)
    now[0] += 1.0
    assert (ask(100), viewer.refused) == (50, 550)
    now[0] += 4.0
    assert (ask(100), viewer.refused) == (0, 0)
