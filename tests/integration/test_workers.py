"""The parent of several server processes: whom it starts, replaces and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.remote import wait_until

CHILD = """
import os, signal, sys, time
from realtime import workers

def say(word):
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"{word} {os.getpid()}\\n")

def leave(*_):
    say("left")
    os._exit(0)

signal.signal(signal.SIGTERM, leave)
pair = workers.parent()
say("begins")
while os.path.exists(os.environ["DIARY"] + ".held"):
    time.sleep(0.01)
if os.path.exists(os.environ["DIARY"] + ".broken"):
    sys.exit(3)
say("serves")
workers.obey(pair)
while True:
    signal.pause()
"""

PARENT = """
import os, sys
from realtime.workers import Workers

problem = Workers([sys.executable, "-c", sys.argv[1]], 2, os.environ, lambda: print("ready", flush=True)).run()
print(problem, flush=True)
"""


class Fleet:
    """A parent of two workers that serve nothing and write down what happens to them."""

    def __init__(self, folder: Path) -> None:
        self.diary = folder / "diary"
        self.diary.touch()
        #: While it is there, no new worker serves.
        self.held = folder / "diary.held"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.parent = subprocess.Popen(
                [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "DIARY": str(self.diary)},
            )  # fmt: skip

    def entries(self) -> list[tuple[str, int]]:
        return [(word, int(pid)) for word, pid in map(str.split, self.diary.read_text().splitlines())]

    def say(self) -> str:
        assert self.parent.stdout is not None
        return self.parent.stdout.readline().strip()

    def pids(self, word: str) -> list[int]:
        return [pid for said, pid in self.entries() if said == word]

    def break_new_ones(self) -> None:
        Path(f"{self.diary}.broken").touch()

    def close(self) -> None:
        if self.parent.poll() is None:
            self.parent.kill()
        self.parent.wait()
        assert self.parent.stdout is not None
        self.parent.stdout.close()
        eventually(lambda: not any(map(alive, self.pids("serves"))))


def eventually(condition: Callable[[], bool]) -> None:
    wait_until(condition, bool)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may go between the opening of the file and the reading
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Fleet]]:
    fleets: list[Fleet] = []

    def start() -> Fleet:
        fleets.append(Fleet(tmp_path))
        return fleets[-1]

    yield start
    for fleet in fleets:
        fleet.close()


def test_all_serve_and_all_end(start: Callable[[], Fleet]) -> None:
    """Ready is said once all serve; SIGTERM ends every one of them, and then the parent."""
    fleet = start()
    assert fleet.say() == "ready"
    assert len(fleet.pids("serves")) == 2
    fleet.parent.terminate()
    assert fleet.say() == "None"
    assert fleet.parent.wait(30) == 0
    assert sorted(fleet.pids("left")) == sorted(fleet.pids("serves"))


def test_a_restart_leaves_no_moment_with_fewer(start: Callable[[], Fleet]) -> None:
    """One after the other, and each only when the one that takes its place serves."""
    fleet = start()
    assert fleet.say() == "ready"
    first = fleet.pids("serves")
    fleet.parent.send_signal(signal.SIGHUP)
    eventually(lambda: len(fleet.pids("left")) == 2)
    serving = 0
    counts = []
    for word in [word for word, _ in fleet.entries() if word != "begins"]:
        serving += 1 if word == "serves" else -1
        counts.append(serving)
    assert counts == [1, 2, 3, 2, 3, 2]
    assert sorted(fleet.pids("left")) == sorted(first)


def test_a_restart_that_comes_too_early_is_made_later(start: Callable[[], Fleet], tmp_path: Path) -> None:
    """Asked for while the first ones start, it waits until they serve."""
    (tmp_path / "diary.held").touch()
    fleet = start()
    eventually(lambda: len(fleet.pids("begins")) == 2)
    fleet.parent.send_signal(signal.SIGHUP)
    fleet.held.unlink()
    assert fleet.say() == "ready"
    eventually(lambda: len(fleet.pids("left")) == 2)
    assert sorted(fleet.pids("left")) == sorted(fleet.pids("serves")[:2])


def test_a_restart_that_fails_leaves_the_old_ones(start: Callable[[], Fleet]) -> None:
    """What does not serve replaces nobody."""
    fleet = start()
    assert fleet.say() == "ready"
    fleet.break_new_ones()
    fleet.parent.send_signal(signal.SIGHUP)
    eventually(lambda: "ended with 3 before it served: no more are restarted." in fleet.log.read_text())
    assert all(map(alive, fleet.pids("serves")))
    assert fleet.pids("left") == []


def test_one_that_dies_is_replaced(start: Callable[[], Fleet]) -> None:
    """The other one is not touched."""
    fleet = start()
    assert fleet.say() == "ready"
    dead, other = fleet.pids("serves")
    os.kill(dead, signal.SIGKILL)
    eventually(lambda: len(fleet.pids("serves")) == 3)
    assert alive(other)
    assert fleet.pids("left") == []


def test_none_outlives_a_parent_that_is_killed(start: Callable[[], Fleet]) -> None:
    """They leave as if it had told them to."""
    fleet = start()
    assert fleet.say() == "ready"
    fleet.parent.kill()
    eventually(lambda: sorted(fleet.pids("left")) == sorted(fleet.pids("serves")))


def test_what_never_served_is_not_tried_again(start: Callable[[], Fleet], tmp_path: Path) -> None:
    """A mistake in the app ends the command with a word about it."""
    Path(f"{tmp_path / 'diary'}.broken").touch()
    fleet = start()
    assert fleet.say() == "A worker ended with 3 before it served."
    assert fleet.parent.wait(30) == 0
