"""When the next flush may be: not before its interval is over, and later where flushes cost much.

A flush costs a system call for each viewer that is told something, so that thousands of viewers could keep a core busy
with telling them ever newer states. From half a core on, flushes come less often instead: what is left is for the
updates themselves, for requests and for connects. What a viewer sees gets older by it, up to `MOST` intervals. (Not so
where there is output: all of it has to be told, and less often would be more at a time.)
"""

from __future__ import annotations

import time
from typing import Final

#: Of a core, what flushes may take before they come less often.
SHARE: Final = 0.5
#: To so many intervals at most.
MOST: Final = 2


class Pacing:
    """``interval``: seconds from the beginning of a flush to that of the next."""

    __slots__ = ("_due", "_interval", "conflates")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = 0.0
        #: Whether what the last flush told was no more than newest states, and all of them.
        self.conflates = True

    def rest(self) -> float:
        """Seconds until the next flush may begin; none are left if it is not positive."""
        return self._due - time.monotonic()

    def flushed(self, began: float, cost: float) -> None:
        """A flush began at ``began``, in monotonic seconds, and took ``cost`` seconds of CPU time.

        (By the clock on the wall it may have taken longer, for other threads and processes run too; waiting longer for
        the next one would give them nothing.)
        """
        stretched = max(self._interval, cost / SHARE) if self.conflates else self._interval
        self._due = began + min(stretched, self._interval * MOST)
