"""What is peculiar to tasks in a file: what is on disk when, what comes back, and who may have the file."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest

from realtime import Realtime, concurrency
from realtime.config import Config
from realtime.errors import ConfigError, NotTheServer, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from realtime.registry import journal, open_registry, taskfile
from realtime.registry.backlog import Work
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import NewTask, Task, TaskFailure
from support.clock import Clock, Interrupting
from support.registries import Told
from support.remote import wait_until

PATIENCE = 30.0
LOST = "The job's worker went away and did not come back. Start it again."

Open = Callable[..., SqliteRegistry]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "tasks.db"


@pytest.fixture
def open_file(path: Path, clock: Clock) -> Iterator[Open]:
    """Opens the file again and again; who comes next closes it first."""
    opened: list[SqliteRegistry] = []

    def open_it(**settings: Any) -> SqliteRegistry:
        for registry in opened:
            registry.close()
        opened.append(SqliteRegistry(path, **{"clock": clock, **settings}))
        return opened[-1]

    yield open_it
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(open_file: Open) -> SqliteRegistry:
    return open_file()


class Gate:
    """Stands before the file: holds each write until `let` is called, or fails it with ``error``."""

    def __init__(self, registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        self._write = registry._file.write
        self._entered, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self.error: Exception | None = None
        self.shut = True
        #: The statements of each durable write.
        self.writes: list[list[taskfile.Statement]] = []
        monkeypatch.setattr(registry._file, "write", self._pass)

    def _pass(self, statements: Sequence[taskfile.Statement], *, durable: bool) -> None:
        statements = list(statements)
        if durable:
            self.writes.append(statements)
        if self.shut and durable:
            self._entered.release()
            assert self._go.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error
        self._write(statements, durable=durable)

    def wait_for_a_write(self) -> None:
        assert self._entered.acquire(timeout=PATIENCE)

    def let(self) -> None:
        """One write may go on, and all after it."""
        self.shut = False
        self._go.release()


@pytest.fixture
def gate(registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Before the file of `registry`, which has the task ``a`` in it."""
    registry.create(NewTask("a", "ada", total=10))
    made = Gate(registry, monkeypatch)
    yield made
    made.error = None
    made.let()


