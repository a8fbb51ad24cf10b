"""The news of the rooms that are watched here, and what was missed of them: one thread that listens.

The thread is the only one that writes to the `Mirror`. It catches up with the ordinary connections of the `Link`.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import redis

from ...concurrency import native_lock
from ...errors import RegistryUnavailable
from ...protocol import task_room
from ...task import Task
from ..base import Removed
from .bell import Bell
from .catchup import CatchUp
from .codec import decode
from .lines import Lines
from .link import Link
from .mirror import Mirror
from .sweeping import Sweeping
from .teller import Teller

_log = logging.getLogger("realtime")

#: Seconds between two signs of life that are asked for, and between two tries to connect.
_INTERVAL: Final = 1.0
#: Seconds that a room is still followed after its last viewer has left: a page that is loaded anew comes back to it.
_LINGER: Final = 10.0
#: Seconds for which a gap can be made up for.
LONGEST_GAP: Final = 3000.0


class Feed:
    """See the module. ``timeout`` in seconds: without a sign of life for as long, the connection is given up."""

    def __init__(self, link: Link, catch_up: CatchUp, tell: Teller, *, tail: int, timeout: float) -> None:
        self._link = link
        self._catch_up = catch_up
        self._tell = tell
        self._timeout = timeout
        self._sweeping = Sweeping(tell.sweep)
        self.mirror = Mirror(tail, self._want)
        #: What other threads ask for: rooms to count up or down, and tasks that are not here, and up to when all news
        #: must be here before that is looked at.
        self._counts: deque[tuple[str, int, float]] = deque()
        self._wanted: dict[str, float] = {}
        self._waiting: dict[str, list[threading.Event]] = {}
        self._thread: tuple[int, threading.Thread] | None = None
        self._bell: Bell | None = None
        self._closed = False
        self._starting = native_lock()
        self._begin()

    def _begin(self) -> None:
        #: Viewers' interest in each room; rooms without any, and when to leave them; rooms that are caught up with.
        self._interest: dict[str, int] = {}
        #: When each room began to be watched, by the store's clock.
        self._since: dict[str, float] = {}
        self._leaving: dict[str, float] = {}
        self.live: set[str] = set()
        #: By the store's clock: up to when nothing was missed. 0: never connected.
        self._whole = 0.0
        self._last: bytes = b""
        #: Removals that wait until nobody is owed the end of the task any more.
        self._held_back: dict[str, Removed] = {}
        #: Whether the store answers (None: not known yet), and how many news came in.
        self.reachable: bool | None = None
        self.received = 0

    # Any thread.

    @property
    def running(self) -> bool:
        """Whether the feed announces (and not the threads that make changes)."""
        return self._thread is not None and self._thread[0] == os.getpid()

    def start(self) -> None:
        """Begin to listen, unless it does."""
        if self.running or self._closed:
            return
        with self._starting:
            if self.running:
                return
            if self._thread is not None:  # forked: what the parent listens to is none of ours
                self._begin()
                self.mirror.rooms.clear()
                self.mirror.reset("")
            self._bell = Bell()
            thread = threading.Thread(target=self._run, name="realtime-feed", daemon=True)
            self._thread = os.getpid(), thread
            thread.start()

    def count(self, room: str, by: int) -> None:
        """More or less interest in a room."""
        self._counts.append((room, by, time.time() + self._link.offset))
        self.wake()

    def wait_for(self, rooms: Collection[str], timeout: float) -> bool:
        """Wait until what is in these rooms is here. Returns whether it is."""
        over = time.monotonic() + timeout
        for room in rooms:
            if room in self.live:
                continue
            event = threading.Event()
            waiting = self._waiting.setdefault(room, [])
            waiting.append(event)
            if room not in self.live and not event.wait(max(0.0, over - time.monotonic())):
                return room in self.live
        return True

    def close(self) -> None:
        """Stop listening, and wait a moment for the thread."""
        self._closed = True
        self.wake()
        if self.running and self._thread is not None and self._thread[1] is not threading.current_thread():
            self._thread[1].join(3 * self._timeout)
        self._sweeping.wait(3 * self._timeout)
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    def _want(self, task_id: str) -> None:
        if self.running and task_id not in self._wanted:
            self._wanted[task_id] = 0.0
            self.wake()

    def wake(self) -> None:
        """Have the thread look at what there is."""
        if self._bell is not None:
            self._bell.ring()

    # The thread.

    def _run(self) -> None:
        bell = self._bell
        assert bell is not None
        while not self._closed:
            lines = Lines(self._link, bell, self._timeout)
            try:
                self._follow(lines)
            except (redis.exceptions.RedisError, RegistryUnavailable, OSError) as error:
                if self.reachable is not False and not self._closed:
                    why = error.__cause__ or error
                    _log.warning("The task store is out of reach (%s); what is missed meanwhile follows.", why)
                self._say(False)
            except Exception:
                _log.exception("Listening to the task store failed; it goes on.")
                self._say(False)
            finally:
                lines.close()
            self.live.clear()
            if not self._closed:
                bell.wait(random.uniform(0.1, _INTERVAL / 2))

    def _say(self, reachable: bool) -> None:
        if reachable is not self.reachable:
            before, self.reachable = self.reachable, reachable
            if before is not None or not reachable:  # that it is there at first is no news
                self._tell.reachable(reachable)

    def _follow(self, lines: Lines) -> None:
        """Listen until a connection ends, which raises."""
        self._link.learn()
        lines.settle()  # first, so that it is known which servers these are
        self._renew(self._link.survey())
        ask_at = time.monotonic()
        opened: list[str] = []
        self._settle_counts()
        since = self._whole
        self._subscribe(lines, self._rooms())
        while not self._closed:
            opened += lines.hear(self._read)
            if lines.torn:
                since, lines.torn = since or self._whole, False
            self._whole = max(self._whole, lines.whole)
            if self._link.known_epoch not in (None, self.mirror.epoch):
                self._renew(self._link.open())
            if not (since and lines.awaited):  # what a gap was made up for is looked at together
                if opened:
                    self._meet(opened, since)
                if opened or not self._interest:
                    since, opened = 0.0, []
                    self._say(True)
                new, leaving = self._settle_counts()
                self._subscribe(lines, new)
                lines.leave(leaving)
            self._fetch()
            now = time.monotonic()
            if now >= ask_at:
                ask_at = now + _INTERVAL
                lines.ask()
                self._renew(self._link.survey())
                lines.settle()
                self._tick()
            lines.check()
            lines.wait(ask_at - time.monotonic())

    def _rooms(self) -> list[str]:
        """All that is to be followed."""
        return list(self._interest)

    def _subscribe(self, lines: Lines, rooms: list[str]) -> None:
        self.mirror.follow(room for room in rooms if room in self._interest)
        lines.follow(rooms)

    def _settle_counts(self) -> tuple[list[str], list[str]]:
        """Take in what others asked for. Returns the rooms to follow from now on, and those to leave."""
        new: list[str] = []
        now = time.monotonic()
        left = self._take_counts(new, now)
        live = self.live.intersection(left)
        self.live.difference_update(left)
        if self._counts and live:  # who has counted before that saw them live, whoever does from now on will not
            still = set(self._take_counts(new, now))
            left = [room for room in left if room in still]
            self._open(live - still)
        for room in left:
            del self._leaving[room], self._interest[room], self._since[room]
            self.mirror.leave(room)
        return new, left

    def _take_counts(self, new: list[str], now: float) -> list[str]:
        """Returns rooms that it is time to leave."""
        while self._counts:
            room, by, since = self._counts.popleft()
            if room not in self._interest:
                self._interest[room] = 0
                self._since[room] = since
                new.append(room)
            self._interest[room] += by
            if self._interest[room] <= 0:
                self._leaving[room] = now + _LINGER
            else:
                self._leaving.pop(room, None)
        return [room for room, over in self._leaving.items() if over <= now]

    def _open(self, rooms: Collection[str]) -> None:
        """What is in these rooms is here."""
        self.live.update(rooms)
        for room in rooms:
            for event in self._waiting.pop(room, ()):
                event.set()

    # News.

    def _read(self, data: bytes) -> None:
        """One message. It comes once for each of its rooms that are followed here, one after the other."""
        if data == self._last:
            return
        self._last = data
        self.received += 1
        if data[:1] == b"O":
            self._output(data)
            return
        kind, version, size, written, record = data.split(b" ", 4)
        try:
            task = decode(
                record, epoch=self.mirror.epoch, version=int(version), size=int(size), written=int(written)
            )  # fmt: skip
        except RegistryUnavailable as error:  # of a newer release: a server of that one shows it
            _log.warning("%s", error)
            return
        if kind == b"R":
            self._remove(Removed(task.task_id, task.user_id, task.groups, task.info.epoch, task.version))
        else:
            self._take(task, kind == b"C")

    def _take(self, task: Task, created: bool, before: Callable[[], None] | None = None) -> None:
        """Take in a task as it was at some time, and tell it if that is news; ``before`` is called before."""
        if task.task_id in self._held_back and self._held_back[task.task_id].version < task.version:
            self._let_go(self._held_back.pop(task.task_id))
        news = self.mirror.put(task)
        if before is not None:
            before()
        if news:
            self._tell.change(task, created)

    def _output(self, data: bytes) -> None:
        _, name, start, written, stream, text = data.split(b" ", 5)
        task_id = name.decode()
        task = self.mirror.held(task_id)
        if task is None:
            self._want(task_id)
            return
        known = self.mirror.write(task, stream.decode(), int(start), text, int(written))
        if known is None:
            self._load_output(task, {stream.decode(): int(start)})
        elif known < int(start) + len(text):
            self._tell.output(self.mirror.held(task_id) or task, stream.decode(), known)

    def _load_output(self, task: Task, starts: dict[str, int], otherwise: int | None = None) -> None:
        """Read all streams of a task; tell what is new, of one that was not here from ``starts`` on, else from
        ``otherwise`` (None: its end)."""
        if self.mirror.held(task.task_id) is None:
            return
        for stream, (first, data) in self._catch_up.output(task.task_id).items():
            here = self.mirror.output_ends(task.task_id).get(stream)
            self.mirror.load(task, stream, first, data)
            end = first + len(data)
            start = starts.get(stream, end if otherwise is None else otherwise) if here is None else here
            if start < end:
                self._tell.output(task, stream, start)

    def _remove(self, removed: Removed) -> None:
        held = self.mirror.held(removed.task_id)
        if held is not None and held.version < removed.version and self._tell.pinned(removed.task_id):
            self._held_back[removed.task_id] = removed
        else:
            self._let_go(removed)

    def _let_go(self, removed: Removed) -> None:
        self.mirror.remove(removed.task_id, removed.version)
        self._tell.removed(removed)

    # What was missed.

    def _meet(self, rooms: list[str], since: float) -> None:
        """Catch up with rooms that are followed from now on; ``since`` when nothing was missed, 0: not at all yet."""
        now = self._link.at_least()  # what is taken for whole later than it is has gaps
        if since and now - since > LONGEST_GAP:
            self._tell.epoch("")
        rooms = [room for room in rooms if room in self._interest]
        self._make_up(rooms, since or now, since or min((self._since[room] for room in rooms), default=now))
        if not self._whole or self._interest.keys() <= set(rooms):  # else news of other rooms may be on their way
            self._whole = now
        self._open(rooms)

    def _make_up(self, rooms: list[str], since: float, told: float, told_output: int | None = None) -> None:
        """Tell what happened in rooms after ``since``. What was created after ``told`` is new; of streams that are not
        here it is told what was written after ``told_output`` (None: nothing)."""
        missed = self._catch_up.read(rooms, since, self.mirror)
        for removed in missed.removed:
            self._remove(removed)
        written = {task.task_id: task for task in missed.written if told_output is not None or self._has_output(task)}
        for task in missed.tasks:
            created = task.info.created > told and self.mirror.held(task.task_id) is None
            # Output comes before the end that follows it, and after what begins.
            text = written.pop(task.task_id, None) if task.finished else None
            before = None if text is None else partial(self._load_output, text, {}, told_output)
            self._take(task, created, before)
        for task in written.values():
            self._load_output(task, {}, told_output)

    def _has_output(self, task: Task) -> bool:
        """Whether what a task has written belongs here."""
        return bool(self.mirror.output_ends(task.task_id)) or task_room(task.task_id) in self.mirror.rooms

    def _fetch(self) -> None:
        """Read tasks that were asked for."""
        wanted = [task_id for task_id, when in dict(self._wanted).items() if when <= self._whole]
        if wanted:
            for task in self._catch_up.tasks(wanted).values():
                if self.mirror.held(task.task_id) is None and task.info.created > self._whole:
                    self._wanted[task.task_id] = task.info.created  # its news, on their way, say that it is new
                    wanted.remove(task.task_id)
                    continue
                self._take(task, False)
                if task.output_size or task.output_more:
                    held = self.mirror.held(task.task_id)
                    if held is not None:
                        self._load_output(held, {})
            for task_id in wanted:
                del self._wanted[task_id]

    def _renew(self, epoch: str) -> None:
        """Begin anew if the store has lost its memory."""
        former = self.mirror.epoch
        if epoch == former:
            return
        self.mirror.reset(epoch)
        self._held_back.clear()
        self._last = b""
        if former:
            _log.warning("The task store has lost its memory, or some of it; viewers begin anew.")
            self._tell.epoch(epoch)
            self._meet(list(self.live), 0.0)

    def _tick(self) -> None:
        for task_id, removed in list(self._held_back.items()):
            if not self._tell.pinned(task_id):
                del self._held_back[task_id]
                self._let_go(removed)
        self.mirror.thin_out(self._tell.pinned)
        self._sweeping.begin()
