"""`Realtime`: the Flask extension, and the one place where the parts are put together."""

from __future__ import annotations

import copy
import logging
import os
import secrets
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import flask
import flask_socketio
import msgspec
from flask import Flask
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from . import auth, concurrency, installation, keys
from .auth import Grant, Tickets
from .blocks import Blocks
from .client import environment
from .config import Config
from .demand import OnWatch
from .errors import ConfigError, NoRealtime
from .hub import Hub
from .keys import Keys
from .metrics import Metrics
from .operations import Operations, TaskId, UserId, Word
from .presence import Presence
from .protocol import MAX_MESSAGE_BYTES, user_room
from .registry import open_registry
from .renewal import renew_viewers
from .runner import Job, Runner
from .stalls import look_for_stalls
from .task import Task
from .transport import http
from .transport.commands import Commands
from .transport.ingest import Ingest
from .transport.origin import Environ
from .transport.socketio import SocketIOTransport

log = logging.getLogger("realtime")

URL_PREFIX = "/realtime"
#: Seconds that last words get on their way out.
LAST_WORDS = 1.0
_T = TypeVar("_T")
_Identify = Callable[[flask.Request], Any]
_OnWatch = TypeVar("_OnWatch", bound=OnWatch)

#: All that were made and still live; weakly, since test suites make many apps.
_instances: weakref.WeakSet[Realtime] = weakref.WeakSet()


