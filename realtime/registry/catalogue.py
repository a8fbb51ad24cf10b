"""Which tasks are whose, which have ended, and which of these must leave: the indexes of `memory`.

The catalogue knows a task by its order (`TaskInfo.order`), and learns of it by `follow`. It has no lock of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator

from ..task import Task
from .index import Index


class Shelf:
    """Finished tasks under one bound, the oldest end first."""

    __slots__ = ("bound", "look_at", "order")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        #: Order → when the retention is over, in seconds since 1970 (asked of the shelf of all tasks only).
        self.order: OrderedDict[int, float] = OrderedDict()
        #: How full the shelf must be for another look; where tasks are pinned, more than the bound.
        self.look_at = bound + 1


class Catalogue:
    """See the module. ``retention`` in seconds; the other two are the bounds of finished tasks."""

    def __init__(self, retention: float, max_tasks: int, max_tasks_per_user: int) -> None:
        self._retention = retention
        self._max_tasks_per_user = max_tasks_per_user
        #: Order → task id; of all tasks, and of those that have not ended.
        self.ids: dict[int, str] = {}
        self.unfinished: dict[int, str] = {}
        #: By owner (see `_owners`): its unfinished and its finished tasks.
        self._pages: dict[str, tuple[Index, Index]] = {}
        self._shelf = Shelf(max_tasks)
        self._shelves: dict[str, Shelf] = {}
        #: Shelves left over their bound, because tasks are pinned.
        self.crowded: dict[Shelf, None] = {}
        #: Finished parts that are on no shelf, by the id of the task that they are parts of: see `keep`.
        self._kept: dict[str, dict[int, float]] = {}

    def follow(self, known: Task, task: Task | None) -> None:
        """Put a task that is known where it belongs, now that ``task`` is stored under its id.

        To do it twice does no harm: an interrupted call is made up for by another one.
        """
        info = known.info
        order = info.order
        if task is None or task.info.order != order:
            self._forget(known)
            return
        self.ids[order] = known.task_id
        for owner in _owners(info.user_id, info.groups):
            pages = self._pages.get(owner)
            if pages is None:
                pages = self._pages[owner] = (Index(), Index())
            pages[task.finished].add(order)
            pages[not task.finished].discard(order)
        if not task.finished:
            self.unfinished[order] = known.task_id
            return
        self.unfinished.pop(order, None)
        self._unkeep(known)
        self._put(order, info.user_id, (task.completed or 0.0) + self._retention)

    def _put(self, order: int, user_id: str | None, over: float) -> None:
        """Put a finished task on its shelves."""
        self._shelf.order.setdefault(order, over)
        if user_id is not None:
            shelf = self._shelves.get(user_id)
            if shelf is None:
                shelf = self._shelves[user_id] = Shelf(self._max_tasks_per_user)
            shelf.order.setdefault(order, over)

    def keep(self, part: Task) -> None:
        """Take a finished part from its shelves until the task that it is a part of has ended.

        There may be ten thousand that must stay till then: nobody should look at them again and again.
        """
        info = part.info
        over = self._shelf.order.pop(info.order, None)
        shelf = self._shelves.get(info.user_id or "")
        if shelf is not None:
            shelf.order.pop(info.order, None)
        if over is not None:
            self._kept.setdefault(info.parent_id or "", {})[info.order] = over

    def _unkeep(self, task: Task) -> None:
        """What has ended, or left, is kept no more, nor are its parts."""
        kept = self._kept.get(task.info.parent_id or "")
        if kept is not None and kept.pop(task.info.order, None) is not None and not kept:
            del self._kept[task.info.parent_id or ""]
        for order, over in self._kept.pop(task.task_id, {}).items():
            if order in self.ids:
                self._put(order, task.info.user_id, over)

    def _forget(self, known: Task) -> None:
        info = known.info
        order = info.order
        self.ids.pop(order, None)
        self._unkeep(known)
        self.unfinished.pop(order, None)
        for owner in _owners(info.user_id, info.groups):
            pages = self._pages.get(owner)
            if pages is not None:
                for index in pages:
                    index.discard(order)
                if not any(pages):
                    del self._pages[owner]
        self._shelf.order.pop(order, None)
        shelf = None if info.user_id is None else self._shelves.get(info.user_id)
        if shelf is not None and info.user_id is not None:
            shelf.order.pop(order, None)
            if not shelf.order:
                del self._shelves[info.user_id]
                self.crowded.pop(shelf, None)

    def count(self) -> tuple[int, int]:
        """How many tasks have not ended, and how many have."""
        return len(self.unfinished), len(self.ids) - len(self.unfinished)

    def page(
        self, user_id: str | None, groups: Collection[str], bound: int | None, limit: int, finished: bool | None
    ) -> list[int]:
        """The highest ``limit`` orders below ``bound`` (None: of all) of a user's and groups' tasks, descending."""
        wanted = (0, 1) if finished is None else (int(finished),)
        found: set[int] = set()
        for owner in _owners(user_id, groups):
            pages = self._pages.get(owner)
            if pages is not None:
                for which in wanted:
                    found.update(pages[which].below(bound, limit))
        return sorted(found, reverse=True)[:limit]

    def full_shelves(self, user_id: str | None) -> Iterator[Shelf]:
        """Of the shelves that a user's task stands on, those which want a look."""
        for shelf in (self._shelf, None if user_id is None else self._shelves.get(user_id)):
            if shelf is not None and len(shelf.order) >= shelf.look_at:
                yield shelf

    def due(self, now: float) -> list[int]:
        """The tasks whose retention is over, the oldest end first."""
        latest = now + self._retention
        due: list[int] = []
        for order, over in self._shelf.order.items():
            if over > latest:  # The clock was ahead when the task ended, and has been put right since.
                self._shelf.order[order] = latest
            elif over <= now:
                due.append(order)
            else:
                break
        return due


def _owners(user_id: str | None, groups: Collection[str]) -> list[str]:
    """The keys under which tasks are found; the first letter keeps users and groups apart."""
    owners = [f"g{group}" for group in groups]
    if user_id is not None:
        owners.append(f"u{user_id}")
    return owners
