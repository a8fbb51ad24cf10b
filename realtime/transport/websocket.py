"""The push socket: a WebSocket (RFC 6455) under our eventlet server without a greenlet, and without Engine.IO's queue.

After the upgrade the WSGI handler returns and its socket, buffers and environ go; what stays with a viewer is a
duplicate of its descriptor on eventlet's hub and the slotted objects of this module. ``websockets``' sans-I/O
protocol reads (masks in C, a limit per message, the right close codes); permessage-deflate is not negotiated, so that
one frame serves all.

Writing is one system call per viewer and flush, made with the GIL held: ``socket.send`` lets go of it, and one thread
that computes then takes it for 5 ms at each of a thousand sends. What the socket does not take is kept to the end of
the frame in flight; the hub keeps the rest as dirty task ids.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ctypes
import errno
import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import eventlet
from engineio import packet as engineio_packet
from eventlet import hubs, wsgi
from websockets.frames import CloseCode, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.utils import accept_key

from ..frames import Batch, text_frame
from ..protocol import MAX_CONTROL_BYTES

log = logging.getLogger("realtime")
#: The protocol objects' own logger: it tells each closed connection at INFO.
_protocol_log = logging.getLogger("realtime.websocket")
_protocol_log.setLevel(logging.ERROR)

#: Bytes that the kernel may hold for a viewer: what it holds is stale by the time a slow viewer reads it.
SEND_BUFFER: Final = 64 * 1024
NOT_SENT_LOW: Final = 16 * 1024
#: Messages of one viewer that wait for their turn before its socket is read no further.
MAX_INBOX: Final = 32
READ_SIZE: Final = 16 * 1024
#: Seconds that a peer gets to answer a close frame.
CLOSE_TIMEOUT: Final = 3.0

_FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_AGAIN: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
_TEXT, _BINARY, _CONTINUATION, _CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE

# A PyDLL call keeps the GIL, unlike a CDLL call and unlike socket.send.
_libc = ctypes.PyDLL(None, use_errno=True)
_send = _libc.send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t


class PushSocket:
    """A viewer's WebSocket. Stands in the place of Engine.IO's queue; all of it runs on the hub thread but `put`."""

    __slots__ = (
        "_corked", "_engine", "_fd", "_handling", "_inbox", "_on_overflow", "_on_ready", "_parts", "_pending", "_pending_bytes",
        "_protocol", "_reading", "_sockets", "_text", "_writing", "busy_since", "closing", "pinged", "probing",
    )  # fmt: skip

    def __init__(self, sockets: PushSockets, engine: Any, fd: int) -> None:
        self._sockets = sockets
        self._engine = engine
        self._fd = fd
        self._protocol: Protocol | None = Protocol(SERVER, max_size=sockets.max_message, logger=_protocol_log)
        # Bytes that the socket has not taken: the end of the frame in flight, and control frames.
        self._pending: deque[bytes] | None = None
        self._pending_bytes = 0
        # While a message is handled, what answers it waits here to be written at once; None otherwise.
        self._corked: list[bytes] | None = None
        # Messages that wait for their turn, and the parts of one that comes in fragments.
        self._inbox: deque[str | bytes] | None = None
        self._handling = False
        self._parts: list[bytes] | None = None
        self._text = False
        self._writing: Any = None
        self._on_ready: Callable[[], None] | None = None
        self._on_overflow: Callable[[], None] | None = None
        #: Monotonic seconds since which the socket takes nothing; None when it takes what it is given.
        self.busy_since: float | None = None
        #: Monotonic seconds when it was asked for a sign of life; None when it has answered.
        self.pinged: float | None = None
        #: Whether a close frame is on its way.
        self.closing = False
        #: Whether it is still a long-polling session's attempt to upgrade.
        self.probing: bool = engine.connected
        self._reading: Any = None
        self._listen()

    def _listen(self) -> None:
        hub = hubs.get_hub()
        self._reading = hub.add(hub.READ, self._fd, self._readable, _ignore, None)
        self._reading.greenlet = None  # else the greenlet of the handshake would live as long as the viewer

    # The place of Engine.IO's queue.

    def attach(self, on_ready: Callable[[], None], on_overflow: Callable[[], None]) -> None:
        """A viewer lives on this connection from now on. `on_ready` is called whenever the socket can take more."""
        self._on_ready = on_ready
        self._on_overflow = on_overflow

    def detach(self) -> None:
        """The viewer has gone; the connection may live on for the host's namespaces."""
        self._on_ready = self._on_overflow = None

    def push(self, batch: Batch) -> int:
        """Write the frames with one system call. Returns how many of them are on their way.

        The caller has seen that `busy_since` is None.
        """
        if self._corked:
            self._uncork()
            if self.busy_since is not None:
                return 0
        data, frames = batch.joined, batch.frames
        length = len(data)
        taken = _send(self._fd, data, length, _FLAGS)
        if taken == length:
            return len(frames)
        if taken < 0:
            if ctypes.get_errno() not in _AGAIN:
                self.abort("transport error")
                return len(frames)
            taken = 0
        self._wait_writable()
        end = count = 0
        while end < taken:
            end += len(frames[count].websocket)
            count += 1
        if end > taken:
            self._keep(data[taken:end])
        return count

    def put(self, packet: Any, block: bool = True, timeout: float | None = None) -> None:
        """Send a control packet (None ends the connection), from any thread. Never blocks; overflowing closes it."""
        self._sockets.concurrency.call_soon(lambda: self._put(packet))

    def _put(self, packet: Any) -> None:
        if self.closing or self._fd < 0:
            return
        if packet is None:
            self.close(CloseCode.NORMAL_CLOSURE)
            return
        encoded = packet.encode()
        self._write(text_frame(encoded.encode()) if isinstance(encoded, str) else _binary_frame(encoded))

    def _uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked:
            self._write(b"".join(corked))

    def _write(self, data: bytes) -> None:
        if self._corked is not None:
            self._corked.append(data)
            return
        if self._fd < 0:
            return
        if self._pending:
            self._keep(data)
            if self._pending_bytes > MAX_CONTROL_BYTES and self._on_overflow is not None:
                on_overflow, self._on_overflow = self._on_overflow, None
                on_overflow()
            return
        taken = _send(self._fd, data, len(data), _FLAGS)
        if taken == len(data):
            return
        if taken < 0:
            if ctypes.get_errno() not in _AGAIN:
                self.abort("transport error")
                return
            taken = 0
        self._keep(data[taken:])
        self._wait_writable()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Part of the queue interface: nothing is ever taken out here."""
        raise self._sockets.empty

    def empty(self) -> bool:
        return not self._pending

    def task_done(self) -> None:
        """Part of the queue interface."""

    def join(self) -> None:
        """Part of the queue interface."""

    # Writing.

    def _keep(self, data: bytes) -> None:
        if self._pending is None:
            self._pending = deque()
        self._pending.append(data)
        self._pending_bytes += len(data)

    def _wait_writable(self) -> None:
        if self.busy_since is None:
            self.busy_since = time.monotonic()
        if self._writing is None and self._fd >= 0:
            hub = hubs.get_hub()
            self._writing = hub.add(hub.WRITE, self._fd, self._writable, _ignore, None)

    def _writable(self, _fd: int) -> None:
        try:
            while self._pending:
                data = self._pending[0]
                taken = _send(self._fd, data, len(data), _FLAGS)
                if taken < 0:
                    if ctypes.get_errno() in _AGAIN:
                        return
                    self.abort("transport error")
                    return
                self._pending_bytes -= taken
                self.busy_since = time.monotonic()
                if taken < len(data):
                    self._pending[0] = data[taken:]
                    return
                self._pending.popleft()
            self._pending = None
            self._stop_writing()
            self.busy_since = None
            if self._on_ready is not None:
                self._on_ready()
        except Exception:  # a callback that raises is called again, for ever
            log.exception("Writing to a viewer failed.")
            self.abort("transport error")

    def _stop_writing(self) -> None:
        if self._writing is not None:
            hubs.get_hub().remove(self._writing)
            self._writing = None

    # Reading.

    def _readable(self, _fd: int) -> None:
        try:
            self._read()
        except Exception:
            log.exception("Reading from a viewer failed.")
            self.abort("transport error")

    def _read(self) -> None:
        protocol = self._protocol
        try:
            data = os.read(self._fd, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data or protocol is None:
            self.abort("transport close")
            return
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if not self._frame(protocol, frame):
                break
        ended = False
        for out in protocol.data_to_send():
            if out:
                self._write(out)
            else:
                ended = True  # the protocol is through: RFC 6455 section 7.1.1, the server closes first
        if ended:
            self._end()
        elif self._inbox is not None and len(self._inbox) >= MAX_INBOX and self._reading is not None:
            hubs.get_hub().remove(self._reading)
            self._reading = None

    def _frame(self, protocol: Protocol, frame: Any) -> bool:
        """Take one frame; False after the last."""
        opcode = frame.opcode
        if opcode is _TEXT or opcode is _BINARY:
            self._text = opcode is _TEXT
            if frame.fin:
                return self._message(protocol, bytes(frame.data))
            self._parts = [bytes(frame.data)]
        elif opcode is _CONTINUATION and self._parts is not None:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                data, self._parts = b"".join(self._parts), None
                return self._message(protocol, data)
        return opcode is not _CLOSE

    def _message(self, protocol: Protocol, data: bytes) -> bool:
        message: str | bytes = data
        if self._text:
            if data == b"3":  # PONG, the most frequent of all
                self.pinged = None
                return True
            try:
                message = data.decode()
            except UnicodeDecodeError:
                protocol.fail(CloseCode.INVALID_DATA, "not UTF-8")
                return False
            if not message or message[0] not in "123456":
                protocol.fail(CloseCode.PROTOCOL_ERROR, "not an Engine.IO packet")
                return False
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(message)
        if not self._handling:
            self._handling = True
            eventlet.spawn_n(self._handle)
        return True

    def _handle(self) -> None:
        """Handle what has come in, one after another, where a handler may wait."""
        try:
            while self._inbox and self._protocol is not None and not self.closing:
                self._corked = []
                self._receive(self._inbox.popleft())
                self._uncork()
                if self._reading is None and self._fd >= 0 and len(self._inbox) < MAX_INBOX // 2:
                    self._listen()
        except Exception:
            log.exception("A message of a viewer failed.")
            self.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._uncork()
            self._inbox = None
            self._handling = False

    def _receive(self, message: str | bytes) -> None:
        engine = self._engine
        kind = "4" if isinstance(message, bytes) else message[0]
        if self.probing:
            if message == "2probe":
                self._write(text_frame(b"3probe"))
                engine.queue.put(engineio_packet.Packet(engineio_packet.NOOP))  # ends the open poll
            elif kind == "5":
                self._upgraded()
            else:
                self.close(CloseCode.PROTOCOL_ERROR)
        elif kind == "4":
            data = message if isinstance(message, bytes) else message[1:]
            engine.server._trigger_event("message", engine.sid, data, run_async=False)
        elif kind == "1":
            self.close(CloseCode.NORMAL_CLOSURE, "client disconnect")
        elif kind == "3":
            self.pinged = None
        if self._engine.last_ping is not None:  # of a ping that was on its way when the session was upgraded
            self._engine.last_ping = None

    def _upgraded(self) -> None:
        engine = self._engine
        former, engine.queue = engine.queue, self
        engine.upgraded, engine.upgrading = True, False
        self.probing = False
        while not former.empty():
            self._put(former.get(block=False))
        self._sockets.took_over(engine, self)

    # Ends.

    def ping(self) -> None:
        """Ask for a sign of life (https://socket.io/docs/v4/engine-io-protocol/#heartbeat)."""
        self.pinged = time.monotonic()
        self._write(_PING)

    def close(self, code: int, reason: str = "server disconnect") -> None:
        """Start the closing handshake (RFC 6455 section 7.1.2) and let the session go."""
        protocol = self._protocol
        if self.closing or protocol is None:
            return
        if protocol.state is State.OPEN:
            self._uncork()
            protocol.send_close(code)
            for out in protocol.data_to_send():
                if out:
                    self._write(out)
        self._leave(reason)

    def _end(self) -> None:
        """Both close frames are through, or the peer broke the protocol and was told so: let go of the socket."""
        self._leave("transport close")
        if not self._pending:
            self._release()

    def _leave(self, reason: str) -> None:
        if not self.closing:
            self.closing = True
            self._sockets.closing[self] = time.monotonic() + CLOSE_TIMEOUT
            eventlet.spawn_n(self._forget, reason)

    def abort(self, reason: str) -> None:
        """Let go of the socket at once."""
        self._leave(reason)
        self._release()

    def _release(self) -> None:
        fd, self._fd = self._fd, -1  # whoever writes from here on must not hit a descriptor that is somebody else's
        if fd < 0:
            return
        hub = hubs.get_hub()
        if self._reading is not None:
            hub.remove(self._reading)
            self._reading = None
        self._stop_writing()
        with contextlib.suppress(OSError):
            os.close(fd)
        self._protocol = None
        self._pending = None
        self._parts = None
        self._sockets.closing.pop(self, None)
        self._sockets.alive.pop(self, None)

    def _forget(self, reason: str) -> None:
        engine = self._engine
        if self.probing:
            engine.upgrading = False  # it stays what it was: a long-polling session
            return
        with contextlib.suppress(Exception):
            engine.close(wait=False, abort=True, reason=reason)
        engine.server.sockets.pop(engine.sid, None)


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
        eventlet.spawn_n(self._end, reason)

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

    def driver(self, handler: Callable[[Any], Any], server: Any) -> Any:
        """Engine.IO asks its driver for a WSGI app that makes the upgrade; ``handler`` is bound to its socket."""

        def upgrade(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if "realtime.detach" not in environ:
                return self._fallback(handler, server)(environ, start_response)  # type: ignore[no-any-return]
            return self._upgrade(handler.__self__, environ, start_response)  # type: ignore[attr-defined]

        return upgrade

    def _upgrade(self, engine: Any, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
        if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13" or not _is_key(key):
            headers = [("Sec-WebSocket-Version", "13"), ("Content-Type", "text/plain")]
            start_response("426 Upgrade Required", headers)
            return [b"A WebSocket handshake of version 13 is expected."]
        green = environ["eventlet.input"].get_socket()
        for option, size in ((socket.SO_SNDBUF, SEND_BUFFER),):
            green.setsockopt(socket.SOL_SOCKET, option, size)
        if sys.platform == "linux":
            green.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_LOW)
        # No Sec-WebSocket-Extensions: with permessage-deflate each viewer would need a compression of its own.
        green.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key).encode()
        )
        fd = os.dup(green.fileno())
        os.set_blocking(fd, False)
        environ["realtime.detach"]()
        push = PushSocket(self, engine, fd)
        if push.probing:
            engine.upgrading = True
        else:
            former, engine.queue = engine.queue, push
            engine.connected = engine.upgraded = True
            while not former.empty():
                push._put(former.get(block=False))
        self.alive[push] = time.monotonic() + self._eio.ping_interval
        wsgi.WSGI_LOCAL.already_handled = True
        return ()

    def opened(self, engine: Any, environ: dict[str, Any]) -> None:
        """A session begins. Its signs of life are ours to ask for, on the monotonic clock, whatever its transport."""
        engine.last_ping = None  # so that Engine.IO schedules no ping of its own
        if "transport=websocket" not in environ.get("QUERY_STRING", ""):
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


def _ignore(*_: Any) -> None:
    """For what the hub throws into a listener whose descriptor somebody else has closed."""


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _binary_frame(payload: bytes) -> bytes:
    frame = text_frame(payload)
    return b"\x82" + frame[1:]


_PING: Final = text_frame(b"2")
