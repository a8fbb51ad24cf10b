"""The newest states of tasks, kept while a shared store is out of reach, and written when it is back.

How it works. An update that finds the store away is *held*, if the task is known here and has not ended: from then on
the updates of that task are merged into what waits (`merged`), and one thread tries until they are stored, as ordinary
changes, in the order in which they were made. An update that may have been stored although its answer was lost is tried
again as itself, with its nonce; so it counts once, unless another has changed the task meanwhile.

What is told of a held update is what will come of it if nobody else has a say, with the version of what was last
stored: it has none of its own yet. Nobody watches it: viewers see that the store is away, and the newest state later.

Only updates are held. Whatever else changes a task (its end, a request to stop, a heartbeat) is promised to be stored
when it returns: it raises `RegistryUnavailable` as ever, and comes after what waits for the task. Of a task that has
ended meanwhile, was taken over or is gone, what waits is dropped, and the log says so; so it is with the process. At
most ``most`` tasks wait, each with one merged update; the next one's update raises.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from msgspec.structs import replace

from ..errors import RealtimeError, RegistryUnavailable
from ..task import Task
from .forks import guard
from .merged import Merged
from .transitions import updated

_log = logging.getLogger("realtime")

#: Seconds between two tries.
PAUSE: Final = 0.25

#: Makes an update: `Registry.update`, or that of one who holds the task.
Write = Callable[..., Task]


class _Held:
    """What waits for one task. Its methods are called with the lock held."""

    __slots__ = ("calls", "merged", "task", "write")

    def __init__(self, task: Task) -> None:
        #: What was stored last, with what waits.
        self.task = task
        #: Arguments and nonces of updates that are closed: nothing is merged into them.
        self.calls: deque[tuple[tuple[Any, ...], bytes]] = deque()
        self.merged: Merged | None = None
        self.write: Write | None = None

    def take(self, write: Write, args: tuple[Any, ...], now: float, nonce: bytes | None = None) -> Task:
        """Hold one more; with ``nonce``, one that may be stored already."""
        self.task = replace(updated(self.task, now, *args), version=self.task.version)
        self.write = write
        if nonce is not None:
            self.close()
            self.calls.append((args, nonce))
            return self.task
        if self.merged is None:
            self.merged = Merged()
        self.merged.take(*args)
        return self.task

    def close(self) -> None:
        if self.merged is not None:
            self.calls += [(args, secrets.token_bytes(8)) for args in self.merged.updates()]
            self.merged = None


class Buffer:
    """See the module. ``known`` is the task as this process last knew it, None if it has ended; ``once`` makes a change
    bear a nonce; ``patience``: seconds that a change waits at most for what comes before it.
    """

    def __init__(
        self,
        most: int,
        known: Callable[[str], Task | None],
        once: Callable[[bytes], AbstractContextManager[None]],
        now: Callable[[], float] = time.time,
        patience: float = 2.0,
    ) -> None:
        self._most = most
        self._known = known
        self._once = once
        self._now = now
        self._patience = patience
        #: Updates that were held and could not be written any more.
        self.dropped = 0
        self._begin()
        guard(self)

    def _begin(self) -> None:
        #: Of a re-entrant lock: a finalizer may report between any two steps. Held for dictionary work only.
        self._changed = threading.Condition()
        self._held: dict[str, _Held] = {}
        #: Whether the last try has failed, and how often one has.
        self._away = False
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._closed = False

    def after_fork(self) -> None:
        """See `forks`: what the parent holds is the parent's to write."""
        self._begin()

    def waiting(self) -> int:
        """Of how many tasks the newest state is not stored yet."""
        return len(self._held)

    def update(self, write: Write, task_id: str, args: tuple[Any, ...]) -> Task:
        """Make an update by ``write``, or hold it. Raises what that raises, `RegistryUnavailable` if there is no room
        or the task is not known here.
        """
        if task_id in self._held:
            with self._changed:
                # Once the store is back, what waits is written first.
                self._changed.wait_for(lambda: task_id not in self._held or self._away, timeout=self._patience)
                held = self._held.get(task_id)
                if held is not None:
                    return held.take(write, args, self._now())
        nonce = None
        if self._away:
            problem = RegistryUnavailable("The task store cannot be reached now, and no more updates can wait for it.")
        if not self._away or not self._may_hold(task_id):
            nonce = secrets.token_bytes(8)
            try:
                with self._once(nonce):
                    return write(task_id, *args)
            except RegistryUnavailable as away:
                problem = away
        known = self._known(task_id)
        with self._changed:
            there = self._held.get(task_id)
            if there is None:
                if known is None or self._closed or len(self._held) >= self._most:
                    raise problem
                there = _Held(known)
            told = there.take(write, args, self._now(), nonce)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="realtime-buffer", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # Python ends
                    raise problem from None
                self._thread = thread
                _log.warning("The task store is away: the newest states of tasks wait for it.")
            self._held[task_id] = there
            self._away = True
        return told

    def bring(self, task_id: str) -> None:
        """Have what waits for a task written before it is changed otherwise, if that can be done now."""
        if task_id not in self._held or threading.current_thread() is self._thread:
            return
        self._hurry.set()
        with self._changed:
            failures = self._failures
            self._changed.wait_for(
                lambda: task_id not in self._held or self._failures != failures, timeout=self._patience
            )

    def close(self) -> None:
        """Take no more; wait a moment for what can be written now."""
        self._hurry.set()
        with self._changed:
            self._closed, failures = True, self._failures
            self._changed.wait_for(lambda: not self._held or self._failures != failures, timeout=self._patience)
            lost = len(self._held)
            self._held.clear()
        if lost:
            _log.error("The newest states of %d tasks were not stored: the task store is away.", lost)

    def _may_hold(self, task_id: str) -> bool:
        return len(self._held) < self._most and self._known(task_id) is not None

    # On the thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                every = list(self._held.items())
                if not every:
                    self._thread, self._away = None, False
                    _log.info("All that waited for the task store is written.")
                    return
            for task_id, held in every:
                if not self._write(task_id, held):
                    with self._changed:
                        self._away = True
                        self._failures += 1
                        self._changed.notify_all()
                    self._hurry.wait(PAUSE)
                    self._hurry.clear()
                    break

    def _write(self, task_id: str, held: _Held) -> bool:
        """Write what waits for a task; returns False if the store is away."""
        while True:
            with self._changed:
                if not held.calls:
                    held.close()
                if not held.calls or self._held.get(task_id) is not held:
                    self._let_go(task_id, held)
                    return True
                (args, nonce), write = held.calls[0], held.write
            assert write is not None
            try:
                with self._once(nonce):
                    write(task_id, *args)
            except RegistryUnavailable:
                return False
            except RealtimeError as refusal:
                _log.warning("What waited for the task %s is dropped: %s", task_id, refusal)
                with self._changed:
                    self.dropped += 1
                    self._let_go(task_id, held)
                return True
            except Exception:  # nothing to be tried for ever
                _log.exception("What waited for the task %s is dropped.", task_id)
                with self._changed:
                    self.dropped += 1
                    self._let_go(task_id, held)
                return True
            with self._changed:
                self._away = False
                held.calls.popleft()
                self._changed.notify_all()

    def _let_go(self, task_id: str, held: _Held) -> None:
        if self._held.get(task_id) is held:
            del self._held[task_id]
        self._changed.notify_all()
