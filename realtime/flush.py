"""One flush: each dirty task encoded once, the frames joined once, one hand-over per viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import protocol
from .frames import Batch, Frame
from .protocol import MAX_FLUSH_BYTES
from .registry.base import Registry, Removed
from .task import Task

if TYPE_CHECKING:
    from .hub import Viewer


class _Push:
    """What there is to tell of one task: its newest snapshot, or that it is gone."""

    __slots__ = ("alone", "finished", "frame", "owner", "task")

    def __init__(self, frame: Frame, task: Task | None) -> None:
        self.frame = frame
        self.alone = Batch([frame])
        self.task = task
        self.owner = None if task is None else task.user_id
        self.finished = task is None or task.finished


class Flush:
    """What a flush has encoded so far. ``created`` are the tasks of which no room has been told yet."""

    def __init__(self, registry: Registry, namespace: str, created: set[str]) -> None:
        self._registry = registry
        self._namespace = namespace
        self._created = created
        self._pushes: dict[str | Removed, _Push | None] = {}
        self._batches: dict[tuple[_Push, ...], Batch] = {}
        #: How many snapshots were encoded, and how many frames handed over.
        self.encodes = self.given = 0

    def give(self, viewer: Viewer) -> None:
        """Hand a viewer what is dirty for it, oldest first, up to `MAX_FLUSH_BYTES`; the rest stays dirty."""
        dirty = viewer.dirty
        user = viewer.grant.user_id
        pushes: list[_Push] = []
        told: list[str] = []
        size = 0
        for task_id, removed in list(dirty.items()):
            key = task_id if removed is None else removed
            push = self._pushes[key] if key in self._pushes else self._make(task_id, removed)
            # An id may have come back as somebody else's since it became dirty; then its removal follows.
            if push is None or (
                push.task is not None
                and (push.owner is None or push.owner != user)
                and not viewer.grant.may_view(push.task)
            ):
                del dirty[task_id]
                continue
            if viewer.hidden and not push.finished:
                continue
            if pushes and size + push.frame.size > MAX_FLUSH_BYTES:
                break
            pushes.append(push)
            told.append(task_id)
            size += push.frame.size
        if not pushes:
            return
        taken = viewer.outbox.push(pushes[0].alone if len(pushes) == 1 else self._batch(tuple(pushes)))
        self.given += taken
        for task_id in told[:taken]:
            del dirty[task_id]

    def _batch(self, pushes: tuple[_Push, ...]) -> Batch:
        batch = self._batches.get(pushes)
        if batch is None:
            batch = self._batches[pushes] = Batch([push.frame for push in pushes])
        return batch

    def _make(self, task_id: str, removed: Removed | None) -> _Push | None:
        """The push of a removal, or of a task as it is now; None if it left after it was marked."""
        task = None
        if removed is not None:
            event = protocol.TASK_REMOVED
            payload = msgspec.json.encode({"task_id": task_id, "epoch": removed.epoch, "version": removed.version})
        else:
            task = self._registry.get(task_id)
            if task is None:
                self._pushes[task_id] = None
                return None
            event = protocol.TASK_CREATED if task_id in self._created else protocol.TASK_PROGRESS
            event = protocol.TERMINAL_EVENTS.get(task.status, event)
            payload = task.encode_push()
            self.encodes += 1
        push = self._pushes[task_id if removed is None else removed] = _Push(
            Frame(self._namespace, event, payload), task
        )
        return push
