"""A task: its record, its states and the pure functions that lead from one record to the next.

The theory in a few lines. A record never changes; a change makes a new one whose ``version`` is one higher
(a registry stores it). Five states, one table of moves, `TRANSITIONS`. Nothing follows an end: the first wins, the
same again changes nothing, another raises `TaskAlreadyFinished`. A record alone decides its bytes on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from types import MappingProxyType
from typing import Any, Final

import msgspec

from .errors import InvalidValue, TaskAlreadyFinished
from .progress import MAX_NUMBER, SAMPLE_INTERVAL, Pace, Progress, percent_of, sampled, speed, time_left
from .protocol import MAX_PUSHED_RESULT_BYTES


class TaskStatus(StrEnum):
    """The state of a task. Compares equal to its text."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing follows."""
        return self not in _OPEN


PENDING: Final = TaskStatus.PENDING
PROCESSING: Final = TaskStatus.PROCESSING
COMPLETED: Final = TaskStatus.COMPLETED
FAILED: Final = TaskStatus.FAILED
CANCELLED: Final = TaskStatus.CANCELLED
_OPEN: Final = frozenset((PENDING, PROCESSING))

#: From each state, the states that may follow.
TRANSITIONS: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = MappingProxyType(
    {
        PENDING: frozenset((PROCESSING, COMPLETED, FAILED, CANCELLED)),
        PROCESSING: frozenset((PROCESSING, COMPLETED, FAILED, CANCELLED)),
        COMPLETED: frozenset(),
        FAILED: frozenset(),
        CANCELLED: frozenset(),
    }
)


class TaskFailure(msgspec.Struct, frozen=True, gc=False):
    """Why a task failed: the wire's ``error``."""

    #: The class of the error, or a word in its place.
    type: str | None
    #: What the user reads.
    message: str
    #: A stable word to switch on.
    code: str
    #: Whether trying again may help; None = not known.
    retryable: bool | None = None
    #: ``details`` as JSON, encoded when the task failed.
    details_json: bytes | None = None

    @property
    def details(self) -> Any:
        """What else the job told, decoded anew at each access; None if nothing."""
        return None if self.details_json is None else msgspec.json.decode(self.details_json)

    def as_dict(self) -> dict[str, Any]:
        """The wire's ``error``."""
        return {
            "type": self.type,
            "message": self.message,
            "code": self.code,
            "retryable": self.retryable,
            "details": self.details,
        }

    def encode(self) -> bytes:
        """`as_dict` as JSON."""
        details = None if self.details_json is None else msgspec.Raw(self.details_json)
        return msgspec.json.encode(
            {
                "type": self.type,
                "message": self.message,
                "code": self.code,
                "retryable": self.retryable,
                "details": details,
            }
        )


class NewTask(msgspec.Struct, frozen=True, gc=False):
    """What a task is made of. The values are validated already (`values`)."""

    task_id: str
    #: The owner; None = seen through tickets and groups only.
    user_id: str | None = None
    groups: tuple[str, ...] = ()
    name: str | None = None
    #: ``pending`` or ``processing``.
    status: TaskStatus = PROCESSING
    message: str | None = "Starting..."
    total: int | float | None = None
    unit: str | None = None
    #: A JSON object, encoded; None = ``{}``.
    metadata: bytes | None = None
    cancellable: bool = False
    attempt: int = 1
    retry_of: str | None = None
    parent_id: str | None = None


class TaskInfo(msgspec.Struct, frozen=True, gc=False):
    """What of a task never changes after its creation; shared by all its records."""

    user_id: str | None
    groups: tuple[str, ...]
    name: str | None
    epoch: str
    #: Seconds since 1970.
    created: float
    cancellable: bool
    attempt: int
    retry_of: str | None
    parent_id: str | None
    #: Where the task stands among all of its registry; grows with each creation.
    order: int
    #: The constant stretches of the JSON, between which the rest is set.
    head: str
    middle: str
    foot: str


