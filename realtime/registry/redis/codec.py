"""A task's record as bytes: MessagePack, the number of the format first.

Version, epoch and the sizes of output are not in there: the store keeps them beside the record, since it alone says
what they are.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import astuple

from ...errors import RegistryUnavailable
from ...kin import ALONE, Children, Kin
from ...progress import Pace
from ...task import Task, TaskFailure, TaskStatus, make_info

#: Goes up when a reader of the last format would misread the next.
FORMAT = 1

_Number = int | float


class _Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    format: int
    task_id: str
    status: str
    user_id: str | None
    groups: tuple[str, ...]
    name: str | None
    created: float
    cancellable: bool
    attempt: int
    retry_of: str | None
    parent_id: str | None
    order: int
    unit: str | None
    metadata: bytes
    started: float | None
    stalled: float | None
    message: str | None
    current: _Number | None
    total: _Number | None
    percent: float | None
    pace: tuple[float, float, float, float, int, bool] | None
    updated: float
    cancel_requested: float | None
    completed: float | None
    result: bytes | None
    error: tuple[str | None, str, str, bool | None, bytes | None] | None
    lease: float | None = None
    acknowledged: float | None = None
    #: Weight, parts announced, depth, the first attempt, the next one; and the counts of its parts.
    kin: tuple[float, int | None, int, str | None, str | None] | None = None
    children: tuple[int, int, int, int, int, int, bool] | None = None
    holder: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode
_STATUS = {str(status): status for status in TaskStatus}


def encode(task: Task) -> bytes:
    """The record of a task."""
    info, pace, error = task.info, task.pace, task.error
    return _encode(
        _Record(
            FORMAT, task.task_id, task.status, info.user_id, info.groups, info.name, info.created, info.cancellable,
            info.attempt, info.retry_of, info.parent_id, info.order, info.unit, info.metadata_json, info.started,
            info.stalled, task.message, task.current, task.total, task.percent,
            None if pace is None else (pace.at, pace.value, pace.average, pace.weight, pace.samples, pace.in_percent),
            task.updated, task.cancel_requested, task.completed, task.result_json,
            None if error is None else (error.type, error.message, error.code, error.retryable, error.details_json),
            info.lease, info.acknowledged, None if info.kin is ALONE else astuple(info.kin),
            None if task.children is None else astuple(task.children), info.holder,
        )
    )  # fmt: skip


def decode(record: bytes, *, epoch: str, version: int, size: int, written: int) -> Task:
    """The task of a record; ``size`` is the bytes of output up to its version, ``written`` those in all.

    Raises `RegistryUnavailable` for a format that this release does not know.
    """
    try:
        found = _decode(record)
    except msgspec.DecodeError as error:
        raise RegistryUnavailable(
            "The task store holds a record that this release cannot read: was it written by a newer one?"
        ) from error
    if found.format != FORMAT:
        raise RegistryUnavailable(
            f"The task store holds a record of format {found.format}; this release reads {FORMAT}."
        )
    info = make_info(
        found.task_id, found.user_id, found.groups, found.name, epoch, found.created, found.cancellable, found.attempt,
        found.retry_of, found.parent_id, found.order, found.unit, found.metadata, found.started, found.stalled,
        found.lease, found.acknowledged, ALONE if found.kin is None else Kin(*found.kin),
        holder=found.holder,
    )  # fmt: skip
    status = _STATUS[found.status]
    return Task(
        found.task_id, info, status, status.finished, version, found.message, found.current, found.total,
        found.percent, None if found.pace is None else Pace(*found.pace), found.updated, found.cancel_requested, size,
        found.completed, found.result, None if found.error is None else TaskFailure(*found.error), written - size,
        None if found.children is None else Children(*found.children),
    )  # fmt: skip
