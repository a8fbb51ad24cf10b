"""Live progress for Flask: task lifecycle functions that browsers see at once, without polling.

The whole public API is on this screen. (And `realtime.client.Client`, for workers in other processes, which need no
Flask: so `Realtime`, which does, is loaded when it is first asked for.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .auth import Identity
from .config import Config
from .errors import (
    CancelRequested,
    ConfigError,
    Forbidden,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InsufficientScope,
    InvalidType,
    InvalidValue,
    KeyExpired,
    KeyInvalid,
    LeaseHeld,
    LimitReached,
    NoRealtime,
    NotTheServer,
    OriginNotAllowed,
    PreconditionFailed,
    RealtimeError,
    RegistryUnavailable,
    ServerStopping,
    TaskAlreadyFinished,
    TaskCancelled,
    TaskError,
    TaskExists,
    TaskNotFound,
    TicketExpired,
    TicketInvalid,
    Unauthenticated,
)  # fmt: skip
from .handle import Handle
from .lifecycle import (
    acknowledge_cancel,
    append_output,
    cancel_task,
    complete_task,
    create_task,
    fail_task,
    get_task_status,
    heartbeat_task,
    list_tasks,
    remove_task,
    retry_task,
    update_many,
    update_task_progress,
)  # fmt: skip
from .operations import ANYBODY, NOBODY, TaskPage
from .progress import Progress
from .registry.base import Registry, Removed
from .task import Task, TaskFailure, TaskStatus

if TYPE_CHECKING:
    from .extension import Realtime

__all__ = [
    "ANYBODY", "NOBODY", "CancelRequested", "Config", "ConfigError", "Forbidden", "Handle", "IdempotencyKeyInUse",
    "IdempotencyKeyReused", "Identity", "InsufficientScope", "InvalidType", "InvalidValue", "KeyExpired", "KeyInvalid",
    "LeaseHeld", "LimitReached", "NoRealtime", "NotTheServer", "OriginNotAllowed", "PreconditionFailed", "Progress",
    "Realtime", "RealtimeError", "Registry", "RegistryUnavailable", "Removed", "ServerStopping", "Task",
    "TaskAlreadyFinished", "TaskCancelled", "TaskError", "TaskExists", "TaskFailure", "TaskNotFound", "TaskPage",
    "TaskStatus", "TicketExpired", "TicketInvalid", "Unauthenticated", "acknowledge_cancel", "append_output",
    "cancel_task", "complete_task", "create_task", "fail_task", "get_task_status", "heartbeat_task", "list_tasks",
    "remove_task", "retry_task", "update_many", "update_task_progress",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name != "Realtime":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .extension import Realtime

    globals()[name] = Realtime  # the next time, it is simply there
    return Realtime
