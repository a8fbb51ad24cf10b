"""A clock that goes when it is told to."""

from __future__ import annotations

from collections.abc import Callable

#: 2026-11-24T04:40:00Z, in seconds since 1970.
START = 1_795_495_200.0


class Clock:
    """Seconds since 1970, as ``time.time``. ``calls`` counts how often it was asked."""

    def __init__(self, now: float = START) -> None:
        self.now = now
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return self.now

    def go(self, seconds: float) -> None:
        """Let time pass; back, if it is less than 0."""
        self.now += seconds


class Interrupting(Clock):
    """Runs something once, when it is asked for the time: as the garbage collector does, with the lock held."""

    what: Callable[[], object] | None = None

    def __call__(self) -> float:
        what, self.what = self.what, None
        if what is not None:
            what()
        return super().__call__()
