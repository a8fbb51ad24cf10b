"""The HTTP request that nearly every viewer begins with, read in one go: a WebSocket handshake (RFC 6455 section 4.2.1)
that begins an Engine.IO session.

A parser for HTTP and a WSGI server take several times as long over it as all that follows. So what is exactly as
browsers and clients write it is read here; whatever is not, be it allowed, rare or wrong, is left to them: then the
answer is None. What is read here comes out as they would have put it, key by key.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import sys
from functools import lru_cache
from typing import Final

from .origin import Environ

#: Bytes of a request that are looked at. A longer one (large cookies) goes the long way.
MAX_REQUEST: Final = 8 * 1024

#: Printable ASCII and no tabs or folded lines; names without an underscore, which servers drop.
_FIELDS: Final = rb"(?:[A-Za-z0-9-]+:[ -~]*\r\n)+"
#: Nothing that is encoded: then what stands between the separators is what it says.
_QUERY: Final = rb"[A-Za-z0-9_.=&-]+"

#: A body, or a request for an interim answer.
_UNUSUAL: Final = frozenset(("HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT"))


class Handshakes:
    """Reads the handshakes for Engine.IO's path, ``/socket.io/``. No I/O."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._request = re.compile(
            rb"GET " + re.escape(path.encode()) + rb"\?(" + _QUERY + rb") HTTP/1\.1\r\n(" + _FIELDS + rb")\r\n"
        )

    def read(self, data: bytes) -> Environ | None:
        """The WSGI environ of a request, without what only its connection knows. None for any other request."""
        match = self._request.fullmatch(data)
        if match is None:
            return None
        query, fields = match[1].decode(), match[2].decode()
        if not _begins(query):
            return None
        environ: Environ = {
            "wsgi.errors": sys.stderr, "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": False,
            "wsgi.run_once": False, "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "", "RAW_PATH_INFO": self._path, "PATH_INFO": self._path, "QUERY_STRING": query,
            "CONTENT_TYPE": "text/plain", "SERVER_PROTOCOL": "HTTP/1.0", "GATEWAY_INTERFACE": "CGI/1.1",
        }  # fmt: skip
        before, raw = len(environ), []
        for field in fields[:-2].split("\r\n"):
            name, _, value = field.partition(":")
            value = value.strip(" ")
            raw.append((name, value))
            environ[_key(name)] = value
        if len(environ) != before + len(raw) or not _UNUSUAL.isdisjoint(environ):  # a name that comes twice
            return None
        environ["headers_raw"] = tuple(raw)
        return environ if _upgrades(environ) else None


@lru_cache(256)
def _key(name: str) -> str:
    return "HTTP_" + name.replace("-", "_").upper()


@lru_cache(16)
def _begins(query: str) -> bool:
    """Whether it asks for a new session over a WebSocket, and for nothing else that Engine.IO knows of."""
    asked: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in asked:
            return False
        asked[name] = value
    return asked.get("EIO") == "4" and asked.get("transport") == "websocket" and "sid" not in asked and "j" not in asked


def _upgrades(environ: Environ) -> bool:
    return (
        environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and "upgrade" in [option.strip() for option in environ.get("HTTP_CONNECTION", "").lower().split(",")]
        and environ.get("HTTP_SEC_WEBSOCKET_VERSION") == "13"
        and is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""))
    )


def is_key(key: str) -> bool:
    """Whether it is a WebSocket's key: 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
