"""What a `Conflator` knows of a task in work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import LeaseHeld, RealtimeError, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from ..registry.transitions import is_unacknowledged, updated
from ..task import Task
from .calls import ENDS, Call, Waiting
from .snapshots import is_unknown, unknown


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

    def follow(self, call: Call, answer: Any, clock: Callable[[], float], now: float) -> bool:
        """Follow from the answer to a call, which came ``now``; returns whether there is still something to know."""
        if call.verb == "append_output":
            stream, data = call.args
            self.unsent[stream] -= len(data)
            if isinstance(answer, int):
                self.ends[stream] = answer + self.unsent[stream]
        if call.verb == "heartbeat":
            self.beating = False
        if isinstance(answer, RealtimeError):
            self.heard = float("-inf")
            if not call.claimed and call.verb not in ENDS and not self.ignores(call, answer):
                self.problem = answer
            if call.claimed and call.verb in ENDS:  # that was the next call, and raises this
                self.problem = None
            if call.verb in ENDS or call.verb == "create":  # it is not what was thought: ask anew
                self.task = unknown(call.task_id, clock())
            return bool(self.waiting or self.out or self.problem is not None)
        if call.verb == "get" and answer is None:
            return bool(self.waiting or self.out)
        self.heard = now
        if isinstance(answer, Task) and answer.task_id == call.task_id and not self.out:  # else it is a retry's
            if not self.waiting:
                self.task = answer
                return not answer.finished
            if not self.waiting.calls or self.waiting.calls[-1].verb not in ENDS:
                self.task = self._with_waiting(answer, clock)
        return True

    def acknowledge(self, call: Call, answer: Any) -> bool:
        """Whether that was the heartbeat of a block, answered with a request to stop: then it waits to be told that the
        block knows, which stops at its next word."""
        if call.verb != "heartbeat" or call.claimed or not isinstance(answer, Task) or not is_unacknowledged(answer):
            return False
        self.waiting.put(Call("acknowledge_cancel", call.task_id, ()))
        return True

    def _with_waiting(self, task: Task, clock: Callable[[], float]) -> Task:
        """The record with the updates that wait; as it is, if they will be refused."""
        updates = [call.args for call in self.waiting.calls if call.verb == "update"]
        if self.waiting.merged is not None:
            updates += self.waiting.merged.updates()
        try:
            for update in updates:
                task = updated(task, clock(), *update)
        except RealtimeError:
            pass
        return task

    def ignores(self, call: Call, refusal: RealtimeError) -> bool:
        """Whether it is only a heartbeat that is refused: of a task that was ended here meanwhile, or by a server that
        knows none. Or that a request to stop is known here: the task stops, or has ended.
        """
        if call.verb == "acknowledge_cancel":
            return True
        ended = self.task.finished or is_unknown(self.task)
        return call.verb == "heartbeat" and (
            ended or not isinstance(refusal, TaskAlreadyFinished | TaskNotFound | LeaseHeld)
        )


class Full(RegistryUnavailable):
    """There is no room for more to wait."""
