"""``realtime run``: any command as a task, over the worker's client.

What the command writes goes where it would have gone, and to the task's output: ``output`` is its standard output,
``stderr`` the other one. The exit code is the command's. Whatever happens to the server meanwhile, the command is left
in peace: it is what matters, and the page is told as well as can be. A lease holds the task: when this program is
killed, the task fails.

The command leads a process group of its own, so that a signal reaches all that it has started. SIGTERM, SIGINT and
SIGHUP are passed on to it; a request to stop is a SIGTERM, and ``grace`` seconds later a SIGKILL.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePath
from typing import IO, Any, Final

import click

from .client import Client
from .errors import RealtimeError, TaskAlreadyFinished
from .task import TaskStatus
from .values import printable

#: Exit codes, as of ``env`` and the shells: this program has failed itself; the command cannot be run; there is none.
FAILED: Final = 125
NOT_RUN: Final = 126
NOT_FOUND: Final = 127
#: Seconds between two looks for a request to stop.
LOOK: Final = 1.0
#: Seconds that what the command has started may go on writing when it has ended itself.
LAST_WORDS: Final = 2.0

_PIECE: Final = 32 * 1024
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(
    client: Client, command: Sequence[str], *, user_id: str, name: str | None = None, task_id: str | None = None,
    grace: float = 10.0, environ: dict[str, str] | None = None, parent_id: str | None = None,
) -> int:  # fmt: skip
    """Run a command as a task of ``user_id``; returns its exit code (128 + n when signal n ended it).

    With ``parent_id`` it is a part of that task. The command's environment has ``REALTIME_TASK_ID`` besides, so that it
    can report its own progress. To be called in the main thread. Raises what `Client.create_task` raises; the command
    is not run then.
    """
    with _signals() as signals:
        task = client.create_task(
            task_id, user_id, name=PurePath(command[0]).name[:200] if name is None else name, message="Running",
            cancellable=True, parent_id=parent_id,
        )  # fmt: skip
        wrapped = _Wrapped(client, task.task_id, grace)
        if client.heart is not None:  # to the end of this process
            client.heart.hold(task.task_id)
        try:
            wrapped.start(command, {**(os.environ if environ is None else environ), "REALTIME_TASK_ID": task.task_id})
        except OSError as error:
            reason = f"{command[0]}: {error.strerror}"
            wrapped.tell(lambda: client.fail_task(task.task_id, reason[:2_000], code="not_run"))
            click.echo(f"realtime run: {reason}", err=True)
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN
        signals.pass_on(wrapped)
        return wrapped.wait()


class _Wrapped:
    """A command that runs."""

    def __init__(self, client: Client, task_id: str, grace: float) -> None:
        self._client = client
        self._task_id = task_id
        self._grace = grace
        self._over = threading.Event()
        self._asked = False
        self._complained = False

    def start(self, command: Sequence[str], environ: dict[str, str]) -> None:
        """Start it. Raises OSError."""
        # A group in the background may not read from a terminal: it would be stopped.
        stdin = subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None
        self._process = subprocess.Popen(
            list(command), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, process_group=0
        )
        pipes = ((self._process.stdout, sys.stdout, "output"), (self._process.stderr, sys.stderr, "stderr"))
        self._pumps = [threading.Thread(target=self._pump, args=pipe, daemon=True) for pipe in pipes]
        for thread in (*self._pumps, threading.Thread(target=self._watch, daemon=True)):
            thread.start()

    def send(self, number: int) -> None:
        """Send a signal to it and all that it has started."""
        if self._process.poll() is None:  # its group is its own while it has not been waited for
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def wait(self) -> int:
        """Wait for its end and tell it; returns the exit code."""
        code = self._process.wait()
        self._over.set()
        until = time.monotonic() + LAST_WORDS
        for pump in self._pumps:
            pump.join(max(0.0, until - time.monotonic()))
        client, task_id = self._client, self._task_id
        if code == 0:
            self.tell(lambda: client.complete_task(task_id, {"exit_code": 0}))
        elif self._asked:
            self.tell(lambda: client.cancel_task(task_id, done=True))
        elif code > 0:
            details: dict[str, Any] = {"exit_code": code}
            self.tell(lambda: client.fail_task(task_id, f"Exit code {code}.", code="exit_code", details=details))
        else:
            number = _name(-code)
            self.tell(
                lambda: client.fail_task(task_id, f"Ended by {number}.", code="signal", details={"signal": number})
            )
        return code if code >= 0 else 128 - code

    def tell(self, say: Any) -> None:
        """Say something of the task. What goes wrong is told once, and stops nothing."""
        try:
            say()
        except TaskAlreadyFinished:
            pass  # somebody else has ended it
        except RealtimeError as error:
            if not self._complained:
                self._complained = True
                click.echo(f"realtime run: {printable(str(error))}", err=True)  # it may be the server's word

    def _pump(self, pipe: IO[bytes], out: Any, stream: str) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        over = False
        with pipe:
            while not over:
                piece = os.read(pipe.fileno(), _PIECE)
                over = not piece
                with contextlib.suppress(OSError, ValueError):  # whoever read ours has gone; the task goes on
                    out.buffer.write(piece)
                    out.buffer.flush()
                text = decoder.decode(piece, final=over)
                if text:
                    self.tell(partial(self._client.append_output, self._task_id, text, stream=stream))

    def _watch(self) -> None:
        """Look for a request to stop."""
        while not self._over.wait(LOOK):
            try:
                task = self._client.get_task_status(self._task_id)
            except RealtimeError:
                continue
            if task is not None and (task.cancel_requested is not None or task.status is TaskStatus.CANCELLED):
                self._asked = True
                self.tell(lambda: self._client.acknowledge_cancel(self._task_id))
                self.send(signal.SIGTERM)
                if not self._over.wait(self._grace):
                    self.send(signal.SIGKILL)
                return


class _Signals:
    """Signals that have come before there was somebody to pass them on to."""

    def __init__(self) -> None:
        self._early: list[int] = []
        self._to: _Wrapped | None = None

    def pass_on(self, wrapped: _Wrapped) -> None:
        self._to = wrapped
        for number in self._early:
            wrapped.send(number)

    def handle(self, number: int, _frame: Any) -> None:
        if self._to is None:
            self._early.append(number)
        else:
            self._to.send(number)


@contextlib.contextmanager
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    former = {number: signal.signal(number, signals.handle) for number in _PASSED_ON}
    try:
        yield signals
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
