"""Whether anybody looks at a task, told to the app, so that it can do without what nobody would see.

The way of a turn: what may have turned (a room that got its first viewer on the screen or lost its last, a task that
was created, ended or removed) is noted in a dictionary, which any thread may do under any lock. One worker takes each
note *before* it reads how things are, and compares that with what each listener was told. So a listener may miss a turn
that did not last, and always hears of the newest one, in order. Without a listener nothing is noted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from .concurrency import Concurrency, Event, NativeEvent, native_lock, patched_mode
from .registry.base import Registry
from .task import Task

log = logging.getLogger("realtime")

#: Called with a snapshot of a task and whether it is watched now.
OnWatch = Callable[[Task, bool], object]

#: Noted in the place of a room: any task may have turned, for somebody.
_ALL: Final = "*"
#: Tasks of a room that are read at once.
_PAGE: Final = 256


class Demand:
    """Tells ``listeners`` of tasks that are watched from now on, or no longer. ``watched`` says how it is now."""

    def __init__(self, registry: Registry, concurrency: Concurrency, watched: Callable[[Task], bool | None]) -> None:
        self._registry = registry
        self._concurrency = concurrency
        self._watched = watched
        #: May grow at any time; call `renew` then. The list may be shared with others of its kind.
        self.listeners: list[OnWatch] = []
        #: Entered around each call.
        self.context: Callable[[], AbstractContextManager[Any]] = nullcontext
        self._noted: dict[str, None] = {}
        #: For each listener the tasks that it was told are watched, as they were then.
        self._told: list[dict[str, Task]] = []
        self._event: Event | None = None
        self._starting = native_lock()
        self._working = self._stopped = False

    def note(self, room: str) -> None:
        """Tasks of this room may have turned. Any thread, under any lock; never blocks, never raises."""
        if self.listeners:
            self._noted[room] = None
            if self._event is not None:
                self._event.set()

    def start(self) -> None:
        """The hub has started; called on its thread. A worker starts as soon as there is a listener."""
        self._event = NativeEvent() if patched_mode() is None else self._concurrency.event()
        self.renew()

    def renew(self) -> None:
        """A listener has come, which has to be told of all that is watched already."""
        self.note(_ALL)
        if self._event is not None and self.listeners:
            self._work()

    def sweep(self) -> None:
        """Try again what has failed. The hub calls this about once a second."""
        if self._noted and self._event is not None:
            self._work()
            self._event.set()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for: the worker has ended, or never began."""
        return not self._working

    def _work(self) -> None:
        """Start the worker, unless it runs or was stopped."""
        with self._starting:
            if self._working or self._stopped:
                return
            self._working = True
        if patched_mode() is None:  # a thread of its own: listeners may block, and under our server not on the hub
            try:
                threading.Thread(target=self._run, name="realtime-watch", daemon=True).start()
            except RuntimeError:  # the system has no thread left, which must not keep the hub from its start
                self._working = False
                log.exception("The worker of on_watch could not be started; it is tried again.")
        else:
            self._concurrency.call_soon(lambda: self._concurrency.spawn(self._run, "realtime-watch"))

    def stop(self) -> None:
        """End the worker, once it has told what is noted by now and that nothing is watched any more."""
        self.note(_ALL)
        self._stopped = True
        if self._event is not None:
            self._event.set()

    def _run(self) -> None:
        event = self._event
        assert event is not None
        while not self._stopped:
            event.wait()
            event.clear()
            self.tell()
        self.tell()
        self._working = False

    def tell(self) -> None:
        """Tell the listeners what has turned. Only the worker calls this."""
        failed: list[str] = []
        for room in list(self._noted):
            del self._noted[room]
            try:
                for task_id in self._in(room):
                    self._look(task_id)
            except Exception:
                log.exception("Who watches could not be told for the room %s; it is tried again.", room)
                failed.append(room)
        self._noted.update(dict.fromkeys(failed))  # for the next note or sweep: now it would fail again

    def _in(self, room: str) -> Iterator[str]:
        """The tasks of a room that have not ended; the one of a task's room whatever it is."""
        kind, _, name = room.partition(":")
        if kind == "task":
            yield name
        elif kind in ("user", "group"):
            user_id, groups = (name, ()) if kind == "user" else (None, (name,))
            before: str | None = None
            while True:
                page, before = self._registry.list(
                    user_id=user_id, groups=groups, limit=_PAGE, before=before, finished=False
                )
                yield from [task.task_id for task in page]
                if before is None:
                    break
        elif room == _ALL:  # those of which a listener was told, too: they may have ended since
            unfinished = [task.task_id for task in self._registry.unfinished()]
            yield from dict.fromkeys([*unfinished, *[task_id for told in self._told for task_id in told]])

    def _look(self, task_id: str) -> None:
        task = self._registry.get(task_id)
        watched = task is not None and not task.finished and self._watched(task) is True
        self._told += [{} for _ in self.listeners[len(self._told) :]]
        for listener, told in zip(list(self.listeners), self._told, strict=False):
            before = told.get(task_id)
            same = before is not None and task is not None and before.info.order == task.info.order
            if before is not None and not (watched and same):
                del told[task_id]
                self._call(listener, task if task is not None and same else before, False)
            if task is not None and watched and not same:
                told[task_id] = task
                self._call(listener, task, True)

    def _call(self, listener: OnWatch, task: Task, watched: bool) -> None:
        try:
            with self.context():
                listener(task, watched)
        except BaseException:  # a SystemExit too: the worker must live
            log.exception("A listener of on_watch failed for the task %s.", task.task_id)
