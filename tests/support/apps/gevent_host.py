"""A host that has patched itself for gevent, on its own server: ``python -m support.apps.gevent_host PORT``. With
``simple`` after it, as where gevent-websocket is not installed."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402  # after the patch, as in such an app
from typing import cast  # noqa: E402

if "simple" in sys.argv:
    cast("dict[str, None]", sys.modules)["geventwebsocket"] = None

from flask_socketio import SocketIO  # noqa: E402

from support.apps.making import make  # noqa: E402

if __name__ == "__main__":
    socketio = SocketIO()
    socketio.run(make(socketio), host="127.0.0.1", port=int(sys.argv[1]))
