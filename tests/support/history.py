"""What was acknowledged to writers against what viewers saw: recorded while it happens, checked afterwards."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

ENDS = ("completed", "failed", "cancelled")
TASK_EVENTS = ("task_created", "task_progress", "task_completed", "task_failed", "task_cancelled")

Snapshot = Mapping[str, Any]


class History:
    """Snapshots that writers got back, and the events of each viewer, by name.

    ``keeps_progress``: whether the registry keeps the progress of a task whose worker is lost.
    """

    def __init__(self, *, keeps_progress: bool = False) -> None:
        self._keeps_progress = keeps_progress
        #: Whether viewers came anew while their server was catching up with its store: after the snapshot, which the
        #: store gave, they may be pushed what was before it. A page drops that by its version.
        self.catches_up = False
        self._lock = threading.Lock()
        self._acknowledged: dict[str, list[Snapshot]] = {}
        self._seen: list[tuple[str, list[Snapshot]]] = []
        #: How often each task was advanced by one: as was answered, and as may have been done without an answer.
        self._advanced: Counter[str] = Counter()
        self._perhaps_advanced: Counter[str] = Counter()
        #: Who has written each version of a task as its holder, and who holds it from which version on.
        self._writers: dict[str, dict[int, str]] = {}
        self._holders: dict[str, dict[int, str]] = {}
        #: How a task may have ended whose writer has had no answer; and those that may have been created so.
        self._perhaps_ended: dict[str, str] = {}
        self._perhaps_created: set[str] = set()

    def acknowledged(self, snapshot: Snapshot) -> None:
        """A change was made, and this is what its writer got back."""
        with self._lock:
            self._acknowledged.setdefault(snapshot["task_id"], []).append(snapshot)

    def taken(self, snapshot: Snapshot, holder: str) -> None:
        """A worker holds the task from this state on."""
        self.acknowledged(snapshot)
        with self._lock:
            self._holders.setdefault(snapshot["task_id"], {})[snapshot["version"]] = holder

    def written(self, snapshot: Snapshot, holder: str) -> None:
        """A change was made by a worker that held the task, as far as it knew."""
        self.acknowledged(snapshot)
        with self._lock:
            self._writers.setdefault(snapshot["task_id"], {})[snapshot["version"]] = holder

    def _fenced(self) -> None:
        """Raise AssertionError if anything was written by another than who held the task then."""
        for task_id, holders in self._holders.items():
            writers, holder = self._writers.get(task_id, {}), None
            for version in sorted({*holders, *writers}):
                holder = holders.get(version, holder)
                writer = writers.get(version, holder)
                assert writer == holder, f"{task_id} was written by {writer}, and {holder} had it"

    def advanced(self, snapshot: Snapshot) -> None:
        """The same, of a change that has added one to the task's current value."""
        self.acknowledged(snapshot)
        with self._lock:
            self._advanced[snapshot["task_id"]] += 1

    def counted(self, task_id: str, answered: int, asked: int) -> None:
        """A worker has had answers to so many advances by one, of so many that it has asked for."""
        with self._lock:
            self._advanced[task_id] = answered
            self._perhaps_advanced[task_id] = asked - answered

    def unanswered(self, task_id: str, end: str | None) -> None:
        """A writer had no answer: to an advance by one, to an end with this status, or to its ``created``."""
        with self._lock:
            if end == "created":
                self._perhaps_created.add(task_id)
            elif end is None:
                self._perhaps_advanced[task_id] += 1
            else:
                self._perhaps_ended[task_id] = end

    def survived(
        self, states: Mapping[str, Snapshot | None], lost: frozenset[str] = frozenset(), epoch: str | None = None
    ) -> None:  # fmt: skip
        """Raise AssertionError unless ``states`` hold what was acknowledged of each task, once.

        Of those in ``lost`` nobody was left to work on them: they have ended so, and may have lost progress before.
        With ``epoch`` the store has lost its memory, and that is the one which began then: what was acknowledged in
        another may be gone, and is forgotten here too.
        """
        for task_id in list(self._acknowledged):
            told, now = self.final(task_id), states.get(task_id)
            if now is None and epoch is not None and told["epoch"] != epoch:
                del self._acknowledged[task_id]
                continue
            assert now is not None, f"{task_id} was acknowledged and is gone"
            self._ends_once(task_id)
            if told["status"] in ENDS:
                assert _same(now, told), f"{task_id} had ended, and is another now: {_told(told)}, then {_told(now)}"
                if self._keeps_progress or (now["error"] or {}).get("code") != "worker_lost":
                    self._count(now)
                continue
            if task_id in lost and now["status"] == "failed" and now["error"]["code"] == "worker_lost":
                assert now["version"] > told["version"], f"{task_id} goes on from a version that was given"
                if self._keeps_progress:
                    self._count(now)
                continue
            unasked = now["status"] in ENDS or task_id in lost
            assert not unasked or now["status"] == self._perhaps_ended.get(task_id), f"nobody has ended {task_id}"
            assert now["version"] >= told["version"], f"{task_id} has lost a change"
            if task_id not in lost:
                self._count(now)

    def _ends_once(self, task_id: str) -> None:
        ends = {snapshot["status"] for snapshot in self._acknowledged[task_id]} & set(ENDS)
        assert len(ends) <= 1, f"{task_id} ended as {' and as '.join(sorted(ends))}"

    def _count(self, state: Snapshot) -> None:
        task_id, current = state["task_id"], state["progress"]["current"] or 0
        least = self._advanced[task_id]
        most = least + self._perhaps_advanced[task_id]
        assert least <= current <= most, f"{task_id} was advanced {least} times, which made {current}"

    def learned(self, snapshot: Snapshot) -> None:
        """A state that a server has told: a change that no writer has had an answer to may have made it."""
        with self._lock:
            told = self._acknowledged.setdefault(snapshot["task_id"], [])
            if (not told or snapshot["status"] in ENDS) and all(one["version"] != snapshot["version"] for one in told):
                told.append(snapshot)

    def tasks(self) -> list[str]:
        """All that a writer was told of, or may have made."""
        with self._lock:
            return list({**self._acknowledged, **dict.fromkeys(sorted(self._perhaps_created))})

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
        """Raise AssertionError unless versions grew, ends stayed, nobody wrote or saw what was another's, and everybody
        ended right.

        ``complete`` names the viewers that stayed to the end, and the tasks each of them must have seen end.
        """
        for task_id, snapshots in self._acknowledged.items():
            versions = [snapshot["version"] for snapshot in snapshots]
            assert len(set(versions)) == len(versions), f"{task_id}: a version was given twice"
            self._ends_once(task_id)
        self._fenced()
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
                if self.catches_up and before is not None and version < before["version"]:
                    continue
                # A change between joining and reading is told twice; it never goes back.
                assert before is None or version >= before["version"], f"{viewer}: {task_id} went back"
                end = None if before is None or before["status"] not in ENDS else before["status"]
                assert end in (None, snapshot["status"]), f"{viewer}: {task_id} is another after its end"
                same = known.get((task_id, version))
                assert same is None or _same(same, snapshot), f"{viewer}: {task_id} has two states of version {version}"
                shown[task_id] = snapshot
            for task_id in complete.get(viewer, ()):
                assert shown.get(task_id) == self.final(task_id), f"{viewer} ended with another state of {task_id}"


def _same(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots are the same, though the store's memory may have begun anew in between."""
    return {**one, "epoch": None} == {**other, "epoch": None}


def _told(snapshot: Snapshot) -> str:
    return f"{snapshot['status']} {snapshot['version']} of {snapshot.get('progress')} ({snapshot.get('error')})"
