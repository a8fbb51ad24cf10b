"""What a `Conflator` knows of a task in work."""

from __future__ import annotations

from ..errors import RealtimeError, RegistryUnavailable
from ..task import Task
from .calls import Waiting


class Entry:
    """A task in work."""

    __slots__ = ("ends", "heard", "out", "problem", "ready", "sent", "task", "unsent", "waiting")

    def __init__(self, task: Task) -> None:
        #: The newest state, as far as it is known here.
        self.task = task
        self.waiting = Waiting(task.task_id)
        #: Calls that are collected and not answered.
        self.out = 0
        #: Whether it stands in line to be collected.
        self.ready = False
        #: When it was last collected and last heard of, by the monotonic clock.
        self.sent = self.heard = float("-inf")
        #: The end of each stream of output, with what is not sent yet; and the bytes of it that are not.
        self.ends: dict[str, int] = {}
        self.unsent: dict[str, int] = {}
        #: An error that nobody was there to be told of.
        self.problem: RealtimeError | None = None


class Full(RegistryUnavailable):
    """There is no room for more to wait."""
