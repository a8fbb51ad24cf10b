"""Functions that run as tasks: each on a thread of a bounded pool, in the app's context, with the task's handle first.

A job begins with nothing of its caller's context: no request, no ``flask.g``, no context variable, as the request is
over long before the job. What a job needs it is given as arguments. Nor does it see what the job before it on the same
thread has set.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import logging
import os
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, Protocol, TypeVar

from .concurrency import native_lock
from .errors import LeaseHeld, ServerStopping, TaskAlreadyFinished, TaskCancelled, TaskNotFound
from .handle import SERVER_STOPPED, Handle
from .operations import Operations, TaskId, UserId, Word
from .pool import DaemonPool
from .task import Task

log = logging.getLogger("realtime")

_R = TypeVar("_R")

_STOPPED_MESSAGE: Final = "The server was stopped before the job was done. Start it again."


class Pool(Protocol):
    """What runs the work; see `DaemonPool`."""

    def submit(self, work: Callable[[], None]) -> None:
        """Run it soon on another thread, or later if all are busy. ``work`` does not raise."""


class _Work:
    """A function that waits for a thread or runs."""

    __slots__ = ("args", "function", "handle", "kwargs", "running")

    def __init__(
        self, handle: Handle, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.handle = handle
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.running = False


class Runner:
    """Runs functions as tasks, ``threads`` at once; ``context`` is entered around each, on its thread.

    Nothing starts before the first job. A forked child begins with an empty pool: the threads have stayed in the
    parent, and with them what they were running.
    """

    def __init__(
        self,
        operations: Operations,
        *,
        threads: int,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        pool: Callable[[int, str], Pool] = DaemonPool,
    ) -> None:
        self._operations = operations
        self._threads = threads
        self._context = context
        self._new_pool = pool
        self._begin()
        _guard(self)

    def _begin(self) -> None:
        #: Held for dictionary work only.
        self._lock = native_lock()
        self._pool: Pool | None = None
        #: What waits and what runs, by task id.
        self._works: dict[str, _Work] = {}
        self._stopping = False

    def running(self) -> int:
        """How many jobs run now; those that wait for a thread do not count."""
        return self.jobs()[0]

    def jobs(self) -> tuple[int, int]:
        """How many jobs run now, and how many wait for a thread."""
        with self._lock:
            running = sum(work.running for work in self._works.values())
            return running, len(self._works) - running

    def start(
        self,
        function: Callable[..., Any],
        *args: Any,
        user_id: UserId | Word | None = None,
        name: str | None = None,
        task_id: TaskId | None = None,
        kwargs: Mapping[str, Any] | None = None,
        total: float | None = None,
        unit: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        groups: Collection[str] = (),
        parent_id: TaskId | None = None,
        weight: float = 1.0,
    ) -> Task:
        """Run ``function(handle, *args, **kwargs)`` as a task; returns its first snapshot, which is pending.

        What the function returns completes the task (if that is nothing JSON can take, it fails with a message that
        names the path); all else ends it as a ``with`` block of the `Handle` would. ``name`` is made of the function's
        when omitted.

        Raises `ServerStopping`, what `create_task` raises, and TypeError for arguments that the function does not take:
        here, where they are written, and before there is a task.
        """
        kwargs = {} if kwargs is None else dict(kwargs)
        _check(function, args, kwargs)
        if self._stopping:
            raise ServerStopping("The server is stopping and takes no new jobs.")
        task = self._operations.create_task(
            task_id, user_id, name=name or _title(function, self._operations.config.max_name), status="pending",
            message=None, total=total, unit=unit, metadata=metadata, cancellable=True, groups=groups,
            parent_id=parent_id, weight=weight,
        )  # fmt: skip
        work = _Work(Handle(self._operations, task.task_id), function, args, kwargs)
        pool = self._admit(work)
        if pool is None:  # the stop came after the question above, and has not seen this one
            self._fail(work, _STOPPED_MESSAGE, code=SERVER_STOPPED, retryable=True)
            raise ServerStopping("The server is stopping and takes no new jobs.")
        try:
            pool.submit(lambda: self._run(work))
        except BaseException as error:  # no thread can be started
            self._fail(work, error)
            self._forget(work)
            raise
        return task

    def _admit(self, work: _Work) -> Pool | None:
        """The pool for it; None if the server is stopping."""
        with self._lock:
            if self._stopping:
                return None
            if self._pool is None:
                self._pool = self._new_pool(self._threads, "realtime-job")
            self._works[work.handle.task_id] = work
            pool = self._pool
        if self._operations.heart is not None:  # while it waits for a thread, too
            self._operations.heart.hold(work.handle.task_id)
        return pool

    def stop(self) -> None:
        """Take no more jobs, and fail those that wait or run with code ``server_stopped``; waits for none of them.

        A job hears of it as of any request to stop: its handle raises `TaskCancelled`. Any thread may call this, but no
        signal handler.
        """
        with self._lock:
            self._stopping = True
            works = list(self._works.values())
        for work in works:
            self._fail(work, _STOPPED_MESSAGE, code=SERVER_STOPPED, retryable=True)

    def leave(self) -> None:
        """The process is about to end: what blocks in views and on the host's own threads still hold by a lease fails
        as jobs do at `stop`, which has left them the time that a view has for its answer. Nobody waits for the lease.
        """
        heart = self._operations.heart
        for task_id, holder in () if heart is None else heart.held().items():
            operations = self._operations.holding(holder)
            if not self._end(operations, task_id, _STOPPED_MESSAGE, code=SERVER_STOPPED, retryable=True):
                return  # each would wait for the store, and the process has no time left

    def _fail(self, work: _Work, error: str | BaseException, **more: Any) -> None:
        """Fail a task unless it has ended; never raises."""
        self._end(self._operations, work.handle.task_id, error, **more)

    def _end(self, operations: Operations, task_id: str, error: str | BaseException, **more: Any) -> bool:
        """Whether it has ended, or is another worker's by now."""
        try:
            operations.fail_task(task_id, error, **more)
        except (TaskAlreadyFinished, TaskNotFound, LeaseHeld):
            pass
        except Exception:
            log.exception("The end of the task %s could not be stored.", task_id)
            return False
        return True

    # On a thread of the pool.

    def _run(self, work: _Work) -> None:
        try:
            contextvars.Context().run(self._execute, work)
        except (TaskCancelled, TaskAlreadyFinished, TaskNotFound, LeaseHeld):
            pass
        except BaseException as error:
            # What the job raised, its task says and the log has. The thread goes on, whatever it was.
            if not work.running:
                self._fail(work, error)
        finally:
            self._forget(work)

    def _execute(self, work: _Work) -> None:
        handle = work.handle
        with handle:  # raises for a task that has ended while it waited
            work.running = True
            handle.message("Starting...")
            with self._context():
                result = work.function(handle, *work.args, **work.kwargs)
            # After the context: what the app does at its end (a commit, say) belongs to the job.
            with contextlib.suppress(TaskAlreadyFinished):  # the job has said its end itself
                handle.complete(result)

    def _forget(self, work: _Work) -> None:
        with self._lock:
            if self._works.get(work.handle.task_id) is not work:
                return
            del self._works[work.handle.task_id]
        if self._operations.heart is not None:
            self._operations.heart.release(work.handle.task_id)


