"""The HTTP side: read a task, wait for the next version of it, cancel and remove it; and the static files.

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

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol
from weakref import WeakSet

import msgspec
from flask import Blueprint, Response, request, send_from_directory
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from ..auth import Grant
from ..concurrency import Concurrency, native_lock, patched_mode
from ..config import Config
from ..errors import ConfigError, InvalidValue, LimitReached, RealtimeError, TicketInvalid, Unauthenticated
from ..hub import Hub
from ..registry.base import Registry
from ..task import Task
from .commands import Commands
from .origin import Environ, behind_proxies, check_origin
from .processes import refuse_multiprocess

log = logging.getLogger("realtime")

#: Seconds that a request may wait; proxies commonly give up after 30.
MAX_WAIT: Final = 25.0
#: Waits at once where a wait costs a green thread, and of one user (of one address, for those who have no user).
MAX_WAITS: Final = 1_000
MAX_WAITS_PER_USER: Final = 20

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: What the machine's own table of types may lack or have wrong: a browser runs no module of another type.
_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}

_Handler = Callable[..., Response]


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
    def static_folder(self) -> Path: ...
    @property
    def exposition(self) -> Callable[[], Response] | None:
        """Answers a scraper; None when there are no metrics."""

    @property
    def authorise(self) -> Callable[[Environ, str | None], Grant | None]:
        """Finds what a request may see, of its environ and the ticket it brought."""


def blueprint(deps: Deps) -> Blueprint:
    """The pages below ``/realtime``. What ``deps`` has now is kept: it may act for another app later."""
    api = _Api(deps)
    folder = deps.static_folder
    made = Blueprint("realtime", __name__)

    def add(rule: str, endpoint: str, handlers: Mapping[str, _Handler], check: Callable[[], None] | None) -> None:
        # Each rule takes every method and says no itself: the host app has its own pages for 404 and 405, in HTML.
        made.add_url_rule(rule, endpoint, _resource(handlers, check), methods=_METHODS)

    add("/v1/healthz", "healthz", {"GET": _alive}, None)
    add("/v1/tasks", "tasks", {"GET": api.list}, api.check)
    add("/v1/tasks/<task_id>", "task", {"GET": api.show, "DELETE": api.remove}, api.check)
    add("/v1/tasks/<task_id>/cancel", "cancel", {"POST": api.cancel}, api.check)
    if deps.exposition is not None:  # checks its own token; a scraper may well know us by another host name
        add("/v1/metrics", "metrics", {"GET": deps.exposition}, None)
    add("/v1/<path:path>", "missing", dict.fromkeys(_METHODS, _missing), api.check)
    add("/static/<path:filename>", "static", {"GET": lambda filename: _static(folder, filename)}, None)
    return made


class _Api:
    def __init__(self, deps: Deps) -> None:
        self._config = deps.config
        self._registry = deps.registry
        self._hub = deps.hub
        self._commands = deps.commands
        self._mode = deps.concurrency.mode
        self._authorise = deps.authorise
        self._waits = _Waits()

    def check(self) -> None:
        """Before anything else: whether this process may answer, and this page may ask."""
        refuse_multiprocess(request.environ, self._config)
        check_origin(request.environ, self._config)

    def list(self) -> Response:
        limit = request.args.get("limit") or "50"
        if not (limit.isascii() and limit.isdecimal() and len(limit) <= 9):
            raise InvalidValue("limit", f"{limit[:40]!r} is not a whole number")
        page = self._commands.list(self._grant(), int(limit), request.args.get("before") or None)
        return _json({"epoch": self._registry.epoch, **page})

    def show(self, task_id: str) -> Response:
        grant = self._grant()
        task = self._commands.visible(grant, task_id)
        after = request.args.get("after")
        if after is None:
            response = _snapshot(task)
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
            if self._mode == "threading":
                most = max(1, self._config.request_threads // 2)
                self._waits.add(wait, most, " (half of REALTIME_REQUEST_THREADS)")
                self._hub.wait(task_id, seconds, wait)
            elif patched_mode() is not None:
                self._waits.add(wait, MAX_WAITS)
                self._hub.wait(task_id, seconds, wait)
            # Else this is a native thread in a process of green ones, which cannot wait for the hub.
        task = self._commands.visible(grant, task_id)
        response = _snapshot(task)
        if task.epoch == epoch and task.version <= version:
            # The condition is in the address and not in If-None-Match, but it is the same one, and so is the answer.
            response.status_code = 304  # which has no body
        return response

    def cancel(self, task_id: str) -> Response:
        response = _snapshot(self._commands.cancel(self._grant(), task_id))
        response.status_code = 202
        return response

    def remove(self, task_id: str) -> Response:
        self._commands.remove(self._grant(), task_id)
        return Response(status=204)

    def _grant(self) -> Grant:
        """What the request may see. Raises `Unauthenticated`, or what ``identify`` raises."""
        scheme, _, ticket = request.headers.get("Authorization", "").partition(" ")
        given = ticket.strip() if scheme.lower() == "bearer" else ""
        try:
            grant = self._authorise(request.environ, given or None)
        except (TicketInvalid, ConfigError):
            # The header is the host app's too: a token that is not ours may well be what `identify` reads.
            grant = self._authorise(request.environ, None)
            if grant is None:
                raise
        if grant is None:
            raise Unauthenticated
        return grant

    def _who(self, grant: Grant) -> tuple[str | None, str]:
        if grant.user_id is not None:
            return grant.user_id, ""
        return None, behind_proxies(request.environ, self._config.trusted_proxies).get("REMOTE_ADDR", "")

    def _newer(self, task_id: str, epoch: str, version: int) -> Callable[[], bool]:
        def newer() -> bool:
            task = self._registry.get(task_id)
            return task is None or task.epoch != epoch or task.version > version

        return newer


class _Wait:
    """The condition of one wait, and whose it is."""

    __slots__ = ("__weakref__", "_newer", "who")

    def __init__(self, newer: Callable[[], bool], who: tuple[str | None, str]) -> None:
        self._newer = newer
        self.who = who

    def __call__(self) -> bool:
        return self._newer()


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
            if sum(known.who == wait.who for known in self._known) >= MAX_WAITS_PER_USER:
                raise LimitReached(f"{MAX_WAITS_PER_USER} requests of this user are waiting already.")
            if len(self._known) >= most:
                raise LimitReached(f"{most} requests are waiting already{why}.")
            self._known.add(wait)


def _resource(handlers: Mapping[str, _Handler], check: Callable[[], None] | None) -> _Handler:
    """A view that does what ``handlers`` say of each method, and turns every error into JSON."""
    allowed = sorted({*handlers, "OPTIONS"} | ({"HEAD"} if "GET" in handlers else set()))

    def view(**arguments: str) -> Response:
        try:
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
            code, status = error.name.lower().replace(" ", "_"), error.code or 500
            response = _problem(status, code, error.description or error.name)
            response.headers.extend({"Allow": ", ".join(allowed)} if status == 405 else {})
            return response
        except Exception as error:
            return _failed(error)

    return view


def _failed(error: Exception) -> Response:
    log.error("%s %s failed.", request.method, request.endpoint, exc_info=error)
    return _problem(500, "internal", "The server failed to answer.")


def _refused(error: RealtimeError) -> Response:
    response = _problem(error.http_status, error.code, str(error))
    if isinstance(error, Unauthenticated):
        # RFC 6750, section 3: a scheme that makes no browser ask for a password.
        bad = type(error) is not Unauthenticated
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if bad else "Bearer"
    elif isinstance(error, LimitReached):
        response.headers["Retry-After"] = "1"
    return response


def _problem(status: int, code: str, message: str) -> Response:
    return _json({"error": {"code": code, "message": message}}, status)


def _json(value: Any, status: int = 200) -> Response:
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(body, status, headers, content_type="application/json")


def _snapshot(task: Task) -> Response:
    response = _json(task.encode())
    response.headers["ETag"] = task.etag
    return response


def _alive() -> Response:
    return _json({"ok": True})


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


def _seconds(text: str | None) -> float:
    try:
        seconds = MAX_WAIT if not text else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_WAIT:
        raise InvalidValue("wait", f"{str(text)[:40]!r} is not a number of seconds from 0 to {MAX_WAIT:g}")
    return seconds
