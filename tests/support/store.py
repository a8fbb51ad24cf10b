"""What a page knows: a store of tasks by the one rule that clients follow, for viewers that come and go."""

from __future__ import annotations

from typing import Any

from .history import TASK_EVENTS


class Store:
    """Applies what is told if it is of this epoch and newer. Kept over any number of connections."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.tasks: dict[str, dict[str, Any]] = {}

    def auth(self) -> dict[str, Any]:
        """What a returning client says of itself: cursors of at most a hundred tasks."""
        cursors = {task_id: task["version"] for task_id, task in list(self.tasks.items())[:100]}
        return {} if self.epoch is None else {"epoch": self.epoch, "cursors": cursors}

    def apply(self, event: str, payload: Any) -> None:
        if event == "tasks_snapshot":
            if payload["epoch"] != self.epoch:
                self.epoch, self.tasks = payload["epoch"], {}
            for task in payload["tasks"]:
                self._apply(task)
            for task_id in payload["removed"]:
                self.tasks.pop(task_id, None)
        elif event in TASK_EVENTS:
            assert payload["epoch"] == self.epoch, "a push of another epoch than the connection's snapshot"
            self._apply(payload)
        elif event == "task_removed":
            shown = self.tasks.get(payload["task_id"])
            if shown is not None and shown["version"] < payload["version"]:
                del self.tasks[payload["task_id"]]

    def _apply(self, task: dict[str, Any]) -> None:
        shown = self.tasks.get(task["task_id"])
        if shown is None or shown["version"] < task["version"]:
            self.tasks[task["task_id"]] = task
