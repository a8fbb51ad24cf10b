"""What a task is said to have failed with: made of a text or an exception, as much of it as the page may see."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from . import values
from .config import Config
from .errors import InvalidType, InvalidValue, RealtimeError, TaskError
from .failure import TaskFailure

log = logging.getLogger("realtime")

_T = TypeVar("_T")

#: What the page is told of an exception whose text it must not see.
JOB_FAILED: Final = "The job failed."


def failure_of(
    error: str | BaseException, config: Config, *, code: str | None, type: str | None, retryable: bool | None,
    details: Mapping[str, Any] | None,
) -> TaskFailure:  # fmt: skip
    """The failure; arguments as of `fail_task`. Raises `InvalidValue`."""
    if not isinstance(error, str | BaseException):
        raise InvalidType("error", f"text or an exception, not {error.__class__.__name__}")

    def encoded(details: Mapping[str, Any]) -> bytes:
        return values.json_value("details", values.mapping("details", details), config.max_details)

    return TaskFailure(
        _type(error, config) if type is None else values.text("type", type, 200),
        _message(error, config),
        _told("code", code, error, lambda code: values.text("code", code, 64)) or "failed",
        _told("retryable", retryable, error, _flag),
        _told("details", details, error, encoded),
    )


def _type(error: str | BaseException, config: Config) -> str | None:
    if isinstance(error, str) or (config.error_detail == "none" and not isinstance(error, TaskError)):
        return None
    return type(error).__name__[:200]


def _message(error: str | BaseException, config: Config) -> str:
    if isinstance(error, str):
        return values.text("error", error, config.max_message)
    if isinstance(error, RealtimeError) or config.error_detail == "message":
        # The job has failed already: a text that is too long or broken must not keep the task from ending.
        try:
            text = str(error).encode(errors="backslashreplace").decode()
        except Exception:  # an error of its own in its __str__
            text = ""
        return text[: config.max_message] or type(error).__name__
    return JOB_FAILED


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidType("retryable", f"True, False or None, not {type(value).__name__}")
    return value


def _told(field: str, given: Any, error: object, check: Callable[[Any], _T]) -> _T | None:
    """What the caller gives, checked; else what a `TaskError` brings along, unless a task cannot hold that.

    Then the log says so, and the task ends without it: the job has failed already.
    """
    if given is not None:
        return check(given)
    brought = getattr(error, field, None) if isinstance(error, TaskError) else None
    try:
        return None if brought is None else check(brought)
    except InvalidValue as problem:
        log.error("Left out of what a job has failed with: %s", problem)
        return None
