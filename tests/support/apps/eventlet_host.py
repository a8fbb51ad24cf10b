"""A host that has patched itself for eventlet, on its own server: ``python -m support.apps.eventlet_host run PORT``, or
``… wsgi PORT`` for ``eventlet.wsgi`` without ``SocketIO.run``."""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402  # after the patch, as in such an app

import eventlet.wsgi  # noqa: E402
from flask_socketio import SocketIO  # noqa: E402

from support.apps.making import make  # noqa: E402

if __name__ == "__main__":
    how, port = sys.argv[1], int(sys.argv[2])
    if how == "run":
        socketio = SocketIO()
        socketio.run(make(socketio), host="127.0.0.1", port=port)
    else:
        eventlet.wsgi.server(eventlet.listen(("127.0.0.1", port)), make(), log_output=False)
