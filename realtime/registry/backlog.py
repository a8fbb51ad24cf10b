"""What a registry with a file has changed in memory and not in the file: progress, output, evictions.

Of each task the newest state only; of each stream what is new since the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import msgspec

from ..task import Task
from .output import Stream
from .taskfile import Statement, removed, updated, written


class Work(msgspec.Struct, gc=False):
    """Statements that belong together. Call ``done`` with whether they are in the file; if not, they wait again."""

    statements: list[Statement]
    done: Callable[[bool], None]


class Backlog:
    """Knows the tasks and the streams of the registry, and shares its lock, which guards all here too."""

    def __init__(
        self, tasks: Mapping[str, Task], outputs: Mapping[str, Mapping[str, Stream]], lock: AbstractContextManager[Any]
    ) -> None:
        self._tasks = tasks
        self._outputs = outputs
        self._lock = lock
        #: Ids of tasks with progress or output.
        self.dirty: dict[str, None] = {}
        #: Order → last version of tasks that were evicted.
        self.gone: dict[int, int] = {}
        #: Order → up to where each stream of an unfinished task is in the file.
        self._saved: dict[int, dict[str, int]] = {}

    def waits(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.dirty or self.gone)

    def take(self, most: int) -> list[Work]:
        """At most so much of it. Call it on the thread that stores ends, so that no task ends before it is written."""
        with self._lock:
            ids = list(islice(self.dirty, most))
            gone = list(islice(self.gone.items(), most - len(ids)))
            for task_id in ids:
                del self.dirty[task_id]
            for order, _ in gone:
                del self.gone[order]
        works = [self._removal(*each) for each in gone]
        for task_id in ids:
            with self._lock:
                task = self._tasks.get(task_id)
                if task is not None and not task.finished:
                    works.append(self._progress(task))
        return works

    def _progress(self, task: Task) -> Work:
        statements, ends = self.unsaved(task)

        def done(stored: bool) -> None:
            with self._lock:
                if not stored:
                    self.dirty[task.task_id] = None
                elif ends:
                    self._saved.setdefault(task.info.order, {}).update(ends)

        return Work([*statements, updated(task)], done)

    def _removal(self, order: int, version: int) -> Work:
        def done(stored: bool) -> None:
            if not stored:
                with self._lock:
                    self.gone[order] = version

        return Work(removed(order, version), done)

    # Called with the lock held.

    def unsaved(self, task: Task) -> tuple[list[Statement], dict[str, int]]:
        """What writes the output of a task that is not in the file yet, and up to where it then is."""
        statements: list[Statement] = []
        ends: dict[str, int] = {}
        saved = self._saved.get(task.info.order, {})
        for name, stream in self._outputs.get(task.task_id, {}).items():
            since = saved.get(name)
            if since is None or since < stream.end:
                piece = stream.read(since or 0, stream.end, stream.end)
                statements += written(task.info.order, name, piece.offset, piece.data, stream.start)
                ends[name] = piece.end
        return statements, ends

    def forget(self, task: Task) -> None:
        """The task has ended, in the file too: nothing of it waits, and nothing will."""
        self.dirty.pop(task.task_id, None)
        self._saved.pop(task.info.order, None)
