"""The news of a cluster: what is told of a task comes from the server that has it.

A script tells of a task by the one channel that is in the task's slot, so that a change and its news are one thing in a
cluster too, and each server carries the news of its own tasks. The rooms of users and groups are in the slot of the
lists: there is told that a task is about to come, or listed once more, in the script that lists it, and that one was
removed. So a room is followed, and with it each of its unfinished tasks: those that its list holds, and those that
come. As a task is looked at once more when its channel is followed, nothing is lost in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ...protocol import task_room
from ...task import Task
from ..base import Removed
from .feed import Feed

#: Seconds that a task is waited for that was about to come.
_AWAITED: Final = 60.0
#: The same where one of its id has ended, or is in no room that is followed.
_BRIEF: Final = 2.0
_TASK: Final = task_room("")


class ShardedFeed(Feed):
    """See the module, and `Feed`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        #: The rooms of tasks that are followed for other rooms, and until when even if the task is not here.
        self._implied: dict[str, float] = {}
        self._fresh: list[str] = []
        #: Those of them that are not followed yet, or not looked at since.
        self._unmet: set[str] = set()
        self._over: list[str] = []
        super().__init__(*args, **settings)

    def _begin(self) -> None:
        super()._begin()
        self._implied, self._unmet, self._fresh, self._over = {}, set(), [], []

    def _rooms(self) -> list[str]:
        self._fresh.clear()
        self._unmet.update(self._implied)
        return list(dict.fromkeys([*super()._rooms(), *self._implied]))

    def _settle_counts(self) -> tuple[list[str], list[str]]:
        new, left = super()._settle_counts()
        new += [room for room in self._fresh if room not in new]
        left += [room for room in self._over if room not in self._interest]
        self._fresh, self._over = [], []
        return new, [room for room in left if room not in self._implied]

    def _imply(self, room: str, until: float) -> None:
        if room not in self._implied and room not in self._interest:
            self._fresh.append(room)
            self._unmet.add(room)
        self._implied[room] = until

    def _read(self, data: bytes) -> None:
        if data.startswith(b"N "):
            self._listed(data[2:].decode())
        else:
            super()._read(data)

    def _listed(self, task_id: str) -> None:
        """A task is about to come, or was in no list for a while: whoever has read them then does not know of it."""
        room, held = task_room(task_id), self.mirror.held(task_id)
        followed = room in self._implied or room in self._interest
        self._imply(room, time.monotonic() + _AWAITED)
        if held is not None:
            self._tell.change(held, False)
        elif followed:
            self._want(task_id)

    def _output(self, data: bytes) -> None:
        if not self._comes(data.split(b" ", 2)[1].decode()):
            super()._output(data)

    def _fetch(self) -> None:
        for task_id in filter(self._comes, list(self._wanted)):
            del self._wanted[task_id]
        super()._fetch()

    def _comes(self, task_id: str) -> bool:
        """Whether a task is about to be looked at with all that it has written, so that each piece is told once."""
        return self.mirror.held(task_id) is None and task_room(task_id) in self._unmet

    def _take(self, task: Task, created: bool, before: Callable[[], None] | None = None) -> None:
        if before is None and self._comes(task.task_id):
            return
        super()._take(task, created, before)
        if self.mirror.held(task.task_id) is None and not self.mirror.follows(task):
            self._lapse(task_room(task.task_id))  # its rooms were left since it was said to come
        elif not task.finished and self.mirror.held(task.task_id) is not None:
            self._imply(task_room(task.task_id), 0.0)

    def _lapse(self, room: str) -> None:
        """Wait for what is in a room only briefly, if it is followed for other rooms: it may be none of theirs."""
        if room in self._implied:
            self._implied[room] = min(time.monotonic() + _BRIEF, self._implied[room])

    def _remove(self, removed: Removed) -> None:
        # It is told by the task's channel and by those of its rooms.
        if self.mirror.left_with(removed.task_id) < removed.version:
            super()._remove(removed)

    def _meet(self, rooms: list[str], since: float) -> None:
        self._unmet.difference_update(rooms)
        super()._meet(rooms, since)
        implied = [room for room in rooms if room in self._implied]
        if implied:
            self._make_up(implied, time.time() + self._link.offset, 0.0, told_output=0)
            for room in implied:
                held = self.mirror.held(room.removeprefix(_TASK))
                if held is not None and held.finished:
                    self._lapse(room)

    def _has_output(self, task: Task) -> bool:
        # What is written before its channel is followed is told then, which takes to know what was there before.
        return not task.finished or super()._has_output(task)

    def _tick(self) -> None:
        now = time.monotonic()
        for room, until in list(self._implied.items()):
            held = self.mirror.held(room.removeprefix(_TASK))
            if until < now and room not in self._unmet and (held is None or held.finished):
                del self._implied[room]
                self._over.append(room)
        super()._tick()
