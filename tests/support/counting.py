"""Workers in processes of their own that count, and write down of each step that they are about to take it, and that it
was confirmed: what a history needs to know of them when they are killed or stopped in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from . import remote
from .history import History
from .remote import PATIENCE

#: How far it counts in each task.
STEPS = 20
#: Counts from one to `STEPS` in one task after the other, each held by a lease, until its standard input ends. What it
#: does goes to its standard output, a file.
_PROGRAM = """
import itertools, json, select, sys
from realtime.client import Client
from realtime.errors import TaskAlreadyFinished

def say(step, task_id, what=None):
    print(json.dumps([step, task_id, what]), flush=True)

def refusal(function, *arguments):
    try:
        function(*arguments)
    except TaskAlreadyFinished as late:
        return late.status

url, key, name, lease, steps = sys.argv[1:]
client = Client(url, key or None, lease=float(lease), timeout=30)
for number in itertools.count():
    task_id = f"{name}-{number}"
    say("creates", task_id)
    say("created", task_id, client.create_task(task_id, "ada").as_dict())
    try:
        with client.task(task_id):
            say("holds", task_id)
            for count in range(1, int(steps) + 1):
                say("asks", task_id, count)
                client.update_task_progress(task_id, advance=1)
                assert client.flush(30)  # which an update that was refused has passed, too
                if not client.get_task_status(task_id).finished:
                    say("counted", task_id, count)
            say("ends", task_id)
            say("ended", task_id, client.complete_task(task_id).as_dict())
    except TaskAlreadyFinished:
        tried = refusal(client.complete_task, task_id, "late"), refusal(client.heartbeat_task, task_id, 5)
        say("refused", task_id, tried)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
client.close()
"""


class CountingWorker:
    """Its tasks are called after it, and ada's. What it has written is in the history after `catch_up`."""

    def __init__(
        self, history: History, folder: Path, name: str, url: str, key: str, lease: float
    ) -> None:  # fmt: skip
        self._history = history
        self._file = folder / f"{name}.steps"
        self._read = 0
        #: The task that it holds, or None; how many steps of counting were confirmed; and what it was refused.
        self.held: str | None = None
        #: Whether it has begun to end it, so that nobody knows whether it has.
        self.ending = False
        self.counted = 0
        self.refused: list[tuple[str, list[str | None]]] = []
        self._answered = 0
        with self._file.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, url, key, name, str(lease), str(STEPS)],
                env={**os.environ, **remote.environment()}, stdin=subprocess.PIPE, stdout=file,
            )  # fmt: skip

    def catch_up(self) -> CountingWorker:
        """Read what it has written since."""
        data = self._file.read_bytes()[self._read :]
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            step, task_id, what = json.loads(line)
            match step:
                case "creates":
                    self._answered = 0
                    self._history.unanswered(task_id, "created")
                case "created" | "ended":
                    self._history.acknowledged(what)
                case "asks":
                    self._history.counted(task_id, self._answered, what)
                case "counted":
                    self._answered = what
                    self._history.counted(task_id, what, what)
                    self.counted += 1
                case "ends":
                    self._history.unanswered(task_id, "completed")
                case "refused":
                    self.refused.append((task_id, what))
            self.held = task_id if step in ("holds", "asks", "counted", "ends") else None
            self.ending = step == "ends"
        return self

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()
        self.catch_up()

    def pause(self) -> None:
        """Stop it, and return when it does nothing any more."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
        self.catch_up()

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def begin_no_more(self) -> None:
        """The task that it is in is its last."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> None:
        """Have it end its task, and then itself. AssertionError if it ends badly."""
        self.begin_no_more()
        self._process.wait(PATIENCE)
        assert self._process.returncode == 0
        self.catch_up()
