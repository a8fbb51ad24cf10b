"""The tasks of one process, in a locked dict. The default: fast, and forgotten with the process.

How it works. `_tasks` alone says what is true; a change reads a record, makes the next one and stores it in one step.
The indexes that serve pages and eviction follow: what they have to learn waits in `_news`, and `_settle` teaches it.

The lock is held for dictionary work only. It is a re-entrant one, because the garbage collector may run a finalizer
anywhere, and a finalizer may end a task (a generator that was not read to its end): a plain lock would wait for
itself for ever. For the same reason a record is stored only over the one that it was made from.
"""

from __future__ import annotations

import _thread
import builtins
import os
import secrets
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, Final, NoReturn

from .. import task as transitions
from ..errors import InvalidValue, NotTheServer, TaskExists, TaskNotFound
from ..task import CANCELLED, COMPLETED, FAILED, NewTask, Task, TaskFailure
from .base import Registry, Removed
from .index import Index

#: Tasks removed while the lock is held once.
_BATCH: Final = 256
#: Removed ids whose version is ahead of the clock and remembered one by one; beyond, one number stands for all.
_MAX_FLOORS: Final = 1024


class _Shelf:
    """Finished tasks under one bound, the oldest end first."""

    __slots__ = ("bound", "look_at", "order")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        #: Task id → when its retention is over, in seconds since 1970.
        self.order: OrderedDict[str, float] = OrderedDict()
        #: How full the shelf must be before it is worth another look; pinned tasks make this more than the bound.
        self.look_at = bound + 1


