"""A push socket over a socket pair, on eventlet's hub: what it writes, when, and how it ends."""

from __future__ import annotations

import contextlib
import queue
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
from realtime.protocol import MAX_CONTROL_BYTES
from realtime.transport.sweeper import PushSockets
from realtime.transport.websocket import MAX_INBOX, READ_SIZE, PushSocket

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

    def say(self, *parts: Any) -> None:
        """Send frames as a client does, in one piece: an opcode and its data, and the next."""
        self.peer.sendall(frames(*parts))

    def close(self) -> None:
        """Let go of both ends."""
        self.push.abort("over")
        self.peer.close()


def frames(*parts: Any) -> bytes:
    """Frames of a client: an opcode and its data, and the next."""
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return b"".join(Frame(opcode, data).serialize(mask=True, extensions=[]) for opcode, data in pairs)


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


def read(peer: socket.socket, most: int = 1 << 30) -> bytes:
    """What the peer gets, to the end or to so many bytes, on a thread while the hub runs here."""
    found = bytearray()

    def read_on() -> None:
        while len(found) < most and (data := peer.recv(65_536)):
            found.extend(data)

    reader = threading.Thread(target=read_on, daemon=True)
    reader.start()
    let_run(lambda: not reader.is_alive())
    return bytes(found)


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
    got = read(house.peer)
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


def test_what_came_before_a_close_is_handled(house: House) -> None:
    """A page that asks for something and goes at once sends both in one piece. Nothing is answered any more."""
    handled: list[str] = []

    def handle(_event: str, _sid: str, data: str, **_: Any) -> None:
        handled.append(data)
        house.push._write(b"\x81\x06answer")

    house.engine.server._trigger_event = handle
    house.engine.last_ping = None
    house.say(Opcode.TEXT, b"4first", Opcode.TEXT, b"4second", Opcode.CLOSE, b"\x03\xe8")
    assert read(house.peer) == b"\x88\x02\x03\xe8"
    let_run(lambda: house.push._handling is None)
    assert handled == ["first", "second"]


def test_a_close_of_ours_drops_what_waits_and_reads_on(house: House) -> None:
    """More had come than is read ahead. The answer to the close frame ends the connection; nobody waits for longer."""
    house.engine.server._trigger_event = lambda *_, **__: house.push.close(1008)
    house.engine.last_ping = None
    house.say(*[Opcode.TEXT, b"4more"] * (2 * MAX_INBOX))
    let_run(lambda: house.push.closing)
    house.say(Opcode.CLOSE, b"\x03\xf0")
    assert read(house.peer) == b"\x88\x02\x03\xf0"


def test_who_reads_no_answers_is_read_no_further(house: House) -> None:
    """A flood of pings whose pongs nobody takes: they are kept up to a bound, then TCP holds the flood up."""
    house.peer.setblocking(False)
    flood = frames(*[Opcode.PING, b"x" * 125] * 1_000)
    sent = held_up = 0
    while sent < 8 * MAX_CONTROL_BYTES and held_up < 100:
        try:
            sent += house.peer.send(flood[sent % len(flood) :])
            held_up = 0
        except BlockingIOError:
            held_up += 1
        eventlet.sleep(0)
    assert house.push._pending_bytes < MAX_CONTROL_BYTES + 2 * READ_SIZE
    house.peer.setblocking(True)
    answered = 0
    with eventlet.Timeout(PATIENCE):  # and goes on when they are taken
        while answered < sent // 131 * 127:
            with contextlib.suppress(BlockingIOError):
                answered += len(house.peer.recv(65_536, socket.MSG_DONTWAIT))
            eventlet.sleep(0)


def test_a_flood_of_messages_lets_others_run(house: House) -> None:
    """Handled one after another, but a few at a time."""
    handled, longest, turns = 0, 0, 0

    def handle(*_: Any, **__: Any) -> None:
        nonlocal handled
        handled += 1

    house.engine.server._trigger_event = handle
    house.engine.last_ping = None
    house.say(*[Opcode.TEXT, b"4"] * 1_000)
    with eventlet.Timeout(PATIENCE):
        while handled < 1_000:
            before = handled
            eventlet.sleep(0)
            longest, turns = max(longest, handled - before), turns + 1
    assert longest <= MAX_INBOX


def test_probes_do_not_pile_up(house: House) -> None:
    """One packet ends the poll that is open; a second would wait for the next poll, and a million of them too."""
    house.engine.queue = queue.Queue()
    house.push.probing = True
    house.engine.last_ping = None
    house.say(*[Opcode.TEXT, b"2probe"] * 300)
    answers = b"\x81\x063probe" * 300
    assert read(house.peer, len(answers)) == answers
    assert house.engine.queue.qsize() == 1


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
