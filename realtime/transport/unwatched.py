"""Connections that nobody watches on: they cost as much as viewers, and anybody can make them."""

from __future__ import annotations

import time
from typing import Final

#: Requests to watch that one connection may make in vain. Each may ask the host's user database who this is.
MAX_REFUSALS: Final = 10


class Unwatched:
    """Since when there is no viewer on each connection (monotonic seconds), and how often it was refused one. From any
    thread.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._refusals: dict[str, int] = {}

    def begin(self, connection: str) -> None:
        """It has been opened, or its viewer has left."""
        self._since[connection] = time.monotonic()

    def ask(self, connection: str) -> float:
        """It asks to watch, and is waited for while that is looked at. Returns since when nobody watches on it."""
        return self._since.pop(connection, time.monotonic())

    def refuse(self, connection: str, since: float) -> None:
        """It may not watch. Its time goes on from ``since``: who asks again and again does not stay for ever."""
        self._since[connection] = since
        self._refusals[connection] = self._refusals.get(connection, 0) + 1

    def may_ask(self, connection: str) -> bool:
        """Whether it has not been refused too often."""
        return self._refusals.get(connection, 0) < MAX_REFUSALS

    def forget(self, connection: str) -> None:
        """It has ended."""
        self._since.pop(connection, None)
        self._refusals.pop(connection, None)

    def overdue(self, seconds: float) -> list[str]:
        """Those on which nobody has watched for longer than that."""
        before = time.monotonic() - seconds
        return [connection for connection, since in list(self._since.items()) if since < before]
