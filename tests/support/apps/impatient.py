"""The app on its own, with less patience for connections on which nobody watches."""

from __future__ import annotations

import realtime.transport.socketio
from support.apps.making import make

realtime.transport.socketio.CONNECT_TIMEOUT = 0.2

app = make()
