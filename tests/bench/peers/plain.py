"""The app that people write today with Flask-SocketIO: a dict of tasks, a lock, ``socketio.emit`` to a room.

    python plain.py PORT

``/start`` publishes in a background task, as the other apps of this benchmark do; ``/stats`` says how far it is.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import logging  # noqa: E402  # what is imported from here on is patched
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, join_room  # noqa: E402

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = Flask(__name__)
socketio = SocketIO(app, async_mode="eventlet", cors_allowed_origins="*")
tasks: dict[str, dict[str, Any]] = {}
lock = threading.Lock()
stats: dict[str, Any] = {"done": True, "sent": 0, "seconds": 0.0, "cpu": 0.0}
LETTERS = "".join(chr(97 + place % 26) for place in range(4096))


def update_task_progress(task_id: str, data: dict[str, Any]) -> None:
    with lock:
        tasks[task_id] = data
    socketio.emit("task_progress", data, to=task_id)


def snapshot(group: int, version: int, stamp: int, *, ended: bool) -> dict[str, Any]:
    return {
        "task_id": f"t{group}",
        "status": "complete" if ended else "processing",
        "progress": {
            "current": version % 1000,
            "total": 1000,
            "message": f"Processing chunk number {version % 1000} of the 1000 chunks of the input file, all is well",
        },
        "v": version,
        "t": stamp,
    }


@socketio.on("subscribe")  # type: ignore[untyped-decorator]  # Flask-SocketIO ships no types
def subscribe(message: dict[str, Any]) -> dict[str, Any]:
    join_room(message["task_id"])
    return {"ok": True}


def publish(groups: int, rate: float, seconds: float, finals: bool, piece: int, first: int) -> None:
    """Open loop: everything has a time when it is due, and carries it."""
    began, sent, total, versions = time.monotonic(), 0, int(rate * seconds), [0] * groups
    while sent < total and time.monotonic() - began < seconds * 1.5 + 1:
        due = min(total, int(rate * (time.monotonic() - began)) + 1)
        while sent < due:
            group, stamp = sent % groups, int((began + sent / rate) * 1e9)
            if piece:
                number = first + versions[group]
                text = f"#{number:012d}@{stamp:020d} {LETTERS[35:piece]}"
                socketio.emit("task_output", {"task_id": f"t{group}", "text": text}, to=f"t{group}")
            else:
                data = snapshot(group, versions[group] + 1, stamp, ended=False)
                update_task_progress(f"t{group}", data)
            versions[group] += 1
            sent += 1
            socketio.sleep(0)
        socketio.sleep(min(0.05, max(0.0, began + sent / rate - time.monotonic())))
    for group in range(groups if finals else 0):
        update_task_progress(f"t{group}", snapshot(group, versions[group] + 1, time.monotonic_ns(), ended=True))
        socketio.sleep(0)
    stats.update(done=True, sent=sent, seconds=time.monotonic() - began)


@app.get("/start")
def start() -> dict[str, Any]:
    asked = request.args
    stats.update(done=False, sent=0)
    socketio.start_background_task(
        publish, int(asked["groups"]), float(asked["rate"]), float(asked["seconds"]), asked["finals"] == "1",
        int(asked["piece"]), int(asked["first"]),
    )  # fmt: skip
    return stats


@app.get("/stats")
def told() -> dict[str, Any]:
    return stats


if __name__ == "__main__":
    # Not the default of 1,024 connections, which no measurement of thousands of viewers would survive.
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_output=False, max_size=30_000)
