"""What makes up for lists that a cluster has lost, though other nodes still have their tasks.

With each new epoch the process that sweeps goes through all tasks once, a part at a time, and has those listed again
that are in no list. A node that was started anew, or a replica that had not heard of the last writes, may have had the
lists; a server alone loses both together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

from ...task import Task
from .cluster import ClusterLink

#: Looks at keys in one sweep: each is at about a thousand.
_STEPS: Final = 20


class Relist:
    """``read_many`` reads tasks by their ids, ``restore`` lists those that are in no list."""

    def __init__(
        self, link: ClusterLink, read_many: Callable[[Collection[str]], dict[str, Task]],
        restore: Callable[[Collection[Task]], None],
    ) -> None:  # fmt: skip
        self._link = link
        self._read_many = read_many
        self._restore = restore
        #: The epoch in which all were gone through, or are.
        self._epoch: str | None = None
        self._rest: Iterator[list[str]] | None = None

    def step(self) -> None:
        """Do a part, if there is anything to be done. Raises `RegistryUnavailable`: then it begins anew."""
        epoch, meta = self._link.epoch, self._link.keys.meta
        if epoch != self._epoch:
            (listed,) = self._link.ask(("HGET", meta, "listed"))
            self._rest = None if listed == epoch.encode() else self._link.task_ids()
            self._epoch = epoch
        try:
            for _ in range(_STEPS if self._rest is not None else 0):
                task_ids = next(self._rest, None) if self._rest is not None else None
                if task_ids is None:
                    self._link.ask(("HSET", meta, "listed", epoch))
                    self._rest = None
                    return
                self._restore(self._read_many(task_ids).values())
        except BaseException:
            self._epoch = None
            raise
