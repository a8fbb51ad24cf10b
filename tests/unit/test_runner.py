"""`Runner` and `Job`: functions that run as tasks on a bounded pool, and what becomes of them when the server stops."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from realtime.config import Config
from realtime.errors import (
    InvalidValue,
    NotTheServer,
    RegistryUnavailable,
    ServerStopping,
    TaskCancelled,
    TaskError,
    TaskExists,
)
from realtime.handle import ABANDONED, SERVER_STOPPED, Handle
from realtime.heart import Heart
from realtime.operations import NOBODY, Operations
from realtime.registry.memory import MemoryRegistry
from realtime.runner import Job, Runner
from realtime.task import Task, TaskStatus

CANCELLED, COMPLETED, FAILED = TaskStatus.CANCELLED, TaskStatus.COMPLETED, TaskStatus.FAILED
PENDING, PROCESSING = TaskStatus.PENDING, TaskStatus.PROCESSING

#: Seconds after which a test gives up on a thread; nothing that works comes near.
PATIENCE = 30

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="nothing")


class Bench:
    """A pool without threads: what was submitted runs when the test says so, here."""

    def __init__(self, size: int = 1, name: str = "") -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


class Rows:
    """What a job may be given; an object that can be seen to be gone."""


class Gate:
    """A job that tells when it has begun, and goes on when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, task: Handle) -> str:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return "through"


@pytest.fixture
def operations() -> Operations:
    return Operations(MemoryRegistry(), Config(), lambda: None)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def runner(operations: Operations, bench: Bench) -> Runner:
    """A runner whose jobs run when ``bench.run()`` is called."""
    return Runner(operations, threads=1, pool=lambda size, name: bench)


@pytest.fixture
def ended(operations: Operations) -> Callable[[str], Task]:
    """A function that waits for the end of a task and returns its last snapshot."""
    changed = threading.Condition()

    def tell(task: Task, created: bool) -> None:
        with changed:
            changed.notify_all()

    operations.registry.on_change = tell

    def wait(task_id: str) -> Task:
        with changed:
            assert changed.wait_for(lambda: operations.require(task_id).finished, PATIENCE)
        return operations.require(task_id)

    return wait


def nothing(task: Handle) -> None:
    """A job that has nothing to do."""


# Running.


def test_a_job_waits_as_pending_runs_and_completes(operations: Operations, runner: Runner, bench: Bench) -> None:
    """The first snapshot is pending and may be cancelled; what the function returns is the result."""
    seen = []

    def export(task: Handle, year: int, *, kind: str) -> dict[str, Any]:
        seen.append(task.snapshot)
        return {"year": year, "kind": kind}

    first = runner.start(export, 2026, user_id=7, name="Export 2026", task_id="t", kwargs={"kind": "csv"})
    assert (first.status, first.progress.message, first.cancellable) == (PENDING, None, True)
    assert (first.task_id, first.user_id, first.name) == ("t", "7", "Export 2026")
    bench.run()
    (during,) = seen
    assert (during.status, during.progress.message) == (PROCESSING, "Starting...")
    last = operations.require("t")
    assert (last.status, last.result) == (COMPLETED, {"year": 2026, "kind": "csv"})


def test_a_job_has_what_create_task_takes(operations: Operations, runner: Runner) -> None:
    """Total, unit, metadata, groups and an owner that is nobody reach the task."""
    task = runner.start(nothing, user_id=NOBODY, total=3, unit="rows", metadata={"a": 1}, groups=("team:7",))
    assert (task.user_id, task.groups, task.metadata) == (None, ("team:7",), {"a": 1})
    assert (task.progress.total, task.progress.unit) == (3, "rows")


def export_invoices(task: Handle, year: int = 0) -> int:
    return year


def _private(task: Handle) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (export_invoices, "Export invoices"),
        (functools.partial(export_invoices, year=2026), "Export invoices"),
        (_private, "Private"),
        (lambda task: None, None),
        (Gate(), None),
    ],
    ids=["function", "partial", "underscore", "lambda", "object"],
)
def test_a_job_is_called_after_its_function(runner: Runner, function: Callable[..., Any], name: str | None) -> None:
    """Without a name the task gets the function's, in words; what has none stays without."""
    assert runner.start(function, user_id=7).name == name


