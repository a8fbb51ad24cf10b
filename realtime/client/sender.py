"""The client's own thread: it alone speaks to the server, over one connection, and tries again until it is answered.

What was collected goes out in order, and nothing overtakes it: while the server is away it is this that waits, and
behind it the newest state of each task goes on being merged. A request whose answer was lost is made again as it was,
so that the server (or the store) knows it again. Between two tries there is a pause that grows to `MAX_PAUSE`, with
full jitter, so that a thousand workers do not come back in step.
"""

from __future__ import annotations

import atexit
import logging
import random
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..concurrency import Event, NativeEvent, patched_mode
from ..errors import RealtimeError, RegistryUnavailable
from ..registry.forks import guard
from .calls import Call
from .conflator import Conflator
from .transport import Request, Transport, TryLater

_log = logging.getLogger("realtime")

#: Seconds that the end of the process waits for what is not sent yet.
LAST_FLUSH: Final = 5.0
#: Seconds of the first pause, doubled with each, and of the longest.
FIRST_PAUSE: Final = 0.05
MAX_PAUSE: Final = 5.0
#: Seconds of a pause that the server has asked for, at most.
MAX_ASKED_PAUSE: Final = 30.0
#: Seconds between two looks at tasks that nobody has spoken of for a while.
_TIDY: Final = 15.0


def new_event() -> Event:
    """A flag for one waiter, native or, in a patched process, green."""
    return threading.Event() if patched_mode() else NativeEvent()


class Sender:
    """Carries what a `Conflator` collects over a `Transport`. ``timeout``: seconds that one request may take.

    The thread starts with the first call, and again in a forked child. The end of the process waits for what is not
    sent yet, `LAST_FLUSH` seconds at most.
    """

    def __init__(
        self,
        conflator: Conflator,
        transport: Transport,
        timeout: float,
        *,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._conflator = conflator
        self._transport = transport
        self._timeout = timeout
        self._jitter = jitter
        #: Why the server is away.
        self.problem: RegistryUnavailable | None = None
        self._requests: deque[Request] = deque()
        self.begin()
        guard(self)
        _keep(self)

    def begin(self) -> None:
        """Have no thread: at first, and in a forked child, where the requests under way are the parent's."""
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = False
        self._news = new_event()
        self._requests.clear()
        self._failures = 0
        self._tidied = time.monotonic()

    def after_fork(self) -> None:
        """See `forks`."""
        self._transport.leave()
        self._conflator.begin()
        self.begin()

    def may_wait(self) -> bool:
        """Whether the caller may wait for an answer: not inside the lock or on this thread, where it is a finalizer."""
        return not self._conflator.held_here() and threading.current_thread() is not self._thread

    def flush(self, timeout: float) -> bool:
        """Send all that waits now; returns whether all of it was answered within ``timeout`` seconds. Once the client
        is closed, or Python ends, nothing is any more: that is not waited for.
        """
        until = time.monotonic() + timeout
        try:
            waits = [(call, listen(call)) for call in self._conflator.outstanding()]
        except RegistryUnavailable:
            return False
        return self.may_wait() and all(
            wait_for(call, event, until - time.monotonic(), unless=lambda: self._thread is None)
            for call, event in waits
        )

    def wake(self) -> None:
        """There is something to do. Raises `RegistryUnavailable` once the client is closed, or Python ends."""
        self._news.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            if self._stop:
                raise RegistryUnavailable("This client is closed.")
            thread = threading.Thread(target=self._run, name="realtime-client", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise RegistryUnavailable(f"What was said can no longer be sent: {error}.") from error
            self._thread = thread
            _at_end_of_child()

    def stop(self, timeout: float) -> None:
        """End the thread, sent or not."""
        with self._starting:
            self._stop = True
            thread, self._thread = self._thread, None
        self._news.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # On the thread.

    def _run(self) -> None:
        news = self._news
        try:
            while not self._stop and news is self._news:
                pause = self._turn()
                if pause is None or pause > 0.0:
                    news.wait(_TIDY if pause is None else pause)
                    news.clear()
                now = time.monotonic()
                if now - self._tidied > _TIDY:
                    self._tidied = now
                    self._conflator.tidy()
        finally:
            self._transport.close()

    def _turn(self) -> float | None:
        """Send what there is to send. Returns the seconds to wait for news, None for as long as there are none."""
        if not self._requests:
            calls, pause = self._conflator.collect()
            if not calls:
                return pause
            self._requests.extend(self._transport.requests(calls))
        while self._requests and not self._stop:
            request = self._requests[0]
            answers = self._given_up(request) or self._answers(request)
            if answers is None:
                self._rest()
                return 0.0
            self._requests.popleft()
            for call, answer in zip(request.calls, answers, strict=True):
                self._conflator.answered(call, answer)
        return 0.0

    @staticmethod
    def _given_up(request: Request) -> list[Any] | None:
        """The answers to what nobody waits for any more."""
        if all(call.abandoned for call in request.calls):
            return [RegistryUnavailable("given up") for _ in request.calls]
        return None

    def _answers(self, request: Request) -> Any:
        try:
            answers = self._transport.perform(request, self._timeout)
        except RegistryUnavailable as problem:
            self._failed(problem)
            return None
        except Exception as error:  # not the server's absence: trying again would go on for ever
            _log.exception("A request to the server failed.")
            return [RealtimeError(f"The request failed: {type(error).__name__}.") for _ in request.calls]
        if self._failures:
            _log.info("The server answers again, after %d attempts.", self._failures)
        self._failures, self.problem = 0, None
        self._conflator.away = self._conflator.late = False
        return answers

    def _failed(self, problem: RegistryUnavailable) -> None:
        if not self._failures:
            _log.warning("%s What is said waits until it is back.", problem)
        self._failures += 1
        self.problem = problem
        self._conflator.away = True
        for call in self._requests[0].calls:
            for teller in call.tell:  # whoever would rather not wait for a server that is away
                teller.set()

    def _rest(self) -> None:
        """Wait before the next try."""
        longest = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20))
        pause = self._jitter(0.0, longest)
        if isinstance(self.problem, TryLater):
            pause = max(pause, min(self.problem.pause, MAX_ASKED_PAUSE))
        until = time.monotonic() + pause
        news = self._news
        while not self._stop and (left := until - time.monotonic()) > 0:
            news.wait(left)  # news do not hurry it, only the end does
            news.clear()


