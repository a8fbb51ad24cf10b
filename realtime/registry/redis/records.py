"""Tasks read from the store, and what this process last knew of those that have not ended."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec

from ...errors import RegistryUnavailable
from ...task import Task
from ...values import is_task_id
from .codec import decode, encode
from .link import Link

#: Tasks read on one way there and back.
_BATCH: Final = 256
#: Records that are kept to make the next ones from, without asking first.
_MAX_KNOWN: Final = 4096
#: The fields of a task, as `Records.decoded` takes them.
_FIELDS: Final = ("r", "v", "s", "n", "w")


class Known(NamedTuple):
    """A task, and the nonce of the change that made this record of it."""

    task: Task
    nonce: bytes


class Records:
    """See the module. The store may know better than `last` at any time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, Known] = {}

    def last(self, task_id: str) -> Known | None:
        """The task as this process last knew it; None if it did not, or if it has ended."""
        known = self._known.get(task_id)
        if known is not None and known.task.info.epoch != self._link.known_epoch:
            return None  # of a memory that the store has lost, or may have
        return known

    def forget(self, task_id: str) -> None:
        """The task is gone."""
        self._known.pop(task_id, None)

    def read(self, task_id: str) -> Known | None:
        """The task as it is now. Raises `RegistryUnavailable`."""
        return self._read([task_id]).get(task_id)

    def read_many(self, task_ids: Collection[str]) -> dict[str, Task]:
        """Those of the tasks that there are. Raises `RegistryUnavailable`."""
        return {task_id: known.task for task_id, known in self._read(task_ids).items()}

    def _read(self, task_ids: Collection[str]) -> dict[str, Known]:
        found: dict[str, Known] = {}
        # What no task can be called is not asked for: not all of it could even be sent.
        every = list(filter(is_task_id, task_ids))
        for start in range(0, len(every), _BATCH):
            batch = every[start : start + _BATCH]
            answers = self._link.ask(*(("HMGET", self._link.keys.task(one), *_FIELDS) for one in batch))
            for task_id, answer in zip(batch, answers, strict=True):
                if answer[0] is None:
                    self.forget(task_id)
                else:
                    found[task_id] = self.decoded(*answer)
        return found

    def decoded(self, record: bytes, version: bytes, size: bytes, written: bytes, nonce: bytes) -> Known:
        """The task that the store answered with."""
        task = decode(record, epoch=self._link.epoch, version=int(version), size=int(size), written=int(written))
        return self._know(Known(task, nonce))

    def stored(self, task: Task, nonce: bytes, version: bytes, size: bytes, *before: bytes) -> Known:
        """A task of this process that the store has taken in, with what the store says of it.

        ``before`` is what stands there of the same change, if it has made it before: then that is the task.
        """
        if before:
            return self.decoded(before[0], version, size, before[1], nonce)
        if task.info.epoch != self._link.known_epoch:  # a new connection has stored it, to another server than before
            with contextlib.suppress(RegistryUnavailable):
                written, record = int(size), encode(task)
                task = decode(record, epoch=self._link.epoch, version=int(version), size=written, written=written)
        if task.version != int(version) or task.output_size != int(size) or task.output_more:
            task = msgspec.structs.replace(task, version=int(version), output_size=int(size), output_more=0)
        return self._know(Known(task, nonce))

    def _know(self, new: Known) -> Known:
        known, task_id = self._known, new.task.task_id
        if new.task.finished:
            known.pop(task_id, None)
            return new
        known[task_id] = new
        if len(known) > _MAX_KNOWN:
            with contextlib.suppress(RuntimeError, StopIteration, KeyError):  # another thread does it just now
                del known[next(iter(known))]
        return new
