"""Ingest: workers of any language say over HTTP how their tasks are, as the lifecycle functions do inside.

Every request brings a worker key (`keys`); nothing else opens these addresses: no cookie, no ticket, no ``identify``.
A page of another site has no key to send, so it can do nothing here whatever its browser adds by itself.

A change may be bound to a version (``If-Match``), to nobody having asked the task to stop (``?stop_on_cancel=1``), and
to being made once however often it is sent (``Idempotency-Key``). ``Prefer: return=minimal`` (RFC 7240) shortens what
is answered.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
from flask import Response, request
from msgspec import UNSET
from werkzeug.exceptions import HTTPException, NotFound

from .. import values
from ..config import Config
from ..errors import (
    InvalidType,
    InvalidValue,
    RealtimeError,
    RegistryUnavailable,
    TaskExists,
    TaskNotFound,
    Unauthenticated,
)
from ..keys import Keys, WorkerGrant
from ..operations import NOBODY, Operations
from ..registry.base import Registry
from ..registry.conditional import Condition, When
from ..registry.kinship import no_parent
from ..task import NewTask, Task
from . import answers
from .answers import bearer, json
from .idempotency import Answer, Idempotency, Memory, SharedIdempotency
from .receipts import asked, minimal, preferring, shown, wants_minimal
from .requests import (
    MAX_BODY,
    OPERATIONS,
    AcknowledgeCancelRequest,
    BatchRequest,
    CancelRequest,
    CompleteRequest,
    CreateRequest,
    FailRequest,
    HeartbeatRequest,
    OutputRequest,
    RetryRequest,
    StartRequest,
    UpdateRequest,
    body,
    content_of,
    convert,
)  # fmt: skip
from .schema import MAX_SNAPSHOTS

log = logging.getLogger("realtime")

#: What an operation comes to: a status, and what it is about (a task, or where a stream ends).
_Outcome = tuple[int, Task | dict[str, Any]]


class Ingest:
    """The views. ``keys`` None: they are off, and answer 404."""

    def __init__(self, registry: Registry, config: Config, keys: Keys | None) -> None:
        self._registry = registry
        self._config = config
        self._keys = keys
        self._creating = _Creating(registry)
        self._operations = Operations(registry, config, _nobody)
        self._creations = Operations(self._creating, config, _nobody)  # type: ignore[arg-type]  # creates only
        notes = registry.notes
        self._idempotency: Memory = Idempotency() if notes is None else SharedIdempotency(notes)
        self._max_body = max(MAX_BODY, 2 * config.max_result)

    @property
    def on(self) -> bool:
        """Whether there are keys that could open it."""
        return self._keys is not None

    def grant(self) -> WorkerGrant:
        """What the key of this request grants. Raises `NotFound` while there are none, and `Unauthenticated`."""
        if self._keys is None:
            raise NotFound("Ingest is off: REALTIME_WORKER_KEYS names no file of worker keys.")
        token = bearer()
        if not token:
            raise Unauthenticated("A worker key is needed: Authorization: Bearer rt_….")
        return self._keys.check(token)

    # Views.

    def create(self) -> Response:
        return self._once(lambda grant: self._created(*self._create(grant, self._read(CreateRequest)), request.path))

    def update(self, task_id: str) -> Response:
        return self._change(task_id, UpdateRequest)

    def start(self, task_id: str) -> Response:
        return self._change(task_id, StartRequest)

    def output(self, task_id: str) -> Response:
        return self._change(task_id, OutputRequest)

    def heartbeat(self, task_id: str) -> Response:
        return self._change(task_id, HeartbeatRequest)

    def complete(self, task_id: str) -> Response:
        return self._change(task_id, CompleteRequest)

    def fail(self, task_id: str) -> Response:
        return self._change(task_id, FailRequest)

    def cancel(self, task_id: str) -> Response:
        return self._change(task_id, CancelRequest)

    def acknowledge_cancel(self, task_id: str) -> Response:
        return self._change(task_id, AcknowledgeCancelRequest)

    def retry(self, task_id: str) -> Response:
        def retry(grant: WorkerGrant) -> Response:
            grant.need("create")  # before the body is read
            made = self._perform(grant, task_id, self._read(RetryRequest), Condition())
            return self._created(*made, request.path.removesuffix(f"/{task_id}/retry"))

        return self._once(retry)

    def batch(self) -> Response:
        return self._once(lambda grant: self._batch(grant, self._read(BatchRequest, forms=False)))

    # One operation.

    def _read(self, kind: Any, *, forms: bool = True) -> Any:
        return body(request, kind, self._max_body, forms=forms)

    def _change(self, task_id: str, kind: type[msgspec.Struct]) -> Response:
        def change(grant: WorkerGrant) -> Response:
            grant.need(*(("report", "control") if kind is CancelRequest else ("report",)))  # before the body is read
            tags = None
            if "If-Match" in request.headers and not request.if_match.star_tag:
                tags = frozenset(f'"{tag}"' for tag in request.if_match.as_set())
            unasked = _flag("stop_on_cancel", request.args.get("stop_on_cancel", ""))
            holder = request.args.get("holder")
            return shown(*self._perform(grant, task_id, self._read(kind), Condition(tags, unasked, holder)))

        return self._once(change)

    def _create(self, grant: WorkerGrant, given: CreateRequest) -> _Outcome:
        grant.need("create")
        owner = values.user_id(given.user_id)
        groups = values.groups(given.groups or ())
        grant.need_place(owner, groups)
        more: dict[str, Any] = {} if given.message is UNSET else {"message": given.message}
        if grant.bound and given.parent_id is not None:
            parent = self._registry.get(values.task_id(given.parent_id, "parent_id"))
            if parent is None or not grant.may_view(parent):  # it must not learn that there is one
                raise no_parent(str(given.parent_id))
        task = self._creations.create_task(
            given.task_id, NOBODY if owner is None else owner, name=given.name, status=given.status or "processing",
            total=given.total, unit=given.unit, metadata=given.metadata, cancellable=bool(given.cancellable),
            groups=groups, exist_ok=bool(given.exist_ok), parent_id=given.parent_id,
            weight=1.0 if given.weight is None else given.weight, children=given.children, **more,
        )  # fmt: skip
        new = self._creating.new
        if not new and not grant.may_view(task):  # nobody's, as the one asked for, but of other groups
            raise TaskExists(task.task_id)
        return (201 if new else 200), task

    def _created(self, status: int, task: Task | dict[str, Any], tasks: str) -> Response:
        response = shown(status, task)
        if isinstance(task, Task):
            response.headers["Location"] = f"{request.script_root}{tasks}/{quote(task.task_id, safe=':')}"
        return response

    def _perform(self, grant: WorkerGrant, task_id: str, given: Any, condition: Condition) -> _Outcome:
        """Do what is asked of a task that is there."""
        asks = isinstance(given, CancelRequest) and not given.done
        grant.need("create" if isinstance(given, RetryRequest) else "control" if asks else "report")
        try:
            values.task_id(task_id)
        except InvalidValue:
            raise TaskNotFound(task_id[:128]) from None  # no task can have that id
        if grant.bound:
            task = self._registry.get(task_id)
            if task is None or not grant.may_view(task):
                raise TaskNotFound(task_id)
            condition = condition._replace(order=task.info.order)
        operations = self._operations
        # To be asked to stop keeps nobody from saying how it ended.
        unasked = condition.unasked and isinstance(
            given, UpdateRequest | StartRequest | OutputRequest | HeartbeatRequest
        )
        holder = None if condition.holder is None else values.holder(condition.holder)
        if isinstance(given, HeartbeatRequest):  # says it itself, and may take over
            holder, given = None, msgspec.structs.replace(given, holder=given.holder or holder)
        if condition.tags is not None or unasked or holder is not None or condition.order is not None:
            when: Any = When(
                self._registry, condition.tags, unasked=unasked, holder=holder, order=condition.order
            )  # fmt: skip
            operations = Operations(when, self._config, _nobody)
        match given:
            case UpdateRequest():
                return 200, operations.update_task_progress(
                    task_id, None, given.message, current=given.current, total=given.total, percent=given.percent,
                    advance=given.advance, unit=given.unit, metadata=given.metadata,
                )  # fmt: skip
            case StartRequest():
                return 200, operations.start_task(task_id)
            case OutputRequest():
                stream = given.stream or "output"
                end = operations.append_output(task_id, given.text, stream=stream)
                task = self._registry.get(task_id)
                when_asked = None if task is None else asked(task)
                return 200, {"task_id": task_id, "stream": stream, "end": end, "cancel_requested_at": when_asked}
            case HeartbeatRequest(release=True):
                if given.holder is None:
                    raise InvalidValue("holder", "is needed to give a task back")
                return 200, operations.registry.release(task_id, given.holder)
            case HeartbeatRequest():
                return 200, operations.heartbeat_task(
                    task_id, 30.0 if given.lease is None else given.lease, holder=given.holder,
                    takeover=bool(given.takeover),
                )  # fmt: skip
            case CompleteRequest():
                return 200, operations.complete_task(task_id, given.result)
            case FailRequest():
                return 200, operations.fail_task(
                    task_id, given.error, code=given.code, type=given.type, retryable=given.retryable,
                    details=given.details,
                )  # fmt: skip
            case CancelRequest():
                done = bool(given.done)
                return (200 if done else 202), operations.cancel_task(task_id, done=done)
            case AcknowledgeCancelRequest():
                return 200, operations.acknowledge_cancel(task_id)
            case RetryRequest():
                if condition.tags is not None:
                    raise InvalidValue("if_match", "a retry takes none: a task is tried again once in any case")
                known = self._registry.get(task_id)
                if known is not None and condition.order not in (None, known.info.order):
                    raise TaskNotFound(task_id)
                if known is not None:
                    grant.need_place(known.user_id, known.groups)
                new_id = None if given.new_task_id is None else values.task_id(given.new_task_id, "new_task_id")
                task, is_new = self._registry.retry(task_id, new_id)
                return (201 if is_new else 200), task
        raise AssertionError(given)

    # Several.

    def _batch(self, grant: WorkerGrant, given: BatchRequest) -> Response:
        results: list[dict[str, Any]] = []
        away: RegistryUnavailable | None = None
        for item in given.operations:
            try:
                if away is not None:
                    raise away  # each would wait for the store in vain
                status, what = self._item(grant, item)
                results.append({"status": status, **self._told(what)})
            except (RealtimeError, HTTPException) as error:
                away = error.with_traceback(None) if isinstance(error, RegistryUnavailable) else away
                status, problem = answers.problem_of(error)
                if status == 500:
                    log.error("An operation of a batch failed.", exc_info=error)
                    problem = answers.FAILED
                results.append({"status": status, "error": problem})
            except Exception:
                log.exception("An operation of a batch failed.")
                results.append({"status": 500, "error": answers.FAILED})
        room = 0 if wants_minimal() else MAX_SNAPSHOTS
        for result in results:
            if "task" in result:
                whole = result["task"].encode() if room > 0 else b""
                room -= len(whole)
                result["task"] = msgspec.Raw(whole) if whole and room >= 0 else minimal(result["task"])
        return preferring(json({"results": results}))

    def _told(self, what: Task | dict[str, Any]) -> dict[str, Any]:
        if not isinstance(what, Task):
            return {"output": what}
        watched = self._registry.watched(what)
        # Where several servers share the tasks, a viewer of another one may look.
        return {"task": what, "watched": watched} if watched or not self._registry.reads_wait else {"task": what}

    def _item(self, grant: WorkerGrant, item: dict[str, Any]) -> _Outcome:
        fields = dict(item)
        op = fields.pop("op", None)
        kind = OPERATIONS.get(op) if isinstance(op, str) else None
        if kind is None:
            raise InvalidValue("op", f"is not one of {', '.join(OPERATIONS)}")
        if kind is CreateRequest:
            return self._create(grant, convert(fields, CreateRequest))
        task_id = fields.pop("task_id", None)
        if task_id is None:
            raise InvalidType("task_id", "None; the id of a task is needed")
        tag = fields.pop("if_match", None)
        if not isinstance(tag, str | None):
            raise InvalidType("if_match", "a text is needed: <epoch>.<version>")
        unasked = fields.pop("stop_on_cancel", None) or False
        if not isinstance(unasked, bool):
            raise InvalidType("stop_on_cancel", "true or false is needed")
        tags = None if tag is None or tag == "*" else frozenset((f'"{tag.strip(chr(34))}"',))
        holder = None if kind is HeartbeatRequest else fields.pop("holder", None)
        condition = Condition(tags, unasked, holder)
        return self._perform(grant, values.task_id(task_id), convert(fields, kind), condition)

    # Once.

    def _once(self, make: Callable[[WorkerGrant], Response]) -> Response:
        """What ``make`` answers; with an ``Idempotency-Key``, what it answered the first time."""
        grant = self.grant()
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return make(grant)

        def ask() -> tuple[Answer, bool]:
            response = make(grant)
            answer = Answer(response.status_code, response.get_data(), tuple(response.headers.to_wsgi_list()))
            return answer, 200 <= response.status_code < 300

        answer, again = self._idempotency.once(grant.key_id, key, self._fingerprint(), ask)
        response = Response(answer.body, answer.status, list(answer.headers))
        if again:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    def _fingerprint(self) -> bytes:
        """All that a request asks for."""
        parts = (
            request.method, request.path, request.query_string, request.headers.get("If-Match", ""),
            request.headers.get("Prefer", ""), request.mimetype,
        )  # fmt: skip
        seen = hashlib.sha256(msgspec.json.encode(parts))
        seen.update(content_of(request, self._max_body))
        return seen.digest()


class _Creating:
    """A registry that creates, and remembers for each thread whether its last task was new."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._last = threading.local()
        self.expire = registry.expire

    @property
    def new(self) -> bool:
        return bool(self._last.new)

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        created = self._registry.create(new, exist_ok=exist_ok)
        self._last.new = created[1]
        return created


def _nobody() -> None:
    """Who is identified: nobody. A worker says whose a task is."""


def _flag(name: str, text: str) -> bool:
    flag = {"": False, "0": False, "false": False, "1": True, "true": True}.get(text.lower())
    if flag is None:
        raise InvalidValue(name, f"{text[:40]!a}; it may be 1 or 0")
    return flag
