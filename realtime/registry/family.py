"""The parts of one task as they count: one line for each, whatever its attempts, and what all lines come to.

A line is replaced by a newer attempt, or by a newer version of the same one, and by nothing else: so it may be noted as
often as one likes, in any order, by anybody. What all come to is kept up to date and not added up anew: the end of one
part of ten thousand costs as much as that of one of two.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import LimitReached
from ..kin import MAX_CHILDREN, Children
from ..task import NewTask, Task, TaskStatus
from .leases import WORKER_LOST


class Line(NamedTuple):
    """What one part counts, by its newest attempt."""

    task_id: str
    attempt: int
    version: int
    status: TaskStatus
    weight: float
    percent: float
    #: It has failed, and is expected to be tried again.
    awaited: bool

    def moves_to(self, line: Line) -> bool:
        """Whether all that is new in that one is how far the part has come."""
        return line.status is self.status and line.weight == self.weight and line.awaited is self.awaited

    @property
    def age(self) -> tuple[int, int]:
        """Higher for what is newer."""
        return self.attempt, self.version


class Sums(NamedTuple):
    """What all lines of a parent come to."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    awaited: int = 0
    weight: float = 0.0
    #: Weight times percent.
    done: float = 0.0

    @property
    def parts(self) -> int:
        """How many lines there are."""
        return self.pending + self.processing + self.completed + self.failed + self.cancelled

    def with_line(self, line: Line, sign: int) -> Sums:
        """With one line more (1) or less (-1)."""
        state = line.status.value
        return self._replace(
            **{state: getattr(self, state) + sign}, awaited=self.awaited + sign * line.awaited,
            weight=self.weight + sign * line.weight, done=self.done + sign * line.weight * line.percent,
        )  # fmt: skip

    def children(self, announced: int | None, counted: bool) -> Children:
        """The same as a parent shows it."""
        return Children(max(self.parts, announced or 0), *self[:5], counted)


def name_of(task: Task) -> str:
    """Of all attempts at one part the same: the id of the first."""
    return task.info.kin.origin or task.task_id


def line_of(task: Task) -> Line:
    """What a task counts in its parent."""
    error = task.error
    awaited = error is not None and error.retryable is True and error.code != WORKER_LOST.code
    return Line(
        task.task_id, task.info.attempt, task.version, task.status, task.info.kin.weight,
        task.percent or 0.0, awaited,
    )  # fmt: skip


class Family:
    """The parts of one parent. Nothing here takes a lock."""

    __slots__ = ("_exact", "_sums", "lines")

    def __init__(self) -> None:
        #: By `name_of`.
        self.lines: dict[str, Line] = {}
        self._sums = Sums()
        self._exact = True

    def note(self, child: Task) -> None:
        """Have a part count as it is now, if that is news."""
        name, line = name_of(child), line_of(child)
        known = self.lines.get(name)
        if known is not None and known.age >= line.age:
            return
        sums = self._sums
        if known is not None and known.moves_to(line):  # most are: ten thousand may have moved between two flushes
            sums = sums._replace(done=sums.done - known.weight * known.percent + line.weight * line.percent)
        else:
            sums = (sums if known is None else sums.with_line(known, -1)).with_line(line, 1)
        self._exact = False  # until both are stored: a Ctrl-C in between is made up for by `sums`
        self.lines[name] = line
        self._sums = sums
        self._exact = True

    @property
    def sums(self) -> Sums:
        """What the lines come to."""
        if not self._exact:
            self._sums = Sums()
            for line in self.lines.values():
                self._sums = self._sums.with_line(line, 1)
            self._exact = True
        return self._sums

    def check_room(self, new: NewTask) -> None:
        """Raise `LimitReached` if a new task would be one part too many."""
        if len(self.lines) >= MAX_CHILDREN and (new.kin.origin or new.task_id) not in self.lines:
            raise full(new.parent_id)


def full(parent_id: str | None) -> LimitReached:
    """The error of one part too many."""
    return LimitReached(f"parent_id: the task {parent_id!r} has {MAX_CHILDREN} parts already; no more are taken.")
