"""A push socket over a socket pair, on eventlet's hub: what it writes, when, and how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from websockets.frames import Frame, Opcode

from realtime.frames import Batch
from realtime.frames import Frame as Push
from realtime.transport.sweeper import PushSockets
from realtime.transport.websocket import PushSocket

PATIENCE = 30.0


class House:
    """What keeps a push socket, and its peer."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        self.peer.settimeout(PATIENCE)
        eio = SimpleNamespace(
            _async={"queue_empty": RuntimeError}, max_http_buffer_size=16_384, ping_interval=25, ping_timeout=20,
            sockets={},
        )  # fmt: skip
        self.engine: Any = SimpleNamespace(connected=False, server=eio, sid="sid", close=lambda **_: None)
        concurrency = SimpleNamespace(call_soon=lambda function: function())
        self.sockets = PushSockets(eio, concurrency, None, lambda *_: None)
        self.push = PushSocket(self.sockets, self.engine, ours.detach())

    def say(self, opcode: Opcode, data: bytes) -> None:
        """Send a frame as a client does."""
        self.peer.sendall(Frame(opcode, data).serialize(mask=True, extensions=[]))

    def close(self) -> None:
        """Let go of both ends."""
        self.push.abort("over")
        self.peer.close()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def let_run(until: Callable[[], bool]) -> None:
    """Let the hub run until something is so."""
    with eventlet.Timeout(PATIENCE):
        while not until():
            eventlet.sleep(0.001)


def read_to_the_end(peer: socket.socket) -> bytes:
    """What the peer gets, on a thread while the hub runs here."""
    found: list[bytes] = []

    def read() -> None:
        while data := peer.recv(65_536):
            found.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    let_run(lambda: not reader.is_alive())
    return b"".join(found)


def test_an_end_follows_what_is_pending(house: House) -> None:
    """A peer that closes with bytes still to come gets them, the close frame after them, and the end of it all.

    Nothing sweeps here: what only the sweeper would end does not end.
    """
    batch = Batch([Push("/tasks", "task_progress", b'"%s"' % (b"x" * 200_000))])
    assert house.push.push(batch) == 1
    assert not house.push.empty()
    house.say(Opcode.CLOSE, b"\x03\xe8")
    let_run(lambda: house.push.closing)
    assert not house.push.empty()
    got = read_to_the_end(house.peer)
    assert got == batch.joined + b"\x88\x02\x03\xe8"


def test_a_ping_does_not_wait_for_a_handler(house: House) -> None:
    """What a handler answers is written at once when it ends; what others write meanwhile goes before that."""
    working, go_on = threading.Event(), threading.Event()

    def handle(*_: Any, **__: Any) -> None:
        house.push._write(b"\x81\x05first")
        working.set()
        let_run(go_on.is_set)
        house.push._write(b"\x81\x04last")

    house.engine.server._trigger_event = handle
    house.engine.last_ping = None
    house.say(Opcode.TEXT, b"40/tasks,")
    let_run(working.is_set)
    house.say(Opcode.PING, b"there?")
    house.peer.setblocking(False)
    got = b""

    def answered() -> bool:
        nonlocal got
        try:
            got += house.peer.recv(4096)
        except BlockingIOError:
            return False
        return got.endswith(b"there?")

    let_run(answered)
    assert got == b"\x81\x05first\x8a\x06there?"
    go_on.set()
    let_run(lambda: house.push._handling is None)
    assert house.peer.recv(4096) == b"\x81\x04last"


def test_a_descriptor_is_closed_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When taking a WebSocket over fails, nothing of it writes to a number that is somebody else's by then."""
    push, fd = house.push, house.push._fd
    monkeypatch.setattr("realtime.transport.sweeper.accept_key", lambda _: 1 / 0)
    monkeypatch.setattr("realtime.transport.sweeper.PushSocket", lambda *_: push)
    monkeypatch.setattr("realtime.transport.sweeper._duplicate", lambda _: fd)
    house.engine.upgrading = False
    environ = {
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==", "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "eventlet.input": SimpleNamespace(get_socket=lambda: None), "realtime.detach": lambda: None,
    }  # fmt: skip
    assert list(house.sockets._upgrade(house.engine, environ, None)) == []
    other, peer = socket.socketpair()
    try:
        assert fd in (other.fileno(), peer.fileno())
        push.ping()
        push.abort("again")
        other.sendall(b"mine")
        assert peer.recv(100) == b"mine"
    finally:
        other.close()
        peer.close()
