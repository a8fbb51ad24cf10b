"""What is known here of the rooms that are watched: read by the hub without waiting, written by the feed alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ...concurrency import native_lock
from ...protocol import task_room
from ...task import Task
from ..output import Piece, Stream
from .keys import rooms_of

#: Seconds that an ended task stays here after it was told, unless it is watched for itself.
_KEPT: Final = 60.0
#: Removed tasks whose last version is remembered, so that what was read before does not bring them back.
_MAX_GONE: Final = 4096


class Mirror:
    """See the module. ``want`` is told the id of a task that is asked for and not here; ``tail`` is in bytes."""

    def __init__(self, tail: int, want: Callable[[str], None]) -> None:
        self._tail = tail
        self._want = want
        self.epoch = ""
        #: The rooms that are followed, and their tasks.
        self.rooms: dict[str, set[str]] = {}
        self._tasks: dict[str, Task] = {}
        self._streams: dict[str, dict[str, Stream]] = {}
        self._gone: dict[str, int] = {}
        self._ended: dict[str, float] = {}
        #: Held while bytes of output are moved, and for nothing else.
        self._lock = native_lock()

    # For the hub: any thread.

    def get(self, task_id: str) -> Task | None:
        task = self._tasks.get(task_id)
        if task is None:  # as far as is known here; if there is one, it is announced
            self._want(task_id)
        return task

    def read_output(self, task_id: str, stream: str, offset: int, end: int, most: int) -> Piece | None:
        found = self._streams.get(task_id, {}).get(stream)
        if found is None:
            return None
        with self._lock:
            return found.read(offset, end, most)

    def output_ends(self, task_id: str) -> dict[str, int]:
        return {name: stream.end for name, stream in dict(self._streams.get(task_id, {})).items()}

    # For the feed.

    def held(self, task_id: str) -> Task | None:
        """The task, if it is here."""
        return self._tasks.get(task_id)

    def follow(self, rooms: Iterable[str]) -> None:
        """Keep what is in these rooms from now on."""
        for room in rooms:
            self.rooms.setdefault(room, set())

    def follows(self, task: Task) -> bool:
        """Whether a task is in a room that is followed."""
        return any(room in self.rooms for room in rooms_of(task))

    def leave(self, room: str) -> None:
        """Forget a room, and what is in no other."""
        for task_id in self.rooms.pop(room, ()):
            task = self._tasks.get(task_id)
            if task is not None and not self.follows(task):
                self._drop(task)

    def reset(self, epoch: str) -> None:
        """Forget all but which rooms are followed."""
        self.epoch = epoch
        self.rooms = {room: set() for room in self.rooms}
        self._tasks, self._streams, self._gone, self._ended = {}, {}, {}, {}

    def put(self, task: Task) -> bool:
        """Take in a task as it was at some time. Returns whether that is news."""
        task_id, held = task.task_id, self._tasks.get(task.task_id)
        if held is not None and held.version >= task.version:
            if held.version == task.version and held.output_more < task.output_more:
                self._tasks[task_id] = task
            return False
        rooms = [room for room in rooms_of(task) if room in self.rooms]
        if not rooms or task.info.epoch != self.epoch or self._gone.get(task_id, 0) >= task.version:
            return False
        self._tasks[task_id] = task
        for room in rooms:
            self.rooms[room].add(task_id)
        if task.finished:
            self._ended[task_id] = time.monotonic() + _KEPT
        return True

    def left_with(self, task_id: str) -> int:
        """The version that a task has left with; 0 if it has not, or long ago."""
        return self._gone.get(task_id, 0)

    def remove(self, task_id: str, version: int) -> None:
        """A task has left with this version."""
        task = self._tasks.get(task_id)
        if task is not None and task.version < version:
            self._drop(task)
        self._gone[task_id] = max(version, self._gone.pop(task_id, 0))
        if len(self._gone) > _MAX_GONE:
            del self._gone[next(iter(self._gone))]

    def write(self, task: Task, stream: str, start: int, data: bytes, written: int) -> int | None:
        """Take in output from ``start`` on. Returns where its news begin; None if something before it is missing."""
        streams = self._streams.setdefault(task.task_id, {})
        found = streams.get(stream)
        if found is None and start == 0:
            found = streams[stream] = Stream(self._tail)
        if found is None or start > found.end:
            return None
        known = found.end
        with self._lock:
            found.append(data[known - start :])
        more = written - task.output_size
        if more > task.output_more:
            self._tasks[task.task_id] = msgspec.structs.replace(task, output_more=more)
        return known

    def load(self, task: Task, stream: str, start: int, data: bytes) -> int:
        """Take in all that is kept of a stream. Returns to where it was here before; its end, if it was not at all."""
        new = Stream(self._tail)
        new.end = start
        new.append(data)
        streams = self._streams.setdefault(task.task_id, {})
        former = streams.get(stream)
        if former is not None and former.end >= new.end:
            return former.end
        streams[stream] = new
        return new.end if former is None else former.end

    def thin_out(self, pinned: Callable[[str], bool]) -> None:
        """Drop ended tasks that were told long ago."""
        now = time.monotonic()
        for task_id, over in list(self._ended.items()):
            if over > now:
                break  # in the order of their ends
            task = self._tasks.get(task_id)
            if task is not None and (task_room(task_id) in self.rooms or pinned(task_id)):
                self._ended[task_id] = self._ended.pop(task_id) + _KEPT
            elif task is not None:
                self._drop(task)

    def _drop(self, task: Task) -> None:
        task_id = task.task_id
        for room in rooms_of(task):
            self.rooms.get(room, set()).discard(task_id)
        self._tasks.pop(task_id, None)
        self._streams.pop(task_id, None)
        self._ended.pop(task_id, None)