def beside(function: Callable[[], Any]) -> Callable[[], Any]:
    """Run a function on a thread; call what is returned for its result, or to have raised what it raised."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append((function(), None))
        except Exception as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        assert box, "the call has not returned"
        value, error = box[0]
        if error is not None:
            raise error
        return value

    return result


def until(condition: Callable[[], Any]) -> Any:
    """The first true value of a condition. AssertionError if it never is."""
    over, pause = time.monotonic() + PATIENCE, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < over
        pause.wait(0.005)
    return value


def read(path: Path, statement: str, *parameters: Any) -> list[Any]:
    """What another program reads in the file."""
    database = sqlite3.connect(path)
    try:
        return database.execute(statement, parameters).fetchall()
    finally:
        database.close()


# What comes back.


def test_what_has_ended_comes_back_as_it_was(open_file: Open, clock: Clock) -> None:
    """Every value of it, byte for byte, in the same epoch; and in pages that go on where they were."""
    registry = open_file()
    registry.create(NewTask("p", "ada"))
    registry.create(NewTask("a", "ada", ("team:7",), "Größe", total=200, unit="rows", metadata=b'{"k":[1]}', attempt=2,
                            retry_of="z", parent_id="p", cancellable=True))  # fmt: skip
    for step in range(5):
        clock.go(0.4)
        registry.update("a", "Reading\n\U0001f642", current=step * 1.5)
    registry.append_output("a", "output", "päpä\n".encode())
    registry.append_output("a", "log", b"one")
    registry.complete("a", b'{"rows":[1,2]}')
    registry.create(NewTask("b", None, ("team:7",), None, message=None))
    registry.fail("b", TaskFailure("ValueError", "bad", "bad_row", False, b'{"row":3.0}'))
    registry.create(NewTask("c", "ada", ("team:7",)))
    registry.fail("c", TaskFailure(None, "no", "failed", None, None))
    before = [registry.get(task_id) for task_id in "abc"]
    page, following = registry.list(user_id="ada", groups=("team:7",), limit=2)
    epoch = registry.epoch

    registry = open_file()
    assert [registry.get(task_id) for task_id in "abc"] == before
    assert [task.encode() for task in before if task] == [
        task.encode() for task_id in "abc" if (task := registry.get(task_id))
    ]
    assert registry.epoch == epoch
    assert [task.task_id for task in page] == ["c", "b"]
    rest, following = registry.list(user_id="ada", groups=("team:7",), limit=2, before=following)
    assert ([task.task_id for task in rest], following) == (["a", "p"], None)
    assert registry.output_ends("a") == {"output": 7, "log": 3}
    piece = registry.read_output("a", "output", 0, 7, 100)
    assert piece is not None
    assert piece.data == "päpä\n".encode()


def test_what_nobody_works_on_any_more_fails(open_file: Open, clock: Clock) -> None:
    """It says so, with the newest progress there was, in the same epoch, above all versions, and it is announced."""
    registry = open_file()
    registry.create(NewTask("a", "ada", total=10))
    registry.create(NewTask("b", "ada", status=registry.create(NewTask("p", "ada"))[0].status))
    newest = registry.update("a", "Reading", current=4)
    registry.append_output("a", "output", b"some lines\n")
    clock.go(2)
    registry = open_file()
    told = Told(registry)
    registry.open()
    task = registry.get("a")
    assert task is not None
    assert (task.status, task.progress.current, task.progress.message) == ("failed", 4, "Reading")
    assert task.as_dict()["error"] == {
        "type": None, "message": LOST, "code": "worker_lost", "retryable": True, "details": None,
    }  # fmt: skip
    assert task.version == max(newest.version + 1, int(clock.now * 1e6))
    assert task.output_size == 11
    assert [(change.task_id, created) for change, created in told.changes] == [("a", False), ("p", False), ("b", False)]
    assert registry.unfinished() == []
    again = open_file().get("a")
    assert again == task, "it ends once"


def test_a_lease_begins_anew_with_the_process(open_file: Open) -> None:
    """Its worker could not be heard meanwhile; if it is not heard now, the task is lost to it as ever."""
    registry = open_file()
    registry.create(NewTask("a", "ada"))
    registry.heartbeat("a", 4.0)
    registry = open_file()
    registry.open()
    ((_, heard, _),) = registry._leases._held.values()
    registry._leases._clock = monotonic = Clock(heard)
    for seconds in (0.0, 1.0, 2.0, 2.0):
        assert (registry.get("a") or pytest.fail("gone")).status == "processing"
        monotonic.go(seconds)
        registry.sweep()
    lost = registry.get("a")
    assert lost is not None
    assert lost.error is not None
    assert lost.error.code == "worker_lost"


def test_a_clock_that_stepped_back_does_not_take_versions_with_it(open_file: Open, clock: Clock) -> None:
    """An unfinished task, and an id that was removed, go on above what was stored, whatever the clock says."""
    registry = open_file()
    registry.create(NewTask("a", "ada"))
    newest = registry.update("a", "On")
    registry.create(NewTask("leased", "ada"))
    held = registry.heartbeat("leased", 3600.0)
    registry.create(NewTask("gone", "ada"))
    registry.complete("gone", None)
    removed = registry.remove("gone")
    clock.go(-1000)
    registry = open_file()
    lost, waits = registry.get("a"), registry.get("leased")
    assert lost is not None
    assert lost.version == newest.version + 1
    assert waits is not None
    assert (waits.status, waits.version) == ("processing", held.version + 1)
    assert registry.create(NewTask("gone", "ada"))[0].version > removed.version


def test_output_goes_on_from_its_tail(open_file: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long stream the tail is in the file, in pieces of what was new each time; what is before it leaves."""
    monkeypatch.setattr(journal, "INTERVAL", 0.001)
    registry = open_file(output_tail=1024)
    order = registry.create(NewTask("a", "ada"))[0].info.order
    sizes: list[list[int]] = []
    for number in range(40):
        end = registry.append_output("a", "output", f"line {number:03} é {'x' * 80}\n".encode())
        until(lambda end=end: registry._backlog._saved.get(order) == {"output": end})  # type: ignore[misc]
        sizes.append([size for (size,) in read(path, "SELECT length(data) FROM output")])
    assert {size for pieces in sizes for size in pieces} == {93}
    assert max(map(sum, sizes)) < 1024 + 93
    before = registry.read_output("a", "output", 0, 10**9, 10**9)
    registry = open_file(output_tail=1024)
    assert registry.read_output("a", "output", 0, 10**9, 10**9) == before
    assert registry.output_ends("a") == {"output": 40 * 93}


def test_output_without_its_task_does_not_stay(open_file: Open, path: Path) -> None:
    """An id was used anew, and its former task's output was still to go when the process was killed."""
    registry = open_file()
    for task_id in "ab":
        registry.create(NewTask(task_id, "ada"))
        registry.append_output(task_id, "output", b"line")
        registry.complete(task_id, None)
    registry.close()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM tasks WHERE task_id = 'a'")
    open_file().open()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT data FROM output").fetchall() == [(b"line",)]


def test_retention_and_bounds_hold_over_a_restart(open_file: Open, clock: Clock, path: Path) -> None:
    """What is over its time when the file is opened, and what is beyond a bound, leaves, the oldest end first."""
    registry = open_file(retention=60.0)
    for task_id in ("late", "first", "second", "third"):
        registry.create(NewTask(task_id, "ada"))
    for task_id in ("first", "second", "third"):
        registry.complete(task_id, None)
    clock.go(30)
    registry.complete("late", None)
    registry = open_file(retention=60.0, max_tasks=3)
    told = Told(registry)
    registry.open()
    assert told.ids == ["first"]
    clock.go(30)
    registry = open_file(retention=60.0)
    told = Told(registry)
    registry.open()
    assert told.ids == ["second", "third"]
    registry.close()
    assert read(path, "SELECT task_id FROM tasks") == [("late",)]


