"""The HTTP side: read a task, wait for the next version of it, cancel and remove it; ingest; and the static files.

The same identity and the same rules as for viewers. All answers but static files are JSON, errors are
``{"error": {"code", "message"}}``. No answer carries a CORS header, and a request that a page of another
origin makes is refused whatever its method: a cookie must not be ridden on, nor a wait be used up.

Waiting. ``GET /v1/tasks/<id>?after=<epoch>.<version>`` is answered once there is a newer version, by 304 if none comes
in time. It must not hold a thread where threads are few and shared with everybody's views: under our own server
the view *parks*. It appends ``(task_id, seconds, unless)`` to the list ``environ["realtime.park"]`` and returns; the
server throws the response away, waits with `Hub.wait` on a green thread, and calls the app once more with
``environ["realtime.parked"]``, whereupon the view answers at once. Under other servers it waits where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol
from weakref import WeakSet

import msgspec
from flask import Blueprint, Response, request, send_from_directory
from werkzeug.exceptions import NotFound

from .. import values
from ..auth import Grant
from ..concurrency import Concurrency, native_lock, patched_mode
from ..config import Config
from ..errors import ConfigError, InvalidValue, LimitReached, RegistryUnavailable, TicketInvalid, Unauthenticated
from ..hub import Hub
from ..keys import WorkerGrant
from ..registry.base import Registry
from . import asyncapi, openapi
from .answers import METHODS, Handler, bearer, from_worker, json, problem_of, resource, snapshot
from .commands import Commands
from .ingest import Ingest
from .origin import Environ, behind_proxies, check_origin
from .processes import refuse_multiprocess

#: Seconds that a request may wait; proxies commonly give up after 30.
MAX_WAIT: Final = 25.0
#: Waits at once where a wait costs a green thread, and of one user (of one address, for those who have no user). One
#: worker key may hold half of what there is, and so may a user where there are few.
MAX_WAITS: Final = 1_000
MAX_WAITS_PER_USER: Final = 20

_KEY: Final = "worker key"

#: What the machine's own table of types may lack or have wrong: a browser runs no module of another type.
_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}


class Scraped(Protocol):
    """See `Exposition`, which is loaded where it is wanted only."""

    def answer(self) -> Response: ...
    def servers(self) -> Response: ...


class Deps(Protocol):
    """What the blueprint needs of a ``Realtime``."""

    @property
    def config(self) -> Config: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def hub(self) -> Hub: ...
    @property
    def commands(self) -> Commands: ...
    @property
    def concurrency(self) -> Concurrency: ...
    @property
    def ingest(self) -> Ingest: ...
    @property
    def static_folder(self) -> Path: ...
    @property
    def exposition(self) -> Scraped | None:
        """Answers a scraper; None when there are no metrics."""

    @property
    def authorise(self) -> Callable[[Environ, str | None], Grant | None]:
        """Finds what a request may see, of its environ and the ticket it brought."""


def blueprint(deps: Deps) -> Blueprint:
    """The pages below ``/realtime``. What ``deps`` has now is kept: it may act for another app later."""
    api = _Api(deps)
    ingest = deps.ingest
    config, folder = deps.config, deps.static_folder
    made = Blueprint("realtime", __name__)

    def add(rule: str, endpoint: str, handlers: Mapping[str, Handler], check: Callable[[], None] | None) -> None:
        made.add_url_rule(rule, endpoint, resource(handlers, check), methods=METHODS)

    add("/v1/healthz", "healthz", {"GET": _alive}, None)
    add("/v1/readyz", "readyz", {"GET": api.ready}, None)
    add("/v1/tasks", "tasks", {"GET": api.list, "POST": ingest.create}, api.check)
    changes = {"GET": api.show, "DELETE": api.remove, "PATCH": ingest.update}
    add("/v1/tasks/<task_id>", "task", changes, api.check)
    add("/v1/tasks/<task_id>/cancel", "cancel", {"POST": api.cancel}, api.check)
    if ingest.on:
        add("/v1/tasks/<task_id>/start", "start", {"POST": ingest.start}, api.check)
        add("/v1/tasks/<task_id>/output", "output", {"POST": ingest.output}, api.check)
        add("/v1/tasks/<task_id>/heartbeat", "heartbeat", {"POST": ingest.heartbeat}, api.check)
        add("/v1/tasks/<task_id>/complete", "complete", {"POST": ingest.complete}, api.check)
        add("/v1/tasks/<task_id>/retry", "retry", {"POST": ingest.retry}, api.check)
        add("/v1/tasks/<task_id>/fail", "fail", {"POST": ingest.fail}, api.check)
        acknowledge = {"POST": ingest.acknowledge_cancel}
        add("/v1/tasks/<task_id>/acknowledge_cancel", "acknowledge_cancel", acknowledge, api.check)
        add("/v1/batch", "batch", {"POST": ingest.batch}, api.check)
    # What describes the API is no secret, and is read by tools that know the host by any name.
    events = cache(lambda: msgspec.json.encode(asyncapi.document(config.namespace)))
    add("/v1/openapi.json", "openapi", {"GET": _Described(config).answer}, None)
    add("/v1/asyncapi.json", "asyncapi", {"GET": lambda: json(events())}, None)
    if deps.exposition is not None:  # checks its own token; a scraper may well know us by another host name
        add("/v1/metrics", "metrics", {"GET": deps.exposition.answer}, None)
        add("/v1/servers", "servers", {"GET": deps.exposition.servers}, None)
    add("/v1/<path:path>", "missing", dict.fromkeys(METHODS, _missing), api.check)
    add("/static/<path:filename>", "static", {"GET": lambda filename: _static(folder, filename)}, None)
    return made


class _Api:
    def __init__(self, deps: Deps) -> None:
        self._config = deps.config
        self._registry = deps.registry
        self._hub = deps.hub
        self._commands = deps.commands
        self._concurrency = deps.concurrency
        self._authorise = deps.authorise
        self._ingest = deps.ingest
        self._waits = _Waits()

    def check(self) -> None:
        """Before anything else: whether this process may answer, and this page may ask."""
        refuse_multiprocess(request.environ, self._config)
        if not self._from_worker():  # who may well know us by another host name; and no browser sends a key by itself
            check_origin(request.environ, self._config)

    def ready(self) -> Response:
        """Whether tasks can be read and changed now, for what decides where requests go. Asks nobody who it is.

        ``waiting`` tasks have a newest state that is not stored yet, where such states are kept: in 503, too.
        """
        buffer = self._registry.buffer
        waiting = {} if buffer is None else {"waiting": buffer.waiting()}
        try:
            self._registry.check()
        except RegistryUnavailable as away:
            if not waiting:
                raise
            return json({"error": problem_of(away)[1], **waiting}, away.http_status)
        return json({"ok": True, **waiting})

    def list(self) -> Response:
        limit = request.args.get("limit") or "50"
        if not (limit.isascii() and limit.isdecimal() and len(limit) <= 9):
            raise InvalidValue("limit", f"{limit[:40]!r} is not a whole number")
        grant = self._grant("read")
        if isinstance(grant, WorkerGrant):
            grant = _of_user(grant, request.args.get("user_id"))
        page = self._commands.list(grant, int(limit), request.args.get("before") or None)
        return json({"epoch": self._registry.epoch, **page})

    def show(self, task_id: str) -> Response:
        grant = self._grant("read", "report")
        task = self._commands.visible(grant, task_id)
        after = request.args.get("after")
        if after is None:
            response = snapshot(task)
            # A browser may keep it, and must ask each time whether it still holds; the answer is 304 to whoever still
            # may see it. Shared caches must not: what is visible depends on who asks.
            response.headers["Cache-Control"] = "private, no-cache"
            response.make_conditional(request)
            return response
        epoch, version = _cursor(after)
        newer = self._newer(task_id, epoch, version)
        seconds = _seconds(request.args.get("wait"))
        if not newer() and seconds > 0 and "realtime.parked" not in request.environ:
            wait = _Wait(newer, self._who(grant))
            parking: Any = request.environ.get("realtime.park")
            if parking is not None:
                self._waits.add(wait, MAX_WAITS)
                parking.append((task_id, seconds, wait))
                return Response(status=204)
            if self._concurrency.mode == "threading":
                most = max(1, self._config.request_threads // 2)
                self._waits.add(wait, most, " (half of REALTIME_REQUEST_THREADS)")
                self._hub.wait(task_id, seconds, wait)
            elif patched_mode() is not None:
                self._waits.add(wait, MAX_WAITS)
                self._hub.wait(task_id, seconds, wait)
            # Else this is a native thread in a process of green ones, which cannot wait for the hub.
        task = self._commands.visible(grant, task_id)
        response = snapshot(task)
        if task.epoch == epoch and task.version <= version:
            # The condition is in the address and not in If-None-Match, but it is the same one, and so is the answer.
            response.status_code = 304  # which has no body
        return response

    def cancel(self, task_id: str) -> Response:
        if self._from_worker():
            return self._ingest.cancel(task_id)
        response = snapshot(self._commands.cancel(self._grant(), task_id))
        response.status_code = 202
        return response

    def remove(self, task_id: str) -> Response:
        self._commands.remove(self._grant("control"), task_id)
        return Response(status=204)

    def _from_worker(self) -> bool:
        return self._ingest.on and from_worker()

    def _grant(self, *actions: str) -> Grant:
        """What the request may see; a worker's key needs one of ``actions``.

        Raises `Unauthenticated`, `InsufficientScope`, or what ``identify`` raises.
        """
        if self._from_worker():
            worker = self._ingest.grant()
            worker.need(*actions)
            return worker
        try:
            grant = self._authorise(request.environ, bearer() or None)
        except (TicketInvalid, ConfigError):
            # The header is the host app's too: a token that is not ours may well be what `identify` reads.
            grant = self._authorise(request.environ, None)
            if grant is None:
                raise
        if grant is None:
            raise Unauthenticated
        return grant

    def _who(self, grant: Grant) -> tuple[str, str]:
        if isinstance(grant, WorkerGrant):
            return _KEY, grant.key_id
        if grant.user_id is not None:
            return "user", grant.user_id
        return "address", behind_proxies(request.environ, self._config.trusted_proxies).get("REMOTE_ADDR", "")

    def _newer(self, task_id: str, epoch: str, version: int) -> Callable[[], bool]:
        def newer() -> bool:
            if self._registry.reads_wait:  # a parked wait asks on the hub's thread
                task = self._concurrency.execute(lambda: self._registry.get(task_id))
            else:
                task = self._registry.get(task_id)
            return task is None or task.epoch != epoch or task.version > version

        return newer


class _Wait:
    """The condition of one wait, and whose it is: a user's, an address's or a key's."""

    __slots__ = ("__weakref__", "_newer", "who")

    def __init__(self, newer: Callable[[], bool], who: tuple[str, str]) -> None:
        self._newer = newer
        self.who = who

    def __call__(self) -> bool:
        try:
            return self._newer()
        except RegistryUnavailable:  # the view is asked again, and says so
            return True


