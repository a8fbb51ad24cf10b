"""The client's thread: what it sends, again if it must, in which order, and for how long."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from realtime.client.calls import Call
from realtime.client.conflator import Conflator
from realtime.client.registry import RemoteRegistry
from realtime.client.sender import FIRST_PAUSE, MAX_PAUSE, Sender, listen, wait_for
from realtime.client.transport import Request, Transport, TryLater
from realtime.concurrency import NativeEvent
from realtime.errors import RealtimeError, RegistryUnavailable, TaskAlreadyFinished
from realtime.registry.memory import MemoryRegistry
from realtime.task import NewTask, Task

LONG = 20.0


class Scripted(Transport):
    """A transport to a registry here. ``faults`` are raised by the next requests, before or after they are done."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        self.faults: list[Exception | None] = []
        #: What every request consisted of, each time that it was performed.
        self.performed: list[tuple[int, list[str]]] = []
        self.gate: Callable[[], object] = lambda: None
        self.left = self.closed = 0

    @property
    def name(self) -> str:
        return "The server"

    def requests(self, calls: Sequence[Call]) -> list[Request]:
        return [Request(tuple(calls))]

    def perform(self, request: Request, timeout: float) -> Sequence[Any]:
        self.performed.append((id(request), [call.verb for call in request.calls]))
        self.gate()
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        return [self._do(call) for call in request.calls]

    def _do(self, call: Call) -> Any:
        try:
            if call.verb == "create":
                return self.registry.create(call.args[0], exist_ok=call.args[1])[0]
            return getattr(self.registry, call.verb)(call.task_id, *call.args)
        except RealtimeError as error:
            return error

    def watched(self, task_id: str) -> bool | None:
        return None

    def leave(self) -> None:
        self.left += 1

    def close(self) -> None:
        self.closed += 1


class Worker:
    """All there is of a client but its functions. Pauses have the length they may have at most, 1,000 times shorter."""

    def __init__(self, timeout: float = LONG, **settings: Any) -> None:
        self.transport = Scripted()
        self.pauses: list[float] = []
        self.conflator = Conflator(interval=0.001, **settings)
        self.sender = Sender(self.conflator, self.transport, timeout, jitter=self._jitter)
        self.conflator.wake = self.sender.wake
        self.tasks = RemoteRegistry(self.conflator, self.sender, timeout, "The server")

    def _jitter(self, low: float, high: float) -> float:
        assert low == 0
        self.pauses.append(high)
        return high / 1000

    def stored(self, task_id: str = "t") -> Task:
        task = self.transport.registry.get(task_id)
        assert task is not None
        return task


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.sender.stop(LONG)


AWAY = RegistryUnavailable("The server cannot be reached.")


def test_nothing_starts_before_the_first_call(worker: Worker) -> None:
    """A client that is made at import costs nothing."""
    assert worker.sender._thread is None
    worker.tasks.create(NewTask("t"))
    assert worker.sender._thread is not None


