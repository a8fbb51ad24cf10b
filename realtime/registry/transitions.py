"""The moves of a task: pure functions from one record to the next.

The theory in a few lines. A change makes a new record whose version is one higher; where there is nothing to change,
the same record comes back. Which state may follow which is the table `TRANSITIONS`. Nothing follows an end: the first
one wins, the same again changes nothing, another raises `TaskAlreadyFinished`. ``now`` is in seconds since 1970, by a
clock that may step back: the times of a task never do.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ..errors import InvalidValue, LeaseHeld, TaskAlreadyFinished
from ..kin import Children, Kin
from ..progress import MAX_NUMBER, SAMPLE_INTERVAL, Pace, percent_of, sampled
from ..task import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    PROCESSING,
    TRANSITIONS,
    UNFINISHED,
    NewTask,
    Task,
    TaskFailure,
    TaskInfo,
    TaskStatus,
    make_info,
)

#: What a parent counts that has no unit of its own.
UNIT: Final = "tasks"


def created(new: NewTask, *, epoch: str, now: float, version: int, order: int) -> Task:
    """The first record of a task. Raises `InvalidValue` for a status that no task begins with."""
    if new.status not in UNFINISHED:
        raise InvalidValue("status", f"{new.status}; a task begins as pending or processing")
    total, unit, children = new.total, new.unit, None
    if new.kin.announced is not None:
        children = Children(new.kin.announced, counted=total is None)
        if total is None:
            total, unit = new.kin.announced, unit or UNIT
    info = make_info(
        new.task_id, new.user_id, new.groups, new.name, epoch, now, new.cancellable, new.attempt, new.retry_of,
        new.parent_id, order, unit, b"{}" if new.metadata is None else new.metadata,
        now if new.status is PROCESSING else None, None, kin=new.kin,
    )  # fmt: skip
    # With a total, counting begins at 0; without, nobody may ever count.
    current = None if total is None else 0
    pace = None if current is None else Pace(now, current)
    percent = percent_of(None, current, total)
    return Task(
        new.task_id, info, new.status, False, version, new.message, current, total, percent, pace, now,
        children=children,
    )  # fmt: skip


def updated(
    task: Task,
    now: float,
    message: str | None = None,
    current: int | float | None = None,
    total: int | float | None = None,
    percent: float | None = None,
    advance: int | float | None = None,
    unit: str | None = None,
    metadata: bytes | None = None,
) -> Task:
    """The record after an update. None leaves a value as it is; ``advance`` adds to current.

    Raises `TaskAlreadyFinished`, and `InvalidValue` if the sum goes beyond `MAX_NUMBER`.
    """
    info = task.info
    pace = task.pace
    stamp = task.updated
    if now > stamp:  # A clock that steps back does not take the task with it.
        stamp = now
    if (  # Most updates: what they change is named here, and the rest copied as a whole, which is less work.
        message is not None
        and current is None
        and percent is None
        and advance is None
        and total is None
        and unit is None
        and metadata is None
        and task.status is PROCESSING
        and info.stalled is None
        and not task.output_more
        and (pace is None or 0.0 <= now - pace.at < SAMPLE_INTERVAL)
    ):
        return replace(task, version=task.version + 1, message=message, updated=stamp)
    if task.finished:
        raise TaskAlreadyFinished(task.task_id, task.status)
    if info.started is None:
        info = changed_info(task, unit=unit, metadata=metadata, started=stamp)
        if pace is not None:  # The wait before the start is no work.
            pace = Pace(now, pace.value, 0.0, 0.0, 0, pace.in_percent)
    elif unit is not None or metadata is not None or info.stalled is not None:
        info = changed_info(task, unit=unit, metadata=metadata)
    if message is None:
        message = task.message
    held = task.percent
    if current is None and advance is None and total is None:
        current, total = task.current, task.total
        if percent is None or (held is not None and percent < held):
            percent = held
    else:
        if total is None:
            total = task.total
        if current is None:
            current = task.current
            if current is None and total is not None:
                current = 0
        if advance is not None:
            current = advance if current is None else current + advance
            if not -MAX_NUMBER <= current <= MAX_NUMBER:
                raise InvalidValue("advance", f"takes current beyond {MAX_NUMBER}, as far as JavaScript counts exactly")
        if percent is None:
            percent = percent_of(held, current, total)
        elif held is not None and percent < held:
            percent = held
    if current is not None:
        if pace is None or not 0.0 <= now - pace.at < SAMPLE_INTERVAL or pace.in_percent:
            pace = sampled(pace, now, current, False)
    elif percent is not None and (pace is None or not 0.0 <= now - pace.at < SAMPLE_INTERVAL):
        pace = sampled(pace, now, percent, True)
    version = task.version + 1
    if info is task.info and not task.output_more:
        return replace(
            task, version=version, message=message, current=current, total=total, percent=percent, pace=pace,
            updated=stamp,
        )  # fmt: skip
    return Task(
        task.task_id, info, PROCESSING, False, version, message, current, total, percent, pace, stamp,
        task.cancel_requested, task.output_size + task.output_more, children=task.children,
    )  # fmt: skip


def begun(task: Task, now: float) -> Task:
    """The record after the start: the same one if it is processing already. Raises `TaskAlreadyFinished`."""
    return task if task.status is PROCESSING else updated(task, now)


def ended(
    task: Task, now: float, status: TaskStatus, result: bytes | None = None, failure: TaskFailure | None = None
) -> Task:
    """The record after an end; the same one if it has ended so already.

    Completing sets the percent to 100 and leaves current. Raises `TaskAlreadyFinished` after another end.
    """
    if status not in TRANSITIONS[task.status]:
        if task.status is status:
            return task
        raise TaskAlreadyFinished(task.task_id, task.status)
    info = task.info if task.info.stalled is None else changed_info(task)
    percent = 100.0 if status is COMPLETED else task.percent
    stamp = max(now, task.updated)
    return Task(
        task.task_id, info, status, True, task.version + 1, task.message, task.current, task.total, percent, task.pace,
        stamp, task.cancel_requested, task.output_size + task.output_more, stamp, result, failure,
        children=task.children,
    )  # fmt: skip


def asked_to_stop(task: Task, now: float) -> Task:
    """The record after a request to stop: a pending task ends, a processing one is marked once.

    The same record if it was asked before, or is cancelled. Raises `TaskAlreadyFinished` after another end.
    """
    if task.finished or task.status is PENDING:
        return ended(task, now, CANCELLED)
    if task.cancel_requested is not None:
        return task
    return following(task, cancel_requested=max(now, task.updated))


def acknowledged(task: Task, now: float) -> Task:
    """The record after the worker's side was told of the request to stop: marked once.

    The same record if nobody has asked, or if it is marked or cancelled already; so who tells too often does no harm.
    Raises `TaskAlreadyFinished` after another end.
    """
    if task.finished and task.status is not CANCELLED:
        raise TaskAlreadyFinished(task.task_id, task.status)
    if task.cancel_requested is None or not is_unacknowledged(task):
        return task
    info = changed_info(task, stalled=task.info.stalled, acknowledged=max(now, task.cancel_requested))
    return following(task, info=info)


def retried(task: Task, follower: str) -> Task:
    """The record of a failed or cancelled task that ``follower`` tries again; the same one if another does already.

    Raises `InvalidValue` (``task_id``) for a task that is not over, or has completed.
    """
    if task.status is not FAILED and task.status is not CANCELLED:
        raise InvalidValue(
            "task_id",
            f"the task {task.task_id!r} is {task.status}; only one that has failed or was cancelled can be tried again",
        )
    return task if task.info.kin.retried_by is not None else _retried_by(task, follower)


def given_up(task: Task, follower: str) -> Task:
    """The record after ``follower`` was not made after all; the same one if another tries it again."""
    return _retried_by(task, None) if task.info.kin.retried_by == follower else task


def _retried_by(task: Task, follower: str | None) -> Task:
    kin = replace(task.info.kin, retried_by=follower)
    return following(task, info=changed_info(task, stalled=task.info.stalled, kin=kin))


def is_unacknowledged(task: Task) -> bool:
    """Whether the task was asked to stop, and nothing says that its worker knows it."""
    return task.cancel_requested is not None and task.info.acknowledged is None and not task.finished


def stalled(task: Task, since: float) -> Task:
    """The record after nothing was heard of a processing task ``since`` then; the same one if that is no news.

    The next update takes it back.
    """
    if task.status is not PROCESSING or task.info.stalled is not None:
        return task
    return following(task, info=changed_info(task, stalled=since))


def leased(task: Task, lease: float, holder: str | None = None, takeover: bool = False) -> Task:
    """The record after a worker has promised a sign of life every ``lease`` seconds; the same one if that is no news.

    It is one itself, so that a stalled task is not any more. What one ``holder`` has is no other's unless it takes it
    over; a worker that does not say who it is leaves it to whom it belongs. Raises `TaskAlreadyFinished`, `LeaseHeld`.
    """
    if task.finished:
        raise TaskAlreadyFinished(task.task_id, task.status)
    info = task.info
    if holder is None:
        holder = info.holder
    elif not takeover and is_held_from(task, holder):
        raise LeaseHeld(task.task_id)
    if info.lease == lease and info.stalled is None and info.holder == holder:
        return task
    return following(task, info=replace(changed_info(task, lease=lease), holder=holder))


def is_held_from(task: Task, holder: str) -> bool:
    """Whether another worker than ``holder`` holds the task."""
    return task.info.holder not in (None, holder) and not task.finished


def released(task: Task, holder: str) -> Task:
    """The record after its holder has given the task, and its lease, out of its hands: somebody else goes on with it.

    The same one if it is not ``holder`` that has it. Raises `TaskAlreadyFinished`.
    """
    if task.finished:
        raise TaskAlreadyFinished(task.task_id, task.status)
    if task.info.holder != holder:
        return task
    return following(task, info=replace(changed_info(task), lease=None, holder=None))


def written(task: Task, size: int) -> Task:
    """The record after ``size`` bytes of output; of the same version. Raises `TaskAlreadyFinished`."""
    if task.finished:
        raise TaskAlreadyFinished(task.task_id, task.status)
    return replace(task, output_more=task.output_more + size)


def following(task: Task, **changes: Any) -> Task:
    """The record of the next version, with these changes."""
    size = task.output_size + task.output_more
    return replace(task, version=task.version + 1, output_size=size, output_more=0, **changes)


def changed_info(
    task: Task,
    *,
    unit: str | None = None,
    metadata: bytes | None = None,
    started: float | None = None,
    stalled: float | None = None,
    lease: float | None = None,
    acknowledged: float | None = None,
    kin: Kin | None = None,
) -> TaskInfo:
    """The info with what is given in the place of what it had; and not stalled, unless that is given."""
    info = task.info
    return make_info(
        task.task_id, info.user_id, info.groups, info.name, info.epoch, info.created, info.cancellable, info.attempt,
        info.retry_of, info.parent_id, info.order,
        info.unit if unit is None else unit,
        info.metadata_json if metadata is None else metadata,
        info.started if started is None else started,
        stalled,
        info.lease if lease is None else lease,
        info.acknowledged if acknowledged is None else acknowledged,
        info.kin if kin is None else kin,
        info.holder,
    )  # fmt: skip