class _Waits:
    """Counts the waits under way: those whose condition somebody holds still.

    A parked wait has no end that the view would see (its client may go away meanwhile), so nothing is counted down.
    """

    def __init__(self) -> None:
        self._lock = native_lock()
        self._known: WeakSet[_Wait] = WeakSet()

    def add(self, wait: _Wait, most: int, why: str = "") -> None:
        """Raises `LimitReached`."""
        with self._lock:
            if len(self._known) >= most:
                raise LimitReached(f"{most} requests are waiting already{why}.")
            share = (most + 1) // 2  # one who holds more would shut out all others
            if wait.who[0] != _KEY:  # a worker waits for the tasks of many users
                share = min(share, MAX_WAITS_PER_USER)
            if sum(known.who == wait.who for known in self._known) >= share:
                raise LimitReached(f"{share} requests of this {wait.who[0]} are waiting already.")
            self._known.add(wait)


def _alive() -> Response:
    return json({"ok": True})


class _Described:
    """The OpenAPI document. To make it takes as long as thirty requests, and anybody may ask: it is made once for each
    address that we are known by."""

    def __init__(self, config: Config) -> None:
        @lru_cache(maxsize=8)  # a proxy may name addresses as it likes
        def document(server: str) -> bytes:
            return msgspec.json.encode(openapi.document(config, server))

        self._document = document

    def answer(self) -> Response:
        return json(self._document(request.script_root + request.path.rpartition("/")[0]))


