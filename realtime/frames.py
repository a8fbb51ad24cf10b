"""Pushes, encoded once for everybody: a Socket.IO event in an Engine.IO message, as a packet and as a WebSocket
frame."""

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


def packet_frame(packet: Any) -> bytes:
    """An Engine.IO packet as a WebSocket frame."""
    data = packet.encode()
    return text_frame(data.encode()) if isinstance(data, str) else b"\x82" + text_frame(data)[1:]


class Frame:
    """One event for any number of viewers. Each form of it is made at its first use."""

    __slots__ = ("_data", "_packet", "_websocket", "size")

    def __init__(self, namespace: str, event: str, payload: bytes) -> None:
        # A Socket.IO packet: https://socket.io/docs/v4/socket-io-protocol/#event
        self._data = b'42%b,["%b",%b]' % (namespace.encode(), event.encode(), payload)
        #: Bytes, without the few of WebSocket's header.
        self.size = len(self._data)
        self._packet: Any = None
        self._websocket: bytes | None = None

    @property
    def packet(self) -> Any:
        """The Engine.IO packet, for queues."""
        if self._packet is None:
            self._packet = engineio_packet.Packet(engineio_packet.MESSAGE, self._data[1:].decode())
        return self._packet

    @property
    def websocket(self) -> bytes:
        """The WebSocket frame."""
        if self._websocket is None:
            self._websocket = text_frame(self._data)
        return self._websocket


class Batch:
    """The frames of one flush for one viewer; viewers with the same dirty tasks share one."""

    __slots__ = ("_joined", "_size", "frames")

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self._size: int | None = None
        self._joined: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes, as `Frame.size`."""
        if self._size is None:
            self._size = sum([frame.size for frame in self.frames])
        return self._size

    @property
    def joined(self) -> bytes:
        """All WebSocket frames in one buffer."""
        if self._joined is None:
            self._joined = b"".join([frame.websocket for frame in self.frames])
        return self._joined
