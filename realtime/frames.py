"""One push, encoded once for everybody: a Socket.IO event in an Engine.IO message, as a packet and as a WebSocket frame."""

from __future__ import annotations

from typing import Any

from engineio import packet as engineio_packet


def text_frame(payload: bytes) -> bytes:
    """A WebSocket text frame as a server sends it: whole and unmasked (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 65536:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), payload)


class Frame:
    """An event for any number of viewers. Each form is made at its first use."""

    __slots__ = ("_packet", "_websocket", "data")

    def __init__(self, namespace: str, event: str, payload: bytes) -> None:
        #: The Socket.IO packet (https://socket.io/docs/v4/socket-io-protocol/#event).
        self.data = b'2%b,["%b",%b]' % (namespace.encode(), event.encode(), payload)
        self._packet: Any = None
        self._websocket: bytes | None = None

    @property
    def packet(self) -> Any:
        """The Engine.IO packet, for queues."""
        if self._packet is None:
            self._packet = engineio_packet.Packet(engineio_packet.MESSAGE, self.data.decode())
        return self._packet

    @property
    def websocket(self) -> bytes:
        """The WebSocket frame."""
        if self._websocket is None:
            self._websocket = text_frame(b"4" + self.data)
        return self._websocket