class MemoryRegistry(Registry):
    """See `Registry`. ``retention`` in seconds; ``lock`` makes a re-entrant lock of native threads.

    After a fork, writes in the child raise `NotTheServer`, as no viewer would see them, until `adopt` says that the
    child serves viewers itself (a server that loads the app first and forks then). It then begins empty.
    """

    def __init__(
        self,
        *,
        retention: float = 3600.0,
        max_tasks: int = 100_000,
        max_tasks_per_user: int = 1_000,
        clock: Callable[[], float] = time.time,
        lock: Callable[[], Any] = _thread.RLock,
    ) -> None:
        self._retention = retention
        self._max_tasks = max_tasks
        self._max_tasks_per_user = max_tasks_per_user
        self._clock = clock
        self._new_lock = lock
        self._open()
        _guard(self)

    def _open(self) -> None:
        self.epoch = secrets.token_hex(8)
        lock = self._new_lock()
        # Bound methods: half the price of a ``with`` block, and a forked child gets others.
        self._acquire: Callable[[], object] = lock.acquire
        self._release: Callable[[], object] = lock.release
        self._forked = False
        self._tasks: dict[str, Task] = {}
        self._unfinished: dict[str, None] = {}
        self._last_order = 0
        self._by_order: dict[int, str] = {}
        #: Per owner (see `_owners`): the orders of its unfinished and of its finished tasks.
        self._pages: dict[str, tuple[Index, Index]] = {}
        self._shelf = _Shelf(self._max_tasks)
        self._shelves: dict[str, _Shelf] = {}
        #: Shelves left over their bound, because tasks are pinned.
        self._crowded: dict[_Shelf, None] = {}
        self._floor = 0
        self._floors: dict[str, int] = {}
        self._news: deque[tuple[Callable[[Task], None], Task]] = deque()
        self._settling = False

    # Changes.

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        self._acquire()
        try:
            now = self._clock()
            task_id = new.task_id
            order = max(self._last_order + 1, int(now * 1e6))
            version = max(int(now * 1e6), self._floors.get(task_id, 0) + 1, self._floor + 1)
            task = transitions.created(new, epoch=self.epoch, now=now, version=version, order=order)
            stored = self._tasks.setdefault(task_id, task)
            if stored is task:
                self._last_order = order
                self._floors.pop(task_id, None)
                self._unfinished[task_id] = None
                self._settle(self._learn_created, task)
        finally:
            self._release()
        if stored is task:
            self._tell_change(task, True)
            return task, True
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
        self._acquire()
        try:
            while True:
                task = tasks.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                new = transitions.updated(
                    task, self._clock(), message, current, total, percent, advance, unit, metadata
                )
                if tasks.get(task_id) is task:
                    tasks[task_id] = new
                    break
        finally:
            self._release()
        if self.on_change is not None:
            self._tell_change(new, False)
        return new

    def start(self, task_id: str) -> Task:
        return self._change(task_id, transitions.begun)

    def complete(self, task_id: str, result: bytes | None) -> Task:
        return self._change(task_id, lambda task, now: transitions.ended(task, now, COMPLETED, result=result))

    def fail(self, task_id: str, failure: TaskFailure) -> Task:
        return self._change(task_id, lambda task, now: transitions.ended(task, now, FAILED, failure=failure))

    def request_cancel(self, task_id: str) -> Task:
        return self._change(task_id, transitions.asked_to_stop)

    def cancel(self, task_id: str) -> Task:
        return self._change(task_id, lambda task, now: transitions.ended(task, now, CANCELLED))

    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        """Store what ``change`` makes of the task; tell it, and make room if that was an end."""
        self._acquire()
        try:
            while True:
                task = self._tasks.get(task_id)
                if task is None:
                    raise TaskNotFound(task_id)
                new = change(task, self._clock())
                if new is task:
                    return task
                if self._tasks.get(task_id) is task:
                    self._tasks[task_id] = new
                    break
            if new.finished:
                self._unfinished.pop(task_id, None)
                self._settle(self._learn_finished, new)
        finally:
            self._release()
        self._tell_change(new, False)
        if new.finished:
            self._make_room(new.info.user_id)
        return new

    # Removal.

    def remove(self, task_id: str) -> Removed:
        task = self._tasks.get(task_id)
        if task is not None and not task.finished:
            raise InvalidValue("task_id", f"the task {task_id!r} is {task.status}; only a finished one can be removed")
        removed = None if task is None else self._take_out([task])
        if not removed:
            raise TaskNotFound(task_id)
        return removed[0]

    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        if now is None:
            now = self._clock()
        self._acquire()
        try:
            order = self._shelf.order
            latest = now + self._retention
            due: list[Task] = []
            for task_id, over in order.items():
                if over > latest:  # The clock was ahead when the task ended, and has been put right.
                    order[task_id] = latest
                elif over <= now:
                    due.append(self._tasks[task_id])
                else:
                    break
            crowded = list(self._crowded)
            self._crowded.clear()
        finally:
            self._release()
        removed: list[Removed] = []
        for start in range(0, len(due), _BATCH):
            removed += self._take_out([task for task in due[start : start + _BATCH] if not self.pinned(task.task_id)])
        for shelf in crowded:
            shelf.look_at = shelf.bound + 1
            removed += self._thin_out(shelf)
        return removed

    def _make_room(self, user_id: str | None) -> None:
        if len(self._shelf.order) >= self._shelf.look_at:
            self._thin_out(self._shelf)
        shelf = None if user_id is None else self._shelves.get(user_id)
        if shelf is not None and len(shelf.order) >= shelf.look_at:
            self._thin_out(shelf)

    def _thin_out(self, shelf: _Shelf) -> builtins.list[Removed]:
        """Remove what is beyond the bound, the oldest end first, and pass over what is pinned."""
        removed: list[Removed] = []
        passed = 0
        while True:
            self._acquire()
            try:
                order = shelf.order
                excess = min(len(order) - shelf.bound, _BATCH)
                oldest = [self._tasks[task_id] for task_id in islice(order, passed, passed + max(0, excess))]
                if not oldest:
                    # Not a look at every pinned task for each end: that would be quadratic.
                    shelf.look_at = max(shelf.bound + 1, len(order) + passed // 4)
                    if excess > 0:
                        self._crowded[shelf] = None
                    return removed
            finally:
                self._release()
            leaving = [task for task in oldest if not self.pinned(task.task_id)]
            passed += len(oldest) - len(leaving)
            removed += self._take_out(leaving)

    def _take_out(self, tasks: builtins.list[Task]) -> builtins.list[Removed]:
        """Remove those finished tasks that are still there; tell it."""
        removed: list[Removed] = []
        self._acquire()
        try:
            now = int(self._clock() * 1e6)
            for task in tasks:
                task_id = task.task_id
                if self._tasks.get(task_id) is not task:
                    continue
                del self._tasks[task_id]
                info = task.info
                gone = Removed(task_id, info.user_id, info.groups, info.epoch, task.version + 1)
                self._remember(gone, now)
                self._settle(self._learn_removed, task)
                removed.append(gone)
        finally:
            self._release()
        for gone in removed:
            self._tell_removed(gone)
        return removed

    def _remember(self, removed: Removed, now: int) -> None:
        """See to it that the id goes on above the version with which it has left."""
        if removed.version > now:
            self._floors[removed.task_id] = removed.version
        else:
            # The clock has passed it. One number for all of these is enough, and needed only if the clock steps back.
            self._floor = max(self._floor, removed.version)
        if len(self._floors) > _MAX_FLOORS:
            self._floor = max(self._floor, *self._floors.values())
            self._floors.clear()

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
        bound = None if before is None else self._place(before)
        owners = _owners(user_id, groups)
        orders: set[int] = set()
        self._acquire()
        try:
            for owner in owners:
                pages = self._pages.get(owner)
                if pages is not None:
                    if finished is not True:
                        orders.update(pages[0].below(bound, limit + 1))
                    if finished is not False:
                        orders.update(pages[1].below(bound, limit + 1))
            newest = sorted(orders, reverse=True)
            tasks = [self._tasks[self._by_order[order]] for order in newest[:limit]]
        finally:
            self._release()
        return tasks, f"{self.epoch}.{newest[limit - 1]}" if len(newest) > limit else None

    def _place(self, before: str) -> int:
        epoch, _, order = before.rpartition(".")
        if epoch != self.epoch or not (order.isascii() and order.isdecimal() and len(order) < 20):
            raise InvalidValue("before", "not the cursor of a page of this registry")
        return int(order)

    def unfinished(self) -> builtins.list[Task]:
        self._acquire()
        try:
            return [self._tasks[task_id] for task_id in self._unfinished]
        finally:
            self._release()

    # Indexes. Called with the lock held.

    def _settle(self, learn: Callable[[Task], None], task: Task) -> None:
        """Teach the indexes. Inside of another settling (a finalizer's change) leave the news to that one."""
        self._news.append((learn, task))
        if self._settling:
            return
        self._settling = True
        try:
            while self._news:
                learn, task = self._news.popleft()
                learn(task)
        finally:
            self._settling = False

    def _learn_created(self, task: Task) -> None:
        info = task.info
        self._by_order[info.order] = task.task_id
        for owner in _owners(info.user_id, info.groups):
            pages = self._pages.get(owner)
            if pages is None:
                pages = self._pages[owner] = (Index(), Index())
            pages[0].add(info.order)

    def _learn_finished(self, task: Task) -> None:
        info = task.info
        for owner in _owners(info.user_id, info.groups):
            unfinished, finished = self._pages[owner]
            unfinished.discard(info.order)
            finished.add(info.order)
        over = (task.completed or 0.0) + self._retention
        self._shelf.order[task.task_id] = over
        if info.user_id is not None:
            shelf = self._shelves.get(info.user_id)
            if shelf is None:
                shelf = self._shelves[info.user_id] = _Shelf(self._max_tasks_per_user)
            shelf.order[task.task_id] = over

    def _learn_removed(self, task: Task) -> None:
        info = task.info
        del self._by_order[info.order]
        for owner in _owners(info.user_id, info.groups):
            unfinished, finished = self._pages[owner]
            finished.discard(info.order)
            if not unfinished and not finished:
                del self._pages[owner]
        del self._shelf.order[task.task_id]
        if info.user_id is not None:
            shelf = self._shelves[info.user_id]
            del shelf.order[task.task_id]
            if not shelf.order:
                del self._shelves[info.user_id]
                self._crowded.pop(shelf, None)

    # Processes.

    def adopt(self) -> None:
        if self._forked:
            self._open()

    def _after_fork(self) -> None:
        """In the child: the lock may be held by a thread that is not there any more."""
        lock = self._new_lock()
        self._acquire, self._release = _refuse, lock.release
        self._forked = True


def _refuse() -> NoReturn:
    raise NotTheServer(
        "This process was forked from the one that holds the tasks of memory://, and no viewer is connected to it. "
        "Run the job in a thread of the server, or keep the tasks in a store that processes share (REALTIME_REGISTRY)."
    )


def _owners(user_id: str | None, groups: Collection[str]) -> builtins.list[str]:
    """The keys under which tasks are found; the first letter keeps users and groups apart."""
    owners = [f"g{group}" for group in dict.fromkeys(groups)]
    if user_id is not None:
        owners.append(f"u{user_id}")
    return owners


_guarded: weakref.WeakSet[MemoryRegistry] | None = None


def _guard(registry: MemoryRegistry) -> None:
    """Have the registry told when this process is forked. A hook can never be taken back, so there is one for all."""
    global _guarded
    if _guarded is None:
        _guarded = weakref.WeakSet()
        os.register_at_fork(after_in_child=_after_fork)
    _guarded.add(registry)


def _after_fork() -> None:
    for registry in _guarded or ():
        registry._after_fork()
