"""Notes that the servers of one store share, each for a short time: which request was answered how."""

from __future__ import annotations

from typing import Protocol


class Notes(Protocol):
    """Short texts under names. All methods may raise `RegistryUnavailable`, and then may or may not have been done."""

    def claim(self, name: str, text: bytes, seconds: float) -> bytes:
        """Note ``text``, unless there is something already; returns what is noted then.

        Of several at once one is noted, and all are given that.
        """

    def write(self, name: str, text: bytes, seconds: float) -> None:
        """Note ``text`` in the place of what there is."""

    def drop(self, name: str) -> None:
        """Forget what is noted."""
