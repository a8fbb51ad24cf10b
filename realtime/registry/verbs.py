"""What can be done to a task that is there: each verb is a transition, made by whoever can change a stored record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from ..task import CANCELLED, COMPLETED, FAILED, Task, TaskFailure
from . import transitions


class Verbs(ABC):
    """The verbs that a `Registry` has, and a change on a condition (`conditional`) too."""

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
        """Note progress; a pending task starts. None leaves a value as it is; ``advance`` adds to current.

        Raises `TaskNotFound`, `TaskAlreadyFinished`, and `InvalidValue` if the sum goes beyond 2**53.
        """
        return self._change(
            task_id,
            lambda task, now: transitions.updated(task, now, message, current, total, percent, advance, unit, metadata),
        )

    def start(self, task_id: str) -> Task:
        """Take a pending task to processing; changes nothing if it is. Raises `TaskNotFound`, `TaskAlreadyFinished`."""
        return self._change(task_id, transitions.begun)

    def complete(self, task_id: str, result: bytes | None) -> Task:
        """End as completed; ``result`` is JSON. Raises `TaskNotFound`, `TaskAlreadyFinished`."""
        return self._change(task_id, lambda task, now: transitions.ended(task, now, COMPLETED, result=result))

    def fail(self, task_id: str, failure: TaskFailure) -> Task:
        """End as failed. Raises `TaskNotFound`, `TaskAlreadyFinished`."""
        return self._change(task_id, lambda task, now: transitions.ended(task, now, FAILED, failure=failure))

    def request_cancel(self, task_id: str) -> Task:
        """Ask a task to stop: a pending one ends cancelled, a processing one gets ``cancel_requested_at``, once.

        A cancelled one is returned as it is. Raises `TaskNotFound`, `TaskAlreadyFinished`.
        """
        return self._change(task_id, transitions.asked_to_stop)

    def acknowledge_cancel(self, task_id: str) -> Task:
        """Note, once, that who works on a task was told of the request to stop; nothing if nobody has asked.

        Raises `TaskNotFound`, and `TaskAlreadyFinished` if the task has ended otherwise than cancelled.
        """
        return self._change(task_id, transitions.acknowledged)

    def release(self, task_id: str, holder: str) -> Task:
        """End the lease of ``holder``, if it is its own: somebody else goes on with the task, whenever that is.

        Raises `TaskNotFound`, `TaskAlreadyFinished`.
        """
        return self._change(task_id, lambda task, now: transitions.released(task, holder))

    def cancel(self, task_id: str) -> Task:
        """End as cancelled: the worker's answer. Raises `TaskNotFound`, `TaskAlreadyFinished`."""
        return self._change(task_id, lambda task, now: transitions.ended(task, now, CANCELLED))

    @abstractmethod
    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        """Store what ``change`` makes of the task as it is, in one step, and tell it.

        ``change`` (of `transitions`) is given the record and the time. It may be called several times, the last time
        with what is stored; the same record means that nothing is to be done. Raises `TaskNotFound`, and what
        ``change`` raises.
        """
