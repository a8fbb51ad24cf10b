"""What a worker says of its tasks, until the server has it: the newest state of each waits, and one write per interval
takes it there.

How it works. For each task in work there is an `Entry`: the newest record as far as it is known here, and what waits
(`Waiting`). An update is applied to the record and merged into what waits: no I/O, no waiting. The `Sender` collects
what waits at most once per ``interval``, whatever asks to go at once (creations, ends, a flush) in between, and brings
back the answers, from which the records follow: so a worker hears of a request to stop and of what others did.

An update that comes after a quiet time has nothing to ride on. It goes at once and waits for its own answer, at most
`PATIENCE`: a job that speaks every ten seconds hears at each of its words what there is to hear. In a stream of
updates, errors of the server are raised at the next call for the same task.

Bounds. Nothing that was taken is ever thrown away. While ``max_tasks`` tasks or ``max_bytes`` of output and ends wait,
no more is taken: a call waits for room as long as the server answers, and raises `RegistryUnavailable` when it does not
or there is none in time.

The lock is held for dictionary work only, and is re-entrant since a finalizer may run between any two steps (see
`registry.memory`). Such a call, and one on the sender's own thread, never waits.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..errors import RealtimeError, TaskAlreadyFinished
from ..registry.transitions import updated
from ..task import Task
from .calls import ENDS, READS, Call, Merged
from .entry import Entry, Full
from .snapshots import is_unknown, unknown

_log = logging.getLogger("realtime")

#: Seconds without an answer about a task after which its next update waits for one.
QUIET: Final = 0.5
#: Seconds after which a task of which nothing waits is let go of.
_IDLE: Final = 60.0


class Conflator:
    """See the module. ``interval`` is in seconds. `wake` is called, outside the lock, when there is something to do."""

    def __init__(
        self,
        *,
        interval: float = 0.05,
        max_tasks: int = 10_000,
        max_bytes: int = 8 * 1024 * 1024,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = interval
        self.wake = wake
        #: What to do about the call of an update after a quiet time; and to take in a task, which may have to wait.
        self.hear: Callable[[Call, Task], Task] = lambda call, task: task
        self.admit: Callable[[str], None] = self.enter
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._clock = clock
        self._monotonic = monotonic
        self._entries: dict[str, Entry] = {}
        self.begin()

    def begin(self) -> None:
        """Have nothing wait, and know nothing of the server: at first, and in a forked child.

        What the parent has not sent yet is the parent's to send. What is known of the tasks stays known.
        """
        self._lock = _thread.RLock()
        self._acquire: Callable[[], object] = self._lock.acquire
        self._release: Callable[[], object] = self._lock.release
        self._entries = {task_id: Entry(entry.task) for task_id, entry in list(self._entries.items())}
        #: Who holds which task here, by leases that the server has confirmed: what is said of it is said as that one.
        self._holders: dict[str, str] = {}
        #: What is to go now, what may wait for its turn, and what belongs to no entry.
        self._urgent: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._loose: deque[Call] = deque()
        self._collected = float("-inf")
        #: The last call that was collected: when it is answered, all before it are.
        self._last: Call | None = None
        #: Bytes that wait or are on their way.
        self._size = 0
        self._crowd: list[Any] = []
        #: Whether the sender will look again by itself, for what may wait for its turn.
        self._expected = False
        #: Whether the server is out of reach, or has let somebody wait in vain.
        self.away = False
        self.late = False

    def held_here(self) -> bool:
        """Whether the calling thread is inside the lock: then it is a finalizer, and must not wait."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    # What a worker says.

    def update(
        self,
        task_id: str,
        message: str | None = None,
        current: int | float | None = None,
        total: int | float | None = None,
        percent: float | None = None,
        advance: int | float | None = None,
        unit: str | None = None,
        metadata: bytes | None = None,
        quiet_calls: list[Call] | None = None,
    ) -> Task:
        """Take an update; returns the newest state.

        After a quiet time there is a call whose answer is worth a wait: `hear` is asked for it, or it is put into
        ``quiet_calls``. Raises what the task's last update came to, `TaskAlreadyFinished`, `InvalidValue` and `Full`.
        """
        call = None
        if task_id not in self._entries:
            self.admit(task_id)
        try:
            # Inside the ``try``, or a Ctrl-C right after it would leave the lock held for ever.
            self._acquire()
            entry = self._entries.get(task_id)
            if entry is None:
                entry = self._enter(task_id)
            elif entry.problem is not None:
                self._raise(entry)
            while True:
                base = entry.task
                new = updated(base, self._clock(), message, current, total, percent, advance, unit, metadata)
                if entry.task is base:
                    entry.task = new
                    break
            waiting = entry.waiting
            merged = waiting.merged
            quiet = merged is None and self._is_quiet(entry)
            if merged is None:
                merged = waiting.merged = Merged()
            merged.take(message, current, total, percent, advance, unit, metadata)
            if quiet:
                call, wake = self._claimed(entry), True
            elif entry.ready:
                wake = False
            else:
                wake = self._line_up(entry)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # the lock is not held
                self._release()
            raise
        self._release()
        if wake:
            self.wake()
        if call is None:
            return new
        if quiet_calls is None:
            return self.hear(call, new)
        quiet_calls.append(call)
        return new

    def write(self, task_id: str, stream: str, data: bytes) -> tuple[int, Call | None]:
        """Take a piece of output; returns the stream's end as far as it is known, and the call as `update` does."""
        with self._lock:
            if self._size + len(data) > self._max_bytes:
                raise Full("output")
            entry = self._entries.get(task_id) or self._enter(task_id)
            if entry.problem is not None:
                self._raise(entry)
            if entry.task.finished:
                raise TaskAlreadyFinished(task_id, entry.task.status)
            self._size += len(data)
            quiet = self._is_quiet(entry)
            entry.waiting.write(stream, data)
            entry.unsent[stream] = entry.unsent.get(stream, 0) + len(data)
            end = entry.ends[stream] = entry.ends.get(stream, 0) + len(data)
            call = self._claimed(entry) if quiet else None
            wake = quiet or (not entry.ready and self._line_up(entry))
        if wake:
            self.wake()
        return end, call

    def put(self, call: Call, change: Callable[[Task, float], Task] | None = None) -> Task:
        """Have a call sent at once, after all that waits for its task. ``change`` is what it will make of the record.

        Returns the newest state, and raises `Full`, and what ``change`` raises.
        """
        with self._lock:
            if call.size and self._size + call.size > self._max_bytes:
                raise Full("ends")
            entry = self._entries.get(call.task_id) or self._enter(call.task_id)
            if change is not None:
                entry.task = change(entry.task, self._clock())
            self._size += call.size
            entry.waiting.put(call)
            self._urgent.append(entry)
            task = entry.task
        self.wake()
        return task

    def beat(self, task_id: str, lease: float, holder: str) -> None:
        """Have a heartbeat sent in the task's turn; none while the one before has no answer. Raises `Full`."""
        with self._lock:
            entry = self._entries.get(task_id) or self._enter(task_id)
            if entry.beating or entry.task.finished:
                return
            entry.beating = True
            entry.waiting.put(Call("heartbeat", task_id, (lease, holder, False)))
            wake = not entry.ready and self._line_up(entry)
        if wake:
            self.wake()

    def disown(self, task_id: str) -> None:
        """What is said of the task from now on is said as nobody in particular."""
        with self._lock:
            self._holders.pop(task_id, None)
            entry = self._entries.get(task_id)
            if entry is not None:
                entry.waiting.holder = None

    def ask(self, call: Call) -> None:
        """Have something read at once, after all that waits for its task has been sent."""
        with self._lock:
            entry = self._entries.get(call.task_id)
            if entry is not None and entry.waiting:
                self._urgent.append(entry)
            self._loose.append(call)
        self.wake()

    def outstanding(self) -> list[Call]:
        """The last call of each task that waits, all of which go now, and the last one under way. Once they are
        answered, all is that was said up to now.
        """
        with self._lock:
            last = [call for entry in self._entries.values() if (call := self._hurry(entry)) is not None]
            under_way = self._last
        if last:
            self.wake()
        return last if under_way is None or under_way.answered else [under_way, *last]

    def known(self, task_id: str) -> tuple[Task | None, bool]:
        """The newest state known here, None if nothing is; and whether it was heard of just now."""
        with self._lock:
            entry = self._entries.get(task_id)
            if entry is None or is_unknown(entry.task):
                return None, False
            return entry.task, self._monotonic() - entry.heard <= QUIET

    def crowd(self, event: Any) -> None:
        """Have ``event`` set when there may be room again."""
        with self._lock:
            self._crowd.append(event)

    def enter(self, task_id: str) -> None:
        """Begin to know a task. Raises `Full`."""
        with self._lock:
            if task_id not in self._entries:
                self._enter(task_id)

    def _enter(self, task_id: str) -> Entry:
        if len(self._entries) >= self._max_tasks:
            self._let_go(0.0)
            if len(self._entries) >= self._max_tasks:
                raise Full("tasks")
        entry = self._entries[task_id] = Entry(unknown(task_id, self._clock()))
        entry.waiting.holder = self._holders.get(task_id)
        return entry

    @staticmethod
    def _raise(entry: Entry) -> None:
        problem, entry.problem = entry.problem, None
        if problem is not None:
            raise problem

    def _is_quiet(self, entry: Entry) -> bool:
        """Whether no answer about it is fresh, or on its way."""
        return (
            self._monotonic() - entry.heard > QUIET
            and not entry.out
            and not entry.waiting
            and not self.away
            and not self.late
        )

    def _line_up(self, entry: Entry) -> bool:
        """Have it sent in its turn; returns whether the sender must be told."""
        entry.ready = True
        self._ready.append(entry)
        told, self._expected = self._expected, True
        return not told

    def _claimed(self, entry: Entry) -> Call | None:
        call = self._hurry(entry)
        if call is not None:
            call.claimed = True
        return call

    def _hurry(self, entry: Entry) -> Call | None:
        call = entry.waiting.close()
        if call is not None:
            self._urgent.append(entry)
        return call

    # What the sender does.

    def collect(self) -> tuple[list[Call], float | None]:
        """What is to be sent now, and if it is nothing, the seconds until there will be something (None: not known)."""
        calls: list[Call] = []
        with self._lock:
            now = self._monotonic()
            while self._urgent:
                self._take(self._urgent.popleft(), now, calls)
            if self._ready and now - self._collected >= self.interval:
                self._collected = now
                for _ in range(len(self._ready)):
                    entry = self._ready.popleft()
                    if now - entry.sent < self.interval and entry.waiting:
                        self._ready.append(entry)
                        continue
                    entry.ready = False
                    self._take(entry, now, calls)
            while self._loose:
                calls.append(self._loose.popleft())
            if calls:
                self._last = calls[-1]
            self._expected = bool(self._ready)
            pause = max(0.0, self._collected + self.interval - now) if self._ready else None
        return calls, pause

    def _take(self, entry: Entry, now: float, calls: list[Call]) -> None:
        taken = entry.waiting.drain()
        if taken:
            entry.sent = now
            entry.out += len(taken)
            calls += taken

    def answered(self, call: Call, answer: Any) -> None:
        """Take the answer to a call that was collected: what the method returned, or the error it raised."""
        with self._lock:
            self._size -= call.size
            entry = self._entries.get(call.task_id)
            if entry is not None:
                if call.verb not in READS:
                    entry.out -= 1
                if call.verb == "heartbeat" and isinstance(answer, Task) and (holder := call.args[1]) is not None:
                    self._holders[call.task_id] = entry.waiting.holder = holder
                elif call.verb == "release" or (isinstance(answer, Task) and answer.finished):
                    self.disown(call.task_id)
                if not entry.follow(call, answer, self._clock, self._monotonic()):
                    self._entries.pop(call.task_id, None)
                elif entry.acknowledge(call, answer):
                    self._urgent.append(entry)
            crowd, self._crowd = self._crowd, []
        if isinstance(answer, RealtimeError) and call.verb in ENDS and not call.claimed:  # else the next call raises it
            _log.warning("What was said of the task %s was refused: %s", call.task_id, answer)
        call.conclude(answer)
        for event in crowd:
            event.set()

    def tidy(self) -> None:
        """Let go of tasks that nobody has spoken of for a while."""
        with self._lock:
            self._let_go(_IDLE)

    def _let_go(self, idle: float) -> None:
        before = self._monotonic() - idle
        for task_id, entry in list(self._entries.items()):
            # An error waits for the task's next call; but there may never be one, and many such tasks in a long life.
            until = before if entry.problem is None else before - _IDLE
            if not entry.waiting and not entry.out and max(entry.heard, entry.sent) <= until:
                del self._entries[task_id]