def test_an_id_that_was_evicted_can_be_used_at_once(open_file: Open) -> None:
    """Though its old row may still wait to leave the file."""
    registry = open_file(max_tasks=0)
    for _ in range(20):
        registry.create(NewTask("a", "ada"))
        registry.append_output("a", "output", b"text")
        registry.complete("a", None)
    registry = open_file()
    assert registry.list(user_id="ada", groups=(), limit=5) == ([], None)
    assert registry.create(NewTask("a", "ada"))[1]
    assert registry.output_ends("a") == {}


# What is on disk when.


def test_creation_end_and_removal_are_on_disk_when_they_return(registry: SqliteRegistry, path: Path) -> None:
    """Another program reads them at once; the end with all that was written before it."""
    registry.create(NewTask("a", "ada"))
    assert read(path, "SELECT task_id, status, version > 0 FROM tasks") == [("a", "processing", 1)]
    registry.append_output("a", "output", b"last words")
    registry.complete("a", b"7")
    assert read(path, "SELECT status, result FROM tasks") == [("completed", b"7")]
    assert read(path, "SELECT stream, start, data FROM output") == [("output", 0, b"last words")]
    removed = registry.remove("a")
    assert read(path, "SELECT count(*) FROM tasks") == read(path, "SELECT count(*) FROM output") == [(0,)]
    assert read(path, "SELECT floor FROM memory") == [(removed.version,)]


