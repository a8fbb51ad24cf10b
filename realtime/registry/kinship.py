"""Parents, parts and attempts: what of one task's change concerns another.

A parent's progress, and a group's end, *follow*: they are made of what the parts come to (`descent`), by whoever has
changed one, and can be made again by anybody at any time: to do it once more changes nothing, and the last one is
right. The end of a part is followed at once, in the thread that made it; its progress, when somebody is about to look
(a flush, a read) or it is time. A request to stop goes the other way: from a parent to all parts that have not ended,
and to those that come later.

An id may come back, as somebody else's task: what says that it is a part of a task, or tries one again, is believed if
it is of the same owner and younger (`is_part`, `is_retry`).

A retry is claimed first: the ended task says by whom it is `retried_by`, in one step that only one can make. So two
retries at once make one follower, and one whose maker has died in between is made by the next.
"""

from __future__ import annotations

import builtins
import logging
from abc import abstractmethod
from contextlib import suppress

from msgspec.structs import replace

from .. import values
from ..errors import (
    InvalidValue,
    RealtimeError,
    RegistryUnavailable,
    TaskAlreadyFinished,
    TaskExists,
    TaskNotFound,
)
from ..kin import MAX_LEVELS, Kin
from ..task import CANCELLED, PENDING, NewTask, Task
from . import transitions
from .verbs import Verbs

_log = logging.getLogger("realtime")


class Kinship(Verbs):
    """What a `Registry` does beyond one task."""

    @abstractmethod
    def create(self, new: NewTask, *, exist_ok: bool = False) -> tuple[Task, bool]: ...

    @abstractmethod
    def get(self, task_id: str) -> Task | None: ...

    @abstractmethod
    def children(self, parent_id: str) -> builtins.list[Task]:
        """The parts of a task, each by its newest attempt, the oldest part first. None of a task that there is not."""

    @abstractmethod
    def follow(self) -> None:
        """Have the parents follow of which parts have moved here. Costs next to nothing if none has. Must not raise."""

    def follow_soon(self) -> None:
        """The same for the hub's thread, before a flush: as far as it needs no waiting."""

    @abstractmethod
    def _part_changed(self, old: Task | None, part: Task) -> None:
        """A part is new (``old`` None) or has changed; have its parent follow, now or later."""

    @abstractmethod
    def _follow_one(self, parent_id: str) -> None:
        """Have a parent follow what its parts come to now."""

    # What registries call.

    def _admitted(self, new: NewTask, parent: Task | None) -> NewTask:
        """A new part of a task, on its level. Raises `InvalidValue`, and `TaskAlreadyFinished` of the parent."""
        if parent is None or parent.info.user_id != new.user_id:  # nobody learns of another's task
            raise no_parent(new.parent_id)
        if parent.finished:
            raise TaskAlreadyFinished(parent.task_id, parent.status)
        depth = parent.info.kin.depth + 1
        if depth >= MAX_LEVELS:
            raise InvalidValue("parent_id", f"the task {parent.task_id!r} is on level {depth} of {MAX_LEVELS} already")
        return replace(new, kin=replace(new.kin, depth=depth))

    def _followed(self, old: Task | None, new: Task) -> None:
        """A change is stored and told: see to whom else it concerns. Called without a lock; never raises."""
        info = new.info
        if info.parent_id is None and new.children is None:
            return
        try:
            if info.parent_id is not None:
                self._part_changed(old, new)
                parent = self.get(info.parent_id) if old is None else None
                if parent is not None and asked_to_stop(parent):  # a part that comes later is asked at once
                    with suppress(TaskNotFound, TaskAlreadyFinished):
                        self.request_cancel(new.task_id)
            if new.children is not None and asked_to_stop(new) and not (old is not None and asked_to_stop(old)):
                self._ask_parts(new.task_id)
                self._follow_one(new.task_id)  # there may be no part left to wait for
            elif old is None and info.kin.announced == 0:
                self._follow_one(new.task_id)
        except RegistryUnavailable:
            pass  # the sweep makes up for it
        except Exception:
            _log.exception("What follows from a change of the task %s failed", new.task_id)

    def _ask_parts(self, parent_id: str) -> None:
        for part in self.children(parent_id):
            if not part.finished and part.cancel_requested is None:
                with suppress(TaskNotFound, TaskAlreadyFinished):
                    self.request_cancel(part.task_id)

    def _as_followed(self, task: Task) -> Task:
        """A task that was created just now, with what has followed from that."""
        if task.info.parent_id is None and task.info.kin.announced != 0:
            return task
        return self.get(task.task_id) or task

    def _holder(self, task: Task) -> str | None:
        """The id of the unfinished parent in which a task counts: as long as that is, it must not go."""
        parent = None if task.info.parent_id is None else self.get(task.info.parent_id)
        return None if parent is None or parent.finished or not is_part(task, parent) else parent.task_id

    def _is_held(self, task: Task) -> bool:
        """Whether it counts in such a parent: of the attempts at a part the newest does."""
        retry = None if task.retried_by is None else self.get(task.retried_by)
        return (retry is None or not is_retry(retry, task)) and self._holder(task) is not None

    def _check_free(self, task: Task) -> None:
        """Raise `InvalidValue` if a finished task must not be removed yet."""
        holder = self._holder(task)
        if holder is not None:
            raise InvalidValue(
                "task_id",
                f"the task {task.task_id!r} is a part of {holder!r}, which has not ended; it can be removed after that",
            )

    # Attempts.

    def retry(self, task_id: str, new_task_id: str | None = None) -> tuple[Task, bool]:
        """Make a pending task that tries a failed or cancelled one again; returns it, and whether it is new.

        While one that does has not ended, that one is returned. Raises `TaskNotFound`, `TaskExists`, `InvalidValue`
        (``task_id``) for a task that cannot be tried again, or was already, and what `create` raises.
        """
        task = self.get(task_id)
        if task is None:
            raise TaskNotFound(task_id)
        if task.info.kin.retried_by is None:
            wanted = values.task_id(new_task_id)
            transitions.retried(task, wanted)  # raises before anything is changed
            parent_id = task.info.parent_id
            if parent_id is not None:
                self._admitted(_follower(task, wanted), self.get(parent_id))
            if self.get(wanted) is not None:
                raise TaskExists(wanted)
            task = self._change(task_id, lambda task, now: transitions.retried(task, wanted))
        follower_id = task.info.kin.retried_by
        assert follower_id is not None
        follower = self.get(follower_id)
        if follower is not None and not is_retry(follower, task):  # it has gone, and its id is another task's by now
            self._change(task_id, lambda task, now: transitions.given_up(task, follower_id))
            return self.retry(task_id, new_task_id)
        if follower is None:
            try:
                return self.create(_follower(task, follower_id))
            except TaskExists:
                follower = self.get(follower_id)
                if follower is None or not is_retry(follower, task):
                    self._change(task_id, lambda task, now: transitions.given_up(task, follower_id))
                    raise
            except RegistryUnavailable:
                raise  # nothing is known of it: the next retry sees
            except RealtimeError:
                self._change(task_id, lambda task, now: transitions.given_up(task, follower_id))
                raise
        newest = follower
        while newest.retried_by is not None:
            later = self.get(newest.retried_by)
            if later is None or not is_retry(later, newest):
                break
            newest = later
        if newest is follower and not follower.finished:
            return follower, False
        raise InvalidValue(
            "task_id",
            f"the task {task_id!r} was tried again already; the newest attempt is {newest.task_id!r}: retry that one",
        )


