"""Parents in the store, and how they follow their parts. See `registry.kinship`, and `registry.family` for the lines.

Beside each parent, under its hash tag, is a hash: a line for each of its parts, and the sums of all lines, kept by one
script. A part is let in there before it is created, in the step that sees that the parent has not ended; whoever has
changed it writes its line after that, and then has the parent follow. Who dies in between leaves a line that is behind:
the process that sweeps looks, every `REPAIR` seconds, how the parts stand which are not known to have ended, and sees
to it.

The parent's record is made of the sums as they were read. So they are read once more after it is stored, and if others
have moved them meanwhile, it follows again: whoever comes last has seen the last ones.

A line stays when its part has left: a part that has ended counts until its parent has.
"""

from __future__ import annotations

import builtins
import contextlib
import time
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import starmap
from typing import Any, Final, NamedTuple

from ...concurrency import native_lock
from ...errors import RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from ...kin import MAX_CHILDREN, MAX_LEVELS
from ...task import PENDING, PROCESSING, NewTask, Task
from ..base import Registry
from ..descent import derived
from ..family import Sums, full, line_of, name_of
from ..kinship import asked_to_stop, is_part, no_parent
from .link import Link
from .nonces import Nonces
from .records import Records

#: Seconds between two times that a parent follows the progress of its parts, and between two looks at all parents.
INTERVAL: Final = 0.05
REPAIR: Final = 10.0
#: Parts in one call, and parents read on one way there and back; lines, and versions, that are read so.
_BATCH: Final = 100
_MANY: Final = 2000
#: Microseconds after which a part that was let in and is not there is not about to be created any more.
_CREATION: Final = 60_000_000


class _Line(NamedTuple):
    """One part, as the store has it."""

    name: str
    attempt: int
    version: int
    unfinished: bool
    task_id: str
    order: int