class Task(msgspec.Struct, frozen=True, gc=False):
    """A snapshot of a task. It never changes; ask the registry for a newer one.

    The fields hold what is stored, times as seconds since 1970 and JSON as bytes; the properties beside them
    (`progress`, `created_at`, `result` …) make something handier of it at each access.
    """

    task_id: str
    info: TaskInfo
    status: TaskStatus
    #: Whether the task has ended.
    finished: bool
    #: Grows by one with each change; over all time, no two states of a task id have the same.
    version: int
    message: str | None
    current: int | float | None
    total: int | float | None
    unit: str | None
    percent: float | None
    pace: Pace | None
    started: float | None
    updated: float
    completed: float | None
    cancel_requested: float | None
    stalled: float | None
    result_json: bytes | None
    error: TaskFailure | None
    #: Bytes of output made so far, in UTF-8.
    output_size: int
    metadata_json: bytes

    @property
    def user_id(self) -> str | None:
        """The owner; None = seen through tickets and groups only."""
        return self.info.user_id

    @property
    def groups(self) -> tuple[str, ...]:
        """Whose members see the task beside its owner."""
        return self.info.groups

    @property
    def name(self) -> str | None:
        """What the task is called."""
        return self.info.name

    @property
    def epoch(self) -> str:
        """The memory of the registry that the version belongs to."""
        return self.info.epoch

    @property
    def cancellable(self) -> bool:
        """Whether somebody listens for a request to stop."""
        return self.info.cancellable

    @property
    def attempt(self) -> int:
        """1, or n + 1 for a retry of the n-th."""
        return self.info.attempt

    @property
    def retry_of(self) -> str | None:
        """The id of the task that this one tries again."""
        return self.info.retry_of

    @property
    def parent_id(self) -> str | None:
        """The id of the task that this one is a part of."""
        return self.info.parent_id

    @property
    def rate(self) -> float | None:
        """Steps a second, to six digits. None until it is known, and after the end."""
        pace = self.pace
        if self.finished or pace is None or pace.in_percent:
            return None
        rate = speed(pace)
        return None if rate is None else float(f"{rate:.6g}")

    @property
    def eta(self) -> float | None:
        """Seconds left, to a tenth, counted from ``updated_at``. None until they are known, and after the end."""
        if self.finished:
            return None
        left = time_left(self.pace, self.current, self.total, self.percent)
        return None if left is None else float(f"{left:.1f}")

    @property
    def progress(self) -> Progress:
        """How far the task is."""
        return Progress(
            self.current, self.total, self.unit, self.percent, self.message, self.rate, self.eta
        )

    @property
    def created_at(self) -> datetime:
        """When the task was created, aware, in UTC."""
        return _moment(self.info.created)

    @property
    def started_at(self) -> datetime | None:
        """When it was first processing; None if it never was."""
        return None if self.started is None else _moment(self.started)

    @property
    def updated_at(self) -> datetime:
        """When it last changed; a heartbeat is no change."""
        return _moment(self.updated)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, however it did."""
        return None if self.completed is None else _moment(self.completed)

    @property
    def cancel_requested_at(self) -> datetime | None:
        """When it was first asked to stop while processing."""
        return None if self.cancel_requested is None else _moment(self.cancel_requested)

    @property
    def stalled_since(self) -> datetime | None:
        """Since when there has been no sign of life of it; None while there is."""
        return None if self.stalled is None else _moment(self.stalled)

    @property
    def result(self) -> Any:
        """What the task came to, decoded anew at each access; None unless completed."""
        return None if self.result_json is None else msgspec.json.decode(self.result_json)

    @property
    def metadata(self) -> Any:
        """The app's own object, decoded anew at each access."""
        return msgspec.json.decode(self.metadata_json)

    @property
    def etag(self) -> str:
        """An HTTP entity tag, quotes included."""
        return f'"{self.info.epoch}.{self.version}"'

    def as_dict(self) -> dict[str, Any]:
        """The snapshot as it is on the wire: JSON values only, times as RFC 3339 texts in UTC."""
        info = self.info
        return {
            "task_id": self.task_id,
            "user": info.user_id,
            "groups": list(info.groups),
            "name": info.name,
            "status": self.status.value,
            "version": self.version,
            "epoch": info.epoch,
            "progress": self.progress.as_dict(),
            "created_at": _text(info.created),
            "started_at": None if self.started is None else _text(self.started),
            "updated_at": _text(self.updated),
            "completed_at": None if self.completed is None else _text(self.completed),
            "result": self.result,
            "error": None if self.error is None else self.error.as_dict(),
            "cancellable": info.cancellable,
            "cancel_requested_at": None if self.cancel_requested is None else _text(self.cancel_requested),
            "stalled_since": None if self.stalled is None else _text(self.stalled),
            "attempt": info.attempt,
            "retry_of": info.retry_of,
            "parent_id": info.parent_id,
            "output_size": self.output_size,
            "metadata": self.metadata,
        }

    def encode(self) -> bytes:
        """`as_dict` as JSON in UTF-8."""
        return self._encode(self.result_json, b"")

    def encode_push(self) -> bytes:
        """The same for pushes and lists: a long result is null, with ``"result_omitted": true`` beside it."""
        result = self.result_json
        if result is not None and len(result) > MAX_PUSHED_RESULT_BYTES:
            return self._encode(b"null", b'"result_omitted":true,')
        return self._encode(result, b"")

    def _encode(self, result: bytes | None, omitted: bytes) -> bytes:
        info = self.info
        current, total, unit, percent, message = self.current, self.total, self.unit, self.percent, self.message
        started, completed, requested, stalled = self.started, self.completed, self.cancel_requested, self.stalled
        rate, eta = (None, None) if self.pace is None else (self.rate, self.eta)
        text = (
            f'{info.head}{self.status}","version":{self.version}{info.middle}'
            f'{"null" if current is None else current},"total":{"null" if total is None else total},'
            f'"unit":{"null" if unit is None else quoted(unit)},'
            f'"percent":{"null" if percent is None else percent},'
            f'"message":{"null" if message is None else quoted(message)},'
            f'"rate":{"null" if rate is None else rate},"eta":{"null" if eta is None else eta}}},'
            f'"started_at":{"null" if started is None else _json(started)},"updated_at":{_json(self.updated)},'
            f'"completed_at":{"null" if completed is None else _json(completed)},'
            f'"cancel_requested_at":{"null" if requested is None else _json(requested)},'
            f'"stalled_since":{"null" if stalled is None else _json(stalled)},'
            f'"output_size":{self.output_size}{info.foot}'
        ).encode()
        if self.finished:
            error = b"null" if self.error is None else self.error.encode()
            end = b'"result":%b,%b"error":%b,"metadata":%b}' % (result or b"null", omitted, error, self.metadata_json)
            return text + end
        return b'%b"result":null,"error":null,"metadata":%b}' % (text, self.metadata_json)


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    """A second since 1970 as RFC 3339 text, without fraction and zone. Most timestamps share one with others."""
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=int(seconds * 1e6 + 0.5))


