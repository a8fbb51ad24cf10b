"""Tasks that outlive their process, in an SQLite file that one server process owns.

How it works. What is true is in memory, as in `memory`, and all reading and all progress are as fast as there; behind
it a `Journal` writes to the file. The creation of a task, its end and its removal are *staged*: the next record is made
and given to the journal, and is stored in memory, where others see it, once it is on disk. Until then whoever would
change that task waits; if it cannot be written, nothing has changed. Progress and output are stored in memory at once
and written behind, the newest only; an end takes along what the task has written.

When the file is opened again, nobody works any more on what was unfinished: those tasks fail with ``worker_lost``.
(Workers in other processes hold a lease, and their tasks wait for it.)

The file is opened at the first use, not before: an app is also loaded by reloaders, shells and commands, which do not
own the file. Until then an instance lacks the attributes of `MemoryRegistry` that hold tasks, and reaching for one of
them opens the file. So nothing needs to ask, and later it costs nothing.
"""

from __future__ import annotations

import builtins
import logging
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import LimitReached, RealtimeError, RegistryUnavailable, TaskExists, TaskNotFound
from ..task import NewTask, Task
from . import transitions
from .backlog import Backlog
from .base import Registry, Removed, Update
from .change import Change, Staging
from .journal import Journal, close_at_exit
from .memory import MemoryRegistry
from .output import MAX_STREAMS, Stream
from .recovery import recover
from .taskfile import Statement, TaskFile, inserted, removed, retold, updated

_log = logging.getLogger("realtime")

#: What a `MemoryRegistry` makes in `_open`, and what is made here when the file is opened.
_THEIRS: Final = (
    "epoch", "_tasks", "_catalogue", "_outputs", "_last_order", "_news", "_settling", "_floors", "_leases", "_parents",
    "_moved", "_lock", "_acquire", "_release", "_forked",
)  # fmt: skip
_OURS: Final = ("_file", "_journal", "_backlog", "_dirty", "_staging", "_staged", "_last_end")
_STATE: Final = frozenset(_THEIRS + _OURS)


