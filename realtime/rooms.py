"""Who is in which room. Not locked: its hub is. The registry is told which rooms are watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .auth import Grant
from .errors import LimitReached
from .protocol import group_room, output_room, task_room, user_room
from .registry.base import Registry, Removed
from .task import Task
from .viewer import Viewer

#: How the rooms begin that count the viewers of one network address, and are told nothing.
ADDRESS = "address:"
_OUTPUT = output_room("")


class Rooms(dict[str, dict[Viewer, None]]):
    """The viewers of each room, in the order in which they came. A room without viewers is not there.

    ``turned`` is called, under the hub's lock, with a room that somebody looks at from now on, or nobody any more.
    """

    def __init__(self, registry: Registry, turned: Callable[[str], None]) -> None:
        super().__init__()
        self._registry = registry
        self._turned = turned
        #: How many viewers of each room are told of changes and on the screen. May be read without the lock.
        self.seen: dict[str, int] = {}

    def enter(self, viewer: Viewer, room: str) -> None:
        """Let a viewer in."""
        if viewer.looks and room not in viewer.rooms:
            self._count(room, 1)
        viewer.rooms.add(room)
        members = self.get(room)
        if members is None:
            members = self[room] = {}
            if not room.startswith(ADDRESS):
                self._registry.watch(_told_by(room))
        members[viewer] = None

    def check(self, room: str, most: int, whose: str, setting: str) -> None:
        """Raise `LimitReached` if a room has no place for one more."""
        if len(self.get(room, ())) >= most:
            raise LimitReached(f"{most} viewers {whose} are connected; more are not taken ({setting}).")

    def exit(self, viewer: Viewer, room: str) -> None:
        """Take a viewer out, if it is in there."""
        if viewer.looks and room in viewer.rooms:
            self._count(room, -1)
        viewer.rooms.discard(room)
        members = self.get(room)
        if members is not None:
            members.pop(viewer, None)
            if not members:
                del self[room]
                if not room.startswith(ADDRESS):
                    self._registry.unwatch(_told_by(room))

    def look(self, viewer: Viewer) -> None:
        """Whether a viewer is live or hidden may have changed."""
        looks = viewer.live and not viewer.hidden
        if looks != viewer.looks:
            viewer.looks = looks
            for room in viewer.rooms:
                self._count(room, 1 if looks else -1)

    def looks_at(self, task: Task) -> bool:
        """Whether a viewer of one of a task's rooms is told of changes and on the screen. Needs no lock."""
        return any(room in self.seen for room in rooms_of(task))

    def _count(self, room: str, more: int) -> None:
        before = self.seen.get(room, 0)
        if before + more:
            self.seen[room] = before + more
        else:
            del self.seen[room]
        if not before or not before + more:
            self._turned(room)

    def follow(self, viewer: Viewer, task_id: str, streams: Iterable[str]) -> None:
        """Tell a viewer of these streams of a task, whatever else it is told of."""
        self.enter(viewer, output_room(task_id))
        viewer.follows = viewer.follows or {}
        viewer.follows.setdefault(task_id, set()).update(streams)

    def unfollow(self, viewer: Viewer, task_id: str, streams: Iterable[str] | None = None) -> None:
        """The opposite: of these streams, or of all. What it has still to be told of them is forgotten."""
        followed = (viewer.follows or {}).get(task_id, set())
        left = set(followed) if streams is None else followed.intersection(streams)
        followed -= left
        for stream in left:
            (viewer.outputs or {}).pop((task_id, stream), None)
        if viewer.follows is not None and not followed:
            viewer.follows.pop(task_id, None)
            viewer.follows = viewer.follows or None
            self.exit(viewer, output_room(task_id))

    def readers(self, task: Task, stream: str) -> Iterator[Viewer]:
        """Those who are told what the task writes to a stream; some may come twice."""
        followed = output_room(task.task_id)
        for room in (*rooms_of(task), followed):
            for viewer in self.get(room, ()):
                asks = viewer.declines or room == followed
                if not asks or stream in (viewer.follows or {}).get(task.task_id, ()):
                    yield viewer


def _told_by(room: str) -> str:
    """The room that the news come to: those of an output, to its task's."""
    return task_room(room.removeprefix(_OUTPUT)) if room.startswith(_OUTPUT) else room


def rooms_for(grant: Grant) -> list[str]:
    """The rooms that a viewer enters by itself; its user's, if it has one, is the last."""
    rooms = [*map(group_room, grant.groups), *map(task_room, grant.task_ids)]
    if grant.user_id is not None:
        rooms.append(user_room(grant.user_id))
    return rooms


def rooms_of(source: Task | Removed) -> list[str]:
    """The rooms that are told of a task: those who subscribed to it, its groups, its owner."""
    rooms = [task_room(source.task_id), *map(group_room, source.groups)]
    if source.user_id is not None:
        rooms.append(user_room(source.user_id))
    return rooms
