"""``realtime run``, with a client that writes down what it is told: what becomes of signals, words and trouble."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import click
import pytest

from realtime import command
from realtime.client import Client
from realtime.errors import RegistryUnavailable, TaskAlreadyFinished
from realtime.task import TaskStatus


class Told:
    """Stands in the place of a `Client`: what it is told of the task, which is made as it is said."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self.said: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.written: dict[str, str] = {}
        self.held: list[str] = []
        self.heart = SimpleNamespace(hold=self.held.append)
        #: What any word of it raises; what is done when the task is made; how the task stands.
        self.trouble: Exception | None = None
        self.on_create: Callable[[], object] = lambda: None
        self.task = SimpleNamespace(cancel_requested=None, status=TaskStatus.PROCESSING)

    def create_task(self, task_id: str | None, user_id: str, **more: Any) -> SimpleNamespace:
        self.made = {"user_id": user_id, **more}
        self.on_create()
        return SimpleNamespace(task_id=task_id or "a")

    def get_task_status(self, task_id: str) -> SimpleNamespace:
        return self.task

    def append_output(self, task_id: str, text: str, *, stream: str) -> None:
        self._raise()
        self.written[stream] = self.written.get(stream, "") + text

    def __getattr__(self, name: str) -> Any:
        def say(*args: Any, **more: Any) -> None:
            self.said.append((name, args, more))
            self._raise()

        return say

    def _raise(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def run(self, *words: str, **more: Any) -> int:
        more = {"user_id": "ada", **more}
        client: Client = self  # type: ignore[assignment]
        return command.run(client, words, **more)


@pytest.fixture
def told() -> Told:
    return Told()


def streams(out: Any) -> SimpleNamespace:
    """What the command looks at of the module `sys`."""
    return SimpleNamespace(
        stdin=None, stdout=SimpleNamespace(buffer=out), stderr=SimpleNamespace(buffer=io.BytesIO())
    )  # fmt: skip


@pytest.fixture(autouse=True)
def out(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What is written to standard output; nothing is read."""
    written = io.BytesIO()
    monkeypatch.setattr(command, "sys", streams(written))
    return written


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def test_the_task_is_made_as_it_is_said(told: Told) -> None:
    """A part of another where that is wanted; named after the program; held until the process ends."""
    assert told.run("/bin/true", parent_id="p", task_id="t") == 0
    assert (told.made["name"], told.made["parent_id"], told.made["cancellable"]) == ("true", "p", True)
    assert told.held == ["t"]
    assert told.run("/bin/true", name="Given") == 0
    assert (told.made["name"], told.made["parent_id"]) == ("Given", None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_comes_before_the_command_reaches_it(told: Told, number: signal.Signals) -> None:
    """It came while the task was made. Later, each signal means again what it did before."""
    former = signal.getsignal(number)
    told.on_create = lambda: os.kill(os.getpid(), number)
    assert told.run("/bin/sleep", "60") == 128 + number
    assert told.said == [("fail_task", ("a", f"Ended by {number.name}."),
                          {"code": "signal", "details": {"signal": number.name}})]  # fmt: skip
    assert signal.getsignal(number) is former


def test_a_signal_without_a_name(told: Told) -> None:
    """Real-time signals have none."""
    assert told.run(*shell("kill -40 $$")) == 168
    assert told.said[0][2]["details"] == {"signal": "signal 40"}


def test_the_exit_code_is_told(told: Told) -> None:
    """To the page, and to programs."""
    assert told.run(*shell("exit 7")) == 7
    assert told.said == [("fail_task", ("a", "Exit code 7."), {"code": "exit_code", "details": {"exit_code": 7}})]


def test_trouble_with_the_server_is_told_once_and_stops_nothing(
    told: Told, out: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a terminal obey what a server says."""
    said: list[str] = []
    monkeypatch.setattr(click, "echo", lambda text, err: said.append(text))
    told.trouble = RegistryUnavailable("away\x1b[2J")
    assert told.run(*shell("echo one; echo two >&2; exit 3")) == 3
    assert len(said) == 1
    assert said[0].startswith("realtime run: away")
    assert "\x1b" not in said[0]
    assert out.getvalue() == b"one\n"


def test_a_task_that_somebody_else_has_ended_is_no_trouble(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of that."""
    said: list[str] = []
    monkeypatch.setattr(click, "echo", lambda text, err: said.append(text))
    told.trouble = TaskAlreadyFinished("a", TaskStatus.CANCELLED)
    assert told.run(*shell("echo one")) == 0
    assert said == []


def test_the_task_is_told_though_nobody_reads_the_output(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever read it has gone: ``realtime run … | head``."""

    def broken(_: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(command, "sys", streams(SimpleNamespace(write=broken)))
    assert told.run(*shell("echo one; echo two")) == 0
    assert told.written["output"] == "one\ntwo\n"


def test_a_letter_that_comes_in_pieces_is_one(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read at a time may end in the middle of it."""
    monkeypatch.setattr(command, "_PIECE", 1)
    assert told.run(*shell("printf '\\303\\251\\303'")) == 0
    assert told.written["output"] == "é�"


def test_a_task_that_was_cancelled_without_being_asked_ends_the_command(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has said its end."""
    monkeypatch.setattr(command, "LOOK", 0.0)
    told.task.status = TaskStatus.CANCELLED
    assert told.run("/bin/sleep", "60") == 128 + signal.SIGTERM
    assert ("cancel_task", ("a",), {"done": True}) in told.said
