"""The lifecycle functions, over a registry: they validate, change, and return the new snapshot. No Flask in here.

Any thread may call them (not a signal handler: a lock is taken). A wrong argument raises `InvalidValue` naming the
field and its bound, and changes nothing. None of them waits for a viewer or fails because of one.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, cast

from . import values
from .batch import Taker, look_at
from .config import Config
from .errors import InvalidType, InvalidValue, RealtimeError, TaskCancelled, TaskError, TaskNotFound
from .heart import Heart
from .kin import ALONE, Kin
from .progress import MAX_NUMBER
from .reasons import failure_of
from .registry.base import Registry, Removed
from .registry.conditional import When
from .supervision import Supervision
from .task import NewTask, Task, TaskStatus
from .values import TaskId as TaskId

log = logging.getLogger("realtime")

UserId = str | int


class Word:
    """`NOBODY` or `ANYBODY`: what is said in place of a user id, and is none."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: As ``user_id`` of a new task: it has no owner, and is seen through tickets and groups only.
NOBODY: Final = Word("NOBODY")
#: As ``user_id`` of `get_task_status`: whoever owns it.
ANYBODY: Final = Word("ANYBODY")


class TaskPage(list[Task]):
    """A list of tasks; ``next`` is what to give as ``before`` for the following page, None on the last one."""

    next: str | None = None


