"""`Notes` in Redis: one script, which keeps the texts of one together, so that they can be counted and let go."""

from __future__ import annotations

from .link import Link


class RedisNotes:
    """See `Notes`. A call that is made twice does no harm: a claim is known by its text."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def claim(self, who: str, name: str, text: bytes, seconds: float) -> bytes:
        noted: bytes = self._note(who, name, text, seconds, "")
        return noted

    def write(self, who: str, name: str, text: bytes, seconds: float, most: int) -> None:
        self._note(who, name, text, seconds, most)

    def drop(self, who: str, name: str) -> None:
        self._note(who, name, b"", 0, "")

    def _note(self, who: str, name: str, text: bytes, seconds: float, most: int | str) -> bytes:
        noted: bytes = self._link.run("note", self._link.keys.notes(who), [name, text, int(seconds * 1e3), most])
        return noted
