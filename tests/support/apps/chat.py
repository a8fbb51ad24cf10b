"""A host with a ``SocketIO`` of its own: a ``/chat`` that refuses everybody, and a ``/`` for large messages."""

from __future__ import annotations

from typing import Any

import flask
from flask_socketio import SocketIO, emit

from support.apps.making import make

socketio = SocketIO(max_http_buffer_size=400_000)
calls: list[str] = []


@socketio.on("connect", namespace="/chat")  # type: ignore[untyped-decorator]
def refuse(auth: Any = None) -> bool:
    calls.append("chat connect")
    return False


@socketio.on("hello", namespace="/chat")  # type: ignore[untyped-decorator]
def hello(data: Any) -> str:
    calls.append("chat hello")
    return "hi"


@socketio.on("connect")  # type: ignore[untyped-decorator]
def let_in(auth: Any = None) -> None:
    calls.append("root connect")


@socketio.on("size")  # type: ignore[untyped-decorator]
def size(data: Any) -> int:
    emit("seen", len(data))
    return len(data)


app = make(socketio)


@app.get("/calls")
def called() -> Any:
    return flask.jsonify(calls)
