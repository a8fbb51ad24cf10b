"""A registry that serves without a server around it, and what it has announced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from realtime.registry.base import Removed
from realtime.registry.redis import RedisRegistry
from realtime.task import Task

#: Seconds that anything may take. Fewer than the minute for which a feed awaits a task that was about to come, which
#: some tests are about.
_PATIENCE = 40.0


class Server(RedisRegistry):
    """A registry that serves, and what it has announced, each with what the hub could read at that moment."""

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__(url, **settings)
        self.changed = threading.Condition()
        self.changes: list[tuple[Task, bool]] = []
        self.read: list[Task | None] = []
        self.told: list[str] = []
        self.removed: list[Removed] = []
        self.written: list[tuple[str, str, int]] = []
        self.epochs: list[str] = []
        self.reaches: list[bool] = []
        self.on_change = self._heard
        self.on_remove = lambda gone: self._note(self.removed, gone, f"removed {gone.task_id}")
        self.on_output = self._output
        self.on_epoch = lambda epoch: self._note(self.epochs, epoch, "epoch")
        self.on_reachable = lambda reachable: self._note(self.reaches, reachable, f"reachable {reachable}")
        self.serve()

    def _heard(self, task: Task, created: bool) -> None:
        self.read.append(self.local.get(task.task_id))
        self._note(self.changes, (task, created), f"{task.status} {task.task_id}")

    def _output(self, task: Task, stream: str, start: int) -> None:
        self._note(self.written, (task.task_id, stream, start), f"output {task.task_id}")

    def _note(self, where: list[Any], what: Any, text: str) -> None:
        with self.changed:
            where.append(what)
            self.told.append(text)
            self.changed.notify_all()

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Return when the condition holds; it is asked at each announcement. AssertionError after 40 s."""
        with self.changed:
            assert self.changed.wait_for(condition, _PATIENCE), self.told

    def open(self, *rooms: str) -> None:
        """Watch rooms, and return when they are caught up with."""
        for room in rooms:
            self.watch(room)
        assert self.feed.wait_for(rooms, _PATIENCE)

    def shown(self, task_id: str) -> str | None:
        """The message of a task as the hub reads it."""
        task = self.local.get(task_id)
        return None if task is None else task.message

    def text(self, task_id: str) -> str | None:
        """All that the hub can read of a task's output."""
        piece = self.local.read_output(task_id, "output", 0, 1 << 40, 1 << 40)
        return None if piece is None else piece.data.decode()


def wait_for(condition: Callable[[], object]) -> None:
    """For what nothing announces. AssertionError after 40 s."""
    over, pause = time.monotonic() + _PATIENCE, threading.Event()
    while not condition():
        assert time.monotonic() < over
        pause.wait(0.01)
