"""Waits for a change of one task: the long polls of the HTTP interface. Who waits watches the task meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from .concurrency import Concurrency, Event
from .protocol import task_room
from .registry.base import Registry

#: Seconds after its wait that a poller still counts as watching: it comes back with its next one.
LINGER: Final = 5.0


class Waiting:
    """Who waits for which task. ``lock`` is the hub's, ``start`` starts it; ``turned`` gets the room of a task that is
    waited for from now on, or no longer.
    """

    def __init__(
        self, registry: Registry, concurrency: Concurrency, lock: AbstractContextManager[Any],
        start: Callable[[], None], turned: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._registry = registry
        self._concurrency = concurrency
        self._lock = lock
        self._start = start
        self._turned = turned
        #: The events of those who wait, by task id.
        self.events: dict[str, dict[Event, None]] = {}
        #: Until when (monotonic) tasks count as watched that nobody waits for any more.
        self._until: dict[str, float] = {}
        self._stopped = False

    def wait(self, task_id: str, timeout: float, unless: Callable[[], bool]) -> None:
        """Wait until ``unless()`` is true, at most ``timeout`` seconds. It is asked now and when the task changes."""
        self._start()
        over = time.monotonic() + timeout
        event = self._concurrency.event()
        with self._lock:
            first = task_id not in self.events
            self.events.setdefault(task_id, {})[event] = None
            known = self._until.pop(task_id, None)
        if first and known is None:
            self._turned(task_room(task_id))
        self._registry.watch(task_room(task_id))
        try:
            while not self._stopped and not unless() and (rest := over - time.monotonic()) > 0:
                event.wait(rest)
                event.clear()
        finally:
            with self._lock:
                waiting = self.events[task_id]
                del waiting[event]
                if not waiting:
                    # In this order, or a reader without the lock would see a gap.
                    self._until[task_id] = time.monotonic() + LINGER
                    del self.events[task_id]
            self._registry.unwatch(task_room(task_id))

    def watches(self, task_id: str) -> bool:
        """Whether anybody waits for the task, or has until just now. Needs no lock."""
        return task_id in self.events or self._until.get(task_id, 0.0) > time.monotonic()

    def wake(self, task_id: str) -> None:
        """The task has changed. Called under the lock."""
        for event in self.events.get(task_id, ()):
            event.set()

    def forget(self, task_id: str) -> None:
        """The task has been removed: its id may come back as somebody else's. Called under the lock."""
        self._until.pop(task_id, None)

    def expire(self) -> None:
        """Let go of those who have not come back."""
        now = time.monotonic()
        with self._lock:
            gone = [task_id for task_id, until in self._until.items() if until <= now]
            for task_id in gone:
                del self._until[task_id]
        for task_id in gone:
            self._turned(task_room(task_id))

    def stop(self) -> None:
        """End all waits, and let none begin."""
        self._stopped = True
        with self._lock:
            for event in [event for waiting in self.events.values() for event in waiting]:
                event.set()
