"""A viewer: one connected session, what it may see and what it has still to be told."""

from __future__ import annotations

from .auth import Grant
from .outbox import Outbox
from .registry.base import Removed


class Viewer:
    """One connected session."""

    __slots__ = (
        "address", "connection", "dirty", "grant", "hidden", "live", "outbox", "rooms", "session", "tokens", "tokens_at"
    )  # fmt: skip

    def __init__(self, session: str, connection: str, grant: Grant, address: str, outbox: Outbox) -> None:
        #: The Socket.IO session id in our namespace, and the Engine.IO one of its connection.
        self.session = session
        self.connection = connection
        self.grant = grant
        self.address = address
        self.outbox = outbox
        self.rooms: set[str] = set()
        #: What it has still to be told, oldest first: a task id, and its removal if that is what there is to tell.
        self.dirty: dict[str, Removed | None] = {}
        #: Its CONNECT answer is written; before that it is told nothing.
        self.live = False
        #: Its page is not on the screen.
        self.hidden = False
        self.tokens = 0.0
        self.tokens_at = 0.0
