"""An ordered set of whole numbers: pages, additions and removals cost the same whatever its size."""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import itemgetter
from typing import Final

_CHUNK: Final = 512
_highest: Final = itemgetter(-1)


class Index:
    """Numbers in ascending order, in chunks, none of them empty, so that no operation moves more than one of them.

    Each change is one step of the interpreter: an exception from outside (Ctrl-C) comes before or after it.
    """

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: list[list[int]] = []

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, number: int) -> None:
        """Add a number, unless it is there."""
        chunks = self._chunks
        if not chunks:
            chunks.append([number])
            return
        at = min(bisect_left(chunks, number, key=_highest), len(chunks) - 1)
        chunk = chunks[at]
        place = bisect_left(chunk, number)
        if place < len(chunk) and chunk[place] == number:
            return
        if len(chunk) < _CHUNK:
            insort(chunk, number)
        elif place == len(chunk):  # Numbers mostly grow: full chunks are left behind, not halves.
            chunks.insert(at + 1, [number])
        else:
            chunk = [*chunk[:place], number, *chunk[place:]]
            chunks[at : at + 1] = [chunk[: _CHUNK // 2], chunk[_CHUNK // 2 :]]

    def discard(self, number: int) -> None:
        """Remove a number if it is there."""
        chunks = self._chunks
        at = bisect_left(chunks, number, key=_highest)
        if at == len(chunks):
            return
        chunk = chunks[at]
        place = bisect_left(chunk, number)
        if chunk[place] != number:
            return
        if len(chunk) > 1:
            del chunk[place]
        else:
            del chunks[at]

    def below(self, bound: int | None, limit: int) -> list[int]:
        """The highest ``limit`` numbers below ``bound`` (None: of all), the highest first."""
        chunks = self._chunks
        found: list[int] = []
        at = len(chunks) - 1 if bound is None else min(bisect_left(chunks, bound, key=_highest), len(chunks) - 1)
        while at >= 0 and len(found) < limit:
            chunk = chunks[at]
            end = len(chunk) if bound is None else bisect_left(chunk, bound)
            found.extend(reversed(chunk[max(0, end - limit + len(found)) : end]))
            at -= 1
        return found
