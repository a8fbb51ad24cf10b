"""The heartbeats of the jobs of a process, where others would otherwise not know that it is gone.

A job that runs under a `Handle` holds its task by a lease. One thread says for all of them that they are alive, three
times in a lease; it runs while there are any. When the process is killed, the tasks fail with ``worker_lost`` after the
lease, before the eyes of whoever watches them on another server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable

from .errors import RealtimeError, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from .registry.transitions import is_unacknowledged
from .task import Task

log = logging.getLogger("realtime")


class Heart:
    """``beat`` is given a task id and the ``lease`` in seconds: `Registry.heartbeat`. ``first`` is called for the first
    beat in its place, where ``beat`` does not wait until the lease is there. ``acknowledge`` is called for a task that
    was answered with a request to stop: what holds it here stops at its next word.
    """

    def __init__(
        self,
        beat: Callable[[str, float], object],
        lease: float,
        *,
        first: Callable[[str, float], object] | None = None,
        acknowledge: Callable[[str], object] | None = None,
    ) -> None:
        self._beat = beat
        self._first = first
        self._acknowledge = acknowledge
        self._lease = lease
        #: Whether a refusal has been told of.
        self._told = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        #: How often each task is held: a job's handle may be entered within another's.
        self._held: dict[str, int] = {}
        self._running = False
        self._pause = threading.Event()

    def hold(self, task_id: str) -> None:
        """Beat for the task from now on; the first time here, so that there is no moment without a lease."""
        if self._pid != os.getpid():  # the thread has stayed in the parent, with what it beats for
            self._begin()
        with self._lock:
            self._held[task_id] = self._held.get(task_id, 0) + 1
            start, self._running = not self._running, True
        try:
            if start:
                threading.Thread(target=self._run, name="realtime-heart", daemon=True).start()
            self._beat_once(task_id, self._first or self._beat)
        except BaseException:  # a Ctrl-C while it waits: the block is not entered, and nobody would release it
            self.release(task_id)
            raise

    def release(self, task_id: str) -> None:
        """As often as `hold`: then no more. The task has ended, or somebody else goes on with it."""
        if self._pid != os.getpid():  # it was the parent that has held it, and whose lock this is
            return
        with self._lock:
            held = self._held.pop(task_id, 0) - 1
            if held > 0:
                self._held[task_id] = held

    def _run(self) -> None:
        while True:
            self._pause.wait(self._lease / 3)
            with self._lock:
                held = list(self._held)
                if not held:
                    self._running = False
                    return
            for task_id in held:
                self._beat_once(task_id, self._beat)

    def _beat_once(self, task_id: str, beat: Callable[[str, float], object]) -> None:
        try:
            with contextlib.suppress(TaskNotFound, TaskAlreadyFinished, RegistryUnavailable):
                task = beat(task_id, self._lease)
                if self._acknowledge is not None and isinstance(task, Task) and is_unacknowledged(task):
                    self._acknowledge(task_id)
        except RealtimeError as refusal:  # by a server that knows no leases: of each task it would say the same
            told, self._told = self._told, True
            if not told:
                log.warning("Signs of life are refused; whether this process lives is not seen: %s", refusal)
        except Exception:
            log.exception("A sign of life of the task %s could not be given.", task_id)
