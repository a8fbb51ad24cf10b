"""What makes up for lists that a cluster has lost, though other nodes still have their tasks.

A node that was started anew, or a replica that had not heard of the last writes, may have had the lists; a server alone
loses both together, and lists a task in the step that creates it. So with each new epoch the process that sweeps goes
through all tasks once, a part at a time, and has those listed again that are in no list. It waits a moment first, for
tasks that were listed in what is lost and are just being created; who takes longer than that to create one lists it
once more. Whoever reads a task that is older than the epoch makes sure, too, once: also where nobody sweeps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from typing import Final

from ...errors import RegistryUnavailable
from ...task import Task
from .cluster import ClusterLink
from .link import Link

#: Looks at keys in one sweep: each is at about a thousand.
_STEPS: Final = 20
#: Seconds from when an epoch is noticed until tasks are gone through; and seconds, fewer, that who creates a task may
#: take and rely on it.
_WAIT: Final = 2.0
_PROMPT: Final = 1.5
#: Seconds that clocks may be apart: so much younger than the epoch is a task that was listed in it for sure.
_MARGIN: Final = 5.0
#: Tasks that are known to be listed; and seconds for which no list is looked at after one could not be.
_MAX_SEEN: Final = 4096
_PAUSE: Final = 5.0


class Relist:
    """``read_many`` reads tasks by their ids; each of ``restores`` notes anew what was lost of some that there are."""

    def __init__(
        self, link: Link, read_many: Callable[[Collection[str]], dict[str, Task]],
        *restores: Callable[[Collection[Task]], None],
    ) -> None:  # fmt: skip
        self._link = link if isinstance(link, ClusterLink) else None
        self._read_many = read_many
        self._restores = restores
        #: The epoch in which all were gone through, or are, and when to begin (monotonic).
        self._epoch: str | None = None
        self._begin = 0.0
        self._rest: Iterator[list[str]] | None = None
        #: Tasks that were seen to be listed, and in which epoch; and until when (monotonic) none is looked at.
        self._seen: dict[str, str | None] = {}
        self._pause = 0.0

    def step(self) -> None:
        """Do a part, if there is anything to be done. Raises `RegistryUnavailable`: then it begins anew."""
        if self._link is None:
            return
        epoch, meta = self._link.epoch, self._link.keys.meta
        if epoch != self._epoch:
            (listed,) = self._link.ask(("HGET", meta, "listed"))
            self._rest = None if listed == epoch.encode() else self._link.task_ids()
            self._epoch, self._begin = epoch, time.monotonic() + _WAIT
        if self._rest is None or time.monotonic() < self._begin:
            return
        try:
            for _ in range(_STEPS):
                task_ids = next(self._rest, None)
                if task_ids is None:
                    self._link.ask(("HSET", meta, "listed", epoch))
                    self._rest = None
                    return
                self._restore(self._read_many(task_ids).values())
        except BaseException:
            self._epoch = None
            raise

    def see(self, task: Task) -> None:
        """A task was read. Never raises."""
        link = self._link
        if link is None or task.info.created > link.born + _MARGIN:
            return
        epoch = link.known_epoch
        if self._seen.get(task.task_id, "") == epoch or time.monotonic() < self._pause:
            return
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        try:
            self._restore([task])
            self._seen[task.task_id] = epoch
        except RegistryUnavailable:  # whose lists are away
            self._pause = time.monotonic() + _PAUSE

    def made(self, task: Task, seconds: float) -> None:
        """A task was created, so long after it was about to be listed. Never raises."""
        if self._link is not None and seconds > _PROMPT:
            with contextlib.suppress(RegistryUnavailable):
                self._restore([task])

    def _restore(self, tasks: Collection[Task]) -> None:
        for restore in self._restores if tasks else ():
            restore(tasks)
