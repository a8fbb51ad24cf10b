"""The way to where tasks live, and what it guarantees. `http` and `store` are the two there are.

A transport knows nothing of threads, waiting or trying again: the `Sender` calls it, from one thread at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..errors import RegistryUnavailable
from .calls import Call


class TryLater(RegistryUnavailable):
    """The server asks for a pause of so many seconds before the next try."""

    def __init__(self, text: str, pause: float) -> None:
        super().__init__(text)
        self.pause = pause


class Request:
    """Calls that go together: all of them are answered, or of none anything is known."""

    __slots__ = ("calls",)

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls


class Transport(ABC):
    """The way there."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What is there, as errors begin: ``The server at http://…``. Holds no secret."""

    @abstractmethod
    def requests(self, calls: Sequence[Call]) -> list[Request]:
        """The requests that these calls are, to be performed in this order. Sends nothing."""

    @abstractmethod
    def perform(self, request: Request, timeout: float) -> Sequence[Any]:
        """Have it done; for each of its calls, what it returned, or the `RealtimeError` that it raised.

        Takes ``timeout`` seconds at most. Raises `RegistryUnavailable` if nothing is known of it: performed once more,
        the same request changes nothing twice.
        """

    @abstractmethod
    def watched(self, task_id: str) -> bool | None:
        """Whether somebody looks at the task, as far as is known without asking; None if it is not."""

    @abstractmethod
    def leave(self) -> None:
        """Forget the connection, without a word on it: this is a forked child, and it is the parent's."""

    @abstractmethod
    def close(self) -> None:
        """End the connection. The next request opens another."""
