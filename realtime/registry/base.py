"""The interface of a task store, and what it guarantees."""

from __future__ import annotations

import builtins
import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Container, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final, Protocol

import msgspec

from ..errors import InvalidValue, RealtimeError, TaskAlreadyFinished, TaskNotFound
from ..task import NewTask, Task
from . import transitions
from .board import Board
from .buffer import Buffer
from .kinship import Kinship
from .leases import WORKER_LOST, Silence
from .notes import Notes
from .output import Piece

_log = logging.getLogger("realtime")

#: Workers that are found lost, or late, in one sweep by the hub; the others are in the next.
_LAPSES: Final = 500


#: What `Registry.update` takes, in its order: task id, message, current, total, percent, advance, unit, metadata.
Update = tuple[
    str, str | None, int | float | None, int | float | None, float | None, int | float | None, str | None, bytes | None
]  # fmt: skip


class Removed(msgspec.Struct, frozen=True, gc=False):
    """A task that has left its registry."""

    task_id: str
    user_id: str | None
    groups: tuple[str, ...]
    epoch: str
    #: Higher than every version that the task had.
    version: int

    @classmethod
    def of(cls, task: Task) -> Removed:
        """What is told of a task that leaves now."""
        info = task.info
        return cls(task.task_id, info.user_id, info.groups, info.epoch, task.version + 1)


class Local(Protocol):
    """What can be read of a registry without waiting, for the hub: of the rooms that are watched, as far as it is known
    here. Newer things are announced, and are there before that."""

    @property
    def epoch(self) -> str: ...

    def get(self, task_id: str) -> Task | None:
        """As `Registry.get`."""

    def read_output(self, task_id: str, stream: str, offset: int, end: int, most: int) -> Piece | None:
        """As `Registry.read_output`."""

    def output_ends(self, task_id: str) -> dict[str, int]:
        """As `Registry.output_ends`."""


def _never(task_id: str) -> bool:
    return False


def _nothing() -> None:
    pass


def _always() -> bool:
    return True


def _nobody(task: Task) -> bool | None:
    return False


