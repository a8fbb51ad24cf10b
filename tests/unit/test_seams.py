"""What we lean on in python-socketio and python-engineio, and that we change instances only."""

from __future__ import annotations

from typing import Any

import engineio
import flask
import pytest
import socketio
from flask_socketio import SocketIO

from realtime import ConfigError, Realtime
from realtime.outbox import Outbox
from realtime.transport import seams


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("app")


def test_every_connection_gets_an_outbox(app: flask.Flask) -> None:
    """Engine.IO's sockets ask their server for a queue."""
    rt = Realtime(app)
    socket = engineio.socket.Socket(rt.socketio.server.eio, "sid")
    assert isinstance(socket.queue, Outbox)
    assert socket.last_ping is not None


def test_the_handlers_that_we_stand_before_exist(app: flask.Flask) -> None:
    """Each is a method of the server or a handler of its Engine.IO, and is ours now on this instance."""
    rt = Realtime(app)
    server = rt.socketio.server
    for name in ("_handle_connect", "_handle_event"):
        assert callable(getattr(socketio.Server, name))
        assert getattr(server, name).__self__ is rt.transport
    for event in ("connect", "message", "disconnect"):
        assert server.eio.handlers[event].__self__ is rt.transport


def test_modules_and_classes_stay_as_they_are(app: flask.Flask) -> None:
    """A second server of the same process has nothing of ours."""
    before = {name: getattr(socketio.Server, name) for name in ("_handle_connect", "_handle_event", "_trigger_event")}
    Realtime(app)
    other = socketio.Server(async_mode="threading")
    assert {name: getattr(socketio.Server, name) for name in before} == before
    assert not isinstance(engineio.socket.Socket(other.eio, "sid").queue, Outbox)
    assert set(vars(other)).isdisjoint({"_handle_connect", "_handle_event", "_trigger_event"})
    assert "get_participants" not in vars(other.manager)


def test_eventlet_being_installed_switches_nobody(app: flask.Flask) -> None:
    """A host's ``SocketIO`` that names no mode runs in the one of the process."""
    host = SocketIO(app)
    rt = Realtime(app)
    assert rt.concurrency.mode == "threading"
    assert host.server.eio.async_mode == host.async_mode == "threading"
    assert host.server.eio._async["queue_empty"].__module__ == "_queue"


def test_a_mode_that_the_host_has_named_is_kept(app: flask.Flask) -> None:
    """Named otherwise than the process runs, it is an error and not a surprise."""
    host = SocketIO(app, async_mode="threading")
    with pytest.raises(ConfigError, match="async_mode='threading'"):
        seams.own_async_mode(host, "gevent")


def test_rooms_are_the_hubs_in_our_namespace_only(app: flask.Flask) -> None:
    """A session is its own room, a user's room is the hub's; other namespaces keep python-socketio's."""
    rt = Realtime(app)
    manager = rt.socketio.server.manager
    manager.basic_enter_room("s1", "/tasks", None, eio_sid="c1")
    manager.basic_enter_room("s2", "/chat", None, eio_sid="c2")
    manager.basic_enter_room("s2", "/chat", "user:ada", eio_sid="c2")
    assert dict(manager.get_participants("/tasks", "s1")) == {"s1": "c1"}
    assert dict(manager.get_participants("/tasks", None)) == {"s1": "c1"}
    assert dict(manager.get_participants("/tasks", "user:ada")) == {}
    assert dict(manager.get_participants("/chat", "user:ada")) == {"s2": "c2"}


def test_no_ticket_in_a_log(app: flask.Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Socket.IO's own loggers print packets where a host has turned them on."""
    rt = Realtime(app)
    logger: Any = rt.socketio.server.eio.logger
    with caplog.at_level("INFO", logger=logger.name):
        logger.info("Received packet %s data %s", "MESSAGE", '0/tasks,{"ticket":"s3cret","epoch":"e"}')
    assert "s3cret" not in caplog.text
    assert '"epoch":"e"' in caplog.text