def _missing(path: str) -> Response:
    raise NotFound("There is nothing here.")


def _static(folder: Path, filename: str) -> Response:
    # In a source tree the folder holds what was used to build and test it, too.
    if any(part.startswith(".") or part == "node_modules" for part in filename.split("/")):
        raise NotFound
    kind = _TYPES.get(PurePosixPath(filename).suffix)
    response = send_from_directory(folder, filename, mimetype=kind, conditional=True, etag=True)
    # The names do not change with the contents, so a browser asks each time, mostly to hear 304.
    response.headers["Cache-Control"] = "no-cache"
    response.headers.pop("Expires", None)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _cursor(text: str) -> tuple[str, int]:
    epoch, _, version = text.rpartition(".")
    if not epoch or not (version.isascii() and version.isdecimal() and len(version) < 20):
        raise InvalidValue("after", f"{text[:80]!r} is not <epoch>.<version>")
    return epoch, int(version)


def _of_user(grant: WorkerGrant, user_id: str | None) -> Grant:
    """The grant to list a user's tasks with. Raises `InvalidValue`, and `InsufficientScope` for a user it may not."""
    if user_id is None:
        raise InvalidValue("user_id", "it must be given: whose tasks are to be listed")
    grant.need_place(values.user_id(user_id), ())
    return Grant(values.user_id(user_id))


def _seconds(text: str | None) -> float:
    try:
        seconds = MAX_WAIT if not text else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_WAIT:
        raise InvalidValue("wait", f"{str(text)[:40]!r} is not a number of seconds from 0 to {MAX_WAIT:g}")
    return seconds
