"""The heartbeats of the jobs of a process, where others would otherwise not know that it is gone.

A job that runs under a `Handle` holds its task by a lease. One thread says for all of them that they are alive, three
times in a lease; it runs while there are any. When the process is killed, the tasks fail with ``worker_lost`` after the
lease, before the eyes of whoever watches them on another server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable
from typing import Final

from .errors import LeaseHeld, RealtimeError, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from .registry.transitions import is_unacknowledged
from .task import Task

log = logging.getLogger("realtime")


#: A heartbeat: task id, the lease in seconds, who holds it, and whether it is taken over (`Registry.heartbeat`).
Beat = Callable[[str, float, str, bool], object]

#: Seconds that the giving back of a task waits at most for a heartbeat that is under way.
_PATIENCE: Final = 2.0


class Heart:
    """Holds tasks by ``beat``, each by a ``lease`` of so many seconds and under a name of its own for each time that it
    is held, so that two processes cannot hold one. ``first`` is called for the first beat in the place of ``beat``,
    where that does not wait until the lease is there. ``acknowledge`` is called for a task that was answered with a
    request to stop: what holds it here stops at its next word. ``give_back`` is `Registry.release`; ``forget`` is
    called when a task is held no more.
    """

    def __init__(
        self,
        beat: Beat,
        lease: float,
        *,
        first: Beat | None = None,
        acknowledge: Callable[[str], object] | None = None,
        give_back: Callable[[str, str], object] | None = None,
        forget: Callable[[str], object] = lambda task_id: None,
    ) -> None:
        self._beat = beat
        self._first = first
        self._acknowledge = acknowledge
        self._give_back = give_back
        self._forget = forget
        self._lease = lease
        #: Whether a refusal has been told of.
        self._told = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        #: Of a re-entrant lock: a finalizer may leave a block between any two steps.
        self._changed = threading.Condition()
        #: How often each task is held (a job's handle may be entered within another's), and the holder's name.
        self._held: dict[str, tuple[int, str]] = {}
        #: What the thread beats for just now.
        self._beating: str | None = None
        self._running = False
        self._pause = threading.Event()

    def hold(self, task_id: str, *, takeover: bool = False) -> str:
        """Beat for the task from now on; the first time here, so that there is no moment without a lease.

        Returns the holder's name. Raises `LeaseHeld` if another worker holds the task, unless it is taken over.
        """
        if self._pid != os.getpid():  # the thread has stayed in the parent, with what it beats for
            self._begin()
        with self._changed:
            times, holder = self._held.get(task_id) or (0, secrets.token_hex(8))
            self._held[task_id] = times + 1, holder
            start, self._running = not self._running, True
        try:
            if start:
                threading.Thread(target=self._run, name="realtime-heart", daemon=True).start()
            self._beat_once(self._first or self._beat, task_id, holder, takeover)
        except (
            BaseException
        ):  # refused, or a Ctrl-C while it waits: the block is not entered, and nobody would release it
            self.release(task_id)
            raise
        return holder

    def release(self, task_id: str, *, give_back: bool = False) -> None:
        """As often as `hold`: then no more. The task has ended; or it is given back, and somebody else goes on with it,
        whenever that is. Never raises.
        """
        if self._pid != os.getpid():  # it was the parent that has held it, and whose lock this is
            return
        with self._changed:
            times, holder = self._held.pop(task_id, (0, ""))
            if times > 1:
                self._held[task_id] = times - 1, holder
            if times != 1:
                return
            if give_back:  # a beat that came behind it would take the task again
                self._changed.wait_for(lambda: self._beating != task_id, _PATIENCE)
        if give_back and self._give_back is not None:
            with contextlib.suppress(RealtimeError):
                self._give_back(task_id, holder)
        self._forget(task_id)

    def held(self) -> dict[str, str]:
        """Who holds what in this process: the holder's name for each task."""
        if self._pid != os.getpid():
            return {}
        with self._changed:
            return {task_id: holder for task_id, (_, holder) in self._held.items()}

    def _run(self) -> None:
        while True:
            self._pause.wait(self._lease / 3)
            with self._changed:
                held = list(self._held)
                if not held:
                    self._running = False
                    return
            for task_id in held:
                with self._changed:
                    times, holder = self._held.get(task_id, (0, ""))
                    if not times:
                        continue
                    self._beating = task_id
                with contextlib.suppress(LeaseHeld):  # taken over: its block hears of it at its next word
                    self._beat_once(self._beat, task_id, holder, False)
                with self._changed:
                    self._beating = None
                    self._changed.notify_all()

    def _beat_once(self, beat: Beat, task_id: str, holder: str, takeover: bool) -> None:
        try:
            with contextlib.suppress(TaskNotFound, TaskAlreadyFinished, RegistryUnavailable):
                task = beat(task_id, self._lease, holder, takeover)
                if self._acknowledge is not None and isinstance(task, Task) and is_unacknowledged(task):
                    self._acknowledge(task_id)
        except LeaseHeld:
            raise
        except RealtimeError as refusal:  # by a server that knows no leases: of each task it would say the same
            told, self._told = self._told, True
            if not told:
                log.warning("Signs of life are refused; whether this process lives is not seen: %s", refusal)
        except Exception:
            log.exception("A sign of life of the task %s could not be given.", task_id)
