"""The push socket: a WebSocket (RFC 6455) under our eventlet server without a greenlet, and without Engine.IO's queue.

After the upgrade what stays with a viewer is its descriptor on eventlet's hub and the slotted objects of this module. A
sans-I/O protocol reads (`dialogue`); permessage-deflate is not negotiated, so that one frame serves all.

Writing is one system call per viewer and flush (`descriptor`). What the socket does not take is kept to the end of the
frame in flight; the hub keeps the rest as dirty task ids.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import eventlet
from engineio import packet as engineio_packet
from eventlet import hubs, wsgi
from websockets.frames import CloseCode

from ..concurrency import EventletConcurrency
from ..frames import Batch, packet_frame, text_frame
from ..protocol import MAX_CONTROL_BYTES
from .descriptor import FLAGS, end_writing, is_full, send
from .dialogue import Dialogue
from .greenlets import Greenlets

log = logging.getLogger("realtime")

#: Messages of one viewer that wait for their turn before its socket is read no further.
MAX_INBOX: Final = 32
READ_SIZE: Final = 16 * 1024
#: Seconds that a peer gets to answer a close frame.
CLOSE_TIMEOUT: Final = 3.0


class Keeper(Protocol):
    """What push sockets need of those who keep them (`sweeper.PushSockets`)."""

    concurrency: EventletConcurrency
    empty: type[Exception]
    max_message: int
    took_over: Callable[[Any, PushSocket], None]
    alive: dict[Any, float]
    closing: dict[PushSocket, float]
    greenlets: Greenlets


class PushSocket:
    """A viewer's WebSocket. Stands in the place of Engine.IO's queue; all of it runs on the hub thread but `put`."""

    __slots__ = (
        "_corked", "_dialogue", "_ended", "_engine", "_fd", "_handling", "_inbox", "_on_overflow", "_on_ready",
        "_pending", "_pending_bytes", "_reading", "_sockets", "_writing", "busy_since", "closing", "pinged", "probing",
    )  # fmt: skip

    def __init__(self, sockets: Keeper, engine: Any, fd: int) -> None:
        self._sockets, self._engine, self._fd = sockets, engine, fd
        self._dialogue: Dialogue | None = Dialogue(sockets.max_message)
        # Bytes that the socket has not taken: the end of the frame in flight, and control frames.
        self._pending: deque[bytes] | None = None
        self._pending_bytes = 0
        # While a message is handled, what answers it waits here to be written at once; None otherwise.
        self._corked: list[bytes] | None = None
        # Messages that wait for their turn.
        self._inbox: deque[str | bytes] | None = None
        self._handling: Any = None  # the green thread that handles messages
        self._writing: Any = None
        self._on_ready: Callable[[], None] | None = None
        self._on_overflow: Callable[[], None] | None = None
        #: Monotonic seconds since which the socket takes nothing; None when it takes what it is given.
        self.busy_since: float | None = None
        #: Monotonic seconds when it was asked for a sign of life; None when it has answered.
        self.pinged: float | None = None
        #: Whether a close frame is on its way, and whether nothing follows what is pending.
        self.closing = self._ended = False
        #: Whether it is still a long-polling session's attempt to upgrade.
        self.probing: bool = engine.connected
        self._reading: Any = None
        hubs.notify_opened(fd)  # eventlet knows of descriptors by its own sockets only
        self._listen()

    def _listen(self) -> None:
        hub = hubs.get_hub()
        self._reading = hub.add(hub.READ, self._fd, self._readable, _ignore, None)
        self._reading.greenlet = None  # else the greenlet of the handshake would live as long as the viewer

    def attach(self, on_ready: Callable[[], None], on_overflow: Callable[[], None]) -> None:
        """A viewer lives on this connection from now on. `on_ready` is called whenever the socket can take more."""
        self._on_ready = on_ready
        self._on_overflow = on_overflow

    def detach(self) -> None:
        """The viewer has gone."""
        self._on_ready = self._on_overflow = None

    def push(self, batch: Batch) -> int:
        """Write the frames with one system call. Returns how many of them are on their way.

        The caller has seen that `busy_since` is None.
        """
        if self.closing:
            return len(batch.frames)  # nothing follows a close frame
        if self._corked:
            self._uncork()
            if self.busy_since is not None:
                return 0
        data, frames = batch.joined, batch.frames
        taken = self._offer(data)
        if taken is None or taken == len(data):
            return len(frames)
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
        self._write(packet_frame(packet))

    def _uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked:
            self._write(b"".join(corked))

    def _write(self, data: bytes) -> None:
        if self._corked is not None:
            self._corked.append(data)
            if eventlet.getcurrent() is self._handling:
                return
            data = b"".join(self._corked)  # a ping, say: it does not wait for a handler that takes its time
            self._corked = []
        if self._fd < 0 or self._ended:
            return
        if self._pending:
            # How large one emit of a host app may be is its own affair: the bound is on what waits before it.
            if self._pending_bytes >= MAX_CONTROL_BYTES and self._on_overflow is not None:
                on_overflow, self._on_overflow = self._on_overflow, None
                on_overflow()
            else:
                self._keep(data)
            return
        taken = self._offer(data)
        if taken is not None and taken < len(data):
            self._keep(data[taken:])
            self._wait_writable()

    def _offer(self, data: bytes) -> int | None:
        """How much of it the socket has taken; None when it has ended."""
        taken: int = send(self._fd, data, len(data), FLAGS)
        if taken < 0:
            if not is_full():
                self.abort("transport error")
                return None
            taken = 0
        return taken

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        raise self._sockets.empty

    def empty(self) -> bool:
        return not self._pending

    def task_done(self) -> None: ...
    def join(self) -> None: ...

    def _keep(self, data: bytes) -> None:
        self._pending = self._pending or deque()
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
                taken = self._offer(data)
                if not taken:
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
            self._half_close()
            self._read_on()
            if self._on_ready is not None:
                self._on_ready()
        except Exception:  # a callback that raises is called again
            log.exception("Writing to a viewer failed.")
            self.abort("transport error")

    def _stop_reading(self) -> None:
        if self._reading is not None:
            hubs.get_hub().remove(self._reading)
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            hubs.get_hub().remove(self._writing)
            self._writing = None

    def _readable(self, _fd: int) -> None:
        try:
            self._read()
        except Exception:
            log.exception("Reading from a viewer failed.")
            self.abort("transport error")

    def _read(self) -> None:
        dialogue = self._dialogue
        try:
            data = os.read(self._fd, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data or dialogue is None:
            self.abort("transport close")
            return
        for message in dialogue.receive(data):
            if message == "3":  # PONG, the most frequent of all
                self.pinged = None
                continue
            if self.closing:
                continue  # we have ended it; only the peer's answer to that is waited for
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.append(message)
        answer, ended = dialogue.outgoing()
        if answer:
            self._write(answer)
        if ended:
            self._end()
        elif self._pending_bytes >= MAX_CONTROL_BYTES or (self._inbox is not None and len(self._inbox) >= MAX_INBOX):
            self._stop_reading()  # TCP holds up who sends faster than it is handled, or reads no answers
        if self._inbox and self._handling is None:
            self._sockets.greenlets.run(self._handle, hubs.get_hub())

    def _read_on(self) -> None:
        room = self._pending_bytes < MAX_CONTROL_BYTES and (self._inbox is None or len(self._inbox) < MAX_INBOX // 2)
        if room and self._reading is None and self._fd >= 0:
            self._listen()

    def _handle(self) -> None:
        """Handle what has come in, one after another, where a handler may wait."""
        self._handling, handled = eventlet.getcurrent(), 0
        try:
            # What came before the peer's end is handled too; it gets no answer.
            while self._inbox and self._dialogue is not None:
                self._corked = []
                self._receive(self._inbox.popleft())
                self._uncork()
                self._read_on()
                handled += 1
                if handled % MAX_INBOX == 0 and not self.closing:
                    eventlet.sleep(0)  # one viewer's flood is not to hold up all others
        except Exception:
            log.exception("A message of a viewer failed.")
            self.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._uncork()
            self._inbox = self._handling = None

    def _receive(self, message: str | bytes) -> None:
        engine = self._engine
        kind = "4" if isinstance(message, bytes) else message[0]
        if self.probing:
            if self.closing:
                return
            if message == "2probe":
                self._write(text_frame(b"3probe"))
                if engine.queue.empty():  # ends the open poll, for which there was nothing
                    engine.queue.put(engineio_packet.Packet(engineio_packet.NOOP))
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

    def ping(self) -> None:
        """Ask for a sign of life (https://socket.io/docs/v4/engine-io-protocol/#heartbeat)."""
        self.pinged = time.monotonic()
        self._write(_PING)

    def close(self, code: int, reason: str = "server disconnect") -> None:
        """Start the closing handshake (RFC 6455 section 7.1.2) and let the session go."""
        if self.closing or self._dialogue is None:
            return
        self._uncork()
        self._dialogue.close(code)
        self._write(self._dialogue.outgoing()[0])
        self._leave(reason)
        if self._inbox:
            self._inbox.clear()
        self._read_on()

    def _end(self) -> None:
        """Nothing follows: say so, and read until the peer has read it. To close at once with bytes unread would
        reset the connection, and the close frame would be lost. The sweeper ends the wait.
        """
        self._leave("transport close")
        self._ended = True
        self._half_close()

    def _half_close(self) -> None:
        if self._ended and not self._pending and self._fd >= 0:
            end_writing(self._fd)

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
        self._stop_reading()
        self._stop_writing()
        with contextlib.suppress(OSError):
            os.close(fd)
        self._dialogue = None
        self._pending = None
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


def _ignore(*_: Any) -> None: ...


_PING: Final = text_frame(b"2")


def run_soon(function: Callable[..., None], *args: Any) -> None:
    """Run it on a green thread."""
    eventlet.spawn_n(function, *args)


def leave_response_to_us() -> None:
    """Tell eventlet's server that this request has been answered already."""
    wsgi.WSGI_LOCAL.already_handled = True
