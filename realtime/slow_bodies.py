"""A body that comes byte by byte does not hold a thread for ever: the time that is spent waiting for it counts.

A sender has so many seconds, and one more for each `RATE` bytes that have come (as Apache's ``mod_reqtimeout`` has it).
What a view does between two reads is not the sender's doing, and does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

from werkzeug.exceptions import RequestTimeout

#: Bytes a second that a body needs to come with in the long run.
RATE: Final = 500.0
#: Bytes that are read at once.
_PIECE: Final = 64 * 1024


class SlowBody:
    """In the place of the file that a body is read from, on the hub's thread.

    ``seconds`` it may take; ``timeout(left)`` is entered around each read and raises, or ends it, when that is over;
    ``late`` is called then, before `RequestTimeout` is raised, which a view may let pass: it is a 408.
    """

    def __init__(
        self, file: Any, seconds: float, timeout: Callable[[float], AbstractContextManager[Any]],
        late: Callable[[], None],
    ) -> None:  # fmt: skip
        self._file = file
        self._left = seconds
        self._timeout = timeout
        self._late = late

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end."""
        parts: list[bytes] = []
        while size > 0:
            part = self._wait(partial(self._file.read1, min(size, _PIECE)))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def readline(self, size: int = -1) -> bytes:
        """A line, or so many bytes of it."""
        return self._wait(partial(self._file.readline, size))

    def readlines(self, size: int) -> list[bytes]:
        """The lines of so many bytes."""
        lines: list[bytes] = []
        while size > 0 and (line := self.readline(size)):
            lines.append(line)
            size -= len(line)
        return lines

    def _wait(self, read: Callable[[], bytes]) -> bytes:
        began = time.monotonic()
        data: bytes | None = None
        if self._left > 0:
            with self._timeout(self._left):
                data = read()
        if data is None:
            self._left = 0.0
            self._late()
            raise RequestTimeout("The body came too slowly.")
        self._left += len(data) / RATE - (time.monotonic() - began)
        return data
