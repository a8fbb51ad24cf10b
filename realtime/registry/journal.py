"""Brings changes to disk: one thread of the operating system, which writes what waits as one transaction.

Two kinds of changes. An `Entry` is durable: it is on disk before it counts, and whoever made it waits for that. All
that has come while the disk was busy with the last ones is written together, so that any number of threads share one
``fsync``. What is in the `Backlog` is written behind: about `INTERVAL` seconds later, and again if that fails.

A disk that refused a change is tried every `RETRY` seconds, or nobody would know that there is room again: who asks
whether the store can be written may keep all changes away as long as it cannot.

The thread is a native one whatever the process has patched, waits for native locks only, and writes no log: a handler
may be green. What it could not write is told by `Journal.problem`.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Final

from ..concurrency import NativeEvent, get_native_ident, native_lock, start_native_thread
from ..errors import RegistryUnavailable
from .backlog import Backlog, Work
from .taskfile import Statement, TaskFile

#: Seconds that progress may wait, and output.
INTERVAL: Final = 0.2
#: Seconds until what could not be written behind is tried again, and whether there is room.
RETRY: Final = 1.0
#: Of the time, at most this part goes into what is written behind.
SHARE: Final = 0.2
#: Durable changes in one transaction, and tasks in one that is written behind: it holds up the next durable one.
MOST: Final = 256
#: Bytes that a disk must have room for once it was full: no less than one change may need.
ROOM: Final = 1024 * 1024
#: Seconds that closing waits for the disk.
LAST_WRITES: Final = 10.0


class Entry(ABC):
    """A durable change, to be written whole or not at all."""

    __slots__ = ("_waiting", "done", "error", "statements")

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements
        self.done = False
        #: Why it was not made, if it was not.
        self.error: Exception | None = None
        self._waiting: list[NativeEvent] = []

    @abstractmethod
    def settle(self) -> None:
        """Called once, on the journal's thread, when it is written or (`error`) is not; before who waits goes on."""

    def wait(self) -> None:
        """Wait until it is written, or has failed."""
        event = NativeEvent(native_lock())
        self._waiting.append(event)  # before the look: either we see that it is done, or we are seen waiting
        if not self.done:
            event.wait()

    def finish(self, error: Exception | None) -> None:
        """Written, or not; never raises."""
        self.error = error
        try:
            self.settle()
        except Exception as problem:
            self.error = problem
        self.done = True
        for event in list(self._waiting):
            event.set()