class Registry(Kinship):
    """A store of tasks. All methods may be called from any thread, but not from a signal handler.

    Atomicity: a change is made whole or not at all. A method that raises has changed nothing, except
    `RegistryUnavailable`, after which nothing is known of the change. What a method has returned is stored.

    Order: the changes of one task have one order, and each gives it a version one higher than the last. A task starts
    at ``max(microseconds since 1970, highest version removed under its id + 1)``, so that in an epoch no two states
    of an id have the same version, whatever the clock does. Of several ends at once one wins; the same end again
    returns what is stored, another raises `TaskAlreadyFinished`.

    Announcements: `on_change` is called once after each stored change (but see `noted`), `on_remove` once after each
    removal, in the thread that made it, outside every lock; so they may come in another order than the changes, and
    the version says which is newer. What they raise is logged and goes no further. A call that changes nothing
    announces nothing.
    A store that processes share announces, once it is told to `serve`, in a thread of its own, the changes of all
    processes in the rooms that are watched; of what came while it was out of reach, the newest.

    Bounds: finished tasks leave after ``retention`` seconds and, oldest end first, beyond ``max_tasks_per_user`` and
    ``max_tasks``, but not while `pinned` says so. A part that leaves counts on in its parent, or stays until that ends.
    Unfinished tasks never leave. Memory of removed ids is bounded.

    Values are taken as they are: validate them first (`values`).
    """

    #: The memory of this registry: an id that is new when what it knew is lost.
    epoch: str
    #: Called with the task and whether it is a new one.
    on_change: Callable[[Task, bool], None] | None = None
    #: Tasks that who listens to `on_change` is about to read: an update of one need not be announced to it. It must
    #: take the task out of here first, and read it then.
    noted: Container[str] = ()
    #: Called with what has left.
    on_remove: Callable[[Removed], None] | None = None
    #: Called after each piece of output with the task, the stream and the offset where the piece begins.
    on_output: Callable[[Task, str, int], None] | None = None
    #: Where pieces are noted before anybody can read them: who reads one before `on_output` has told of it knows by it
    #: that it is new: task and stream, and from which offset on. Whoever takes a stream out of here reads it then.
    noted_output: dict[tuple[str, str], int] | None = None
    #: Called with the new epoch after the memory was lost; what viewers have is void. With "" where it is the same one,
    #: and more was missed than can be made up for: all have to begin anew. (Not for what never forgets.)
    on_epoch: Callable[[str], None] | None = None
    #: Called when the store is out of reach, with False, and when all is right again, with True.
    on_reachable: Callable[[bool], None] | None = None
    #: Whether the store was in reach when it was last looked at; told to `on_reachable` after it has changed.
    reachable: bool = True
    #: Called with each heartbeat: from the first one on somebody has to `sweep`.
    on_heartbeat: Callable[[], None] = staticmethod(_nothing)
    #: Says of a task id whether it must not be evicted yet, because a viewer is still owed the end. Must not raise.
    pinned: Callable[[str], bool] = staticmethod(_never)
    #: Says whether the calling thread may be held up by a disk or a network. Where it may not, a change returns before
    #: it is stored, and is announced when it is, by another thread. Must not raise.
    may_wait: Callable[[], bool] = staticmethod(_always)
    #: Whether changes wait for a disk or a network.
    waits = False
    #: Whether reading waits for a network, too: then only `local`, `watch` and `unwatch` are for the hub's thread.
    reads_wait = False
    #: What the servers of a shared store note for each other; None where one process serves.
    notes: Notes | None = None
    #: Where each of them says how it stands; None where one process serves.
    board: Board | None = None
    #: What keeps updates while the store is out of reach; None: they raise.
    buffer: Buffer | None = None
    #: Says of a task whether it has not ended and somebody looks at it; None if nobody does in this process, and others
    #: share the store. Takes no lock.
    watched: Callable[[Task], bool | None] = staticmethod(_nobody)

    @abstractmethod
    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]:
        """Store a task; returns it, and whether it is new.

        With ``exist_ok`` an unfinished task of the same id and owner is returned instead. Raises `TaskExists`.
        """

    @abstractmethod
    def get(self, task_id: str) -> Task | None:
        """The task as it is now, None if there is none."""

    def get_many(self, task_ids: Collection[str]) -> dict[str, Task]:
        """Those of the tasks that there are, each as it is now; where reading waits, on one way there and back."""
        return {task_id: task for task_id in task_ids if (task := self.get(task_id)) is not None}

    def update_many(self, updates: Sequence[Update]) -> builtins.list[Task | RealtimeError]:
        """As many calls of `update`, in this order; returns what each returned, or the error of a task that it raised.

        Each stands alone: there is no one moment in which all of them are made.
        """
        made: builtins.list[Task | RealtimeError] = []
        for update in updates:
            try:
                made.append(self.update(*update))
            except (TaskNotFound, TaskAlreadyFinished, InvalidValue) as error:
                made.append(error.with_traceback(None))  # whose frames hold this list
        return made

    def stall(self, task_id: str, since: float) -> Task:
        """Note that a processing task has given no sign of life ``since`` then; its next update takes that back.

        Changes nothing in another state, or if it is noted already. Raises `TaskNotFound`.
        """
        return self._change(task_id, lambda task, now: transitions.stalled(task, since))

    def heartbeat(self, task_id: str, lease: float, holder: str | None = None, takeover: bool = False) -> Task:
        """A sign of life of the worker, which promises the next within ``lease`` seconds: see `leases`.

        With ``holder`` the task is that worker's from now on, and no other's while the lease runs, unless another takes
        it over. Raises `TaskNotFound`, `TaskAlreadyFinished`, `LeaseHeld`.
        """
        task = self._change(task_id, lambda task, now: transitions.leased(task, lease, holder, takeover))
        self._hear(task_id, lease)
        self.on_heartbeat()
        return task

    def lapse(self, most: int | None = None) -> None:
        """Mark the leased tasks that are silent as stalled, and fail those whose lease is over; ``most`` of them."""
        for silence in self.silences()[:most]:
            with suppress(TaskNotFound, TaskAlreadyFinished):
                if silence.seconds > silence.lease:
                    self.fail(silence.task_id, WORKER_LOST)
                else:
                    self.stall(silence.task_id, silence.since)

    @abstractmethod
    def _hear(self, task_id: str, lease: float) -> None:
        """Note the moment of a sign of life."""

    @abstractmethod
    def silences(self) -> builtins.list[Silence]:
        """The leased tasks of which nothing is heard, but for those that are known as stalled and have time left. Costs
        as much as there are leases."""

    def remove(self, task_id: str) -> Removed:
        """Forget a finished task. Raises `TaskNotFound`, and `InvalidValue` (``task_id``) while it, or its parent, is
        unfinished."""
        task = self.get(task_id)
        if task is not None and not task.finished:
            raise InvalidValue("task_id", f"the task {task_id!r} is {task.status}; only a finished one can be removed")
        if task is not None:
            self._check_free(task)
        removed = [] if task is None else self._take_out([task])
        if not removed:
            raise TaskNotFound(task_id)
        return removed[0]

    @abstractmethod
    def _take_out(self, tasks: builtins.list[Task]) -> builtins.list[Removed]:
        """Remove those of the finished tasks that are still there; tell it."""

    @abstractmethod
    def list(
        self,
        *,
        user_id: str | None,
        groups: Collection[str],
        limit: int,
        before: str | None = None,
        finished: bool | None = None,
    ) -> tuple[builtins.list[Task], str | None]:
        """A page of the tasks of a user (None: of nobody) and of groups, each once, the newest created first.

        ``finished`` takes only those that have ended, or only those that have not. ``before`` is the second value of
        the last page, None after the last one. The cost depends on the page, not on the number of tasks.
        Raises `InvalidValue` (``before``) for a text that no page gave.
        """

    def _page_after(self, order: int) -> str:
        """What to give as ``before`` for the page that follows the task of this order."""
        return f"{self.epoch}.{order}"

    def _order_before(self, before: str) -> int:
        """The order that `_page_after` was given. Raises `InvalidValue`."""
        epoch, _, order = before.rpartition(".")
        if epoch != self.epoch or not (order.isascii() and order.isdecimal() and len(order) < 17):
            raise InvalidValue("before", "no page of this registry has given it")
        return int(order)

    @abstractmethod
    def unfinished(self) -> builtins.list[Task]:
        """All tasks that have not ended, the oldest created first."""

    @abstractmethod
    def count(self) -> tuple[int, int]:
        """How many tasks have not ended, and how many have. The cost does not depend on the number of tasks."""

    @abstractmethod
    def append_output(self, task_id: str, stream: str, data: bytes) -> int:
        """Write UTF-8 to a stream of an unfinished task, and tell it; returns the stream's end, in bytes.

        Output does not move the version. Raises `TaskNotFound`, `TaskAlreadyFinished`, and `LimitReached` for one
        stream too many.
        """

    @abstractmethod
    def read_output(self, task_id: str, stream: str, offset: int, end: int, most: int) -> Piece | None:
        """What is kept of a stream from ``offset`` to ``end``, at most ``most`` bytes; None if there is no such
        stream."""

    @abstractmethod
    def output_ends(self, task_id: str) -> dict[str, int]:
        """The streams of a task and the end of each."""

    @abstractmethod
    def expire(self, now: float | None = None) -> builtins.list[Removed]:
        """Let go of what has ended ``retention`` seconds before ``now`` (seconds since 1970), or is beyond a bound."""

    def open(self) -> None:  # there may be nothing to open
        """Open files and connections now, and not at the first use. Raises `ConfigError`, `RegistryUnavailable`."""

    def check(self) -> None:
        """Raise `RegistryUnavailable` unless tasks can be read and changed now, as far as is known."""
        self.open()

    def settled(self) -> bool:
        """Whether all is stored that was changed by threads which may not wait."""
        return True

    def adopt(self) -> None:
        """This process serves viewers: to be said in each, when it begins to, or with its requests."""

    @property
    def local(self) -> Local:
        """What the hub reads. For a store in this process, itself."""
        return self

    def at_hand(self, rooms: Collection[str]) -> AbstractContextManager[object]:
        """As long as it lasts these rooms are watched; when it begins, what is in them can be read from `local`, output
        too. (Unless the store is out of reach: then it begins all the same, after a short time.)"""
        return nullcontext()

    def sweep(self) -> None:
        """About once a second, by the hub: `expire`, and end what has lost its worker; here or elsewhere."""
        self.expire()
        self.lapse(_LAPSES)
        self.follow()

    def serve(self) -> None:  # a store in this process tells everything anyway
        """The hub runs: from now on tell it what happens in the rooms that are watched."""

    def watch(self, room: str) -> None:
        """Somebody watches a room (see `protocol`); to be said as often as `unwatch`. Neither waits nor calls back."""

    def unwatch(self, room: str) -> None:
        """And does no more."""

    def close(self) -> None:
        """Let go of files and connections. No method may be called afterwards."""
        self.on_change = self.on_remove = self.on_output = self.on_epoch = self.on_reachable = None

    def _tell_change(self, task: Task, created: bool) -> None:
        if self.on_change is not None:
            try:
                self.on_change(task, created)
            except Exception:
                _log.exception("Telling a change of the task %s failed", task.task_id)

    def _note_output(self, task_id: str, stream: str, start: int) -> None:
        """Called with the lock held."""
        noted = self.noted_output
        # The lower one, if the former is of another task that had the id.
        if noted is not None and noted.get((task_id, stream), start) >= start:
            noted[task_id, stream] = start

    def _tell_output(self, task: Task, stream: str, start: int) -> None:
        if self.on_output is not None:
            try:
                self.on_output(task, stream, start)
            except Exception:
                _log.exception("Telling an output of the task %s failed", task.task_id)

    def _tell_removed(self, removed: Removed) -> None:
        if self.on_remove is not None:
            try:
                self.on_remove(removed)
            except Exception:
                _log.exception("Telling the removal of the task %s failed", removed.task_id)

    def _tell_epoch(self, epoch: str) -> None:
        if self.on_epoch is not None:
            try:
                self.on_epoch(epoch)
            except Exception:
                _log.exception("Telling that the memory was lost failed")

    def _tell_reachable(self, reachable: bool) -> None:
        if self.on_reachable is not None:
            try:
                self.on_reachable(reachable)
            except Exception:
                _log.exception("Telling whether the store is in reach failed")
