"""A task in the hands of its job: short names for what a job says, and a ``with`` block that ends the task.

How a block ends decides how its task ends, unless that has been said already (the first end wins, and leaving a
block never fails because of it):

==============================================  ===================================================================
the block is left by                            the task
==============================================  ===================================================================
its end, ``return``, ``break``                  completes
an exception                                    fails with it
one of ``passthrough`` (a worker's ``Retry``)   stays as it is, and its lease ends: somebody goes on with it
`TaskCancelled`, KeyboardInterrupt              is cancelled
what else ends code from outside: SystemExit,   fails with code ``abandoned``
a generator that is closed, a killed greenlet
==============================================  ===================================================================

Whatever it is, it goes on outwards. `TaskCancelled` too: the code behind the block must not run as if the work were
done. It ends at whoever runs the job (a `Runner` takes it), or at an ``except TaskCancelled`` of yours.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, TypeVar

from .errors import LeaseHeld, RealtimeError, TaskAlreadyFinished, TaskCancelled, TaskNotFound
from .operations import Operations, TaskId, UserId, Word
from .registry.transitions import is_unacknowledged
from .task import CANCELLED, Task

log = logging.getLogger("realtime")

_T = TypeVar("_T")

#: The code and the message of a task whose code was left before its end.
ABANDONED: Final = "abandoned"
_ABANDONED_MESSAGE: Final = "The job was left before it was done."

#: The code of a task that a stopping server has failed; to its job this is a request to stop.
SERVER_STOPPED: Final = "server_stopped"


class Handle:
    """A task, as its job sees it. Any number of threads may use it at once.

    Once somebody has asked the task to stop, `update`, `advance`, `message` and `track` raise `TaskCancelled` (what
    they say is stored all the same). Once the task is cancelled, or stopped with its server, every method that changes
    it raises that. To complete or to fail before wins over the request.

    As a ``with`` block it completes the task at its end. An exception fails the task, `TaskCancelled` and
    KeyboardInterrupt cancel it, and all are raised again. A pending task starts at the beginning. To enter raises
    `TaskNotFound`, and `TaskCancelled` or `TaskAlreadyFinished` for a task that has ended. A block stands for the task
    that it was entered with: if that has ended and been cleared, and a new one has got its id, then the block is asked
    to stop, and does not end what is not its own.

    Where tasks are held by leases (in a store that processes share, and in a worker) a block holds its task alone: to
    enter raises `LeaseHeld` while another worker does, unless it is taken over (``takeover``); and once another has
    taken it over, all that changes the task raises that.
    """

    __slots__ = ("__weakref__", "_operations", "_order", "_passthrough", "_plain", "_takeover", "task_id")

    def __init__(
        self, operations: Operations, task_id: str, *, passthrough: tuple[type[BaseException], ...] = (),
        takeover: bool = False,
    ) -> None:  # fmt: skip
        #: The id of the task, a str.
        self.task_id = task_id
        #: Outside a block, and in it: as the one that holds the task by a lease, where there are leases.
        self._plain = self._operations = operations
        self._takeover = takeover
        self._passthrough = passthrough
        #: Tells the task of the block from an earlier or later one of the same id; None outside a block.
        self._order: int | None = None

    def __repr__(self) -> str:
        return f"<Handle of {self.task_id!r}>"

    @property
    def id(self) -> str:
        """The same as ``task_id``."""
        return self.task_id

    # Looking.

    @property
    def snapshot(self) -> Task:
        """The newest snapshot. Raises `TaskNotFound`."""
        return self._operations.require(self.task_id)

    @property
    def cancelled(self) -> bool:
        """Whether the task was asked to stop. Raises `TaskNotFound` once it has ended and been cleared."""
        task = self.snapshot
        self._acknowledge(task)
        return _asked_to_stop(task) or self._is_other(task)

    @property
    def watched(self) -> bool:
        """Whether somebody looks at the task now: skip what only a viewer would see if not. False after its end.

        (True where that is not known: see `Realtime.watched`.)
        """
        task = self._operations.get_task_status(self.task_id)
        return not self._is_other(task) and self._operations.watched(self.task_id) is not False

    def raise_if_cancelled(self) -> None:
        """Raise `TaskCancelled` if the task was asked to stop."""
        if self.cancelled:
            raise TaskCancelled(self.task_id)

    # Saying how far it is.

    def update(
        self,
        progress: str | float | None = None,
        message: str | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        percent: float | None = None,
        advance: float | None = None,
        unit: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Task:
        """As `update_task_progress`, and raises `TaskCancelled` if the task was asked to stop."""
        try:
            task = self._operations.update_task_progress(
                self.task_id, progress, message, current=current, total=total, percent=percent, advance=advance,
                unit=unit, metadata=metadata,
            )  # fmt: skip
        except TaskAlreadyFinished as finished:
            raise self._reason(finished) from None
        if task.cancel_requested is not None or self._is_other(task):
            self._acknowledge(task)
            raise TaskCancelled(self.task_id)
        return task

    def advance(self, n: float = 1, message: str | None = None) -> Task:
        """``n`` more steps are done. Raises as `update`."""
        return self.update(None, message, advance=n)

    def message(self, text: str) -> Task:
        """Say what is being done now. Raises as `update`."""
        return self.update(None, text)

    def track(
        self, iterable: Iterable[_T], total: float | None = None, *, unit: str | None = None
    ) -> Generator[_T, None, None]:
        """``for row in task.track(rows):`` advances by one after each turn of the loop.

        ``total`` is the task's total; omitted, it is ``len(iterable)`` on top of what is done already, where there is a
        length, unless the task has a total that is higher (several loops, one after another, share a bar).

        The loop does not end the task: neither when it is through, nor when it is left early. The ``with`` block or
        the job around it does. Raises as `update`.
        """
        if total is None and (length := _length(iterable)) is not None:
            task = self.snapshot
            needed = (task.current or 0) + length
            total = needed if task.total is None else max(needed, task.total)
        self.update(total=total, unit=unit)
        for item in iterable:
            yield item
            self.advance()

    # Writing.

    def write(self, text: str, *, stream: str = "output") -> int:
        """As `append_output`, and raises `TaskCancelled` if the task was asked to stop."""
        try:
            end = self._operations.append_output(self.task_id, text, stream=stream)
        except TaskAlreadyFinished as finished:
            raise self._reason(finished) from None
        self.raise_if_cancelled()
        return end

    @property
    def stdout(self) -> io.TextIOBase:
        """The output as a text file to write to: ``print("…", file=task.stdout)``, ``redirect_stdout(task.stdout)``."""
        return _Stdout(self)

    # Ending.

    def complete(self, result: Any = None) -> Task:
        """As `complete_task`."""
        self._raise_if_other()
        try:
            return self._operations.complete_task(self.task_id, result)
        except TaskAlreadyFinished as finished:
            raise self._reason(finished) from None

    def fail(
        self,
        error: str | BaseException,
        *,
        code: str | None = None,
        type: str | None = None,
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Task:
        """As `fail_task`."""
        self._raise_if_other()
        try:
            return self._operations.fail_task(
                self.task_id, error, code=code, type=type, retryable=retryable, details=details
            )
        except TaskAlreadyFinished as finished:
            raise self._reason(finished) from None

    def cancel(self) -> Task:
        """End the task as cancelled: the answer to a request to stop (as ``cancel_task(…, done=True)``)."""
        self._raise_if_other()
        try:
            return self._operations.cancel_task(self.task_id, done=True)
        except TaskAlreadyFinished as finished:
            raise self._reason(finished) from None

    def _reason(self, finished: TaskAlreadyFinished) -> BaseException:
        """What to raise in place of ``finished``: to a job, an end from outside that stops it is a request to stop."""
        task = self._operations.get_task_status(self.task_id)
        return finished if task is None or not _asked_to_stop(task) else TaskCancelled(self.task_id)

    def _acknowledge(self, task: Task) -> None:
        """Have it seen that the job knows of a request to stop, as it is told of it now. Never raises: it will stop."""
        if is_unacknowledged(task) and not self._is_other(task):
            with contextlib.suppress(RealtimeError):
                self._operations.acknowledge_cancel(self.task_id)

    def _is_other(self, task: Task | None) -> bool:
        """Whether that is another task, which has got this one's id since the block began."""
        # 0: nobody has told yet where it stands (`client.snapshots`).
        return self._order is not None and task is not None and task.info.order not in (self._order, 0)

    def _raise_if_other(self) -> None:
        if self._is_other(self._operations.get_task_status(self.task_id)):
            raise TaskCancelled(self.task_id)

    # As a block.

    def __enter__(self) -> Handle:
        try:
            self._order = self._operations.start_task(self.task_id).info.order
        except TaskAlreadyFinished as finished:
            raise self._reason(finished) from None
        if self._plain.heart is not None:
            self._operations = self._plain.holding(self._plain.heart.hold(self.task_id, takeover=self._takeover))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        passed = error is not None and isinstance(error, self._passthrough)
        try:
            if error is None:
                # Cancelled, or another's by now: this one has ended already. Not found: and has been cleared.
                with contextlib.suppress(TaskAlreadyFinished, TaskCancelled, TaskNotFound, LeaseHeld):
                    self.complete()
            elif not passed:
                self._end_by(error)
        finally:  # afterwards: it is still this one that says how it has ended
            if self._plain.heart is not None:
                self._plain.heart.release(self.task_id, give_back=passed)
            self._operations = self._plain

    def _end_by(self, error: BaseException) -> None:
        """End the task as the table above says. Never raises: ``error`` is what the caller has to see."""
        try:
            if isinstance(error, TaskCancelled | KeyboardInterrupt):
                self.cancel()
            elif isinstance(error, Exception):
                self.fail(error)
            else:
                self.fail(_ABANDONED_MESSAGE, code=ABANDONED)
        except (TaskAlreadyFinished, TaskCancelled, TaskNotFound, LeaseHeld):
            pass
        except Exception:
            log.exception("The end of the task %s could not be stored.", self.task_id)


