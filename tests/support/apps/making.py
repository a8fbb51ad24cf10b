"""An app with tasks, and with pages by which a test drives it and looks into it.

``POST /call/<function>?where=…`` calls a lifecycle function with the JSON arguments of its body, from a view, a
thread, a pool, a timer or a thread that no patch has made green. *Gates* hold code where the test wants it: what
waits at one goes on when the test opens it, so that no test needs to guess how long something takes.
"""

from __future__ import annotations

import collections
import gc
import hashlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import flask_socketio

import realtime.concurrency
import realtime.transport.socketio
from realtime import Handle, Identity, Realtime, RealtimeError, Removed, Task, TaskError
from support import tracing

tracing.spare_native_threads()

#: Signs tickets in all test apps, so that a test can make one that has expired.
SECRET_KEY = "only for tests: " + "k" * 32

#: The classes of which a connection has objects, whatever its transport.
OF_A_CONNECTION = (
    "PushSocket",
    "PolledSession",
    "Outbox",
    "Dialogue",
    "Viewer",
    "Socket",
    "GreenSocket",
    "GreenThread",
)

#: Seconds after which a wait for a test that does not come is given up.
LONG = 240.0


class Gate:
    """A place where code waits for the test, as slow code does: its thread (or green thread) is held up.

    It looks for the opening again and again, since that is right on every kind of thread, patched or not.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.waiting = 0

    def open(self) -> None:
        self.is_open = True

    def pass_through(self) -> None:
        """Wait until the test opens the gate."""
        until = time.monotonic() + LONG
        self.waiting += 1
        try:
            while not self.is_open:
                assert time.monotonic() < until, "the test has not opened the gate"
                time.sleep(0.002)
        finally:
            self.waiting -= 1


class Gates(dict[str, Gate]):
    """Each is made when it is first named."""

    def __missing__(self, name: str) -> Gate:
        return self.setdefault(name, Gate())


gates = Gates()
_pool = ThreadPoolExecutor(2)


def make(socketio: flask_socketio.SocketIO | None = None, **config: Any) -> flask.Flask:
    """A Flask app with a `Realtime`. Settings come from ``FLASK_REALTIME_…`` in the environment, too; from
    ``CONNECT_TIMEOUT`` the seconds after which a connection on which nobody watches is closed, from ``PING_SECONDS``
    those between two pings, and which an answer may take, from ``REQUEST_TIMEOUT`` those that a request may take, from
    ``ANSWER_TIME`` those that a view has for its answer once the server is to stop.
    """
    if "CONNECT_TIMEOUT" in os.environ:
        realtime.transport.socketio.CONNECT_TIMEOUT = float(os.environ["CONNECT_TIMEOUT"])
    for name in ("REQUEST_TIMEOUT", "ANSWER_TIME"):
        if name in os.environ:
            setattr(importlib.import_module("realtime.serving"), name, float(os.environ[name]))
    app = flask.Flask("watched")
    app.config.update({"SECRET_KEY": SECRET_KEY, **config})
    if socketio is not None:
        socketio.init_app(app)
    rt = Realtime(app)
    if "PING_SECONDS" in os.environ:
        eio = rt.socketio.server.eio
        eio.ping_interval = eio.ping_timeout = float(os.environ["PING_SECONDS"])
    rt.identify(identify)
    app.register_blueprint(_pages(rt))
    return app


def identify(request: flask.Request) -> Identity | None:
    """``?user=ada&groups=team:7`` is who asks; ``?gate=…`` makes it take as long as the test wants."""
    if "gate" in request.args:
        gates[request.args["gate"]].pass_through()
    if request.args.get("user") == "broken":
        raise LookupError("the user database is away")
    user = request.args.get("user") or request.headers.get("X-User")
    return Identity(user, [group for group in request.args.get("groups", "").split(",") if group]) if user else None


def run_in(where: str, function: Callable[[], Any]) -> Any:
    """Run a function in a place and return what it returns, or raise what it raises."""
    if where == "view":
        return function()
    if where == "pool":
        return _pool.submit(function).result(LONG)
    box: list[Any] = []
    done = Gate()

    def work() -> None:
        try:
            box.append((function(), None))
        except Exception as error:
            box.append((None, error))
        done.open()

    if where == "thread":
        threading.Thread(target=work, daemon=True).start()
    elif where == "timer":
        timer = threading.Timer(0.001, work)
        timer.daemon = True
        timer.start()
    elif where == "native":
        realtime.concurrency._original("_thread").start_new_thread(work, ())
    else:
        raise LookupError(where)
    done.pass_through()
    value, error = box[0]
    if error is not None:
        raise error
    return value


def _json(value: Any) -> Any:
    if isinstance(value, Task):
        return value.as_dict()
    if isinstance(value, Removed):
        return {"task_id": value.task_id, "epoch": value.epoch, "version": value.version}
    return [_json(item) for item in value] if isinstance(value, list) else value


def _pages(rt: Realtime) -> flask.Blueprint:
    pages = flask.Blueprint("pages", __name__)

    @pages.get("/")
    def page() -> str:
        return flask.render_template_string(
            "<!doctype html><title>Watched</title><link rel='icon' href='data:,'>{{ realtime_head() }}"
        )

    @pages.post("/call/<function>")
    def call(function: str) -> Any:
        arguments = flask.request.get_json() or {}
        try:
            made = run_in(flask.request.args.get("where", "view"), lambda: getattr(rt, function)(**arguments))
        except RealtimeError as error:
            return {"error": {"code": error.code, "message": str(error)}}, error.http_status
        return flask.jsonify(_json(made))

    @pages.post("/call/get_tasks")
    def get_tasks() -> Any:
        found = [rt.get_task_status(task_id) for task_id in flask.request.get_json()["task_ids"]]
        return flask.jsonify({task.task_id: task.as_dict() for task in found if task is not None})

    @pages.post("/job/<kind>")
    def job(kind: str) -> Any:
        arguments = flask.request.get_json() or {}
        return flask.jsonify(rt.start(JOBS[kind], **arguments).as_dict())

    @pages.post("/block/<task_id>")
    def block(task_id: str) -> Any:
        """Enter a ``with`` block that is not left: its thread works on, whatever becomes of the request."""
        rt.task(task_id).__enter__()
        return flask.jsonify(None)

    @pages.get("/gate/<name>")
    def gate(name: str) -> Any:
        return flask.jsonify(waiting=gates[name].waiting)

    @pages.post("/gate/<name>")
    def open_gate(name: str) -> Any:
        gates[name].open()
        return flask.jsonify(waiting=gates[name].waiting)

    @pages.get("/slow/<name>")
    def slow(name: str) -> str:
        gates[name].pass_through()
        return "slow"

    @pages.get("/stream/<name>")
    def stream(name: str) -> flask.Response:
        def body() -> Iterator[str]:
            yield "first\n"
            gates[name].pass_through()
            yield "second\n"

        return flask.Response(body(), mimetype="text/plain")

    @pages.get("/large/<int:size>")
    def large(size: int) -> flask.Response:
        return flask.Response(iter([b"x" * 65536] * (size // 65536)), mimetype="application/octet-stream")

    @pages.post("/upload")
    def upload() -> Any:
        digest, size = hashlib.sha256(), 0
        while piece := flask.request.stream.read(100_000):
            digest.update(piece)
            size += len(piece)
        return flask.jsonify(size=size, sha256=digest.hexdigest())

    @pages.get("/nothing")
    def nothing() -> Any:
        return "", 204

    @pages.post("/flood/<task_id>")
    def flood(task_id: str) -> Any:
        times = int(flask.request.args["times"])

        def updates() -> None:
            update = rt.update_task_progress
            for number in range(times):
                update(task_id, current=number + 1)

        began, flushes = time.monotonic(), rt.hub.flushes
        run_in("thread", updates)
        return flask.jsonify(flushes=rt.hub.flushes - flushes, seconds=time.monotonic() - began)

    @pages.post("/fill")
    def fill() -> Any:
        for number in range(int(flask.request.args["tasks"])):
            rt.create_task(user_id=f"somebody-{number % 997}")
        return "", 204

    @pages.get("/ticket")
    def ticket() -> str:
        return rt.ticket(flask.request.args.get("for"), task_id=flask.request.args.get("task"))

    @pages.post("/emit")
    def emit() -> Any:
        wanted = flask.request.get_json()
        data = b"\x00\xff" * wanted.pop("binary") if "binary" in wanted else wanted.pop("data", None)
        run_in(flask.request.args.get("where", "view"), lambda: rt.socketio.emit(wanted.pop("event"), data, **wanted))
        return "", 204

    @pages.post("/logout/<user>")
    def logout(user: str) -> Any:
        return flask.jsonify(rt.disconnect(user))

    told: list[tuple[str, bool, str]] = []

    @pages.post("/listen")
    def listen() -> Any:
        rt.on_watch(lambda task, watched: told.append((task.task_id, watched, flask.current_app.name)))
        return "", 204

    @pages.get("/told/<task_id>")
    def told_of(task_id: str) -> Any:
        return flask.jsonify(watched=rt.task(task_id).watched, told=[turn[1:] for turn in told if turn[0] == task_id])

    @pages.get("/stats")
    def stats() -> Any:
        return flask.jsonify(look_into(rt))

    @pages.get("/objects")
    def objects() -> Any:
        gc.collect()
        names = collections.Counter(type(found).__name__ for found in gc.get_objects())
        return flask.jsonify({name: names[name] for name in OF_A_CONNECTION})

    return pages


def look_into(rt: Realtime) -> dict[str, Any]:
    """What a server holds."""
    hub, server = rt.hub, rt.socketio.server
    return {
        "pid": os.getpid(),
        "frozen": gc.get_freeze_count(),
        "epoch": rt.registry.epoch,
        "mode": rt.concurrency.mode,
        "engine": server.eio.async_mode,
        "patched": realtime.concurrency.patched_mode(),
        "viewers": len(hub.viewers),
        "rooms": sorted(hub._rooms),
        "behind": len(hub._behind),
        "waiting": sum(map(len, hub.waiting.events.values())),
        "flushes": hub.flushes,
        "encodes": hub.encodes,
        "pushes": hub.pushes,
        "sockets": len(server.eio.sockets),
        "environs": len(server.environ),
        "members": {
            space: {str(room): len(members) for room, members in rooms.items()}
            for space, rooms in list(server.manager.rooms.items())
        },
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  # no object for each
        "memory": _memory(),
    }


def _memory() -> int:
    """Bytes in use by this process."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # as cheap as can be
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Jobs.