def no_parent(parent_id: str | None) -> InvalidValue:
    """The error where there is no parent of that id, or one of somebody else."""
    return InvalidValue("parent_id", f"there is no task {parent_id!r} of the same user")


def is_part(task: Task, parent: Task) -> bool:
    """Whether ``parent`` is the very task that it was made a part of, and not one that has its id by now."""
    return task.info.parent_id == parent.task_id and _is_younger(task, parent)


def is_retry(task: Task, former: Task) -> bool:
    """Whether it tries that very task again."""
    return task.retry_of == former.task_id and _is_younger(task, former)


def _is_younger(task: Task, other: Task) -> bool:
    return task.info.user_id == other.info.user_id and task.info.order > other.info.order


def asked_to_stop(task: Task) -> bool:
    """Whether its parts are to stop."""
    return task.status is CANCELLED or (task.cancel_requested is not None and not task.finished)


def _follower(task: Task, task_id: str) -> NewTask:
    """The next attempt at a task."""
    info, counted = task.info, task.children is not None and task.children.counted
    kin = info.kin
    return NewTask(
        task_id, info.user_id, info.groups, info.name, PENDING, None, None if counted else task.total,
        None if counted and info.unit == transitions.UNIT else info.unit, info.metadata_json, info.cancellable,
        info.attempt + 1, task.task_id, info.parent_id,
        Kin(kin.weight, kin.announced, origin=kin.origin or task.task_id),
    )  # fmt: skip
