"""Whether any server follows a task: the store knows who listens to the channels of its rooms.

A server listens to a room from when its first viewer is in it, and a little longer than the last. So where none does,
nobody looks at the task; where one does, somebody may: a hidden page does not look, and only its server knows of that.

In a cluster each node knows its own listeners only: those of the task's channel are asked for where the task is, and
those of its other rooms where the lists are, by a script that names a key there. So a slot that has moved is followed.

A server that takes the place of another, or is started anew, has no listeners at first: they come when they notice. So
while an epoch is young, nobody is known not to look.
"""

from __future__ import annotations

import time
from typing import Final

from ...errors import RegistryUnavailable
from ...task import Task
from .link import Link
from .records import Records

#: Seconds that an answer is good for, and answers that are kept: a job may ask before each step.
_GOOD: Final = 1.0
_MAX_KNOWN: Final = 1_000
#: Seconds after which all servers listen again: they look each second, and may wait some for an answer.
_YOUNG: Final = 10.0


class Followers:
    """See the module."""

    def __init__(self, link: Link, records: Records) -> None:
        self._link = link
        self._records = records
        #: Until when (monotonic) an answer is good, and whether there are any; by task.
        self._known: dict[str, tuple[float, bool]] = {}

    def of(self, task_id: str) -> bool:
        """Whether a task has not ended and some server may have a viewer of it. Raises `RegistryUnavailable`."""
        known = self._records.last(task_id) or self._records.read(task_id)
        return known is not None and not known.task.finished and self._any(known.task)

    def _any(self, task: Task) -> bool:
        """As it was within the last second. True, too, where that is not known: while the store is away."""
        now = time.monotonic()
        until, there = self._known.get(task.task_id, (0.0, True))
        if now < until:
            return there
        try:
            keys = self._link.keys
            calls = [([keys.task(task.task_id)], keys.channels_of(task))]
            if others := keys.channels_of_lists(task.user_id, task.groups):
                calls.append(([keys.meta], others))
            # The call may have made the connection by which it turns out that this is another server.
            there = any(self._link.run_all("followers", calls)) or self._link.age < _YOUNG
        except RegistryUnavailable:
            there = True
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[task.task_id] = now + _GOOD, there
        return there