class Journal:
    """The thread that writes. It ends with `close` or `end`."""

    def __init__(self, file: TaskFile, backlog: Backlog) -> None:
        self._file = file
        self._backlog = backlog
        self._queue: deque[Entry] = deque()
        self._event = NativeEvent(native_lock())
        #: Whether it waits with nothing to do; then `wake` it.
        self.asleep = False
        self._closing = self._ended = False
        self._end = NativeEvent(native_lock())
        #: Why the last attempt to write behind has failed; None once one succeeds.
        self.problem: Exception | None = None
        #: Why the disk has refused the last durable change; None once it takes one, or has room for one again.
        self._refused: Exception | None = None
        self._try_at = 0.0
        self._ident = 0
        self._pid = os.getpid()

    def start(self) -> None:
        """Raises RuntimeError where the system has no thread left."""
        start_native_thread(self._run)

    def wake(self) -> None:
        self._event.set()

    def is_here(self) -> bool:
        """Whether this is the journal's own thread: it must not wait for itself."""
        return get_native_ident() == self._ident

    def put(self, entry: Entry) -> None:
        """Have a change written. A finalizer may call this, in the middle of anything."""
        self._queue.append(entry)
        self._event.set()
        if self._ended:
            self._refuse_all()

    def check(self) -> None:
        """Raise `RegistryUnavailable` if the disk has refused the last durable change, or what was written behind."""
        for problem in self._refused, self.problem:
            if problem is not None and _is_of_the_disk(problem):
                raise RegistryUnavailable("The file of tasks cannot be written now.") from problem

    def end(self) -> None:
        """Write what is left, and let go of the file. Waits for nothing."""
        self._closing = True
        self._event.set()

    def close(self) -> None:
        """The same, and wait for it, though not for ever."""
        self.end()
        if self._pid == os.getpid() and not self.is_here():  # a forked child has no such thread
            self._end.wait(LAST_WRITES)

    # On the thread.

    def _run(self) -> None:
        self._ident = get_native_ident()
        due = 0.0
        while True:
            due = self._wait(due)
            closing = self._closing  # what comes after this look is refused
            try:
                entries = [self._queue.popleft() for _ in range(min(MOST, len(self._queue)))]
                if entries:
                    self._write(entries)
                if closing or time.monotonic() >= due:
                    due = self._write_behind()
            except BaseException as error:  # nothing may end this thread: everybody waits for it
                self.problem = error if isinstance(error, Exception) else RuntimeError(repr(error))
                due = time.monotonic() + RETRY
            if closing and not self._queue and (self.problem is not None or not self._backlog.waits()):
                break
        self._ended = True
        self._refuse_all()
        self._file.close()
        self._end.set()

    def _wait(self, due: float) -> float:
        """Wait until there is something to do; returns when what waits behind is due."""
        event = self._event
        if not (self._queue or self._closing or self._backlog.waits() or self._in_trouble()):
            self.asleep = True  # before another look: who comes after it wakes us
            if not (self._queue or self._closing or self._backlog.waits()):
                event.wait()
            self.asleep = False
            event.clear()
            due = max(due, time.monotonic() + INTERVAL)
        while not (self._queue or self._closing) and (rest := due - time.monotonic()) > 0:
            event.wait(rest)
            event.clear()
        return due

    def _write(self, entries: list[Entry]) -> None:
        try:
            self._file.write((each for entry in entries for each in entry.statements), durable=True)
        except Exception as error:
            if len(entries) == 1 or _is_of_the_disk(error):
                if _is_of_the_disk(error):
                    self._refused = error
                    self._try_at = time.monotonic() + RETRY
                for entry in entries:
                    entry.finish(error)
            else:  # one of them is at fault, and it is not for the others to suffer
                for entry in entries:
                    self._write([entry])
        else:
            self._refused = None
            for entry in entries:
                entry.finish(None)

    def _write_behind(self) -> float:
        """Write a part of what waits; returns when the next one is due."""
        began = time.monotonic()
        works = self._backlog.take(MOST)
        if (self._refused is not None or not works) and began >= self._try_at and not self._closing:
            self._try_room()
        if not works:
            return began + INTERVAL
        try:
            self._file.write((each for work in works for each in work.statements), durable=False)
        except Exception as error:
            self.problem = error
            if not _is_of_the_disk(error):
                self._write_each(works)
                return began + INTERVAL
            for work in works:
                work.done(False)
            return began + RETRY
        self.problem = None
        for work in works:
            work.done(True)
        now = time.monotonic()
        took = now - began
        # More is left: go on once others have had their turn.
        return now + took / SHARE if len(works) == MOST else max(began + INTERVAL, now + took / SHARE)

    def _in_trouble(self) -> bool:
        return self._refused is not None or self.problem is not None

    def _try_room(self) -> None:
        """Find out whether the disk takes changes again. What was in the way of progress that has left is over, too."""
        if not self._in_trouble():
            return
        try:
            self._file.try_room(ROOM)
        except Exception:
            self._try_at = time.monotonic() + RETRY
        else:
            self._refused = self.problem = None

    def _write_each(self, works: list[Work]) -> None:
        """One of them is at fault: it is left out, or nothing would ever be written again."""
        for work in works:
            try:
                self._file.write(work.statements, durable=False)
            except Exception as error:
                self.problem = error
                work.done(not _is_of_the_disk(error))
            else:
                work.done(True)

    def _refuse_all(self) -> None:
        while self._queue:
            try:
                entry = self._queue.popleft()
            except IndexError:  # somebody else did
                return
            entry.finish(RegistryUnavailable("The registry is closed."))


#: Those that the end of the process has to wait for.
_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


def close_at_exit(journal: Journal) -> None:
    """Have it closed when the process ends, if it still lives."""
    if not _journals:
        atexit.register(_close_all)
    _journals.add(journal)


def _close_all() -> None:
    for journal in list(_journals):
        journal.close()


def _is_of_the_disk(error: Exception) -> bool:
    """Full, locked, read-only, broken: it would be the same for every change."""
    return isinstance(error, sqlite3.OperationalError | OSError) or type(error) is sqlite3.DatabaseError
