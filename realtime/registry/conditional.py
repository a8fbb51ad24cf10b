"""Changes on a condition: made only to the version that the writer knows, to a task that nobody has asked to stop, or
to one that no other worker holds.

`When` stands in the place of a registry for one call of a lifecycle function. The condition is looked at in the step
that makes the change, so nothing comes in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..errors import CancelRequested, LeaseHeld, PreconditionFailed, RealtimeError, TaskNotFound
from ..task import Task
from . import transitions
from .base import Registry
from .verbs import Verbs


class Condition(NamedTuple):
    """On what a change is made: see `When`."""

    tags: frozenset[str] | None = None
    unasked: bool = False
    holder: str | None = None
    #: Of the very task that the writer was let at: its id may be another task's by now.
    order: int | None = None


class When(Verbs):
    """A registry whose changes are made on a condition.

    ``tags`` are entity tags (`Task.etag`), of which the task must have one; None: any will do. With ``unasked`` a task
    that was asked to stop is not changed, but for that the request is acknowledged: the writer knows of it then. Raises
    `PreconditionFailed` and `CancelRequested` besides. With ``holder`` a task that another worker holds is not changed;
    raises `LeaseHeld`. With ``order`` it is that very task (`TaskInfo.order`), or none: raises `TaskNotFound`.
    """

    def __init__(
        self,
        registry: Registry,
        tags: frozenset[str] | None = None,
        *,
        unasked: bool = False,
        holder: str | None = None,
        order: int | None = None,
    ) -> None:
        self._registry = registry
        self._tags = tags
        self._unasked = unasked
        self._holder = holder
        self._order = order
        self.get = registry.get
        self.watched = registry.watched
        self.follow = registry.follow

    def update(
        self,
        task_id: str,
        message: str | None = None,
        current: int | float | None = None,
        total: int | float | None = None,
        percent: float | None = None,
        advance: int | float | None = None,
        unit: str | None = None,
        metadata: bytes | None = None,
    ) -> Task:
        buffer, args = self._registry.buffer, (message, current, total, percent, advance, unit, metadata)
        if buffer is None or self._tags is not None or self._unasked:  # what the store has to be asked about
            return super().update(task_id, *args)
        return buffer.update(super().update, task_id, args)

    def append_output(self, task_id: str, stream: str, data: bytes) -> int:
        """As `Registry.append_output`. Output moves no version: the condition is looked at before."""
        self._look(task_id)
        return self._registry.append_output(task_id, stream, data)

    def heartbeat(self, task_id: str, lease: float, holder: str | None = None, takeover: bool = False) -> Task:
        """As `Registry.heartbeat`; the condition is looked at before."""
        self._look(task_id)
        return self._registry.heartbeat(task_id, lease, holder, takeover)

    def _look(self, task_id: str) -> None:
        task = self._registry.get(task_id)
        problem = None if task is None else self._problem(task)
        if isinstance(problem, CancelRequested):
            self._registry.acknowledge_cancel(task_id)
        if problem is not None:
            raise problem

    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        problem: RealtimeError | None = None

        def checked(task: Task, now: float) -> Task:
            nonlocal problem
            # Not raised in here: a registry may ask again, of a newer record, before it takes no for an answer.
            problem = self._problem(task)
            if isinstance(problem, CancelRequested):  # who is told so knows it
                return transitions.acknowledged(task, now)
            return change(task, now) if problem is None else task

        changed = self._registry._change(task_id, checked)
        if problem is not None:
            raise problem
        return changed

    def _problem(self, task: Task) -> RealtimeError | None:
        if self._order is not None and task.info.order != self._order:
            return TaskNotFound(task.task_id)
        if self._tags is not None and task.etag not in self._tags:
            return PreconditionFailed(task.task_id)
        if self._holder is not None and transitions.is_held_from(task, self._holder):
            return LeaseHeld(task.task_id)
        if self._unasked and task.cancel_requested is not None and not task.finished:
            return CancelRequested(task.task_id)
        return None
