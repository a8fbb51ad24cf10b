"""`Board` in Redis: strings that the server itself forgets, and a sorted set of their names by when they were said.

Each has a slot of its own in a cluster. A name without its string is that of one who has gone.
"""

from __future__ import annotations

import time
from typing import Final

from .link import Link

#: Seconds after which the name of one who has gone is taken down.
_GONE: Final = 60.0
_INDEX: Final = "board"


class RedisBoard:
    """See `Board`. A command that is given twice does no harm."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._index = link.keys.note(_INDEX)

    def put(self, name: str, text: bytes, seconds: float) -> None:
        now = time.time() + self._link.offset
        self._link.ask(
            ("SET", self._key(name), text, "PX", int(seconds * 1e3)),
            ("ZADD", self._index, now, name),
            ("ZREMRANGEBYSCORE", self._index, "-inf", now - max(seconds, _GONE)),
            ("PEXPIRE", self._index, int(max(seconds, _GONE) * 1e3)),
        )

    def drop(self, name: str) -> None:
        self._link.ask(("DEL", self._key(name)), ("ZREM", self._index, name))

    def read(self, most: int) -> list[bytes]:
        (names,) = self._link.ask(("ZREVRANGE", self._index, 0, most - 1))
        if not names:
            return []
        found = self._link.ask(*(("GET", self._key(name.decode())) for name in names))
        return [text for text in found if text is not None]

    def _key(self, name: str) -> str:
        return self._link.keys.note(f"{_INDEX}/{name}")
