"""`RedisRegistry`: the operations. See the package for how it works."""

from __future__ import annotations

import builtins
import contextlib
import itertools
import math
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from typing import Final

from ...errors import (
    RealtimeError,
    RegistryUnavailable,
    TaskExists,
    TaskNotFound,
)
from ...task import UNFINISHED, NewTask, Task
from .. import transitions
from ..base import Local, Removed
from ..leases import Silence
from ..output import Piece
from .board import RedisBoard
from .catchup import CatchUp
from .cluster import open_link
from .codec import encode
from .families import Families, RegistryWithFamilies
from .feed import Feed
from .followers import Followers
from .keys import rooms_with_lists
from .leases import StoredLeases
from .lists import Lists, Member, Shelf
from .nonces import Nonces
from .notes import RedisNotes
from .outputs import Outputs
from .records import Known, Records
from .relist import Relist
from .sharded import ShardedFeed
from .teller import Teller

#: Milliseconds that the server itself keeps a finished task beyond its retention, in case nobody takes it out.
_GRACE: Final = 3_600_000
#: Milliseconds that the last version of a removed task is known.
_REMEMBERED: Final = 86_400_000
#: Tasks removed on one way there and back.
_BATCH: Final = 256


class RedisRegistry(RegistryWithFamilies):
    """See `Registry`. ``retention`` is in seconds, ``timeout`` too: of one answer of the server, unless the address
    says it (``?timeout=0.5``). What ``?prefix=shop`` says is how all names begin that are given to things there.

    ``clock`` takes the place of the server's (for tests). Every method may raise `RegistryUnavailable`.
    """

    def __init__(
        self,
        url: str,
        *,
        retention: float = 3600.0,
        max_tasks: int = 100_000,
        max_tasks_per_user: int = 1_000,
        output_tail: int = 256 * 1024,
        timeout: float = 1.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self._link = open_link(url, timeout)
        self._keys = self._link.keys
        self._retention = retention
        self._clock = clock
        self.nonces = Nonces()
        self.notes, self.board = RedisNotes(self._link), RedisBoard(self._link)
        self._records = Records(self._link)
        self._outputs = Outputs(self._link, self._records, output_tail)
        self._lists = Lists(self._link, self._records.read_many, self._now, max_tasks, max_tasks_per_user, retention)
        self._leases = StoredLeases(self._link, self._now)
        self.followers = Followers(self._link, self._records)
        self._families = Families(self._link)
        self._relist = Relist(
            self._link, self._records.read_many, self._lists.restore, self._leases.restore, self._families.restore
        )  # fmt: skip
        self._feed = (ShardedFeed if self._link.sharded else Feed)(
            self._link, CatchUp(self._link, self._records.read_many, self._outputs.all),
            Teller(
                self._tell_change, self._tell_output, self._tell_removed, lambda task_id: self.pinned(task_id),
                self._tell_epoch, self._tell_reachable, self._sweep,
            ),
            tail=output_tail, timeout=self._link.timeout,
        )  # fmt: skip
        self._link.on_epoch = lambda epoch: self._feed.wake()

    @property
    def epoch(self) -> str:  # type: ignore[override]  # it is the store that says
        return self._link.epoch

    def _now(self) -> float:
        return self._clock() if self._clock is not None else time.time() + self._link.offset

    # Changes.

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        if new.status not in UNFINISHED:  # before anything is written
            transitions.created(new, epoch="", now=0.0, version=0, order=0)
        task_id, nonce = new.task_id, self.nonces.new()
        joins = new.parent_id is not None and self.get(task_id) is None
        parent = self.get(new.parent_id or "") if joins else None
        if joins:
            new = self._admitted(new, parent)
        began = time.monotonic()
        order, micros = self._lists.register(new, None if self._clock is None else int(self._clock() * 1e6))
        now = micros / 1e6 if self._clock is None else self._clock()
        task = transitions.created(new, epoch=self.epoch, now=now, version=0, order=order)
        if parent is not None:
            try:
                self._families.join(new, parent, order, now)
            except RealtimeError:
                self._lists.unregister(task)
                raise
        answer = self._link.run(
            "create",
            [*self._keys_of(task_id), *self._lists.beside(task)],
            [nonce, micros, task.status, encode(task), order, task_id, *self._keys.channels_of(task)],
        )
        if answer[0] == 1:
            made, task = task, self._records.stored(task, nonce, *answer[1:]).task
            if task.info.order != made.info.order:  # it had been created, of which the answer was lost
                self._lists.unregister(made)
            self._relist.made(task, time.monotonic() - began if len(answer) == 3 else math.inf)
            if not self._feed.running:
                self._tell_change(task, True)
            self._followed(None, task)
            return self._as_followed(task), True
        self._lists.unregister(task)
        if joins:
            self._families.leave(new)
        stored = self._records.decoded(*answer[1:]).task
        if exist_ok and stored.info.user_id == new.user_id and not stored.finished:
            return stored, False
        raise TaskExists(task_id)

    def get(self, task_id: str) -> Task | None:
        known = self._read(task_id)
        return None if known is None else known.task

    def _read(self, task_id: str) -> Known | None:
        """The task as it is now; sees to it that a list has it."""
        known = self._records.read(task_id)
        if known is not None:
            self._relist.see(known.task)
        return known

    def get_many(self, task_ids: Collection[str]) -> dict[str, Task]:
        return self._records.read_many(task_ids)

    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        """Store what ``change`` makes of the task over the record that it was made of, or make it anew.

        What this process last knew will mostly do, and saves a read; but only what was read now may say that nothing is
        to be done, or nothing can be.
        """
        over = time.monotonic() + self._link.timeout
        known, fresh = self._records.last(task_id), False
        for attempt in itertools.count(1):
            if known is None:
                known, fresh = self._read(task_id), True
                if known is None:
                    raise TaskNotFound(task_id)
            task = known.task
            if known.nonce == self.nonces.given:  # this very change, of which the answer was lost
                self._followed(None, task)
                return task
            try:
                new = change(task, self._now())
            except RealtimeError:
                if fresh:
                    raise
                new = task
            if new is not task:
                stored, known = self._store(known, new)
                if stored:
                    return self._after(task, known.task)
                fresh = True
            elif fresh:
                return task
            else:
                known = None
            if attempt > 3:  # more than one other writer at a time
                if time.monotonic() > over:
                    raise RegistryUnavailable(f"Too many change the task {task_id!r} at once; nothing was done.")
                time.sleep(random.uniform(0.0, 0.0005 * min(attempt, 20)))
        raise AssertionError

    def _store(self, base: Known, new: Task) -> tuple[bool, Known]:
        """Store the record made of ``base``. Returns whether it was, and what is stored now. Raises `TaskNotFound`."""
        task_id, nonce = new.task_id, self.nonces.new()
        kept = int(self._retention * 1e3) + _GRACE if new.finished else ""
        answer = self._link.run(
            "store", self._keys_of(task_id),
            [base.nonce, nonce, new.status, kept, encode(new), *self._keys.channels_of(new)],
        )  # fmt: skip
        if answer[0] < 0:
            self._records.forget(task_id)
            raise TaskNotFound(task_id)
        if answer[0]:
            return True, self._records.stored(new, nonce, *answer[1:])
        return False, self._records.decoded(*answer[1:])

    def _after(self, old: Task, task: Task) -> Task:
        """A change is stored: tell it, and make room if that was an end."""
        full: builtins.list[Shelf] = []
        if task.finished:
            with contextlib.suppress(RegistryUnavailable):  # it is stored; whoever reads the lists puts them right
                full = self._lists.settle(task)
        if not self._feed.running:
            self._tell_change(task, False)
        self._followed(old, task)
        with contextlib.suppress(RegistryUnavailable):
            for shelf in full:
                self._thin_out(shelf)
        return task

    # Output.

    def append_output(self, task_id: str, stream: str, data: bytes) -> int:
        known = self._records.last(task_id) or self._read(task_id)  # for its channels, which never change
        if known is None:
            raise TaskNotFound(task_id)
        end, task = self._outputs.append(known.task, stream, data, self.nonces.new())
        if not self._feed.running:
            self._tell_output(task, stream, end - len(data))
        return end

    def read_output(self, task_id: str, stream: str, offset: int, end: int, most: int) -> Piece | None:
        return self._outputs.read(task_id, stream, offset, end, most)

    def output_ends(self, task_id: str) -> dict[str, int]:
        return self._outputs.ends(task_id)

    # Removal.

    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        now = self._now() if now is None else now
        removed: list[Removed] = []
        crowded = self._lists.take_crowded()
        passed = 0
        while due := self._lists.due(now, passed, _BATCH):
            gone = self._take_out(self._unpinned(due, self._keys.ended))
            passed += len(due) - len(gone)
            removed += gone
        for shelf in crowded:
            removed += self._thin_out(shelf)
        return removed

    def _thin_out(self, shelf: Shelf) -> builtins.list[Removed]:
        """Remove what is beyond the bound, the oldest end first, and pass over what is pinned."""
        removed: list[Removed] = []
        passed = 0
        while oldest := self._lists.beyond(shelf, passed, _BATCH):
            gone = self._take_out(self._unpinned(oldest, shelf.key))
            passed += len(oldest) - len(gone)
            removed += gone
        return removed

    def _unpinned(self, members: builtins.list[Member], key: str) -> builtins.list[Task]:
        tasks = self._lists.read({key: members})
        return [task for task in tasks if task.finished and not self.pinned(task.task_id)]

    def _take_out(self, tasks: builtins.list[Task]) -> builtins.list[Removed]:
        answers = self._link.run_all(
            "remove",
            [
                (
                    self._keys_of(task.task_id),
                    [task.version, secrets.token_bytes(8), _REMEMBERED, *self._keys.channels_of(task)],
                )
                for task in tasks
            ],
        )
        gone = [(task, int(answer[1])) for task, answer in zip(tasks, answers, strict=True) if answer[0]]
        with contextlib.suppress(RegistryUnavailable):
            self._lists.drop(gone)
        removed = [Removed(task.task_id, task.user_id, task.groups, task.info.epoch, version) for task, version in gone]
        for one in removed:
            self._records.forget(one.task_id)
            if not self._feed.running:
                self._tell_removed(one)
        return removed

    # Reading.

    def list(
        self,
        *,
        user_id: str | None,
        groups: Collection[str],
        limit: int,
        before: str | None = None,
        finished: bool | None = None,
    ) -> tuple[builtins.list[Task], str | None]:
        bound = None if before is None else self._order_before(before)
        tasks = self._lists.page(rooms_with_lists(user_id, groups), bound, limit + 1, finished)
        following = self._page_after(tasks[limit - 1].info.order) if len(tasks) > limit else None
        return tasks[:limit], following

    def unfinished(self) -> builtins.list[Task]:
        return self._lists.unfinished()

    def count(self) -> tuple[int, int]:
        unfinished, finished = self._link.ask(("ZCARD", self._keys.live), ("ZCARD", self._keys.ended))
        return unfinished, finished

    # What others change.

    waits = reads_wait = True

    @contextlib.contextmanager
    def at_hand(self, rooms: Collection[str]) -> Iterator[None]:
        for room in rooms:
            self.watch(room)
        try:
            if self._feed.running:
                self._feed.wait_for(rooms, self._link.timeout)
            yield
        finally:
            for room in rooms:
                self.unwatch(room)

    def sweep(self) -> None:
        if not self._feed.running:  # else its thread does, which may wait
            self._sweep()

    def _sweep(self) -> None:
        self.follow()
        if self._leases.take_turn():
            self.expire()
            self.lapse()
            self._repair_in_time()
            self._lists.look_over()
            self._relist.step()

    def _hear(self, task_id: str, lease: float) -> None:
        self._leases.hear(task_id, lease)

    def silences(self) -> builtins.list[Silence]:
        return self._leases.silences(self._records.read_many)

    @property
    def reachable(self) -> bool:  # type: ignore[override]  # the feed knows
        return self._feed.reachable is not False

    def check(self) -> None:
        if not self.reachable:
            raise RegistryUnavailable("The task store is out of reach.")
        self._link.look()

    @property
    def local(self) -> Local:
        return self._feed.mirror

    def adopt(self) -> None:
        # It sweeps: the lease of a worker elsewhere runs out also while nobody looks.
        self._feed.start()

    def serve(self) -> None:
        self._feed.start()

    def watch(self, room: str) -> None:
        self._feed.count(room, 1)

    def unwatch(self, room: str) -> None:
        self._feed.count(room, -1)

    @property
    def feed(self) -> Feed:
        """The news of what all processes change."""
        return self._feed

    # Helpers.

    def _keys_of(self, task_id: str) -> builtins.list[str]:
        return [self._keys.task(task_id), self._keys.output(task_id)]

    def close(self) -> None:
        super().close()
        self._feed.close()
        self._link.close()
