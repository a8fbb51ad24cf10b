"""The tasks of one process, in a locked dict. The default: fast, and forgotten with the process.

How it works. `_tasks` alone says what is true: a change reads a record, makes the next one and stores it in one step.
The `Catalogue` behind pages and eviction follows: which tasks it must look at again waits in `_news`, from before the
change on, so that a Ctrl-C in the middle of one is made up for at the next.

The lock is held for dictionary work only. It is re-entrant, because the garbage collector may run a finalizer between
any two steps, and a finalizer may end a task (that of a generator which was not read to its end): another lock would
wait for itself for ever. For the same reason a record is stored only over the one that it was made from.
"""

from __future__ import annotations

import _thread
import builtins
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from ..errors import InvalidValue, LimitReached, RealtimeError, TaskAlreadyFinished, TaskExists, TaskNotFound
from ..task import NewTask, Task
from . import transitions
from .base import Removed, Update
from .catalogue import Catalogue, Shelf
from .floors import Floors
from .forks import Refusal, guard
from .leases import Leases, Silence
from .output import MAX_STREAMS, Piece, Stream
from .parents import Parents, RegistryWithParents

_log = logging.getLogger("realtime")

#: Tasks removed or updated while the lock is held once.
_BATCH: Final = 256


class MemoryRegistry(RegistryWithParents):
    """See `Registry`. ``retention`` is in seconds; ``lock`` makes a native, re-entrant lock.

    After a fork all but `get` raises `NotTheServer` in the child, where no viewer would see a change, until `adopt`
    says that viewers come to the child (a server that loads the app and then forks). It then begins anew, empty.
    """

    #: What ``REALTIME_REGISTRY`` says.
    _where = "memory://"

    def __init__(
        self,
        *,
        retention: float = 3600.0,
        max_tasks: int = 100_000,
        max_tasks_per_user: int = 1_000,
        output_tail: int = 256 * 1024,
        clock: Callable[[], float] = time.time,
        lock: Callable[[], Any] = _thread.RLock,
    ) -> None:
        self._retention = retention
        self._max_tasks = max_tasks
        self._max_tasks_per_user = max_tasks_per_user
        self._output_tail = output_tail
        self._clock = clock
        self._new_lock = lock
        self._adopting = lock()
        self._open()
        guard(self)

    def _open(self) -> None:
        self.epoch = secrets.token_hex(8)
        self._tasks: dict[str, Task] = {}
        self._catalogue = Catalogue(self._retention, self._max_tasks, self._max_tasks_per_user)
        self._outputs: dict[str, dict[str, Stream]] = {}
        self._last_order = 0
        self._news: deque[Task] = deque()
        self._settling = False
        self._floors = Floors()
        self._leases = Leases()
        self._parents = Parents()
        #: Its ids of parts that have changed.
        self._moved = self._parents.moved
        self._lock = self._new_lock()
        # Bound methods are half the price of a ``with``; for the hot path.
        self._acquire: Callable[[], object] = self._lock.acquire
        self._release: Callable[[], object] = self._lock.release
        self._forked = False

    # Changes.

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        task_id = new.task_id
        with self._lock:
            new = self._placed(new)
            now = self._clock()
            micros = int(now * 1e6)
            order = max(micros, self._last_order + 1)
            version = max(micros, self._floors.of(task_id) + 1)
            task = transitions.created(new, epoch=self.epoch, now=now, version=version, order=order)
            self._last_order = order
            self._news.append(task)
            stored = self._tasks.setdefault(task_id, task)
            if new.parent_id is not None:
                self._moved[task_id] = None
                self._parents.note(self._tasks)  # now, or there could be too many
            self._settle()
        if stored is task:
            self._tell_change(task, True)
            self._followed(None, task)
            return self._as_followed(task), True
        if exist_ok and stored.info.user_id == new.user_id and not stored.finished:
            return stored, False
        raise TaskExists(task_id)

    def get(self, task_id: str) -> Task | None:
        return self._tasks.get(task_id)

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
        tasks = self._tasks
        try:
            # Inside the ``try``, or a Ctrl-C right after it would leave the lock held for ever.
            self._acquire()
            while True:
                task = tasks.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                new = transitions.updated(
                    task, self._clock(), message, current, total, percent, advance, unit, metadata
                )
                if new.info.parent_id is not None:
                    self._moved[task_id] = None
                if tasks.get(task_id) is task:
                    tasks[task_id] = new
                    break
        except BaseException:
            self._release_if_held()
            raise
        self._release()
        if task_id not in self.noted and self.on_change is not None:
            try:
                self.on_change(new, False)
            except Exception:
                _log.exception("Telling a change of the task %s failed", task_id)
        return new

    def update_many(self, updates: Sequence[Update]) -> builtins.list[Task | RealtimeError]:
        made: builtins.list[Task | RealtimeError] = []
        for start in range(0, len(updates), _BATCH):
            self._update_some(updates[start : start + _BATCH], made)
        return made

    def _update_some(self, updates: Sequence[Update], made: builtins.list[Task | RealtimeError]) -> None:
        """Make updates while the lock is held once, by one look at the clock; then tell them."""
        tasks, updated = self._tasks, transitions.updated
        first = len(made)
        try:
            self._acquire()
            now = self._clock()
            for task_id, message, current, total, percent, advance, unit, metadata in updates:
                while True:
                    task = tasks.get(task_id)
                    if task is None:
                        made.append(TaskNotFound(task_id))
                        break
                    try:
                        new = updated(task, now, message, current, total, percent, advance, unit, metadata)
                    except (TaskAlreadyFinished, InvalidValue) as error:
                        made.append(error.with_traceback(None))
                        break
                    if new.info.parent_id is not None:
                        self._moved[task_id] = None
                    if tasks.get(task_id) is task:
                        made.append(new)  # before it is stored: a Ctrl-C in between tells once too often, not never
                        tasks[task_id] = new
                        break
        except BaseException:
            self._release_if_held()
            self._tell_some(made[first:])
            raise
        self._release()
        self._tell_some(made[first:])

    def _tell_some(self, made: Iterable[Task | RealtimeError]) -> None:
        on_change, noted = self.on_change, self.noted
        if on_change is None:
            return
        for task in made:
            if type(task) is Task and task.task_id not in noted:
                try:
                    on_change(task, False)
                except Exception:
                    _log.exception("Telling a change of the task %s failed", task.task_id)

    def _release_if_held(self) -> None:
        with contextlib.suppress(RuntimeError):  # Only a re-entrant lock says so for certain.
            self._release()

    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        """Store what ``change`` makes of the task; tell it, and make room if that was an end."""
        with self._lock:
            while True:
                task = self._tasks.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                new = change(task, self._clock())
                if new is task:
                    return task
                if new.finished:
                    self._news.append(new)
                if new.info.parent_id is not None:
                    self._moved[task_id] = None
                if self._tasks.get(task_id) is task:
                    self._tasks[task_id] = new
                    break
            self._settle()
        self._tell_change(new, False)
        self._followed(task, new)
        if new.finished:
            for shelf in self._catalogue.full_shelves(new.info.user_id):
                self._thin_out(shelf)
        return new

    def _hear(self, task_id: str, lease: float) -> None:
        self._leases.hear(task_id, lease)

    def silences(self) -> builtins.list[Silence]:
        return self._leases.silences(self._tasks.get, self._clock())

    # Output.

    def append_output(self, task_id: str, stream: str, data: bytes) -> int:
        with self._lock:
            while True:
                task = self._tasks.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                new = transitions.written(task, len(data))
                streams = self._outputs.setdefault(task_id, {})
                if stream not in streams and len(streams) >= MAX_STREAMS:
                    raise LimitReached(f"stream: the task has {MAX_STREAMS} already, no more are taken")
                if self._tasks.get(task_id) is task:
                    self._tasks[task_id] = new
                    end = streams.setdefault(stream, Stream(self._output_tail)).append(data)
                    self._note_output(task_id, stream, end - len(data))
                    break
        self._tell_output(new, stream, end - len(data))
        return end

    def read_output(self, task_id: str, stream: str, offset: int, end: int, most: int) -> Piece | None:
        with self._lock:
            found = self._outputs.get(task_id, {}).get(stream)
            return None if found is None else found.read(offset, end, most)

    def output_ends(self, task_id: str) -> dict[str, int]:
        with self._lock:
            return {name: stream.end for name, stream in self._outputs.get(task_id, {}).items()}

    # Removal.

    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        if now is None:
            now = self._clock()
        with self._lock:
            self._settle()
            due = self._catalogue.due(now)
            crowded = list(self._catalogue.crowded)
            self._catalogue.crowded.clear()
        removed: list[Removed] = []
        for start in range(0, len(due), _BATCH):
            removed += self._take_out(self._unpinned(due[start : start + _BATCH]))
        for shelf in crowded:
            removed += self._thin_out(shelf)
        return removed

    def _thin_out(self, shelf: Shelf) -> builtins.list[Removed]:
        """Remove what is beyond the bound, the oldest end first, and pass over what is pinned."""
        removed: list[Removed] = []
        passed = 0
        while True:
            with self._lock:
                excess = len(shelf.order) - shelf.bound
                oldest = list(islice(shelf.order, passed, passed + max(0, min(excess, _BATCH))))
                if not oldest:
                    # To look at every pinned task again at each end would cost more and more.
                    shelf.look_at = max(shelf.bound + 1, len(shelf.order) + passed // 4)
                    if excess > 0:
                        self._catalogue.crowded[shelf] = None
                    return removed
            removed += self._take_out(self._unpinned(oldest))
            passed += sum(order in shelf.order for order in oldest)

    def _unpinned(self, orders: builtins.list[int]) -> builtins.list[Task]:
        """Those of the tasks that may leave. Called without the lock, as `pinned` is not ours."""
        free: list[Task] = []
        with self._lock:
            for task in self._at(orders):
                if self._is_held(task):
                    self._catalogue.keep(task)
                else:
                    free.append(task)
        return [task for task in free if not self.pinned(task.task_id)]

    def _take_out(self, tasks: builtins.list[Task]) -> builtins.list[Removed]:
        with self._lock:
            now = int(self._clock() * 1e6)
            removed = [self._drop(task, now) for task in tasks if self._tasks.get(task.task_id) is task]
            self._settle()
        for gone in removed:
            self._tell_removed(gone)
        return removed

    def _drop(self, task: Task, now: int) -> Removed:
        """Let go of a task that is there. Called with the lock held."""
        gone = Removed.of(task)
        self._news.append(task)
        self._floors.remember(task.task_id, gone.version, now)
        del self._tasks[task.task_id]
        self._outputs.pop(task.task_id, None)
        self._parents.forget(task)
        return gone

    # Reading.

    def list(
        self,
        *,
        user_id: str | None,
        groups: Collection[str],
        limit: int,
        before: str | None = None,
        finished: bool | None = None,
    ) -> tuple[builtins.list[Task], str | None]:
        bound = None if before is None else self._order_before(before)
        with self._lock:
            self._settle()
            orders = self._catalogue.page(user_id, groups, bound, limit + 1, finished)
            tasks = self._at(orders[:limit])
        return tasks, self._page_after(orders[limit - 1]) if len(orders) > limit else None

    def unfinished(self) -> builtins.list[Task]:
        with self._lock:
            self._settle()
            return self._at(self._catalogue.unfinished)

    def count(self) -> tuple[int, int]:
        with self._lock:
            self._settle()
            return self._catalogue.count()

    # Called with the lock held.

    def _at(self, orders: Iterable[int]) -> builtins.list[Task]:
        """The tasks of these orders. In the middle of a settling some may be none any more."""
        found = ((order, self._tasks.get(self._catalogue.ids.get(order, ""))) for order in orders)
        return [task for order, task in found if task is not None and task.info.order == order]

    def _settle(self) -> None:
        """Have the catalogue follow. What a finalizer changes meanwhile is left to the settling that it interrupts."""
        if self._settling:
            return
        try:
            self._settling = True
            while self._news:
                known = self._news[0]
                self._catalogue.follow(known, self._tasks.get(known.task_id))
                self._news.popleft()
        finally:
            self._settling = False

    # Processes.

    def adopt(self) -> None:
        if self._forked:
            with self._adopting:
                if self._forked:
                    self._open()

    def after_fork(self) -> None:
        """See `forks`. The lock of before may be held by a thread that is not there any more."""
        self._adopting = self._new_lock()
        self._lock = Refusal(self._where)
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._forked = True
