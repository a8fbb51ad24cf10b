"""A task as a record again, from the JSON that a server has made of it; and the record of one not heard of yet.

What is not on the wire is told from what is: a task's place among others from when it was created, its pace from the
rate and the time left. So a record shows the same JSON again, but for the rounding of these two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from ..kin import Children, Kin
from ..progress import MIN_SAMPLES, Pace, Progress
from ..task import PROCESSING, Task, TaskFailure, TaskStatus, make_info


class _Error(msgspec.Struct):
    type: str | None
    message: str
    code: str
    retryable: bool | None = None
    details: msgspec.Raw = msgspec.Raw(b"null")


class Snapshot(msgspec.Struct):
    """The wire's snapshot. What it holds beyond this is passed over: a newer server may say more."""

    task_id: str
    user: str | None
    groups: tuple[str, ...]
    name: str | None
    status: TaskStatus
    version: int
    epoch: str
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None
    cancellable: bool
    cancel_requested_at: datetime | None
    stalled_since: datetime | None
    attempt: int
    retry_of: str | None
    parent_id: str | None
    output_size: int
    metadata: msgspec.Raw
    cancel_acknowledged_at: datetime | None = None
    retried_by: str | None = None
    children: Children | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None

    def task(self) -> Task:
        """The record."""
        created, updated, progress = self.created_at.timestamp(), self.updated_at.timestamp(), self.progress
        info = make_info(
            self.task_id, self.user, self.groups, self.name, self.epoch, created, self.cancellable, self.attempt,
            self.retry_of, self.parent_id, _micros(self.created_at), progress.unit, _json(self.metadata) or b"{}",
            _seconds(self.started_at), _seconds(self.stalled_since),
            acknowledged=_seconds(self.cancel_acknowledged_at), kin=Kin(retried_by=self.retried_by),
        )  # fmt: skip
        return Task(
            self.task_id, info, self.status, self.status.finished, self.version, progress.message, progress.current,
            progress.total, progress.percent, _pace(progress, updated), updated, _seconds(self.cancel_requested_at),
            self.output_size, _seconds(self.completed_at), _json(self.result),
            None if self.error is None else _failure(self.error), children=self.children,
        )  # fmt: skip


_DECODER: Final = msgspec.json.Decoder(Snapshot)


def decoded(snapshot: bytes | msgspec.Raw) -> Task:
    """The record that a server shows so. Raises `msgspec.DecodeError` for what is no snapshot."""
    return _DECODER.decode(snapshot).task()


#: The place among others of a task that no server has told of yet.
UNKNOWN: Final = 0


def unknown(task_id: str, now: float) -> Task:
    """The record of a task of which no more than its id is known, as if it had been created ``now``."""
    info = make_info(
        task_id, None, (), None, "", now, False, 1, None, None, UNKNOWN, None, b"{}", now, None,
    )  # fmt: skip
    return Task(task_id, info, PROCESSING, False, 0, None, None, None, None, None, now)


def is_unknown(task: Task) -> bool:
    """Whether no server has told of it yet."""
    return task.info.order == UNKNOWN


def _failure(error: _Error) -> TaskFailure:
    return TaskFailure(error.type, error.message, error.code, error.retryable, _json(error.details))


def _json(raw: msgspec.Raw) -> bytes | None:
    data = bytes(raw)
    return None if data == b"null" else data


def _pace(progress: Progress, at: float) -> Pace | None:
    """A pace that says what the snapshot says."""
    current, percent = progress.current, progress.percent
    if current is not None:
        if progress.rate is None:
            return Pace(at, current)
        return Pace(at, current, progress.rate, 1.0, MIN_SAMPLES)
    if percent is None:
        return None
    if not progress.eta:
        return Pace(at, percent, in_percent=True)
    return Pace(at, percent, (100.0 - percent) / progress.eta, 1.0, MIN_SAMPLES, True)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6 + 0.5)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
