"""The update that several are together.

Two updates are one update if the task comes out the same: newest wins, ``advance`` adds up (so that several workers may
count one task), the highest ``percent`` is held. What is *not* the same: a percent that follows from ``current`` and
``total``, and that a lower ``current`` or a higher ``total`` takes back before it was ever sent, is not held.
"""

from __future__ import annotations

from typing import Any


class Merged:
    """The update that several are together. Its fields are the arguments of `Registry.update`."""

    __slots__ = ("advance", "current", "message", "metadata", "over", "percent", "total", "unit")

    def __init__(self) -> None:
        self.message: str | None = None
        self.current: int | float | None = None
        self.total: int | float | None = None
        self.percent: float | None = None
        self.advance: int | float | None = None
        self.unit: str | None = None
        self.metadata: bytes | None = None
        #: A percent that was given apart from steps. Given in one call with them it would take the place of theirs, so
        #: it follows in a call of its own.
        self.over: float | None = None

    def take(
        self,
        message: str | None,
        current: int | float | None,
        total: int | float | None,
        percent: float | None,
        advance: int | float | None,
        unit: str | None,
        metadata: bytes | None,
    ) -> None:
        """Take in one more update."""
        if message is not None:
            self.message = message
        if unit is not None:
            self.unit = unit
        if metadata is not None:
            self.metadata = metadata
        if current is not None or advance is not None or total is not None:
            held = self.percent
            if percent is not None:
                # Its own percent takes the place of the one that would follow from the steps.
                self.percent, self.over = _highest(_highest(percent, held), self.over), None
            elif held is not None:
                self.percent, self.over = None, _highest(held, self.over)
            if total is not None:
                self.total = total
            if current is not None:
                self.current, self.advance = current, None
            if advance is not None:
                if self.current is not None:
                    self.current += advance
                else:
                    self.advance = advance if self.advance is None else self.advance + advance
        elif percent is not None:
            if self.percent is None and (
                self.current is not None or self.advance is not None or self.total is not None
            ):
                self.over = _highest(percent, self.over)
            else:
                self.percent = _highest(percent, self.percent)

    def updates(self) -> list[tuple[Any, ...]]:
        """The arguments of the one call of `Registry.update` that it takes, or of the two."""
        first = (self.message, self.current, self.total, self.percent, self.advance, self.unit, self.metadata)
        if self.over is None:
            return [first]
        return [first, (None, None, None, self.over, None, None, None)]


def _highest(percent: float, other: float | None) -> float:
    return percent if other is None or percent > other else other
