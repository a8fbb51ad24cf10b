"""The load client (``load/``), driven over its standard input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from bench.machine import HERE, Lines, compiled, on_core

#: A line of JSON that the client answered; `load/main.c` says what is in it.
Report = dict[str, Any]


class ClientEnded(Exception):
    """The load client has ended, or does not answer."""


class Client:
    """Connects its viewers at once; ``connected`` says how that went."""

    def __init__(self, arguments: Sequence[str], *, core: int | None, connect_timeout: float = 60.0) -> None:
        load = compiled("load", *sorted((HERE / "load").glob("*.[ch]")))
        command = [*on_core(core), str(load), "--connect-timeout", str(connect_timeout), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout.fileno())
        try:
            self.connected = self._answer("connected", connect_timeout + 30)
        except BaseException:
            self.close()
            raise

    def idle(self, seconds: float) -> Report:
        """Hold the connections."""
        self._order(f"idle {seconds}")
        return self._answer("idle", seconds + 30)

    def run(
        self, publish: Callable[[], None], seconds: float, *, warmup: float = 0.0, finals: float = 0.0,
        drain: float = 0.0, churn: float = 0.0, pids: Sequence[int] = (),
    ) -> Report:  # fmt: skip
        """Count what is pushed for ``seconds``; ``publish`` is called when counting has begun.

        Then it waits up to ``finals`` seconds until everyone has the last state of its task, and up to ``drain`` until
        nothing comes any more.
        """
        self._order(
            f"run seconds={seconds} warmup={warmup} finals={finals} drain={drain} churn={churn}"
            + (f" pids={','.join(map(str, pids))}" if pids else "")
        )
        self._answer("begun", 30)
        publish()
        return self._answer("run", seconds + finals + drain + 60)

    def close(self) -> None:
        """Hang up."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ClientEnded(str(error)) from error

    def _answer(self, phase: str, timeout: float) -> Report:
        try:
            line = self._lines.next(timeout)
        except EOFError:
            raise ClientEnded("the load client ended") from None
        if line is None:
            raise ClientEnded(f"no {phase!r} within {timeout:.0f} s")
        report: Report = json.loads(line)
        if report["phase"] != phase:
            raise ClientEnded(f"it answered {report['phase']!r} where {phase!r} was asked")
        return report
