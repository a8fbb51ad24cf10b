"""A viewer's way in without HTTP's and WSGI's machinery: its handshake is read where its connection is accepted, and
answered, and the connection becomes a push socket at once.

It is for the handshake that nearly everybody sends (`handshake`), on a server where nothing of the host's stands
between HTTP and Engine.IO. Everything else is left as it is: it has only been looked at, and has still to be read.
"""

from __future__ import annotations

import logging
import socket
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from engineio.socket import Socket

from ..frames import text_frame
from .handshake import MAX_REQUEST, Handshakes
from .sweeper import PushSockets, drop_unborn, prepare
from .websocket import PushSocket

log = logging.getLogger("realtime")

_PEEK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT
#: In the place of the server for as long as an Engine.IO socket is made: it gets no queue but its push socket.
_NO_QUEUES: Final = SimpleNamespace(create_queue=lambda: None)


class Doorway:
    """Takes connections. ``path`` is Engine.IO's, ``/socket.io/``; `app` is what Flask-SocketIO notes in an environ."""

    def __init__(self, eio: Any, sockets: PushSockets, path: str, app: Any) -> None:
        self._eio = eio
        self._app = app
        self._sockets = sockets
        self._handshakes = Handshakes(path)

    def take(self, connection: socket.socket, address: Any) -> bool:
        """Make a viewer's connection of it, if that is what it asks for.

        If not, nothing has happened to it, and whoever asked goes on with it.
        """
        try:
            data = connection.recv(MAX_REQUEST, _PEEK)
            environ = self._handshakes.read(data)
            here = connection.getsockname()
        except OSError:  # nothing has come yet, most of all
            return False
        if environ is None:
            return False
        environ["SERVER_NAME"], environ["SERVER_PORT"] = here[0], str(here[1])
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = address[0], str(address[1])
        environ["flask.app"] = self._app
        # From here on as Engine.IO does it.
        eio = self._eio
        engine = Socket(_NO_QUEUES, eio.generate_id())
        engine.server = eio
        eio.sockets[engine.sid] = engine
        if eio._trigger_event("connect", engine.sid, environ, run_async=False) is not None:
            # To refuse it is Engine.IO's part, which asks again.
            del eio.sockets[engine.sid]
            return False
        try:
            self._begin(connection, len(data), engine, environ["HTTP_SEC_WEBSOCKET_KEY"])
        except Exception as error:
            if not isinstance(error, OSError):  # a peer that has gone
                log.exception("A WebSocket could not be taken over.")
            drop_unborn(engine)
        connection.close()  # if it is not the push socket's
        return True

    def _begin(self, connection: socket.socket, size: int, engine: Any, key: str) -> None:
        connection.recv(size)
        connection.setblocking(False)
        prepare(connection)
        opening = self._opening(engine.sid)
        push = PushSocket(self._sockets, engine, connection.fileno())
        connection.detach()
        engine.queue = push
        engine.connected = engine.upgraded = True
        try:
            self._sockets.begin(push, key, opening)
        except Exception:
            log.exception("A WebSocket could not be taken over.")
            push.abort("transport error")

    def _opening(self, sid: str) -> bytes:
        """The first frame: https://socket.io/docs/v4/engine-io-protocol/#handshake."""
        eio = self._eio
        return text_frame(b"0" + msgspec.json.encode({
            "sid": sid, "upgrades": [], "pingTimeout": int(eio.ping_timeout * 1000),
            "pingInterval": int(eio.ping_interval + eio.ping_interval_grace_period) * 1000,
            "maxPayload": eio.max_http_buffer_size,
        }))  # fmt: skip
