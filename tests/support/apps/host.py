"""A host with a ``SocketIO`` and a ``/work`` namespace of its own. ``HOST_ROOT=refuse`` in the environment makes it
refuse ``/``."""

from __future__ import annotations

import os
import threading
from typing import Any

import flask
from flask_socketio import SocketIO, disconnect, emit

from support.apps.making import gates, make, run_in

socketio = SocketIO()
told: list[Any] = []


def thread() -> str:
    """Where this runs: the name of its thread, or "hub" for the one that serves."""
    return "hub" if threading.current_thread() is threading.main_thread() else threading.current_thread().name


@socketio.on("connect")  # type: ignore[untyped-decorator]
def root(auth: Any = None) -> bool:
    return os.environ.get("HOST_ROOT") != "refuse"


@socketio.on("connect", namespace="/work")  # type: ignore[untyped-decorator]
def let_in(auth: Any = None) -> None:
    if "gate" in flask.request.args:
        gates[flask.request.args["gate"]].pass_through()


@socketio.on("disconnect", namespace="/work")  # type: ignore[untyped-decorator]
def left(*reason: Any) -> None:
    told.append("left")
    if flask.request.args.get("rude"):
        raise RuntimeError("a handler of the host")


@socketio.on("where", namespace="/work")  # type: ignore[untyped-decorator]
def where() -> str:
    return thread()


@socketio.on("who", namespace="/work")  # type: ignore[untyped-decorator]
def who() -> list[str]:
    return [flask.request.args["user"], flask.request.path]


@socketio.on("slow", namespace="/work")  # type: ignore[untyped-decorator]
def slow(gate: str) -> str:
    gates[gate].pass_through()
    return thread()


@socketio.on("ask me", namespace="/work")  # type: ignore[untyped-decorator]
def ask_me(question: str) -> None:
    session = flask.request.sid  # type: ignore[attr-defined]

    def ask() -> None:
        answer = socketio.call("question", question, to=session, namespace="/work", timeout=30)
        socketio.sleep(0.001)
        socketio.emit("answered", [answer, thread()], to=session, namespace="/work")

    socketio.start_background_task(ask)


@socketio.on("call back", namespace="/work")  # type: ignore[untyped-decorator]
def call_back(gate: str) -> None:
    def answered(*answer: Any) -> None:
        gates[gate].pass_through()
        told.append([list(answer), thread()])

    emit("question", "back", callback=answered)


@socketio.on("go", namespace="/work")  # type: ignore[untyped-decorator]
def go() -> None:
    disconnect()


@socketio.on("me", namespace="/work")  # type: ignore[untyped-decorator]
def me() -> str:
    session: str = flask.request.sid  # type: ignore[attr-defined]
    return session


app = make(socketio)


@app.get("/told")
def what_was_told() -> Any:
    return flask.jsonify(told)


@app.post("/send-away/<session>")
def send_away(session: str) -> Any:
    run_in(flask.request.args["where"], lambda: socketio.server.disconnect(session, namespace="/work"))
    return "", 204
