"""A task is watched from its creation to its end under every kind of server, wherever its changes come from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from socketio.exceptions import ConnectionError as Rejected

from support import remote
from support.process import StartServer
from support.remote import Remote
from support.viewer import Viewer, watching
from support.wire import wire

#: How often a push may leave, so that a test which waits for each of them is quick.
QUICK = {"FLASK_REALTIME_FLUSH_INTERVAL": "0.005"}

#: gunicorn leaves the socket of a WebSocket that has ended to the garbage collector.
GUNICORN = {"PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning"}

TRANSPORTS = {"websocket": ("websocket",), "polling": ("polling",), "upgrade": ("polling", "websocket")}


def gunicorn(*arguments: str) -> list[str]:
    """gunicorn with the app on its own."""
    # Its control socket would be one for all that run on this machine.
    bind = ["--bind", "127.0.0.1:{port}", "--no-control-socket"]
    return ["python", "-m", "gunicorn", *bind, *arguments, "support.apps.plain:app"]


#: Command, and what the server says of itself: the mode, and by what the process is patched.
SERVERS: dict[str, tuple[list[str], str, str | None]] = {
    "realtime-serve": (remote.serve("plain:app"), "eventlet", None),
    "eventlet-run": (["python", "-m", "support.apps.eventlet_host", "run", "{port}"], "eventlet", "eventlet"),
    "eventlet-wsgi": (["python", "-m", "support.apps.eventlet_host", "wsgi", "{port}"], "eventlet", "eventlet"),
    "gevent-run": (["python", "-m", "support.apps.gevent_host", "{port}"], "gevent", "gevent"),
    "flask-run": (
        ["python", "-m", "flask", "--app", "support.apps.plain:app", "run", "--port", "{port}"], "threading", None,
    ),
    "gunicorn-gthread": (gunicorn("--threads", "20"), "threading", None),
    "gunicorn-gthread-preload": (gunicorn("--threads", "20", "--preload"), "threading", None),
    "gunicorn-gevent": (gunicorn("-k", "gevent"), "gevent", "gevent"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SERVERS)
def test_a_task_is_watched_to_its_end(kind: str, server_process: StartServer) -> None:
    """Each change of a view, a thread, a pool, a timer, a thread that nobody patched and a job arrives, on each
    transport; somebody else hears nothing of it."""
    command, mode, patched = SERVERS[kind]
    server = remote.start(server_process, command, {**QUICK, **(GUNICORN if "gunicorn" in kind else {})})
    stats = server.stats()
    assert (stats["mode"], stats["engine"], stats["patched"]) == (mode, mode, patched)
    # Our own server takes start-up's objects from the garbage collector; in a host's process that is the host's to do.
    assert (stats["frozen"] > 10_000) is (server.server.command[0].endswith("realtime"))
    with ExitStack() as stack:
        viewers = [stack.enter_context(watching(server.url, "ada", *how)) for how in TRANSPORTS.values()]
        others = [stack.enter_context(watching(server.url, "bob", *how)) for how in TRANSPORTS.values()]
        assert [viewer.client.transport() for viewer in viewers] == ["websocket", "polling", "websocket"]
        for where in ("view", "thread", "pool", "timer", "native"):
            live_one_life(server, viewers, where)
        watch_a_job(server, viewers)
        for viewer in others:
            assert [event for event, _ in viewer.events] == ["tasks_snapshot"]
    server.wait_for_stats(
        lambda stats: not any(stats[name] for name in ("viewers", "environs", "rooms", "members", "behind"))
    )


def live_one_life(server: Remote, viewers: list[Viewer], where: str) -> None:
    task_id = server.create("ada", where=where, name=where, total=2)
    for viewer in viewers:
        viewer.wait_for_task(task_id, name=where, percent=0.0)
    for step in (1, 2):
        server.call("update_task_progress", where=where, task_id=task_id, advance=1, message=f"step {step}")
        for viewer in viewers:
            viewer.wait_for_task(task_id, current=step, message=f"step {step}")
    server.call("complete_task", where=where, task_id=task_id, result={"where": where})
    for viewer in viewers:
        end = viewer.wait_for_task(task_id, status="completed")
        assert end["result"] == {"where": where}
        heard = viewer.heard_of(task_id)
        assert heard[0][0] in ("task_created", "task_progress")  # the second one for who was busy with something else
        assert heard[-1][0] == "task_completed"
        versions = [task["version"] for _, task in heard]
        assert versions == sorted(set(versions))


def watch_a_job(server: Remote, viewers: list[Viewer]) -> None:
    task_id = server.job("steps", "ada", count=5)
    for viewer in viewers:
        end = viewer.wait_for_task(task_id, status="completed", percent=100.0, current=5)
        assert end["result"]["message"] == "done"
    broken = server.job("break", "ada")
    for viewer in viewers:
        end = viewer.wait_for_task(broken, status="failed")
        assert end["error"]["code"] == "zero"


def test_gevent_works_without_gevent_websocket(server_process: StartServer) -> None:
    """Where gevent-websocket is not installed, WebSockets work all the same."""
    command = ["python", "-m", "support.apps.gevent_host", "{port}", "simple"]
    server = remote.start(server_process, command, QUICK)
    with watching(server.url, "ada") as viewer:
        live_one_life(server, [viewer], "thread")
    assert "Invalid HTTP" not in server.server.output()


def test_the_worker_that_gevent_websocket_brings_works(server_process: StartServer) -> None:
    """The worker class that comes with gevent-websocket gives its own WebSockets, and these work."""
    pytest.importorskip("geventwebsocket")
    worker = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
    server = remote.start(server_process, gunicorn("-k", worker), {**QUICK, **GUNICORN})
    with watching(server.url, "ada") as viewer:
        live_one_life(server, [viewer], "timer")


def test_a_preloaded_worker_serves_a_viewer_as_its_first_request(server_process: StartServer) -> None:
    """The app is loaded before the worker is forked; no page was asked for when the first viewer comes."""
    start = server_process(
        gunicorn("--preload", "--threads", "4", "-k", "gthread"),
        env=remote.environment(**QUICK, **GUNICORN),
        ready="/socket.io/",  # refused by Engine.IO, and never seen by Flask
    )
    server = Remote(start)
    with wire(server.url, "ada") as viewer:
        epoch = viewer.watch()["epoch"]
        task_id = server.create("ada")
        event, task = viewer.receive_event()
        assert (event, task["task_id"], task["epoch"]) == ("task_created", task_id, epoch)


def test_a_process_that_is_patched_too_late_says_so(server_process: StartServer) -> None:
    """gunicorn's gevent worker patches itself after --preload has loaded the app: nothing would move, so viewers are
    turned away, and the log says once what to do."""
    server = remote.start(server_process, gunicorn("--preload", "-k", "gevent"), noisy=True)
    for _ in range(2):
        with pytest.raises(Rejected):
            Viewer(server.url, "ada").connect()
    told = [line for line in server.server.output().splitlines() if "monkey-patched after" in line]
    assert len(told) == 1
    assert "Traceback" not in server.server.output()


def test_a_preloaded_app_that_patches_first_works_on_gevent(server_process: StartServer, tmp_path: Path) -> None:
    """What the message says helps."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("from gevent import monkey\nmonkey.patch_all()\n")
    command = gunicorn("--preload", "-k", "gevent", "-c", str(config))
    server = remote.start(server_process, command, {**QUICK, **GUNICORN})
    with watching(server.url, "ada") as viewer:
        live_one_life(server, [viewer], "view")


