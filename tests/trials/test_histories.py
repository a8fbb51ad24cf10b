"""Threads change many tasks while viewers watch, are cut off and return: what each of them ends with is what was
acknowledged. Each trial has a seed; what it does between the seeds' choices is up to the machine."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support import remote
from support.history import History
from support.process import StartServer
from support.remote import PATIENCE, Refused, Remote
from support.store import Store
from support.wire import Closed, Wire

USERS = ("ada", "grace")
WRITERS = 4
#: Tasks that each writer makes, and changes that it makes to them.
TASKS, CHANGES = 6, 120

COMMANDS = {
    "serve": remote.serve("plain:app"),
    "gthread": [
        "python", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--no-control-socket", "--threads", "40",
        "support.apps.plain:app",
    ],
    "gevent": ["python", "-m", "support.apps.gevent_host", "{port}"],
}  # fmt: skip
QUIET = {"PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning", "FLASK_REALTIME_FLUSH_INTERVAL": "0.005"}


class Trial:
    """One run: writers, viewers, and what they have noted."""

    def __init__(self, server: Remote, seed: int) -> None:
        self.server = server
        self.seed = seed
        self.history = History()
        self.owners: dict[str, str] = {}
        #: The writers are done; and so is all that is ever changed.
        self.written, self.settled = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def run(self) -> None:
        writers = [self._start(self._write, number) for number in range(WRITERS)]
        viewers = [self._start(self._view, number, USERS[number % 2]) for number in range(3)]
        for writer in writers:
            writer.join()
        self.written.set()
        for user in USERS:  # and a last word, for viewers that wait for one
            task_id = f"{self.seed}-last-{user}"
            self.owners[task_id] = user
            self._change("create_task", task_id=task_id, user_id=user)
        self.settled.set()
        for viewer in viewers:
            viewer.join()
        if self._failures:
            raise self._failures[0]
        self.history.check({})

    def _start(self, function: Callable[..., None], *arguments: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                function(*arguments)
            except BaseException as failure:
                self._failures.append(failure)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def finals(self, user: str) -> dict[str, Any]:
        """The last acknowledged state of each task of a user."""
        with self._lock:
            mine = [task_id for task_id, owner in self.owners.items() if owner == user]
        return {task_id: self.history.final(task_id) for task_id in mine}

    def _write(self, number: int) -> None:
        choose = random.Random(f"{self.seed} writer {number}")
        mine: list[str] = []
        for step in range(CHANGES):
            if len(mine) < TASKS:
                task_id = f"{self.seed}-{number}-{step}"
                user = choose.choice(USERS)
                with self._lock:
                    self.owners[task_id] = user
                self._change("create_task", task_id=task_id, user_id=user, total=CHANGES)
                mine.append(task_id)
                continue
            task_id = choose.choice(mine)
            end = choose.random()
            if end > 0.1:
                self._change("update_task_progress", task_id=task_id, message=f"step {step}", advance=1)
                continue
            mine.remove(task_id)
            if end > 0.05:
                self._change("complete_task", task_id=task_id, result={"step": step})
            else:
                self._change("fail_task", task_id=task_id, error=f"step {step}")
            with pytest.raises(Refused) as refused:  # nothing follows an end
                self.server.call("update_task_progress", task_id=task_id, message="too late")
            assert refused.value.code == "already_finished"

    def _change(self, function: str, **arguments: Any) -> None:
        self.history.acknowledged(self.server.call(function, where="thread", **arguments))

    def _view(self, number: int, user: str) -> None:
        choose = random.Random(f"{self.seed} viewer {number}")
        store = Store()
        for last in (False, True):  # the last time returns to what has come to rest
            while not self._watch_for_a_while(number, user, store, 10_000 if last else choose.randrange(80), choose):
                pass

    def _watch_for_a_while(self, number: int, user: str, store: Store, most: int, choose: random.Random) -> bool:
        """Connect, be told of ``most`` things, and be cut off. Returns whether it stayed until all was known."""
        connection = Wire(self.server.url, user)
        events = [("tasks_snapshot", connection.watch(store.auth()))]
        store.apply(*events[0])
        try:
            while not self.written.is_set():
                if len(events) > most:
                    return False
                events.append(connection.receive_event())
                store.apply(*events[-1])
                if choose.random() < 0.05:
                    ids = json.dumps(list(store.tasks)[:5])
                    connection.send(f'42/tasks,1["subscribe",{{"task_ids":{ids}}}]')  # its answer is passed over
            assert self.settled.wait(PATIENCE)
            while store.tasks != self.finals(user):  # a push that never comes is a TimeoutError
                events.append(connection.receive_event())
                store.apply(*events[-1])
            return True
        except Closed as closed:
            raise AssertionError(f"viewer {number} was cut off: {closed}") from None
        finally:
            connection.close()
            self.history.saw(f"{number} {user}", events)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", COMMANDS)
def test_viewers_end_with_what_was_acknowledged(kind: str, seed: int, server_process: StartServer) -> None:
    """Versions only grow, ends stay, nothing of another's is seen, and each returns to the truth."""
    Trial(remote.start(server_process, COMMANDS[kind], QUIET), seed).run()
