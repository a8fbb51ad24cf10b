"""A server with its tasks in a file is killed again and again, in the middle of whatever it does: what was acknowledged
is there when the next one comes, and viewers who return end with the truth."""

from __future__ import annotations

import http.client
import json
import random
import signal
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from support import remote
from support.history import ENDS, History
from support.process import StartServer
from support.remote import PATIENCE, Refused, Remote
from support.store import Store
from support.wire import EVENT, Closed, Wire, wire

USERS = ("ada", "grace")
WRITERS = 3
KILLS = 10
#: What may become of a call whose server is killed.
CUT_OFF = (OSError, http.client.HTTPException)


class Trial:
    """Servers one after the other on one file, writers and viewers who outlive them, and what they were told."""

    def __init__(self, start_server: StartServer, file: Path, seed: int) -> None:
        self._start_server = start_server
        self._environment = remote.environment(
            FLASK_REALTIME_REGISTRY=f"sqlite:///{file}", FLASK_REALTIME_FLUSH_INTERVAL="0.005"
        )
        self._choose = random.Random(seed)
        self.history = History()
        #: Task id → user, and the snapshots that were acknowledged, by id.
        self.owners: dict[str, str] = {}
        self.acknowledged: dict[str, list[dict[str, Any]]] = {}
        self._counted = threading.Condition()
        self._count = 0
        #: Of a task whose last call was cut off: how it may have ended all the same.
        self.perhaps: dict[str, str] = {}
        self.up, self.over = threading.Event(), threading.Event()
        self.truth: dict[str, dict[str, Any]] = {}
        self._failures: list[BaseException] = []
        self.server = self._serve(None)
        self.epoch = self.server.stats()["epoch"]

    def _serve(self, port: int | None) -> Remote:
        server = Remote(self._start_server(remote.serve("plain:app"), env=self._environment, port=port))
        self.up.set()
        return server

    def run(self) -> None:
        viewers = [self._start(self._view, user) for user in USERS]
        for number in range(KILLS):
            writers = [self._start(self._write, number, writer) for writer in range(WRITERS)]
            with self._counted:
                least = self._count + self._choose.randrange(5, 120)
                assert self._counted.wait_for(lambda least=least: self._count >= least, PATIENCE)  # type: ignore[misc]
            self.up.clear()
            self.server.server.send_signal(signal.SIGKILL)
            self.server.server.wait()
            for writer in writers:
                writer.join(PATIENCE)
                assert not writer.is_alive()
            self.server = self._serve(self.server.server.port)
            self._look()
        for user in USERS:
            self._acknowledge(self.server.call("create_task", task_id=f"last-{user}", user_id=user), user)
        self._look(running=True)
        self.over.set()
        for user in USERS:  # who has all already, and waits for more, looks again
            self.server.create(user)
        for viewer in viewers:
            viewer.join(PATIENCE)
            assert not viewer.is_alive()
        if self._failures:
            raise self._failures[0]
        self.history.check({})

    def _start(self, function: Any, *arguments: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                function(*arguments)
            except BaseException as failure:
                self._failures.append(failure)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def _acknowledge(self, task: dict[str, Any], user: str) -> None:
        with self._counted:
            self.owners[task["task_id"]] = user
            self.acknowledged.setdefault(task["task_id"], []).append(task)
            self._count += 1
            self._counted.notify_all()
        self.history.acknowledged(task)

    # Writers: until they are cut off.

    def _write(self, round: int, number: int) -> None:
        choose = random.Random(f"{round} {number}")
        server = self.server
        mine: list[tuple[str, str]] = []
        arguments: dict[str, Any]
        for step in range(10_000):
            user = choose.choice(USERS)
            if len(mine) < 2 and step < 40:
                call, wanted = "create_task", ""
                arguments = {"task_id": f"{round}-{number}-{step}", "user_id": user}
            else:
                task_id, user = choose.choice(mine)
                kind = choose.random()
                if kind < 0.1 and step < 40:
                    call, wanted, arguments = "complete_task", "completed", {"task_id": task_id, "result": step}
                    mine.remove((task_id, user))
                elif kind < 0.2 and step < 40:
                    call, wanted, arguments = "fail_task", "failed", {"task_id": task_id, "error": f"step {step}"}
                    mine.remove((task_id, user))
                else:
                    call, wanted, arguments = "update_task_progress", "", {"task_id": task_id, "advance": 1}
            try:
                task = server.call(call, **arguments)
            except CUT_OFF:
                if wanted:
                    self.perhaps[arguments["task_id"]] = wanted
                return
            self._acknowledge(task, user)
            if call == "create_task":
                mine.append((task["task_id"], user))

    # What the new server knows.

    def _look(self, running: bool = False) -> None:
        assert self.server.stats()["epoch"] == self.epoch
        for task_id, told in self.acknowledged.items():
            task = self.server.call("get_task_status", task_id=task_id)
            assert task is not None, f"{task_id} was acknowledged and is gone"
            newest = max(told, key=lambda one: int(one["version"]))
            before = self.truth.get(task_id, newest)
            if before["status"] in ENDS:
                assert task == before, f"{task_id} had ended"
            elif not (running and task_id.startswith("last")):
                # Nobody works on it any more; or its end was stored, and the answer was cut off.
                assert task["version"] > newest["version"]
                ended = (task["status"], (task["error"] or {}).get("code"))
                assert ended in (("failed", "worker_lost"), (self.perhaps.get(task_id), None), ("failed", "failed"))
                assert ended != ("failed", "failed") or self.perhaps.get(task_id) == "failed"
            self.truth[task_id] = task

    # Viewers.

    def _view(self, user: str) -> None:
        store, events = Store(), []
        while True:
            assert self.up.wait(PATIENCE)
            try:
                connection = Wire(self.server.url, user)
            except (Closed, *CUT_OFF):
                continue
            try:
                events.append(("tasks_snapshot", connection.watch(store.auth())))
                store.apply(*events[-1])
                assert store.epoch == self.epoch
                while not (self.over.is_set() and self._knows_all(store, user)):
                    events.append(connection.receive_event())
                    store.apply(*events[-1])
                break
            except TimeoutError:
                raise
            except (Closed, *CUT_OFF):
                pass
            finally:
                connection.close()
        self.history.saw(user, events)

    def _knows_all(self, store: Store, user: str) -> bool:
        return all(
            store.tasks.get(task_id) == task for task_id, task in self.truth.items() if self.owners[task_id] == user
        )


@pytest.mark.parametrize("seed", [1])
def test_what_was_acknowledged_outlives_the_server(seed: int, server_process: StartServer, tmp_path: Path) -> None:
    """Each creation and each end that was answered is there after ``kill -9``, in one epoch; versions grow, ends stay,
    what nobody works on any more has failed, and each viewer ends with what is so."""
    Trial(server_process, tmp_path / "tasks.db", seed).run()


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
