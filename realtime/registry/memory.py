"""The tasks of one process, in a locked dict. The default: fast, and forgotten with the process.

How it works. `_tasks` alone says what is true: a change reads a record, makes the next one and stores it in one step.
The indexes behind pages and eviction follow it: which tasks they must look at again waits in `_news`, from before the
change on, so that a Ctrl-C in the middle of one is caught up with at the next.

The lock is held for dictionary work only. It is re-entrant, because the garbage collector may run a finalizer between
any two steps, and a finalizer may end a task (that of a generator which was not read to its end): another lock would
wait for itself for ever. For the same reason a record is stored only over the one that it was made from.
"""

from __future__ import annotations

import _thread
import builtins
import contextlib
import logging
import os
import secrets
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, Final, NoReturn

from ..errors import InvalidValue, NotTheServer, TaskExists, TaskNotFound
from ..task import CANCELLED, COMPLETED, FAILED, NewTask, Task, TaskFailure
from . import transitions
from .base import Registry, Removed
from .index import Index

_log = logging.getLogger("realtime")

#: Tasks removed while the lock is held once.
_BATCH: Final = 256
#: Removed ids that are remembered one by one; beyond, one number stands for all of them.
_MAX_FLOORS: Final = 1024


class _Shelf:
    """Finished tasks under one bound, the oldest end first."""

    __slots__ = ("bound", "look_at", "order")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        #: `TaskInfo.order` → when the retention is over, in seconds since 1970.
        self.order: OrderedDict[int, float] = OrderedDict()
        #: How full the shelf must be for another look; where tasks are pinned, more than the bound.
        self.look_at = bound + 1


