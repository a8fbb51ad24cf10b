"""What a worker is answered: the snapshot; or, with ``Prefer: return=minimal``, what it needs of one."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, request

from ..task import Task
from . import answers
from .answers import json

_MINIMAL: Final = "return=minimal"


def wants_minimal() -> bool:
    """Whether this request asks for a short answer."""
    prefer = request.headers.get("Prefer", "")
    return any(part.strip().lower() == _MINIMAL for part in prefer.replace(";", ",").split(","))


def preferring(response: Response) -> Response:
    """The response, which says that it is short if that was asked for."""
    if wants_minimal():
        response.headers["Preference-Applied"] = _MINIMAL
    return response


def shown(status: int, what: Task | dict[str, Any]) -> Response:
    """A response that shows a task, or something about one."""
    if isinstance(what, Task):
        response = preferring(json(minimal(what))) if wants_minimal() else answers.snapshot(what)
        response.headers["ETag"] = what.etag
    else:
        response = json(what)
    response.status_code = status
    return response


def minimal(task: Task) -> dict[str, Any]:
    """A task in the short form."""
    return {
        "task_id": task.task_id, "epoch": task.epoch, "version": task.version, "status": task.status,
        "output_size": task.output_size, "cancel_requested_at": asked(task),
    }  # fmt: skip


def asked(task: Task) -> str | None:
    """When the task was asked to stop, as the wire has it."""
    when = task.cancel_requested_at
    return None if when is None else when.isoformat(timespec="microseconds").replace("+00:00", "Z")
