"""Sessions of long polling: which they are, and what they post."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any, Final

from engineio.exceptions import EngineIOError
from engineio.payload import Payload

from .origin import Environ

log = logging.getLogger("realtime")

#: Packets that one request may carry. Clients send all that has come together since the last one; more requests than
#: this a viewer may not make at once anyway.
MAX_POSTED: Final = 256
#: What Engine.IO and Socket.IO raise for what is neither.
NOT_ENGINE_IO: Final = (ValueError, OSError, UnicodeError, LookupError, TypeError, RecursionError)

_SEPARATOR: Final = b"\x1e"


def may_poll(environ: Environ) -> bool:
    """Whether a session may be one of long polling that begins with this request.

    Engine.IO reads the first ``transport`` that it finds in the decoded query; so what leaves any doubt may.
    """
    query = environ.get("QUERY_STRING", "")
    return "%" in query or query.count("transport=") != 1 or "transport=websocket" not in query.split("&")


def take_posts(connection: Any, *, own: bool) -> None:
    """Have what a session posts end it without a traceback where it is not Engine.IO.

    ``own``: the server is ours alone, so more than the 16 packets are taken that Engine.IO takes from one request. It
    would drop all of them and say that all is well.
    """
    receive = connection.handle_post_request
    most = connection.server.max_http_buffer_size

    def handle_post_request(environ: Environ) -> None:
        try:
            for part in _parts(environ, most) if own else (environ,):
                receive(part)
        except EngineIOError:
            raise
        except NOT_ENGINE_IO as error:
            log.debug("A long poll posted what is not Engine.IO and was closed: %s", type(error).__name__)
            raise EngineIOError("This is not Engine.IO.") from None

    connection.handle_post_request = handle_post_request


def _parts(environ: Environ, most: int) -> Iterator[Environ]:
    """The same request in as many as Engine.IO needs. ``most``: bytes that it may have."""
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if size > most:
        yield environ  # it is refused there
        return
    packets = environ["wsgi.input"].read(size).split(_SEPARATOR)
    if len(packets) > MAX_POSTED:
        raise ValueError(f"more than {MAX_POSTED} packets")
    for start in range(0, len(packets), Payload.max_decode_packets):
        body = _SEPARATOR.join(packets[start : start + Payload.max_decode_packets])
        yield {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
