"""Every error this package raises on purpose.

The tree::

    RealtimeError
    ├── ConfigError            a setting is wrong or missing
    ├── InvalidValue           an argument breaks a rule or a bound (also a ValueError)
    │   └── InvalidType        an argument is of the wrong type (also a TypeError)
    ├── TaskNotFound           no such task, or not one the caller may see
    ├── TaskExists             the id is taken
    ├── TaskAlreadyFinished    the task has ended; nothing follows an end
    ├── LeaseHeld              another worker holds the task by its lease
    ├── CancelRequested        the task was asked to stop, and the writer wanted to be told so
    ├── PreconditionFailed     the task is at another version than the writer thinks
    ├── IdempotencyKeyReused   the same Idempotency-Key came with another request
    ├── IdempotencyKeyInUse    the first request with this Idempotency-Key is still under way
    ├── Forbidden              visible to the caller, but not theirs to change
    ├── Unauthenticated        nobody is identified and no ticket was given
    │   ├── TicketInvalid      the ticket was not signed by this app, or for another purpose
    │   ├── TicketExpired      the ticket was good once
    │   ├── KeyInvalid         the worker key is none of this server's, or no longer
    │   └── KeyExpired         the worker key was good once
    ├── InsufficientScope      the worker key is good, but not for this
    ├── OriginNotAllowed       a page of another origin asked
    ├── LimitReached           a bound on how many is reached (viewers, tasks)
    ├── RegistryUnavailable    the task store cannot be reached now; try again
    ├── NotTheServer           a write to ``memory://`` in a process that no viewer is connected to
    ├── SeveralProcesses       several worker processes serve, and ``memory://`` (a file, too) is one's own
    ├── NoRealtime             no app has a Realtime here, or several have
    ├── ServerStopping         the server takes no new work
    └── TaskError              raised *by a job*: its message is safe to show to the user

    TaskCancelled              raised *in a job* that was asked to stop; a BaseException,
                               so that ``except Exception`` does not swallow it

Each class has a stable ``code`` (what a client switches on) and an ``http_status``, a hint
for whoever turns it into a response. ``str(error)`` is one sentence that names the field and the bound.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RealtimeError(Exception):
    """The root of what this package raises on purpose."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500


class ConfigError(RealtimeError):
    """A setting is wrong or missing; the message says which and what it may be."""

    code = "config"


class InvalidValue(RealtimeError, ValueError):
    """An argument breaks a rule. ``field`` names it (``message``, ``result.scores[3]``)."""

    code = "invalid"
    http_status = 422

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class InvalidType(InvalidValue, TypeError):
    """An argument is of the wrong type."""


class _TaskProblem(RealtimeError):
    """A problem with one task; ``task_id`` names it."""

    text: ClassVar[str] = ""

    def __init__(self, task_id: str, text: str | None = None) -> None:
        super().__init__(text or self.text.format(task_id=task_id))
        self.task_id = task_id


class TaskNotFound(_TaskProblem):
    """There is no such task, or the caller may not see it: the two are never told apart."""

    code = "not_found"
    http_status = 404
    text = (
        "No task {task_id!r} is known here. It may have ended and been cleared, or live in another process: memory:// "
        "holds the tasks of one process only (a worker reaches them with REALTIME_URL set to the server's address, "
        "through the functions of `realtime` or a Client, not through the methods of a Realtime)."
    )


class TaskExists(_TaskProblem):
    """The id is taken; nothing was changed."""

    code = "exists"
    http_status = 409
    text = "A task with the id {task_id!r} exists already."


class TaskAlreadyFinished(_TaskProblem):
    """The task has ended. ``status`` says how."""

    code = "already_finished"
    http_status = 409

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(task_id, f"The task {task_id!r} is {status} already; nothing follows an end.")
        self.status = status


class LeaseHeld(_TaskProblem):
    """Another worker holds the task, and its lease runs; nothing was changed."""

    code = "lease_held"
    http_status = 409
    text = (
        "The task {task_id!r} is held by another worker, whose lease runs. A worker that has been started in its place "
        "takes it over with takeover=True."
    )


class CancelRequested(_TaskProblem):
    """The task was asked to stop, and its writer, who wanted to be told so, knows it now; nothing else was changed."""

    code = "cancel_requested"
    http_status = 409
    text = "The task {task_id!r} was asked to stop."


