"""An echo on our own push sockets, for test suites of WebSocket itself: ``realtime serve support.apps.echo:app``.

Engine.IO is left out above the messages: any text is taken, what comes in goes out again, and nothing else does.
"""

from __future__ import annotations

import os
from typing import Any

from engineio import packet as engineio_packet

from realtime.transport import doorway, sweeper, websocket
from realtime.transport.dialogue import Dialogue
from realtime.transport.websocket import PushSocket
from support.apps.making import make


class _AnyText(Dialogue):
    """Takes text that is no packet of Engine.IO, too."""

    __slots__ = ()

    @staticmethod
    def _is_packet(text: str) -> bool:
        return True


class _Echo(PushSocket):
    """Answers each message with itself."""

    __slots__ = ()

    def _receive(self, message: str | bytes) -> None:
        # As a packet it would have a kind before its data; so it takes the same way out without one.
        super()._put(_Bare(message))

    def _put(self, packet: Any) -> None:
        if packet is None:
            super()._put(packet)

    def ping(self) -> None:
        """Engine.IO's sign of life would be a message."""


class _Bare(engineio_packet.Packet):  # type: ignore[misc]  # ships no types
    def __init__(self, data: str | bytes) -> None:
        super().__init__(engineio_packet.MESSAGE, data)

    def encode(self, b64: bool = False) -> str | bytes:
        data: str | bytes = self.data
        return data


os.environ["CONNECT_TIMEOUT"] = "1000"  # nobody ever asks to watch
vars(websocket).update(Dialogue=_AnyText)
# Without Engine.IO's greeting, which goes right behind the handshake.
vars(sweeper).update(PushSocket=_Echo, packet_frame=lambda packet: b"")
vars(doorway).update(PushSocket=_Echo, text_frame=lambda payload: b"")
app = make()
#: The suite's largest message has 16 MiB.
app.extensions["realtime"].transport.sockets.max_message = 1 << 25
