"""What tasks have written: append-only streams of text, of each a tail of bounded size.

Offsets count bytes of UTF-8 from the beginning of a stream. A piece begins and ends between two characters.
"""

from __future__ import annotations

import msgspec

#: Streams that one task may have.
MAX_STREAMS = 8


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A part of a stream: the bytes from ``offset`` to ``end``. ``offset`` is past what was asked for if that is
    gone."""

    offset: int
    end: int
    data: bytes


class Stream:
    """One stream: the last ``tail`` bytes of all that was written. Not locked: its registry is."""

    __slots__ = ("_bytes", "_tail", "end")

    def __init__(self, tail: int) -> None:
        self._tail = tail
        self._bytes = bytearray()
        #: Bytes written so far.
        self.end = 0

    @property
    def start(self) -> int:
        """The offset of the first byte that is still kept."""
        return self.end - len(self._bytes)

    def resume(self, offset: int) -> None:
        """Go on at an offset. What is not written up to there is gone, and all before it."""
        if offset != self.end:
            self._bytes.clear()
            self.end = offset

    def append(self, data: bytes) -> int:
        """Write; returns the new end."""
        self._bytes += data
        self.end += len(data)
        excess = len(self._bytes) - self._tail
        if excess > 0:
            del self._bytes[: _boundary(self._bytes, excess)]
        return self.end

    def read(self, offset: int, end: int, most: int) -> Piece:
        """What is kept from ``offset`` to ``end``: at most ``most`` bytes of it, but at least one character."""
        return piece_of(self._bytes, self.start, self.end, offset, end, most)


def piece_of(data: bytes | bytearray, start: int, finish: int, offset: int, end: int, most: int) -> Piece:
    """The piece from ``offset`` to ``end``, given what is kept of a stream from ``start`` on, up to ``finish``."""
    first = _boundary(data, min(max(offset, start), finish) - start)
    last = max(first, min(end, finish) - start)
    if last - first > most:
        last = first + most
        while last > first and data[last] & 0xC0 == 0x80:
            last -= 1
        if last == first:
            last = _boundary(data, first + 1)
    return Piece(start + first, start + last, bytes(data[first:last]))


def _boundary(data: bytes | bytearray, index: int) -> int:
    """The first place from ``index`` on that is not inside a character (RFC 3629: 10xxxxxx continues one)."""
    while index < len(data) and data[index] & 0xC0 == 0x80:
        index += 1
    return index