class Families:
    """The lines. Every method may raise `RegistryUnavailable`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._keys = link.keys

    def join(self, new: NewTask, parent: Task, order: int, now: float) -> None:
        """Let a new part in. Raises `InvalidValue`, `TaskAlreadyFinished` of the parent, `LimitReached`."""
        parent_id = parent.task_id
        # First: who is killed after it is made up for.
        self._link.ask(("ZADD", self._keys.parents, "NX", now, parent_id))
        name = new.kin.origin or new.task_id
        line = [name, new.attempt, 0, str(new.status), repr(new.kin.weight), 0, 0, new.task_id, order]
        answer = self._link.run("kin", self._of(parent_id), [MAX_CHILDREN, parent.info.order, *line])
        if answer[0] == -1:
            raise no_parent(parent_id)
        if answer[0] == -2:
            raise full(parent_id)
        if answer[0] == 0:
            raise TaskAlreadyFinished(parent_id, answer[1].decode())

    def leave(self, new: NewTask) -> None:
        """It was not created."""
        assert new.parent_id is not None
        self._link.run("leave", [self._keys.kin(new.parent_id)], [new.kin.origin or new.task_id, new.attempt])

    def note(self, parent_id: str, parts: Sequence[Task]) -> Sums | None:
        """Have parts count as they are now; returns what all come to, None if there is no such parent."""
        sums: Sums | None = None
        for start in range(0, max(1, len(parts)), _BATCH):
            args: list[Any] = ["", ""]
            for part in parts[start : start + _BATCH]:
                line = line_of(part)
                args += [
                    name_of(part), line.attempt, line.version, str(line.status), repr(line.weight), repr(line.percent),
                    int(line.awaited), line.task_id, part.info.order,
                ]  # fmt: skip
            answer = self._link.run("kin", self._of(parent_id), args)
            sums = _sums(answer[1]) if answer[0] == 1 else None
        return sums

    def sums(self, parent_id: str) -> Sums:
        """What all come to."""
        (found,) = self._link.ask(("HGET", self._keys.kin(parent_id), " "))
        return Sums() if found is None else _sums(found)

    def lines(self, parent_id: str) -> list[_Line]:
        """All lines, the oldest part first."""
        ((lines, _),) = self.lines_of([parent_id])
        return sorted(lines, key=lambda line: line.order)

    def lines_of(self, parents: Sequence[str]) -> Iterator[tuple[list[_Line], Sums]]:
        """The lines of each, and what they come to."""
        counts = self._link.ask(*(("HLEN", self._keys.kin(parent_id)) for parent_id in parents))
        at = 0
        while at < len(parents):
            until, room = at, _MANY
            while until < len(parents) and (until == at or counts[until] <= room):
                room -= counts[until]
                until += 1
            for found in self._link.ask(*(("HGETALL", self._keys.kin(parent_id)) for parent_id in parents[at:until])):
                sums = found.pop(b" ", None)
                yield list(starmap(_line, found.items())), Sums() if sums is None else _sums(sums)
            at = until

    def versions(self, task_ids: Sequence[str]) -> dict[str, int]:
        """Those of the tasks that there are, and the version of each."""
        there: dict[str, int] = {}
        for start in range(0, len(task_ids), _MANY):
            batch = task_ids[start : start + _MANY]
            answers = self._link.ask(*(("HMGET", self._keys.task(task_id), "v", "t") for task_id in batch))
            there |= {
                task_id: int(version) for task_id, (version, status) in zip(batch, answers, strict=True) if status
            }  # fmt: skip
        return there

    def parents(self) -> list[str]:
        """All parents, the oldest first, but for those that `forget` has taken out."""
        parents: list[str] = []
        while True:
            (found,) = self._link.ask(("ZRANGE", self._keys.parents, len(parents), len(parents) + _BATCH - 1))
            parents += (parent_id.decode() for parent_id in found)
            if len(found) < _BATCH:
                return parents

    def restore(self, tasks: Collection[Task]) -> None:
        """Have the parents of these parts seen to, if that they are some was lost."""
        parts = {task.info.parent_id: task.info.created for task in tasks if task.info.parent_id is not None}
        if parts:
            self._link.ask(*(("ZADD", self._keys.parents, "NX", at, parent_id) for parent_id, at in parts.items()))

    def forget(self, parent_id: str) -> None:
        """There is nothing to be done for a parent any more."""
        self._link.ask(("ZREM", self._keys.parents, parent_id))

    def _of(self, parent_id: str) -> list[str]:
        return [self._keys.task(parent_id), self._keys.kin(parent_id)]


def _line(name: bytes, line: bytes) -> _Line:
    attempt, version, status, _, _, _, task_id, order = line.decode().split(" ")
    return _Line(name.decode(), int(attempt), int(version), status in (PENDING, PROCESSING), task_id, int(order))


def _sums(text: bytes) -> Sums:
    numbers = text.split()
    counts = [int(float(number)) for number in numbers[:6]]
    return Sums(*counts, *map(float, numbers[6:]))


class RegistryWithFamilies(Registry):
    """What a registry in a shared store does as a `Kinship`."""

    nonces: Nonces
    _families: Families
    _records: Records

    #: Whether parents follow the progress of parts only when `follow` is called: somebody does, soon.
    lazy = False

    def __init__(self) -> None:
        #: Parts that have moved here, as they were last stored, and the lock that guards this.
        self._moved: dict[str, Task] = {}
        self._moving = native_lock()
        self._last_followed = self._repair_at = float("-inf")

    def children(self, parent_id: str) -> builtins.list[Task]:
        lines = self._families.lines(parent_id)
        there = self._parts(self.get(parent_id), lines)
        return [there[line.task_id] for line in lines if line.task_id in there]

    def _parts(self, parent: Task | None, lines: Iterable[_Line]) -> dict[str, Task]:
        """The parts of these lines that there are."""
        there = self._records.read_many([line.task_id for line in lines])
        return {} if parent is None else {name: part for name, part in there.items() if is_part(part, parent)}

    def follow(self) -> None:
        for _ in range(MAX_LEVELS):  # parents may be parts themselves; who goes on changing parts is not waited for
            if not self._moved:
                return
            self._last_followed = time.monotonic()
            with self._moving:
                moved, self._moved = self._moved, {}
            families: dict[str, builtins.list[Task]] = {}
            for part in moved.values():
                families.setdefault(part.info.parent_id or "", []).append(part)
            with self.nonces.anew():
                for parent_id in builtins.list(families):
                    with contextlib.suppress(RegistryUnavailable):
                        self._count(parent_id, families[parent_id])
                        del families[parent_id]
            for parts in families.values():  # which the next one does
                for part in parts:
                    self._keep(part)
            if families:
                return

    def _keep(self, part: Task) -> None:
        with self._moving:
            known = self._moved.get(part.task_id)
            if known is None or known.version < part.version:
                self._moved[part.task_id] = part

    def _part_changed(self, old: Task | None, part: Task) -> None:
        self._keep(part)
        moves = old is not None and old.status is part.status
        if not (moves and (self.lazy or time.monotonic() - self._last_followed < INTERVAL)):
            self.follow()

    def _followed(self, old: Task | None, new: Task) -> None:
        with self.nonces.anew():  # a change that follows is not the one that a nonce was given for
            super()._followed(old, new)

    def _follow_one(self, parent_id: str) -> None:
        self._count(parent_id, [])

    def _count(self, parent_id: str, parts: Sequence[Task]) -> None:
        """Have parts count, and the parent follow."""
        sums = self._families.note(parent_id, parts)
        last: Sums | None = None
        while sums is not None and sums != last:
            with contextlib.suppress(TaskNotFound):
                self._change(parent_id, partial(derived, sums=sums))
            last, sums = sums, self._families.sums(parent_id)

    # The sweep.

    def _repair_in_time(self) -> None:
        """Called by the process that sweeps."""
        began = time.monotonic()
        if began >= self._repair_at:
            self.repair()
            # However many parents there are, it is a small part of the time.
            self._repair_at = began + max(REPAIR, 10 * (time.monotonic() - began))

    def repair(self) -> None:
        """See to all parents: what was left undone by processes that have died."""
        every = self._families.parents()
        for start in range(0, len(every), _BATCH):
            batch = every[start : start + _BATCH]
            there = self._records.read_many(batch)
            for parent_id in batch:
                if parent_id not in there:
                    self._families.forget(parent_id)
            parents = [there[parent_id] for parent_id in batch if parent_id in there]
            for parent, (lines, sums) in zip(
                parents, self._families.lines_of([parent.task_id for parent in parents]), strict=True
            ):
                with contextlib.suppress(TaskNotFound, TaskAlreadyFinished):
                    self._repair(parent, [line for line in lines if line.unfinished], sums)

    def _repair(self, parent: Task, lines: builtins.list[_Line], sums: Sums) -> None:
        """See to a parent, of which these are the parts that are not known to have ended."""
        parent_id, asks = parent.task_id, asked_to_stop(parent)
        versions = self._families.versions([line.task_id for line in lines])
        # Most are as they were told: then their version says so, and they need not be read.
        there = self._parts(parent, [line for line in lines if asks or versions.get(line.task_id, 0) > line.version])
        long_ago = int(self._now() * 1e6) - _CREATION
        behind = []
        left = False
        for line in lines:
            part = there.get(line.task_id)
            if part is not None and (part.info.attempt, part.version) > (line.attempt, line.version):
                behind.append(part)
            elif line.task_id not in versions and line.version == 0 and line.order < long_ago:
                self._families.leave(NewTask(line.name, attempt=line.attempt, parent_id=parent_id))
                left = True
        if behind or left or derived(parent, self._now(), sums) is not parent:
            self._count(parent_id, behind)
        for part in there.values() if asks else ():
            if not part.finished and part.cancel_requested is None:
                with contextlib.suppress(TaskNotFound, TaskAlreadyFinished):
                    self.request_cancel(part.task_id)
        if parent.finished:
            self._families.forget(parent_id)

    @abstractmethod
    def _now(self) -> float:
        """The store's time, in seconds since 1970."""
