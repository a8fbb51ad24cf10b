"""Native threads for the work of others: bounded, started as they are needed, and never waited for at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class DaemonPool:
    """A bounded pool of threads that the process does not wait for when it ends.

    (``concurrent.futures`` joins its threads at exit: one job that does not listen would keep a stopped server alive.)
    Threads start as they are needed, up to ``size``; more work waits in order.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0
        #: Threads that wait and were promised no work yet; work that no thread was promised for.
        self._free = 0
        self._excess = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Run it on one of the threads; ``work`` must not raise."""
        with self._lock:
            self._work.put(work)
            # Counted here and not where a thread takes it: until it has, it would look free with nothing left to take.
            start = not self._free and self._threads < self._size
            if start:
                self._threads += 1
            elif self._free:
                self._free -= 1
            else:
                self._excess += 1
        if start:
            try:
                threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()
            except RuntimeError:  # the system has no thread left: the work stays in line for those that run
                with self._lock:
                    self._threads -= 1
                    self._excess += 1
                raise

    def _run(self) -> None:
        while True:
            work = self._work.get()
            work()
            del work  # a waiting thread must not keep the last job's arguments alive
            with self._lock:
                if self._excess:
                    self._excess -= 1
                else:
                    self._free += 1
