"""What we change on one Socket.IO server instance so that it can carry viewers. Never a module, never a class.

Each function is one seam; a test stands on each, since they lean on how python-socketio and python-engineio are
built (their versions are bounded in ``pyproject.toml`` for that reason). A host app's own namespaces pass every one
of them unchanged.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI

from ..concurrency import Concurrency, EventletConcurrency
from ..errors import ConfigError
from ..outbox import Outbox
from . import endings
from .polling import NOT_ENGINE_IO

log = logging.getLogger("realtime")

#: RFC 6455, section 7.4.1.
_PROTOCOL_ERROR: Final = 1002
_UNKNOWN: Final = b'{"code":1,"message":"Session ID unknown"}'


def own_async_mode(socketio: Any, mode: str) -> None:
    """Keep a host's ``SocketIO`` in the mode that the process is in, unless the host has named one itself.

    Engine.IO picks eventlet wherever it is installed, and depending on us installs it: an app under gunicorn's threads
    would be switched to green threads that nobody runs. Raises `ConfigError` when the host has named another mode.
    """
    eio = socketio.server.eio
    if eio.async_mode == mode:
        return
    named = socketio.server_options.get("async_mode")
    # Flask-SocketIO writes this one itself under any command of `flask`, ours included.
    if named is not None and not (named == "threading" and os.environ.get("FLASK_RUN_FROM_CLI")):
        raise ConfigError(f"The app's SocketIO was made with async_mode={named!r}, but this process runs {mode!r}.")
    eio.async_mode = socketio.server.async_mode = socketio.async_mode = mode
    eio._async = dict(importlib.import_module(f"engineio.async_drivers.{mode}")._async)


def outboxes(server: Any, concurrency: Concurrency) -> None:
    """Every connection's queue is an `Outbox`, and a WebSocket is known to the one it writes for.

    A frame that is not Engine.IO ends its connection without a traceback. A WebSocket that has ended is really closed
    and forgotten at once.
    """
    eio = server.eio
    empty = eio._async["queue_empty"]
    driver = eio._async["websocket"]
    fallback = _simple_websocket_of_gevent(driver)

    def create_queue(*_args: Any, **_kwargs: Any) -> Outbox:
        concurrency.attach()
        return Outbox(concurrency, empty)

    def open_websocket(handler: Callable[[Any], Any], server_: Any, **kwargs: Any) -> Any:
        connection = handler.__self__  # type: ignore[attr-defined]  # a bound method of Engine.IO's socket

        def handle(websocket: Any) -> Any:
            outbox = connection.queue
            if isinstance(outbox, Outbox):
                outbox.connection, outbox.websocket = connection, websocket
            with contextlib.suppress(OSError, AttributeError):
                # Not all servers do: of two short frames the second would wait 40 ms for the client to have confirmed
                # the first.
                endings.raw_socket(websocket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _close_quietly(websocket)
            try:
                return handler(websocket)
            except NOT_ENGINE_IO as error:
                log.debug("A WebSocket sent what is not Engine.IO and was closed: %s", type(error).__name__)
                endings.end(connection, _PROTOCOL_ERROR)
                with contextlib.suppress(Exception):
                    connection.queue.put(None)  # the writer ends, if there is one
                return []

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            chosen = driver if fallback is None or "wsgi.websocket" in environ else fallback
            try:
                return chosen(handle, server_, **kwargs)(environ, start_response)
            finally:
                endings.hang_up(environ)
                if connection.closed:  # Engine.IO forgets it only where the driver returns, which not all do
                    server_.sockets.pop(connection.sid, None)

        return answer

    eio.create_queue = create_queue
    if driver is not None:
        eio._async = {**eio._async, "websocket": open_websocket}


def guarded(server: Any, admits: Callable[[dict[str, Any]], bool]) -> None:
    """A request that is not admitted is answered as one of no session. The session that it names lives on."""
    handle = server.eio.handle_request

    def handle_request(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if admits(environ):
            return handle(environ, start_response)
        start_response(
            "400 BAD REQUEST", [("Content-Type", "application/json"), ("Content-Length", str(len(_UNKNOWN)))]
        )
        return [_UNKNOWN]

    server.eio.handle_request = handle_request


def push_sockets(server: Any, concurrency: EventletConcurrency, upgraded: Callable[[Any, Any], None]) -> Any:
    """Under our server: WebSockets without greenlets (`websocket.PushSockets`), and one sweeper in the place of
    Engine.IO's service task and of its greenlet per ping.
    """
    from .sweeper import PushSockets  # only where eventlet serves is it imported

    sockets = PushSockets(server.eio, concurrency, server.eio._async["websocket"], upgraded)
    server.eio._async = {**server.eio._async, "websocket": sockets.driver}
    server.eio.start_service_task = False
    return sockets


def _close_quietly(websocket: Any) -> None:
    """Engine.IO's writer closes a WebSocket that may be closing already; simple-websocket raises then, in a thread."""
    close = websocket.close

    def close_quietly(*args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(Exception):
            close(*args, **kwargs)

    websocket.close = close_quietly


def _simple_websocket_of_gevent(driver: Any) -> Any:
    """Engine.IO takes gevent-websocket wherever it is installed, though only servers made for it can work with it.

    Returns a driver for the others (a plain ``gunicorn -k gevent``), or None when no other one is needed.
    """
    if getattr(driver, "__module__", "") != "engineio.async_drivers.gevent" or issubclass(driver, SimpleWebSocketWSGI):
        return None
    import gevent.event
    import gevent.selectors

    gevent_driver = importlib.import_module("engineio.async_drivers.gevent")

    def simple(handler: Callable[[Any], Any], _server: Any) -> Any:
        return SimpleWebSocketWSGI(
            handler, None, thread_class=gevent_driver.Thread, event_class=gevent.event.Event,
            selector_class=gevent.selectors.DefaultSelector,
        )  # fmt: skip

    return simple


def native_handlers(server: Any, concurrency: EventletConcurrency, namespace: str) -> None:
    """Under our server: the host's event handlers, the callbacks of its emits and its background tasks run on native
    threads, not on the hub's.

    `namespace` is ours; its handlers do not block and stay.
    """
    trigger, start, sleep, create_event, call_back = (
        server._trigger_event, server.start_background_task, server.sleep, server.eio.create_event,
        server.manager.trigger_callback,
    )  # fmt: skip

    def trigger_event(event: str, target: str, *args: Any) -> Any:
        if target == namespace:
            return trigger(event, target, *args)
        return concurrency.execute(lambda: trigger(event, target, *args))

    def start_background_task(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if getattr(target, "__self__", None) is server and concurrency.on_hub():
            return start(target, *args, **kwargs)  # python-socketio's own, one per incoming event
        thread = threading.Thread(target=target, args=args, kwargs=kwargs, daemon=True)
        thread.start()
        return thread

    def sleep_here(seconds: float = 0) -> None:
        (sleep if concurrency.on_hub() else time.sleep)(seconds)

    def event_here(*args: Any, **kwargs: Any) -> Any:
        return create_event(*args, **kwargs) if concurrency.on_hub() else threading.Event()

    def trigger_callback(sid: str, id: int, data: Any) -> None:
        concurrency.execute(lambda: call_back(sid, id, data))

    server._trigger_event = trigger_event
    server.manager.trigger_callback = trigger_callback
    server.start_background_task = start_background_task
    server.sleep = sleep_here
    server.eio.create_event = event_here


def rooms(server: Any, namespace: str, in_room: Callable[[str], Iterable[tuple[str, str]]]) -> None:
    """In our namespace the rooms are the hub's, and a session is its own room without a dictionary for it.

    ``in_room`` gives the session and connection ids in one of the hub's rooms. What a host app emits to a user's
    room, to a session or to a room that it made itself arrives as ever.
    """
    manager = server.manager
    participants = manager.get_participants

    def get_participants(target: str, room: Any) -> Iterator[tuple[str, str]]:
        if target != namespace or room is None:
            yield from participants(target, room)
            return
        found: dict[str, str] = {}
        for name in [room] if isinstance(room, str) else room:
            connection = manager.eio_sid_from_sid(name, namespace)
            if connection is not None:
                found[name] = connection
                continue
            found.update(in_room(name))
            found.update(participants(target, name))
        yield from found.items()

    manager.get_participants = get_participants


class _Redact(logging.Filter):
    """Takes tickets out of what Socket.IO's loggers print of a packet (a host may have turned them on)."""

    _ticket = re.compile(r'(["\']ticket["\']\s*:\s*["\'])[^"\']+')

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._ticket.sub(r"\1…", record.getMessage()), None
        return True


def redacted_logs(server: Any) -> None:
    """No ticket in a log."""
    for logger in (server.logger, server.eio.logger):
        if not any(isinstance(known, _Redact) for known in logger.filters):
            logger.addFilter(_Redact())
