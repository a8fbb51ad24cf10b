"""Notes that the servers of one store share, each for a short time: which request was answered how."""

from __future__ import annotations

from typing import Protocol


class Notes(Protocol):
    """Short texts, none of them empty, under names; for each ``who`` (letters, digits, ``._-``) others.

    All methods may raise `RegistryUnavailable`, and then may or may not have been done.
    """

    def claim(self, who: str, name: str, text: bytes, seconds: float) -> bytes:
        """Note ``text``, unless there is something already; returns what is noted then.

        Of several at once one is noted, and all are given that.
        """

    def write(self, who: str, name: str, text: bytes, seconds: float, most: int) -> None:
        """Note ``text`` in the place of what there is.

        Of what was written for ``who`` no more than ``most`` bytes are kept: the oldest goes first.
        """

    def drop(self, who: str, name: str) -> None:
        """Forget what is noted."""
