"""The heartbeats of a process's jobs."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Iterator

import pytest

from realtime import heart as heart_module
from realtime.errors import InvalidValue, LeaseHeld, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from realtime.heart import Heart
from realtime.registry.memory import MemoryRegistry
from realtime.task import NewTask

#: Seconds that anything may take.
PATIENCE = 20


def hearts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "realtime-heart"]


class Beats:
    """What a heart does, in order."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.problem: Exception | None = None
        #: Those of other tests' clients, which have nothing to do any more and sleep.
        self._others = set(hearts())
        self.heart = Heart(self._beat, 0.03)

    def _beat(self, task_id: str, lease: float, holder: str, takeover: bool) -> None:
        assert lease == 0.03
        self.heard.put(task_id)
        if self.problem is not None:
            raise self.problem

    def next(self) -> str:
        return self.heard.get(timeout=PATIENCE)

    def threads(self) -> list[threading.Thread]:
        return [thread for thread in hearts() if thread not in self._others]

    def wait_for_end(self) -> None:
        """Until its thread has ended; what it has said meanwhile is forgotten."""
        for thread in self.threads():
            thread.join(PATIENCE)
            assert not thread.is_alive()
        while not self.heard.empty():
            self.heard.get()


@pytest.fixture
def beats() -> Iterator[Beats]:
    beats = Beats()
    yield beats
    for task_id in list(beats.heart._held):
        beats.heart.release(task_id)
    beats.wait_for_end()


def test_the_first_beat_is_made_at_once(beats: Beats) -> None:
    """Before `hold` returns: a process that is killed right after it leaves a lease behind."""
    beats.heart.hold("a")
    assert not beats.heard.empty()


def test_the_first_beat_may_be_another(beats: Beats) -> None:
    """One that waits until the lease is there; those that follow need not."""
    first: list[tuple[str, float, str, bool]] = []
    beats.heart = Heart(beats._beat, 0.03, first=lambda *given: first.append(given))
    beats.heart.hold("a")
    assert [(beat[:2], beat[3]) for beat in first] == [(("a", 0.03), False)]
    assert [beats.next() for _ in range(3)] == ["a"] * 3
    assert [(beat[:2], beat[3]) for beat in first] == [(("a", 0.03), False)]


def test_a_beat_that_is_answered_with_a_request_to_stop_is_acknowledged() -> None:
    """What holds the task is about to be told; where nobody has asked, or it was said already, nothing is said."""
    registry = MemoryRegistry()
    registry.create(NewTask("a"))
    heart = Heart(registry.heartbeat, 30.0, acknowledge=registry.acknowledge_cancel)
    for _ in range(2):
        heart.hold("a")
    before = registry.request_cancel("a")
    for _ in range(2):
        heart.hold("a")
    for _ in range(4):
        heart.release("a")
    after = registry.get("a")
    assert after is not None
    assert (after.version, before.cancel_acknowledged_at) == (before.version + 1, None)
    assert after.cancel_acknowledged_at is not None


def test_a_first_beat_that_is_interrupted_holds_nothing(beats: Beats) -> None:
    """Its block is not entered, and nobody would release it; others are held as ever."""

    def interrupted(task_id: str, lease: float, holder: str, takeover: bool) -> None:
        raise KeyboardInterrupt

    beats.heart._first = interrupted
    with pytest.raises(KeyboardInterrupt):
        beats.heart.hold("a")
    assert not beats.heart._held
    beats.heart._first = None
    beats.heart.hold("b")
    assert "b" in [beats.next() for _ in range(3)]
    beats.heart.release("b")
    beats.wait_for_end()
    beats.heart.hold("c")
    assert [beats.next() for _ in range(3)] == ["c"] * 3


def test_it_beats_for_all_that_it_holds(beats: Beats) -> None:
    """Again and again, on one thread."""
    beats.heart.hold("a")
    beats.heart.hold("b")
    while not beats.heard.empty():  # of the time in which it held one of them, which may have been long
        beats.next()
    heard = [beats.next() for _ in range(8)]
    assert heard.count("a") >= 3
    assert heard.count("b") >= 3
    assert len(beats.threads()) == 1


def test_what_is_held_twice_is_released_twice(beats: Beats) -> None:
    """A job's handle may be entered again within the job."""
    beats.heart.hold("a")
    beats.heart.hold("a")
    beats.heart.release("a")
    assert [beats.next() for _ in range(5)] == ["a"] * 5
    beats.heart.release("a")
    beats.heart.release("a")
    beats.wait_for_end()
    assert beats.heard.empty()


def test_it_rests_when_it_holds_nothing_and_begins_again(beats: Beats) -> None:
    """No thread stays."""
    beats.heart.hold("a")
    beats.heart.release("a")
    beats.wait_for_end()
    assert beats.threads() == []
    beats.heart.hold("b")
    assert [beats.next() for _ in range(3)] == ["b"] * 3