def test_a_name_that_is_too_long_for_a_task_is_cut(runner: Runner) -> None:
    """A function may be called what it likes."""

    def job(task: Handle) -> None: ...

    job.__name__ = "x" * 500
    assert runner.start(job, user_id=7).name == "X" + "x" * 199


def test_a_third_job_waits_until_one_of_two_threads_is_free(
    operations: Operations, ended: Callable[[str], Task]
) -> None:
    """With two threads two jobs run, the third stays pending; it runs when one of them is done."""
    runner = Runner(operations, threads=2)
    first, second, third = gates = [Gate(), Gate(), Gate()]
    ids = [runner.start(gate, user_id=7).task_id for gate in gates]
    try:
        assert first.begun.wait(PATIENCE)
        assert second.begun.wait(PATIENCE)
        assert runner.running() == 2
        assert not third.begun.is_set()
        assert operations.require(ids[2]).status is PENDING
        second.go.set()
        assert third.begun.wait(PATIENCE)
        assert operations.require(ids[2]).status is PROCESSING
        assert operations.require(ids[0]).status is PROCESSING
    finally:
        for gate in gates:
            gate.go.set()
    assert [ended(task_id).result for task_id in ids] == ["through"] * 3


def test_jobs_run_on_threads_that_the_process_does_not_wait_for(
    operations: Operations, ended: Callable[[str], Task]
) -> None:
    """A job's thread is another than the caller's, is a daemon, and its name says what it is for."""
    threads = []
    runner = Runner(operations, threads=1)
    ended(runner.start(lambda task: threads.append(threading.current_thread()), user_id=7).task_id)
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name.startswith("realtime-job")


def test_nothing_starts_before_the_first_job(operations: Operations) -> None:
    """The pool is made with the first job, of as many threads as were asked for."""
    made = []

    def pool(size: int, name: str) -> Bench:
        made.append(size)
        return Bench()

    runner = Runner(operations, threads=5, pool=pool)
    assert (made, runner.running()) == ([], 0)
    runner.start(nothing, user_id=7)
    runner.start(nothing, user_id=7)
    assert made == [5]


def test_running_counts_what_has_a_thread(runner: Runner, bench: Bench) -> None:
    """A job counts while it runs; not while it waits, and not afterwards."""
    counts = []
    runner.start(lambda task: counts.append(runner.running()), user_id=7)
    runner.start(nothing, user_id=7)
    assert runner.running() == 0
    bench.run()
    assert (counts, runner.running()) == ([1], 0)


def test_what_a_job_was_given_is_let_go_when_it_has_ended(runner: Runner, bench: Bench) -> None:
    """Nobody holds on to the arguments of a job that is done, in the pool or in the runner."""
    rows = Rows()
    gone = weakref.ref(rows)
    runner.start(lambda task, rows: None, rows, user_id=7)
    del rows
    assert gone() is not None
    bench.run()
    gc.collect()
    assert gone() is None


# How a job ends.


def end_of(runner: Runner, bench: Bench, operations: Operations, job: Callable[[Handle], Any]) -> Task:
    task_id = runner.start(job, user_id=7).task_id
    bench.run()
    return operations.require(task_id)