def test_durable_writes_are_synchronised_and_progress_is_not(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite is told so before each kind of transaction."""
    levels: list[tuple[bool, int]] = []
    transact = registry._file._transact

    def look(statements: Any) -> None:
        levels.append((registry._file._durable, registry._file._read("PRAGMA synchronous").fetchone()[0]))
        transact(statements)

    monkeypatch.setattr(registry._file, "_transact", look)
    registry.create(NewTask("a", "ada"))
    registry.update("a", "On")
    until(lambda: len(levels) == 2)
    registry.complete("a", None)
    assert levels == [(True, 2), (False, 1), (True, 2)]


def test_progress_is_written_behind_the_newest_only(registry: SqliteRegistry, path: Path) -> None:
    """Thousands of updates are a few rows, and the last one is soon in the file."""
    registry.create(NewTask("a", "ada"))
    for number in range(5000):
        registry.update("a", f"step {number}", advance=1)
    newest = registry.get("a")
    assert newest is not None
    until(lambda: read(path, "SELECT version, current FROM tasks") == [(newest.version, 5000)])


def test_what_is_written_behind_leaves_the_disk_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time: the longer one write took, the later comes the next; and at once, almost, if more is left."""
    now = Clock(100.0)
    monkeypatch.setattr("realtime.registry.journal.time", SimpleNamespace(monotonic=now))

    def pause(waits: int, took: float) -> float:
        """Seconds until the next one, where so many wait and one takes so long."""

        class File:
            def write(self, statements: Any, *, durable: bool) -> None:
                assert not durable
                now.go(took)

        class Waits:
            def take(self, most: int) -> list[Work]:
                return [Work([], lambda stored: None)] * min(most, waits)

        due = journal.Journal(File(), Waits())._write_behind()  # type: ignore[arg-type]
        return due - now.now

    many, share = journal.MOST, journal.SHARE
    assert [pause(0, 0.0), pause(1, 0.0)] == pytest.approx([journal.INTERVAL] * 2)
    assert [pause(1, 1.0), pause(many, 0.001), pause(many, 1.0)] == pytest.approx([1 / share, 0.001 / share, 1 / share])


def test_nothing_is_remembered_of_what_has_ended(registry: SqliteRegistry) -> None:
    """Of no task that ever was: neither that it has moved, nor how much of its output is in the file."""
    for number in range(5):
        registry.create(NewTask(f"t{number}", "ada"))
        registry.append_output(f"t{number}", "output", b"line")
        wait_until(lambda: registry._backlog.waits(), lambda waits: not waits)
        registry.update(f"t{number}", "On")
        registry.complete(f"t{number}", None)
    assert not registry._backlog._saved
    assert not registry._backlog.dirty
    assert not registry._staged


def test_nobody_sees_what_is_not_on_disk(registry: SqliteRegistry, gate: Gate) -> None:
    """While it is written, an end is neither read, listed nor told; then it is, once."""
    told = Told(registry)
    before = registry.get("a")
    ending = beside(lambda: registry.complete("a", b"1"))
    gate.wait_for_a_write()
    assert registry.get("a") == before
    assert [task.task_id for task in registry.unfinished()] == ["a"]
    assert told.changes == []
    gate.let()
    task = ending()
    assert registry.get("a") == task
    assert told.changes == [(task, False)]


def test_a_task_is_not_there_before_it_is_on_disk(registry: SqliteRegistry, gate: Gate) -> None:
    """Who asks for it meanwhile gets nothing; who creates it, too, waits, and learns of it."""
    told = Told(registry)
    first = beside(lambda: registry.create(NewTask("new", "ada"), exist_ok=True))
    gate.wait_for_a_write()
    second = beside(lambda: registry.create(NewTask("new", "ada"), exist_ok=True))
    assert registry.get("new") is None
    with pytest.raises(TaskNotFound):
        registry.update("new", "On")
    assert registry.list(user_id="ada", groups=(), limit=5)[0] == [registry.get("a")]
    gate.let()
    assert first()[1]
    assert second() == (first()[0], False)
    assert told.changes == [(first()[0], True)]


@pytest.mark.parametrize(
    "change",
    [
        lambda registry: registry.update("a", "On"),
        lambda registry: registry.append_output("a", "output", b"On"),
        lambda registry: registry.fail("a", TaskFailure(None, "no", "failed")),
        lambda registry: registry.update_many([("a", "On", None, None, None, None, None, None)])[0],
    ],
)
def test_what_comes_while_an_end_is_written_comes_after_it(
    registry: SqliteRegistry, gate: Gate, change: Callable[[SqliteRegistry], Any]
) -> None:
    """It waits, and is told that the task has ended."""
    ending = beside(lambda: registry.complete("a", None))
    gate.wait_for_a_write()
    late = beside(lambda: change(registry))
    gate.let()
    ended = ending()
    try:
        answer = late()
    except TaskAlreadyFinished as error:
        answer = error
    assert isinstance(answer, TaskAlreadyFinished)
    assert registry.get("a") == ended


def test_a_sweep_does_not_wait_for_an_end(registry: SqliteRegistry, gate: Gate) -> None:
    """What runs on the hub's thread goes on: a stall is no news of a task that ends, and is not evicted either."""
    ending = beside(lambda: registry.complete("a", None))
    gate.wait_for_a_write()
    assert registry.stall("a", 1.0) == registry.get("a")
    assert registry.expire() == []
    gate.let()
    assert ending().finished


def test_threads_share_a_write(registry: SqliteRegistry, gate: Gate) -> None:
    """All that comes while the disk is busy is one transaction."""
    first = beside(lambda: registry.create(NewTask("first", "ada")))
    gate.wait_for_a_write()
    others = [beside(lambda number=number: registry.create(NewTask(f"t{number}", "ada"))) for number in range(20)]  # type: ignore[misc]
    until(lambda: len(registry._journal._queue) == 20)
    gate.let()
    assert all(other()[1] for other in [first, *others])
    assert len(gate.writes) == 2


# What fails.


@pytest.mark.parametrize(
    "change",
    [
        lambda registry: registry.create(NewTask("new", "ada")),
        lambda registry: registry.complete("a", b"1"),
        lambda registry: registry.remove("done"),
    ],
)
def test_what_cannot_be_stored_changes_nothing(
    open_file: Open, path: Path, change: Callable[[SqliteRegistry], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the file: it raises, names the file, tells nothing; and is done when the file is free."""
    monkeypatch.setattr(taskfile, "BUSY_TIMEOUT", 0.05)
    registry = open_file()
    registry.create(NewTask("a", "ada"))
    registry.create(NewTask("done", "ada"))
    registry.complete("done", None)
    told = Told(registry)
    before = registry.list(user_id="ada", groups=(), limit=9)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegistryUnavailable, match=r"tasks\.db: database is locked"):
        change(registry)
    assert registry.list(user_id="ada", groups=(), limit=9) == before
    assert (told.changes, told.removed) == ([], [])
    other.execute("ROLLBACK")
    other.close()
    change(registry)
    assert len(told.changes) + len(told.removed) == 1


def test_progress_goes_on_without_the_disk(
    registry: SqliteRegistry, gate: Gate, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is accepted, told and kept; the log has it once; and it is written when the disk is back."""
    caplog.set_level(logging.WARNING)
    told = Told(registry)
    gate.shut = False
    gate.error = sqlite3.OperationalError("database or disk is full")
    assert registry.update("a", "On", current=4).progress.current == 4
    registry.append_output("a", "output", b"text")
    assert len(told.changes) == 1
    until(lambda: registry._journal.problem)
    for _ in range(2):
        registry.expire()
    with pytest.raises(RegistryUnavailable, match="cannot be written now"):
        registry.check()
    gate.error = None
    until(lambda: read(path, "SELECT message, current FROM tasks") == [("On", 4)])
    assert read(path, "SELECT data FROM output") == [(b"text",)]
    until(lambda: registry._journal.problem is None)
    registry.check()
    registry.expire()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["database or disk is full", ""]


def is_ready(registry: SqliteRegistry) -> bool:
    with contextlib.suppress(RegistryUnavailable):
        registry.check()
        return True
    return False


def test_a_full_disk_is_said_until_it_has_room(
    registry: SqliteRegistry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a change was refused the file cannot be written, whatever small things still fit into it; nobody has to
    make a change to find out that it can be written again."""
    monkeypatch.setattr(journal, "RETRY", 0.05)
    registry.create(NewTask("a", "ada"))
    tries: list[int] = []
    try_room = registry._file.try_room

    def noted(size: int) -> None:
        tries.append(size)
        try_room(size)

    monkeypatch.setattr(registry._file, "try_room", noted)
    database = registry._file._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    assert is_ready(registry)
    with pytest.raises(RegistryUnavailable, match="database or disk is full"):
        registry.create(NewTask("big", "ada", metadata=b'{"text": "%s"}' % (b"x" * 16_000)))
    assert not is_ready(registry)
    registry.update("a", "Small")
    until(lambda: read(path, "SELECT message FROM tasks") == [("Small",)])
    until(lambda: len(tries) > 2)
    assert not is_ready(registry)
    database.execute(f"PRAGMA max_page_count = {2**30}")
    until(lambda: is_ready(registry))
    assert read(path, "SELECT count(*) FROM output") == [(0,)]
    until(lambda: registry._journal.asleep)


def test_a_change_that_is_stored_says_that_there_is_room(
    registry: SqliteRegistry, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, before the disk is tried."""
    monkeypatch.setattr(journal, "RETRY", 1e6)
    gate.shut = False
    gate.error = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(RegistryUnavailable):
        registry.create(NewTask("b", "ada"))
    assert not is_ready(registry)
    gate.error = None
    registry.create(NewTask("b", "ada"))
    assert is_ready(registry)


def test_a_change_that_no_disk_would_take_says_nothing_of_it(registry: SqliteRegistry) -> None:
    """It is at fault itself."""
    with pytest.raises(RegistryUnavailable):
        registry.create(NewTask("bad", "ada", attempt=2**70))
    assert is_ready(registry)


def test_progress_that_has_left_is_not_waited_for(registry: SqliteRegistry, gate: Gate) -> None:
    """It could not be written, and then its task has ended: that is over when the disk has room."""
    gate.shut = False
    gate.error = sqlite3.OperationalError("database or disk is full")
    registry.update("a", "On", current=4)
    until(lambda: registry._journal.problem)
    gate.error = None
    registry.complete("a", None)
    until(lambda: is_ready(registry))


def test_one_bad_value_is_one_failure(registry: SqliteRegistry, gate: Gate) -> None:
    """What SQLite cannot take fails its own change, and none that are written with it."""
    first = beside(lambda: registry.create(NewTask("first", "ada")))
    gate.wait_for_a_write()
    bad = beside(lambda: registry.create(NewTask("bad", "ada", attempt=2**70)))
    until(lambda: len(registry._journal._queue) == 1)
    good = beside(lambda: registry.create(NewTask("good", "ada")))
    until(lambda: len(registry._journal._queue) == 2)
    gate.let()
    assert first()[1]
    assert good()[1]
    with pytest.raises(RegistryUnavailable, match="bad"):
        bad()
    assert registry.get("bad") is None


def test_one_bad_row_does_not_hold_up_the_others(registry: SqliteRegistry, path: Path) -> None:
    """Progress that SQLite cannot take is left out; that of other tasks is written."""
    for task_id in "ab":
        registry.create(NewTask(task_id, "ada"))
    with registry._lock:  # so that both are written together
        registry.update("a", current=2**70)
        registry.update("b", "On")
    until(lambda: read(path, "SELECT message FROM tasks WHERE task_id = 'b'") == [("On",)])


def test_after_closing_nothing_is_stored(registry: SqliteRegistry) -> None:
    """Who comes late is told, and does not wait for ever."""
    registry.create(NewTask("a", "ada"))
    registry.close()
    with pytest.raises(RegistryUnavailable, match="closed"):
        registry.complete("a", None)


# Threads that must not wait.


def test_a_thread_that_may_not_wait_goes_on(registry: SqliteRegistry, gate: Gate) -> None:
    """The change is made and told by another thread; `settled` says when."""
    told = Told(registry)
    registry.may_wait = lambda: False
    task = registry.complete("a", b"1")
    assert task.finished
    gate.wait_for_a_write()
    assert not registry.settled()
    assert told.changes == []
    with pytest.raises(RegistryUnavailable):
        registry.update("a", "On")
    gate.let()
    until(lambda: told.changes)
    assert told.changes == [(task, False)]
    assert registry.settled()


def test_the_log_has_what_nobody_waited_for(
    registry: SqliteRegistry, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """A change that was not stored, and whose maker has gone on, is told at the next sweep; and it is to be told before
    all seems to be settled, when a process may end."""
    seen: list[bool] = []

    class Complaints(list[str]):
        def append(self, text: str) -> None:
            seen.append(registry.settled())
            super().append(text)

    registry._staging.complaints = Complaints()
    gate.error = sqlite3.OperationalError("disk I/O error")
    registry.may_wait = lambda: False
    registry.complete("a", b"1")
    gate.wait_for_a_write()
    gate.let()
    until(registry.settled)
    registry.expire()
    assert caplog.messages == ["A change of the task a was not stored: disk I/O error"]
    assert seen == [False]
    task = registry.get("a")
    assert task is not None
    assert not task.finished


@pytest.mark.parametrize(
    "call",
    [
        lambda registry: registry.update("a", "On"),
        lambda registry: registry.complete("a", None),
        lambda registry: registry.create(NewTask("c", "ada")),
        lambda registry: registry.expire(),
        lambda registry: registry.append_output("a", "output", b"text") and registry.start("a"),
    ],
)
def test_a_finalizer_in_the_middle_of_a_change_does_not_wedge(
    open_file: Open, call: Callable[[SqliteRegistry], Any]
) -> None:
    """It may end another task or create one; both changes are stored and told."""
    clock = Interrupting()
    registry = open_file(clock=clock)
    for task_id in "ab":
        registry.create(NewTask(task_id, "ada"))
    told = Told(registry)

    def finalizer() -> None:
        registry.fail("b", TaskFailure(None, "abandoned", "abandoned"))
        registry.create(NewTask("d", "ada"))

    clock.what = finalizer
    beside(lambda: call(registry))()
    until(registry.settled)
    until(lambda: {task.task_id for task, _ in told.changes} >= {"b", "d"})
    ended = open_file().get("b")
    assert ended is not None
    assert ended.error == TaskFailure(None, "abandoned", "abandoned")


def test_a_finalizer_that_ends_the_same_task_wins(open_file: Open) -> None:
    """The change that it interrupts comes after the end."""
    clock = Interrupting()
    registry = open_file(clock=clock)
    registry.create(NewTask("a", "ada"))
    clock.what = lambda: registry.complete("a", b"1")
    with pytest.raises(TaskAlreadyFinished):
        beside(lambda: registry.fail("a", TaskFailure(None, "no", "failed")))()
    task = until(lambda: (task := registry.get("a")) and task.finished and task)
    assert task.result == 1


def test_a_finalizer_on_the_journals_thread_does_not_wait_for_itself(
    registry: SqliteRegistry, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector may run anywhere; there, too."""
    registry_settle = registry._settle
    called: list[bool] = []
    gate.shut = False

    def settle() -> None:
        if registry._journal.is_here() and not called:
            called.append(True)
            registry.complete("a", b"1")
        registry_settle()

    monkeypatch.setattr(registry, "_settle", settle)
    registry.create(NewTask("b", "ada"))
    until(lambda: (task := registry.get("a")) and task.finished)


def test_an_interrupted_wait_does_not_take_the_news_away(
    registry: SqliteRegistry, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the disk works: the change is made all the same, and told once."""
    told = Told(registry)

    def interrupted(change: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(journal.Entry, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.complete("a", b"1")
    gate.wait_for_a_write()
    assert told.changes == []
    gate.let()
    until(lambda: told.changes)
    assert told.changes == [(registry.get("a"), False)]


# Who has the file.


def test_a_new_file_and_what_lies_beside_it_are_its_owners_alone(registry: SqliteRegistry, path: Path) -> None:
    registry.create(NewTask("a", "ada"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("tasks.db", "tasks.db-lock", "tasks.db-shm", "tasks.db-wal"), 0o600)


def test_a_file_that_is_there_keeps_its_mode(open_file: Open, path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    path.chmod(0o640)
    open_file().open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nothing_is_opened_before_the_first_use(path: Path) -> None:
    """To load an app, to sweep, to adopt and to close touch nothing."""
    registry = SqliteRegistry(path)
    registry.on_change = lambda task, created: None
    assert registry.expire() == []
    assert registry.settled()
    registry.adopt()
    registry.close()
    assert not path.parent.exists()
    assert not hasattr(registry, "_nothing")


def test_one_owner_at_a_time(registry: SqliteRegistry, path: Path, tmp_path: Path) -> None:
    """A second one is refused, by another name of the file too, with the file and the process named; when the first
    lets go, it may have it."""
    epoch = registry.epoch
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        second = SqliteRegistry(name)
        with pytest.raises(ConfigError, match=rf"tasks\.db belongs to another server \(process {os.getpid()}\)"):
            second.create(NewTask("a", "ada"))
    registry.close()
    assert second.epoch == epoch
    second.close()


OWNER = """
import os, subprocess, sys
from pathlib import Path
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import NewTask

registry = SqliteRegistry(Path(sys.argv[1]))
registry.create(NewTask("a", "ada"))
if os.fork() == 0:  # it outlives us, as a worker of multiprocessing may
    print(os.getpid(), flush=True)  # now it has let go of the lock
    os.close(1)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_the_lock_dies_with_its_process(path: Path, root: Path) -> None:
    """Another process is refused; after kill -9 it is not, though a child of the dead one lives on."""
    command = [sys.executable, "-c", OWNER, str(path)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        try:
            second = SqliteRegistry(path)
            with pytest.raises(ConfigError, match=rf"process {owner.pid}\)"):
                second.open()
            owner.send_signal(signal.SIGKILL)
            owner.wait()
            os.kill(child, 0)
            task = second.get("a")
            assert task is not None
            assert task.error is not None
            assert task.error.code == "worker_lost"
            second.close()
        finally:
            os.kill(child, signal.SIGKILL)


EXIT = """
import sys
from pathlib import Path
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import NewTask

registry = SqliteRegistry(Path(sys.argv[1]))
registry.create(NewTask("a", "ada"))
registry.update("a", "On the way", advance=3)
"""


def test_a_process_that_ends_by_itself_loses_no_progress(path: Path, root: Path) -> None:
    """What waited to be written is, before it is gone."""
    subprocess.run([sys.executable, "-c", EXIT, str(path)], cwd=root, check=True, timeout=60)
    assert read(path, "SELECT message, current FROM tasks") == [("On the way", 3)]


def test_a_registry_that_nobody_holds_lets_go_of_its_file(path: Path) -> None:
    """A test suite makes many apps."""
    registry = SqliteRegistry(path)
    registry.create(NewTask("a", "ada"))
    end = registry._journal._end
    del registry
    assert end.wait(PATIENCE)
    other = SqliteRegistry(path)
    other.open()
    other.close()


def test_a_forked_child_has_nothing_of_the_file(registry: SqliteRegistry) -> None:
    """Its changes raise; if viewers come to it, it is refused the file; and the parent goes on."""
    registry.create(NewTask("a", "ada"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with pytest.raises(NotTheServer, match="sqlite:///"):
                registry.update("a", "On")
            registry.adopt()
            with pytest.raises(ConfigError, match=f"process {os.getppid()}"):
                registry.get("a")
            registry.close()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert registry.complete("a", None).finished


def test_a_child_of_who_has_closed_the_file_loses_nothing_else(registry: SqliteRegistry) -> None:
    """The descriptor of its lock is another's by then."""
    registry.create(NewTask("a", "ada"))
    number = registry._file._lock
    registry.close()
    with contextlib.ExitStack() as opened:
        files: list[int] = []
        while max(files, default=0) < number:  # the lowest that is free is given out
            files.append(os.open(os.devnull, os.O_RDONLY))
            opened.callback(os.close, files[-1])
        assert number in files
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.fstat(number)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_of_who_has_opened_nothing_may_have_the_file(path: Path) -> None:
    """A server that loads the app and then forks."""
    registry = SqliteRegistry(path)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            registry.create(NewTask("a", "ada"))
            registry.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert registry.get("a") is not None
    registry.close()


# What is no file of tasks.


def test_a_new_file_is_a_new_memory(open_file: Open, path: Path) -> None:
    """Viewers of the lost one must not take it for that."""
    epoch = open_file().epoch
    registry = open_file()
    assert registry.epoch == epoch
    registry.close()
    for file in path.parent.iterdir():
        file.unlink()
    assert open_file().epoch != epoch


def test_what_is_no_file_of_tasks_is_left_alone(path: Path) -> None:
    """Garbage, the database of an app and a file of a later version are refused by name, and are not changed."""
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE customer (id)")
    database.close()
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"tasks\.db is a database of something else"):
            SqliteRegistry(path).open()
    assert path.read_bytes() == before
    path.write_bytes(b"garbage " * 1000)
    with pytest.raises(ConfigError, match=r"tasks\.db is damaged, or no file of tasks .*tasks\.db-wal"):
        SqliteRegistry(path).open()
    assert path.read_bytes() == b"garbage " * 1000
    path.unlink()
    registry = SqliteRegistry(path)
    registry.open()
    registry.close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {taskfile.SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(ConfigError, match="newer version"):
        SqliteRegistry(path).open()


def test_a_file_of_an_earlier_version_is_brought_up_to_date(path: Path) -> None:
    """What it lacks is added when it is opened; its tasks stay, and take what is new."""
    registry = SqliteRegistry(path)
    registry.create(NewTask("old"))
    registry.complete("old", None)
    registry.close()
    database = sqlite3.connect(path)
    for column in taskfile._ADDED:
        database.execute(f"ALTER TABLE tasks DROP COLUMN {column.split()[0]}")
    database.execute("PRAGMA user_version = 1")
    database.close()
    for _ in range(2):
        registry = SqliteRegistry(path)
        old = registry.get("old")
        assert old is not None
        assert (old.status, old.cancel_acknowledged_at) == ("completed", None)
        registry.create(NewTask("new"), exist_ok=True)
        registry.request_cancel("new")
        assert registry.acknowledge_cancel("new").cancel_acknowledged_at is not None
        registry.cancel("new")
        registry.remove("new")
        registry.close()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (taskfile.SCHEMA_VERSION,)
    database.close()


@pytest.mark.parametrize(
    "damage",
    ["status = 'lost'", "pace = '[1]'", "groups = 'x'", "metadata = NULL", "error = '{}'", "created = 'then'"],
)
def test_a_damaged_row_is_told(open_file: Open, path: Path, damage: str) -> None:
    """The file is not opened half; the error names it."""
    registry = open_file()
    registry.create(NewTask("a", "ada"))
    registry.fail("a", TaskFailure(None, "no", "failed"))
    registry.close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA writable_schema = 1")
    database.execute("UPDATE sqlite_master SET sql = replace(sql, 'metadata BLOB NOT NULL', 'metadata BLOB')")
    database.commit()
    database.close()
    database = sqlite3.connect(path)
    database.execute(f"UPDATE tasks SET {damage}")
    database.commit()
    database.close()
    with pytest.raises(ConfigError, match=r"tasks\.db is damaged"):
        SqliteRegistry(path).open()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As something that may pass."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryUnavailable, match="cannot be opened"):
        SqliteRegistry(tmp_path / "file" / "tasks.db").open()


# The configuration.


def test_an_app_has_its_file_in_its_instance_folder(tmp_path: Path) -> None:
    """It is made at the first task, and the hub's thread is the concurrency's to tell."""
    app = flask.Flask("instance", instance_path=str(tmp_path / "instance"))
    app.config["REALTIME_REGISTRY"] = "sqlite:///tasks.db"
    rt = Realtime(app)
    assert not (tmp_path / "instance").exists()
    rt.create_task("a", "ada")
    assert read(tmp_path / "instance" / "tasks.db", "SELECT task_id FROM tasks") == [("a",)]
    assert rt.registry.may_wait == rt.concurrency.may_wait
    rt.registry.close()


def test_only_the_hub_thread_of_our_own_server_may_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a server of the host's, views run on it, and what they are told is done must be done."""
    eventlet_mode = concurrency.EventletConcurrency(4)
    here = True
    monkeypatch.setattr(eventlet_mode, "on_hub", lambda: here)
    assert eventlet_mode.may_wait()
    monkeypatch.setattr(concurrency, "_server_mode", "eventlet")
    assert not eventlet_mode.may_wait()
    here = False
    assert eventlet_mode.may_wait()
    assert concurrency.ThreadingConcurrency().may_wait()


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:///tasks.db", "/instance/tasks.db"),
        ("sqlite:///a/b.db", "/instance/a/b.db"),
        ("sqlite:////srv/x.db", "/srv/x.db"),
    ],
)
def test_an_address_is_a_path(address: str, path: str) -> None:
    """Three slashes: in the app's instance folder; four: from the root. As Flask-SQLAlchemy has it."""
    registry = open_registry(Config(registry=address), Path("/instance"))
    assert isinstance(registry, SqliteRegistry)
    assert registry._path == Path(path)


@pytest.mark.parametrize(
    "address",
    [
        "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:tasks.db", "sqlite:///tasks.db?mode=ro",
        "sqlite:///folder/", "sqlite://host/tasks.db",
    ],
)  # fmt: skip
def test_an_address_that_is_no_file_is_an_error(address: str) -> None:
    """It shows how one is written."""
    with pytest.raises(ConfigError, match=r"'sqlite:///tasks\.db'"):
        open_registry(Config(registry=address))


def test_it_is_opened_with_the_bounds_of_the_configuration(tmp_path: Path) -> None:
    """As the registry in memory is."""
    registry = open_registry(Config(registry="sqlite:///tasks.db", max_tasks_per_user=2, output_tail=1024), tmp_path)
    for task_id in "abc":
        registry.create(NewTask(task_id, "ada"))
        registry.append_output(task_id, "output", b"x" * 2000)
        registry.complete(task_id, None)
    assert [task.task_id for task in registry.list(user_id="ada", groups=(), limit=9)[0]] == ["c", "b"]
    piece = registry.read_output("c", "output", 0, 9999, 9999)
    assert piece is not None
    assert len(piece.data) == 1024
    registry.close()


def test_the_record_is_written_whole() -> None:
    """Every field of a task, and of what it shares, has its place in a row: a new one needs a column."""
    named = set(taskfile._FIXED + taskfile._CHANGING)
    renamed = {"order": "ord", "metadata_json": "metadata", "result_json": "result"}
    made_of_others = {"info", "kin", "finished", "epoch", "head", "middle", "foot"}
    info = _task()
    fields = {*Task.__struct_fields__, *info.__struct_fields__, *info.kin.__struct_fields__} - made_of_others
    assert {renamed.get(field, field) for field in fields} == named - {"ended"}


def _task() -> Any:
    registry = open_registry(Config())
    return registry.create(NewTask("a", "ada"))[0].info
