"""The parents of a registry whose tasks are in memory, and which of them have to follow. See `kinship`.

All of it is guarded by the registry's lock. A finalizer may come in the middle of anything; what it moves waits in
`moved` for whoever it has interrupted.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import RegistryUnavailable, TaskNotFound
from ..kin import MAX_LEVELS
from ..task import NewTask, Task
from .base import Registry
from .descent import derived
from .family import Family, Sums
from .kinship import is_part

#: Parts noted while the lock is held once.
_BATCH: Final = 256


class Parents:
    """See the module."""

    def __init__(self) -> None:
        #: Parts that have changed, by their ids, from before the change on.
        self.moved: dict[str, None] = {}
        #: Parents that have to follow.
        self.due: dict[str, None] = {}
        self._families: dict[str, Family] = {}
        self._noting = False

    def note(self, tasks: Mapping[str, Task], moved: Iterable[str] | None = None) -> bool:
        """Have what has moved count, or these parts of it. Returns False in the middle of doing so."""
        if self._noting:
            return False
        try:
            self._noting = True
            # Not the first one again and again: a dict would look for it behind all that are gone already.
            for task_id in builtins.list(self.moved) if moved is None else moved:
                # Out before the look: what moves after it is in there again.
                self.moved.pop(task_id, None)
                task = tasks.get(task_id)
                if task is not None and self.add(task, tasks):
                    self.due[task.info.parent_id or ""] = None
        finally:
            self._noting = False
        return True

    def add(self, part: Task, tasks: Mapping[str, Task]) -> bool:
        """Have one count, if its parent is there still; returns whether it is."""
        parent = tasks.get(part.info.parent_id or "")
        if parent is None or not is_part(part, parent):
            return False
        self.of(parent.task_id).note(part)
        return True

    def of(self, parent_id: str) -> Family:
        """The parts of a task."""
        family = self._families.get(parent_id)
        if family is None:
            family = self._families[parent_id] = Family()
        return family

    def sums(self, parent_id: str) -> Sums:
        """What they come to."""
        family = self._families.get(parent_id)
        return Sums() if family is None else family.sums

    def newest(self, parent_id: str) -> list[str]:
        """The ids of the newest attempts at each."""
        family = self._families.get(parent_id)
        return [] if family is None else [line.task_id for line in family.lines.values()]

    def forget(self, task: Task) -> None:
        """The task has left."""
        self._families.pop(task.task_id, None)


class RegistryWithParents(Registry):
    """What a registry in memory does as a `Kinship`."""

    _tasks: dict[str, Task]
    _lock: Any
    _parents: Parents
    _moved: dict[str, None]
    _forked: bool

    def _placed(self, new: NewTask) -> NewTask:
        """A new part, in its place; what is none, as it is. Called with the lock held."""
        if new.parent_id is None or new.task_id in self._tasks:
            return new
        placed = self._admitted(new, self._tasks.get(new.parent_id))
        self._parents.of(new.parent_id).check_room(placed)
        return placed

    def children(self, parent_id: str) -> builtins.list[Task]:
        with self._lock:
            self._parents.note(self._tasks)
            parent, newest = self._tasks.get(parent_id), self._parents.newest(parent_id)
        there = map(self._tasks.get, newest)
        return [] if parent is None else [task for task in there if task is not None and is_part(task, parent)]

    def follow(self) -> None:
        # What has moved by now, and what follows from it on all levels. Others may go on changing parts for ever.
        moved = builtins.list(self._moved)
        for _ in range(MAX_LEVELS):
            if self._forked or not (moved or self._parents.due):  # a child may still read
                return
            for start in range(0, len(moved), _BATCH):
                with self._lock:
                    if not self._parents.note(self._tasks, moved[start : start + _BATCH]):
                        return  # this is a finalizer: what it has interrupted goes on
            with self._lock:
                due = builtins.list(self._parents.due)
                self._parents.due.clear()
            left = dict.fromkeys(due)
            try:
                for parent_id in due:
                    with contextlib.suppress(RegistryUnavailable):  # it is being stored, and this cannot wait
                        self._follow_one(parent_id)
                        del left[parent_id]
            finally:
                self._parents.due.update(left)  # the next one does it
            moved = [parent_id for parent_id in due if parent_id in self._moved]  # parts themselves
            if left or not moved:
                return

    def follow_soon(self) -> None:
        self.follow()

    def _follow_one(self, parent_id: str) -> None:
        with contextlib.suppress(TaskNotFound):
            self._change(parent_id, lambda task, now: derived(task, now, self._parents.sums(parent_id)))

    def _part_changed(self, old: Task | None, part: Task) -> None:
        self.follow()