class MemoryRegistry(Registry):
    """See `Registry`. ``retention`` is in seconds; ``lock`` makes a native, re-entrant lock.

    After a fork all but `get` raises `NotTheServer` in the child, where no viewer would see a change, until `adopt`
    says that viewers come to the child (a server that loads the app and then forks). It then begins anew, empty.
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
        self._adopting = lock()
        self._open()
        _guard(self)

    def _open(self) -> None:
        self.epoch = secrets.token_hex(8)
        self._tasks: dict[str, Task] = {}
        # The indexes know a task by its order (`TaskInfo.order`).
        self._last_order = 0
        self._ids: dict[int, str] = {}
        self._unfinished: dict[int, str] = {}
        #: Per owner (see `_owners`) its unfinished and its finished tasks.
        self._pages: dict[str, tuple[Index, Index]] = {}
        self._shelf = _Shelf(self._max_tasks)
        self._shelves: dict[str, _Shelf] = {}
        #: Shelves left over their bound, because tasks are pinned.
        self._crowded: dict[_Shelf, None] = {}
        self._news: deque[Task] = deque()
        self._settling = False
        #: Versions of removed ids that the clock has not passed; and the highest of all the others.
        self._floors: dict[str, int] = {}
        self._floor = 0
        self._lock = self._new_lock()
        # Bound methods are half the price of a ``with``; for the hot path.
        self._acquire: Callable[[], object] = self._lock.acquire
        self._release: Callable[[], object] = self._lock.release
        self._forked = False

    # Changes.

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        task_id = new.task_id
        with self._lock:
            now = self._clock()
            micros = int(now * 1e6)
            order = max(micros, self._last_order + 1)
            version = max(micros, self._floors.get(task_id, 0) + 1, self._floor + 1)
            task = transitions.created(new, epoch=self.epoch, now=now, version=version, order=order)
            self._last_order = order
            self._news.append(task)
            stored = self._tasks.setdefault(task_id, task)
            self._settle()
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
                if tasks.get(task_id) is task:
                    tasks[task_id] = new
                    break
        except BaseException:
            self._release_if_held()
            raise
        self._release()
        on_change = self.on_change
        if on_change is not None:
            try:
                on_change(new, False)
            except Exception:
                _log.exception("Telling a change of the task %s failed", task_id)
        return new

    def _release_if_held(self) -> None:
        with contextlib.suppress(RuntimeError):  # Only a re-entrant lock says so for certain.
            self._release()

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

    def stall(self, task_id: str, since: float) -> Task:
        return self._change(task_id, lambda task, now: transitions.stalled(task, since))

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
                if self._tasks.get(task_id) is task:
                    self._tasks[task_id] = new
                    break
            self._settle()
        self._tell_change(new, False)
        if new.finished:
            self._make_room(new.info.user_id)
        return new

    # Removal.

    def remove(self, task_id: str) -> Removed:
        task = self._tasks.get(task_id)
        if task is not None and not task.finished:
            raise InvalidValue("task_id", f"the task {task_id!r} is {task.status}; only a finished one can be removed")
        removed = [] if task is None else self._take_out([task])
        if not removed:
            raise TaskNotFound(task_id)
        return removed[0]

    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        if now is None:
            now = self._clock()
        with self._lock:
            latest = now + self._retention
            due: list[int] = []
            for order, over in self._shelf.order.items():
                if over > latest:  # The clock was ahead when the task ended, and has been put right since.
                    self._shelf.order[order] = latest
                elif over <= now:
                    due.append(order)
                else:
                    break
            crowded = list(self._crowded)
            self._crowded.clear()
        removed: list[Removed] = []
        for start in range(0, len(due), _BATCH):
            removed += self._take_out(self._unpinned(due[start : start + _BATCH]))
        for shelf in crowded:
            removed += self._thin_out(shelf)
        return removed

    def _make_room(self, user_id: str | None) -> None:
        for shelf in (self._shelf, None if user_id is None else self._shelves.get(user_id)):
            if shelf is not None and len(shelf.order) >= shelf.look_at:
                self._thin_out(shelf)

    def _thin_out(self, shelf: _Shelf) -> builtins.list[Removed]:
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
                        self._crowded[shelf] = None
                    return removed
            gone = self._take_out(self._unpinned(oldest))
            passed += len(oldest) - len(gone)
            removed += gone

    def _unpinned(self, orders: builtins.list[int]) -> builtins.list[Task]:
        """Those of the tasks that may leave. Called without the lock, as `pinned` is not ours."""
        with self._lock:
            tasks = [self._tasks.get(self._ids.get(order, "")) for order in orders]
        return [task for task in tasks if task is not None and not self.pinned(task.task_id)]

    def _take_out(self, tasks: builtins.list[Task]) -> builtins.list[Removed]:
        """Remove those of the finished tasks that are still there; tell it."""
        removed: list[Removed] = []
        with self._lock:
            now = int(self._clock() * 1e6)
            for task in tasks:
                if self._tasks.get(task.task_id) is task:
                    self._news.append(task)
                    gone = Removed(
                        task.task_id, task.info.user_id, task.info.groups, task.info.epoch, task.version + 1
                    )
                    self._remember(gone, now)
                    del self._tasks[task.task_id]
                    removed.append(gone)
            self._settle()
        for gone in removed:
            self._tell_removed(gone)
        return removed

    def _remember(self, removed: Removed, now: int) -> None:
        """See to it that the id goes on above the version that it has left with.

        The clock does that by itself for a version that it has passed, unless it steps back; so for all of these
        the highest is enough, and only those ahead of the clock need a place of their own.
        """
        if removed.version <= now:
            self._floor = max(self._floor, removed.version)
            return
        self._floors[removed.task_id] = removed.version
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
        bound = None if before is None else self._bound(before)
        wanted = (0, 1) if finished is None else (int(finished),)
        found: set[int] = set()
        with self._lock:
            for owner in _owners(user_id, groups):
                pages = self._pages.get(owner)
                if pages is not None:
                    for which in wanted:
                        found.update(pages[which].below(bound, limit + 1))
            orders = sorted(found, reverse=True)
            tasks = [self._tasks[self._ids[order]] for order in orders[:limit]]
        return tasks, f"{self.epoch}.{orders[limit - 1]}" if len(orders) > limit else None

    def _bound(self, before: str) -> int:
        epoch, _, order = before.rpartition(".")
        if epoch != self.epoch or not (order.isascii() and order.isdecimal() and len(order) < 20):
            raise InvalidValue("before", "no page of this registry has given it")
        return int(order)

    def unfinished(self) -> builtins.list[Task]:
        with self._lock:
            return [self._tasks[task_id] for task_id in self._unfinished.values()]

    # The indexes. Called with the lock held.

    def _settle(self) -> None:
        """Have the indexes follow. What a finalizer changes meanwhile is left to the settling that it interrupts."""
        if self._settling:
            return
        self._settling = True
        try:
            while self._news:
                self._follow(self._news[0])
                self._news.popleft()
        finally:
            self._settling = False

    def _follow(self, known: Task) -> None:
        """Put a task where it belongs by now. To do it twice does no harm."""
        info = known.info
        order = info.order
        task = self._tasks.get(known.task_id)
        if task is None or task.info.order != order:
            self._forget(known)
            return
        self._ids[order] = known.task_id
        owners = _owners(info.user_id, info.groups)
        if not task.finished:
            self._unfinished[order] = known.task_id
            for owner in owners:
                pages = self._pages.get(owner)
                if pages is None:
                    pages = self._pages[owner] = (Index(), Index())
                pages[0].add(order)
            return
        self._unfinished.pop(order, None)
        for owner in owners:
            self._pages[owner][1].add(order)
            self._pages[owner][0].discard(order)
        over = (task.completed or 0.0) + self._retention
        self._shelf.order.setdefault(order, over)
        if info.user_id is not None:
            shelf = self._shelves.get(info.user_id)
            if shelf is None:
                shelf = self._shelves[info.user_id] = _Shelf(self._max_tasks_per_user)
            shelf.order.setdefault(order, over)

    def _forget(self, task: Task) -> None:
        info = task.info
        order = info.order
        self._ids.pop(order, None)
        for owner in _owners(info.user_id, info.groups):
            pages = self._pages.get(owner)
            if pages is not None:
                pages[0].discard(order)
                pages[1].discard(order)
                if not pages[0] and not pages[1]:
                    del self._pages[owner]
        self._unfinished.pop(order, None)
        self._shelf.order.pop(order, None)
        shelf = None if info.user_id is None else self._shelves.get(info.user_id)
        if shelf is not None and info.user_id is not None:
            shelf.order.pop(order, None)
            if not shelf.order:
                del self._shelves[info.user_id]
                self._crowded.pop(shelf, None)

    # Processes.

    def adopt(self) -> None:
        if self._forked:
            with self._adopting:
                if self._forked:
                    self._open()

    def _leave_behind(self) -> None:
        """In a forked child. The old lock may be held by a thread that is not there any more."""
        self._adopting = self._new_lock()
        self._lock = _Refusal()
        self._acquire, self._release = self._lock.__enter__, _adrift
        self._forked = True


class _Refusal:
    """In the place of the lock."""

    def __enter__(self) -> NoReturn:
        raise NotTheServer(
            "This process was forked from the one that holds the tasks of memory://, and no viewer is connected to "
            "it. Run the job on a thread of the server, or set REALTIME_REGISTRY to a store that processes share."
        )

    def __exit__(self, *_: object) -> None: ...


def _adrift() -> NoReturn:
    raise RuntimeError("the lock is not held")


def _owners(user_id: str | None, groups: Collection[str]) -> builtins.list[str]:
    """The keys under which tasks are found; the first letter keeps users and groups apart."""
    owners = [f"g{group}" for group in groups]
    if user_id is not None:
        owners.append(f"u{user_id}")
    return owners


_guarded: weakref.WeakSet[MemoryRegistry] | None = None


def _guard(registry: MemoryRegistry) -> None:
    """Have the registry told in a forked child. A hook can never be taken back, so there is one for all of them."""
    global _guarded
    if _guarded is None:
        _guarded = weakref.WeakSet()
        os.register_at_fork(after_in_child=_after_fork)
    _guarded.add(registry)


def _after_fork() -> None:
    for registry in _guarded or ():
        registry._leave_behind()