def listen(call: Call) -> Event:
    """A flag that is set when the call is answered."""
    event = new_event()
    call.tell.append(event)
    if call.answered:  # it came first
        event.set()
    return event


def wait_for(call: Call, event: Event, seconds: float, *, unless: Callable[[], bool] = bool) -> bool:
    """Wait for the answer to a call that ``event`` is told of; returns whether it came.

    ``unless`` says whether to wait no longer; it is asked again when the server has proved to be away.
    """
    until = time.monotonic() + seconds
    while not call.answered and not unless() and (left := until - time.monotonic()) > 0:
        event.wait(left)
        event.clear()
    return call.answered


#: Those that still live, weakly; a sender lives as long as its thread.
_kept: weakref.WeakSet[Sender] | None = None


def _keep(sender: Sender) -> None:
    """Have it flushed when the process ends. There is one hook for all, since it is never taken back."""
    global _kept
    if _kept is None:
        _kept = weakref.WeakSet()
        atexit.register(_flush_all)
    _kept.add(sender)


def _flush_all() -> None:
    for sender in list(_kept or ()):
        sender.flush(LAST_FLUSH)


def _at_end_of_child() -> None:
    """Children of ``multiprocessing`` and of Celery's billiard leave without what `atexit` has been told: tell them."""
    for package in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{package}.process"), sys.modules.get(f"{package}.util")
        if util is not None and process is not None and getattr(process.current_process(), "_parent_pid", None):
            util.Finalize(None, _flush_all, exitpriority=100)
