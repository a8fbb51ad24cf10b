"""A WebSocket to a server's Engine.IO, frame by frame: for what no client library would do."""

from __future__ import annotations

import json
import socket
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket

from realtime import protocol

from .remote import PATIENCE

#: What a client sends to watch, and what the server's answers begin with.
CONNECT = f"40{protocol.NAMESPACE},"
ACCEPTED = f'40{protocol.NAMESPACE},{{"sid"'
REFUSED = f"44{protocol.NAMESPACE},"
EVENT = f"42{protocol.NAMESPACE},"


class Closed(Exception):
    """The server has closed the WebSocket. ``code`` is its reason, None if it has given none (RFC 6455, 7.4.1)."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Wire:
    """One WebSocket, opened by Engine.IO's handshake."""

    def __init__(
        self, url: str, user: str | None = None, *, receive_buffer: int | None = None, origin: str | None = None,
        **query: str,
    ) -> None:  # fmt: skip
        given = {"EIO": "4", "transport": "websocket", **({} if user is None else {"user": user}), **query}
        address = f"{url.replace('http', 'ws', 1)}/socket.io/?{urllib.parse.urlencode(given)}"
        options = [] if receive_buffer is None else [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)]
        # An Origin that says where it comes from, as a browser's; websocket-client makes one of the address itself.
        self.socket = websocket.create_connection(
            address, timeout=PATIENCE, sockopt=options, suppress_origin=origin is None, origin=origin
        )
        #: All text and binary frames that came, in order.
        self.frames: list[str | bytes] = []
        try:
            opening = self.receive()
        except BaseException:
            self.close()
            raise
        assert isinstance(opening, str)
        assert opening.startswith("0{"), opening

    def send(self, message: str | bytes) -> None:
        """Send one frame."""
        if isinstance(message, bytes):
            self.socket.send_binary(message)
        else:
            self.socket.send(message)

    def receive(self) -> str | bytes:
        """The next frame that is no ping. Raises `Closed`, and TimeoutError when nothing comes for long."""
        until = time.monotonic() + PATIENCE  # pings would put off a timeout of the socket for ever
        while True:
            try:
                self.socket.settimeout(max(until - time.monotonic(), 0.001))
                code, data = self.socket.recv_data()
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                raise Closed(None) from None
            except websocket.WebSocketTimeoutException:
                raise TimeoutError(f"after {self.frames[-5:]}") from None
            if code == websocket.ABNF.OPCODE_CLOSE:
                raise Closed(int.from_bytes(data[:2], "big") if len(data) >= 2 else None)
            frame = data.decode() if code == websocket.ABNF.OPCODE_TEXT else bytes(data)
            if frame == "2":
                self.send("3")
                continue
            self.frames.append(frame)
            return frame

    def receive_event(self, name: str | None = None) -> tuple[str, Any]:
        """The next event of ``/tasks`` (of this name), and its payload."""
        while True:
            frame = self.receive()
            if isinstance(frame, str) and frame.startswith(EVENT):
                event, payload = json.loads(frame.removeprefix(EVENT))
                if name in (None, event):
                    return event, payload

    def receive_until_closed(self) -> int | None:
        """Read to the end; the code it was closed with."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed.code

    def watch(self, auth: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for ``/tasks`` and be let in; the first snapshot."""
        self.send(CONNECT + ("" if auth is None else json.dumps(auth)))
        answer = self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(ACCEPTED), answer
        event, payload = self.receive_event()
        assert event == "tasks_snapshot"
        snapshot: dict[str, Any] = payload
        return snapshot

    def ask_in_vain(self, auth: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for ``/tasks`` and be refused: ``{"message", "data": {"code", "message"}}``."""
        self.send(CONNECT + ("" if auth is None else json.dumps(auth)))
        answer = self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(REFUSED), answer
        refusal: dict[str, Any] = json.loads(answer.removeprefix(REFUSED))
        return refusal

    def ask(self, command: str, message: Any, id: int = 1) -> Any:
        """Send a request and wait for its acknowledgement; what comes before it is in ``frames``."""
        self.send(f"42{protocol.NAMESPACE},{id}{json.dumps([command, message])}")
        start = f"43{protocol.NAMESPACE},{id}["
        while not (isinstance(frame := self.receive(), str) and frame.startswith(start)):
            pass
        return json.loads(frame[len(start) - 1 :])[0]

    def close(self) -> None:
        """Let go of the connection, without a word."""
        self.socket.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def wire(url: str, user: str | None = None, **more: Any) -> Iterator[Wire]:
    """A `Wire`, closed at the end of the block."""
    opened = Wire(url, user, **more)
    try:
        yield opened
    finally:
        opened.close()
