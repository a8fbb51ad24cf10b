"""The lifecycle functions of the current app; in a worker, those of the client that ``REALTIME_URL`` names.

In an app context they act on that app's `Realtime`, elsewhere on the only one of the process; where there is none, or
several, they raise `NoRealtime`, which names them. All else is as the methods of the same names say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import cleandoc
from typing import Any, Final, TypeVar

from .current import current as _realtime
from .errors import RealtimeError
from .operations import ANYBODY, Operations, TaskId, TaskPage, UserId, Word
from .registry.base import Removed
from .task import Task

_F = TypeVar("_F", bound=Callable[..., Any])

#: What help says of each function, after what it says of the method.
_WHERE: Final = """

This is `Realtime.{name}` of the current app; outside an app context, of the only Realtime in the process, and in
a worker, of the client that ``REALTIME_URL`` names. Raises `NoRealtime` where there is none of these, or several,
and `RegistryUnavailable` if the task store (a worker's server) does not answer in time."""


def _in_full(function: _F) -> _F:
    """Have ``help(realtime.create_task)`` tell what the method does, and not only where that is told."""
    told = getattr(Operations, function.__name__).__doc__
    if told is not None:  # under python -OO it is
        function.__doc__ = cleandoc(told) + _WHERE.format(name=function.__name__)
    return function


@_in_full
def create_task(
    task_id: TaskId | None = None,
    user_id: UserId | Word | None = None,
    *,
    name: str | None = None,
    status: str = "processing",
    message: str | None = "Starting...",
    total: float | None = None,
    unit: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    cancellable: bool = False,
    groups: Collection[str] = (),
    exist_ok: bool = False,
    parent_id: TaskId | None = None,
    weight: float = 1.0,
    children: int | None = None,
) -> Task:
    """Create a task and show it to its user: see `Realtime.create_task`."""
    return _realtime().create_task(
        task_id, user_id, name=name, status=status, message=message, total=total, unit=unit, metadata=metadata,
        cancellable=cancellable, groups=groups, exist_ok=exist_ok, parent_id=parent_id, weight=weight,
        children=children,
    )  # fmt: skip


@_in_full
def update_task_progress(
    task_id: TaskId,
    progress: str | float | None = None,
    message: str | None = None,
    current: float | None = None,
    total: float | None = None,
    percent: float | None = None,
    advance: float | None = None,
    unit: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Task:
    """Say how far a task is: see `Realtime.update_task_progress`."""
    return _realtime().update_task_progress(
        task_id, progress, message, current, total, percent, advance, unit, metadata
    )


@_in_full
def update_many(updates: Iterable[tuple[TaskId, str | float | Mapping[str, Any]]]) -> list[Task | RealtimeError]:
    """Say how far many tasks are: see `Realtime.update_many`."""
    return _realtime().update_many(updates)


@_in_full
def append_output(task_id: TaskId, text: str, *, stream: str = "output") -> int:
    """Append to what a task has written: see `Realtime.append_output`."""
    return _realtime().append_output(task_id, text, stream=stream)


@_in_full
def complete_task(task_id: TaskId, result: Any = None) -> Task:
    """End a task well: see `Realtime.complete_task`."""
    return _realtime().complete_task(task_id, result)


@_in_full
def fail_task(
    task_id: TaskId,
    error: str | BaseException,
    *,
    code: str | None = None,
    type: str | None = None,
    retryable: bool | None = None,
    details: Mapping[str, Any] | None = None,
) -> Task:
    """End a task badly, with a message or an exception: see `Realtime.fail_task`."""
    return _realtime().fail_task(task_id, error, code=code, type=type, retryable=retryable, details=details)


@_in_full
def heartbeat_task(task_id: TaskId, lease: float = 30.0, *, holder: str | None = None, takeover: bool = False) -> Task:
    """Say that a task's worker is alive: see `Realtime.heartbeat_task`."""
    return _realtime().heartbeat_task(task_id, lease, holder=holder, takeover=takeover)


@_in_full
def acknowledge_cancel(task_id: TaskId) -> Task:
    """Say that a task's job has heard of the request to stop: see `Realtime.acknowledge_cancel`."""
    return _realtime().acknowledge_cancel(task_id)


@_in_full
def cancel_task(task_id: TaskId, *, done: bool = False) -> Task:
    """Ask a task to stop, or (``done=True``) end it as cancelled: see `Realtime.cancel_task`."""
    return _realtime().cancel_task(task_id, done=done)


@_in_full
def retry_task(task_id: TaskId, new_task_id: TaskId | None = None) -> Task:
    """Make a task that tries a failed or cancelled one again: see `Realtime.retry_task`."""
    return _realtime().retry_task(task_id, new_task_id)


@_in_full
def get_task_status(task_id: TaskId, *, user_id: UserId | Word | None = ANYBODY) -> Task | None:
    """The newest snapshot of a task, or None: see `Realtime.get_task_status`."""
    return _realtime().get_task_status(task_id, user_id=user_id)


@_in_full
def list_tasks(
    user_id: UserId | None = None,
    *,
    groups: Collection[str] = (),
    limit: int = 50,
    before: str | None = None,
    finished: bool | None = None,
) -> TaskPage:
    """A user's tasks, newest first: see `Realtime.list_tasks`."""
    return _realtime().list_tasks(user_id, groups=groups, limit=limit, before=before, finished=finished)


@_in_full
def remove_task(task_id: TaskId) -> Removed:
    """Take a finished task out of the registry: see `Realtime.remove_task`."""
    return _realtime().remove_task(task_id)
