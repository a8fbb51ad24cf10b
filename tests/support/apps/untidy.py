"""A host whose JSON leaves characters as they are, so that it can emit what no UTF-8 can hold."""

from __future__ import annotations

import json
from typing import Any

from flask_socketio import SocketIO

from support.apps.making import make


class _AsItIs:
    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(*args: Any, **options: Any) -> str:
        return json.dumps(*args, **{**options, "ensure_ascii": False})


app = make(SocketIO(json=_AsItIs, async_mode="eventlet"))
