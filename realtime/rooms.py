"""Who is in which room. Not locked: its hub is."""

from __future__ import annotations

from .protocol import group_room, task_room, user_room
from .registry.base import Removed
from .task import Task
from .viewer import Viewer


class Rooms(dict[str, dict[Viewer, None]]):
    """The viewers of each room, in the order in which they came. A room without viewers is not there."""

    def enter(self, viewer: Viewer, room: str) -> None:
        """Let a viewer in."""
        viewer.rooms.add(room)
        self.setdefault(room, {})[viewer] = None

    def exit(self, viewer: Viewer, room: str) -> None:
        """Take a viewer out, if it is in there."""
        viewer.rooms.discard(room)
        members = self.get(room)
        if members is not None:
            members.pop(viewer, None)
            if not members:
                del self[room]


def rooms_of(source: Task | Removed) -> list[str]:
    """The rooms that are told of a task: those who subscribed to it, its groups, its owner."""
    rooms = [task_room(source.task_id), *map(group_room, source.groups)]
    if source.user_id is not None:
        rooms.append(user_room(source.user_id))
    return rooms
