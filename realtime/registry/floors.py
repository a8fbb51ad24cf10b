"""The versions that removed tasks have left with, so that a task of the same id goes on above them.

The clock sees to that by itself for a version that it has passed, unless it steps back; so for all of these the highest
is enough, and only those ahead of the clock need a place of their own.
"""

from __future__ import annotations

from typing import Final

#: Removed ids that are remembered one by one; beyond, one number stands for all of them.
_MAX_FLOORS: Final = 1024


class Floors:
    """See the module. Has no lock of its own."""

    __slots__ = ("_ahead", "_floor")

    def __init__(self, floor: int = 0) -> None:
        #: Versions of removed ids that the clock has not passed; and the highest of all the others.
        self._ahead: dict[str, int] = {}
        self._floor = floor

    def of(self, task_id: str) -> int:
        """A version that none of this id's has gone beyond."""
        return max(self._ahead.get(task_id, 0), self._floor)

    def remember(self, task_id: str, version: int, now: int) -> None:
        """A task has left with this version. ``now`` is in microseconds since 1970."""
        if version <= now:
            self._floor = max(self._floor, version)
            return
        self._ahead[task_id] = version
        if len(self._ahead) > _MAX_FLOORS:
            self._floor = max(self._floor, *self._ahead.values())
            self._ahead.clear()
