"""The reading half of a WebSocket, without I/O: bytes in, whole messages of Engine.IO out, the right close code if
they are none.

``websockets``' sans-I/O protocol does what RFC 6455 asks for: masks (in C), fragments, control frames, closing.
permessage-deflate is not offered to it.
"""

from __future__ import annotations

import logging
from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

#: It tells each closed connection at INFO; nobody wants to know.
_log = logging.getLogger("realtime.websocket")
_log.setLevel(logging.ERROR)

#: What an Engine.IO packet from a client begins with (https://socket.io/docs/v4/engine-io-protocol/).
_KINDS: Final = "123456"
#: Bytes that a control frame may carry (RFC 6455 section 5.5).
_MAX_CONTROL: Final = 125


class Dialogue(Protocol):
    """What has come in on one connection. ``max_message`` in bytes.

    A message is judged where its last frame is: what stands behind one that is wrong, though it came in the same
    piece from the network, is answered no more.
    """

    def __init__(self, max_message: int) -> None:
        # A control frame between fragments is no part of their message: there is room for one however long that is.
        super().__init__(SERVER, max_size=max_message + _MAX_CONTROL, logger=_log)
        self._max_message = max_message
        # All attributes from the beginning: one that comes later costs each viewer a dictionary of its own.
        self._message: bytearray | None = None
        self._text = False
        self._messages: list[str | bytes] = []

    def receive(self, data: bytes) -> list[str | bytes]:
        """Take bytes from the network; the messages that are whole now. What is to be answered is `outgoing`."""
        self.receive_data(data)
        self.events_received()
        messages, self._messages = self._messages, []
        return messages

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame; the protocol's parser calls it. What it raises closes the connection with the right code."""
        if frame.opcode is Opcode.CLOSE and self._message is not None:
            # It may come between fragments (RFC 6455 section 5.4); the protocol takes that for an error. So to it the
            # message, which will never end, ends here.
            self._message = None
            super().recv_frame(Frame(Opcode.CONT, b""))
        super().recv_frame(frame)
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._text = frame.opcode is Opcode.TEXT
            self._join(b"", frame)
        elif frame.opcode is Opcode.CONT and self._message is not None:
            self._join(self._message, frame)

    def _join(self, before: bytes | bytearray, frame: Frame) -> None:
        size = len(before) + len(frame.data)
        if size > self._max_message:
            raise PayloadTooBig(size, self._max_message)
        if not frame.fin:
            # One buffer: a list of fragments has no bound, since they may be empty.
            self._message = before if isinstance(before, bytearray) else bytearray()
            self._message += frame.data
            return
        self._message = None
        whole = bytes(before) + frame.data if before else bytes(frame.data)
        if not self._text:
            self._messages.append(whole)
            return
        text = whole.decode()
        if not self._is_packet(text):
            raise ProtocolError("no packet of Engine.IO")
        self._messages.append(text)

    def _is_packet(self, text: str) -> bool:
        return text != "" and text[0] in _KINDS

    def close(self, code: int) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2), unless it has begun."""
        if self.state is State.OPEN:
            self.send_close(code)

    def outgoing(self) -> tuple[bytes, bool]:
        """What is to be written, and whether nothing follows: then the server lets go of the connection first."""
        written = self.data_to_send()
        return b"".join(written), b"" in written