@pytest.mark.parametrize(
    "problem", [RegistryUnavailable("away"), TaskNotFound("a"), TaskAlreadyFinished("a", "failed")]
)
def test_a_store_that_is_away_is_tried_again(
    beats: Beats, problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """And a task that has ended is somebody else's affair: the log has nothing of either."""
    beats.problem = problem
    beats.heart.hold("a")
    assert [beats.next() for _ in range(4)] == ["a"] * 4
    assert caplog.records == []


def test_a_refusal_is_told_once(beats: Beats, caplog: pytest.LogCaptureFixture) -> None:
    """A server that knows no leases says the same of each task: one line, and no traceback."""
    beats.problem = InvalidValue("op", "there is no such operation")
    beats.heart.hold("a")
    beats.heart.hold("b")
    assert len([beats.next() for _ in range(6)]) == 6
    (record,) = caplog.records
    assert "there is no such operation" in record.message
    assert record.exc_info is None


def test_what_nobody_expects_is_logged_and_does_not_stop_it(beats: Beats, caplog: pytest.LogCaptureFixture) -> None:
    """The others go on living."""
    beats.problem = ZeroDivisionError()
    beats.heart.hold("a")
    assert [beats.next() for _ in range(4)] == ["a"] * 4
    assert "A sign of life of the task a could not be given." in caplog.text


def test_a_task_is_held_under_one_name(beats: Beats) -> None:
    """As long as it is; the next time, and another task, under another."""
    name = beats.heart.hold("a")
    assert beats.heart.hold("a") == name
    assert beats.heart.hold("b") != name
    for _ in range(2):
        beats.heart.release("a")
    assert beats.heart.hold("a") != name
    assert len(name) <= 64


def test_what_another_holds_is_not_held(beats: Beats) -> None:
    """To hold it raises, and leaves nothing behind; taken over it is this one's, and the other one is refused."""
    registry = MemoryRegistry()
    registry.create(NewTask("a"))
    mine, theirs = (Heart(registry.heartbeat, 30.0, give_back=registry.release) for _ in range(2))
    theirs.hold("a")
    with pytest.raises(LeaseHeld):
        mine.hold("a")
    assert not mine._held
    mine.hold("a", takeover=True)
    with pytest.raises(LeaseHeld):
        theirs.hold("a")
    theirs.release("a", give_back=True)  # is no longer its to give
    with pytest.raises(LeaseHeld):
        theirs.hold("a")
    mine.release("a", give_back=True)
    theirs.hold("a")
    theirs.release("a")


def test_what_is_taken_over_does_not_end_the_thread(beats: Beats, caplog: pytest.LogCaptureFixture) -> None:
    """Its block hears of it by itself; the other tasks go on living, and the log has nothing to complain of."""
    beats.heart.hold("b")
    beats.heart.hold("a")
    beats.problem = LeaseHeld("a")
    assert [beats.next() for _ in range(6)].count("b") >= 2
    assert caplog.records == []


def test_what_is_given_back_is_not_taken_again(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a beat that is under way: one that came behind it would hold the task for nobody."""
    monkeypatch.setattr(heart_module, "_PATIENCE", PATIENCE)
    inside, go_on = threading.Event(), threading.Event()
    said: list[str] = []

    def slow(task_id: str, lease: float, holder: str, takeover: bool) -> None:
        if threading.current_thread() in beats.threads():
            inside.set()
            assert go_on.wait(PATIENCE)
            said.append("beat")

    heart = beats.heart = Heart(slow, 0.03, give_back=lambda task_id, holder: said.append("given back"))
    heart.hold("a")
    assert inside.wait(PATIENCE)
    giving = threading.Thread(target=lambda: heart.release("a", give_back=True))
    giving.start()
    while "a" in heart._held:
        pass
    go_on.set()
    giving.join(PATIENCE)
    assert said == ["beat", "given back"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_beats_for_its_own(beats: Beats) -> None:
    """The thread has stayed in the parent."""
    beats.heart.hold("a")
    child = os.fork()
    if child == 0:  # pragma: no cover
        heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        beats.heart._beat = lambda task_id, lease, holder, takeover: heard.put(task_id)
        beats.heart.hold("b")
        own = [heard.get(timeout=PATIENCE) for _ in range(3)]
        os._exit(0 if own == ["b"] * 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert "b" not in [beats.next() for _ in range(3)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_leaves_a_block_of_its_parents(beats: Beats) -> None:
    """The lock may have been held at the fork, for ever; and what was held is held in the parent."""
    beats.heart.hold("a")
    beats.heart._changed.acquire()  # as the parent's thread, just then
    child = os.fork()
    if child == 0:  # pragma: no cover
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # or it would never end, if the lock were taken
        signal.alarm(PATIENCE)
        beats.heart.release("a")
        os._exit(0 if beats.heart._held["a"][0] == 1 else 1)
    beats.heart._changed.release()
    assert os.waitpid(child, 0)[1] == 0
    assert [beats.next() for _ in range(3)] == ["a"] * 3
