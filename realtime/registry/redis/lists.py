"""Which tasks are whose, which have ended, and which of these must leave: the sorted sets beside the tasks.

They are written before a task is created and after it has ended or left, so that no task is ever missing; whoever is
killed in between leaves a member that is out of date. The task itself says what is true, and each reader puts right
what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ...task import NewTask, Task
from .cluster import ClusterLink
from .codec import encode
from .keys import rooms_with_lists
from .link import Link
from .relist import Relist

#: Microseconds after which a task that is listed and not there is not about to be created any more.
_CREATION: Final = 60_000_000
#: Seconds that it can be told what was removed.
_REMOVALS_KEPT: Final = 3600
#: Members read on one way there and back.
_BATCH: Final = 256


class Member(NamedTuple):
    """A task in a list: its order, and its id."""

    order: int
    task_id: str


class Shelf(NamedTuple):
    """Finished tasks under one bound, by their end."""

    key: str
    bound: int


class Lists:
    """``read_many`` reads tasks by their ids; ``now`` is the clock, in seconds as ``retention``; the bounds are those
    of finished tasks."""

    def __init__(
        self, link: Link, read_many: Callable[[Collection[str]], dict[str, Task]], now: Callable[[], float],
        max_tasks: int, max_tasks_per_user: int, retention: float,
    ) -> None:  # fmt: skip
        self._link = link
        self._keys = link.keys
        self._read_many = read_many
        self._now = now
        self._retention = retention
        self._all = Shelf(self._keys.ended, max_tasks)
        self._max_tasks_per_user = max_tasks_per_user
        #: How full a shelf must be for another look, where tasks are pinned; and shelves that were left too full.
        self._look_at: dict[str, int] = {}
        self._crowded: dict[Shelf, None] = {}
        self._again = Relist(link, read_many, self._restore) if isinstance(link, ClusterLink) else None

    # Writing.

    def register(self, new: NewTask, now: int | None) -> tuple[int, int]:
        """List a task that is about to be created. Returns its order, and the time in microseconds."""
        keys = [self._keys.meta, self._keys.live]
        keys += [self._keys.unfinished(room) for room in rooms_with_lists(new.user_id, new.groups)]
        args = [new.task_id, "" if now is None else now, *self._keys.channels_of_lists(new.user_id, new.groups)]
        epoch, order, micros = self._link.run("register", keys, args)
        self._link.heard(epoch.decode())
        return int(order), int(micros)

    def unregister(self, task: Task) -> None:
        """The task was not created."""
        member, keys = _member(task), self._places(task, finished=False)
        self._link.ask(*(("ZREM", key, member) for key in keys))

    def settle(self, task: Task) -> list[Shelf]:
        """Note an end. Returns the shelves that want a look."""
        own = self._all if task.user_id is None else Shelf(self._keys.ends(task.user_id), self._max_tasks_per_user)
        keys = [self._keys.meta, self._all.key, self._keys.over, own.key, self._keys.live, self._all.key]
        for room in rooms_with_lists(task.user_id, task.groups):
            keys += self._keys.unfinished(room), self._keys.finished(room)
        over = (task.completed or 0.0) + self._retention
        sizes = self._link.run("settle", keys, [task.info.order, task.task_id, repr(over)])
        shelves = dict(zip((self._all, own), sizes, strict=True))
        return [shelf for shelf, size in shelves.items() if size >= self._look_at.get(shelf.key, shelf.bound + 1)]

    def drop(self, gone: Sequence[tuple[Task, int]]) -> None:
        """The tasks have left with these versions."""
        commands: list[Sequence[Any]] = []
        now = int(self._now() * 1e6)
        for task, version in gone:
            member = _member(task)
            for room in rooms_with_lists(task.user_id, task.groups):
                key = self._keys.removals(room)
                commands.append(("ZADD", key, now, f"{version} {task.task_id}"))
                commands.append(("ZREMRANGEBYSCORE", key, "-inf", now - _REMOVALS_KEPT * 1_000_000))
                commands.append(("EXPIRE", key, _REMOVALS_KEPT))
            places = self._places(task, finished=False) + self._places(task, finished=True)
            commands += [("ZREM", key, member) for key in places]
            commands.append(("HDEL", self._keys.over, member))
            for channel in self._keys.channels_of_lists(task.user_id, task.groups):
                commands.append(("SPUBLISH", channel, b"R %d 0 0 %b" % (version, encode(task))))
        if commands:
            self._link.ask(*commands)

    def _places(self, task: Task, *, finished: bool) -> list[str]:
        rooms = rooms_with_lists(task.user_id, task.groups)
        if not finished:
            return [self._keys.live, *map(self._keys.unfinished, rooms)]
        shelves = [self._all.key] if task.user_id is None else [self._all.key, self._keys.ends(task.user_id)]
        return [*shelves, *map(self._keys.finished, rooms)]

    # Reading.

    def page(self, rooms: Collection[str], bound: int | None, limit: int, finished: bool | None) -> list[Task]:
        """The newest ``limit`` tasks of rooms that were created before ``bound`` (None: of all), the newest first."""
        # A task that ends meanwhile moves from the first to the second: read in this order it is not passed over.
        keys = [] if finished else [self._keys.unfinished(room) for room in rooms]
        keys += [] if finished is False else [self._keys.finished(room) for room in rooms]
        found: list[Task] = []
        while keys and len(found) < limit:
            top = "+inf" if bound is None else f"({bound}"
            wanted = limit - len(found)
            answers = self._link.ask(*(("ZREVRANGEBYSCORE", key, top, "-inf", "LIMIT", 0, wanted) for key in keys))
            members = sorted({_parsed(member) for answer in answers for member in answer}, reverse=True)[:wanted]
            if not members:
                break
            tasks = self.read(members, keys)
            found += [task for task in tasks if finished is None or task.finished is finished]
            bound = members[-1].order
        return found

    def unfinished(self) -> list[Task]:
        """All tasks that have not ended, the oldest created first."""
        found: list[Task] = []
        for members in self._walk(self._keys.live):
            found += [task for task in self.read(members, [self._keys.live]) if not task.finished]
        return found

    def _walk(self, key: str) -> Iterator[list[Member]]:
        bound = "-inf"
        while True:
            (answer,) = self._link.ask(("ZRANGEBYSCORE", key, bound, "+inf", "LIMIT", 0, _BATCH))
            members = [_parsed(member) for member in answer]
            if not members:
                return
            yield members
            bound = f"({members[-1].order}"

    def read(self, members: Sequence[Member], keys: Sequence[str]) -> list[Task]:
        """The tasks that the members of these lists stand for, in their order. Puts right what is out of date."""
        there = self._read_many([member.task_id for member in members])
        tasks: list[Task] = []
        dead: list[str] = []
        ended: list[Task] = []
        long_ago = int(self._now() * 1e6) - _CREATION
        for member in members:
            task = there.get(member.task_id)
            if task is not None and task.info.order == member.order:
                tasks.append(task)
                if task.finished:
                    ended.append(task)
            elif member.order < long_ago:
                dead.append(f"{member.order} {member.task_id}")
        if dead:
            self._link.ask(*(("ZREM", key, *dead) for key in keys))
        if ended and any(key.startswith(self._keys.live) for key in keys):
            self._repair(ended)
        return tasks

    def _repair(self, ended: Sequence[Task]) -> None:
        """Settle the tasks of an end that was stored and not settled."""
        key = self._keys.ended
        places = self._link.ask(*(("ZSCORE", key, _member(task)) for task in ended))
        for task, place in zip(ended, places, strict=True):
            if place is None:
                self.settle(task)

    # Lists that were lost.

    def relist(self) -> None:
        """Go on looking for tasks that are in no list, where lists can be lost alone."""
        if self._again is not None:
            self._again.step()

    def _restore(self, tasks: Collection[Task]) -> None:
        keys = self._keys
        listed = self._link.ask(
            *(("ZSCORE", keys.ended if task.finished else keys.live, _member(task)) for task in tasks)
        )
        for task, place in zip(tasks, listed, strict=True):
            if place is None and task.finished:
                self.settle(task)
            elif place is None:
                member, channels = _member(task), keys.channels_of_lists(task.user_id, task.groups)
                self._link.ask(
                    *(("ZADD", key, task.info.order, member) for key in self._places(task, finished=False)),
                    *(("SPUBLISH", channel, f"N {task.task_id}") for channel in channels),
                )

    # Who must leave.

    def due(self, now: float, passed: int, most: int) -> list[Member]:
        """Ends whose retention is over, the oldest first, after the first ``passed`` of all."""
        args = [repr(now), repr(now + self._retention), passed, most]
        return [_parsed(member) for member in self._link.run("due", [self._all.key, self._keys.over], args)]

    def beyond(self, shelf: Shelf, passed: int, most: int) -> list[Member]:
        """The oldest ends beyond the bound of a shelf, after the first ``passed``; none when there is nothing to do."""
        (size,) = self._link.ask(("ZCARD", shelf.key))
        excess = size - shelf.bound
        last = passed + min(excess, most) - 1
        oldest = []
        if excess > 0:
            (oldest,) = self._link.ask(("ZRANGE", shelf.key, passed, last))
        if not oldest:
            # To look at every pinned task again at each end would cost more and more.
            look_at = max(shelf.bound + 1, size + passed // 4)
            if look_at > shelf.bound + 1:
                self._look_at[shelf.key] = look_at
            else:
                self._look_at.pop(shelf.key, None)
            if excess > 0:
                self._crowded[shelf] = None
        return [_parsed(member) for member in oldest]

    def take_crowded(self) -> list[Shelf]:
        """The shelves that were left beyond their bound, because tasks are pinned; once."""
        crowded = list(self._crowded)
        self._crowded.clear()
        return crowded


def _member(task: Task) -> str:
    return f"{task.info.order} {task.task_id}"


def _parsed(member: bytes) -> Member:
    order, _, task_id = member.decode().partition(" ")
    return Member(int(order), task_id)