class _Stdout(io.TextIOBase):
    """Writes to a task's output, as it comes: there is no buffer to flush."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text:
            self._handle.write(text)
        return len(text)


def track(
    operations: Operations,
    iterable: Iterable[_T],
    *,
    task_id: TaskId | None = None,
    user_id: UserId | Word | None = None,
    name: str | None = None,
    total: float | None = None,
    unit: str | None = None,
    message: str | None = "Starting...",
    metadata: Mapping[str, Any] | None = None,
    groups: Collection[str] = (),
    parent_id: TaskId | None = None,
    weight: float = 1.0,
) -> Generator[_T, None, None]:
    """A loop that is a task of its own, created when the first item is asked for.

    It completes when the loop is through. An error of the iterable fails it and is raised; a request to stop cancels it
    and raises `TaskCancelled` out of the loop. Of a loop that is left early (``break``, ``return``, an exception in its
    body) nothing is seen but that the generator is closed, at the latest when it is thrown away: then the task fails
    with code ``abandoned``. Where another end is wanted, put ``with rt.progress(…) as task:`` around ``task.track(…)``.
    """
    task = operations.create_task(
        task_id, user_id, name=name, message=message, total=_length(iterable) if total is None else total, unit=unit,
        metadata=metadata, groups=groups, cancellable=True, parent_id=parent_id, weight=weight,
    )  # fmt: skip
    with Handle(operations, task.task_id) as handle:
        yield from handle.track(iterable, total)


def _asked_to_stop(task: Task) -> bool:
    return (
        task.cancel_requested_at is not None
        or task.status is CANCELLED
        or (task.error is not None and task.error.code == SERVER_STOPPED)
    )


def _length(iterable: object) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:  # has none, or (a stream that is a data set) cannot say it
        return None
