"""The app that is measured: what a user would write, through the public API, for ``realtime serve server.py:app``.

Viewers connect with a signed ticket each. What the harness asks for over HTTP is prepared in a view; everything is
published by a native thread, stamped with the monotonic time when it was due.
"""

from __future__ import annotations

import gc
import os
import secrets
import threading
import time
from typing import Any

from flask import Flask, Response, request

from realtime import NOBODY, Handle, Realtime

MANY = 100_000
LETTERS = "".join(chr(97 + place % 26) for place in range(4096))

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ.get("BENCH_SECRET_KEY") or secrets.token_hex(32),  # several processes have one
    # All viewers of a benchmark come from one address.
    REALTIME_MAX_VIEWERS_PER_ADDRESS=MANY,
    REALTIME_MAX_VIEWERS_PER_USER=MANY,
)
rt = Realtime(app)
stats: dict[str, Any] = {"done": True, "sent": 0, "seconds": 0.0, "cpu": 0.0}


@app.get("/prepare")
def prepare() -> Response:
    """Make ``tasks`` tasks and answer with a ticket a line: of the owner of each task or, with ``shared``, for one task
    that belongs to nobody and is seen by whoever has such a ticket.
    """
    if request.args.get("shared"):
        rt.create_task("t0", NOBODY, name="Export", exist_ok=True)
        return Response(rt.ticket(task_id="t0") + "\n", mimetype="text/plain")
    tickets = []
    for number in range(int(request.args["tasks"])):
        user = f"user-{number}"
        if not request.args.get("idle"):
            rt.create_task(f"t{number}", user, name="Export", total=1_000_000, unit="rows", exist_ok=True)
        else:
            user = f"idle-{number}"
            rt.create_task(f"i{number}", user, name="Export", exist_ok=True)
        tickets.append(rt.ticket(user) + "\n")
    return Response("".join(tickets), mimetype="text/plain")


def message(stamp: int, number: int) -> str:
    return f"t:{stamp} Processing chunk number {number % 1000} of the 1000 chunks of the input file, all is well"


def snapshots(groups: int, rate: float, seconds: float, finals: bool) -> int:
    """``rate`` updates a second in all, to the tasks in turn, then the end of each. Open loop."""
    update, ids = rt.update_task_progress, [f"t{number}" for number in range(groups)]
    sent, total, began = 0, int(rate * seconds), time.monotonic()
    while sent < total and time.monotonic() - began < seconds * 1.5 + 1:
        due = min(total, int(rate * (time.monotonic() - began)) + 1)
        while sent < due:
            stamp = int((began + sent / rate) * 1e9)
            update(ids[sent % groups], message(stamp, sent // groups), current=sent // groups)
            sent += 1
        time.sleep(0.002)
    end(ids, finals)
    return sent


def flat_out(groups: int, seconds: float, finals: bool) -> int:
    """Updates as fast as they can be called. A round over all tasks has one stamp, made before it, so that pictures
    look older than they are by up to a round.
    """
    update, ids = rt.update_task_progress, [f"t{number}" for number in range(groups)]
    sent, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        text = message(time.monotonic_ns(), sent // groups)
        for task_id in ids:
            update(task_id, text)
        sent += groups
    stats["seconds"] = time.monotonic() - began
    end(ids, finals)
    return sent


def end(ids: list[str], finals: bool) -> None:
    for task_id in ids if finals else ():
        rt.update_task_progress(task_id, message(time.monotonic_ns(), 999))
        rt.complete_task(task_id)


def output(rate: float, seconds: float, piece: int, first: int) -> int:
    """``rate`` pieces of output a second, each of ``piece`` bytes. Open loop."""
    append, tail = rt.append_output, LETTERS[35:piece]
    sent, total, began = 0, int(rate * seconds), time.monotonic()
    while sent < total and time.monotonic() - began < seconds * 1.5 + 1:
        due = min(total, int(rate * (time.monotonic() - began)) + 1)
        while sent < due:
            append("t0", f"#{first + sent:012d}@{int((began + sent / rate) * 1e9):020d} {tail}")
            sent += 1
        time.sleep(0.002)
    return sent


def publish(asked: dict[str, str]) -> None:
    groups, seconds, finals = int(asked["groups"]), float(asked["seconds"]), asked["finals"] == "1"
    rate, piece, began, cpu = float(asked["rate"]), int(asked["piece"]), time.monotonic(), time.thread_time()
    stats["seconds"] = 0.0
    if piece:
        sent = output(rate, seconds, piece, int(asked["first"]))
    elif rate:
        sent = snapshots(groups, rate, seconds, finals)
    else:
        sent = flat_out(groups, seconds, finals)
    stats.update(
        done=True, sent=sent, cpu=time.thread_time() - cpu, seconds=stats["seconds"] or time.monotonic() - began
    )  # fmt: skip


@app.get("/start")
def start() -> dict[str, Any]:
    """Publish, on a native thread. ``rate`` 0: as fast as it can be called."""
    stats.update(done=False, sent=0)
    threading.Thread(target=publish, args=(request.args.to_dict(),), daemon=True).start()
    return stats


@app.get("/stats")
def told() -> dict[str, Any]:
    """How far the publisher is; ``cpu`` is the CPU time of its thread, in seconds."""
    return stats


@app.get("/held")
def held() -> dict[str, Any]:
    """What the server holds for viewers: objects of the classes that a connection has, and rooms."""
    gc.collect()
    ours = ("realtime.transport.", "realtime.viewer", "realtime.outbox")
    objects = sum(type(found).__module__.startswith(ours) for found in gc.get_objects())
    return {"objects": objects, "rooms": len(rt.hub._rooms)}


def compute(task: Handle, seconds: float) -> int:
    over, steps = time.monotonic() + seconds, 0
    while time.monotonic() < over:
        steps += sum(number * number % 7 for number in range(1000))
    task.update(message="Computed")
    return steps


@app.get("/compute")
def computes() -> dict[str, Any]:
    """Start a job that does nothing but compute, in Python, for so many seconds."""
    task = rt.start(compute, float(request.args["seconds"]), user_id="busy", name="Computing")
    return {"task_id": task.task_id}
