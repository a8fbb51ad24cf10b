"""Who watches what, which tasks are dirty, and one flusher that brings the two together.

The way of a change: `Hub.mark` (any thread, no lock) notes that a task is dirty and wakes the flusher. The flusher
waits until the flush interval since the last flush is over (`pacing`; not at all after a quiet time, nor for the end
of a task), gives every viewer the dirty ids it may see, encodes each dirty task **once**, and hands each viewer that
can take it the newest snapshots. A viewer that cannot keeps only the ids: between two flushes only the newest snapshot
of a task waits (conflation), and memory per viewer is bounded by the tasks it watches.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from .concurrency import Concurrency, Event, native_lock
from .demand import Demand
from .errors import LimitReached
from .flush import Flush, Told
from .frames import Frame
from .metrics import Metrics
from .pacing import Pacing
from .protocol import NAMESPACE, output_room, task_room
from .registry.base import Registry, Removed
from .rooms import ADDRESS, Rooms, rooms_for, rooms_of
from .task import Task
from .viewer import Outgoing
from .viewer import Viewer as Viewer
from .waiting import Waiting

log = logging.getLogger("realtime")


class Hub:
    """The index of rooms, the dirty set and the flusher. Nothing runs until the first viewer or waiter comes."""

    def __init__(
        self, registry: Registry, concurrency: Concurrency, *, flush_interval: float, viewer_timeout: float,
        namespace: str = NAMESPACE,
    ) -> None:  # fmt: skip
        self._registry, self._local = registry, registry.local
        self._concurrency = concurrency
        self._pacing = Pacing(flush_interval)
        self._viewer_timeout = viewer_timeout
        #: Makes the frame of an event's name and the JSON of its payload.
        self.make_frame: Callable[[str, bytes], Frame] = partial(Frame, namespace)
        #: Guards rooms, viewers and their dirty sets. Never taken by `mark`; no callback runs under it.
        self._lock = native_lock()
        self.demand = Demand(registry, concurrency, self.watched)
        self._rooms = Rooms(registry, self.demand.note)
        self.viewers: dict[str, Viewer] = {}
        self._behind: dict[Viewer, None] = {}
        # Written by any thread, read by the flusher: one dictionary for ever, whose single operations are atomic.
        # The registry stores before it marks and the flusher takes a mark before it reads, so nothing is lost.
        self._dirty: dict[str, bool] = {}
        #: What the flusher has taken out of `_dirty` and not yet given to viewers.
        self._moving: dict[str, bool] = {}
        self._removed: dict[str, Removed] = {}
        #: Streams that were written to, from which offset on; and how far each was told.
        self._written: dict[tuple[str, str], int] = {}
        self._told = Told(self._local, self._written)
        self.waiting = Waiting(registry, concurrency, self._lock, self.start, self.demand.note)
        self.wait = self.waiting.wait
        self._running = self._stopped = False
        # The flusher is to come for news; at once and not at its tick; at all.
        self._awake = self._urgent = self._wanted = False
        self._event: Event | None = None
        self.close_viewer: Callable[[Viewer, str], None] = lambda viewer, reason: None
        #: Called about once a second while anybody watches.
        self.on_sweep: list[Callable[[], None]] = [registry.sweep, self.waiting.expire, self.demand.sweep]
        #: Since the start: tasks found changed, snapshots encoded, flushes, frames handed over; viewers come, and gone.
        self.changes = self.encodes = self.flushes = self.pushes = self.joined = self.left = 0
        self.metrics: Metrics | None = None
        registry.on_change, registry.noted = self.mark, self._dirty
        registry.on_heartbeat = lambda: None if self._running else concurrency.call_soon(self.start)
        registry.on_remove, registry.on_output = self.mark_removed, self.mark_output
        registry.pinned = self.owes
        registry.watched = self.watched

    # Changes: any thread.

    def mark(self, task: Task, created: bool) -> None:
        """A task has changed (it is stored already). Costs a dictionary entry; never blocks, never raises."""
        if not self._running:
            return
        task_id = task.task_id
        if created:
            self._dirty[task_id] = True
        elif task_id not in self._dirty:
            self._dirty[task_id] = False
        if task.finished:
            self._wake_now()
        elif not self._awake:
            self._wake()

    def mark_removed(self, removed: Removed) -> None:
        """A task has left the registry."""
        if self._running:
            self._removed[removed.task_id] = removed
            self._dirty.setdefault(removed.task_id, False)
            self._wake()

    def mark_output(self, task: Task, stream: str, start: int) -> None:
        """A task has written; ``start`` is the offset of what is new. (Most registries have noted it already.)"""
        if self._running:
            self._written.setdefault((task.task_id, stream), start)
            if not self._awake:
                self._wake()

    def _wake(self) -> None:
        if self.metrics is not None:
            self.metrics.woken()
        self._awake = True
        self._want()

    def _want(self) -> None:
        # Alone: without news, for a viewer that can take more. The age of a change does not begin here.
        self._wanted = True
        if self._event is not None:
            self._event.set()

    def _wake_now(self) -> None:
        self._urgent = True
        self._wake()

    def owes(self, task_id: str) -> bool:
        """Whether a connected viewer has still to be told of this task: then it must not be evicted yet."""
        if task_id in self._dirty or task_id in self._moving:
            return True
        return any(viewer.owed(task_id) for viewer in list(self._behind))

    def watched(self, task: Task) -> bool | None:
        """See `Registry.watched`."""
        told = self._running and not task.finished
        looks = told and (self._rooms.looks_at(task) or self.waiting.watches(task.task_id))
        return None if told and not looks and self._registry.reads_wait else looks

    # Viewers.

    def start(self) -> None:
        """Start the flusher, unless it runs or has been stopped. Called on the hub thread."""
        with self._lock:
            if self._running or self._stopped:
                return
            self._registry.adopt()  # no request of Flask's may have come before the first viewer
            self._concurrency.attach()
            self._event = self._concurrency.event()
            self._registry.noted_output = self._written
            self._running = True
        self._registry.serve()
        self._concurrency.spawn(self._run, "realtime-flusher")
        self.demand.start()

    def join(self, viewer: Viewer, *, per_user: int, per_address: int, in_all: int) -> None:
        """Let a viewer into its rooms; it is told nothing before `open`. Raises `LimitReached`."""
        self.start()
        grant = viewer.grant
        rooms = rooms_for(grant)
        with self._lock:
            if len(self.viewers) >= in_all:
                raise LimitReached(f"{in_all} viewers are connected; more are not taken (REALTIME_MAX_VIEWERS).")
            if grant.user_id is not None:
                self._rooms.check(rooms[-1], per_user, "of this user", "REALTIME_MAX_VIEWERS_PER_USER")
            same = ADDRESS + viewer.address
            self._rooms.check(same, per_address, "from this address", "REALTIME_MAX_VIEWERS_PER_ADDRESS")
            self.viewers[viewer.session] = viewer
            self.joined += 1
            for room in (*rooms, same):
                self._rooms.enter(viewer, room)

    def open(self, viewer: Viewer, owed: Iterable[str] = ()) -> None:
        """The viewer's CONNECT answer and first snapshot are on their way: pushes may follow.

        ``owed`` are tasks that the first snapshot had no room for.
        """
        with self._lock:
            if viewer.session not in self.viewers:
                return  # gone meanwhile
            viewer.outbox.attach(lambda: self._ready(viewer), lambda: self._overflowed(viewer))
            viewer.live = True
            self._rooms.look(viewer)
        self.owe(viewer, owed)

    def owe(self, viewer: Viewer, task_ids: Iterable[str]) -> None:
        """Tell a viewer of these tasks with the next flushes."""
        with self._lock:
            if viewer.session in self.viewers:
                for task_id in task_ids:
                    viewer.dirty.setdefault(task_id, None)
                if viewer.dirty or viewer.outputs:
                    self._behind[viewer] = None
        self._ready(viewer)

    def resume(self, viewer: Viewer, task_id: str, offsets: dict[str, int]) -> None:
        """Tell a viewer of a task's output from these offsets of its streams on."""
        with self._lock:
            if viewer.session in self.viewers:
                viewer.outputs = viewer.outputs or {}
                viewer.outputs.update({(task_id, stream): offset for stream, offset in offsets.items()})
                self._rooms.follow(viewer, task_id, offsets)
                self._behind[viewer] = None
        self._ready(viewer)

    def move(self, session: str | None, outbox: Outgoing) -> None:
        """A viewer is reached through another door from now on: its connection was upgraded."""
        with self._lock:
            viewer = self.viewers.get(session) if session is not None else None
            if viewer is None:
                return
            viewer.outbox.detach()
            viewer.outbox = outbox
            if viewer.live:
                outbox.attach(lambda: self._ready(viewer), lambda: self._overflowed(viewer))
        self._ready(viewer)

    def hide(self, viewer: Viewer, hidden: bool) -> None:
        """A hidden page is told of ends only; when it is seen again, it gets what it missed."""
        with self._lock:
            viewer.hidden = hidden
            self._rooms.look(viewer)
        self.owe(viewer, ())

    def leave(self, session: str) -> Viewer | None:
        """Forget a viewer."""
        with self._lock:
            viewer = self.viewers.pop(session, None)
            if viewer is not None:
                self.left += 1
                viewer.live = False
                self._rooms.look(viewer)
                self._behind.pop(viewer, None)
                for room in list(viewer.rooms):
                    self._rooms.exit(viewer, room)
                viewer.dirty.clear()
                viewer.outputs = None
                viewer.outbox.detach()
        return viewer

    def enter(self, viewer: Viewer, task_ids: Iterable[str]) -> None:
        """Let a viewer into the rooms of tasks it may see."""
        with self._lock:
            if viewer.session in self.viewers:
                for task_id in task_ids:
                    self._rooms.enter(viewer, task_room(task_id))

    def exit(self, viewer: Viewer, task_ids: Iterable[str], streams: Iterable[tuple[str, list[str]]] = ()) -> None:
        """Tell a viewer no more of single tasks and their output, and no more of these streams of others."""
        with self._lock:
            for task_id in task_ids:
                self._rooms.exit(viewer, task_room(task_id))
                self._rooms.unfollow(viewer, task_id)
            for task_id, names in streams:
                self._rooms.unfollow(viewer, task_id, names)

    def in_room(self, room: str) -> list[Viewer]:
        """The viewers in a room."""
        with self._lock:
            return list(self._rooms.get(room, ()))

    def rooms(self) -> int:
        """How many rooms have a viewer in them."""
        return len(self._rooms)

    def _ready(self, viewer: Viewer) -> None:
        # A viewer has taken its flush. It gets what it missed at the next tick.
        if viewer in self._behind and not self._wanted:
            self._want()

    def _overflowed(self, viewer: Viewer) -> None:
        # In whatever thread made the control packet: closing runs handlers, so it is done beside.
        self._concurrency.spawn(lambda: self.close_viewer(viewer, "takes nothing"), "realtime-close")

    def owing(self) -> bool:
        """Whether anybody has still to be told anything. (A hidden page is told of ends only.)"""
        return (self._running and bool(self._dirty or self._moving)) or any(
            viewer.live and not viewer.hidden for viewer in list(self._behind)
        )

    def stop(self) -> None:
        """End all waits, and the flusher after one last flush. It does not start again."""
        self._running, self._stopped = False, True
        self._registry.noted_output = None
        self.waiting.stop()
        self._wake_now()

    # The flusher.

    def _run(self) -> None:
        event = self._event
        assert event is not None
        swept = 0.0
        while self._running:
            event.wait(1.0)  # the sweep's interval; a mark ends it
            event.clear()
            # Now it is awake, and marks set the event no more: until the tick only an end wakes it.
            while self._wanted and not self._urgent:
                if (rest := self._pacing.rest()) <= 0:
                    break
                event.wait(rest)
                event.clear()
            try:
                now, spent = time.monotonic(), time.thread_time()
                if self.flush():  # a look that found nothing makes the next change wait for no tick
                    self._pacing.flushed(now, time.thread_time() - spent)
                if now - swept >= 1.0:
                    swept = now
                    for callback in self.on_sweep:
                        callback()
            except Exception:
                log.exception("A flush failed; the next one goes on.")
        with contextlib.suppress(Exception):
            self.flush()
        self.demand.stop()

    def flush(self) -> bool:
        """In the flusher: tell each viewer that can take it what is dirty for it. Whether any was new, or given."""
        self._registry.follow_soon()  # so that parents go with their parts
        created: set[str] = set()
        flush = Flush(self._local, self.make_frame, created, self._told.end, self.metrics, self._told.broken)
        with self._lock:
            # Together with the copy: what is marked from here on is the next flush's, and wakes it.
            self._awake = self._urgent = self._wanted = False
            flush.take()
            marks = self._moving = dict(self._dirty)
            for task_id in marks:
                if new := self._dirty.pop(task_id):
                    created.add(task_id)
                self._spread(task_id, new)
            self._moving = {}
            # After the marks: what was written before a task's end is found here, and goes before it.
            written = list(self._written)
            for key in written:
                self._spread_output(*key, self._written.pop(key))
            now = time.monotonic()
            behind: dict[Viewer, None] = {}
            for viewer in self._behind:
                busy = viewer.outbox.busy_since
                if busy is None:
                    if viewer.live:
                        flush.give(viewer)
                elif now - busy > self._viewer_timeout:
                    flush.closing[viewer] = "takes nothing"
                if viewer.dirty or viewer.outputs:
                    behind[viewer] = None
            self._behind = behind
            for viewer in flush.closing:
                self._rooms.look(viewer)
            self.encodes, self.pushes = self.encodes + flush.encodes, self.pushes + flush.given
            self.flushes, self.changes = self.flushes + (flush.given > 0), self.changes + len(marks)
        flush.report(len(behind), bool(marks or written))
        self._pacing.conflates = not (written or flush.more)
        if flush.more:
            self._want()
        flush.close(self.close_viewer)
        self._registry.follow_soon()  # a part may have moved after the first time and before it was marked here
        return bool(marks or written) or flush.given > 0

    def _spread(self, task_id: str, created: bool) -> None:
        """Make a marked task dirty for everyone who is in one of its rooms, and wake those who wait for it."""
        # In this order: a removal that is found here came before what is then read.
        removed = self._removed.pop(task_id, None)
        task = self._local.get(task_id)
        if removed is not None:
            self._told.forget(task_id)
            self.waiting.forget(task_id)
            for viewer in self._behind:  # offsets of a former life
                viewer.outputs = {key: at for key, at in (viewer.outputs or {}).items() if key[0] != task_id} or None
            for viewer in list(self._rooms.get(output_room(task_id), ())):
                self._rooms.unfollow(viewer, task_id)
            self._reach(removed, removed)
            # The id may come back as somebody else's. Who may see that one too has another room of it, or a ticket.
            for viewer in list(self._rooms.get(task_room(task_id), ())):
                if task_id not in viewer.grant.task_ids:
                    self._rooms.exit(viewer, task_room(task_id))
        if task is not None:
            self._reach(task, None)
        self.waiting.wake(task_id)
        if created or removed is not None or task is None or task.finished:
            self.demand.note(task_room(task_id))

    def _reach(self, source: Task | Removed, news: Removed | None) -> None:
        for room in rooms_of(source):
            members = self._rooms.get(room)
            if members:
                self._behind.update(members)
                for viewer in members:
                    viewer.dirty[source.task_id] = news

    def _spread_output(self, task_id: str, stream: str, start: int) -> None:
        """Have everyone who watches the task told of its output from ``start`` on."""
        task = self._local.get(task_id)
        if task is None:
            return
        start, end = self._told.advance(task_id, stream, start)
        for viewer in self._rooms.readers(task, stream) if start < end else ():
            viewer.outputs = viewer.outputs or {}
            viewer.outputs.setdefault((task_id, stream), start)
            self._behind[viewer] = None
