"""Our server: eventlet's WSGI server, unpatched, with the user's code on native threads.

The hub thread runs only what is ours: accepting, HTTP parsing, Engine.IO and the flusher. A call into the user's app
goes to a bounded pool of native threads (`Bridge`), so that a view that sleeps or computes stops nobody's pushes.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from flask import Flask
from werkzeug.exceptions import RequestTimeout

from . import workers
from .concurrency import EventletConcurrency
from .errors import ConfigError
from .extension import Realtime
from .slow_bodies import SlowBody
from .transport.origin import Environ
from .transport.polling import may_poll
from .wsgi_call import Answer, Input, ask

with warnings.catch_warnings():
    # Whoever runs our server need not be told each time what the README says of eventlet.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    import eventlet
    import eventlet.wsgi

    from .transport.doorway import Doorway  # which names it, too

log = logging.getLogger("realtime")

StartResponse = Callable[..., Any]

BACKLOG: Final = 4096
#: Seconds that a view has for its answer once the server is to stop.
ANSWER_TIME: Final = 5.0
#: Connections that are taken in a row before others get their turn.
AT_ONCE: Final = 32
#: What connections have from their listening socket: no waiting for more to send; and (Linux) they are told of once
#: their first bytes are here, or after a second.
_INHERITED: Final = {"TCP_NODELAY": 1, "TCP_DEFER_ACCEPT": 1}
#: Seconds without a byte after which a connection that is in the middle of a request is closed.
SOCKET_TIMEOUT: Final = 65.0
#: Seconds that a request's head and a short body may take, however they come: from the first byte on, and for the first
#: request of a connection from the beginning.
REQUEST_TIMEOUT = 20.0
#: Seconds that a peer gets to read why its request was given up.
LAST_WORD: Final = 1.0
_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
#: A body of up to so many bytes is read before the app is called, so that a slow sender holds no native thread.
SHORT_BODY: Final = 64 * 1024
#: Errors of ``accept`` that mean that we, and not the connection, are short of something.
_SHORT: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class PortTaken(ConfigError):
    """The port is in use. ``free`` is the next one that is not."""

    def __init__(self, host: str, port: int, free: int | None) -> None:
        hint = "" if free is None else f" Port {free} is free: add --port {free}."
        super().__init__(f"Port {port} of {host} is taken by another program.{hint}")
        self.free = free


def listen(host: str, port: int, *, shared: bool = False) -> Listener:
    """Open the port; ``shared``: with other processes. Raises `PortTaken`, and `ConfigError` for an address that is not
    this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with explained(host, port):
        listening = eventlet.listen((host, port), family, backlog=BACKLOG, reuse_port=shared)
    for name, value in _INHERITED.items():
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Listener(listening)


