"""What a `Conflator` knows of a task in work."""

from __future__ import annotations

from ..errors import RealtimeError, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from ..task import Task
from .calls import Call, Waiting
from .snapshots import is_unknown


class Entry:
    """A task in work."""

    __slots__ = ("beating", "ends", "heard", "out", "problem", "ready", "sent", "task", "unsent", "waiting")

    def __init__(self, task: Task) -> None:
        #: The newest state, as far as it is known here.
        self.task = task
        self.waiting = Waiting(task.task_id)
        #: Calls that are collected and not answered.
        self.out = 0
        #: Whether it stands in line to be collected.
        self.ready = False
        #: Whether a heartbeat has no answer yet.
        self.beating = False
        #: When it was last collected and last heard of, by the monotonic clock.
        self.sent = self.heard = float("-inf")
        #: The end of each stream of output, with what is not sent yet; and the bytes of it that are not.
        self.ends: dict[str, int] = {}
        self.unsent: dict[str, int] = {}
        #: An error that nobody was there to be told of.
        self.problem: RealtimeError | None = None

    def ignores(self, call: Call, refusal: RealtimeError) -> bool:
        """Whether it is only a heartbeat that is refused: of a task that was ended here meanwhile, or by a server that
        knows none.
        """
        ended = self.task.finished or is_unknown(self.task)
        return call.verb == "heartbeat" and (ended or not isinstance(refusal, TaskAlreadyFinished | TaskNotFound))


class Full(RegistryUnavailable):
    """There is no room for more to wait."""