def test_an_exception_fails_the_job(
    operations: Operations, runner: Runner, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives on, the page gets the message, the log the traceback, once."""

    def job(task: Handle) -> None:
        raise ValueError("row 3: no date")

    last = end_of(runner, bench, operations, job)
    assert last.error is not None
    assert (last.status, last.error.type, last.error.message) == (FAILED, "ValueError", "row 3: no date")
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TaskError("No.", code="bad_row"), FAILED, "bad_row"),
        (TaskCancelled(), CANCELLED, None),
        (KeyboardInterrupt(), CANCELLED, None),
        (SystemExit(1), FAILED, ABANDONED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_job_ends_as_a_block_does(
    operations: Operations, runner: Runner, bench: Bench, error: BaseException, status: TaskStatus, code: str | None
) -> None:
    """Whatever a job raises ends its task, and nothing of it reaches the pool's thread."""

    def job(task: Handle) -> None:
        raise error

    last = end_of(runner, bench, operations, job)
    assert (last.status, last.error and last.error.code) == (status, code)
    assert runner.running() == 0


def test_a_result_that_json_cannot_take_fails_the_job(operations: Operations, runner: Runner, bench: Bench) -> None:
    """The message names the place in the result."""
    last = end_of(runner, bench, operations, lambda task: {"scores": [1, 2, object()]})
    assert last.error is not None
    assert last.status is FAILED
    assert "result.scores[2]" in last.error.message


def test_a_result_that_is_too_long_fails_the_job(runner: Runner, bench: Bench, operations: Operations) -> None:
    """The message names the bound."""
    last = end_of(runner, bench, operations, lambda task: "x" * 300_000)
    assert last.error is not None
    assert "262144" in last.error.message


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda task: task.complete("mine"), COMPLETED),
        (lambda task: task.fail("No."), FAILED),
        (lambda task: task.cancel(), CANCELLED),
    ],
    ids=["complete", "fail", "cancel"],
)
def test_an_end_that_the_job_has_said_stays(
    operations: Operations, runner: Runner, bench: Bench, end: Callable[[Handle], Task], status: TaskStatus,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """What the function returns afterwards changes nothing, and that is no error."""

    def job(task: Handle) -> str:
        end(task)
        return "other"

    last = end_of(runner, bench, operations, job)
    assert last.status is status
    assert last.result == ("mine" if status is COMPLETED else None)
    assert caplog.records == []


def test_a_job_that_is_cancelled_while_it_waits_never_runs(
    operations: Operations, runner: Runner, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A pending task ends at once; when its turn comes, the function is not called."""
    ran = []
    task_id = runner.start(lambda task: ran.append(True), user_id=7).task_id
    assert operations.cancel_task(task_id).status is CANCELLED
    bench.run()
    assert ran == []
    assert operations.require(task_id).started_at is None
    assert caplog.records == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_job_that_has_ended_otherwise_while_it_waits_never_runs(
    operations: Operations, runner: Runner, bench: Bench, gone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The same for a task that somebody has failed, and for one that has been removed since."""
    ran = []
    task_id = runner.start(lambda task: ran.append(True), user_id=7).task_id
    operations.fail_task(task_id, "No longer wanted")
    if gone:
        operations.remove_task(task_id)
    bench.run()
    assert ran == []
    assert caplog.records == []


def test_a_job_that_is_cancelled_while_it_runs_stops_at_its_next_update(
    operations: Operations, ended: Callable[[str], Task]
) -> None:
    """The request comes from another thread; TaskCancelled ends the function, and the task."""
    runner = Runner(operations, threads=1)
    gate = Gate()
    after = []

    def job(task: Handle) -> None:
        gate(task)
        task.update("One more")
        after.append(True)

    task_id = runner.start(job, user_id=7).task_id
    assert gate.begun.wait(PATIENCE)
    assert operations.cancel_task(task_id).status is PROCESSING
    gate.go.set()
    assert ended(task_id).status is CANCELLED
    assert after == []


def test_a_job_that_cannot_be_started_in_the_store_fails(
    operations: Operations, runner: Runner, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store is away when its turn comes, the function does not run and the task does not wait for ever."""

    def away(task_id: str) -> Task:
        raise RegistryUnavailable("The store is away.")

    ran = []
    task_id = runner.start(lambda task: ran.append(True), user_id=7).task_id
    monkeypatch.setattr(operations.registry, "start", away)
    bench.run()
    last = operations.require(task_id)
    assert last.error is not None
    assert (ran, last.status, last.error.message) == ([], FAILED, "The store is away.")


def test_a_job_leaves_alone_who_has_got_its_id_since(operations: Operations, runner: Runner, bench: Bench) -> None:
    """A task is ended and cleared over its job's head, and started again: the old job does not end the new one."""

    def slow(task: Handle) -> str:
        operations.fail_task("t", "Taken too long")
        operations.remove_task("t")
        runner.start(nothing, user_id=7, task_id="t")
        return "old"

    runner.start(slow, user_id=7, task_id="t")
    bench.waiting.pop(0)()
    assert operations.require("t").status is PENDING
    runner.stop()  # it still knows the new one
    last = operations.require("t")
    assert last.error is not None
    assert last.error.code == SERVER_STOPPED


# What is refused, where it is written.


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'year'"),
        ((2026, 1), {}, "too many positional arguments"),
        ((2026,), {"kind": "csv"}, "unexpected keyword argument 'kind'"),
    ],
)
def test_arguments_that_the_function_does_not_take_are_refused(
    operations: Operations, runner: Runner, args: tuple[int, ...], kwargs: dict[str, str], problem: str
) -> None:
    """The caller gets the TypeError, and there is no task."""

    def export(task: Handle, year: int) -> None: ...

    with pytest.raises(TypeError, match=rf"export\(task, …\): .*{problem}"):
        runner.start(export, *args, user_id=7, kwargs=kwargs)
    assert operations.list_tasks(7) == []


async def asynchronous(task: Handle) -> None: ...


def generator(task: Handle) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("function", [asynchronous, generator])
def test_a_function_that_only_makes_an_object_is_refused(
    operations: Operations, runner: Runner, function: Callable[..., Any]
) -> None:
    """An async function or a generator would never run its body."""
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) cannot be a job"):
        runner.start(function, user_id=7)
    with pytest.raises(TypeError, match="cannot be a job"):
        Job(lambda: runner, function)
    assert operations.list_tasks(7) == []


