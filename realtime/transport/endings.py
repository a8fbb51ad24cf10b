"""How connections end: the WebSockets of three servers, each with a library and habits of its own.

eventlet brings its own WebSocket, gevent uses gevent-websocket where it is installed, and all else simple-websocket.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

from ..outbox import Outbox

#: Seconds that a close frame may take: its viewer may be one that takes nothing.
LAST_WORD: Final = 1.0
#: Reads of what a client has sent to a WebSocket that has ended.
_LAST_READS: Final = 16


def end(connection: Any, code: int | None) -> None:
    """Close an Engine.IO connection and the WebSocket under it. Waits `LAST_WORD` seconds at most; never raises.

    ``code`` is of RFC 6455 section 7.4.1; None cuts the socket off, for a peer that would take no close frame either.
    """
    outbox = connection.queue
    if hasattr(outbox, "abort"):  # a push socket ends itself, and the session with it
        if code is None:
            outbox.abort("transport error")
        else:
            outbox.close(code)
        return
    websocket = outbox.websocket if isinstance(outbox, Outbox) else None
    if websocket is not None:
        raw = raw_socket(websocket)
        with contextlib.suppress(Exception):
            if code is not None and raw is not None:
                _say_goodbye(websocket, raw, code)
        _cut(raw)
    with contextlib.suppress(Exception):
        connection.close(wait=False, abort=True)
        # Engine.IO would forget it with its next request, and answers a POST with a 500 then.
        connection.server.sockets.pop(connection.sid, None)


def hang_up(environ: dict[str, Any]) -> None:
    """Close the network connection of a WebSocket that has ended.

    Servers that lend it to simple-websocket take it for an HTTP connection again: they would wait for a request, while
    the client waits for the end of the connection; or take for one what a client says at its end, and log that it is
    none.
    """
    raw = environ.get("werkzeug.socket") or environ.get("gunicorn.socket")
    if raw is None and environ.get("SERVER_SOFTWARE", "").startswith("gevent"):
        reader = environ["wsgi.input"]
        raw = getattr(getattr(getattr(reader, "rfile", reader), "raw", None), "_sock", None)
    _cut(raw)
    if raw is not None:
        with contextlib.suppress(OSError):
            for _ in range(_LAST_READS):
                if not raw.recv(4096):
                    break


def raw_socket(websocket: Any) -> Any:
    """The network socket under a WebSocket, or None."""
    if hasattr(websocket, "ws"):  # Engine.IO's wrapper of simple-websocket's
        return websocket.ws.sock
    if hasattr(websocket, "socket"):  # eventlet's
        return websocket.socket
    handler = getattr(websocket._sock, "handler", None)  # Engine.IO's wrapper of gevent-websocket's
    return getattr(handler, "socket", None)


def _say_goodbye(websocket: Any, raw: Any, code: int) -> None:
    if hasattr(websocket, "ws"):
        raw.settimeout(LAST_WORD)
        websocket.ws.close(reason=code)
    elif hasattr(websocket, "socket"):
        if not websocket._sendlock.locked():  # else a writer is stuck in the middle of a frame
            raw.settimeout(LAST_WORD)
            websocket._send_closing_frame(close_data=(code, ""), ignore_send_errors=True)
    else:
        raw.settimeout(LAST_WORD)
        inner = websocket._sock
        inner.send_frame(code.to_bytes(2, "big"), inner.OPCODE_CLOSE)  # its `close` sends no code


def _cut(raw: Any) -> None:
    # Not `close`: others read and write there, and are to hear of it.
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
