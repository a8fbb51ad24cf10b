"""What was acknowledged to writers against what viewers saw: recorded while it happens, checked afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

ENDS = ("completed", "failed", "cancelled")
TASK_EVENTS = ("task_created", "task_progress", "task_completed", "task_failed", "task_cancelled")

Snapshot = Mapping[str, Any]


class History:
    """Snapshots that writers got back, and the events of each viewer, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acknowledged: dict[str, list[Snapshot]] = {}
        self._seen: list[tuple[str, list[Snapshot]]] = []

    def acknowledged(self, snapshot: Snapshot) -> None:
        """A change was made, and this is what its writer got back."""
        with self._lock:
            self._acknowledged.setdefault(snapshot["task_id"], []).append(snapshot)

    def saw(self, viewer: str, events: Iterable[tuple[str, Any]]) -> None:
        """What one connection of a viewer was told, in order: event and payload."""
        tasks: list[Snapshot] = []
        for event, payload in list(events):
            if event == "tasks_snapshot":
                tasks += payload["tasks"]
            elif event in TASK_EVENTS:
                assert event == {"completed": "task_completed", "failed": "task_failed",
                                 "cancelled": "task_cancelled"}.get(payload["status"], event)  # fmt: skip
                tasks.append(payload)
        with self._lock:
            self._seen.append((viewer, tasks))

    def final(self, task_id: str) -> Snapshot:
        """The last state of a task that was acknowledged."""
        with self._lock:
            return max(self._acknowledged[task_id], key=lambda snapshot: int(snapshot["version"]))

    def check(self, complete: Mapping[str, Iterable[str]]) -> None:
        """Raise AssertionError unless versions grew, ends stayed, nobody saw another's, and everybody ended right.

        ``complete`` names the viewers that stayed to the end, and the tasks each of them must have seen end.
        """
        for task_id, snapshots in self._acknowledged.items():
            versions = [snapshot["version"] for snapshot in snapshots]
            assert len(set(versions)) == len(versions), f"{task_id}: a version was given twice"
            ends = {snapshot["status"] for snapshot in snapshots} & set(ENDS)
            assert len(ends) <= 1, f"{task_id} ended as {ends}"
        known = {
            (task_id, snapshot["version"]): snapshot
            for task_id, snapshots in self._acknowledged.items()
            for snapshot in snapshots
        }
        for viewer, snapshots in self._seen:
            shown: dict[str, Snapshot] = {}
            for snapshot in snapshots:
                task_id, version = snapshot["task_id"], snapshot["version"]
                assert viewer.split()[-1] == snapshot["user"], f"{viewer} saw a task of {snapshot['user']}"
                before = shown.get(task_id)
                # A change between joining and reading is told twice; it never goes back.
                assert before is None or version >= before["version"], f"{viewer}: {task_id} went back"
                assert before is None or before["status"] not in ENDS or snapshot["status"] == before["status"]
                same = known.get((task_id, version))
                assert same is None or same == snapshot, f"{viewer}: {task_id} has two states of version {version}"
                shown[task_id] = snapshot
            for task_id in complete.get(viewer, ()):
                assert shown.get(task_id) == self.final(task_id), f"{viewer} ended with another state of {task_id}"
