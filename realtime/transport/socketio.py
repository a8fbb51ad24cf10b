"""The Socket.IO side: who connects, what viewers ask, and the packets that the hub hands out.

Our handlers stand on python-socketio's server itself and not behind Flask-SocketIO's decorators, which build a request
context for each event. A viewer's packets are handled one after another, in the thread that read them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from engineio import packet as engineio_packet
from socketio import packet as socketio_packet

from ..auth import Grant
from ..concurrency import Concurrency, EventletConcurrency, server_mode
from ..config import Config
from ..errors import ConfigError, InvalidValue, LimitReached, RealtimeError, ServerStopping, Unauthenticated
from ..hub import Hub, Viewer
from ..outbox import Outbox
from ..protocol import MAX_MESSAGE_BYTES, TASKS_SNAPSHOT, ConnectAuth, parse
from . import seams
from .commands import Commands
from .origin import Environ, behind_proxies, check_origin
from .processes import refuse_multiprocess

log = logging.getLogger("realtime")

#: Seconds that a connection may stay without asking for a namespace.
CONNECT_TIMEOUT = 10.0
#: Requests a second that a viewer may make, and how many at once after a quiet time.
REQUEST_RATE, REQUEST_BURST = 50.0, 200.0
#: What of a handshake's environ is of no use to a later request context.
_HEAVY = ("wsgi.input", "wsgi.errors", "headers_raw")

#: Finds what a request or handshake may see: its WSGI environ and the ticket it brought.
Authorise = Callable[[Environ, str | None], Grant | None]


class SocketIOTransport:
    """Carries viewers over one ``socketio.Server``. ``own``: the server exists for us alone, so we bound all of it."""

    def __init__(
        self, socketio: Any, *, own: bool, config: Config, concurrency: Concurrency, hub: Hub,
        commands: Commands, authorise: Authorise, max_viewers: int,
    ) -> None:  # fmt: skip
        self._server = socketio.server
        self._own = own
        self._config = config
        self._namespace = config.namespace
        self._concurrency = concurrency
        self._hub = hub
        self._commands = commands
        self._authorise = authorise
        #: Viewers at once, over all users.
        self.max_viewers = max_viewers
        self._stopping = False
        self._unconnected: dict[str, float] = {}
        self._sockets: Any = None
        self._ours = re.compile(rf"[0-6](?:\d+-)?{re.escape(self._namespace)}(?:[,?]|$)")

        seams.own_async_mode(socketio, concurrency.mode)
        seams.outboxes(self._server, concurrency)
        seams.redacted_logs(self._server)
        seams.rooms(self._server, self._namespace, self._in_room)
        if isinstance(concurrency, EventletConcurrency):
            seams.native_handlers(self._server, concurrency, self._namespace)
            if server_mode() is not None:
                self._sockets = seams.push_sockets(self._server, concurrency, self._upgraded)
                hub.on_sweep.append(self._sockets.sweep)
        self._take_over()
        hub.close_viewer = self.close
        hub.on_sweep.append(self._sweep)

    def _take_over(self) -> None:
        server = self._server
        self._other_connect, server._handle_connect = server._handle_connect, self._handle_connect
        self._other_event, server._handle_event = server._handle_event, self._handle_event
        handlers = server.eio.handlers
        self._other_message, handlers["message"] = handlers["message"], self._handle_message
        self._other_open, handlers["connect"] = handlers["connect"], self._handle_open
        server.on("disconnect", self._handle_disconnect, namespace=self._namespace)

    # Packets.

    def _send(self, connection: str, kind: int, data: Any, id: int | None = None) -> None:
        prefix = f"{kind}{self._namespace}," + ("" if id is None else str(id))
        packet = engineio_packet.Packet(engineio_packet.MESSAGE, prefix + msgspec.json.encode(data).decode())
        self._server.eio.send_packet(connection, packet)

    # Connections.

    def _handle_open(self, connection: str, environ: Environ) -> Any:
        self._hub.start()
        if self._own:
            if len(self._server.eio.sockets) > self.max_viewers:
                return "Too many connections"
            self._unconnected[connection] = time.monotonic()
        if self._sockets is not None:
            self._sockets.opened(self._server.eio.sockets[connection], environ)
        return self._other_open(connection, environ)

    def _in_room(self, room: str) -> list[tuple[str, str]]:
        return [(viewer.session, viewer.connection) for viewer in self._hub.in_room(room)]

    def _upgraded(self, engine: Any, outbox: Any) -> None:
        """A long-polling session has become a WebSocket."""
        session = self._server.manager.sid_from_eio_sid(engine.sid, self._namespace)
        self._hub.move(session, outbox)

    def _let_go(self, connection: str) -> None:
        """Identity is known: let go of the WSGI environ, 15 KB a viewer, or of the largest parts of it.

        A host app's own handlers build a request of it, and Flask-SocketIO lets a client into a namespace *without*
        running its handler when it is gone; so it stays wherever there are any.
        """
        environ = self._server.environ.get(connection)
        if environ is None or self._sockets is None:
            return
        if self._own and not (set(self._server.handlers) | set(self._server.namespace_handlers)) - {self._namespace}:
            self._server.environ[connection] = {}
            return
        for key in [key for key in environ if key.startswith(("eventlet.", "realtime.")) or key in _HEAVY]:
            del environ[key]

    def _sweep(self) -> None:
        """Close connections that never asked for a namespace: they cost as much as viewers."""
        before = time.monotonic() - CONNECT_TIMEOUT
        for connection, since in list(self._unconnected.items()):
            if since < before:
                self._close_connection(connection)

    def _close_connection(self, connection: str, code: int | None = 1008) -> None:
        self._unconnected.pop(connection, None)
        socket = self._server.eio.sockets.get(connection)
        if socket is not None:
            self._concurrency.spawn(lambda: _end(socket, code), "realtime-close")

    # Messages.

    def _handle_message(self, connection: str, data: Any) -> None:
        ours = isinstance(data, str) and self._ours.match(data) is not None
        if not ours and not self._own:
            self._other_message(connection, data)
            return
        # An exception here would be a traceback in the log for each bad packet, and the connection would stay.
        if not isinstance(data, str):
            self._close_connection(connection, 1003)
            return
        if len(data) > MAX_MESSAGE_BYTES:
            self._close_connection(connection, 1009)
            return
        if data.startswith("3"):  # an acknowledgement: we never ask for one
            return
        try:
            self._other_message(connection, data)
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
            log.debug("A viewer sent what is not Socket.IO and was closed: %s", type(error).__name__)
            self._close_connection(connection)

    def _handle_connect(self, connection: str, namespace: str | None, data: Any) -> None:
        self._unconnected.pop(connection, None)
        if namespace != self._namespace:
            if connection in self._server.environ and not self._server.environ[connection]:
                refusal_data = {"message": "Ask for this namespace before any other."}
                self._server._send_packet(connection, self._server.packet_class(
                    socketio_packet.CONNECT_ERROR, data=refusal_data, namespace=namespace))  # fmt: skip
                return
            self._other_connect(connection, namespace, data)
            return
        manager = self._server.manager
        if manager.sid_from_eio_sid(connection, namespace) is not None:
            self._refuse(connection, LimitReached("This connection watches already."))
            return
        session = self._server.eio.generate_id()
        refusal: RealtimeError | None = None
        try:
            viewer, auth = self._admit(connection, session, data)
        except ConfigError as error:  # for whoever runs the server, not for a page
            log.error("A viewer was refused: %s", error)
            refusal = RealtimeError("The server is not set up to answer.")
        except RealtimeError as error:
            refusal = error
        except Exception:
            log.exception("A viewer was refused because identify or the registry failed.")
            refusal = RealtimeError("The server could not find out who this is.")
        if refusal is not None:
            self._hub.leave(session)
            self._refuse(connection, refusal)
            return
        # Registered only now: python-socketio's pre_connect would leave somebody half-connected who receives the host's
        # broadcasts, and gives each session a room of its own, a dictionary in two directions.
        manager.basic_enter_room(session, namespace, None, eio_sid=connection)
        engine = self._server.eio.sockets.get(connection)
        if engine is None or engine.closing or engine.closed:  # gone while we asked who it is
            self._hub.leave(session)
            manager.basic_disconnect(session, namespace)
            return
        self._let_go(connection)
        # Joined above, read here: a change in between is told twice, never lost. Pushes follow the answer.
        self._send(connection, socketio_packet.CONNECT, {"sid": session})
        snapshot, owed = self._commands.snapshot(viewer.grant, auth)
        self._send(connection, socketio_packet.EVENT, [TASKS_SNAPSHOT, snapshot])
        self._hub.open(viewer, owed)

    def _refuse(self, connection: str, error: RealtimeError) -> None:
        refusal = {"message": str(error), "data": {"code": error.code, "message": str(error)}}
        self._send(connection, socketio_packet.CONNECT_ERROR, refusal)
        if self._own:
            self._unconnected[connection] = time.monotonic()

    def _admit(self, connection: str, session: str, data: Any) -> tuple[Viewer, ConnectAuth]:
        if self._stopping:
            raise ServerStopping("The server is going away. Connect again.")
        auth = parse(ConnectAuth, data)
        environ = self._server.environ[connection]
        refuse_multiprocess(environ, self._config)
        check_origin(environ, self._config)
        grant = self._concurrency.execute(lambda: self._authorise(environ, auth.ticket))
        if grant is None:
            raise Unauthenticated
        outbox = self._server.eio.sockets[connection].queue
        address = behind_proxies(environ, self._config.trusted_proxies).get("REMOTE_ADDR", "")
        viewer = Viewer(session, connection, grant, address, outbox)
        viewer.declines = not auth.output
        self._hub.join(
            viewer, per_user=self._config.max_viewers_per_user,
            per_address=self._config.max_viewers_per_address, in_all=self.max_viewers,
        )  # fmt: skip
        return viewer, auth

    def _handle_event(self, connection: str, namespace: str | None, id: int | None, data: Any) -> None:
        if namespace != self._namespace:
            self._other_event(connection, namespace, id, data)
            return
        session = self._server.manager.sid_from_eio_sid(connection, namespace)
        viewer = self._hub.viewers.get(session)
        if viewer is None:  # not admitted, or gone meanwhile
            return
        try:
            self._spend(viewer)
            if not isinstance(data, list) or not data or not isinstance(data[0], str):
                raise InvalidValue("event", "a name is missing")
            answer = self._commands.answer(viewer, data[0], data[1] if len(data) > 1 else None)
        except RealtimeError as error:
            answer = {"ok": False, "error": {"code": error.code, "message": str(error)}}
        except Exception:
            log.exception("A request of a viewer failed.")
            answer = {"ok": False, "error": {"code": "internal", "message": "The server failed to answer."}}
        if id is not None:
            self._send(connection, socketio_packet.ACK, [answer], id)

    def _spend(self, viewer: Viewer) -> None:
        now = time.monotonic()
        tokens = REQUEST_BURST
        if viewer.tokens_at:
            tokens = min(REQUEST_BURST, viewer.tokens + (now - viewer.tokens_at) * REQUEST_RATE)
        viewer.tokens, viewer.tokens_at = tokens - 1, now
        if tokens < 1:
            viewer.tokens = 0.0
            raise LimitReached(f"More than {REQUEST_RATE:g} requests a second; this one was not done.")

    def _handle_disconnect(self, session: str, *_reason: Any) -> None:
        self._hub.leave(session)

    # Ends.

    def close(self, viewer: Viewer, reason: str) -> None:
        """End a viewer's connection. Its raw socket goes too: a writer may be stuck in it."""
        log.info("A viewer of user %s was closed: it %s.", viewer.grant.user_id, reason)
        self._close_connection(viewer.connection, None)

    def disconnect(self, viewer: Viewer) -> None:
        """Send a viewer away for good (its user logged out): a Socket.IO DISCONNECT, after which no client retries."""
        self._server.disconnect(viewer.session, namespace=self._namespace)

    def pending(self) -> bool:
        """Whether something is still on its way to a viewer."""
        return any(
            viewer.outbox.busy_since is not None or not viewer.outbox.empty()
            for viewer in list(self._hub.viewers.values())
        )

    def stop(self) -> None:
        """Close every WebSocket with 1001 (going away): official clients come back by themselves after that.

        (A Socket.IO DISCONNECT would tell them to stay away.)
        """
        self._stopping = True
        for socket in list(self._server.eio.sockets.values()):  # push sockets among them
            with contextlib.suppress(Exception):
                _end(socket, 1001)