class PreconditionFailed(_TaskProblem):
    """The task is at another version; nothing was changed."""

    code = "precondition_failed"
    http_status = 412
    text = "The task {task_id!r} is at another version by now."


class IdempotencyKeyReused(RealtimeError):
    """The same key came with another request; nothing was changed."""

    code = "idempotency_key_reused"
    http_status = 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came with another request before; use a new one for each request.")


class IdempotencyKeyInUse(RealtimeError):
    """The first request with this key is still under way."""

    code = "idempotency_key_in_use"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still under way; ask again.")


class Forbidden(_TaskProblem):
    """The caller sees the task but may not do this to it."""

    code = "forbidden"
    http_status = 403
    text = "Only the owner of the task {task_id!r} may do this."


class Unauthenticated(RealtimeError):
    """Nobody is identified and no ticket was given."""

    code = "unauthenticated"
    http_status = 401

    def __init__(self, text: str = "Not signed in: no user was identified and no ticket was given.") -> None:
        super().__init__(text)


class TicketInvalid(Unauthenticated):
    """The ticket was not signed by this app."""

    code = "ticket_invalid"

    def __init__(self, text: str = "The ticket is not one of this server's.") -> None:
        super().__init__(text)


class TicketExpired(Unauthenticated):
    """The ticket is older than ``REALTIME_TICKET_AGE`` allows."""

    code = "ticket_expired"

    def __init__(self, text: str = "The ticket has expired.") -> None:
        super().__init__(text)


class KeyInvalid(Unauthenticated):
    """The worker key is none of this server's; or it was revoked."""

    code = "key_invalid"

    def __init__(self, text: str = "The worker key is not one of this server's.") -> None:
        super().__init__(text)


class KeyExpired(Unauthenticated):
    """The worker key has stopped working at its time."""

    code = "key_expired"

    def __init__(self, text: str = "The worker key has expired.") -> None:
        super().__init__(text)


class InsufficientScope(RealtimeError):
    """The worker key is good, but not for this. The message names the scope."""

    code = "insufficient_scope"
    http_status = 403


class OriginNotAllowed(RealtimeError):
    """A page of another origin asked. The message names the settings that would allow it."""

    code = "origin_not_allowed"
    http_status = 403


class LimitReached(RealtimeError):
    """There are too many of something (viewers, parts, streams). The message says of what."""

    code = "limit"
    http_status = 429


class RegistryUnavailable(RealtimeError):
    """The task store (for a worker: the server) does not answer now. The change may or may not have been made."""

    code = "unavailable"
    http_status = 503


class NotTheServer(RealtimeError):
    """A write to ``memory://`` in a forked child, where no viewer will ever see it."""

    code = "not_the_server"


class SeveralProcesses(RealtimeError):
    """Several worker processes serve the app, and each would have tasks of its own. The message names the cure."""

    code = "multiprocess"
    http_status = 503

    def __init__(self, scheme: str = "memory") -> None:
        super().__init__(
            f"The server runs several worker processes, and {scheme}:// holds the tasks of one process only. "
            "Run one worker with several threads (gunicorn --workers 1 --threads 40, or realtime serve), or share the "
            "tasks: set REALTIME_REGISTRY to redis://."
        )


class NoRealtime(RealtimeError):
    """No ``Realtime`` to use: there is none, or there are several and no app context says which."""

    code = "no_realtime"


class ServerStopping(RealtimeError):
    """The server is going away and takes no new work."""

    code = "server_stopping"
    http_status = 503


class TaskError(RealtimeError):
    """Raise it in a job: the task fails, and this message is what the user reads.

    ``code`` (a stable word), ``retryable`` and ``details`` (a small JSON object) go to the page with it.
    """

    code: str = "failed"  # type: ignore[misc]  # an instance may have its own
    http_status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        retryable: bool | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.details = details


class TaskCancelled(BaseException):
    """Raised in a job at its next update after somebody asked it to stop."""

    def __init__(self, task_id: str | None = None) -> None:
        super().__init__(
            "The task was asked to stop." if task_id is None else f"The task {task_id!r} was asked to stop."
        )
        self.task_id = task_id
