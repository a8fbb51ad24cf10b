"""The short way in, on eventlet's hub: what a viewer that comes that way costs, by counting."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import eventlet
import flask
import pytest
from websockets.frames import Frame, Opcode

from realtime import Realtime, concurrency
from realtime.serving import listen
from realtime.transport import descriptor, doorway, websocket
from realtime.transport.doorway import Doorway

PATIENCE = 30.0
REQUEST = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class House:
    """A `Realtime` as under our own server, with its doorway, and both ends of a connection."""

    def __init__(self) -> None:
        app = flask.Flask("app")
        app.config["SECRET_KEY"] = "k" * 32
        self.rt = Realtime(app)
        self.rt.concurrency.attach()
        self.eio = self.rt.socketio.server.eio
        self.doorway = Doorway(self.eio, self.rt.transport.sockets, "/socket.io/", app)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.peer = socket.create_connection(listening.getsockname(), PATIENCE)
            self.connection, self.address = listening.accept()
        self.peer.setblocking(False)

    def send(self, data: bytes) -> None:
        """Have the peer send something; returns once it has come."""
        self.peer.sendall(data)
        assert not data or select.select([self.connection], [], [], PATIENCE)[0]

    def take(self) -> bool:
        """Offer the connection to the doorway."""
        return self.doorway.take(self.connection, self.address)

    def read_until(self, end: bytes) -> bytes:
        """What the peer gets, up to where this is in it; the hub runs meanwhile."""
        got = b""
        with eventlet.Timeout(PATIENCE):
            while end not in got:
                try:
                    data = self.peer.recv(65_536)
                except BlockingIOError:
                    eventlet.sleep(0.001)
                else:
                    assert data
                    got += data
        return got

    def close(self) -> None:
        """Let go of all of it."""
        self.rt.hub.stop()
        for engine in list(self.eio.sockets.values()):
            if engine.queue is not None:
                engine.queue.abort("over")
        self.connection.close()
        self.peer.close()
        eventlet.sleep(0)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(concurrency, "_server_mode", "eventlet")
    made = House()
    yield made
    made.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each ``send`` was given."""
    noted: list[bytes] = []
    real: Callable[[int, bytes, int, int], int] = descriptor.send

    def send(fd: int, data: bytes, size: int, flags: int) -> int:
        noted.append(data)
        return real(fd, data, size, flags)

    monkeypatch.setattr(websocket, "send", send)
    return noted


def test_a_connect_is_two_sends_and_one_descriptor(house: House, sent: list[bytes]) -> None:
    """The handshake's answer goes with Engine.IO's greeting, the answer to CONNECT with the first snapshot."""
    house.send(REQUEST)
    fd = house.connection.fileno()
    assert house.take()
    (engine,) = house.eio.sockets.values()
    assert (house.connection.fileno(), engine.queue._fd) == (-1, fd)
    house.read_until(b'"maxPayload"')
    ask = b'40/tasks,{"ticket":"%b"}' % house.rt.ticket("ada").encode()
    house.peer.sendall(Frame(Opcode.TEXT, ask).serialize(mask=True, extensions=[]))
    house.read_until(b"tasks_snapshot")
    opening, answer = sent
    assert opening.startswith(b"HTTP/1.1 101")
    assert b'0{"sid"' in opening
    assert answer.index(b'40/tasks,{"sid"') < answer.index(b'42/tasks,["tasks_snapshot"')
    (viewer,) = house.rt.hub.viewers.values()
    assert (viewer.grant.user_id, viewer.address) == ("ada", "127.0.0.1")


@pytest.mark.parametrize("sent_first", [b"", REQUEST[:40], REQUEST.replace(b"GET", b"PUT")])
def test_what_is_not_taken_is_left_as_it_was(sent_first: bytes, house: House) -> None:
    """It can still be read, and no session has begun with it."""
    house.send(sent_first)
    assert not house.take()
    assert house.eio.sockets == {}
    house.connection.setblocking(False)
    if sent_first:
        assert house.connection.recv(65_536) == sent_first
    else:
        with pytest.raises(BlockingIOError):
            house.connection.recv(65_536)


def test_who_is_refused_is_left_as_he_was(house: House) -> None:
    """Engine.IO asks again, and tells him."""
    house.rt.transport.max_viewers = 0
    house.send(REQUEST)
    assert not house.take()
    assert house.eio.sockets == {}
    assert house.connection.recv(65_536) == REQUEST


def test_one_who_goes_while_he_is_let_in_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a session nor a descriptor, nor an environ."""

    def fail(*_: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(doorway, "prepare", fail)
    house.send(REQUEST)
    assert house.take()
    assert house.connection.fileno() == -1
    assert house.eio.sockets == {}
    assert house.rt.socketio.server.environ == {}


def test_a_connection_is_told_of_with_its_first_bytes() -> None:
    """Else hardly a handshake would have come when its connection is accepted, but for those from nearby. And what is
    written to it leaves at once.
    """
    listening = listen("127.0.0.1", 0)
    with contextlib.closing(listening), socket.create_connection(listening.getsockname(), PATIENCE) as peer:
        if hasattr(socket, "TCP_DEFER_ACCEPT"):
            assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
        peer.sendall(b"G")
        assert select.select([listening], [], [], PATIENCE)[0]
        accepted, _ = listening.accept()
        with contextlib.closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.recv(10) == b"G"