def _end(socket: Any, code: int | None) -> None:
    """Close an Engine.IO connection and the WebSocket under it.

    ``code`` is of RFC 6455 section 7.4.1; None cuts the socket off, for a peer that takes no close frame either.
    """
    outbox = socket.queue
    if hasattr(outbox, "abort"):  # a push socket: ends itself, and the session with it
        if code is None:
            outbox.abort("transport error")
        else:
            outbox.close(code)
        return
    websocket = outbox.websocket if isinstance(outbox, Outbox) else None
    with contextlib.suppress(Exception):
        if websocket is not None:
            _close_websocket(websocket, code)
    with contextlib.suppress(Exception):
        socket.close(wait=False, abort=True)


def _close_websocket(websocket: Any, code: int | None) -> None:
    inner = getattr(websocket, "ws", websocket)  # simple-websocket's server stands inside Engine.IO's wrapper
    try:
        if code is None:
            pass
        elif hasattr(inner, "_send_closing_frame"):  # eventlet
            inner._send_closing_frame(close_data=(code, ""), ignore_send_errors=True)
        elif inner is not websocket:
            inner.close(reason=code)
        else:  # gevent-websocket
            websocket._sock.close(code)
    finally:
        raw = getattr(inner, "socket", None) or getattr(inner, "sock", None)
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(2)