def test_only_a_function_is_a_job(runner: Runner) -> None:
    """``rt.start(export(task))``, the call in place of the function, is told so."""
    with pytest.raises(TypeError, match="a job is a function, not NoneType"):
        runner.start(None, user_id=7)  # type: ignore[arg-type]


class Opaque:
    """Something callable whose signature makes no sense."""

    __signature__ = "(task)"

    def __call__(self, task: Handle) -> None:
        raise TypeError("not like this")


@pytest.mark.parametrize("function", [max, Opaque()], ids=["builtin", "opaque"])
def test_a_function_that_does_not_tell_its_arguments_is_taken(
    operations: Operations, runner: Runner, bench: Bench, function: Callable[..., Any]
) -> None:
    """Some that are written in C have no signature; they are called and see for themselves."""
    last = end_of(runner, bench, operations, function)
    assert last.error is not None
    assert (last.status, last.error.type) == (FAILED, "TypeError")


def test_what_create_task_refuses_starts_nothing(operations: Operations, runner: Runner, bench: Bench) -> None:
    """A taken id, or no owner where nobody is identified, is the caller's error."""
    operations.create_task("t", 7)
    with pytest.raises(TaskExists):
        runner.start(nothing, user_id=7, task_id="t")
    with pytest.raises(InvalidValue, match="user_id"):
        runner.start(nothing)
    assert bench.waiting == []


def test_an_omitted_user_is_the_one_that_is_identified(bench: Bench) -> None:
    """In a request that is the user of the request."""
    operations = Operations(MemoryRegistry(), Config(), lambda: "ada")
    runner = Runner(operations, threads=1, pool=lambda size, name: bench)
    assert runner.start(nothing).user_id == "ada"
    assert Job(lambda: runner, nothing).start().user_id == "ada"


