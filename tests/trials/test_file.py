"""Servers with their tasks in a file: who may have it, what their ends leave in it, and who waits for the disk.

That what was acknowledged outlives a kill is tried in ``test_history``.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from support import remote
from support.process import StartServer
from support.remote import Refused
from support.wire import EVENT, wire


def test_a_second_server_is_refused(server_process: StartServer, tmp_path: Path) -> None:
    """It says which file, and whose it is, and does not begin to serve; the first one goes on."""
    also = {"FLASK_REALTIME_REGISTRY": f"sqlite:///{tmp_path / 'tasks.db'}"}
    first = remote.start(server_process, remote.serve("plain:app"), also)
    task_id = first.create("ada")
    second = server_process(remote.serve("plain:app"), env=remote.environment(**also), ready=None)
    assert second.wait() == 1
    assert f"tasks.db belongs to another server (process {first.server.pid})" in second.output()
    with pytest.raises(Refused, match="exists"):
        first.call("create_task", task_id=task_id, user_id="ada")


def test_a_server_that_stops_has_said_the_end_of_its_jobs(server_process: StartServer, tmp_path: Path) -> None:
    """They fail with ``server_stopped``, in the file and on the screens, and with all progress and output."""
    also = {"FLASK_REALTIME_REGISTRY": f"sqlite:///{tmp_path / 'tasks.db'}"}
    first = remote.start(server_process, remote.serve("plain:app"), also)
    job = first.job("listen", "ada", gate="never")
    mine = first.create("ada")
    first.call("update_task_progress", task_id=mine, message="On", current=7)
    with wire(first.url, "ada") as viewer:
        viewer.watch()
        first.server.stop()
        viewer.receive_until_closed()
    told = [json.loads(frame.removeprefix(EVENT)) for frame in viewer.frames if str(frame).startswith(EVENT)]  # type: ignore[arg-type]
    shown = next(task for event, task in told if event == "task_failed" and task["task_id"] == job)
    second = remote.start(server_process, remote.serve("plain:app"), also)
    ended = second.call("get_task_status", task_id=job)
    assert ended == shown
    assert ended["error"]["code"] == "server_stopped"
    lost = second.call("get_task_status", task_id=mine)
    assert (lost["error"]["code"], lost["progress"]["message"], lost["progress"]["current"]) == ("worker_lost", "On", 7)


def test_who_waits_for_the_disk_holds_up_nobody(server_process: StartServer, tmp_path: Path) -> None:
    """While another program holds the file, one viewer's request waits for it, and another's is answered."""
    file = tmp_path / "tasks.db"
    server = remote.start(server_process, remote.serve("plain:app"), {"FLASK_REALTIME_REGISTRY": f"sqlite:///{file}"})
    other = sqlite3.connect(file, isolation_level=None)
    with wire(server.url, "ada") as waiting, wire(server.url, "grace") as going:
        waiting.watch()
        going.watch()
        for _ in range(3):  # on a machine so slow that the wait is given up before the other answer, once more
            task_id = server.create("ada")
            server.call("complete_task", task_id=task_id)
            other.execute("BEGIN IMMEDIATE")
            waiting.send(f'42/tasks,9["remove_task",{{"task_id":"{task_id}"}}]')
            assert going.ask("list_tasks", {"limit": 5})["ok"]
            other.execute("ROLLBACK")
            while not str(answer := waiting.receive()).startswith("43/tasks,9["):
                pass
            if '"ok":true' in str(answer):
                break
        else:
            pytest.fail(f"the other was held up: {answer!r}")
    other.close()


def test_what_a_viewer_is_told_is_done_is_on_disk(server_process: StartServer, tmp_path: Path) -> None:
    """While the file cannot be written, a viewer's request is refused, and not answered ahead of it."""
    file = tmp_path / "tasks.db"
    server = remote.start(server_process, remote.serve("plain:app"), {"FLASK_REALTIME_REGISTRY": f"sqlite:///{file}"})
    waits, done = (server.create("ada", status=status) for status in ("pending", "processing"))
    server.call("complete_task", task_id=done)
    other = sqlite3.connect(file, isolation_level=None)
    with wire(server.url, "ada") as viewer:
        viewer.watch()
        other.execute("BEGIN IMMEDIATE")
        for command, task_id in (("remove_task", done), ("cancel_task", waits)):
            answer = viewer.ask(command, {"task_id": task_id})
            assert (answer["ok"], answer["error"]["code"]) == (False, "unavailable")
        with pytest.raises(Refused) as refused:
            server.create("ada")
        assert refused.value.code == "unavailable"
        assert server.call("update_task_progress", task_id=waits, percent=40)["progress"]["percent"] == 40
        other.execute("ROLLBACK")
        assert viewer.ask("remove_task", {"task_id": done})["ok"]
    other.close()


@pytest.mark.parametrize("host", ["eventlet", "gevent", "gthread"])
def test_other_servers_keep_tasks_in_a_file(host: str, server_process: StartServer, tmp_path: Path) -> None:
    """Also where the process is monkey-patched, and from every kind of thread: created, seen, ended, and there again
    after a kill."""
    command = ["python", "-m", f"support.apps.{host}_host", *(["run"] if host == "eventlet" else []), "{port}"]
    if host == "gthread":
        command = ["python", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--no-control-socket", "--threads", "40",
                   "support.apps.plain:app"]  # fmt: skip
    also = {
        "FLASK_REALTIME_REGISTRY": f"sqlite:///{tmp_path / 'tasks.db'}",
        "PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning",
    }
    server = remote.start(server_process, command, also)
    ends = {}
    with wire(server.url, "ada") as viewer:
        viewer.watch()
        for where in ("view", "thread", "pool", "native"):
            task_id = server.call("create_task", where=where, user_id="ada")["task_id"]
            server.call("update_task_progress", where=where, task_id=task_id, percent=40)
            ends[task_id] = server.call("complete_task", where=where, task_id=task_id, result=where)
            assert viewer.receive_event("task_completed")[1] == ends[task_id]
    waits = server.create("ada")
    epoch = server.stats()["epoch"]
    server.server.kill()
    server = remote.start(server_process, remote.serve("plain:app"), also)
    assert server.stats()["epoch"] == epoch
    for task_id, end in ends.items():
        assert server.call("get_task_status", task_id=task_id) == end
    assert server.call("get_task_status", task_id=waits)["error"]["code"] == "worker_lost"