class Operations(Supervision):
    """The lifecycle functions. ``current_user`` tells who is identified now, for calls that name no user."""

    def __init__(self, registry: Registry, config: Config, current_user: Callable[[], str | None]) -> None:
        self.registry = registry
        self.config = config
        self._current_user = current_user
        self._expired_at = 0.0
        self._max_message = config.max_message
        self.heart: Heart | None = None
        if getattr(registry, "reads_wait", False):
            self.heart = Heart(
                registry.heartbeat, config.lease, acknowledge=registry.acknowledge_cancel, give_back=registry.release
            )  # fmt: skip

    def create_task(
        self,
        task_id: TaskId | None = None,
        user_id: UserId | Word | None = None,
        *,
        name: str | None = None,
        status: str = "processing",
        message: str | None = "Starting...",
        total: float | None = None,
        unit: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        cancellable: bool = False,
        groups: Collection[str] = (),
        exist_ok: bool = False,
        parent_id: TaskId | None = None,
        weight: float = 1.0,
        children: int | None = None,
    ) -> Task:
        """Create a task, show it to its user, and return its first snapshot.

        ``task_id`` is a text, an int or a UUID: 1 to 128 of the characters ``A-Z a-z 0-9 . _ : -``; it is made when
        omitted. ``user_id`` is the owner, a text or an int of 1 to 128 characters. Omitted, it is the user identified
        in this request; outside a request it must be given (`NOBODY` for a task without an owner). Members of
        ``groups`` (at most 8 ids) see the task too.

        The page shows ``name`` (at most 200 characters) and ``message`` (2,000). ``status`` is ``"processing"`` or
        ``"pending"``. ``total`` says how much there is to do, and ``unit`` of what: ``1570``, ``"files"`` (at most 40
        characters). ``metadata`` is a JSON object of the app's own, at most 16 KiB of it. ``cancellable`` shows a
        Cancel button: for code that looks for ``cancel_requested_at``.

        ``parent_id`` makes it a part of an unfinished task of the same owner, whose percent is the mean of its parts by
        ``weight`` (0 to 10**9). A task has at most 10,000 parts, on 8 levels. With ``children`` (0 to 10,000) it is to
        have so many parts itself, and ends by itself, with them.

        Raises `TaskExists` (nothing is changed) unless ``exist_ok`` and the task there has the same owner and is not
        finished: then that one is returned. Raises `InvalidValue`, also for a ``parent_id`` that the owner has no task
        of; `TaskAlreadyFinished` of the parent; `LimitReached` when that has 10,000 parts.
        """
        new = NewTask(
            values.task_id(task_id),
            self._owner(user_id),
            values.groups(groups),
            None if name is None else values.text("name", name, self.config.max_name),
            _first_status(status),
            None if message is None else values.text("message", message, self._max_message),
            None if total is None else values.total(total),
            None if unit is None else values.unit(unit),
            None if metadata is None else self._metadata(metadata),
            bool(cancellable),
            parent_id=None if parent_id is None else values.task_id(parent_id, "parent_id"),
            kin=ALONE if weight == 1.0 and children is None else Kin(values.weight(weight), values.children(children)),
        )
        now = time.monotonic()
        if now - self._expired_at > 1.0:  # nobody may be watching, and then no flusher runs to do it
            self._expired_at = now
            self.registry.expire()
        return self.registry.create(new, exist_ok=exist_ok)[0]

    def update_task_progress(
        self,
        task_id: TaskId,
        progress: str | float | None = None,
        message: str | None = None,
        current: float | None = None,
        total: float | None = None,
        percent: float | None = None,
        advance: float | None = None,
        unit: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Task:
        """Say how far a task is; returns its snapshot. It never waits for a viewer, however often it is called.

        ``progress`` is the ``message`` if it is text (at most 2,000 characters), the ``percent`` if it is a number (0
        to 100: 0.4 is 0.4 %). Or ``current`` steps of ``total`` are done, or ``advance`` more than before, and the
        percent follows from them. ``unit`` and ``metadata`` are as for `create_task`; metadata is replaced as a whole.

        What is omitted stays. A pending task starts by it. Percent never goes down, and 100 does not end the task.

        Raises `TaskNotFound`, `TaskAlreadyFinished`, `InvalidValue`.
        """
        # Nothing here is keyword-only: Python looks up such defaults by name, a tenth of the call. Most pass at once.
        if (
            type(progress) is str
            and type(task_id) is str
            and message is None
            and current is None
            and advance is None
            and percent is None
            and total is None
            and unit is None
            and metadata is None
            and progress.isascii()
            and len(progress) <= self._max_message
        ):
            return self.registry.update(task_id, progress)
        if progress is not None:
            if isinstance(progress, str):
                if message is not None:
                    raise InvalidValue("message", "given twice: as progress and as message")
                message = progress
            elif percent is None:
                percent = progress
            else:
                raise InvalidValue("percent", "given twice: as progress and as percent")
        # Plain values of the right type and size pass at once; the validators say what is wrong with the others.
        if message is not None and not (
            type(message) is str and len(message) <= self._max_message and message.isascii()
        ):
            message = values.text("message", message, self._max_message)
        if percent is not None and not (type(percent) in _NUMBERS and 0 <= percent <= 100):
            percent = values.percent(percent)
        if current is not None and not (type(current) in _NUMBERS and -MAX_NUMBER <= current <= MAX_NUMBER):
            current = values.number("current", current)
        if total is not None:
            total = values.total(total)
        if advance is not None and not (type(advance) in _NUMBERS and -MAX_NUMBER <= advance <= MAX_NUMBER):
            advance = values.number("advance", advance)
        if unit is not None:
            unit = values.unit(unit)
        if type(task_id) is not str:
            task_id = values.known_id(task_id)
        return self.registry.update(
            task_id, message, current, total, percent, advance, unit,
            None if metadata is None else self._metadata(metadata),
        )  # fmt: skip

    def update_many(
        self, updates: Iterable[tuple[TaskId, str | float | Mapping[str, Any]]]
    ) -> list[Task | RealtimeError]:
        """Say how far many tasks are, for less than a call for each costs.

        Each item is ``(task_id, progress)``, where ``progress`` is a message, a percent, or what else
        `update_task_progress` takes, by name: ``("a", "Reading")``, ``("b", 40)``, ``("c", {"advance": 1})``.

        All items are looked at before anything is changed: a wrong one raises `InvalidValue`, which names it
        (``updates[3].percent``). Then each stands alone, in the order given: returned is a list with, for each, its
        snapshot or the error that it alone came to: `TaskNotFound`, `TaskAlreadyFinished`, or `InvalidValue` for an
        ``advance`` that goes too far.
        """
        taker: Any = Taker()
        look = look_at(Operations(taker, self.config, self._current_user).update_task_progress, self._max_message)
        return self.registry.update_many([look(place, item) for place, item in enumerate(updates)])

    def append_output(self, task_id: TaskId, text: str, *, stream: str = "output") -> int:
        """Append to what a task has written (log lines, generated text); returns the stream's end, in bytes of UTF-8.

        No line break is added. Every piece is delivered whole, in order, and before the task's end; the newest
        ``REALTIME_OUTPUT_TAIL`` bytes (256 KiB) are kept for those who come late. ``stream`` is an id; a task has at
        most 8. Raises `TaskNotFound`, `TaskAlreadyFinished`, `InvalidValue`, `LimitReached` for a ninth stream.
        """
        if type(text) is not str or not text.isascii():
            text = values.text("text", text, sys.maxsize)  # no piece is too long: the newest of it is kept
        if stream != "output":
            stream = values.task_id(stream, "stream")
        return self.registry.append_output(values.known_id(task_id), stream, text.encode())

    def complete_task(self, task_id: TaskId, result: Any = None) -> Task:
        """End a task as completed; returns its last snapshot. Its percent becomes 100.

        ``result`` is anything JSON can take, up to ``REALTIME_MAX_RESULT`` bytes of it (256 KiB). If it is a dict, the
        page shows its ``message``, and its ``url`` as a link called ``label``.

        A task that is completed already is returned as it is. Raises `TaskNotFound`, `TaskAlreadyFinished` if it has
        failed or was cancelled, `InvalidValue` (naming the path, such as ``result.scores[3]``).
        """
        encoded = None if result is None else values.json_value("result", result, self.config.max_result)
        return self.registry.complete(values.known_id(task_id), encoded)

    def fail_task(
        self,
        task_id: TaskId,
        error: str | BaseException,
        *,
        code: str | None = None,
        type: str | None = None,
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Task:
        """End a task as failed; returns its last snapshot.

        ``error`` is a message that the user may read, or an exception. Of an exception that is not a `TaskError` the
        page gets what ``REALTIME_ERROR_DETAIL`` allows; the traceback goes to the log with the task's id.
        `TaskCancelled` ends the task as cancelled.

        The page gets besides: ``code``, a stable word to switch on (at most 64 characters; else that of a `TaskError`,
        else ``"failed"``); ``type``, in place of the exception's class (200); ``retryable``, whether trying again may
        help; ``details``, a small JSON object (16 KiB).

        A task that has failed already is returned as it is. Raises `TaskNotFound`, `TaskAlreadyFinished` if it is
        completed or was cancelled, `InvalidValue`.
        """
        task_id = values.known_id(task_id)
        if isinstance(error, TaskCancelled):
            return self.registry.cancel(task_id)
        failure = failure_of(error, self.config, code=code, type=type, retryable=retryable, details=details)
        if isinstance(error, BaseException) and not isinstance(error, TaskError):
            log.error("Task %s failed.", task_id, exc_info=error)
        return self.registry.fail(task_id, failure)

    def retry_task(self, task_id: TaskId, new_task_id: TaskId | None = None) -> Task:
        """Make a task that tries a failed or cancelled one again, and return it. It runs nothing: that is the caller's.

        The new task is pending, with the same owner, groups, name, total, unit, metadata, parent and weight; its
        ``retry_of`` is the old one, whose ``retried_by`` is the new one, and its ``attempt`` is one higher. Its id is
        ``new_task_id``, or made when omitted.

        A task is tried again once: while the one that does has not ended, it is returned. Raises `TaskNotFound`,
        `TaskExists`, `InvalidValue` (which names the newest attempt, if it is another), and what `create_task` raises.
        """
        new_id = None if new_task_id is None else values.task_id(new_task_id, "new_task_id")
        return self.registry.retry(values.known_id(task_id), new_id)[0]

    def get_task_status(self, task_id: TaskId, *, user_id: UserId | Word | None = ANYBODY) -> Task | None:
        """The newest snapshot of a task; None if there is no such task.

        Give ``user_id`` when a user asks: then it is None also for a task that this user does not own. Raises
        `InvalidValue`.
        """
        self.registry.follow()
        task = self.registry.get(values.known_id(task_id))
        if task is not None and user_id is not ANYBODY:
            owner = None if user_id is None or user_id is NOBODY else values.user_id(user_id)
            if owner is None or task.user_id != owner:
                return None
        return task

    def list_tasks(
        self,
        user_id: UserId | None = None,
        *,
        groups: Collection[str] = (),
        limit: int = 50,
        before: str | None = None,
        finished: bool | None = None,
    ) -> TaskPage:
        """A user's tasks (and those of ``groups``), newest first: a `TaskPage`, which is a list.

        It has at most ``limit`` of them (1 to 1,000). ``before`` is the ``next`` of the page before. ``finished`` picks
        the finished (True) or the unfinished ones (False). An omitted ``user_id`` is the user identified in this
        request. Raises `InvalidValue`.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1_000:
            raise InvalidValue("limit", f"{limit!r}; it may be a whole number from 1 to 1000")
        if finished is not None and not isinstance(finished, bool):
            raise InvalidType("finished", f"True, False or None, not {type(finished).__name__}")
        self.registry.follow()
        tasks, following = self.registry.list(
            user_id=self._owner(user_id), groups=values.groups(groups), limit=limit, before=before, finished=finished
        )
        page = TaskPage(tasks)
        page.next = following
        return page

    def remove_task(self, task_id: TaskId) -> Removed:
        """Forget a finished task, before ``REALTIME_RETENTION`` is over. Its viewers are told: it leaves their pages.

        Raises `TaskNotFound`, and `InvalidValue` for one that has not ended, or is a part of a job that has not.
        """
        return self.registry.remove(values.known_id(task_id))

    def holding(self, holder: str) -> Operations:
        """These functions as the worker of that name: what another holds they do not change, and raise `LeaseHeld`."""
        if not isinstance(self.registry, Registry):  # a client's bear the name of themselves
            return self
        held = Operations(cast(Registry, When(self.registry, holder=holder)), self.config, self._current_user)
        held.heart = self.heart
        return held

    def start_task(self, task_id: TaskId) -> Task:
        """Say that a pending task is being worked on now."""
        return self.registry.start(values.known_id(task_id))

    def require(self, task_id: TaskId) -> Task:
        """The newest snapshot. Raises `TaskNotFound`."""
        task = self.registry.get(values.known_id(task_id))
        if task is None:
            raise TaskNotFound(str(task_id))
        return task

    def watched(self, task_id: TaskId) -> bool | None:
        """Whether somebody looks at a task now: a connected page on the screen, or a poller. False once it has ended.

        None where that is not known: nobody does in this process, but others share the store; or a worker's server has
        not said.
        """
        task = self.registry.get(values.known_id(task_id))
        return False if task is None else self.registry.watched(task)

    # Helpers.

    def _owner(self, user_id: Any) -> str | None:
        if user_id is NOBODY:
            return None
        if user_id is None and (user_id := self._current_user()) is None:
            raise InvalidValue(
                "user_id",
                "it must be given here: no user is identified (outside a request nobody is). "
                "For a task without an owner give realtime.NOBODY",
            )
        return values.user_id(user_id)

    def _metadata(self, metadata: Mapping[str, Any]) -> bytes:
        return values.json_value("metadata", values.mapping("metadata", metadata), self.config.max_metadata)


_NUMBERS = (int, float)


def _first_status(status: Any) -> TaskStatus:
    if status not in (TaskStatus.PENDING, TaskStatus.PROCESSING):
        raise InvalidValue("status", f"{status!r}; a task begins as 'processing' or 'pending'")
    return TaskStatus(status)
