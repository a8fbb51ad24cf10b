"""Tasks that live elsewhere, in the place of a registry: what the lifecycle functions of a `Client` act on.

Updates and output are taken by the `Conflator` and return at once. What creates, starts or ends a task, and what reads,
waits for its answer, at most ``timeout`` seconds; then it raises `RegistryUnavailable`, and nothing is known of it. An
end goes on being tried for as long as the process lives, everything else is given up.
"""

from __future__ import annotations

import builtins
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from ..errors import InvalidValue, RealtimeError, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from ..registry import transitions
from ..registry.base import Removed, Update
from ..task import CANCELLED, COMPLETED, FAILED, PROCESSING, NewTask, Task, TaskFailure, TaskStatus
from .calls import ENDS, Call
from .conflator import Conflator
from .entry import Full
from .sender import Sender, listen, new_event, wait_for

_T = TypeVar("_T")

#: Seconds that an update after a quiet time waits for its answer.
PATIENCE: Final = 1.0


class RemoteRegistry:
    """Of the methods of a `Registry` those that `Operations` calls, with the same arguments, results and errors."""

    def __init__(self, conflator: Conflator, sender: Sender, timeout: float, name: str) -> None:
        self._conflator = conflator
        self._sender = sender
        self._timeout = timeout
        #: What the server is called in errors.
        self.name = name
        #: As `Registry.watched`: what the server has said.
        self.watched: Callable[[Task], bool | None] = lambda task: not task.finished
        #: As `Registry.update`; without a method of ours in between, which would be a quarter of its price.
        self.update = conflator.update
        conflator.hear = self._hear
        conflator.admit = self._admit

    # Taken, and sent later.

    def update_many(self, updates: Sequence[Update]) -> builtins.list[Task | RealtimeError]:
        made: builtins.list[Task | RealtimeError] = []
        heard: builtins.list[tuple[int, Call, Any]] = []
        for place, update in enumerate(updates):
            quiet: builtins.list[Call] = []
            try:
                made.append(self._conflator.update(*update, quiet_calls=quiet))
            except (TaskNotFound, TaskAlreadyFinished, InvalidValue, RegistryUnavailable) as error:
                made.append(error.with_traceback(None))
            heard += [(place, call, listen(call)) for call in quiet]
        until = time.monotonic() + PATIENCE
        for place, call, event in heard:
            left = until - time.monotonic()
            if self._may_wait() and wait_for(call, event, left, unless=lambda: self._conflator.away):
                made[place] = call.answer
            else:
                call.claimed = False
        return made

    def append_output(self, task_id: str, stream: str, data: bytes) -> int:
        try:
            end, call = self._conflator.write(task_id, stream, data)
        except Full:
            end, call = self._when_there_is_room(lambda: self._conflator.write(task_id, stream, data))
        return end if call is None else self._hear(call, end)

    def _admit(self, task_id: str) -> None:
        try:
            self._conflator.enter(task_id)
        except Full:
            self._when_there_is_room(lambda: self._conflator.enter(task_id))

    def _hear(self, call: Call, otherwise: _T) -> _T:
        """The answer, if it comes soon: to a quiet task there may be news. Raises it if it is an error."""
        if self._may_wait():
            event = listen(call)
            if not wait_for(call, event, PATIENCE, unless=lambda: self._conflator.away):
                self._conflator.late = True
                call.claimed = False
            if call.answered:
                value: _T = call.value()
                return value
        call.claimed = False
        return otherwise

    def _when_there_is_room(self, take: Callable[[], _T]) -> _T:
        until = time.monotonic() + self._timeout
        while self._may_wait() and not self._conflator.away and (left := until - time.monotonic()) > 0:
            event = new_event()
            self._conflator.crowd(event)
            try:
                return take()  # there may be room by now
            except Full:
                event.wait(min(left, 1.0))
        try:
            return take()
        except Full:
            raise RegistryUnavailable(f"{self.name}: so much waits to be sent that no more is taken.") from None

    def beat(self, task_id: str, lease: float, holder: str, takeover: bool = False) -> None:
        """As `heartbeat`, without waiting for the answer: what is refused is raised at the next call for the task."""
        with contextlib.suppress(Full):  # all that waits is for a server that is away, and hears nobody
            self._conflator.beat(task_id, lease, holder)

    def acknowledge_cancel(self, task_id: str) -> Task:
        """Sent at once and not waited for: whoever says it has to stop."""
        return self._conflator.put(Call("acknowledge_cancel", task_id, ()), transitions.acknowledged)

    # Sent at once, and waited for.

    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        task: Task = self._do(Call("create", new.task_id, (new, exist_ok)))
        return task, True

    def start(self, task_id: str) -> Task:
        known, fresh = self._conflator.known(task_id)
        if fresh and known is not None and known.status is PROCESSING:
            return known
        started: Task = self._do(Call("start", task_id, ()))
        return started

    def heartbeat(self, task_id: str, lease: float, holder: str | None = None, takeover: bool = False) -> Task:
        """What this client says of the task afterwards, it says as that holder, until it gives the task back."""
        alive: Task = self._do(Call("heartbeat", task_id, (lease, holder, takeover)))
        return alive

    def release(self, task_id: str, holder: str) -> Task:
        released: Task = self._do(Call("release", task_id, (holder,)))
        return released

    def retry(self, task_id: str, new_task_id: str | None = None) -> tuple[Task, bool]:
        follower: Task = self._do(Call("retry", task_id, (new_task_id,)))
        return follower, True

    def follow(self) -> None:
        """Nothing: parents follow where the tasks live."""

    def complete(self, task_id: str, result: bytes | None) -> Task:
        return self._end(Call("complete", task_id, (result,), len(result or b"")), COMPLETED, result=result)

    def fail(self, task_id: str, failure: TaskFailure) -> Task:
        return self._end(Call("fail", task_id, (failure,), len(failure.details_json or b"")), FAILED, failure=failure)

    def cancel(self, task_id: str) -> Task:
        return self._end(Call("cancel", task_id, ()), CANCELLED)

    def request_cancel(self, task_id: str) -> Task:
        asked: Task = self._do(Call("request_cancel", task_id, ()))
        return asked

    def _end(self, call: Call, status: TaskStatus, **more: Any) -> Task:
        def end(task: Task, now: float) -> Task:
            # Whether it may still end so, the server knows; here it is over either way.
            return task if task.finished else transitions.ended(task, now, status, **more)

        ended: Task = self._do(call, end)
        return ended

    def _do(self, call: Call, change: Callable[[Task, float], Task] | None = None) -> Any:
        call.claimed = True
        event = listen(call)
        try:
            task = self._conflator.put(call, change)
        except Full:
            task = self._when_there_is_room(lambda: self._conflator.put(call, change))
        if not self._may_wait():
            call.claimed = False
            return task
        if wait_for(call, event, self._timeout):
            return call.value()
        call.claimed = False
        if call.verb in ENDS:
            raise self._unavailable("The end is kept, and sent when it is back.")
        call.abandoned = True
        raise self._unavailable("Nothing is known of the change.")

    # Read.

    def get(self, task_id: str) -> Task | None:
        """The newest state known here, if it is half a second old at most or the server is away; else the server's."""
        known, fresh = self._conflator.known(task_id)
        if known is not None and (fresh or self._conflator.away or not self._may_wait()):
            return known
        try:
            return self.read(task_id)
        except RegistryUnavailable:
            if known is None:
                raise
            return known

    def read(self, task_id: str) -> Task | None:
        """What the server says, after all that was said here."""
        task: Task | None = self._ask(Call("get", task_id, ()))
        return task

    def list(
        self,
        *,
        user_id: str | None,
        groups: Collection[str],
        limit: int,
        before: str | None = None,
        finished: bool | None = None,
    ) -> tuple[builtins.list[Task], str | None]:
        page: tuple[builtins.list[Task], str | None] = self._ask(
            Call("list", "", (user_id, tuple(groups), limit, before, finished))
        )
        return page

    def remove(self, task_id: str) -> Removed:
        removed: Removed = self._ask(Call("remove", task_id, ()))
        return removed

    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        """Nothing: that is for where the tasks live."""
        return []

    def _ask(self, call: Call) -> Any:
        call.claimed = True
        event = listen(call)
        self._conflator.ask(call)
        if self._may_wait() and wait_for(call, event, self._timeout):
            return call.value()
        call.abandoned = True
        raise self._unavailable("Nothing was read.")

    # Waiting.

    def _may_wait(self) -> bool:
        return self._sender.may_wait()

    def _unavailable(self, text: str) -> RegistryUnavailable:
        problem = self._sender.problem
        reason = f"{self.name} has not answered within {self._timeout:g} s." if problem is None else str(problem)
        return RegistryUnavailable(f"{reason} {text}")