def test_a_lost_answer_has_the_same_request_made_again(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """As it was, before all else; what is said meanwhile waits behind it, merged. The outage is told once."""
    worker.tasks.create(NewTask("t", total=100))
    worker.transport.faults = [AWAY, AWAY, AWAY]
    with caplog.at_level(logging.INFO):
        worker.tasks.update("t", "first")
        assert worker.sender.flush(LONG)
        worker.tasks.update("t", "second")
        assert worker.sender.flush(LONG)
    tries = [request for request, verbs in worker.transport.performed if verbs == ["update"]]
    assert tries[0] == tries[1] == tries[2] == tries[3]
    assert worker.stored().message == "second"
    assert [record.message for record in caplog.records] == [
        "The server cannot be reached. What is said waits until it is back.",
        "The server answers again, after 3 attempts.",
    ]


def test_pauses_grow_and_have_a_bound(worker: Worker) -> None:
    """From a twentieth of a second to five seconds, whatever the number of attempts."""
    worker.transport.faults = [AWAY] * 12
    worker.tasks.create(NewTask("t"))
    assert worker.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert worker.pauses[-1] == MAX_PAUSE
    assert max(worker.pauses) == MAX_PAUSE
    assert len(worker.pauses) == 12


def test_a_pause_that_the_server_asks_for_is_made(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says best when it will have time; but not for ever."""
    monkeypatch.setattr("realtime.client.sender.MAX_ASKED_PAUSE", 0.1)
    worker.transport.faults = [TryLater("busy", 3600.0)]
    began = time.monotonic()
    worker.tasks.create(NewTask("t"))
    assert time.monotonic() - began >= 0.1  # without it, the pause would be over in a twentieth of a millisecond


def test_what_is_not_the_servers_absence_is_not_tried_again(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is told and logged; the thread goes on."""
    worker.transport.faults = [ZeroDivisionError()]
    with pytest.raises(Exception, match="ZeroDivisionError"):
        worker.tasks.create(NewTask("t"))
    assert "A request to the server failed" in caplog.text
    assert worker.tasks.create(NewTask("t"))[0].task_id == "t"


def test_while_the_server_is_away_updates_do_not_wait_and_are_merged() -> None:
    """A job goes on; the newest state arrives when the server is back, in one call."""
    worker = Worker()
    worker.tasks.create(NewTask("t", total=5000))
    back = threading.Event()

    def gate() -> None:
        if not back.is_set():
            raise AWAY

    worker.transport.gate = gate
    for _ in range(5000):
        worker.tasks.update("t", None, None, None, None, 1)
    tries = len(worker.transport.performed)
    back.set()
    assert worker.sender.flush(LONG)
    worker.sender.stop(LONG)
    assert worker.stored().current == 5000
    assert tries < 2500


def test_an_end_that_got_no_answer_in_time_is_kept_and_sent_later() -> None:
    """The caller is told; the task ends right all the same."""
    worker = Worker()
    worker.tasks.create(NewTask("t"))
    worker.tasks._timeout = 0.5
    back = threading.Event()

    def gate() -> None:
        if not back.is_set():
            raise AWAY

    worker.transport.gate = gate
    with pytest.raises(RegistryUnavailable, match="The end is kept, and sent when it is back"):
        worker.tasks.complete("t", b"42")
    with pytest.raises(TaskAlreadyFinished):
        worker.tasks.update("t", "late")
    back.set()
    assert worker.sender.flush(LONG)
    worker.sender.stop(LONG)
    assert worker.stored().result_json == b"42"


def test_a_creation_that_nobody_waits_for_any_more_is_not_made() -> None:
    """Its caller was told that there is no task."""
    worker = Worker()
    worker.tasks._timeout = 0.5
    back = threading.Event()

    def gate() -> None:
        if not back.is_set():
            raise AWAY

    worker.transport.gate = gate
    with pytest.raises(RegistryUnavailable, match="Nothing is known of the change"):
        worker.tasks.create(NewTask("t"))
    with pytest.raises(RegistryUnavailable, match="Nothing was read"):
        worker.tasks.read("t")
    worker.tasks._timeout = LONG
    back.set()
    worker.tasks.create(NewTask("u"))
    worker.sender.stop(LONG)
    assert worker.transport.registry.get("t") is None


def test_what_waits_is_bounded_and_there_is_room_again() -> None:
    """Beyond the bound a writer waits while the server answers, and is refused while it is away."""
    worker = Worker(max_bytes=1000)
    worker.tasks.create(NewTask("t"))
    for number in range(50):
        worker.tasks.append_output("t", "output", b"%03d" % number * 100)
    assert worker.sender.flush(LONG)
    piece = worker.transport.registry.read_output("t", "output", 0, 10**6, 10**6)
    assert piece is not None
    assert piece.data == b"".join(b"%03d" % number * 100 for number in range(50))
    worker.transport.gate = lambda: worker.transport.faults.append(AWAY)
    with pytest.raises(RegistryUnavailable, match="no more is taken"):
        _ = [worker.tasks.append_output("t", "output", b"x" * 300) for _ in range(5)]
    worker.transport.gate = lambda: None
    worker.sender.stop(LONG)


def test_a_hung_server_holds_up_one_update_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that for a second at most: from then on nobody waits until it has answered."""
    monkeypatch.setattr("realtime.client.registry.PATIENCE", 0.05)
    worker = Worker()
    hang = threading.Event()
    worker.transport.gate = lambda: hang.wait(LONG)
    worker.tasks.update("a", "taken")  # waits its time
    assert worker.conflator.late
    worker.tasks.update("b", "taken")
    worker.tasks.update("c", "taken")
    waiters = [call for call in worker.conflator.outstanding() if call.claimed]
    assert waiters == []
    hang.set()
    assert worker.sender.flush(LONG)
    assert not worker.conflator.late
    worker.sender.stop(LONG)


def test_nobody_waits_on_for_a_server_that_proves_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is known, the update of a quiet task goes on."""
    monkeypatch.setattr("realtime.client.registry.PATIENCE", 3600.0)
    worker = Worker()
    worker.transport.registry.create(NewTask("t"))
    back, waits = threading.Event(), threading.Event()

    class Waited(NativeEvent):
        def wait(self, timeout: float | None = None) -> bool:
            waits.set()
            return super().wait(timeout)

    def gate() -> None:
        assert waits.wait(LONG)
        if not back.is_set():
            raise AWAY

    worker.transport.gate = gate
    monkeypatch.setattr("realtime.client.sender.new_event", Waited)
    worker.tasks.update("t", "said")
    assert worker.conflator.away
    back.set()
    assert worker.sender.flush(LONG)
    worker.sender.stop(LONG)
    assert worker.stored().message == "said"


def test_several_updates_of_quiet_tasks_are_heard_of_together(worker: Worker) -> None:
    """`update_many` waits once, and each item has its own snapshot or error."""
    for task_id in ("a", "b"):
        worker.transport.registry.create(NewTask(task_id))
    worker.transport.registry.complete("b", None)
    made = worker.tasks.update_many([(name, "said", None, None, None, None, None, None) for name in ("a", "b", "a")])
    assert isinstance(made[0], Task)
    assert isinstance(made[1], TaskAlreadyFinished)
    assert isinstance(made[2], Task)
    assert worker.sender.flush(LONG)
    assert worker.stored("a").message == "said"


def test_an_end_by_a_finalizer_waits_for_nothing(worker: Worker) -> None:
    """It may run inside the lock, or on the client's own thread; the end arrives by itself."""
    worker.tasks.create(NewTask("t"))
    worker.tasks.create(NewTask("u"))

    class Ends:
        def __init__(self, task_id: str) -> None:
            self.task_id = task_id
            self.me = self  # so that it takes the garbage collector to find it

        def __del__(self) -> None:
            worker.tasks.complete(self.task_id, None)

    gc.collect()
    with worker.conflator._lock:
        Ends("t")
        gc.collect()
    Ends("u")
    worker.transport.gate = gc.collect
    assert worker.sender.flush(LONG)
    worker.sender.stop(LONG)
    assert worker.stored("t").finished
    assert worker.stored("u").finished


def test_many_threads_lose_and_double_nothing(worker: Worker) -> None:
    """Eight threads advance one task; answers are lost now and then."""
    worker.tasks.create(NewTask("t"))
    worker.transport.faults = [None, AWAY, None, AWAY, AWAY, None]

    def work() -> None:
        for _ in range(2000):
            worker.tasks.update("t", None, None, None, None, 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert worker.sender.flush(LONG)
    assert worker.stored().current == 16_000


def test_a_stopped_sender_takes_no_more(worker: Worker) -> None:
    """Rather than keep what would never be sent."""
    worker.tasks.create(NewTask("t"))
    worker.sender.stop(LONG)
    assert worker.transport.closed == 1
    with pytest.raises(RegistryUnavailable, match="closed"):
        worker.tasks.complete("t", None)


def test_a_wait_ends_with_its_time(worker: Worker) -> None:
    """A call that is never answered holds nobody for ever."""
    call = Call("get", "t", ())
    assert not wait_for(call, listen(call), 0.01)
    call.conclude(None)
    assert wait_for(call, listen(call), 0.0)
