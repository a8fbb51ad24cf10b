"""How the HTTP side answers: JSON, snapshots, and errors as ``{"error": {"code", "message"}}``, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from flask import Response, request
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from .. import keys
from ..errors import (
    IdempotencyKeyInUse,
    InsufficientScope,
    InvalidValue,
    LimitReached,
    RealtimeError,
    TaskAlreadyFinished,
    Unauthenticated,
)
from ..task import Task

log = logging.getLogger("realtime")

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Handler = Callable[..., Response]


def resource(handlers: Mapping[str, Handler], check: Callable[[], None] | None) -> Handler:
    """A view that does what ``handlers`` say of each method, and turns every error into JSON.

    It takes all `METHODS` and says no itself: the host app has its own pages for 404 and 405, in HTML.
    """
    allowed = sorted({*handlers, "OPTIONS"} | ({"HEAD"} if "GET" in handlers else set()))

    def view(**arguments: str) -> Response:
        try:
            _check_query()
            if check is not None:
                check()
            handler = handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is not None:
                return handler(**arguments)
            if request.method == "OPTIONS":
                return Response(status=204, headers={"Allow": ", ".join(allowed)})
            raise MethodNotAllowed(allowed)
        except RealtimeError as error:
            # A 500 is nothing that a stranger should read, such as what is wrong with a setting.
            return _refused(error) if error.http_status != 500 else _failed(error)
        except HTTPException as error:
            status, problem = problem_of(error)
            response = json({"error": problem}, status)
            response.headers.extend({"Allow": ", ".join(allowed)} if status == 405 else {})
            return response
        except Exception as error:
            return _failed(error)

    return view


def _check_query() -> None:
    """Raise `BadRequest` for bytes that are no text: whoever read a parameter would fail, with a traceback in the log
    for each request of anybody."""
    if not request.query_string.isascii():
        try:
            request.query_string.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"The query is not UTF-8: {error.reason} at byte {error.start}.") from None


def bearer() -> str:
    """The token that the request brings, empty if none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def from_worker() -> bool:
    """Whether the request brings what looks like a worker key."""
    return keys.looks_like_one(bearer())


def problem_of(error: RealtimeError | HTTPException) -> tuple[int, dict[str, Any]]:
    """The status and the ``error`` of an answer. A worker is told more than a page needs: the field, the state."""
    if isinstance(error, HTTPException):
        code = error.name.lower().replace(" ", "_")
        return error.code or 500, {"code": code, "message": error.description or error.name}
    problem = {"code": error.code, "message": str(error)}
    if from_worker():
        if isinstance(error, InvalidValue):
            problem["field"] = error.field
        if isinstance(getattr(error, "task_id", None), str):
            problem["task_id"] = error.task_id  # type: ignore[attr-defined]
        if isinstance(error, TaskAlreadyFinished):
            problem["status"] = error.status
    return error.http_status, problem


def _failed(error: Exception) -> Response:
    log.error("%s %s failed.", request.method, request.endpoint, exc_info=error)
    return json({"error": FAILED}, 500)


#: What is told of an error that is nobody's business.
FAILED: Final = {"code": "internal", "message": "The server failed to answer."}


def _refused(error: RealtimeError) -> Response:
    status, problem = problem_of(error)
    response = json({"error": problem}, status)
    if isinstance(error, Unauthenticated):
        # RFC 6750, section 3: a scheme that makes no browser ask for a password.
        bad = type(error) is not Unauthenticated
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if bad else "Bearer"
    elif isinstance(error, InsufficientScope):
        response.headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
    elif isinstance(error, LimitReached | IdempotencyKeyInUse):
        response.headers["Retry-After"] = "1"
    return response


def json(value: Any, status: int = 200) -> Response:
    """The value as JSON (bytes are JSON already), for nobody to store."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(body, status, headers, content_type="application/json")


def snapshot(task: Task) -> Response:
    """The whole snapshot, with its entity tag."""
    response = json(task.encode())
    response.headers["ETag"] = task.etag
    return response
