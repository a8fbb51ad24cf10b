"""``realtime serve --workers N``: several processes, one port, one set of tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from socketio.exceptions import ConnectionError as Rejected

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Refused, Remote
from support.viewer import Viewer, watching


def start(server_process: StartServer, count: int = 2) -> Remote:
    """Return when all of them serve."""
    server = remote.start(server_process, remote.serve("plain:app", "--workers", str(count)))
    server.server.wait_for_output(f"runs at http://.*{count} processes")
    return server


def children_of(parent: int) -> dict[int, list[str]]:
    """Process ids and what they were started with."""
    found: dict[int, list[str]] = {}
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended just now
            found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return found


def workers_of(parent: int) -> list[int]:
    """The processes that serve, or are about to."""
    return [pid for pid, command in children_of(parent).items() if "serve" in command]


def test_viewers_of_any_worker_see_what_any_worker_does(server_process: StartServer) -> None:
    """Calls and viewers are dealt out by the kernel; nobody can tell. (Of twelve viewers all come to one worker once in
    two thousand times, and then this says no less than it does with one.)"""
    server = start(server_process)
    with ExitStack() as stack:
        viewers = [stack.enter_context(watching(server.url, "ada")) for _ in range(12)]
        tasks = [server.create("ada", total=10) for _ in range(12)]
        for task_id in tasks:
            server.call("update_task_progress", task_id=task_id, current=5)
            server.call("append_output", task_id=task_id, text="half way\n")
            server.call("complete_task", task_id=task_id)
        for viewer in viewers:
            for task_id in tasks:
                viewer.wait_for_task(task_id, status="completed", current=5)
                versions = [payload["version"] for _, payload in viewer.heard_of(task_id)]
                assert versions == sorted(set(versions))


def test_a_job_hears_of_a_cancel_on_another_worker(server_process: StartServer) -> None:
    """The job runs in one process and its user presses Cancel in each of them."""
    server = start(server_process)
    with ExitStack() as stack:
        viewers = [stack.enter_context(watching(server.url, "ada")) for _ in range(8)]
        for viewer in viewers:
            job = server.job("listen", "ada", gate="never")
            viewer.wait_for_task(job, status="processing")
            assert viewer.ask("cancel_task", task_id=job)["ok"]
            viewer.wait_for_task(job, status="cancelled")


def test_long_polling_is_refused_with_the_cure(server_process: StartServer) -> None:
    """Its requests would go to one process after the other, and fail one time in two."""
    server = start(server_process)
    for query in ("EIO=4&transport=polling", "EIO=4"):
        status, body = server.request("GET", f"/socket.io/?{query}")
        assert (status, json.loads(body)["code"]) == (400, 3)
        assert "sticky sessions" in json.loads(body)["message"]
        assert json.loads(body)["error"] == {"code": "multiprocess", "message": json.loads(body)["message"]}


@pytest.mark.parametrize("registry", ["memory://", "sqlite:///tasks.db"])
def test_tasks_of_one_process_are_refused_with_the_reason(registry: str, tmp_path: Path) -> None:
    """Each worker would have tasks of its own."""
    command = remote.realtime("serve", "support.apps.plain:app", "--workers", "2", "--port", "0")
    environ = {**os.environ, **remote.environment(FLASK_REALTIME_REGISTRY=registry)}
    answer = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 1
    assert f"{registry.partition(':')[0]}:// holds the tasks of one process only" in answer.stderr
    assert "set REALTIME_REGISTRY to redis://" in answer.stderr


@pytest.mark.parametrize("end", [os.kill, os.killpg], ids=["SIGTERM", "Ctrl-C"])
def test_nothing_stays_of_it(end: Callable[[int, int], None], server_process: StartServer) -> None:
    """Each worker says goodbye to its viewers, and their store and its folder go with the parent; also where a terminal
    sends all of them a signal, and the parent each worker a second one."""
    server = start(server_process)
    pids = workers_of(server.server.pid)
    [store] = set(children_of(server.server.pid)) - set(pids)
    folder = Path(f"/proc/{store}/cwd").readlink()
    assert folder.stat().st_mode & 0o777 == 0o700
    with watching(server.url, "ada") as viewer:
        end(server.server.pid, signal.SIGTERM if end is os.kill else signal.SIGINT)
        assert viewer.wait_for_event("server_state")["state"] == "stopping"
        viewer.wait_for_event("disconnect")
        assert server.server.wait() == 0
    assert not folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in [*pids, store])


def test_without_their_store_there_is_no_point_in_going_on(server_process: StartServer) -> None:
    """It held all tasks: the command ends and says why, so that whoever started it starts it again."""
    server = start(server_process)
    pids = workers_of(server.server.pid)
    [store] = set(children_of(server.server.pid)) - set(pids)
    os.kill(store, signal.SIGKILL)
    assert server.server.wait() == 1
    assert "The store of the workers (Valkey) ended with -9" in server.server.output()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


class Acknowledged:
    """Calls that the server has answered, made again where the connection was lost before the answer."""

    def __init__(self, server: Remote) -> None:
        self._server = server
        self.lost = 0

    def call(self, function: str, task_id: str, **arguments: Any) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self._server.call(function, task_id=task_id, **arguments)
                return
            except (OSError, ConnectionError):
                self.lost += 1
            except Refused as refused:
                if function != "create_task" or refused.code != "exists":
                    raise
                return
            assert time.monotonic() < until


class Timed(Viewer):
    """Takes the time from the end of a task until it was told here, on one connection or the next."""

    def __init__(self, url: str, user: str, ages: dict[str, float]) -> None:
        super().__init__(url, user)
        self._ages = ages

    def _note(self, event: str, payload: Any = None, *more: Any) -> None:
        now = time.time()
        for task in payload["tasks"] if event == "tasks_snapshot" else [payload] if event == "task_completed" else []:
            if task["completed_at"] is not None:
                self._ages.setdefault(task["task_id"], now - datetime.fromisoformat(task["completed_at"]).timestamp())
        super()._note(event, payload, *more)


class Returning:
    """A viewer that connects again whenever it is sent away, and keeps what it was told over all its connections."""

    def __init__(self, url: str) -> None:
        self._url = url
        #: Seconds until it knew of the end of each task.
        self.ages: dict[str, float] = {}
        self.past: list[Viewer] = []
        self.viewer = self._connect()

    def _connect(self) -> Viewer:
        until = time.monotonic() + PATIENCE
        while True:
            viewer = Timed(self._url, "ada", self.ages)
            try:
                return viewer.connect()
            except Rejected:  # by a worker that leaves: a page tries again, too
                viewer.close()
                assert time.monotonic() < until

    def look(self) -> None:
        """Connect again if the connection was lost."""
        if not self.viewer.client.connected:
            self.past.append(self.viewer)
            self.viewer.close()
            self.viewer = self._connect()

    def heard_of(self, task_id: str) -> list[list[Any]]:
        """The snapshots of a task that came, for each connection."""
        return [[payload for _, payload in viewer.heard_of(task_id)] for viewer in (*self.past, self.viewer)]

    def close(self) -> None:
        self.viewer.close()


def test_a_rolling_restart_loses_nothing(
    server_process: StartServer, record_property: Callable[[str, object], None]
) -> None:
    """All three processes are replaced while tasks are made, moved and ended: what was acknowledged is what every
    viewer sees in the end, and on no connection did a task ever go back. (How old ends were when they were seen is
    told, and decides nothing.)"""
    server = start(server_process, 3)
    first = workers_of(server.server.pid)
    calls = Acknowledged(server)
    with ExitStack() as stack:
        viewers = [Returning(server.url) for _ in range(6)]
        for viewer in viewers:
            stack.callback(viewer.close)
        ended: dict[str, int] = {}
        server.server.send_signal(signal.SIGHUP)
        number = 0
        until = time.monotonic() + 3 * PATIENCE
        while replaced(server.server.pid, first) < 3 or number < 20:
            assert time.monotonic() < until, f"{workers_of(server.server.pid)} of {first}"
            task_id = f"t{number}"
            calls.call("create_task", task_id, user_id="ada", total=3)
            for step in range(3):
                calls.call("update_task_progress", task_id, current=step)
            calls.call("complete_task", task_id, result={"number": number})
            ended[task_id] = number
            number += 1
            for viewer in viewers:
                viewer.look()
        #: One version is one text, whichever server tells it.
        texts: dict[tuple[str, int], Any] = {}
        for viewer in viewers:
            settle(viewer, list(ended))
            for task_id, number in ended.items():
                assert viewer.viewer.tasks.get(task_id, {"result": {"number": number}})["result"] == {"number": number}
                for heard in viewer.heard_of(task_id):
                    versions = [payload["version"] for payload in heard]
                    assert versions == sorted(versions), task_id
                    for payload in heard:
                        assert texts.setdefault((task_id, payload["version"]), payload) == payload
        for task_id, number in ended.items():
            task = server.call("get_task_status", task_id=task_id)
            assert (task["status"], task["result"]) == ("completed", {"number": number})
        ages = sorted(age for viewer in viewers for age in viewer.ages.values())
    assert server.server.returncode is None
    told = {
        "ends_seen": len(ages), "age_p50_ms": round(ages[len(ages) // 2] * 1e3, 1),
        "age_p99_ms": round(ages[len(ages) * 99 // 100] * 1e3, 1), "age_max_ms": round(ages[-1] * 1e3, 1),
        "calls_made_again": calls.lost,
    }  # fmt: skip
    for name, value in told.items():
        record_property(name, value)
    print(told)


def replaced(parent: int, first: list[int]) -> int:
    """How many serve that are not of the first ones, once none of those is left."""
    now = workers_of(parent)
    return 0 if set(now) & set(first) else len(now)


def settle(viewer: Returning, tasks: list[str]) -> None:
    """Wait until the viewer has seen the end of the last task, on whatever connection."""

    def seen() -> bool:
        viewer.look()
        return bool(viewer.viewer.tasks.get(tasks[-1], {}).get("status") == "completed")

    remote.wait_until(seen, bool)
