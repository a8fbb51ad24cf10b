"""A task: its states, and its record, which alone decides what is shown of it.

A record never changes; `registry.transitions` leads from one to the next, and a registry stores it. What is on the wire
is made of the record and nothing else (no clock, no setting), so that one version is one string of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from math import inf
from types import MappingProxyType
from typing import Any, Final

import msgspec

from .failure import TaskFailure as TaskFailure
from .kin import ALONE, Children, Kin
from .progress import Pace, Progress, outlook
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
        return self not in UNFINISHED


PENDING: Final = TaskStatus.PENDING
PROCESSING: Final = TaskStatus.PROCESSING
COMPLETED: Final = TaskStatus.COMPLETED
FAILED: Final = TaskStatus.FAILED
CANCELLED: Final = TaskStatus.CANCELLED
UNFINISHED: Final = frozenset((PENDING, PROCESSING))

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
    kin: Kin = ALONE


class TaskInfo(msgspec.Struct, frozen=True, gc=False):
    """What of a task changes seldom or never; its records share it, and with it the JSON made of it."""

    user_id: str | None
    groups: tuple[str, ...]
    name: str | None
    epoch: str
    created: float
    cancellable: bool
    attempt: int
    retry_of: str | None
    parent_id: str | None
    #: Where the task stands among all of its registry: grows with each creation, and tells apart the tasks of one id.
    order: int
    unit: str | None
    metadata_json: bytes
    started: float | None
    stalled: float | None
    #: The stretches of the JSON between which the rest is set.
    head: str
    middle: str
    foot: str
    #: Seconds without a sign of life after which its worker is taken for lost; None: nobody has promised any.
    lease: float | None = None
    #: When its worker's side was first seen to know of the request to stop; None: not, or there was none.
    acknowledged: float | None = None
    kin: Kin = ALONE
    #: Which worker holds the task by that lease; None: one that has not said who it is, or nobody.
    holder: str | None = None


class Task(msgspec.Struct, frozen=True, gc=False):
    """A snapshot of a task. It never changes: `get_task_status` returns a newer one.

    Read ``task_id``, ``user_id``, ``name``, ``status``, ``finished``, ``progress`` (a `Progress`), ``result``,
    ``error`` (a `TaskFailure`), ``metadata``, ``version`` and the times (``created_at``, …: aware, in UTC);
    ``as_dict()`` is the whole as the page gets it.

    The fields, and those of ``info``, are what is stored: times in seconds since 1970, JSON as bytes. The properties
    make something handier of it at each access.
    """

    task_id: str
    info: TaskInfo
    status: TaskStatus
    #: Whether the task has ended.
    finished: bool
    #: Grows by one with each change; in an epoch no two states of a task id have the same.
    version: int
    message: str | None
    current: int | float | None
    total: int | float | None
    percent: float | None
    pace: Pace | None
    updated: float
    cancel_requested: float | None = None
    #: Bytes of output made up to this version, in UTF-8.
    output_size: int = 0
    completed: float | None = None
    result_json: bytes | None = None
    #: Why it failed; None unless it has.
    error: TaskFailure | None = None
    #: Bytes of output made since; they show in the next version, since one version is one text on the wire.
    output_more: int = 0
    #: How its parts stand; None if it never had any and was announced none.
    children: Children | None = None

    def __repr__(self) -> str:
        """What a log has room for: not what people wrote into the task, nor the texts that are kept ready."""
        percent = "" if self.percent is None else f" at {self.percent:.4g} %"
        return f"<Task {self.task_id!r} {self.status}{percent}, version {self.version}>"

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
    def retried_by(self) -> str | None:
        """The id of the task that tries this one again."""
        return self.info.kin.retried_by

    @property
    def parent_id(self) -> str | None:
        """The id of the task that this one is a part of."""
        return self.info.parent_id

    @property
    def progress(self) -> Progress:
        """How far the task is; rate and eta only while it is under way."""
        current, total, percent, pace = self.current, self.total, self.percent, self.pace
        rate, eta = (None, None) if pace is None or self.finished else outlook(pace, current, total, percent)
        return Progress(
            current,
            total,
            self.info.unit,
            percent,
            self.message,
            # As the wire has them.
            None if rate is None else float(f"{rate:.6g}"),
            None if eta is None else float(f"{eta:.1f}"),
        )

    @property
    def created_at(self) -> datetime:
        """When the task was created; as all times here aware, in UTC, to the microsecond."""
        return _moment(self.info.created)

    @property
    def started_at(self) -> datetime | None:
        """When it was first processing; None if it was never seen to be."""
        return _moment_or_none(self.info.started)

    @property
    def updated_at(self) -> datetime:
        """When it last moved: progress, its start or its end."""
        return _moment(self.updated)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, however it did."""
        return _moment_or_none(self.completed)

    @property
    def cancel_requested_at(self) -> datetime | None:
        """When it was first asked to stop while processing."""
        return _moment_or_none(self.cancel_requested)

    @property
    def cancel_acknowledged_at(self) -> datetime | None:
        """When its worker was told of that request; None until then: what has been asked may not have arrived."""
        return _moment_or_none(self.info.acknowledged)

    @property
    def stalled_since(self) -> datetime | None:
        """Since when there has been no sign of life of it; None while there is."""
        return _moment_or_none(self.info.stalled)

    @property
    def result(self) -> Any:
        """What the task came to, decoded anew at each access; None unless completed."""
        return None if self.result_json is None else msgspec.json.decode(self.result_json)

    @property
    def metadata(self) -> dict[str, Any]:
        """The app's own object, decoded anew at each access."""
        return msgspec.json.decode(self.info.metadata_json)  # type: ignore[no-any-return]

    @property
    def etag(self) -> str:
        """An HTTP entity tag, quotes included."""
        return f'"{self.info.epoch}.{self.version}"'

    def as_dict(self) -> dict[str, Any]:
        """The snapshot as it is on the wire: JSON values only, times as RFC 3339 texts in UTC."""
        return msgspec.json.decode(self.encode())  # type: ignore[no-any-return]

    def encode(self) -> bytes:
        """`as_dict` as JSON in UTF-8."""
        return (self._opening() + self._ending()).encode()

    def encode_push(self) -> bytes:
        """The same for pushes and lists: a long result is null, with ``"result_omitted": true`` beside it."""
        if self.finished:
            return (self._opening() + self._ending(MAX_PUSHED_RESULT_BYTES)).encode()
        return (self._opening() + _UNENDED).encode()

    def _opening(self) -> str:
        """The JSON, but for what comes with the end."""
        info, pace = self.info, self.pace
        current, total, percent, message = self.current, self.total, self.percent, self.message
        requested, children = self.cancel_requested, self.children
        rate, eta = (None, None) if pace is None or self.finished else outlook(pace, current, total, percent)
        return (
            f'{info.head}{self.status}","version":{self.version}{info.middle}'
            f'{"null" if current is None else current},"total":{"null" if total is None else total},'
            f'"percent":{"null" if percent is None else percent},'
            f'"message":{"null" if message is None else quoted(message)},'
            f'"rate":{"null" if rate is None else f"{rate:.6g}"},"eta":{"null" if eta is None else f"{eta:.1f}"}'
            f'{info.foot}{_time(self.updated)},"output_size":{self.output_size},'
            f'"cancel_requested_at":{"null" if requested is None else _time(requested)}'
            f',"children":{"null" if children is None else children.encode()}'
        )

    def _ending(self, max_result: float = inf) -> str:
        completed, result, omitted = "null" if self.completed is None else _time(self.completed), "null", ""
        if self.result_json is not None:
            if len(self.result_json) <= max_result:
                result = self.result_json.decode()
            else:
                omitted = '"result_omitted":true,'
        error = "null" if self.error is None else self.error.encode().decode()
        return f',"completed_at":{completed},"result":{result},{omitted}"error":{error}}}'


