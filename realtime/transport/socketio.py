"""The Socket.IO side: who connects, what viewers ask, and the packets that the hub hands out.

Our handlers stand on python-socketio's server itself and not behind Flask-SocketIO's decorators, which build a request
context for each event. A viewer's packets are handled one after another, in the thread that read them.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from engineio import packet as engineio_packet
from engineio.exceptions import EngineIOError
from socketio import packet as socketio_packet

from ..auth import Grant
from ..concurrency import Concurrency, EventletConcurrency, patched_mode, server_mode
from ..config import Config
from ..errors import ConfigError, InvalidValue, LimitReached, RealtimeError, ServerStopping, Unauthenticated
from ..hub import Hub, Viewer
from ..protocol import MAX_MESSAGE_BYTES, ConnectAuth, parse
from ..viewer import MAX_REFUSED
from . import endings, farewell, seams
from .belonging import Belonging
from .commands import Commands
from .origin import Environ, behind_proxies, check_origin
from .polling import may_poll, take_posts
from .processes import refuse_multiprocess
from .reachability import Reachability
from .unwatched import Unwatched

log = logging.getLogger("realtime")

#: Seconds that a connection may stay without asking for a namespace.
CONNECT_TIMEOUT = 10.0
#: What of a handshake's environ is of no use to a later request context.
_HEAVY = ("wsgi.input", "wsgi.errors", "headers_raw")

_decode_auth: Final = msgspec.json.Decoder(ConnectAuth).decode

#: What the packets begin with that carry no binary data.
_TEXT: Final = frozenset("01234")

#: Why a WebSocket is closed (RFC 6455, section 7.4.1).
GOING_AWAY, UNSUPPORTED_DATA, POLICY_VIOLATION, MESSAGE_TOO_BIG, SERVICE_RESTART = 1001, 1003, 1008, 1009, 1012

#: Its locks and threads are of one world, and what it would wait for of the other: it would stand still for ever.
_PATCHED_LATE: Final = (
    "This process was monkey-patched after its Realtime had been made, so no viewer is taken. Patch first: at the top "
    "of the app's module, or (gunicorn --preload) of gunicorn's configuration file."
)

#: Finds what a request or handshake may see: its WSGI environ and the ticket it brought.
Authorise = Callable[[Environ, str | None], Grant | None]


class SocketIOTransport:
    """Carries viewers over one ``socketio.Server``. ``own``: the server exists for us alone, so we bound all of it."""

    def __init__(
        self, socketio: Any, *, own: bool, config: Config, concurrency: Concurrency, hub: Hub,
        commands: Commands, authorise: Authorise, may_block: Callable[[], bool], max_viewers: int,
    ) -> None:  # fmt: skip
        self._server = socketio.server
        self.own = own
        self._config = config
        self._namespace = config.namespace
        self._concurrency = concurrency
        self._hub = hub
        self._commands = commands
        self._authorise = authorise
        #: Whether `authorise` runs code of the user's. The trip to a native thread is a third of what a connect costs.
        self._may_block = may_block
        #: Viewers at once, over all users.
        self.max_viewers = max_viewers
        self._stopping = False
        self._patched = patched_mode()
        self._complained = False
        self._unwatched = Unwatched()
        self._belonging = Belonging(authorise, concurrency.execute)
        #: Push sockets, under our own server.
        self.sockets: Any = None
        #: Connections whose request to watch is being looked at.
        self._asking: dict[str, object] = {}
        self._connect = f"0{self._namespace},"
        # As python-socketio reads it.
        self._ours = re.compile(rf"\d(?:\d+-)?{re.escape(self._namespace)}(?:[,?]|$)")

        seams.own_async_mode(socketio, concurrency.mode)
        seams.outboxes(self._server, concurrency)
        seams.redacted_logs(self._server)
        seams.guarded(self._server, self._belonging.admits)
        seams.rooms(self._server, self._namespace, self._in_room)
        if isinstance(concurrency, EventletConcurrency):
            seams.native_handlers(self._server, concurrency, self._namespace)
            if server_mode() is not None:
                self.sockets = seams.push_sockets(self._server, concurrency, self._upgraded)
                hub.on_sweep.append(self.sockets.sweep)
        self._take_over()
        self._reachability = Reachability(hub, commands, concurrency, self._send)
        hub.close_viewer = self.close
        hub.on_sweep.append(self._sweep)

    def _take_over(self) -> None:
        server = self._server
        self._other_connect, server._handle_connect = server._handle_connect, self._handle_connect
        self._other_event, server._handle_event = server._handle_event, self._handle_event
        handlers = server.eio.handlers
        self._other_message, handlers["message"] = handlers["message"], self._handle_message
        self._other_open, handlers["connect"] = handlers["connect"], self._handle_open
        self._other_close, handlers["disconnect"] = handlers["disconnect"], self._handle_close
        server.on("disconnect", self._handle_disconnect, namespace=self._namespace)

    # Packets.

    def _send(self, connection: str, kind: int, data: Any, id: int | None = None) -> None:
        prefix = f"{kind}{self._namespace}," + ("" if id is None else str(id))
        packet = prefix.encode() + msgspec.json.encode(data)
        if self.sockets is None or not self.sockets.tell(connection, packet):
            with contextlib.suppress(EngineIOError):  # closed meanwhile
                message = engineio_packet.Packet(engineio_packet.MESSAGE, packet.decode())
                self._server.eio.send_packet(connection, message)

    # Connections.

    def _handle_open(self, connection: str, environ: Environ) -> Any:
        if patched_mode() != self._patched:
            if not self._complained:
                self._complained = True
                log.critical("%s", _PATCHED_LATE)
            return "The server is not set up to answer."
        self._hub.start()
        if self.own:
            if len(self._server.eio.sockets) > self.max_viewers:
                return "Too many connections"
            self._unwatched.begin(connection)
        if self.sockets is not None:
            self.sockets.opened(self._server.eio.sockets[connection], environ)
        if may_poll(environ):
            take_posts(self._server.eio.sockets[connection], own=self.own)
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
        if environ is None or self.sockets is None:
            return
        if self.own and not (set(self._server.handlers) | set(self._server.namespace_handlers)) - {self._namespace}:
            self._server.environ[connection] = {}
            return
        for key in [key for key in environ if key.startswith(("eventlet.", "realtime.")) or key in _HEAVY]:
            del environ[key]

    def _handle_close(self, connection: str, *reason: Any) -> Any:
        # First, since a host's own handler that raises would keep python-socketio from telling us.
        self._unwatched.forget(connection)
        self._belonging.forget(connection)
        self._forget(connection)
        return self._other_close(connection, *reason)

    def _forget(self, connection: str) -> None:
        session = self._server.manager.sid_from_eio_sid(connection, self._namespace)
        if session is not None:
            self._hub.leave(session)
            with contextlib.suppress(KeyError, ValueError):  # another thread does it just now
                self._server.manager.disconnect(session, self._namespace)

    def _sweep(self) -> None:
        """Close connections that nobody watches on: they cost as much as viewers."""
        for connection in self._unwatched.overdue(CONNECT_TIMEOUT):
            self._close_connection(connection)

    def _close_connection(self, connection: str, code: int | None = POLICY_VIOLATION) -> None:
        self._unwatched.forget(connection)
        self._forget(connection)
        socket = self._server.eio.sockets.get(connection)
        if socket is not None:
            self._concurrency.spawn(lambda: endings.end(socket, code), "realtime-close")

    # Messages.

    def _handle_message(self, connection: str, data: Any) -> None:
        ours = isinstance(data, str) and self._ours.match(data) is not None
        if not ours and not self.own:
            self._other_message(connection, data)
            return
        # An exception here would be a traceback in the log for each bad packet, and the connection would stay.
        if not isinstance(data, str) or data[:1] not in _TEXT:
            self._close_connection(connection, UNSUPPORTED_DATA)
            return
        if len(data) > MAX_MESSAGE_BYTES or len(data.encode(errors="replace")) > MAX_MESSAGE_BYTES:
            self._close_connection(connection, MESSAGE_TOO_BIG)
            return
        if data.startswith("3"):  # an acknowledgement: we never ask for one
            return
        try:
            if not self._connect_at_once(connection, data):
                self._other_message(connection, data)
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
            log.debug("A viewer sent what is not Socket.IO and was closed: %s", type(error).__name__)
            self._close_connection(connection)

    def _connect_at_once(self, connection: str, data: str) -> bool:
        """Take what every viewer begins with; python-socketio makes a JSON decoder for each packet. Whatever is not as
        clients write it is left to that.
        """
        if not data.startswith(self._connect) or connection in self._server._binary_packet:
            return False
        try:
            auth = _decode_auth(data[len(self._connect) :])
        except (msgspec.DecodeError, ValueError):
            return False
        self._handle_connect(connection, self._namespace, auth)
        return True

    def _handle_connect(self, connection: str, namespace: str | None, data: Any) -> None:
        if namespace != self._namespace:
            if connection in self._server.environ and not self._server.environ[connection]:
                refusal_data = {"message": "Ask for this namespace before any other."}
                self._server._send_packet(connection, self._server.packet_class(
                    socketio_packet.CONNECT_ERROR, data=refusal_data, namespace=namespace))  # fmt: skip
                return
            self._other_connect(connection, namespace, data)
            return
        mine = object()
        if self._asking.setdefault(connection, mine) is not mine:
            self._refuse(connection, _twice())
            return
        since = self._unwatched.ask(connection)
        try:
            if not self._unwatched.may_ask(connection):
                self._close_connection(connection)
                raise _Gone
            if self._watches(connection):
                raise _twice()
            self._welcome(connection, data)
        except _Gone:
            pass
        except ConfigError as error:  # for whoever runs the server, not for a page
            log.error("A viewer was refused: %s", error)
            self._refuse(connection, RealtimeError("The server is not set up to answer."), since)
        except RealtimeError as error:
            self._refuse(connection, error, since)
        except Exception:
            log.exception("A viewer was refused because identify or the registry failed.")
            self._refuse(connection, RealtimeError("The server could not find out who this is."), since)
        finally:
            self._asking.pop(connection, None)

    def _watches(self, connection: str) -> bool:
        return self._server.manager.sid_from_eio_sid(connection, self._namespace) is not None

    def _welcome(self, connection: str, data: Any) -> None:
        viewer, auth = self._admit(connection, data)
        self._let_go(connection)
        session, manager = viewer.session, self._server.manager
        try:
            first = self._reachability.read(viewer.grant, auth)
            viewer.outbox = self._socket(connection).queue  # upgraded meanwhile, perhaps: then nothing had to be moved
            # Nothing precedes the answer: only then does python-socketio know of the session, for a host's broadcasts.
            self._send(connection, socketio_packet.CONNECT, {"sid": session})
            manager.basic_enter_room(session, self._namespace, None, eio_sid=connection)
            self._reachability.begin(viewer, auth, first)
            self._socket(connection)
        except BaseException:  # `_Gone` too: in these last steps, too early for `_handle_close` to find it
            self._hub.leave(session)
            self._forget(connection)
            raise

    def _refuse(self, connection: str, error: RealtimeError, since: float | None = None) -> None:
        if self._hub.metrics is not None:
            self._hub.metrics.refused(error.code)
        refusal = {"message": str(error), "data": {"code": error.code, "message": str(error)}}
        self._send(connection, socketio_packet.CONNECT_ERROR, refusal)
        if since is not None and self.own and connection in self._server.eio.sockets and not self._watches(connection):
            self._unwatched.refuse(connection, since)

    def _socket(self, connection: str) -> Any:
        """Engine.IO's socket of a connection. Raises `_Gone`."""
        socket = self._server.eio.sockets.get(connection)
        if socket is None or socket.closing or socket.closed:
            raise _Gone
        return socket

    def _admit(self, connection: str, data: Any) -> tuple[Viewer, ConnectAuth]:
        """A viewer that is in its rooms, and is told nothing yet. Raises `_Gone`, and why it is refused."""
        if self._stopping:
            raise ServerStopping("The server is going away. Connect again.")
        auth = parse(ConnectAuth, data)
        environ = self._server.environ.get(connection)
        if environ is None:
            raise _Gone
        if not environ:  # let go: only a new handshake tells who this is now. Clients make one by themselves.
            self._close_connection(connection, SERVICE_RESTART)
            raise _Gone
        refuse_multiprocess(environ, self._config)
        check_origin(environ, self._config)
        authorise = partial(self._authorise, environ, auth.ticket)
        grant = self._concurrency.execute(authorise) if self._may_block() else authorise()
        outbox = self._socket(connection).queue  # `identify` may have taken its time
        if grant is None:
            raise Unauthenticated
        address = behind_proxies(environ, self._config.trusted_proxies).get("REMOTE_ADDR", "")
        viewer = Viewer(self._server.eio.generate_id(), connection, grant, address, outbox)
        viewer.declines = not auth.output
        if auth.ticket is None:  # which the requests of a long poll do not bring
            self._belonging.note(connection, environ, grant.user_id)
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
            viewer.spend()
            if not isinstance(data, list) or not data or not isinstance(data[0], str):
                raise InvalidValue("event", "a name is missing")
            message = data[1] if len(data) > 1 else None
            answer = self._commands.answer_aside(self._concurrency.execute, viewer, data[0], message)
        except RealtimeError as error:
            if viewer.refused >= MAX_REFUSED:  # each costs an answer, for ever
                self.close(viewer, "asks without end", POLICY_VIOLATION)
                return
            answer = {"ok": False, "error": {"code": error.code, "message": str(error)}}
        except Exception:
            log.exception("A request of a viewer failed.")
            answer = {"ok": False, "error": {"code": "internal", "message": "The server failed to answer."}}
        if id is not None:
            self._send(connection, socketio_packet.ACK, [answer], id)

    def _handle_disconnect(self, session: str, *_reason: Any) -> None:
        viewer = self._hub.leave(session)
        if viewer is not None and self.own:
            self._unwatched.begin(viewer.connection)

    # Ends.

    def close(self, viewer: Viewer, reason: str, code: int | None = None) -> None:
        """End a viewer's connection. Without a code its raw socket is cut: a writer may be stuck in it."""
        if self._hub.metrics is not None:
            self._hub.metrics.closed(reason)
        log.info("A viewer of user %s was closed: it %s.", viewer.grant.user_id, reason)
        self._close_connection(viewer.connection, code)

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
        """Close every WebSocket with 1001 (going away): official clients come back by themselves after that, as they
        do not after a Socket.IO DISCONNECT. Waits for none of them.
        """
        self._stopping = True
        farewell.say(list(self._hub.viewers.values()), self._hub.make_frame)
        for connection in list(self._server.eio.sockets):
            self._close_connection(connection, GOING_AWAY)

    def closed(self) -> bool:
        """Whether all connections have been closed."""
        return all(socket.closed for socket in list(self._server.eio.sockets.values()))


class _Gone(Exception):
    """The connection has ended meanwhile."""


def _twice() -> LimitReached:
    return LimitReached("This connection watches already.")
