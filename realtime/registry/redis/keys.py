"""What the things in the store are called.

The id of a task is the hash tag of its keys, so that one script may touch all of them in a cluster; so are the lists of
tasks under the one tag of the prefix. A channel belongs to a room, and to a database, which channels know nothing of.
It has the tag of what the room is about, so that the same script may publish to it: a task's, or that of the lists.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ...protocol import group_room, task_room, user_room
from ...task import Task
from ..base import Removed

_TASK: Final = task_room("")
_USER: Final = user_room("")
_GROUP: Final = group_room("")


class Keys:
    """The names of one app's things; ``prefix`` keeps apps that share a database apart."""

    def __init__(self, prefix: str, database: int, *, sharded: bool) -> None:
        self._prefix = prefix
        self._sharded = sharded
        self._of_tasks = f"{prefix}@{database}:{_TASK}{{"
        self._of_lists = f"{{{prefix}}}@{database}:"
        #: A hash: the epoch and the run id of the server that it began on, the highest order, the number of ends.
        #: In a cluster the marks of its servers, see `Marks`.
        self.meta = f"{{{prefix}}}:meta"
        #: All unfinished tasks, by order; all finished ones, by end; and when their retention is over.
        self.live = f"{{{prefix}}}:live"
        self.ended = f"{{{prefix}}}:ended"
        self.over = f"{{{prefix}}}:over"
        #: The leased tasks, by when the next sign of life is due, in seconds; and the leases. Who sweeps now.
        self.leases = f"{{{prefix}}}:leases"
        self.sweeper = f"{{{prefix}}}:sweeper"
        #: Parents that may have unfinished parts, by when the first part came.
        self.parents = f"{{{prefix}}}:parents"
        #: A hash: when the last sweep was, and until when there was none for long.
        self.sweeps = f"{{{prefix}}}:sweeps"

    def task(self, task_id: str) -> str:
        """A hash: ``r`` the record, ``v`` its version, ``t`` its status, ``s`` the bytes of output up to the version,
        ``n`` those in all, ``w`` the nonce of the last writer, ``o`` the order. Without ``r``, what is left of a
        removed task."""
        return f"{self._prefix}:{{{task_id}}}"

    def output(self, task_id: str) -> str:
        """A hash: the end of each stream."""
        return f"{self._prefix}:{{{task_id}}}:out"

    def stream(self, task_id: str, stream: str) -> str:
        """A string: the tail of a stream, up to twice as long as it has to be."""
        return f"{self._prefix}:{{{task_id}}}:out:{stream}"

    def kin(self, task_id: str) -> str:
        """A hash: a line for each part of a task, see `families`."""
        return f"{self.task(task_id)}:kin"

    def unfinished(self, room: str) -> str:
        """A sorted set: the unfinished tasks of a room, by order. A member is the order, a blank and the task's id."""
        return f"{self.live}:{room}"

    def finished(self, room: str) -> str:
        """The same of those that have ended."""
        return f"{{{self._prefix}}}:done:{room}"

    def ends(self, user_id: str) -> str:
        """A sorted set: the finished tasks of a user, by end."""
        return f"{self.ended}:{user_id}"

    def room_of(self, key: str) -> str | None:
        """The room whose tasks are in a list; None if all are."""
        for of_rooms in self.unfinished(""), self.finished(""):
            if key.startswith(of_rooms):
                return key.removeprefix(of_rooms)
        of_users = self.ends("")
        return user_room(key.removeprefix(of_users)) if key.startswith(of_users) else None

    def removals(self, room: str) -> str:
        """A sorted set: what was removed of a room's tasks of late, by time in microseconds. A member is the version of
        the removal, a blank and the task's id."""
        return f"{{{self._prefix}}}:gone:{room}"

    def note(self, name: str) -> str:
        """A string: see `Board` and `Marks`. No task's id has a slash."""
        return f"{self._prefix}:{{/{name}}}"

    def notes(self, who: str) -> list[str]:
        """A hash and two sorted sets: see `Notes`, and ``note.lua``. No task's id has a slash."""
        return [f"{self._prefix}:{{/{who}}}:{what}" for what in ("notes", "written", "claims")]

    def channel(self, room: str) -> str:
        """Where the news of a room are told."""
        if room.startswith(_TASK):
            return f"{self._of_tasks}{room.removeprefix(_TASK)}}}"
        return self._of_lists + room

    def room(self, channel: str) -> str:
        """The room of a channel."""
        if channel.startswith(self._of_tasks):
            return _TASK + channel.removeprefix(self._of_tasks)[:-1]
        return channel.removeprefix(self._of_lists)

    def channels_of(self, source: Task | Removed) -> list[str]:
        """Where a script that touches a task tells of it: all its rooms; in a cluster that of the task alone."""
        return list(map(self.channel, [task_room(source.task_id)] if self._sharded else rooms_of(source)))

    def channels_of_lists(self, user_id: str | None, groups: Collection[str]) -> list[str]:
        """Where is told what happens to the lists: in a cluster, to the rooms that have some."""
        return list(map(self.channel, rooms_with_lists(user_id, groups))) if self._sharded else []


def rooms_with_lists(user_id: str | None, groups: Collection[str]) -> list[str]:
    """The rooms that hold lists: a user's and groups'."""
    rooms = list(dict.fromkeys(map(group_room, groups)))
    if user_id is not None:
        rooms.append(user_room(user_id))
    return rooms


def user_and_groups(rooms: Collection[str]) -> tuple[str | None, tuple[str, ...]]:
    """Whose rooms these are: a user's, None if it is nobody's, and groups'."""
    users = [room.removeprefix(_USER) for room in rooms if room.startswith(_USER)]
    groups = tuple(dict.fromkeys(room.removeprefix(_GROUP) for room in rooms if room.startswith(_GROUP)))
    return users[0] if users else None, groups


def rooms_of(source: Task | Removed) -> list[str]:
    """All rooms that are told of a task."""
    return [task_room(source.task_id), *rooms_with_lists(source.user_id, source.groups)]
