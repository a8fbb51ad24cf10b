"""What a viewer may ask, and the snapshots that answer it. No Socket.IO in here.

Every answer is bounded: at most `MAX_SNAPSHOT_TASKS` tasks and `MAX_SNAPSHOT_BYTES` of them; what finds no room is owed
and follows as ordinary pushes, or is on the next page.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from .. import protocol
from ..auth import Grant
from ..errors import Forbidden, InvalidValue, LimitReached, TaskNotFound
from ..hub import Hub, Viewer
from ..operations import Operations
from ..protocol import (
    MAX_SNAPSHOT_BYTES,
    MAX_SNAPSHOT_TASKS,
    ConnectAuth,
    ListRequest,
    SubscribeRequest,
    TaskRequest,
    UnsubscribeRequest,
    VisibilityRequest,
    parse,
)  # fmt: skip
from ..registry.base import Removed
from ..registry.output import MAX_STREAMS
from ..task import Task, timestamp

Answer = dict[str, Any]

#: The stream that a task writes to unless it names one.
DEFAULT_STREAM = "output"
#: Rooms that one viewer may be in.
MAX_ROOMS = 2_000


class Commands:
    """Answers viewers. ``answer`` raises `RealtimeError` for what may be told to them."""

    def __init__(self, operations: Operations, hub: Hub) -> None:
        #: The one of now: a `Realtime` may act for another app later.
        self.registry = operations.registry
        self._hub = hub
        #: Whether an answer may wait for a disk or a network.
        self.wait = self.registry.waits or self.registry.reads_wait
        self._known: dict[str, Callable[[Viewer, Any], Answer]] = {
            protocol.SUBSCRIBE: self._subscribe,
            protocol.UNSUBSCRIBE: self._unsubscribe,
            protocol.CANCEL_TASK: self._cancel,
            protocol.LIST_TASKS: self._list,
            protocol.REMOVE_TASK: self._remove,
            protocol.VISIBILITY: self._visibility,
        }

    def answer(self, viewer: Viewer, event: str, message: Any) -> Answer:
        """Do what a viewer asks. Returns the acknowledgement, ``{"ok": true, …}``."""
        command = self._known.get(event)
        if command is None:
            raise InvalidValue("event", f"{event[:40]!r} is not one of {', '.join(self._known)}")
        return {"ok": True, **command(viewer, message)}

    def answer_aside(
        self, execute: Callable[[Callable[[], Answer]], Answer], viewer: Viewer, event: str, message: Any
    ) -> Answer:
        """The same, by ``execute`` if it may take long."""
        ask = partial(self.answer, viewer, event, message)
        return execute(ask) if self._takes_long(event, message) else ask()

    def _takes_long(self, event: str, message: Any) -> bool:
        """Whether an answer may wait, or take its time: a request to stop goes to all parts of a task."""
        if self.wait or event != protocol.CANCEL_TASK:
            return self.wait
        task_id = message.get("task_id") if isinstance(message, dict) else None
        task = self.registry.get(task_id) if isinstance(task_id, str) else None
        return task is not None and task.children is not None

    def snapshot(self, grant: Grant, auth: ConnectAuth) -> tuple[Answer, list[str]]:
        """The first snapshot of a viewer: what differs from its cursors; unfinished tasks first, then the newest.

        Returns it and the ids of tasks whose cursors are behind and that found no room.
        """
        self.registry.follow()
        epoch = self.registry.epoch
        cursors = auth.cursors if auth.epoch == epoch else {}
        page = _Page(cursors)
        for task in self.registry.get_many(grant.task_ids).values():
            page.add(task)
        more = False
        for finished in (False, True):
            tasks, following = self.registry.list(
                user_id=grant.user_id, groups=grant.groups, limit=MAX_SNAPSHOT_TASKS, finished=finished
            )
            for task in tasks:  # all of them: after one that finds no room, a smaller one may
                more |= not page.add(task)
            more |= following is not None
        removed, owed = [], []
        there = self.registry.get_many(auth.cursors)
        for task_id in auth.cursors:
            known = there.get(task_id)
            if known is None or not grant.may_view(known):
                removed.append(task_id)
            elif task_id not in page.seen and known.version != cursors.get(task_id):
                owed.append(task_id)
        owed += [task_id for task_id in grant.task_ids if task_id in page.refused]
        snapshot = {
            "epoch": epoch, "user_id": grant.user_id, "tasks": page.tasks, "removed": removed,
            "has_more": more, "server_time": timestamp(time.time()),
        }  # fmt: skip
        return snapshot, owed

    def list(self, grant: Grant, limit: Any, before: str | None) -> Answer:
        """A page of what a grant may see, newest first: ``{"tasks", "next"}``."""
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_SNAPSHOT_TASKS:
            raise InvalidValue("limit", f"a whole number from 1 to {MAX_SNAPSHOT_TASKS}")
        self.registry.follow()
        while True:
            tasks, following = self.registry.list(
                user_id=grant.user_id, groups=grant.groups, limit=limit, before=before
            )
            page = _Page({})
            fitting = next((count for count, task in enumerate(tasks) if not page.add(task)), None)
            if fitting is None:
                return {"tasks": page.tasks, "next": following}
            limit = fitting  # the bytes end the page early: asked anew, so that its cursor belongs to what is on it

    def visible(self, grant: Grant, task_id: Any) -> Task:
        """A task that the grant may see. Raises `TaskNotFound`, the same for someone else's and for none."""
        self.registry.follow()
        task = self.registry.get(task_id) if isinstance(task_id, str) else None
        if task is None or not grant.may_view(task):
            raise TaskNotFound(str(task_id)[:128], "No such task, or not one you may see.")
        return task

    def controlled(self, grant: Grant, task_id: Any) -> Task:
        """A task of the grant's own user. Raises `TaskNotFound` or, for one that it may only see, `Forbidden`."""
        task = self.visible(grant, task_id)
        if not grant.may_control(task):
            raise Forbidden(task.task_id)
        return task

    def cancel(self, grant: Grant, task_id: Any) -> Task:
        """Ask a task of one's own to stop."""
        return self.registry.request_cancel(self.controlled(grant, task_id).task_id)

    def remove(self, grant: Grant, task_id: Any) -> Removed:
        """Take a finished task of one's own out of the registry."""
        return self.registry.remove(self.controlled(grant, task_id).task_id)

    # Commands.

    def _subscribe(self, viewer: Viewer, message: Any) -> Answer:
        request = parse(SubscribeRequest, message)
        grant = viewer.grant
        wanted = {
            task_id: {DEFAULT_STREAM: offsets} if isinstance(offsets, int) else offsets
            for task_id, offsets in request.outputs.items()
        }
        follows = viewer.follows or {}
        # Over all requests: what is asked for is kept.
        if any(len(offsets.keys() | follows.get(task_id, set())) > MAX_STREAMS for task_id, offsets in wanted.items()):
            raise InvalidValue("outputs", f"more streams than the {MAX_STREAMS} that a task may have")
        denied: list[str] = []
        asked = dict.fromkeys([*request.task_ids, *wanted])
        there = self.registry.get_many(asked)
        for task_id in asked:
            task = there.get(task_id)
            if task_id not in grant.task_ids and (task is None or not grant.may_view(task)):
                denied.append(task_id)
        allowed = [task_id for task_id in dict.fromkeys(request.task_ids) if task_id not in denied]
        rooms = viewer.rooms.union(map(protocol.task_room, allowed), map(protocol.output_room, wanted.keys() - denied))
        if len(rooms) > MAX_ROOMS:
            raise LimitReached(f"A viewer may be in {MAX_ROOMS} rooms; unsubscribe some tasks.")
        self._hub.enter(viewer, allowed)  # join, then read: the other order loses changes
        page = _Page(request.cursors if request.epoch == self.registry.epoch else {})
        for task in self.registry.get_many(allowed).values():
            if grant.may_view(task):  # the id may have come back as somebody else's meanwhile
                page.add(task)
        self._hub.owe(viewer, page.refused)
        known = request.epoch == self.registry.epoch  # offsets of a former life begin anew
        with self.registry.at_hand([protocol.task_room(task_id) for task_id in wanted if task_id not in denied]):
            for task_id, offsets in wanted.items():
                if task_id not in denied:
                    offsets = {name: offset if known else 0 for name, offset in offsets.items()}
                    self._hub.resume(viewer, task_id, offsets)
        return {"epoch": self.registry.epoch, "tasks": page.tasks, "denied": denied}

    def _unsubscribe(self, viewer: Viewer, message: Any) -> Answer:
        request = parse(UnsubscribeRequest, message)
        self._hub.exit(viewer, request.task_ids, request.outputs.items())
        return {}

    def _cancel(self, viewer: Viewer, message: Any) -> Answer:
        return {"task": _wire(self.cancel(viewer.grant, parse(TaskRequest, message).task_id))}

    def _list(self, viewer: Viewer, message: Any) -> Answer:
        request = parse(ListRequest, message)
        return {"epoch": self.registry.epoch, **self.list(viewer.grant, request.limit, request.before)}

    def _remove(self, viewer: Viewer, message: Any) -> Answer:
        removed = self.remove(viewer.grant, parse(TaskRequest, message).task_id)
        return {"task_id": removed.task_id, "version": removed.version}

    def _visibility(self, viewer: Viewer, message: Any) -> Answer:
        self._hub.hide(viewer, parse(VisibilityRequest, message).hidden)
        return {}


class _Page:
    """Tasks on the wire, up to the bounds. What equals its cursor is left out: the viewer has it."""

    def __init__(self, cursors: dict[str, int]) -> None:
        self._cursors = cursors
        self._bytes = 0
        self.tasks: list[msgspec.Raw] = []
        self.seen: set[str] = set()
        self.refused: dict[str, None] = {}

    def add(self, task: Task | None) -> bool:
        """Whether it is on the page, or need not be."""
        if task is None or task.task_id in self.seen or self._cursors.get(task.task_id) == task.version:
            return True
        wire = _wire(task)
        size = len(bytes(wire))
        if len(self.tasks) >= MAX_SNAPSHOT_TASKS or (self.tasks and self._bytes + size > MAX_SNAPSHOT_BYTES):
            self.refused[task.task_id] = None
            return False
        self.tasks.append(wire)
        self._bytes += size
        self.seen.add(task.task_id)
        return True


def _wire(task: Task) -> msgspec.Raw:
    return msgspec.Raw(task.encode_push())
