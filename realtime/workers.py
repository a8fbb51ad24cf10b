"""Several server processes behind one port: `realtime serve APP --workers N`.

How it works. The parent loads the app once, to find its mistakes and its registry, and reserves the port with a socket
that does not listen. Each worker is a process of its own that runs ``realtime serve APP`` and listens on the port with
SO_REUSEPORT: the kernel deals new connections out among them, and a viewer stays where it was dealt. Tasks live in the
store that all workers share; where none is set, the parent runs one (`valkey`).

Parent and worker hold the two ends of a socket pair. A byte from the worker says that it serves; that the parent's end
is closed is a SIGTERM to the worker, so that nothing outlives a parent that was killed.

SIGTERM and SIGINT stop all; SIGHUP restarts one worker after the other, each when the one before it serves. A worker
that ends by itself is replaced, the sooner the longer it had lived.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .errors import ConfigError, SeveralProcesses

log = logging.getLogger("realtime")

_ENDS: Final = (signal.SIGTERM, signal.SIGINT)
#: The environment variable that tells a worker the descriptor of its end of the pair.
PAIR: Final = "REALTIME_WORKER_PAIR"
#: Seconds that a worker has to serve, and to end after a SIGTERM.
START_TIME: Final = 60.0
STOP_TIME: Final = 20.0
#: Seconds before a worker that has ended is replaced: the first time, and at most; and after which it counts as well.
RETRY_TIME: Final = 0.5
MAX_RETRY_TIME: Final = 30.0
STEADY_TIME: Final = 30.0


class Worker:
    """One process. ``slot`` is its number among those that run at a time, from 1."""

    def __init__(self, slot: int, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.slot = slot
        self.began = time.monotonic()
        self.ready = False
        #: When it was asked to end.
        self.left: float | None = None
        self.pair, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command, env={**environ, PAIR: str(theirs.fileno())}, pass_fds=(theirs.fileno(),)
            )

    def leave(self) -> None:
        """Ask it to end."""
        if self.left is None:
            self.left = time.monotonic()
            self.process.terminate()


class Workers:
    """The parent. ``command`` runs one worker in ``environ``; ``on_ready`` is called once, when all serve; ``trouble``
    is asked again and again for what makes it senseless to go on."""

    def __init__(
        self, command: Sequence[str], count: int, environ: Mapping[str, str], on_ready: Callable[[], None],
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._command, self._environ, self._on_ready, self._trouble = command, environ, on_ready, trouble
        self._selector = selectors.DefaultSelector()
        self._alive: list[Worker] = []
        #: Who has a slot: from when it serves until it is gone, or its successor serves.
        self._slots: dict[int, Worker | None] = dict.fromkeys(range(1, count + 1))
        #: When a slot that nobody has is to be filled, in monotonic seconds; and how long the last wait was.
        self._due: dict[int, float] = {}
        self._waited: dict[int, float] = {}
        #: Slots whose worker is to be replaced while it serves.
        self._restarts: list[int] = []
        #: Whether a restart was asked for that has not begun: it waits for all to serve, and for the one before.
        self._again = False
        self._stopping = self._told = False
        self._problem: str | None = None

    def run(self) -> str | None:
        """Start the workers and look after them until a signal says to stop. Returns what else has ended them."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        before = {number: signal.signal(number, _ignore) for number in (*_ENDS, signal.SIGHUP, signal.SIGCHLD)}
        was = signal.set_wakeup_fd(waker.fileno())
        self._selector.register(wake, selectors.EVENT_READ)
        try:
            for slot in self._slots:
                self._start(slot)
            while self._alive or not self._stopping:
                for key, _ in self._selector.select(self._patience()):
                    if key.data is None:
                        for number in wake.recv(64):
                            self._signalled(number)
                    else:
                        self._heard(key.data)
                self._look()
        finally:
            for worker in self._alive:
                worker.process.kill()
                worker.process.wait()
                worker.pair.close()
            signal.set_wakeup_fd(was)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (wake, waker):
                end.close()
            self._selector.close()
        return self._problem

    def _start(self, slot: int) -> None:
        self._due.pop(slot, None)
        worker = Worker(slot, self._command, self._environ)
        self._alive.append(worker)
        self._selector.register(worker.pair, selectors.EVENT_READ, worker)

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._again = True
        elif number in _ENDS:
            if self._stopping:  # the second one does not wait
                for worker in self._alive:
                    worker.process.kill()
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._due.clear()
        self._restarts.clear()
        for worker in self._alive:
            worker.leave()

    def _heard(self, worker: Worker) -> None:
        """It says that it serves, or has let go of the pair."""
        said = b""
        with contextlib.suppress(ConnectionError):
            said = worker.pair.recv(1)
        self._selector.unregister(worker.pair)
        if not said or self._stopping:
            return
        worker.ready = True
        old, self._slots[worker.slot] = self._slots[worker.slot], worker
        if old is not None:
            old.leave()
        if worker.slot in self._restarts:
            self._restarts.remove(worker.slot)
        if not self._told and all(self._slots.values()):
            self._told = True
            self._on_ready()

    def _look(self) -> None:
        """Note who has gone, start what is due, and lose patience with what takes too long."""
        for worker in [worker for worker in self._alive if worker.process.poll() is not None]:
            self._gone(worker)
        if not self._stopping and (trouble := self._trouble()) is not None:
            self._problem = trouble
            self._stop()
        now = time.monotonic()
        for slot in [slot for slot, due in self._due.items() if due <= now]:
            self._start(slot)
        if self._again and self._told and not self._restarts and not self._stopping:
            self._again = False
            self._restarts = list(self._slots)
        starting = [worker for worker in self._alive if not worker.ready and worker.left is None]
        if self._restarts and not starting and not self._due:
            self._start(self._restarts[0])
        for worker in starting:
            if now - worker.began > START_TIME:
                log.error("Worker %d did not serve within %g s.", worker.slot, START_TIME)
                worker.process.kill()
        for worker in self._alive:
            if worker.left is not None and now - worker.left > STOP_TIME:
                worker.process.kill()

    def _gone(self, worker: Worker) -> None:
        self._alive.remove(worker)
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.pair)
        worker.pair.close()
        serves = self._slots[worker.slot]
        if serves is worker:
            self._slots[worker.slot] = None
        if self._stopping or worker.left is not None:
            return
        how = worker.process.returncode
        if not self._told:
            self._problem = f"A worker ended with {how} before it served."
            self._stop()
        elif serves is not worker and serves is not None:
            self._restarts.clear()
            log.error("The new worker %d ended with %d before it served: no more are restarted.", worker.slot, how)
        else:
            lived = time.monotonic() - worker.began
            wait = min(self._waited.get(worker.slot, 0.0) * 2, MAX_RETRY_TIME) if lived < STEADY_TIME else 0.0
            wait = self._waited[worker.slot] = max(wait, RETRY_TIME)
            self._due[worker.slot] = time.monotonic() + wait
            log.error("Worker %d ended with %d; another starts in %g s.", worker.slot, how, wait)

    def _patience(self) -> float:
        return min([1.0, *(max(0.0, due - time.monotonic()) for due in self._due.values())])


