"""`Notes` in Redis: strings that the server itself forgets."""

from __future__ import annotations

from .link import Link


class RedisNotes:
    """See `Notes`. A command that is given twice does no harm: a claim is known by its text."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def claim(self, name: str, text: bytes, seconds: float) -> bytes:
        key = self._link.keys.note(name)
        while True:
            _, found = self._link.ask(("SET", key, text, "NX", "PX", int(seconds * 1e3)), ("GET", key))
            if found is not None:  # else what was there has been forgotten between the two
                noted: bytes = found
                return noted

    def write(self, name: str, text: bytes, seconds: float) -> None:
        self._link.ask(("SET", self._link.keys.note(name), text, "PX", int(seconds * 1e3)))

    def drop(self, name: str) -> None:
        self._link.ask(("DEL", self._link.keys.note(name)))
