"""What was missed of rooms: read from the store, and compared with what is in the mirror."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from ...protocol import group_room, task_room, user_room
from ...task import Task
from ..base import Removed
from .link import Link
from .mirror import Mirror

#: Seconds that clocks may be apart, and that an entry in a list may come late.
_MARGIN: Final = 5.0
#: Rooms, or tasks, read on one way there and back.
_BATCH: Final = 256
_TASK, _USER, _GROUP = task_room(""), user_room(""), group_room("")


class Missed(NamedTuple):
    """What differs from the mirror, and the tasks that have written since."""

    tasks: list[Task]
    removed: list[Removed]
    written: list[Task]


class CatchUp:
    """``read_many`` reads tasks by their ids, ``output`` all that is kept of a task's streams, with its offset."""

    def __init__(
        self, link: Link, read_many: Callable[[Collection[str]], dict[str, Task]],
        output: Callable[[str], dict[str, tuple[int, bytes]]],
    ) -> None:  # fmt: skip
        self._link = link
        self.tasks = read_many
        self.output = output

    def read(self, rooms: Collection[str], since: float, mirror: Mirror) -> Missed:
        """What happened in rooms after ``since``, in seconds since 1970 by the store's clock.

        Looked at are the unfinished tasks of the rooms, those that came since, and all that the mirror holds of them.
        """
        micros = max(0, int((since - _MARGIN) * 1e6))
        task_ids: dict[str, None] = {}
        gone: dict[str, _Gone] = {}
        listed = [room for room in rooms if not room.startswith(_TASK)]
        task_ids.update((room.removeprefix(_TASK), None) for room in rooms if room.startswith(_TASK))
        keys = self._link.keys
        for start in range(0, len(listed), _BATCH):
            batch = listed[start : start + _BATCH]
            answers = self._link.ask(
                *(("ZRANGE", keys.unfinished(room), 0, -1) for room in batch),
                *(("ZRANGEBYSCORE", keys.finished(room), micros, "+inf") for room in batch),
                *(("ZRANGEBYSCORE", keys.removals(room), micros, "+inf") for room in batch),
            )
            for place, answer in enumerate(answers):
                for member in answer:
                    number, _, task_id = member.decode().partition(" ")
                    if place < 2 * len(batch):
                        task_ids[task_id] = None
                    else:
                        gone.setdefault(task_id, _Gone()).add(int(number), batch[place - 2 * len(batch)])
        for room in rooms:
            task_ids.update(dict.fromkeys(mirror.rooms.get(room, ())))
        return self._compare(list(task_ids), gone, mirror)

    def _compare(self, task_ids: list[str], gone: dict[str, _Gone], mirror: Mirror) -> Missed:
        missed = Missed([], [], [])
        there: set[str] = set()
        for start in range(0, len(task_ids), _BATCH):
            batch = task_ids[start : start + _BATCH]
            answers = self._link.ask(*(("HMGET", self._link.keys.task(one), "v", "n") for one in batch))
            changed = []
            for task_id, (version, written) in zip(batch, answers, strict=True):
                if written is None:  # there is none, or what is left of one
                    continue
                there.add(task_id)
                held = mirror.held(task_id)
                if held is None or held.version != int(version):
                    changed.append(task_id)
                elif int(written) != held.output_size + held.output_more or (
                    int(written) and not mirror.output_ends(task_id)
                ):
                    missed.written.append(held)
            read = self.tasks(changed)
            missed.tasks.extend(read.values())
            missed.written.extend(task for task in read.values() if task.output_size or task.output_more)
            there -= set(changed) - set(read)  # left in between
        for task_id in task_ids:
            held, left = mirror.held(task_id), gone.pop(task_id, None)
            if task_id not in there and held is not None:
                version = max(held.version + 1, left.version if left is not None else 0)
                missed.removed.append(Removed(task_id, held.user_id, held.groups, mirror.epoch, version))
            elif task_id not in there and left is not None:
                gone[task_id] = left
        missed.removed.extend(
            Removed(task_id, left.user, tuple(left.groups), mirror.epoch, left.version)
            for task_id, left in gone.items()
        )
        return missed


class _Gone:
    """A removal, as far as it is told to rooms that are followed here."""

    def __init__(self) -> None:
        self.version = 0
        self.user: str | None = None
        self.groups: list[str] = []

    def add(self, version: int, room: str) -> None:
        self.version = max(self.version, version)
        if room.startswith(_USER):
            self.user = room.removeprefix(_USER)
        else:
            self.groups.append(room.removeprefix(_GROUP))
