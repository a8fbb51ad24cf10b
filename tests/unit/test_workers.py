"""When the parent of several server processes starts, replaces and kills which of them, by a clock of its own."""

from __future__ import annotations

import itertools
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace

import pytest

from realtime import workers
from realtime.workers import MAX_RETRY_TIME, RETRY_TIME, START_TIME, STEADY_TIME, STOP_TIME, Workers


class Process:
    """One that ends when it is killed, and not because it is asked to."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.asked = 0

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.asked += 1

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL


class Fleet:
    """A parent of two workers, which are looked after when the test says so; and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        #: All that were started, in this order, and their ends of the pairs.
        self.started: list[workers.Worker] = []
        self._theirs: dict[workers.Worker, socket.socket] = {}
        monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: self.now))
        fleet = self

        class Worker(workers.Worker):
            def __init__(self, slot: int, command: Sequence[str], environ: Mapping[str, str]) -> None:
                self.slot, self.began, self.ready, self.left = slot, fleet.now, False, None
                self.pair, fleet._theirs[self] = socket.socketpair()
                self.process = Process()  # type: ignore[assignment]
                fleet.started.append(self)

        monkeypatch.setattr(workers, "Worker", Worker)
        self.told: list[str] = []
        self.parent = Workers([], 2, {}, lambda: self.told.append("ready"))
        for slot in (1, 2):
            self.parent._start(slot)

    def serves(self, worker: workers.Worker) -> None:
        """It says so."""
        self._theirs[worker].send(b"!")
        self.parent._heard(worker)

    def all_serve(self) -> None:
        for worker in self.started[-2:]:
            self.serves(worker)
        assert self.told == ["ready"]

    def ends(self, worker: workers.Worker) -> None:
        """By itself."""
        worker.process.returncode = 1
        self.parent._look()

    def after(self, seconds: float) -> None:
        """Let time go by, and look."""
        self.now += seconds
        self.parent._look()

    def alive(self, worker: workers.Worker) -> bool:
        return worker.process.poll() is None

    def close(self) -> None:
        for worker, theirs in self._theirs.items():
            theirs.close()
            worker.pair.close()
        self.parent._selector.close()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    made = Fleet(monkeypatch)
    yield made
    made.close()


def test_one_that_ends_again_and_again_is_replaced_later_each_time(fleet: Fleet) -> None:
    """Twice as long after as the time before, within a bound; the parent sleeps no longer than that."""
    fleet.all_serve()
    worker = fleet.started[0]
    waits = []
    for number in itertools.count(3):
        fleet.ends(worker)
        assert len(fleet.started) == number - 1
        assert fleet.parent._patience() <= 1.0
        waits.append(round(fleet.parent._due[1] - fleet.now, 3))
        fleet.after(waits[-1] - 0.01)
        assert len(fleet.started) == number - 1
        assert fleet.parent._patience() == pytest.approx(0.01)
        fleet.after(0.01)
        assert len(fleet.started) == number
        worker = fleet.started[-1]
        assert worker.slot == 1
        fleet.serves(worker)
        if len(waits) == 8:
            break
    assert waits == [RETRY_TIME, 1.0, 2.0, 4.0, 8.0, 16.0, MAX_RETRY_TIME, MAX_RETRY_TIME]
    fleet.after(STEADY_TIME)  # it has lived, so this is another trouble
    fleet.ends(worker)
    assert fleet.parent._due == {1: fleet.now + RETRY_TIME}


def test_the_others_waits_are_their_own(fleet: Fleet) -> None:
    """One that has never ended is replaced soon, however often its neighbour has."""
    fleet.all_serve()
    for _ in range(3):
        fleet.ends(fleet.started[-1])
        fleet.after(10.0)
        fleet.serves(fleet.started[-1])
    fleet.ends(fleet.started[0])
    assert fleet.parent._due == {1: fleet.now + RETRY_TIME}


def test_one_that_does_not_serve_in_time_is_killed(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """And the log has it."""
    fleet.serves(fleet.started[0])
    fleet.after(START_TIME)
    assert fleet.alive(fleet.started[1])
    fleet.after(0.1)
    assert [fleet.alive(worker) for worker in fleet.started] == [True, False]
    assert "Worker 2 did not serve within 60 s." in caplog.text


def test_one_that_does_not_leave_is_killed(fleet: Fleet) -> None:
    """It is asked once, and has its time."""
    fleet.all_serve()
    fleet.parent._signalled(signal.SIGTERM)
    fleet.after(STOP_TIME)
    assert [fleet.alive(worker) for worker in fleet.started] == [True, True]
    fleet.after(0.1)
    assert [fleet.alive(worker) for worker in fleet.started] == [False, False]
    assert [worker.process.asked for worker in fleet.started] == [1, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_does_not_wait(fleet: Fleet, first: signal.Signals) -> None:
    """Whichever they are; but a restart is none of them."""
    fleet.all_serve()
    fleet.parent._signalled(signal.SIGHUP)
    fleet.parent._signalled(first)
    assert all(map(fleet.alive, fleet.started))
    fleet.parent._signalled(signal.SIGHUP)
    assert all(map(fleet.alive, fleet.started))
    fleet.parent._signalled(signal.SIGINT)
    assert not any(map(fleet.alive, fleet.started))
    assert [worker.process.asked for worker in fleet.started] == [1, 1]  # type: ignore[attr-defined]


def gone(fleet: Fleet) -> None:
    fleet.ends(fleet.started[0])


def restarting(fleet: Fleet) -> None:
    fleet.parent._signalled(signal.SIGHUP)
    fleet.after(0.0)


@pytest.mark.parametrize("before", [gone, restarting])
def test_who_stops_starts_nobody(fleet: Fleet, before: Callable[[Fleet], None]) -> None:
    """Not in the place of one that had ended before, nor for a restart that was asked for."""
    fleet.all_serve()
    before(fleet)
    started = list(fleet.started)
    fleet.parent._signalled(signal.SIGTERM)
    for worker in started:
        fleet.ends(worker)
    fleet.after(MAX_RETRY_TIME)
    assert fleet.started == started
    assert fleet.parent._alive == []


def test_none_is_restarted_while_another_is_missing(fleet: Fleet) -> None:
    """There would be fewer that serve. Who comes in that one's place is new, and is not restarted."""
    fleet.all_serve()
    fleet.ends(fleet.started[0])
    fleet.parent._signalled(signal.SIGHUP)
    fleet.after(RETRY_TIME / 2)
    assert len(fleet.started) == 2
    fleet.after(RETRY_TIME / 2)
    assert [worker.slot for worker in fleet.started] == [1, 2, 1]
    fleet.after(1.0)
    assert len(fleet.started) == 3
    fleet.serves(fleet.started[2])
    fleet.after(0.0)
    assert [worker.slot for worker in fleet.started] == [1, 2, 1, 2]