class Realtime(Blocks):
    """Live progress for a Flask app.

    ``Realtime(app)``, or ``rt = Realtime()`` and ``rt.init_app(app)`` in a factory. ``socketio`` is the app's own
    ``SocketIO`` if it has one (one that ``app.extensions`` knows is found by itself); its events and limits
    stay as they are. The settings are read from ``app.config`` and the environment: see `Config`. Raises `ConfigError`.

    Nothing starts, opens or listens before the first viewer comes. In a page ``{{ realtime_head() }}`` loads what shows
    the tasks.
    """

    app: Flask
    hub: Hub
    runner: Runner
    commands: Commands
    transport: SocketIOTransport
    concurrency: concurrency.Concurrency
    socketio: Any

    def __init__(self, app: Flask | None = None, socketio: flask_socketio.SocketIO | None = None) -> None:
        self._identify: list[_Identify] = []  # shared by the apps of one factory
        self._watchers: list[OnWatch] = []  # these too
        if app is not None:
            self.init_app(app, socketio)

    def __getattr__(self, name: str) -> Any:
        if name in Realtime.__annotations__ or name in Operations.__annotations__:
            raise NoRealtime("This Realtime has no app yet: call init_app(app).")
        raise AttributeError(name)

    def init_app(self, app: Flask, socketio: flask_socketio.SocketIO | None = None) -> None:
        """Give the app its tasks, its Socket.IO namespace and its ``/realtime`` pages.

        A factory may call it for one app after another: this object then acts for the newest, while each app keeps its
        own state. Raises `ConfigError`.
        """
        if "realtime" in app.extensions:
            raise ConfigError(f"The app {app.name!r} has a Realtime already.")
        if "app" in self.__dict__:
            former = copy.copy(self)
            self.app.extensions["realtime"] = former
            _instances.add(former)
        config = Config.from_mapping(app.config, os.environ)
        super().__init__(open_registry(config, Path(app.instance_path)), config, self._user_of_request)
        self.app = app
        socketio = socketio or app.extensions.get("socketio")
        named = None if socketio is None or concurrency.server_mode() else socketio.server_options.get("async_mode")
        self.concurrency = concurrency.create(config.async_mode or named, config.request_threads)
        self.registry.may_wait = self.concurrency.may_wait
        self.hub = Hub(
            self.registry, self.concurrency,
            flush_interval=config.flush_interval, viewer_timeout=config.viewer_timeout, namespace=config.namespace,
        )  # fmt: skip
        self.hub.demand.listeners, self.hub.demand.context = self._watchers, app.app_context
        self.commands = Commands(self, self.hub)
        self.runner = Runner(self, threads=config.threads, context=app.app_context)
        self.static_folder = installation.folder("static")
        self._tickets: list[Tickets] = []

        own = socketio is None
        self.socketio = socketio or self._make_socketio()
        if self.socketio.server is None:
            self.socketio.init_app(app, async_mode=self.concurrency.mode)
        self.authorise = partial(_authorise, app, self._identify, partial(_tickets, app, config, self._tickets))
        self.transport = SocketIOTransport(
            self.socketio, own=own, config=config, concurrency=self.concurrency, hub=self.hub,
            commands=self.commands, authorise=self.authorise, may_block=partial(bool, self._identify),
            max_viewers=config.max_viewers or installation.most_viewers(),
        )  # fmt: skip
        if config.stall_timeout:
            look_for_stalls(self.registry, self.hub, self.concurrency, config.stall_timeout)
        renew_viewers(self.registry, self.hub, self.concurrency)
        app.before_request(self.registry.adopt)
        kind = config.registry.partition(":")[0]
        self._is_apart = kind == "memory" and environment.is_set()
        self.presence = Presence(self.hub, self.registry, self.runner.jobs, kind)
        self.hub.on_sweep.append(self.presence.start)
        self.exposition = self._measured(config.metrics)
        self.ingest = Ingest(self.registry, config, _keys(config.worker_keys))
        app.register_blueprint(http.blueprint(self), url_prefix=URL_PREFIX)
        app.jinja_env.globals.setdefault("realtime_head", self.head)
        app.extensions["realtime"] = self
        _instances.add(self)
        if self.concurrency.mode != "threading" and concurrency.patched_mode() is not None:
            log.warning(
                "This process is monkey-patched by %s: jobs run as green threads, and one that computes without "
                "waiting stops everything else. `realtime serve` runs jobs and views on native threads.",
                self.concurrency.mode,
            )

    def _measured(self, token: str | None) -> http.Scraped | None:
        """Begin to measure. Returns what answers a scraper; None without ``token``."""
        if token is None:
            return None
        # Only here: prometheus-client takes 15 ms to load, and fills a registry of the whole process.
        from .transport.exposition import Exposition

        self.hub.metrics = Metrics()
        return Exposition(token, self.hub.metrics, self.hub, self.registry, self.runner.jobs, self.presence)

    def _make_socketio(self) -> Any:
        # Any origin may shake hands, so that a refusal can be told and shown; what a page of another origin asks for is
        # refused at CONNECT (transport/origin.py). Nothing is served on "/".
        return flask_socketio.SocketIO(
            async_mode=self.concurrency.mode, namespaces=[self.config.namespace], cors_allowed_origins="*",
            max_http_buffer_size=MAX_MESSAGE_BYTES, manage_session=False,
        )  # fmt: skip

    # Who.

    def identify(self, function: _Identify) -> _Identify:
        """Register the function of a ``flask.Request`` that says who it is from.

        It returns a user id (``str`` or ``int``), an `Identity` or None. For a viewer the request is that of the
        handshake. It runs in a request context, on a thread where it may block.
        """
        self._identify[:] = [function]
        return function

    def ticket(self, user_id: UserId | None = None, *, task_id: TaskId | None = None) -> str:
        """A signed ticket, good for ``REALTIME_TICKET_AGE`` seconds: a page gives it to ``connect({ticket})``.

        Its holder is ``user_id``, or may view the one task ``task_id`` (which need not exist yet). Raises `ConfigError`
        when ``SECRET_KEY`` is missing or short, and `InvalidValue`.
        """
        return _tickets(self.app, self.config, self._tickets).issue(user_id, task_id=task_id)

    def disconnect(self, user_id: UserId) -> int:
        """Send all viewers of a user away (call it at logout). Returns how many there were."""
        viewers = self.hub.in_room(user_room(str(user_id)))
        for viewer in viewers:
            self.transport.disconnect(viewer)
        return len(viewers)

    def _user_of_request(self) -> str | None:
        if not flask.has_request_context():
            return None
        if "realtime_grant" not in flask.g:
            flask.g.realtime_grant = _identified(self._identify)
        grant: Grant | None = flask.g.realtime_grant
        return None if grant is None else grant.user_id

    def _owner(self, user_id: Any) -> str | None:
        """Each task that is made here passes by, so it is here that a worker hears of one that nobody will see."""
        if self._is_apart:
            self._is_apart = False
            log.warning(
                "REALTIME_URL is set, and the functions of `realtime` report there. A method of Realtime has been "
                "called, which does not: what it makes is in the memory of this process. In a worker use the "
                "functions, or a realtime.client.Client; a server does not need REALTIME_URL."
            )
        return super()._owner(user_id)

    def stop(self) -> None:
        """End jobs, tell it to whoever watches, end waits, and send viewers away to come back later.

        Takes three seconds at most, for viewers that take nothing. Called by our server; a host may call it too.
        """
        self.presence.stop()
        self.runner.stop()
        self._wait_until(
            lambda: self.registry.settled() and not self.hub.owing() and not self.transport.pending()
        )  # fmt: skip
        self.hub.stop()
        self.transport.stop()
        self._wait_until(lambda: self.transport.closed() and self.hub.demand.over)

    def _wait_until(self, done: Callable[[], bool]) -> None:
        pause, over = self.concurrency.event(), time.monotonic() + LAST_WORDS
        while not done() and time.monotonic() < over:
            pause.wait(0.01)

    def on_watch(self, function: _OnWatch) -> _OnWatch:
        """Register ``function(task, watched)``: called with a snapshot when somebody begins to look at a task, and when
        nobody does any more, the task has ended or `stop` was called; at once for what is watched already.

        It runs in the app's context beside everything else, one call after the other. A turn that did not last may be
        left out; the newest state always comes. What it raises is logged with the task's id. Of processes that share a
        store each tells of its own viewers.
        """
        self._watchers.append(function)
        if "hub" in self.__dict__:
            self.hub.demand.renew()
        return function

    # Pages.

    def head(self) -> Markup:
        """What a page needs in its ``<head>``: ``{{ realtime_head() }}`` in a template."""
        registered: Any = self.app.extensions.get("socketio")
        if registered is not self.socketio:
            raise ConfigError("The app got another SocketIO after its Realtime. Make the SocketIO first, or pass it.")
        root = flask.request.script_root if flask.has_request_context() else ""
        settings = {
            "path": root + self.socketio.sockio_mw.engineio_path.rstrip("/"),
            "namespace": self.config.namespace,
            "api": f"{root}{URL_PREFIX}/v1",
            "static": f"{root}{URL_PREFIX}/static",
            "user": self._user_of_request(),
        }
        return Markup(
            '<meta name="realtime" content="{}">\n<script type="module" src="{}/elements.js"></script>'
        ).format(msgspec.json.encode(settings).decode(), settings["static"])

    # Jobs.

    def start(
        self, function: Callable[..., Any], *args: Any, user_id: UserId | Word | None = None, name: str | None = None,
        task_id: TaskId | None = None, kwargs: Mapping[str, Any] | None = None, total: float | None = None,
        unit: str | None = None, metadata: Mapping[str, Any] | None = None, groups: Collection[str] = (),
        parent_id: TaskId | None = None, weight: float = 1.0,
    ) -> Task:  # fmt: skip
        """Run ``function(task, *args, **kwargs)`` as a task, on another thread; returns its first snapshot, at once.

        ``task`` is its `Handle`. At most ``REALTIME_THREADS`` (16) run at once; more wait as ``pending``. What it
        returns completes the task, what it raises fails it. ``name`` is made of the function's when omitted; the other
        arguments are as for `create_task`. Raises `ServerStopping`, TypeError for arguments that the function does not
        take, and what `create_task` raises.
        """
        return self.runner.start(
            function, *args, user_id=user_id, name=name, task_id=task_id, kwargs=kwargs, total=total, unit=unit,
            metadata=metadata, groups=groups, parent_id=parent_id, weight=weight,
        )  # fmt: skip

    @overload
    def job(self, name: Callable[..., _T]) -> Job[_T]: ...
    @overload
    def job(
        self, name: str | None = None, *, total: float | None = None, unit: str | None = None,
        groups: Collection[str] = (),
    ) -> Callable[[Callable[..., _T]], Job[_T]]: ...  # fmt: skip
    def job(self, name: Any = None, **options: Any) -> Any:
        """``@rt.job("Export")``: the function gains ``.start(args…, user_id=…)``, which runs it as a task; see `start`.

        Its first parameter is the `Handle` of the task. ``total``, ``unit`` and ``groups`` are as for `create_task`.
        """
        if callable(name):
            return Job(self.runner_of_now, name)
        return lambda function: Job(self.runner_of_now, function, name=name, **options)

    def runner_of_now(self) -> Runner:
        """The runner of the current app, for jobs that are defined before there is an app."""
        return current_or(self).runner


