"""The board of a store: what each of its servers says of itself, for as long as it goes on saying it."""

from __future__ import annotations

from typing import Protocol


class Board(Protocol):
    """Short texts under the names of those that say them. All methods may raise `RegistryUnavailable`."""

    def put(self, name: str, text: bytes, seconds: float) -> None:
        """Say ``text`` in the place of what was said under this name; it is forgotten after ``seconds``."""

    def drop(self, name: str) -> None:
        """Forget it now."""

    def read(self, most: int) -> list[bytes]:
        """What is said: of more than ``most`` those that have spoken last."""
