"""The reading half of a WebSocket, without I/O: bytes in, whole messages of Engine.IO out, the right close code if
they are none.

``websockets``' sans-I/O protocol does what RFC 6455 asks for: masks (in C), fragments, control frames, closing.
permessage-deflate is not offered to it.

Such a protocol is made for those connections only that need one. What nearly every client sends and nothing else (whole
text frames, each in one piece from the network) is read here; from the first frame on that is anything else, the
protocol reads it all. To make it takes as long as the rest of a WebSocket's handshake, and it stays as long as the
viewer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

try:
    from websockets.speedups import apply_mask
except ImportError:  # a wheel without the part in C
    from websockets.utils import apply_mask

#: It tells each closed connection at INFO; nobody wants to know.
_log = logging.getLogger("realtime.websocket")
_log.setLevel(logging.ERROR)

#: The first byte of a text frame that is a whole message (RFC 6455 section 5.2).
_WHOLE_TEXT: Final = 0x81
_MASKED: Final = 0x80
#: In the place of a length: the length follows, in two bytes.
_LONGER: Final = 126
_MASK_SIZE: Final = 4

#: What an Engine.IO packet from a client begins with (https://socket.io/docs/v4/engine-io-protocol/).
_KINDS: Final = "123456"
#: Bytes that a control frame may carry (RFC 6455 section 5.5).
_MAX_CONTROL: Final = 125


class Dialogue:
    """What has come in on one connection. ``max_message`` in bytes."""

    __slots__ = ("_careful", "_max_message")

    def __init__(self, max_message: int) -> None:
        self._max_message = max_message
        self._careful: _Careful | None = None

    def receive(self, data: bytes) -> list[str | bytes]:
        """Take bytes from the network; the messages that are whole now. What is to be answered is `outgoing`."""
        messages: list[str | bytes] = []
        if self._careful is None:
            plain = self._plain(data, messages)
            if plain == len(data):
                return messages
            data = data[plain:]
        return messages + self._made().receive(data)

    def _plain(self, data: bytes, messages: list[str | bytes]) -> int:
        """Take the messages that come as nearly all do. Returns where the first begins that does not."""
        at, end = 0, len(data)
        while end - at > 1 and data[at] == _WHOLE_TEXT:
            size, start = data[at + 1] - _MASKED, at + 2 + _MASK_SIZE
            if size == _LONGER:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), start + 2
                if size < _LONGER:  # longer than need be
                    break
            elif not 0 <= size < _LONGER:
                break
            stop = start + size
            if stop > end or size > self._max_message:
                break
            try:
                text = apply_mask(data[start:stop], data[start - _MASK_SIZE : start]).decode()
            except UnicodeDecodeError:
                break
            if not self._is_packet(text):
                break
            messages.append(text)
            at = stop
        return at

    @staticmethod
    def _is_packet(text: str) -> bool:
        return text != "" and text[0] in _KINDS

    def _made(self) -> _Careful:
        if self._careful is None:
            self._careful = _Careful(self._max_message, self._is_packet)
        return self._careful

    def close(self, code: int) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2), unless it has begun."""
        careful = self._made()
        if careful.state is State.OPEN:
            careful.send_close(code)

    def outgoing(self) -> tuple[bytes, bool]:
        """What is to be written, and whether nothing follows: then the server lets go of the connection first."""
        if self._careful is None:
            return b"", False
        written = self._careful.data_to_send()
        return b"".join(written), b"" in written


class _Careful(Protocol):
    """Reads whatever may come, right or wrong. ``is_packet`` judges a text.

    A message is judged where its last frame is: what stands behind one that is wrong, though it came in the same
    piece from the network, is answered no more.
    """

    def __init__(self, max_message: int, is_packet: Callable[[str], bool]) -> None:
        # A control frame between fragments is no part of their message: there is room for one however long that is.
        super().__init__(SERVER, max_size=max_message + _MAX_CONTROL, logger=_log)
        self._max_message = max_message
        self._is_packet = is_packet
        # All attributes from the beginning: one that comes later costs each viewer a dictionary of its own.
        self._message: bytearray | None = None
        self._text = False
        self._messages: list[str | bytes] = []

    def receive(self, data: bytes) -> list[str | bytes]:
        """Take bytes from the network; the messages that are whole now."""
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