@pytest.mark.parametrize("how", ["run", "wsgi"])
def test_a_wait_over_http_may_come_before_the_first_viewer(how: str, server_process: StartServer) -> None:
    """Whoever comes first finds the way to the hub thread of a patched process."""
    server = remote.start(server_process, ["python", "-m", "support.apps.eventlet_host", how, "{port}"], QUICK)
    task_id = server.create("ada")
    task = server.call("get_task_status", task_id=task_id)
    path = f"/realtime/v1/tasks/{task_id}?user=ada&after={task['epoch']}.{task['version']}"
    with server.in_background("GET", path) as answers:
        server.wait_for_stats(lambda stats: stats["waiting"] == 1)
        server.call("update_task_progress", task_id=task_id, message="more", where="native")
    assert answers[0][0] == 200
    with watching(server.url, "ada") as viewer:
        server.call("update_task_progress", task_id=task_id, message="still more", where="native")
        viewer.wait_for_task(task_id, message="still more")


def test_several_workers_on_memory_are_one_loud_error(server_process: StartServer) -> None:
    """Each process would hold tasks of its own: viewers and requests are refused, and the log says why and what to do,
    once for each process."""
    server = remote.start(server_process, gunicorn("--workers", "2", "--threads", "4"), GUNICORN)
    refusals = [Viewer(server.url, "ada").connect_refused() for _ in range(8)]
    assert set(refusals) == {"multiprocess"}
    status, body = server.request("GET", "/realtime/v1/tasks?user=ada")
    assert (status, "multiprocess" in body) == (503, True)
    told = [line for line in server.server.output().splitlines() if "memory://" in line]
    assert 1 <= len(told) <= 2, server.server.output()
    assert len(set(told)) == 1