def steps(task: Handle, count: int = 3) -> dict[str, Any]:
    """Do ``count`` steps, and say where they were done."""
    for number in task.track(range(count)):
        task.message(f"step {number}")
    return {"message": "done", "thread": threading.current_thread().name}


def hold(task: Handle, gate: str) -> None:
    """Wait for the test, without a look at whether the task was asked to stop."""
    task.message("waiting")
    gates[gate].pass_through()


def compute(task: Handle, gate: str) -> int:
    """Compute until the test has seen enough; never wait, never let go of the processor by itself."""
    task.message("computing")
    rounds = 0
    while not gates[gate].is_open:
        rounds += sum(number * number for number in range(1000)) and 1
    return rounds


def listen(task: Handle, gate: str) -> None:
    """Go on until somebody asks the task to stop."""
    while not gates[gate].is_open:
        task.advance()
        time.sleep(0.01)


def write(task: Handle, lines: int) -> None:
    """Print lines."""
    for number in range(lines):
        print(f"line {number} é", file=task.stdout)


def break_down(task: Handle) -> None:
    """Fail with a message for the page."""
    raise TaskError("nothing left to divide", code="zero")


JOBS: dict[str, Callable[..., Any]] = {
    "steps": steps, "hold": hold, "compute": compute, "listen": listen, "break": break_down, "write": write,
}  # fmt: skip
