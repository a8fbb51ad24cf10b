"""The only door to a viewer: one outbox per Engine.IO connection, in the place of Engine.IO's own queue.

Engine.IO's writer takes a packet with a blocking `get`, more with non-blocking ones, writes them all and comes back.
That it comes back says that everything before was written: so the outbox knows when a flush is still in flight, and
the hub gives it the next one only then. What waits here is therefore at most one flush, and control packets
(acknowledgements, pings, the host app's emits) up to `MAX_CONTROL_BYTES`; the rest of a slow viewer's news stays
a set of dirty task ids in the hub.

Packets leave in the order in which they came, whatever thread they came from.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .concurrency import Concurrency, native_lock
from .frames import Batch
from .protocol import MAX_CONTROL_BYTES, MAX_POLLED_PACKETS


class Outbox:
    """Engine.IO's queue interface (`put`, `get`, `task_done`, `join`, `empty`) over a bounded, ordered store.

    Until a viewer is attached it bounds nothing: a connection that only speaks a host app's namespaces is the
    host's affair.
    """

    __slots__ = (
        "_bytes", "_closed", "_empty", "_event", "_items", "_lock", "_on_overflow", "_on_ready", "_taken", "_waiting",
        "busy_since", "connection", "websocket",
    )  # fmt: skip

    def __init__(self, concurrency: Concurrency, empty: type[Exception]) -> None:
        self._empty = empty
        self._event = concurrency.event()
        self._lock = native_lock()
        #: Each packet and the bytes it counts for; None for one of a flush.
        self._items: deque[tuple[Any, int | None]] = deque()
        #: Packets of the flush that nobody has taken yet.
        self._waiting = 0
        self._bytes = 0
        self._taken = 0
        self._closed = False
        self._on_ready: Callable[[], None] | None = None
        self._on_overflow: Callable[[], None] | None = None
        #: Monotonic seconds since which a flush is in flight; None when the viewer can take one.
        self.busy_since: float | None = None
        #: Engine.IO's socket, once it has a WebSocket.
        self.connection: Any = None
        #: The WebSocket that the writer writes to, once there is one.
        self.websocket: Any = None

    @property
    def polling(self) -> bool:
        """Whether the writer is a long poll, which may not carry many packets at once."""
        return self.connection is None or not self.connection.upgraded

    def attach(self, on_ready: Callable[[], None], on_overflow: Callable[[], None]) -> None:
        """A viewer lives on this connection from now on. `on_ready` is called whenever a flush has been written."""
        self._on_ready = on_ready
        self._on_overflow = on_overflow

    def detach(self) -> None:
        """The viewer has gone; the connection may live on for the host's namespaces."""
        self._on_ready = self._on_overflow = None

    def push(self, batch: Batch) -> int:
        """Take one flush, as much of it as one poll may carry. Returns how many frames.

        The caller has seen that `busy_since` is None.
        """
        frames = batch.frames[:MAX_POLLED_PACKETS] if self.polling else batch.frames
        with self._lock:
            self.busy_since = time.monotonic()
            self._items.extend([(frame.packet, None) for frame in frames])
            self._waiting += len(frames)
        self._event.set()
        return len(frames)

    def put(self, packet: Any, block: bool = True, timeout: float | None = None) -> None:
        """Queue a control packet (None ends the connection). Never blocks; overflowing closes the viewer."""
        size = 0 if packet is None else _size(packet.data)
        overflow = None
        with self._lock:
            if packet is not None:
                if self._closed:
                    return
                # How large one emit of a host app may be is its own affair: the bound is on what waits before it.
                if self._on_overflow is not None and self._bytes >= MAX_CONTROL_BYTES:
                    self._closed = True
                    overflow = self._on_overflow
                else:
                    self._bytes += size
            if overflow is None:
                self._items.append((packet, size))
        if overflow is None:
            self._event.set()
        else:
            overflow()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take a packet. Raises Engine.IO's ``Empty`` when there is none (after ``timeout`` seconds, if it blocks)."""
        if block:
            self._taken = 0
            ready = None
            with self._lock:
                if not self._waiting:
                    self.busy_since, was_busy = None, self.busy_since
                    ready = self._on_ready if was_busy is not None else None
            if ready is not None:
                ready()
        elif self.polling and self._taken >= MAX_POLLED_PACKETS:
            raise self._empty
        while True:
            with self._lock:
                if self._items:
                    packet, size = self._items.popleft()
                    if size is None:
                        self._waiting -= 1
                    else:
                        self._bytes -= size
                    self._taken += 1
                    return packet
                self._event.clear()
            if not block or not self._event.wait(timeout):
                raise self._empty

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)

    def task_done(self) -> None:
        """Part of the queue interface; nobody waits for it here."""

    def join(self) -> None:
        """Part of the queue interface. Engine.IO would wait here, possibly for ever, for a viewer to read."""


def _size(data: Any) -> int:
    """Bytes on the wire; 0 for an object that Engine.IO has still to encode (Socket.IO sends none)."""
    if isinstance(data, str):
        return len(data) if data.isascii() else len(data.encode(errors="replace"))
    return len(data) if isinstance(data, bytes) else 0
