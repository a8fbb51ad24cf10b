"""Which tasks are whose, which have ended, and which of these must leave: the sorted sets beside the tasks.

They are written before a task is created and after it has ended or left, so that no task is ever missing; whoever is
killed in between leaves a member that is out of date. The task itself says what is true, and each reader puts right
what it finds; who sweeps reads all of them, a part at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ...task import NewTask, Task
from .. import transitions
from .codec import encode
from .keys import rooms_with_lists, user_and_groups
from .link import Link

#: Microseconds after which a task that is listed and not there is not about to be created any more.
_CREATION: Final = 60_000_000
#: Seconds that it can be told what was removed.
_REMOVALS_KEPT: Final = 3600
#: Seconds for which it is news that a task has ended.
_OF_LATE: Final = 60.0
#: Seconds from one part of the lists that is looked over to the next.
_LOOK_OVER: Final = 10.0
#: Members read on one way there and back.
_BATCH: Final = 256


#: The keys and arguments of a script.
_Call = tuple[Sequence[str], Sequence[Any]]


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
        #: How much of the lists of all tasks was looked over, and when to go on (monotonic).
        self._passed = {self._keys.live: 0, self._keys.ended: 0}
        self._look_over_at = 0.0

    # Writing.

    def register(self, new: NewTask, now: int | None) -> tuple[int, int]:
        """List a task that is about to be created. Returns its order, and the time in microseconds."""
        keys = [self._keys.meta, self._keys.live]
        keys += [self._keys.unfinished(room) for room in rooms_with_lists(new.user_id, new.groups)]
        args = [new.task_id, "" if now is None else now, *self._keys.channels_of_lists(new.user_id, new.groups)]
        epoch, order, micros = self._link.run("register", keys, args)
        self._link.heard(epoch.decode())
        return int(order), int(micros)

    def beside(self, task: Task) -> list[str]:
        """The lists of an unfinished task, as far as the script that creates it reaches them."""
        return [] if self._link.sharded else self._places(task, finished=False)

    def unregister(self, task: Task) -> None:
        """The task was not created."""
        self._link.run("unlist", [self._keys.over, *self._places(task, finished=False)], _unlisted(_at(task)))

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
        calls = []
        for task, version in gone:
            places = self._places(task, finished=False) + self._places(task, finished=True)
            calls.append(self._unlist(_at(task), places, task, version))
        self._link.run_all("unlist", calls)

    def _unlist(self, member: Member, places: Sequence[str], task: Task, version: int) -> _Call:
        """What takes a member out of lists, and tells the rooms of ``task`` that it has left with this version."""
        keys, rooms = self._keys, rooms_with_lists(task.user_id, task.groups)
        news = b"R %d 0 0 %b" % (version, encode(task))
        args = _unlisted(member, len(rooms), version, int(self._now() * 1e6), news)
        return (
            [keys.over, *map(keys.removals, rooms), *places],
            [*args, *keys.channels_of_lists(task.user_id, task.groups)],
        )

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
            where = {key: list(map(_parsed, answer)) for key, answer in zip(keys, answers, strict=True)}
            members = sorted({member for inside in where.values() for member in inside}, reverse=True)[:wanted]
            if not members:
                break
            tasks = self.read(where, members)
            found += [task for task in tasks if finished is None or task.finished is finished]
            bound = members[-1].order
        return found

    def unfinished(self) -> list[Task]:
        """All tasks that have not ended, the oldest created first."""
        found: list[Task] = []
        for members in self._walk(self._keys.live):
            found += [task for task in self.read({self._keys.live: members}) if not task.finished]
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

    def read(self, where: Mapping[str, Sequence[Member]], members: Sequence[Member] | None = None) -> list[Task]:
        """The tasks that members of lists stand for: those of ``members`` in their order, or all of the only list.

        Puts right what is out of date in these lists.
        """
        if members is None:
            (members,) = where.values()
        there = self._read_many([member.task_id for member in members])
        found: dict[Member, Task | None] = {}
        for member in members:
            task = there.get(member.task_id)
            found[member] = task if task is not None and task.info.order == member.order else None
        self._put_right(where, found)
        return [task for task in found.values() if task is not None]

    def _put_right(self, where: Mapping[str, Sequence[Member]], found: Mapping[Member, Task | None]) -> None:
        """Settle what has ended and is listed as unfinished, and take out what is not there."""
        unsettled: dict[Member, Task] = {}
        dead: dict[Member, list[str]] = {}
        long_ago = int(self._now() * 1e6) - _CREATION
        for key, inside in where.items():
            live = key.startswith(self._keys.live)
            for member in inside:
                task = found.get(member)
                if task is not None and task.finished and live:
                    unsettled[member] = task
                elif task is None and member in found and (member.order < long_ago or not live):
                    dead.setdefault(member, []).append(key)
        for task in unsettled.values():
            self.settle(task)
        if dead:
            self._bury(dead)

    def _bury(self, dead: Mapping[Member, Collection[str]]) -> None:
        """Take members without a task out of all lists that are known of them, given those that they were found in, and
        tell the rooms that these are of: whoever has removed the task may not have come to it."""
        keys, calls = self._keys, []
        left = self._link.ask(*(("HMGET", keys.task(member.task_id), "r", "v") for member in dead))
        for (member, found_in), (record, version) in zip(dead.items(), left, strict=True):
            rooms = [room for room in map(keys.room_of, found_in) if room is not None]
            user_id, groups = user_and_groups(rooms)
            task = transitions.created(
                NewTask(member.task_id, user_id, groups), epoch="", now=0.0, version=0, order=member.order
            )  # fmt: skip
            places = self._places(task, finished=False) + self._places(task, finished=True)
            if record is None:
                calls.append(self._unlist(member, places, task, int(version or self._now() * 1e6)))
            else:  # another has its id
                calls.append(([keys.over, *places], _unlisted(member)))
        self._link.run_all("unlist", calls)

    def look_over(self) -> None:
        """Put the next part of the lists of all tasks right, if it is time: what no other reader may come to."""
        now = time.monotonic()
        if now < self._look_over_at:
            return
        self._look_over_at = now + _LOOK_OVER
        for key, passed in self._passed.items():
            (answer,) = self._link.ask(("ZRANGE", key, passed, passed + _BATCH - 1))
            self._passed[key] = passed + len(answer) if len(answer) == _BATCH else 0
            self.read({key: list(map(_parsed, answer))})

    # Lists that were lost.

    def restore(self, tasks: Collection[Task]) -> None:
        """List those of the tasks that are in no list, and tell that they are there; of an end, if it was of late."""
        keys = self._keys
        listed = self._link.ask(
            *(("ZSCORE", keys.ended if task.finished else keys.live, _member(task)) for task in tasks)
        )
        lost = [task for task, place in zip(tasks, listed, strict=True) if place is None]
        commands: list[Sequence[Any]] = []
        for task in lost:
            if task.finished:
                self.settle(task)
            if task.completed is not None and self._now() - task.completed < _OF_LATE:
                channels = keys.channels_of_lists(task.user_id, task.groups)
                commands += [("SPUBLISH", channel, f"N {task.task_id}") for channel in channels]
        if commands:
            self._link.ask(*commands)
        self._link.run_all(
            "enlist",
            [
                (
                    self._places(task, finished=False),
                    [*_at(task), *keys.channels_of_lists(task.user_id, task.groups)],
                )
                for task in lost
                if not task.finished
            ],
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


def _at(task: Task) -> Member:
    return Member(task.info.order, task.task_id)


def _member(task: Task) -> str:
    return f"{task.info.order} {task.task_id}"


def _parsed(member: bytes) -> Member:
    order, _, task_id = member.decode().partition(" ")
    return Member(int(order), task_id)


def _unlisted(member: Member, rooms: int = 0, version: int = 0, now: int = 0, news: bytes = b"") -> list[Any]:
    return [member.order, member.task_id, rooms, version, now, _REMOVALS_KEPT, news]