_UNENDED: Final = ',"completed_at":null,"result":null,"error":null}'


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    """A second since 1970 as RFC 3339 text, without fraction and zone. Most timestamps share one with others."""
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=int(seconds * 1e6 + 0.5))


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 text in UTC, to the microsecond."""
    return _time(seconds)[1:-1]


def _time(seconds: float) -> str:
    second, rest = divmod(int(seconds * 1e6 + 0.5), 1_000_000)
    return f'"{_second(second)}.{rest:06d}Z"'


def _time_or_null(seconds: float | None) -> str:
    return "null" if seconds is None else _time(seconds)


def _text_or_null(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def make_info(
    task_id: str,
    user_id: str | None,
    groups: tuple[str, ...],
    name: str | None,
    epoch: str,
    created: float,
    cancellable: bool,
    attempt: int,
    retry_of: str | None,
    parent_id: str | None,
    order: int,
    unit: str | None,
    metadata_json: bytes,
    started: float | None,
    stalled: float | None,
    lease: float | None = None,
    acknowledged: float | None = None,
    kin: Kin = ALONE,
    holder: str | None = None,
) -> TaskInfo:
    """The info, with the JSON that belongs to it."""
    return TaskInfo(
        user_id, groups, name, epoch, created, cancellable, attempt, retry_of, parent_id, order, unit, metadata_json,
        started, stalled,
        f'{{"task_id":{quoted(task_id)},"user":{_text_or_null(user_id)},"groups":[{",".join(map(quoted, groups))}],'
        f'"name":{_text_or_null(name)},"status":"',
        f',"epoch":{quoted(epoch)},"progress":{{"unit":{_text_or_null(unit)},"current":',
        f'}},"created_at":{_time(created)},"started_at":{_time_or_null(started)},'
        f'"cancellable":{"true" if cancellable else "false"},'
        f'"cancel_acknowledged_at":{_time_or_null(acknowledged)},'
        f'"stalled_since":{_time_or_null(stalled)},"attempt":{attempt},"retry_of":{_text_or_null(retry_of)},'
        f'"parent_id":{_text_or_null(parent_id)},"retried_by":{_text_or_null(kin.retried_by)},'
        f'"metadata":{metadata_json.decode()},"updated_at":', lease, acknowledged, kin, holder,
    )  # fmt: skip
