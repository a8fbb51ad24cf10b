"""The JSON of `POST /batch` and of its answers: calls as operations, results as what the calls return or raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..errors import (
    InsufficientScope,
    InvalidValue,
    KeyExpired,
    KeyInvalid,
    LeaseHeld,
    LimitReached,
    RealtimeError,
    RegistryUnavailable,
    TaskAlreadyFinished,
    TaskExists,
    TaskNotFound,
    Unauthenticated,
)
from ..task import NewTask, TaskFailure
from .calls import Call


class Output(msgspec.Struct):
    end: int


class Error(msgspec.Struct):
    code: str = "internal"
    message: str = ""
    field: str = ""
    task_id: str = ""
    status: str = ""


class Result(msgspec.Struct):
    status: int
    task: msgspec.Raw = msgspec.Raw()
    output: Output | None = None
    error: Error | None = None
    watched: bool | None = None


class Results(msgspec.Struct):
    results: list[Result]


class Page(msgspec.Struct):
    tasks: list[msgspec.Raw]
    next: str | None = None


class Refusal(msgspec.Struct):
    error: Error


def problem_of(task_id: str, error: Error) -> RealtimeError | None:
    """The error as the registry there has raised it; None for one that is not about a task."""
    made = _PROBLEMS.get(error.code)
    return None if made is None else made(task_id, error)


_PROBLEMS: Final[dict[str, Callable[[str, Error], RealtimeError]]] = {
    "not_found": lambda task_id, error: TaskNotFound(task_id, f"The server knows no task {task_id!r}."),
    "exists": lambda task_id, error: TaskExists(error.task_id or task_id),
    "already_finished": lambda task_id, error: TaskAlreadyFinished(
        error.task_id or task_id, error.status or "finished"
    ),
    "invalid": lambda task_id, error: InvalidValue(
        error.field or "value", error.message.removeprefix(f"{error.field}: ")
    ),
    "unauthenticated": lambda task_id, error: Unauthenticated(error.message),
    "key_invalid": lambda task_id, error: KeyInvalid(error.message),
    "key_expired": lambda task_id, error: KeyExpired(error.message),
    "insufficient_scope": lambda task_id, error: InsufficientScope(error.message),
    "unavailable": lambda task_id, error: RegistryUnavailable(error.message),
    "lease_held": lambda task_id, error: LeaseHeld(task_id),
    "limit": lambda task_id, error: LimitReached(error.message),
}


def _create(new: NewTask, exist_ok: bool) -> dict[str, Any]:
    return {
        "op": "create", "user_id": new.user_id, "groups": new.groups, "name": new.name, "status": new.status,
        "message": new.message, "total": new.total, "unit": new.unit, "metadata": _raw(new.metadata),
        "cancellable": new.cancellable, "exist_ok": exist_ok, "parent_id": new.parent_id,
        "weight": None if new.kin.weight == 1.0 else new.kin.weight, "children": new.kin.announced,
    }  # fmt: skip


def _update(
    message: str | None, current: Any, total: Any, percent: Any, advance: Any, unit: str | None, metadata: bytes | None
) -> dict[str, Any]:
    return {
        "op": "update", "message": message, "current": current, "total": total, "percent": percent,
        "advance": advance, "unit": unit, "metadata": _raw(metadata),
    }  # fmt: skip


def _fail(failure: TaskFailure) -> dict[str, Any]:
    return {
        "op": "fail", "error": failure.message, "code": failure.code, "type": failure.type,
        "retryable": failure.retryable, "details": _raw(failure.details_json),
    }  # fmt: skip


_OPERATIONS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "create": _create,
    "update": _update,
    "append_output": lambda stream, data: {"op": "output", "stream": stream, "text": data.decode()},
    "start": lambda: {"op": "start"},
    "retry": lambda new_task_id: {"op": "retry", "new_task_id": new_task_id},
    "heartbeat": lambda lease, holder, takeover: {
        "op": "heartbeat",
        "lease": lease,
        "holder": holder,
        "takeover": takeover or None,
    },
    "release": lambda holder: {"op": "heartbeat", "holder": holder, "release": True},
    "complete": lambda result: {"op": "complete", "result": _raw(result)},
    "fail": _fail,
    "cancel": lambda: {"op": "cancel", "done": True},
    "acknowledge_cancel": lambda: {"op": "acknowledge_cancel"},
    "request_cancel": lambda: {"op": "cancel", "done": False},
}


#: Of a new task, what is not as if it had been left out.
_NONE: Final = ("user_id", "message")


def operation_of(call: Call) -> bytes:
    """One item of a batch. What is None is left out, unless it says that there is none: no owner, no first message."""
    said = _NONE if call.verb == "create" else ()
    operation = {
        name: value for name, value in _OPERATIONS[call.verb](*call.args).items() if value is not None or name in said
    }
    if call.holder is not None:
        operation["holder"] = call.holder
    return msgspec.json.encode({**operation, "task_id": call.task_id})


def _raw(data: bytes | None) -> msgspec.Raw | None:
    return None if data is None else msgspec.Raw(data)
