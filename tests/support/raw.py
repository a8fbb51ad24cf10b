"""A WebSocket to a server without any library: its handshake, and then bytes."""

from __future__ import annotations

import contextlib
import socket
import struct

from . import rfc6455
from .remote import PATIENCE, Remote
from .rfc6455 import Answer

BYE = rfc6455.client_frame(rfc6455.CLOSE, rfc6455.close_payload(rfc6455.NORMAL))


def text(message: str) -> bytes:
    """A text frame of a client."""
    return rfc6455.client_frame(rfc6455.TEXT, message.encode())


def handshake(server: Remote, query: str = "transport=websocket&user=mallory") -> bytes:
    """The request that asks for a WebSocket."""
    return (
        f"GET /socket.io/?EIO=4&{query} HTTP/1.1\r\nHost: 127.0.0.1:{server.server.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def connect(server: Remote) -> socket.socket:
    """A connection on which each piece leaves at once."""
    opened = socket.create_connection(("127.0.0.1", server.server.port), timeout=PATIENCE)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class Raw:
    """One of them. ``query`` is that of the handshake."""

    def __init__(self, server: Remote, query: str = "transport=websocket&user=mallory") -> None:
        self.socket = connect(server)
        self.socket.sendall(handshake(server, query))
        came = b""
        while b"\r\n\r\n" not in came:
            more = self.socket.recv(65_536)
            assert more, came
            came += more
        #: The answer to the handshake, and what has come behind it.
        self.head, self.came = came.split(b"\r\n\r\n", 1)
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head

    def send(self, *pieces: bytes) -> None:
        """Send bytes in pieces. What the server has ended meanwhile takes no more of them."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                self.socket.sendall(piece)

    def wait_for(self, piece: bytes) -> None:
        """Read until this has come. AssertionError if the connection ends before."""
        while piece not in self.came:
            more = self.socket.recv(65_536)
            assert more, self.came
            self.came += more

    def read_to_the_end(self) -> Answer:
        """All that the server sends until it ends the connection. Its close frame is answered."""
        answered = False
        with contextlib.suppress(ConnectionResetError):
            while more := self.socket.recv(65_536):
                self.came += more
                if not answered and rfc6455.read_answer(self.came).code is not None:
                    answered = True
                    self.send(BYE)
        self.socket.close()
        answer = rfc6455.read_answer(self.came)
        assert not answer.rest
        return answer

    def reset(self) -> None:
        """End the connection with RST, as a machine does that has lost it."""
        reset(self.socket)


def reset(connection: socket.socket) -> None:
    """End a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
