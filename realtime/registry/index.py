"""An ordered set of whole numbers with cheap additions, removals and pages, whatever its size."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

_CHUNK: Final = 512


class Index:
    """Numbers in ascending order, kept in chunks, so that no operation moves more than a chunk."""

    __slots__ = ("_chunks", "_tops")

    def __init__(self) -> None:
        self._chunks: list[list[int]] = []
        #: The highest number of each chunk.
        self._tops: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, number: int) -> None:
        """Add a number that is not in the index."""
        if not self._chunks:
            self._chunks.append([number])
            self._tops.append(number)
            return
        at = min(bisect_left(self._tops, number), len(self._tops) - 1)
        chunk = self._chunks[at]
        insort(chunk, number)
        if len(chunk) > _CHUNK:
            # Numbers mostly grow: the last chunk is left full, another one is halved.
            cut = _CHUNK if at == len(self._tops) - 1 else _CHUNK // 2
            self._chunks.insert(at + 1, chunk[cut:])
            del chunk[cut:]
            self._tops[at : at + 1] = [chunk[-1], self._chunks[at + 1][-1]]
        else:
            self._tops[at] = chunk[-1]

    def discard(self, number: int) -> None:
        """Remove a number if it is there."""
        at = bisect_left(self._tops, number)
        if at == len(self._tops):
            return
        chunk = self._chunks[at]
        place = bisect_left(chunk, number)
        if chunk[place] != number:
            return
        del chunk[place]
        if chunk:
            self._tops[at] = chunk[-1]
        else:
            del self._chunks[at], self._tops[at]

    def below(self, bound: int | None, limit: int) -> list[int]:
        """The highest ``limit`` numbers below ``bound`` (None: of all), the highest first."""
        found: list[int] = []
        at = len(self._tops) - 1
        if bound is not None:
            at = min(bisect_left(self._tops, bound), at)
        while at >= 0 and len(found) < limit:
            chunk = self._chunks[at]
            end = len(chunk) if bound is None else bisect_left(chunk, bound)
            found.extend(reversed(chunk[max(0, end - limit + len(found)) : end]))
            at -= 1
        return found
