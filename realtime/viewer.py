"""A viewer: one connected session, what it may see and what it has still to be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from .auth import Grant
from .errors import LimitReached
from .frames import Batch
from .registry.base import Removed

#: Requests a second that a viewer may make, and how many at once after a quiet time.
REQUEST_RATE, REQUEST_BURST = 50.0, 200.0
#: Requests beyond that after which it is closed, unless it is quiet before.
MAX_REFUSED = 1_000


class Outgoing(Protocol):
    """The one door to a viewer: a queue (`outbox.Outbox`) or a push socket."""

    #: Monotonic seconds since which it takes nothing; None when it can take a flush.
    busy_since: float | None

    def push(self, batch: Batch) -> int:
        """Take a flush. Returns how many of its frames are on their way; the others stay dirty."""

    def empty(self) -> bool:
        """Whether nothing waits to be written."""

    def attach(self, on_ready: Callable[[], None], on_overflow: Callable[[], None]) -> None:
        """A viewer lives on it from now on. `on_ready` is called when it can take more again."""

    def detach(self) -> None:
        """The viewer has gone."""


class Viewer:
    """One connected session."""

    __slots__ = (
        "address", "connection", "declines", "dirty", "epoch", "follows", "grant", "hidden", "live", "looks", "outbox",
        "outputs", "refused", "rooms", "session", "tokens", "tokens_at",
    )  # fmt: skip

    def __init__(self, session: str, connection: str, grant: Grant, address: str, outbox: Outgoing) -> None:
        #: The Socket.IO session id in our namespace, and the Engine.IO one of its connection.
        self.session = session
        self.connection = connection
        self.grant = grant
        self.address = address
        self.outbox = outbox
        #: The epoch of its first snapshot; None as long as it has none.
        self.epoch: str | None = None
        self.rooms: set[str] = set()
        #: What it has still to be told, oldest first: a task id, and its removal if that is what there is to tell.
        self.dirty: dict[str, Removed | None] = {}
        #: Output that it has still to be told: a task and a stream, and the offset to go on from. None: nothing.
        self.outputs: dict[tuple[str, str], int] | None = None
        #: It wants no output but what it asked for: these streams of these tasks. None: it asked for none.
        self.declines = False
        self.follows: dict[str, set[str]] | None = None
        #: Its CONNECT answer is written; before that it is told nothing.
        self.live = False
        #: Its page is not on the screen.
        self.hidden = False
        #: It is live and not hidden, and counted so: `Rooms.look` keeps this.
        self.looks = False
        self.tokens = 0.0
        self.tokens_at = 0.0
        #: Requests that were too many since its last quiet time.
        self.refused = 0

    def spend(self) -> None:
        """Count a request. Raises `LimitReached`."""
        now, tokens = time.monotonic(), REQUEST_BURST
        if self.tokens_at:
            tokens = min(REQUEST_BURST, self.tokens + (now - self.tokens_at) * REQUEST_RATE)
        self.tokens, self.tokens_at = tokens - 1, now
        if tokens >= REQUEST_BURST:
            self.refused = 0
        if tokens < 1:
            self.tokens = 0.0
            self.refused += 1
            raise LimitReached(f"More than {REQUEST_RATE:g} requests a second; this one was not done.")

    def owed(self, task_id: str) -> bool:
        """Whether it has still to be told of this task, or of what it has written. Any thread."""
        return task_id in self.dirty or any(key[0] == task_id for key in list(self.outputs or ()))
