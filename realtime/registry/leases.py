"""Whose worker is alive: leases, signs of life, and what becomes of a task of which there are none.

A worker that holds a task by a lease of so many seconds promises a sign of life within each such stretch: a heartbeat
or an update. After half a lease without one the task shows as stalled; after a whole one it fails with code
``worker_lost``, at the next sweep. A worker that comes back before that goes on as if nothing had been; one that comes
later finds that its task has ended: nothing follows an end.

Who promises may say who it is: the *holder*. Then the task is held by that one alone, and a second worker that got the
same task is refused with `LeaseHeld` until the lease is over, unless it takes the task over. From then on the first one
is fenced: its heartbeats, and what it writes as the holder that it is not any more (`conditional.When`), are refused.
A worker that does not say who it is can give signs of life, and neither takes a task nor keeps it from others.

In one process the monotonic clock counts, so that no step of the clock on the wall ends a task. Where nobody has looked
for a while (the process or the store was stopped or out of reach), nobody could be heard either: then all leases begin
anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from ..task import Task, TaskFailure

#: How a task ends whose worker went away.
WORKER_LOST: Final = TaskFailure(
    None, "The job's worker went away and did not come back. Start it again.", "worker_lost", True
)
#: The part of a lease after which a silent task shows as stalled.
STALLED_AFTER: Final = 0.5
#: Seconds between two sweeps from which on it is they that were missing, and not the workers.
DEAF_AFTER: Final = 10.0


class Silence(NamedTuple):
    """A leased task of which nothing was heard for more than `STALLED_AFTER` of its lease; if it shows that already,
    for more than all of it."""

    task_id: str
    lease: float
    #: Seconds of it, and when it began, in seconds since 1970.
    seconds: float
    since: float


class Leases:
    """The leases of one process's tasks. ``clock`` is monotonic. Nothing here needs a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: The lease, when something was last heard, and of when the update was that was last seen.
        self._held: dict[str, tuple[float, float, float | None]] = {}
        self._looked = -inf

    def hear(self, task_id: str, lease: float) -> None:
        """A sign of life now."""
        self._held[task_id] = (lease, self._clock(), None)

    def silences(self, get: Callable[[str], Task | None], wall: float) -> list[Silence]:
        """Who is silent; ``get`` knows the tasks, and ``wall`` is the time in seconds since 1970."""
        found: list[Silence] = []
        last, self._looked = self._looked, self._clock()
        deaf_until = self._looked if self._looked - last > DEAF_AFTER else -inf
        for task_id, held in list(self._held.items()):
            lease, heard, known = held
            task = get(task_id)
            if task is None or task.finished or task.info.lease != lease:  # the id may be another task's by now
                self._held.pop(task_id, None)
                continue
            now = self._clock()
            if task.updated != known or heard < deaf_until:
                if known is not None and task.updated != known:  # not the first look since a heartbeat
                    heard = now
                heard = max(heard, deaf_until)
                if self._held.get(task_id) is held:
                    self._held[task_id] = (lease, heard, task.updated)
            if now - heard > (lease * STALLED_AFTER if task.info.stalled is None else lease):
                found.append(Silence(task_id, lease, now - heard, wall - (now - heard)))
        return found