class SqliteRegistry(MemoryRegistry):
    """See `Registry`, and `MemoryRegistry` for the settings and for forks. ``path`` is the file.

    The first use raises `ConfigError` or `RegistryUnavailable` if the file cannot be had (see `TaskFile`); the next
    tries again.
    """

    waits = True
    _file: TaskFile
    _journal: Journal
    _staging: Staging
    #: Its changes: task id → what is on its way to disk.
    _staged: dict[str, Change]
    _backlog: Backlog
    #: Its ids of tasks with progress.
    _dirty: dict[str, None]
    _last_end: int

    def __init__(self, path: Path, **settings: Any) -> None:
        self._path = path
        self._where = f"sqlite:///{path}"
        self._settings = settings
        #: The problem of the journal that the log was told of.
        self._told: Exception | None = None
        super().__init__(**settings)

    # Opening.

    def _open(self) -> None:
        """Know nothing. (In a forked child that viewers come to, what the parent knows.)"""
        for name in _STATE:
            vars(self).pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if name not in _STATE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.open()
        return vars(self)[name]

    def _is_open(self) -> bool:
        return "_tasks" in vars(self)

    def open(self) -> None:
        lost: builtins.list[Task] = []
        with self._adopting:
            if self._is_open():
                return
            file = TaskFile(self._path)
            try:
                lost = self._load(file)
                self._journal.start()
            except BaseException:
                self._open()
                file.close()
                raise
            close_at_exit(self._journal)
        for task in lost:
            self._tell_change(task, False)
        # The bounds may be lower by now, and evictions may not have come to the file.
        for user_id in {task.info.user_id for task in builtins.list(self._tasks.values())} | {None}:
            for shelf in builtins.list(self._catalogue.full_shelves(user_id)):
                self._thin_out(shelf)
        self.expire()

    def _load(self, file: TaskFile) -> builtins.list[Task]:
        """Begin with what is in the file; returns what was ended with that."""
        fresh = MemoryRegistry(**self._settings)
        lost, last_end = recover(file, fresh, self._clock(), self._output_tail)
        backlog = Backlog(fresh._tasks, fresh._outputs, fresh._lock)
        journal = Journal(file, backlog)
        state = {name: vars(fresh)[name] for name in _THEIRS}
        staging = Staging(fresh._lock, str(self._path))
        # In one step: another thread may be on its way here.
        vars(self).update(
            state, _file=file, _journal=journal, _backlog=backlog, _dirty=backlog.dirty, _staging=staging,
            _staged=staging.changes, _last_end=last_end,
        )  # fmt: skip
        weakref.finalize(self, journal.end).atexit = False
        return lost

    # Durable changes.

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        task_id = new.task_id
        while True:
            with self._lock:
                new = self._placed(new)
                now = self._clock()
                stored, other = self._tasks.get(task_id), self._staged.get(task_id)
                if stored is None and other is None:
                    micros = int(now * 1e6)
                    order = max(micros, self._last_order + 1)
                    version = max(micros, self._floors.of(task_id) + 1)
                    task = transitions.created(new, epoch=self.epoch, now=now, version=version, order=order)
                    self._last_order = order
                    change = self._stage(task, inserted(task), None)
            if other is not None:
                self._await(other, task_id)
            elif stored is None:
                change.finish_here(self._can_wait())
                return self._as_followed(task), True
            elif exist_ok and stored.info.user_id == new.user_id and not stored.finished:
                return stored, False
            else:
                raise TaskExists(task_id)

    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        while True:
            with self._lock:
                now = self._clock()  # first: a finalizer may come with it
                task, other = self._tasks.get(task_id), self._staged.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                staged = None
                if other is None:
                    new = change(task, now)
                    if new is task:
                        return task
                    if new.finished:
                        staged = self._stage(new, [retold(new)], task) if task.finished else self._stage_end(task, new)
                    else:
                        if new.info.parent_id is not None:
                            self._moved[task_id] = None
                        self._tasks[task_id] = new
                        self._mark(task_id)
            if other is not None:
                self._await(other, task_id)
                continue
            if staged is None:
                self._tell(task, new)
                return new
            if staged.finish_here(self._can_wait()):
                for shelf in self._catalogue.full_shelves(new.info.user_id):
                    self._thin_out(shelf)
            return new

    def stall(self, task_id: str, since: float) -> Task:
        # The sweep must not wait for the end of a task to say that nothing is heard of it.
        task = self._tasks.get(task_id)
        return task if task is not None and task_id in self._staged else super().stall(task_id, since)

    def remove(self, task_id: str) -> Removed:
        while True:
            with self._lock:
                task, other = self._tasks.get(task_id), self._staged.get(task_id)
                if task is None or not task.finished:
                    return super().remove(task_id)  # which raises
                if other is None:
                    self._check_free(task)
                    gone = Removed.of(task)
                    change = self._stage_removal(task, gone)
            if other is None:
                change.finish_here(self._can_wait())
                return gone
            self._await(other, task_id)

    # Called with the lock held.

    def _stage(self, task: Task, statements: builtins.list[Statement], old: Task | None) -> Change:
        def apply() -> bool:
            self._news.append(task)
            if task.info.parent_id is not None:
                self._moved[task.task_id] = None
            self._tasks[task.task_id] = task
            if task.finished:
                self._backlog.forget(task)
            self._settle()
            return True

        return self._put(task.task_id, statements, apply, lambda: self._tell(old, task))

    def _stage_end(self, old: Task, task: Task) -> Change:
        self._last_end += 1
        statements, _ = self._backlog.unsaved(task)
        return self._stage(task, [*statements, updated(task, self._last_end)], old)

    def _stage_removal(self, task: Task, gone: Removed) -> Change:
        def apply() -> bool:
            if self._tasks.get(task.task_id) is not task:  # evicted
                return False
            super(SqliteRegistry, self)._drop(task, int(self._clock() * 1e6))
            self._settle()
            return True

        statements = removed(task.info.order, gone.version)
        return self._put(task.task_id, statements, apply, lambda: self._tell_removed(gone))

    def _put(
        self, task_id: str, statements: builtins.list[Statement], apply: Callable[[], bool], tell: Callable[[], None]
    ) -> Change:
        change = Change(self._staging, task_id, statements, apply, tell)
        self._journal.put(change)
        return change

    def _tell(self, old: Task | None, task: Task) -> None:
        """A change is stored. Called without the lock."""
        self._tell_change(task, old is None)
        self._followed(old, task)

    # Waiting.

    def _can_wait(self) -> bool:
        """Not where the journal would wait for us: on its thread, nor in a finalizer in the middle of a change."""
        return not (self._journal.is_here() or self._lock._is_owned()) and self.may_wait()

    def _await(self, change: Change, task_id: str) -> None:
        """Wait for the change of somebody else."""
        if not self._can_wait():
            raise RegistryUnavailable(f"The task {task_id!r} is being stored. Nothing has changed; try again.")
        change.wait()

    # What is written behind.

    def update(
        self,
        task_id: str,
        message: str | None = None,
        current: int | float | None = None,
        total: int | float | None = None,
        percent: float | None = None,
        advance: int | float | None = None,
        unit: str | None = None,
        metadata: bytes | None = None,
    ) -> Task:
        # As in `memory`, and written behind.
        while True:
            staged = self._staged
            other: Change | None = None
            try:
                self._acquire()
                tasks = self._tasks
                while True:
                    task = tasks.get(task_id)
                    if task is None:
                        raise TaskNotFound(task_id)
                    new = transitions.updated(
                        task, self._clock(), message, current, total, percent, advance, unit, metadata
                    )
                    if staged and (other := staged.get(task_id)) is not None:
                        break
                    if new.info.parent_id is not None:
                        self._moved[task_id] = None
                    if tasks.get(task_id) is task:
                        tasks[task_id] = new
                        self._dirty[task_id] = None
                        break
            except BaseException:
                self._release_if_held()
                raise
            self._release()
            if other is None:
                break
            self._await(other, task_id)
        if self._journal.asleep:
            self._journal.wake()
        if task_id not in self.noted and self.on_change is not None:
            try:
                self.on_change(new, False)
            except Exception:
                _log.exception("Telling a change of the task %s failed", task_id)
        return new

    def update_many(self, updates: Sequence[Update]) -> builtins.list[Task | RealtimeError]:
        return Registry.update_many(self, updates)  # one by one: some may have to wait

    def append_output(self, task_id: str, stream: str, data: bytes) -> int:
        while True:
            with self._lock:
                task, other = self._tasks.get(task_id), self._staged.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                if other is None:
                    new = transitions.written(task, len(data))
                    streams = self._outputs.setdefault(task_id, {})
                    if stream not in streams and len(streams) >= MAX_STREAMS:
                        raise LimitReached(f"stream: the task has {MAX_STREAMS} already, no more are taken")
                    if self._tasks.get(task_id) is not task:
                        continue
                    self._tasks[task_id] = new
                    end = streams.setdefault(stream, Stream(self._output_tail)).append(data)
                    self._note_output(task_id, stream, end - len(data))
                    self._mark(task_id)
                    break
            self._await(other, task_id)
        self._tell_output(new, stream, end - len(data))
        return end

    def _mark(self, task_id: str) -> None:
        self._dirty[task_id] = None
        if self._journal.asleep:
            self._journal.wake()

    # Removal, after its time or for want of room: the file follows.

    def _unpinned(self, orders: builtins.list[int]) -> builtins.list[Task]:
        return [task for task in super()._unpinned(orders) if task.task_id not in self._staged]

    def _drop(self, task: Task, now: int) -> Removed:
        gone = super()._drop(task, now)
        self._backlog.gone[task.info.order] = gone.version
        if self._journal.asleep:
            self._journal.wake()
        return gone

    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        if not self._is_open():
            return []
        self._complain()
        return super().expire(now)

    def follow(self) -> None:
        if self._is_open():
            super().follow()

    def _complain(self) -> None:
        """Tell the log what the journal's thread does not."""
        while self._staging.complaints:
            _log.error("%s", self._staging.complaints.pop(0))
        problem = self._journal.problem
        if problem is not None and self._told is None:
            _log.error("Progress cannot be written to %s and is kept in memory: %s", self._path, problem)
        elif problem is None and self._told is not None:
            _log.warning("Progress is written to %s again.", self._path)
        self._told = problem

    # Processes.

    def check(self) -> None:
        self.open()
        self._journal.check()

    def settled(self) -> bool:
        return not self._is_open() or not self._staged

    def adopt(self) -> None:
        if self._is_open():
            super().adopt()

    def after_fork(self) -> None:
        if self._is_open():
            super().after_fork()
            self._file.abandon()
        else:
            self._adopting = self._new_lock()

    def close(self) -> None:
        super().close()
        if self._is_open():
            self._journal.close()