def test_a_job_that_gets_no_thread_fails(operations: Operations, caplog: pytest.LogCaptureFixture) -> None:
    """If the system has no thread left, the caller hears of it and the task does not wait for ever."""

    class Full:
        def __init__(self, size: int, name: str) -> None: ...

        def submit(self, work: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

    caplog.set_level(logging.CRITICAL)  # a record would hold on to the traceback, and that to the arguments
    runner = Runner(operations, threads=1, pool=Full)
    rows = Rows()
    gone = weakref.ref(rows)
    with pytest.raises(RuntimeError, match="new thread"):
        runner.start(lambda task, rows: None, rows, user_id=7, task_id="t")
    last = operations.require("t")
    assert last.error is not None
    assert (last.status, last.error.message, runner.running()) == (FAILED, "can't start new thread", 0)
    del rows
    gc.collect()
    assert gone() is None


# Where a job runs.


def test_a_job_runs_in_the_context_of_the_app(operations: Operations, ended: Callable[[str], Task]) -> None:
    """``current_app`` is the app; the request that has started the job, its ``g`` and its user are not there."""
    app = flask.Flask("shop")
    runner = Runner(operations, threads=1, context=app.app_context)

    def job(task: Handle) -> list[Any]:
        return [flask.current_app.name, flask.has_request_context(), "user" in flask.g]

    with app.test_request_context():
        flask.g.user = "ada"
        task_id = runner.start(job, user_id=7).task_id
        assert ended(task_id).result == ["shop", False, False]


def test_what_the_context_does_at_its_end_belongs_to_the_job(
    operations: Operations, runner: Runner, bench: Bench
) -> None:
    """The app's teardown sees the job's error, and a job whose teardown fails (a commit, say) has failed."""
    seen = []
    app = flask.Flask("shop")

    @app.teardown_appcontext
    def commit(error: BaseException | None) -> None:
        seen.append((type(error), operations.require("t").status))
        if error is None:
            raise OSError("disk full")

    runner = Runner(operations, threads=1, context=app.app_context, pool=lambda size, name: bench)
    runner.start(nothing, user_id=7, task_id="t")
    bench.run()
    last = operations.require("t")
    assert last.error is not None
    assert (last.status, last.error.message) == (FAILED, "disk full")
    operations.remove_task("t")

    def breaks(task: Handle) -> None:
        raise ValueError("mine")

    runner.start(breaks, user_id=7, task_id="t")
    bench.run()
    assert seen == [(type(None), PROCESSING), (ValueError, PROCESSING)]


def test_a_context_that_cannot_be_entered_fails_the_job(operations: Operations, bench: Bench) -> None:
    """The function does not run without it."""

    @contextlib.contextmanager
    def broken() -> Iterator[None]:
        raise OSError("no database")
        yield

    ran = []
    runner = Runner(operations, threads=1, context=broken, pool=lambda size, name: bench)
    last = end_of(runner, bench, operations, lambda task: ran.append(True))
    assert last.error is not None
    assert (ran, last.error.message) == ([], "no database")


def test_context_variables_go_neither_in_nor_out(operations: Operations, runner: Runner, bench: Bench) -> None:
    """A job sees none of its caller's, and none that the job before it on the same thread has set."""
    word.set("the caller's")
    seen = []

    def job(task: Handle) -> None:
        seen.append(word.get())
        word.set("a job's")

    runner.start(job, user_id=7)
    runner.start(job, user_id=7)
    bench.run()
    assert seen == ["nothing", "nothing"]
    assert word.get() == "the caller's"


# Stopping.


def test_a_stop_fails_what_runs_and_what_waits(operations: Operations, ended: Callable[[str], Task]) -> None:
    """Both kinds end at once with code ``server_stopped``, without waiting for a thread; the waiting one never runs."""
    runner = Runner(operations, threads=1)
    running, waiting, thread_ended = Gate(), Gate(), threading.Event()
    outcome: list[object] = []

    def job(task: Handle) -> None:
        try:
            running(task)
            outcome.append(task.cancelled)
            task.update("One more")
        except BaseException as error:
            outcome.append(type(error))
            raise
        finally:
            thread_ended.set()

    ids = [runner.start(job, user_id=7).task_id, runner.start(waiting, user_id=7).task_id]
    assert running.begun.wait(PATIENCE)
    runner.stop()
    for task_id in ids:
        last = operations.require(task_id)
        assert last.error is not None
        assert (last.status, last.error.code, last.error.retryable) == (FAILED, SERVER_STOPPED, True)
        assert last.error.message == "The server was stopped before the job was done. Start it again."
    running.go.set()
    assert thread_ended.wait(PATIENCE)
    assert outcome == [True, TaskCancelled]
    assert not waiting.begun.is_set()


def test_a_stopped_job_never_begins(
    operations: Operations, runner: Runner, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Its turn comes after the stop: the function is not called, and nothing is logged for it."""
    ran = []
    runner.start(lambda task: ran.append(True), user_id=7)
    runner.stop()
    bench.run()
    assert (ran, caplog.records) == ([], [])


def test_a_stop_lets_stand_what_has_ended(operations: Operations, runner: Runner, bench: Bench) -> None:
    """Tasks that are done, cancelled or removed are none of its business."""
    done = runner.start(nothing, user_id=7).task_id
    bench.run()
    cancelled = runner.start(nothing, user_id=7).task_id
    operations.cancel_task(cancelled)
    removed = runner.start(nothing, user_id=7).task_id
    operations.cancel_task(removed)
    operations.remove_task(removed)
    runner.stop()
    assert operations.require(done).status is COMPLETED
    assert operations.require(cancelled).status is CANCELLED


def test_what_blocks_still_hold_fails_when_the_process_ends(operations: Operations, runner: Runner) -> None:
    """Not at the stop, which leaves them time; and not what another worker has taken over."""
    operations.heart = Heart(operations.registry.heartbeat, 30.0)
    held, taken = (operations.create_task(user_id=7).task_id for _ in range(2))
    with Handle(operations, held), Handle(operations, taken):
        operations.registry.heartbeat(taken, 30.0, "another", True)
        runner.stop()
        assert operations.require(held).status is PROCESSING
        runner.leave()
    last = operations.require(held)
    assert last.error is not None
    assert (last.status, last.error.code, last.error.retryable) == (FAILED, SERVER_STOPPED, True)
    assert operations.require(taken).status is PROCESSING


def test_a_process_that_ends_does_not_wait_for_a_store_that_is_away(
    operations: Operations, runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each block would wait as long as an answer may take: one is tried."""
    asked: list[str] = []

    def away(self: Operations, task_id: str, error: str, **more: Any) -> Task:
        asked.append(task_id)
        raise RegistryUnavailable("The store is away.")

    operations.heart = Heart(operations.registry.heartbeat, 30.0)
    ids = [operations.create_task(user_id=7).task_id for _ in range(3)]
    with contextlib.ExitStack() as blocks:
        for task_id in ids:
            blocks.enter_context(Handle(operations, task_id))
        monkeypatch.setattr(Operations, "fail_task", away)
        runner.leave()
        monkeypatch.undo()
    assert asked == ids[:1]
    assert ids[0] in caplog.text


def test_a_stop_tells_all_even_if_one_cannot_be_told(
    operations: Operations, runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A task whose end cannot be stored is logged, and the next one's is stored."""
    fail = operations.registry.fail

    def away(task_id: str, failure: Any) -> Task:
        if task_id == "first":
            raise RegistryUnavailable("The store is away.")
        return fail(task_id, failure)

    runner.start(nothing, user_id=7, task_id="first")
    runner.start(nothing, user_id=7, task_id="second")
    monkeypatch.setattr(operations.registry, "fail", away)
    runner.stop()
    assert operations.require("first").status is PENDING
    assert operations.require("second").status is FAILED
    assert "first" in caplog.text


def test_a_stopping_server_takes_no_jobs(operations: Operations, runner: Runner, bench: Bench) -> None:
    """Nothing is made of a job that comes too late. To stop twice is to stop."""
    runner.stop()
    runner.stop()
    with pytest.raises(ServerStopping):
        runner.start(nothing, user_id=7)
    assert (operations.list_tasks(7), bench.waiting) == ([], [])


def test_a_job_that_comes_in_while_the_server_stops_fails(
    operations: Operations, runner: Runner, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop falls between the question and the task: the caller hears of it, and the task does not wait for ever."""
    create = operations.registry.create

    def slow(*args: Any, **kwargs: Any) -> Any:
        made = create(*args, **kwargs)
        runner.stop()
        return made

    monkeypatch.setattr(operations.registry, "create", slow)
    with pytest.raises(ServerStopping):
        runner.start(nothing, user_id=7, task_id="t")
    last = operations.require("t")
    assert last.error is not None
    assert (last.error.code, bench.waiting, runner.running()) == (SERVER_STOPPED, [], 0)


@pytest.mark.filterwarnings("ignore:.*is multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_has_none_of_its_parents_jobs(operations: Operations, ended: Callable[[str], Task]) -> None:
    """After a fork nothing runs in the child, it can start jobs of its own, and the parent's go on."""
    runner = Runner(operations, threads=1)
    gate = Gate()
    task_id = runner.start(gate, user_id=7).task_id
    assert gate.begun.wait(PATIENCE)
    pid = os.fork()
    if pid == 0:
        verdict = 1
        with contextlib.suppress(BaseException):
            verdict = _look_around(runner, operations)
        os._exit(verdict)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert runner.running() == 1
    gate.go.set()
    assert ended(task_id).result == "through"


def _look_around(runner: Runner, operations: Operations) -> int:
    """0 if the child finds what it should."""
    if runner.running() != 0:
        return 2
    try:
        runner.start(nothing, user_id=7)
    except NotTheServer:
        pass
    else:
        return 3
    operations.registry.adopt()
    done = threading.Event()
    runner.start(lambda task: done.set(), user_id=7)
    return 0 if done.wait(PATIENCE) else 4


# Jobs.


def test_a_job_starts_what_it_decorates(operations: Operations, runner: Runner, bench: Bench) -> None:
    """`start` makes a task with the job's name, total, unit and groups; the other arguments are the function's."""

    def export(task: Handle, year: int, *, name: str) -> list[Any]:
        """Write the invoices of a year."""
        return [year, name]

    job = Job(lambda: runner, export, name="Export", total=12, unit="months", groups=("team:7",))
    first = job.start(2026, name="a.csv", user_id=7, task_id="t")
    assert (first.status, first.task_id, first.user_id, first.name) == (PENDING, "t", "7", "Export")
    assert (first.progress.total, first.progress.unit, first.groups) == (12, "months", ("team:7",))
    bench.run()
    assert operations.require("t").result == [2026, "a.csv"]


def test_a_start_may_say_what_its_task_is(operations: Operations, runner: Runner, bench: Bench) -> None:
    """Name, total and the like of one start take the place of the job's; what the function takes itself is its own."""

    def export(task: Handle, *, unit: str) -> str:
        return unit

    job = Job(lambda: runner, export, name="Export", total=12, unit="months", groups=("team:7",))
    first = job.start(user_id=7, task_id="t", name="Export 2026", total=3, unit="km", metadata={"a": 1}, groups=())
    assert (first.name, first.progress.total, first.progress.unit) == ("Export 2026", 3, "months")
    assert (first.metadata, first.groups) == ({"a": 1}, ())
    bench.run()
    assert operations.require("t").result == "km"


def test_a_job_is_still_its_function(operations: Operations) -> None:
    """Called with a handle it is the plain function, here and now; its name and words are the function's."""
    job = Job(lambda: pytest.fail("started"), export_invoices)
    operations.create_task("t", 7)
    task = Handle(operations, "t")
    assert job(task, 2026) == 2026
    assert job(task, year=2027) == 2027
    assert task.snapshot.status is PROCESSING
    assert job.__name__ == "export_invoices"
    assert job.__wrapped__ is export_invoices


def test_a_job_without_a_name_is_called_after_its_function(runner: Runner) -> None:
    """A bare decorator is enough."""
    assert Job(lambda: runner, export_invoices).start(user_id=7).name == "Export invoices"


def test_a_job_finds_its_runner_when_it_is_started(runner: Runner) -> None:
    """A job may be written before there is an app."""
    runners: list[Runner] = []
    job = Job(lambda: runners[0], export_invoices)
    runners.append(runner)
    assert job.start(user_id=7).status is PENDING
