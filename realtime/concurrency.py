"""Threads, waits and wake-ups for each async mode. Nothing here patches anything.

Three modes. ``threading``: every viewer's reader and writer is a native thread. ``eventlet`` and ``gevent``: they are
green threads of one native thread, the *hub thread*; what another native thread wants of it goes through `call_soon`.

Under our own server (``realtime serve``) the process is not patched, so user code must not run on the hub thread, where
one slow view would stop everybody's pushes: `Concurrency.execute` takes it to a bounded pool of native threads. In a
process that the host app has patched, ``threading.Thread`` *is* a green thread and `execute` is a plain call.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from .pool import DaemonPool

_T = TypeVar("_T")

#: The mode that our own server has set for the apps it loads; None elsewhere.
_server_mode: str | None = None


def set_server_mode(mode: str | None) -> None:
    """Tell the apps loaded from here on which server they will run under (``realtime serve`` does)."""
    global _server_mode
    _server_mode = mode


def server_mode() -> str | None:
    """The mode our own server runs in, or None when the process is not our server."""
    return _server_mode


def patched_mode() -> str | None:
    """``eventlet`` or ``gevent`` if the process is monkey-patched by it, else None. Being installed is not enough."""
    eventlet_patcher = sys.modules.get("eventlet.patcher")
    if eventlet_patcher is not None and eventlet_patcher.is_monkey_patched("socket"):
        return "eventlet"
    gevent_monkey = sys.modules.get("gevent.monkey")
    if gevent_monkey is not None and gevent_monkey.is_module_patched("socket"):
        return "gevent"
    return None


def _original(module: str) -> Any:
    """A module of the standard library as it was before any patch."""
    mode = patched_mode()
    if mode == "eventlet":
        return sys.modules["eventlet.patcher"].original(module)
    if mode == "gevent":
        return _Unpatched(module)
    return importlib.import_module(module)


class _Unpatched:
    """What gevent has kept of a module."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return sys.modules["gevent.monkey"].get_original(self._module, name)


def native_lock() -> AbstractContextManager[Any]:
    """A lock of the operating system, in a patched process too. Hold it for dictionary work only: no I/O, no switch."""
    return _original("_thread").allocate_lock()  # type: ignore[no-any-return]


def get_native_ident() -> int:
    """Which thread of the operating system this is, in a patched process too."""
    return _original("_thread").get_ident()  # type: ignore[no-any-return]


def start_native_thread(function: Callable[[], None]) -> None:
    """Run a function on a thread of the operating system, in a patched process too. Nobody waits for it to end.

    In a patched process it must keep to native locks, and to what waits in C. It must not raise.
    """
    _original("_thread").start_new_thread(function, ())