@contextlib.contextmanager
def explained(host: str, port: int) -> Iterator[None]:
    """What opening a port raises, as an error of ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            raise PortTaken(host, port, _next_free(host, port, family)) from None
        raise ConfigError(f"Cannot listen on {host} port {port}: {error.strerror or error}.") from None


def _next_free(host: str, port: int, family: int) -> int | None:
    for candidate in range(port + 1, min(port + 100, 65536)):
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, candidate))
            return candidate
    return None


class Listener:
    """A listening socket whose ``accept`` survives what happens to single connections, and running out of descriptors.

    (eventlet's server ends itself on either.) What `take` takes is not given to eventlet's server.
    """

    def __init__(self, listening: Any) -> None:
        self._socket = listening
        self._complained = False
        #: Is offered each connection, and its peer's address, with what has come in on it so far.
        self.take: Callable[[socket.socket, Any], bool] = lambda _connection, _address: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> tuple[Any, Any]:
        taken = 0
        while True:
            try:
                connection, address = self._socket.fd.accept()
            except BlockingIOError:
                self._complained = False  # nobody waits any more: only now it is over
                eventlet.hubs.trampoline(self._socket.fd, read=True)
            except OSError as error:
                if self._socket.fd.fileno() < 0 or error.errno == errno.EBADF:
                    raise
                if error.errno in _SHORT:
                    if not self._complained:
                        log.error("No more connections can be accepted now: %s.", error.strerror)
                        self._complained = True
                    eventlet.sleep(0.2)
            else:
                if not self.take(connection, address):
                    eventlet.hubs.notify_opened(connection.fileno())
                    return eventlet.greenio.GreenSocket(connection), address
                taken += 1
                if taken % AT_ONCE == 0:
                    eventlet.sleep(0)


class _Connection(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]  # eventlet ships no types
    """An HTTP connection that can be let go of: a push socket has taken a duplicate of its descriptor."""

    _detached = False
    _late: Any = None
    _asked = False

    def _read_request_line(self) -> bytes:
        # Between two requests a connection may rest. One byte now and then would keep it for days.
        with contextlib.suppress(ConnectionError, ValueError):
            if not self._asked or self.rfile.peek(1):
                self._late = eventlet.Timeout(REQUEST_TIMEOUT)
        self._asked = True
        self.raw_requestline = b""
        return super()._read_request_line()  # type: ignore[no-any-return]

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (eventlet.Timeout, RequestTimeout) as late:
            if isinstance(late, eventlet.Timeout) and late is not self._late:
                raise
            self.close_connection = True
            if self.raw_requestline:  # else nothing was asked
                self._say_late()
        finally:
            self._in_time()

    def _say_late(self) -> None:
        """Answer 408, and read on until the peer has read that: to close at once would reset the connection."""
        self._in_time()
        with contextlib.suppress(OSError), eventlet.Timeout(LAST_WORD, False):
            self.wfile.write(_LATE)
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(SHORT_BODY):
                pass

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def get_environ(self) -> Environ:
        environ: Environ = super().get_environ()
        body = environ["eventlet.input"]
        body.rfile = SlowBody(body.rfile, REQUEST_TIMEOUT, lambda left: eventlet.Timeout(left, False), self._hang_up)
        self._read_short_body(environ)
        self._in_time()
        environ["realtime.detach"] = self._detach
        return environ

    def _read_short_body(self, environ: Environ) -> None:
        size = environ.get("CONTENT_LENGTH") or "0"
        if size.isdecimal() and 0 < int(size) <= SHORT_BODY and "HTTP_EXPECT" not in environ:
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(size)))

    def _hang_up(self) -> None:
        self.close_connection = True

    def _detach(self) -> None:
        self._detached = True
        # What a middleware says or raises after the handshake would be an HTTP answer in the middle of a WebSocket.
        self.wfile.close()

    def handle_one_response(self) -> None:
        if self.application.stopping:
            self.close_connection = True
        try:
            super().handle_one_response()
        except RequestTimeout:  # of the rest of a body that the app has not read
            self.close_connection = True
        except Exception:
            if not self._detached:
                raise
            log.exception("A WebSocket was taken over, and the app answered the handshake all the same.")
        finally:
            if self._detached:
                self.close_connection = True

    def finish(self) -> None:
        if not self._detached:
            super().finish()
            return
        # Closed, but not shut down: that would end the duplicate too.
        self.rfile.close()
        self.connection.close()
        self.environ = None


class Bridge:
    """The WSGI app that our server calls: Socket.IO on the hub thread, everything else on native threads."""

    def __init__(self, app: Flask, realtime: Realtime, concurrency: EventletConcurrency, shared: bool) -> None:
        self._app = app
        self._shared = shared
        self._realtime = realtime
        self._concurrency = concurrency
        self.socketio_path = realtime.socketio.sockio_mw.engineio_path
        #: Requests that wait for a change, and all that are not answered yet.
        self.waiting = self.active = 0
        #: Whether the server is to stop: the next answer of a connection is its last; and whether the process leaves:
        #: what began now would be cut off in its middle, and whoever has asked could not know how far it has come.
        self.stopping = self.leaving = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(self.socketio_path):
            if self._shared and may_poll(environ):
                return workers.refuse_polling(start_response)
            return self._app(environ, start_response)
        if self.leaving:
            start_response("503 Service Unavailable", [("Retry-After", "1")])
            return []
        self.active += 1
        try:
            return self._answer(environ, start_response)
        finally:
            self.active -= 1

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ = {**environ, "wsgi.multithread": True}
        del environ["realtime.detach"]
        if not isinstance(environ["wsgi.input"], io.BytesIO):
            environ["wsgi.input"] = Input(environ["wsgi.input"], self._concurrency)
        del environ["eventlet.input"]
        parked: list[tuple[str, float, Callable[[], bool]]] = []
        answer = self._concurrency.execute(lambda: ask(self._app, {**environ, "realtime.park": parked}))
        if parked:
            # The view would wait for a change: that is done here, by a green thread, and then the view is asked again.
            self._concurrency.execute(answer.close)
            self.waiting += 1
            try:
                self._realtime.hub.wait(*parked[0])
                answer = self._concurrency.execute(lambda: ask(self._app, {**environ, "realtime.parked": True}))
            finally:
                self.waiting -= 1
        start_response(answer.status, answer.headers)
        if answer.whole is not None:
            return [answer.whole]
        return self._stream(answer)

    def _stream(self, answer: Answer) -> Iterator[bytes]:
        try:
            while (chunk := self._concurrency.execute(answer.next)) is not None:
                if chunk:
                    yield chunk
        finally:
            self._concurrency.execute(answer.close)


def serve(app: Flask, listener: Listener, *, ready: Callable[[], None] = lambda: None, shared: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then leave the process: it does not return. ``shared``: the port is.

    Raises `ConfigError` when the app has no `Realtime`, or one that was made for another kind of server; and what
    opening its tasks raises.
    """
    realtime: Realtime | None = app.extensions.get("realtime")
    if realtime is None:
        raise ConfigError(f"The app {app.name!r} has no Realtime: call Realtime(app).")
    concurrency = realtime.concurrency
    if not isinstance(concurrency, EventletConcurrency):
        raise ConfigError(
            f"The app's Realtime runs in mode {concurrency.mode!r}; `realtime serve` needs 'eventlet'. "
            "Leave REALTIME_ASYNC_MODE unset."
        )
    realtime.head()  # raises when another SocketIO has taken the app's place meanwhile
    realtime.registry.open()
    realtime.registry.adopt()  # no request may come for long
    concurrency.attach()
    stop = concurrency.event()

    asked = False

    def on_signal(_number: int, _frame: Any) -> None:
        nonlocal asked
        if asked:  # a second one does not wait for anything
            os._exit(0)
        asked = True
        concurrency.call_from_signal(stop.set)

    concurrency.wake_for_signals()
    signal.signal(signal.SIGTERM, on_signal)
    # Ctrl-C in a terminal goes to all its processes: the parent of several servers hears it, and sends each a SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN if shared else on_signal)
    bridge = Bridge(app, realtime, concurrency, shared)
    listener.take = _doorway(app, realtime, bridge)
    eventlet.spawn(
        eventlet.wsgi.server, listener, bridge, debug=False, log_output=False,
        max_size=realtime.transport.max_viewers + 1024, socket_timeout=SOCKET_TIMEOUT, protocol=_Connection,
        minimum_chunk_size=1,  # a stream's pieces leave as they come
        log=logging.getLogger("realtime.wsgi"),
    )  # fmt: skip
    realtime.presence.start()
    freeze()
    ready()
    stop.wait()
    _stop(realtime, listener, bridge)


def _doorway(app: Flask, realtime: Realtime, bridge: Bridge) -> Callable[[socket.socket, Any], bool]:
    """What takes plain handshakes, as long as the host has nothing that would see them pass: no middleware, no SocketIO
    of its own, no way of its own to call the app.
    """
    socketio, sockets = realtime.socketio, realtime.transport.sockets
    if sockets is None or not realtime.transport.own or type(app).__call__ is not Flask.__call__:
        return lambda _connection, _address: False
    doorway = Doorway(socketio.server.eio, sockets, bridge.socketio_path, socketio.sockio_mw.flask_app)
    return lambda connection, address: app.wsgi_app is socketio.sockio_mw and doorway.take(connection, address)


def freeze() -> None:
    """Take what start-up has made (modules, classes, the app) out of the garbage collector's sight, for good.

    A collection of the oldest generation looks at every object there is and stops every thread meanwhile: it sets the
    longest flush: 47 ms for 91,000 objects, and nearly nothing once they are frozen. Most of them live as long as the
    process anyway. Only our own server does this: what is alive when it happens is never looked at again, and in a
    process of somebody else's that is not for us to decide. A host calls ``gc.collect()`` and ``gc.freeze()`` itself,
    once its app is loaded (in gunicorn's ``post_worker_init``).
    """
    gc.collect()
    gc.freeze()


def _stop(realtime: Realtime, listener: Listener, bridge: Bridge) -> None:
    with contextlib.suppress(OSError):
        listener.close()
    bridge.stopping = True
    realtime.stop()
    with eventlet.Timeout(ANSWER_TIME, False):  # what was asked is answered, also where it waited for a change
        while bridge.active:
            eventlet.sleep(0.01)
    bridge.leaving = True
    realtime.runner.leave()
    eventlet.sleep(0.05)
    # Threads of jobs and views may still be at work. Nobody waits for them: no atexit handler is skipped for it.
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)