class Job(Generic[_R]):
    """A function that can run as a task: what ``@rt.job("Export")`` makes of it.

    ``export.start(…, user_id=…)`` starts it. ``export(task, …)`` calls the function itself, here and now, with any
    handle as ``task``.
    """

    __name__: str
    __wrapped__: Callable[..., _R]

    def __init__(
        self,
        runner: Callable[[], Runner],
        function: Callable[..., _R],
        *,
        name: str | None = None,
        total: float | None = None,
        unit: str | None = None,
        groups: Collection[str] = (),
    ) -> None:
        _check(function)
        functools.update_wrapper(self, function)
        self._runner = runner
        self._function = function
        self._options: dict[str, Any] = {"name": name, "total": total, "unit": unit, "groups": groups}

    def __call__(self, task: Handle, /, *args: Any, **kwargs: Any) -> _R:
        """Call the function."""
        return self._function(task, *args, **kwargs)

    def start(
        self, *args: Any, user_id: UserId | Word | None = None, task_id: TaskId | None = None, **kwargs: Any
    ) -> Task:
        """Start ``function(task, *args, **kwargs)`` as a task; returns its first snapshot.

        ``user_id`` and ``task_id`` are the task's own, as for `create_task`, and do not reach the function. So are
        ``name``, ``total``, ``unit``, ``metadata``, ``groups``, ``parent_id`` and ``weight``, in the job's place, but
        for one that the function has a parameter of. Raises as `Runner.start`.
        """
        own = {word: kwargs.pop(word) for word in _TASK_WORDS - _parameters(self._function) if word in kwargs}
        options = {**self._options, **own}
        return self._runner().start(self._function, *args, user_id=user_id, task_id=task_id, kwargs=kwargs, **options)


#: What a job's `start` may say of the task.
_TASK_WORDS: Final = frozenset(("name", "total", "unit", "metadata", "groups", "parent_id", "weight"))


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's parameters, as far as it tells them."""
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


def _check(function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> None:
    """Raise TypeError for a function that cannot be a job, or (``kwargs`` given) does not take these arguments."""
    if not callable(function):
        raise TypeError(f"a job is a function, not {type(function).__name__}")
    name = getattr(function, "__name__", type(function).__name__)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"{name}() cannot be a job: called, an async function or a generator only makes an object")
    if kwargs is None:
        return
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are written in C do not tell
        return
    try:
        signature.bind(None, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}(task, …): {error}") from None


def _title(function: Callable[..., Any], max_chars: int) -> str | None:
    """``export_invoices`` → ``Export invoices``; None for what has no name of its own."""
    while isinstance(function, functools.partial):
        function = function.func
    words = getattr(function, "__name__", "").strip("_").replace("_", " ")
    return words[:1].upper() + words[1:max_chars] if words and words != "<lambda>" else None


_guarded: weakref.WeakSet[Runner] | None = None


def _guard(runner: Runner) -> None:
    """Have the runner told when this process is forked. A hook can never be taken back, so there is one for all."""
    global _guarded
    if _guarded is None:
        _guarded = weakref.WeakSet()
        os.register_at_fork(after_in_child=_after_fork)
    _guarded.add(runner)


def _after_fork() -> None:
    for runner in _guarded or ():
        runner._begin()
