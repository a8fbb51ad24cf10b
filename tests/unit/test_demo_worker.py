"""The demo's worker: what it counts, how it ends, and what its parent does for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from realtime import Handle, Realtime, RegistryUnavailable, TaskCancelled, demo_worker
from support.tools import ROOT

PATIENCE = 30  # seconds
#: A program that is there until its standard input is closed.
PATIENT = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def rt() -> Realtime:
    rt = Realtime(Flask(__name__))
    rt.create_task("worker", "ada")
    return rt


def looked_after(rt: Realtime) -> tuple[int, list[str]]:
    """How a process has ended that was looked after, and what was called then."""
    called: list[str] = []
    process = subprocess.Popen(PATIENT, stdin=subprocess.PIPE)
    demo_worker.look_after(rt, "worker", process, lambda: called.append("ended"))
    assert process.returncode is not None
    assert not Path(f"/proc/{process.pid}").exists()  # nor as a zombie
    return process.returncode, called


def test_the_primes_are_counted(rt: Realtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are, in three parts, each with every block said."""
    monkeypatch.setattr(demo_worker, "PAUSE", 0)
    with rt.task("worker") as task:
        result = demo_worker.count_primes(rt, task)
        whole = task.snapshot
    assert result == {"message": "216,816 primes below 3,000,000.", "primes": 216_816}
    assert whole.percent == 100
    assert whole.message == f"216,816 primes so far, says process {os.getpid()}"
    parts = [task for task in rt.list_tasks("ada") if task.parent_id == "worker"]
    assert {(part.name, part.status, part.current) for part in parts} == {
        (f"From {low}", "completed", 1_000_000) for low in ("0", "1,000,000", "2,000,000")
    }


def test_a_server_that_is_away_at_the_end_of_a_part_is_no_reason_to_fail(
    rt: Realtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client keeps the end and sends it later: the count goes on."""
    monkeypatch.setattr(demo_worker, "PAUSE", 0)
    task_of = rt.task

    @contextmanager
    def away(task_id: str) -> Iterator[Handle]:
        with task_of(task_id) as part:
            yield part
        raise RegistryUnavailable("The server cannot be reached. The end is kept, and sent when it is back.")

    with rt.task("worker") as task:
        monkeypatch.setattr(rt, "task", away)
        assert demo_worker.count_primes(rt, task)["primes"] == 216_816


def test_to_stop_it_is_to_stop_its_parts(rt: Realtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so by what it raises, when all have stopped."""
    monkeypatch.setattr(demo_worker, "PAUSE", 0)
    primes = demo_worker.primes_of

    def count(low: int, *more: Any) -> list[int]:
        if low == 500_000:
            rt.cancel_task("worker")
        return primes(low, *more)

    monkeypatch.setattr(demo_worker, "primes_of", count)
    with pytest.raises(TaskCancelled), rt.task("worker") as task:
        demo_worker.count_primes(rt, task)
    tasks = rt.list_tasks("ada")
    assert len(tasks) == 1 + demo_worker.PARTS
    assert all(task.finished for task in tasks)
    assert {"cancelled"} <= {str(task.status) for task in tasks} <= {"cancelled", "completed"}
    assert rt.require("worker").status == "cancelled"


def test_one_that_is_to_be_killed_is_killed(rt: Realtime) -> None:
    """By the word in its task, whoever has written it; nothing else is done to the task."""
    rt.update_task_progress("worker", metadata={demo_worker.KILL: "worker"})
    before = rt.require("worker")
    assert looked_after(rt) == (-signal.SIGKILL, ["ended"])
    assert rt.require("worker") == before


def test_one_that_tries_another_again_is_not_killed_with_it(rt: Realtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the metadata of that one."""
    rt.update_task_progress("worker", metadata={demo_worker.KILL: "the one before"})
    read, looks = rt.get_task_status, iter([None, None])

    def status(task_id: str) -> object:
        if next(looks, rt) is rt:
            rt.complete_task(task_id)
        return read(task_id)

    monkeypatch.setattr(rt, "get_task_status", status)
    monkeypatch.setattr(demo_worker, "LOOK", 0.01)
    assert looked_after(rt) == (0, ["ended"])


@pytest.mark.parametrize("how", ["failed", "removed"])
def test_one_whose_task_has_ended_leaves(rt: Realtime, how: str) -> None:
    """It could say nothing more."""
    rt.fail_task("worker", "lost")
    if how == "removed":
        rt.remove_task("worker")
    assert looked_after(rt) == (0, ["ended"])


def test_a_store_that_is_away_is_waited_for(rt: Realtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the task cannot be read: it is read when it can be."""
    read, answers = rt.get_task_status, [RegistryUnavailable("away")] * 2
    rt.update_task_progress("worker", metadata={demo_worker.KILL: "worker"})

    def status(task_id: str) -> object:
        if answers:
            raise answers.pop()
        return read(task_id)

    monkeypatch.setattr(rt, "get_task_status", status)
    monkeypatch.setattr(demo_worker, "LOOK", 0.01)
    assert looked_after(rt) == (-signal.SIGKILL, ["ended"])
    assert answers == []


@contextmanager
def program(life: int) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The program itself, which is at work for a server that never answers."""
    code = f"from realtime import demo_worker as it; it.LIFE = {life}; it.main()"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {
            "REALTIME_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "REALTIME_KEY": "rt_00000000_" + "w" * 43,
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", code, "worker"], stdin=subprocess.PIPE, env={**os.environ, **environ}
        )
        try:
            yield process, silent
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def test_it_leaves_when_its_parent_is_gone() -> None:
    """However that has ended: the system closes what it held."""
    with program(demo_worker.LIFE) as (process, server):
        assert process.stdin is not None
        server.settimeout(PATIENCE)
        with server.accept()[0]:
            process.stdin.close()
            assert process.wait(PATIENCE) == 0


def test_it_does_not_live_for_ever() -> None:
    """The kernel ends it, whatever it does."""
    with program(1) as (process, _):
        assert process.wait(PATIENCE) == -signal.SIGALRM
