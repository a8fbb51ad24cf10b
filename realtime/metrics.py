"""What the flusher measures of itself, in plain numbers: bucket counts that only the flusher writes and anybody reads.

It costs a flush two looks at the clock and four additions. A change costs nothing more: the age of changes is taken at
the first mark after a flush, the one that wakes the flusher, not at each.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from .concurrency import native_lock

#: Bounds of the buckets: seconds, viewers and bytes.
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
VIEWERS: Final = (0, 1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000)
BYTES: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)

#: The codes with which a viewer is refused. Any other is "other": `identify` is the host's, and may raise its own.
REFUSALS: Final = frozenset(
    {
        "unauthenticated", "ticket_invalid", "ticket_expired", "origin_not_allowed", "limit", "invalid", "unavailable",
        "multiprocess", "server_stopping", "internal",
    }
)  # fmt: skip
#: Why the hub closes a viewer, by what it says of it. Any other reason is "error".
CLOSINGS: Final = {"takes nothing": "slow", "asks without end": "flood"}


class Histogram:
    """How many values lie at or below each bound, and their sum. One writer."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        #: For each bound, and above the last one; not cumulative.
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """The histograms of one hub, and why viewers were refused or closed."""

    def __init__(self) -> None:
        self.duration = Histogram(SECONDS)
        self.age = Histogram(SECONDS)
        self.behind = Histogram(VIEWERS)
        self.bytes = Histogram(BYTES)
        #: Viewers that the last flush left with something to be told.
        self.behind_now = 0
        #: Viewers refused by code, and closed by reason. Every label that there will ever be stands in it.
        self.refusals = dict.fromkeys(sorted({*REFUSALS, "other"}), 0)
        self.closings = dict.fromkeys(sorted({*CLOSINGS.values(), "error"}), 0)
        #: For the two above, which handlers on several threads count.
        self._lock = native_lock()
        # Monotonic seconds: the first mark since the last flush took its news, that of this flush, and when it began.
        self._woken: float | None = None
        self._since: float | None = None
        self._begun = 0.0

    def woken(self) -> None:
        """Something was marked that wakes the flusher. Any thread."""
        if self._woken is None:
            self._woken = time.monotonic()

    def begin(self) -> None:
        """A flush begins."""
        self._begun = time.monotonic()

    def taken(self) -> None:
        """The flush takes what was marked before."""
        self._since, self._woken = self._woken, None

    def flushed(self, size: int, behind: int, news: bool) -> None:
        """A flush is over. It has handed over ``size`` bytes (with none it is no flush to measure); ``behind`` viewers
        have still to be told. ``news``: something had been marked, and not only could viewers take again.
        """
        self.behind_now = behind
        if not size:
            return
        now = time.monotonic()
        self.duration.observe(now - self._begun)
        if news and self._since is not None:
            self.age.observe(now - self._since)
        self.behind.observe(behind)
        self.bytes.observe(size)

    def refused(self, code: str) -> None:
        """A viewer was refused."""
        with self._lock:
            self.refusals[code if code in REFUSALS else "other"] += 1

    def closed(self, reason: str) -> None:
        """The hub has closed a viewer."""
        with self._lock:
            self.closings[CLOSINGS.get(reason, "error")] += 1