class Event(Protocol):
    """A flag that any thread sets and one waiter waits for."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class NativeEvent:
    """A flag for one waiting native thread.

    ``threading.Event`` takes a lock to set its flag. A finalizer that the garbage collector runs in the waiter itself,
    inside that lock, may end a task, which sets the flag: it would wait for itself for ever. Here setting takes none.
    In a patched process ``gate`` must be a `native_lock`, if native threads are to set or wait.
    """

    __slots__ = ("_flag", "_gate")

    def __init__(self, gate: Any = None) -> None:
        self._flag = False
        self._gate = _thread.allocate_lock() if gate is None else gate
        self._gate.acquire()

    def set(self) -> None:
        self._flag = True
        with contextlib.suppress(RuntimeError):  # open already
            self._gate.release()

    def clear(self) -> None:
        self._flag = False
        self._gate.acquire(blocking=False)

    def wait(self, timeout: float | None = None) -> bool:
        # An open gate under a lowered flag is a `set` that a `clear` overtook: no timeout, so look again.
        return self._flag or self._gate.acquire(timeout=-1 if timeout is None else max(timeout, 0))


class Concurrency(ABC):
    """What the hub and the transports need of one async mode."""

    mode: str

    @abstractmethod
    def attach(self) -> None:
        """Called on the hub thread before anything else; again in a forked child. Idempotent."""

    @abstractmethod
    def event(self) -> Event: ...

    @abstractmethod
    def spawn(self, function: Callable[[], None], name: str) -> None:
        """Run it beside everything else: a native daemon thread, or a green one of the hub thread."""

    @abstractmethod
    def call_soon(self, function: Callable[[], None]) -> None:
        """Run a function that neither blocks nor raises on the hub thread (``threading``: here and now)."""

    def execute(self, function: Callable[[], _T]) -> _T:
        """Run user code where it may block. Returns what it returns, raises what it raises."""
        return function()

    def may_wait(self) -> bool:
        """Whether this thread may be held up for as long as a disk takes. The hub thread of our own server may not."""
        return True


class ThreadingConcurrency(Concurrency):
    mode = "threading"

    def attach(self) -> None:
        """Nothing to do: there is no hub thread to find."""

    def event(self) -> Event:
        return NativeEvent()

    def spawn(self, function: Callable[[], None], name: str) -> None:
        threading.Thread(target=function, name=name, daemon=True).start()

    def call_soon(self, function: Callable[[], None]) -> None:
        function()


class _GreenConcurrency(Concurrency):
    """What eventlet and gevent have in common: one hub thread, and a way to it."""

    def __init__(self) -> None:
        self._ident: Callable[[], int] = _original("_thread").get_ident
        self._hub: tuple[int, int] | None = None

    def on_hub(self) -> bool:
        return self._hub == (self._ident(), os.getpid())

    def attach(self) -> None:
        here = (self._ident(), os.getpid())
        if self._hub is None or self._hub[1] != here[1]:
            self._hub = here
            self._listen()

    @abstractmethod
    def _listen(self) -> None:
        """Open the way by which other threads reach the hub."""


class GeventConcurrency(_GreenConcurrency):
    mode = "gevent"

    def _listen(self) -> None:
        import gevent

        self._loop = gevent.get_hub().loop

    def event(self) -> Event:
        return _GeventEvent(self)

    def spawn(self, function: Callable[[], None], name: str) -> None:
        import gevent

        gevent.spawn(function)

    def call_soon(self, function: Callable[[], None]) -> None:
        if self.on_hub():
            function()
        elif self._hub is not None:
            self._loop.run_callback_threadsafe(function)


class _GeventEvent:
    def __init__(self, concurrency: GeventConcurrency) -> None:
        from gevent.event import Event as GreenEvent

        self._concurrency = concurrency
        self._event = GreenEvent()
        self.wait = self._event.wait
        self.clear = self._event.clear

    def set(self) -> None:
        self._concurrency.call_soon(self._event.set)


class EventletConcurrency(_GreenConcurrency):
    """``request_threads`` is None in a process that the host has patched: there user code is green already."""

    mode = "eventlet"

    def __init__(self, request_threads: int | None) -> None:
        super().__init__()
        self._pool = None if request_threads is None else DaemonPool(request_threads, "realtime-request")
        self._soon: deque[Callable[[], None]] = deque()
        self._woken = False

    def _listen(self) -> None:
        from eventlet import hubs

        self._soon.clear()
        # System calls that do not block, whatever the process has patched: a green one would wait on the hub, from
        # the hub itself or from a thread that has none.
        self._os = _original("os")
        self._reader, self._writer = _original("socket").socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._write_fd = self._writer.fileno()
        hub = hubs.get_hub()
        hub.add(hub.READ, self._reader.fileno(), self._drain, lambda *_: None, lambda *_: None)

    def _drain(self, _fd: int) -> None:
        with contextlib.suppress(OSError):
            self._os.read(self._reader.fileno(), 4096)
        self._woken = False
        while self._soon:
            function = self._soon.popleft()
            try:
                function()
            except Exception:  # eventlet would drop the descriptor, and with it all that threads ever ask again
                logging.getLogger("realtime").exception("What a thread asked of the hub failed.")

    def call_soon(self, function: Callable[[], None]) -> None:
        if self.on_hub():
            function()
        elif self._hub is not None:
            self._soon.append(function)
            if not self._woken:
                self._woken = True
                with contextlib.suppress(OSError):  # full means that a wake-up is on its way
                    self._os.write(self._write_fd, b"\0")

    def call_from_signal(self, function: Callable[[], None]) -> None:
        """`call_soon` for a signal handler: it runs on the hub thread, yet perhaps in the middle of the hub."""
        self._soon.append(function)
        with contextlib.suppress(OSError):
            self._os.write(self._write_fd, b"\0")

    def wake_for_signals(self) -> None:
        """Have each signal wake the hub, so that its handler runs. By itself one does not that comes just before the
        hub begins to wait, or that another thread is given (https://docs.python.org/3/library/signal.html)."""
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)

    def run_on_hub(self, function: Callable[[], _T]) -> _T:
        """From another native thread: run a function that may wait on a green thread, and wait for what it returns."""
        done = NativeEvent()
        return self._wait_for(function, lambda work: self.spawn(work, ""), done)

    def event(self) -> Event:
        return _EventletEvent(self)

    def spawn(self, function: Callable[[], None], name: str) -> None:
        import eventlet

        self.call_soon(lambda: eventlet.spawn_n(function))

    def execute(self, function: Callable[[], _T]) -> _T:
        # A thread that is not the hub's is native already. (eventlet.tpool would run the function on the hub itself
        # whenever some thread happens to hold the import lock, and loses a thread to every SystemExit.)
        if self._pool is None or not self.on_hub():
            return function()
        return self._wait_for(function, self._pool.submit, self.event())

    def may_wait(self) -> bool:
        # Elsewhere views run on the hub thread, and what they are told is done must be done.
        return _server_mode != self.mode or not self.on_hub()

    @staticmethod
    def _wait_for(function: Callable[[], _T], submit: Callable[[Callable[[], None]], None], done: Event) -> _T:
        value: list[_T] = []
        error: list[BaseException] = []

        def work() -> None:
            try:
                value.append(function())
            except BaseException as exc:
                error.append(exc)
            done.set()

        submit(work)
        done.wait()
        if error:
            try:
                raise error[0]
            finally:
                error.clear()  # break the cycle error → traceback → this frame → error
        return value[0]


class _EventletEvent:
    """One waiter. `set` from the hub thread wakes it at once, from another thread through `call_soon`."""

    def __init__(self, concurrency: EventletConcurrency) -> None:
        self._concurrency = concurrency
        self._flag = False
        self._waiter: Any = None

    def set(self) -> None:
        self._flag = True
        self._concurrency.call_soon(self._notify)

    def _notify(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.ready():
            waiter.send(None)

    def clear(self) -> None:
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._flag:
            from eventlet.event import Event as GreenEvent

            # The waiter stands before the flag is read again: a `set` in between sends its notice after this yields.
            self._waiter = GreenEvent()
            if not self._flag:
                self._waiter.wait(timeout)
            self._waiter = None
        return self._flag


def create(async_mode: str | None, request_threads: int) -> Concurrency:
    """The concurrency of a mode; None means the one of our own server, else what is patched, else ``threading``."""
    mode = async_mode or _server_mode or patched_mode() or "threading"
    if mode == "eventlet":
        return EventletConcurrency(request_threads if patched_mode() is None else None)
    if mode == "gevent":
        return GeventConcurrency()
    return ThreadingConcurrency()
