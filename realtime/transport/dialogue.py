"""The reading half of a WebSocket, without I/O: bytes in, whole messages of Engine.IO out, the right close code if
they are none.

``websockets``' sans-I/O protocol does what RFC 6455 asks for: masks (in C), fragments, control frames, closing, a limit
per message. permessage-deflate is not offered to it.
"""

from __future__ import annotations

import logging
from typing import Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

#: It tells each closed connection at INFO; nobody wants to know.
_log = logging.getLogger("realtime.websocket")
_log.setLevel(logging.ERROR)

#: What an Engine.IO packet from a client begins with (https://socket.io/docs/v4/engine-io-protocol/).
_KINDS: Final = "123456"


class Dialogue:
    """What has come in on one connection. ``max_message`` in bytes."""

    __slots__ = ("_parts", "_protocol", "_text")

    def __init__(self, max_message: int) -> None:
        self._protocol = Protocol(SERVER, max_size=max_message, logger=_log)
        self._parts: list[bytes] | None = None
        self._text = False

    def receive(self, data: bytes) -> list[str | bytes]:
        """Take bytes from the network; the messages that are whole now. What is to be answered is `outgoing`."""
        protocol = self._protocol
        protocol.receive_data(data)
        messages: list[str | bytes] = []
        for frame in protocol.events_received():
            message = self._assemble(frame) if isinstance(frame, Frame) else None
            if message is None:
                continue
            if not self._text:
                messages.append(message)
                continue
            try:
                text = message.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA)
                break
            if not self._is_packet(text):
                self._fail(CloseCode.PROTOCOL_ERROR)
                break
            messages.append(text)
        return messages

    def _is_packet(self, text: str) -> bool:
        return text != "" and text[0] in _KINDS

    def _assemble(self, frame: Frame) -> bytes | None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode is Opcode.TEXT
            if frame.fin:
                return bytes(frame.data)
            self._parts = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT and self._parts is not None:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), None
                return whole
        return None

    def _fail(self, code: CloseCode) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.fail(code)

    def close(self, code: int) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2), unless it has begun."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)

    def outgoing(self) -> tuple[bytes, bool]:
        """What is to be written, and whether nothing follows: then the server lets go of the connection first."""
        written = self._protocol.data_to_send()
        return b"".join(written), b"" in written
