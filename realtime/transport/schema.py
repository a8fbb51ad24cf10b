"""The shapes of what goes out, as types: what the OpenAPI and the AsyncAPI documents are made of.

Snapshots are not built from these (`Task` writes its JSON at once); a test reads real ones with them, strictly.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
Version = Annotated[int, Meta(ge=0, description="Grows with each change of a task.")]
Number = int | float
Count = Annotated[int, Meta(ge=0)]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes out, and holds nothing else."""


class Progress(Shape, frozen=True):
    """How far a task is; ``total`` null: nobody knows how much there is to do. ``rate`` per second, ``eta`` seconds."""

    unit: str | None
    current: Number | None
    total: Number | None
    percent: Annotated[float, Meta(ge=0, le=100)] | None
    message: str | None
    rate: Number | None
    eta: Number | None


class Failure(Shape, frozen=True):
    """Why a task failed."""

    type: str | None
    message: str
    code: str
    retryable: bool | None
    details: Any


class Children(Shape, frozen=True):
    """How the parts of a task stand, a part and its retries as one; ``total`` has those that were announced, too."""

    total: Count
    pending: Count
    processing: Count
    completed: Count
    failed: Count
    cancelled: Count


class Snapshot(Shape, frozen=True):
    """A task as it is at one version; ``result`` or ``error`` only once it has ended."""

    task_id: str
    user: str | None
    groups: list[str]
    name: str | None
    status: Status
    version: Version
    epoch: str
    progress: Progress
    created_at: Time
    started_at: Time | None
    cancellable: bool
    cancel_acknowledged_at: Time | None
    stalled_since: Time | None
    attempt: int
    retry_of: str | None
    parent_id: str | None
    retried_by: str | None
    metadata: dict[str, Any]
    updated_at: Time
    output_size: int
    cancel_requested_at: Time | None
    children: Children | None
    completed_at: Time | None
    result: Any
    error: Failure | None
    #: In pushes and lists: the result is too long for them, and read over HTTP.
    result_omitted: bool | UnsetType = UNSET


class Receipt(Shape, frozen=True):
    """In the place of a snapshot, for who prefers ``return=minimal``."""

    task_id: str
    epoch: str
    version: Version
    status: Status
    output_size: int
    cancel_requested_at: Time | None


class Written(Shape, frozen=True):
    """Where a stream ends now, in bytes of UTF-8."""

    task_id: str
    stream: str
    end: int
    cancel_requested_at: Time | None


class Page(Shape, frozen=True):
    """Tasks, the newest first; ``next`` leads to the following page as ``before``, null on the last one."""

    epoch: str
    tasks: list[Snapshot]
    next: str | None


class Problem(Shape, frozen=True):
    """What went wrong; ``code`` is what to switch on. Workers are told the field, the task and its end, too."""

    code: str
    message: str
    field: str | UnsetType = UNSET
    task_id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET


class Refusal(Shape, frozen=True):
    """Every answer that is an error."""

    error: Problem


class BatchResult(Shape, frozen=True):
    """What one operation of a batch came to; with a task, ``watched`` says whether somebody looks at it, if that is
    known.
    """

    status: int
    task: Snapshot | UnsetType = UNSET
    watched: bool | UnsetType = UNSET
    output: Written | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


#: Bytes of whole snapshots in the answer to a batch; the tasks that find no room are shown by a receipt. A few
#: bytes are enough to ask for the 256 KiB of a result, and a batch may ask 1,000 times.
MAX_SNAPSHOTS: Final = 32 * 1024 * 1024


class BatchAnswer(Shape, frozen=True):
    """One result for each operation, in their order."""

    results: list[BatchResult]


# Pushes to viewers.


class TaskOutput(Shape, frozen=True):
    """A piece of what a task writes: bytes ``offset`` to ``end`` of its stream."""

    task_id: str
    stream: str
    epoch: str
    offset: int
    end: int
    text: str


class TaskRemoved(Shape, frozen=True):
    """A task has left, or is no longer one that the viewer may see."""

    task_id: str
    epoch: str
    version: Version


class TasksSnapshot(Shape, frozen=True):
    """What differs from what the viewer shows; a new epoch replaces all of that."""

    epoch: str
    user_id: str | None
    tasks: list[Snapshot]
    #: Ids that the viewer knows and may no longer see.
    removed: list[str]
    has_more: bool
    server_time: Time


class ServerStateChange(Shape, frozen=True):
    """Whether the server reaches its task store; or that it goes away, and within how many seconds to connect again."""

    state: Literal["live", "stale", "stopping"]
    #: Each viewer at a moment of its own: all at once would be too many for the others.
    reconnect_within: Annotated[float, Meta(ge=0)] | UnsetType = UNSET


class Acknowledgement(msgspec.Struct, frozen=True):
    """The answer to a command: ``ok``, and what was asked for or the error."""

    ok: bool
    error: Problem | UnsetType = UNSET
