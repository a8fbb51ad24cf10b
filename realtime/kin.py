"""How a task stands to others: what it weighs in its parent, what its own parts come to, and its other attempts."""

from __future__ import annotations

from typing import Final

import msgspec

#: Parts that one task may have, a part and its retries counting once; and levels, the topmost included.
MAX_CHILDREN: Final = 10_000
MAX_LEVELS: Final = 8
#: The weights of all parts together stay exact enough.
MAX_WEIGHT: Final = 10**9


class Kin(msgspec.Struct, frozen=True, gc=False):
    """What of that is settled when a task is created; but for ``retried_by``, which comes after its end."""

    #: How much the task counts in its parent's percent, beside the other parts.
    weight: float = 1.0
    #: How many parts it was announced to have. Such a task is a group: it ends by itself, with them. None: it is none.
    announced: int | None = None
    #: Levels above it.
    depth: int = 0
    #: The id of the first attempt, None if this is the first.
    origin: str | None = None
    #: The id of the task that tries it again.
    retried_by: str | None = None


#: Of most tasks.
ALONE: Final = Kin()


def kin_of(weight: float, announced: int | None, depth: int, origin: str | None, retried_by: str | None) -> Kin:
    """The same one for all that have none."""
    kin = Kin(weight, announced, depth, origin, retried_by)
    return ALONE if kin == ALONE else kin


class Children(msgspec.Struct, frozen=True, gc=False):
    """How many parts a task has and how they stand; a part and its retries count once, by the newest attempt."""

    #: Those that there are, or as many as were announced, if that is more.
    total: int
    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    #: Whether the parent's current and total count its parts, for want of a total of its own.
    counted: bool = False

    @property
    def unfinished(self) -> int:
        """Those that are there and have not ended."""
        return self.pending + self.processing

    @property
    def ended(self) -> int:
        """Those that have."""
        return self.completed + self.failed + self.cancelled

    def encode(self) -> str:
        """The wire's ``children``."""
        return (
            f'{{"total":{self.total},"pending":{self.pending},"processing":{self.processing},'
            f'"completed":{self.completed},"failed":{self.failed},"cancelled":{self.cancelled}}}'
        )