def current_or(fallback: Realtime) -> Realtime:
    """The Realtime of the current app, else the one given."""
    if flask.has_app_context():
        found: Realtime = flask.current_app.extensions.get("realtime", fallback)
        return found
    return fallback


def current() -> Realtime:
    """The Realtime of the current app; outside an app context the process's only one. Raises `NoRealtime`."""
    if flask.has_app_context():
        found: Realtime | None = flask.current_app.extensions.get("realtime")
        if found is None:
            raise NoRealtime(f"The app {flask.current_app.name!r} has no Realtime: call Realtime(app).")
        return found
    living = [instance for instance in _instances if "app" in instance.__dict__]
    if len(living) == 1:
        return living[0]
    if not living:
        raise NoRealtime("There is no Realtime in this process: call Realtime(app).")
    names = ", ".join(sorted(repr(instance.app.name) for instance in living))
    raise NoRealtime(f"There are several ({names}): use the methods of one, or `with app.app_context():`.")


def _identified(identify: list[_Identify]) -> Grant | None:
    if not identify:
        return None
    try:
        return auth.grant_of(identify[0](flask.request._get_current_object()))  # type: ignore[attr-defined]
    except HTTPException:  # abort(401) and the like
        return None


def _authorise(
    app: Flask, identify: list[_Identify], tickets: Callable[[], Tickets], environ: Environ, ticket: str | None
) -> Grant | None:
    """What a request or a handshake may see. Raises `Unauthenticated` for a bad ticket, and what ``identify``
    raises.
    """
    granted = None if ticket is None else tickets().verify(ticket)
    if not identify:
        return granted
    if flask.has_request_context() and flask.request.environ is environ:
        return auth.combine(_identified(identify), granted)
    with app.request_context(environ):
        return auth.combine(_identified(identify), granted)


def _tickets(app: Flask, config: Config, made: list[Tickets]) -> Tickets:
    """Made at the first use, when the app's configuration is complete."""
    if not made:
        secret: Any = app.config.get("SECRET_KEY")
        try:
            key = auth.check_secret(secret)
        except ConfigError as problem:
            if not app.debug:
                raise
            log.warning("%s", f"{problem}\nIn debug mode tickets are signed with a key that ends with this process.")
            key = secrets.token_urlsafe(32)
        made.append(Tickets(key, config.ticket_age))
    return made[0]


def _keys(path: str | None) -> Keys | None:
    """The worker keys of a file, which need not be there yet. Raises `ConfigError` for one that cannot be used."""
    if path is None:
        return None
    keys.read(Path(path))
    return Keys(Path(path))