def _text(seconds: float) -> str:
    second, rest = divmod(int(seconds * 1e6 + 0.5), 1_000_000)
    return f"{_second(second)}.{rest:06d}Z"


def _json(seconds: float) -> str:
    second, rest = divmod(int(seconds * 1e6 + 0.5), 1_000_000)
    return f'"{_second(second)}.{rest:06d}Z"'


def _null_or(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def created(new: NewTask, *, epoch: str, now: float, version: int, order: int) -> Task:
    """The first record of a task. Raises `InvalidValue` for a status that no task begins with."""
    if new.status not in _OPEN:
        raise InvalidValue("status", f"{new.status}; a task begins as pending or processing")
    groups = ",".join(quoted(group) for group in new.groups)
    info = TaskInfo(
        new.user_id, new.groups, new.name, epoch, now, new.cancellable, new.attempt, new.retry_of, new.parent_id, order,
        f'{{"task_id":{quoted(new.task_id)},"user":{_null_or(new.user_id)},"groups":[{groups}],'
        f'"name":{_null_or(new.name)},"status":"',
        f',"epoch":{quoted(epoch)},"created_at":{_json(now)},"progress":{{"current":',
        f',"cancellable":{"true" if new.cancellable else "false"},"attempt":{new.attempt},'
        f'"retry_of":{_null_or(new.retry_of)},"parent_id":{_null_or(new.parent_id)},',
    )  # fmt: skip
    started = now if new.status is PROCESSING else None
    current = None if new.total is None else 0
    percent = percent_of(None, current, new.total)
    pace = None if current is None else Pace(now, current)
    return Task(
        new.task_id, info, new.status, False, version, new.message, current, new.total, new.unit, percent, pace,
        started, now, None, None, None, None, None, 0, b"{}" if new.metadata is None else new.metadata,
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
    if task.finished:
        raise TaskAlreadyFinished(task.task_id, task.status)
    stamp = task.updated
    if now > stamp:
        stamp = now
    started = task.started
    pace = task.pace
    if started is None:
        started = stamp
        if pace is not None:  # The wait before the start is no work.
            pace = Pace(now, pace.value)
    if percent is None and current is None and advance is None and total is None:
        current, total, percent = task.current, task.total, task.percent
    else:
        had = task.current
        if current is None:
            current = had
        if total is None:
            total = task.total
        if advance is not None:
            current = advance if current is None else current + advance
            if not -MAX_NUMBER <= current <= MAX_NUMBER:
                raise InvalidValue("advance", f"it would take current beyond {MAX_NUMBER}")
        if current is None and total is not None:
            current = 0
        held = task.percent
        if percent is None:
            percent = held if total is None else percent_of(held, current, total)
        elif held is not None and percent < held:
            percent = held
        if current is not None:
            if pace is None or not 0.0 <= now - pace.at < SAMPLE_INTERVAL or pace.in_percent:
                pace = sampled(pace, now, current, False)
        elif percent is not None and (pace is None or not 0.0 <= now - pace.at < SAMPLE_INTERVAL):
            pace = sampled(pace, now, percent, True)
    return Task(
        task.task_id, task.info, PROCESSING, False, task.version + 1, task.message if message is None else message,
        current, total, task.unit if unit is None else unit, percent, pace, started, stamp, None,
        task.cancel_requested, None, None, None, task.output_size,
        task.metadata_json if metadata is None else metadata,
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
    if task.finished:
        if task.status is status:
            return task
        raise TaskAlreadyFinished(task.task_id, task.status)
    stamp = max(now, task.updated)
    percent = 100.0 if status is COMPLETED else task.percent
    return Task(
        task.task_id, task.info, status, True, task.version + 1, task.message, task.current, task.total, task.unit,
        percent, task.pace, task.started, stamp, stamp, task.cancel_requested, None, result, failure,
        task.output_size, task.metadata_json,
    )  # fmt: skip


def asked_to_stop(task: Task, now: float) -> Task:
    """The record after a request to stop: a pending task ends, a processing one is marked once.

    The same record if it was asked before, or is cancelled. Raises `TaskAlreadyFinished` after another end.
    """
    if task.status is PENDING or task.finished:
        return ended(task, now, CANCELLED)
    if task.cancel_requested is not None:
        return task
    stamp = max(now, task.updated)
    return Task(
        task.task_id, task.info, task.status, False, task.version + 1, task.message, task.current, task.total,
        task.unit, task.percent, task.pace, task.started, task.updated, None, stamp, task.stalled, None, None,
        task.output_size, task.metadata_json,
    )  # fmt: skip
