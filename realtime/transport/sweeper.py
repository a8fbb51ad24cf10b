"""All push sockets of one Engine.IO server: the handshake that makes them, and the one sweeper that looks after them.

The sweeper stands in the place of Engine.IO's service task and of its greenlet per ping, on the monotonic clock and for
every transport.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from engineio import packet as engineio_packet
from websockets.utils import accept_key

from ..frames import packet_frame, text_frame
from .greenlets import Greenlets
from .handshake import is_key
from .polling import may_poll
from .websocket import PushSocket, leave_response_to_us, run_soon

log = logging.getLogger("realtime")

#: Bytes that the kernel may hold for a viewer. Of those that its peer has no room for it takes one frame and no more:
#: what it holds is stale by the time a slow viewer reads it.
SEND_BUFFER: Final = 64 * 1024
NOT_SENT_LOW: Final = 1


class PolledSession:
    """What the sweeper needs of a long-polling session."""

    __slots__ = ("_engine", "_sockets", "pinged")

    probing = False

    def __init__(self, sockets: PushSockets, engine: Any) -> None:
        self._sockets = sockets
        self._engine = engine
        self.pinged: float | None = None

    @property
    def gone(self) -> bool:
        """Whether Engine.IO has closed it."""
        return bool(self._engine.closed)

    @property
    def closing(self) -> bool:
        """Whether there is nothing to ask any more."""
        return bool(self._engine.closed or self._engine.upgraded)

    def answered(self) -> None:
        """A PONG has come. Stands in the place of the session's ``schedule_ping``."""
        self.pinged = None

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pinged = time.monotonic()
        self._engine.queue.put(engineio_packet.Packet(engineio_packet.PING))

    def abort(self, reason: str) -> None:
        """End the session."""
        run_soon(self._end, reason)

    def _end(self, reason: str) -> None:
        if not self.closing:
            with contextlib.suppress(Exception):
                self._engine.close(wait=False, abort=True, reason=reason)
        self._engine.server.sockets.pop(self._engine.sid, None)


class PushSockets:
    """All push sockets of one Engine.IO server: its WebSocket driver, and the sweeper that pings them."""

    def __init__(self, eio: Any, concurrency: Any, fallback: Any, took_over: Callable[[Any, PushSocket], None]) -> None:
        self._eio = eio
        self._fallback = fallback
        self.concurrency = concurrency
        self.empty: type[Exception] = eio._async["queue_empty"]
        self.took_over = took_over
        self.max_message: int = eio.max_http_buffer_size
        #: When each is due for a ping or a look (monotonic seconds); in that order.
        self.alive: dict[PushSocket | PolledSession, float] = {}
        self.closing: dict[PushSocket, float] = {}
        self.greenlets = Greenlets()

    def driver(self, handler: Callable[[Any], Any], server: Any) -> Any:
        """Engine.IO asks its driver for a WSGI app that makes the upgrade; ``handler`` is bound to its socket."""

        def upgrade(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if "realtime.detach" not in environ:
                return self._fallback(handler, server)(environ, start_response)  # type: ignore[no-any-return]
            return self._upgrade(handler.__self__, environ, start_response)  # type: ignore[attr-defined]

        return upgrade

    def _upgrade(self, engine: Any, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
        if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13" or not is_key(key):
            headers = [("Sec-WebSocket-Version", "13"), ("Content-Type", "text/plain")]
            start_response("426 Upgrade Required", headers)
            drop_unborn(engine)
            return (b"A WebSocket handshake of version 13 is expected.",)  # Engine.IO takes a list for packets
        if engine.upgrading:  # each attempt holds a descriptor, and only sessions are counted
            start_response("409 Conflict", [("Content-Type", "text/plain")])
            return (b"This session is being upgraded already.",)
        try:
            push = PushSocket(self, engine, _duplicate(environ["eventlet.input"].get_socket()))
        except OSError:
            drop_unborn(engine)
            raise
        # From here on no byte may come from the HTTP side.
        environ["realtime.detach"]()
        leave_response_to_us()
        try:
            self._begin(push, engine, key)
        except Exception:
            log.exception("A WebSocket could not be taken over.")
            push.abort("transport error")  # it closes its descriptor, once: the number may be another viewer's by then
        return ()

    def _begin(self, push: PushSocket, engine: Any, key: str) -> None:
        frames = []
        if push.probing:
            engine.upgrading = True
        else:
            former, engine.queue = engine.queue, push
            while not former.empty():
                packet = former.get(block=False)
                if packet.packet_type == engineio_packet.OPEN:  # Engine.IO's JSON takes several times as long
                    packet.data = msgspec.json.encode(packet.data).decode()
                frames.append(packet_frame(packet))
            engine.connected = engine.upgraded = True
        self.begin(push, key, *frames)

    def begin(self, push: PushSocket, key: str, *frames: bytes) -> None:
        """Answer the handshake with this key. ``frames`` follow the answer at once."""
        self.alive[push] = time.monotonic() + self._eio.ping_interval
        # No Sec-WebSocket-Extensions: with permessage-deflate each viewer would need a compression of its own.
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key).encode()
        )
        push._write(b"".join((answer, *frames)))

    def tell(self, sid: str, packet: bytes) -> bool:
        """Send a Socket.IO packet by a push socket, if the session has one and this is the hub's thread."""
        engine = self._eio.sockets.get(sid)
        push = None if engine is None else engine.queue
        if not isinstance(push, PushSocket) or not self.concurrency.on_hub():
            return False
        if not push.closing:
            push._write(text_frame(b"4" + packet))
        return True

    def opened(self, engine: Any, environ: dict[str, Any]) -> None:
        """A session begins. Its signs of life are ours to ask for, on the monotonic clock, whatever its transport."""
        engine.last_ping = None  # so that Engine.IO schedules no ping of its own
        if may_poll(environ):
            polled = PolledSession(self, engine)
            engine.schedule_ping = polled.answered
            self.alive[polled] = time.monotonic() + self._eio.ping_interval

    def sweep(self) -> None:
        """Ping those that are due, drop the silent ones and those that do not answer a close."""
        now = time.monotonic()
        while self.alive:
            push, due = next(iter(self.alive.items()))
            if due > now:
                break
            del self.alive[push]
            if push.closing:
                if isinstance(push, PolledSession) and push.gone:
                    push.abort("transport close")
                continue
            if push.probing or (push.pinged is not None and now - push.pinged >= self._eio.ping_timeout):
                push.abort("ping timeout")
            else:
                self.alive[push] = now + self._eio.ping_interval
                if push.pinged is None:
                    push.ping()
        for push, deadline in list(self.closing.items()):
            if deadline <= now:
                push.abort("transport close")


def prepare(connection: Any) -> None:
    """Set how much a viewer's socket may hold."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_LOW)


def _duplicate(green: Any) -> int:
    """A descriptor of our own for the connection. (It does not block: that goes with the connection.)"""
    prepare(green)
    return os.dup(green.fileno())


def drop_unborn(engine: Any) -> None:
    """End a session that would have begun with this WebSocket: nothing else would ever end it."""
    if not engine.connected:
        with contextlib.suppress(Exception):
            engine.close(wait=False, abort=True)
        engine.server.sockets.pop(engine.sid, None)