def _ignore(*_: Any) -> None: ...


def parent() -> socket.socket | None:
    """In a worker, its end of the pair to the parent; None in any other process. To be asked once."""
    number = os.environ.pop(PAIR, None)
    return None if number is None else socket.socket(fileno=int(number))


def obey(pair: socket.socket) -> None:
    """Tell the parent that we serve, and leave when it is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while pair.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    pair.sendall(b"!")
    threading.Thread(target=watch, name="realtime-parent", daemon=True).start()


def refuse_polling(start_response: Callable[..., Any]) -> list[bytes]:
    """Answer a request for long-polling: the next one of its session may be dealt to another worker."""
    message = (
        "Several workers share this port, and long-polling needs all requests of a session to reach the same one. "
        "Let WebSockets through your proxy, serve with one worker, or run the servers behind a proxy with sticky "
        "sessions."
    )
    # As Engine.IO says it, and as we do.
    refusal = {"code": 3, "message": message, "error": {"code": SeveralProcesses.code, "message": message}}
    body = json.dumps(refusal).encode()
    start_response("400 BAD REQUEST", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def reserve(host: str, port: int) -> socket.socket:
    """Take the port for processes that share it. The socket does not listen: no connection comes to it.

    Raises `ConfigError` where the system cannot share a port, and OSError if another program has it.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("This system cannot share a port among processes (SO_REUSEPORT): leave --workers out.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:  # which shares nothing, or we would join a stranger's
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = probe.getsockname()[1]
    taken = socket.socket(family)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((host, port))
    except BaseException:
        taken.close()
        raise
    return taken
