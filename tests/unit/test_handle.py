"""`Handle` and `track`: what a job holds, how a block or a loop ends its task, and how a request to stop arrives."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest
from flask import Flask

from realtime import Realtime
from realtime.config import Config
from realtime.errors import (
    InvalidType,
    InvalidValue,
    LeaseHeld,
    RegistryUnavailable,
    TaskAlreadyFinished,
    TaskCancelled,
    TaskError,
    TaskExists,
    TaskNotFound,
)
from realtime.handle import ABANDONED, SERVER_STOPPED, Handle, track
from realtime.heart import Heart
from realtime.operations import NOBODY, Operations
from realtime.registry.memory import MemoryRegistry
from realtime.task import Task, TaskStatus

CANCELLED, COMPLETED, FAILED = TaskStatus.CANCELLED, TaskStatus.COMPLETED, TaskStatus.FAILED
PENDING, PROCESSING = TaskStatus.PENDING, TaskStatus.PROCESSING


class Retry(Exception):
    """What a worker raises to be run again."""


class Ignore(BaseException):
    """What a worker raises to be left alone, kept away from ``except Exception``."""


@pytest.fixture
def operations() -> Operations:
    return Operations(MemoryRegistry(), Config(), lambda: None)


@pytest.fixture
def task(operations: Operations) -> Handle:
    """The handle of a new task ``t``."""
    operations.create_task("t", "ada", cancellable=True)
    return Handle(operations, "t")


def only(operations: Operations) -> Task:
    """The one task of Ada."""
    (found,) = operations.list_tasks("ada")
    return found


def left_by(task: Handle, error: BaseException) -> Task:
    """The task after its block has raised ``error``, which has to come through as it is."""
    with pytest.raises(type(error)) as raised, task:
        raise error
    assert raised.value is error
    return task.snapshot


def breaks(loop: Iterable[str]) -> None:
    for _ in loop:
        break


def raises(loop: Iterable[str]) -> None:
    for letter in loop:
        raise ValueError(letter)


# Saying how far it is.


@pytest.mark.parametrize(
    "tell",
    [
        lambda task: task.update(advance=1),
        lambda task: task.write("line"),
        lambda task: task.raise_if_cancelled(),
        lambda task: next(task.track("ab")),
    ],
    ids=["update", "write", "raise_if_cancelled", "track"],
)
def test_a_job_that_is_told_to_stop_has_it_acknowledged(task: Handle, tell: Callable[[Handle], object]) -> None:
    """When it is told, and not before; what it does about it is seen later."""
    asked = task._operations.cancel_task("t")
    assert asked.cancel_acknowledged_at is None
    assert task.snapshot.cancel_acknowledged_at is None
    with pytest.raises(TaskCancelled):
        tell(task)
    told = task.snapshot
    assert (told.status, told.finished) == (PROCESSING, False)
    assert told.cancel_acknowledged_at is not None


def test_a_job_that_looks_is_told_too(task: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cancelled` acknowledges, once, and answers even if that cannot be stored."""
    assert not task.cancelled
    task._operations.cancel_task("t")
    with monkeypatch.context() as patch:
        patch.setattr(
            task._operations.registry, "_change", lambda *_: (_ for _ in ()).throw(RegistryUnavailable("away"))
        )
        assert task.cancelled
    assert task.snapshot.cancel_acknowledged_at is None
    assert task.cancelled
    told = task.snapshot
    assert told.cancel_acknowledged_at is not None
    assert task.cancelled
    assert task.snapshot == told


def test_a_block_acknowledges_nothing_that_is_for_another_task(task: Handle) -> None:
    """Its own has ended and been cleared, and another has got the id."""
    with contextlib.suppress(TaskCancelled), task:
        replace(task._operations, "t")
        task._operations.cancel_task("t")
        assert task.cancelled
        task.update("mine?")
    assert task.snapshot.cancel_requested_at is not None
    assert task.snapshot.cancel_acknowledged_at is None


def held(operations: Operations, task_id: str) -> Handle:
    """The handle of a task that is held by a lease, as in a store that processes share."""
    registry = operations.registry
    working = Operations(registry, Config(), lambda: None)
    working.heart = Heart(registry.heartbeat, 30.0, give_back=registry.release)
    return Handle(working, task_id)


def test_a_block_that_was_taken_over_changes_nothing_more(operations: Operations, task: Handle) -> None:
    """Not even by its end; what its job says raises `LeaseHeld`."""
    with held(operations, "t") as mine:
        mine.update("mine")
        operations.heartbeat_task("t", holder="another", takeover=True)
        for say in (mine.advance, mine.complete, mine.cancel, lambda: mine.fail("no"), lambda: mine.write("line")):
            with pytest.raises(LeaseHeld):
                say()
    assert (task.snapshot.status, task.snapshot.message) == (PROCESSING, "mine")
    with pytest.raises(LeaseHeld), held(operations, "t"):
        pytest.fail("the block was entered")
    mine.update("outside of a block, in nobody's name")


def test_a_job_that_fails_in_a_block_that_was_taken_over_fails_nothing(
    operations: Operations, task: Handle, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error goes on outwards, and the log complains of no end that could not be stored."""
    with contextlib.suppress(ZeroDivisionError), held(operations, "t"):
        operations.heartbeat_task("t", holder="another", takeover=True)
        raise ZeroDivisionError
    assert task.snapshot.status is PROCESSING
    assert "could not be stored" not in caplog.text


def test_a_block_within_a_block_holds_its_task_on(operations: Operations, task: Handle) -> None:
    """The inner one's end is the task's; while it lasts nobody else comes in."""
    with held(operations, "t") as mine:
        with mine:
            pass
        assert task.snapshot.status is COMPLETED


def test_update_passes_everything_on(task: Handle) -> None:
    """Each argument of `update` lands in the task, and the newest snapshot comes back."""
    got = task.update("Reading", current=3, total=12, unit="rows", metadata={"file": "a.csv"})
    assert got == task.snapshot
    progress = got.progress
    assert (progress.message, progress.current, progress.total) == ("Reading", 3, 12)
    assert (progress.unit, progress.percent) == ("rows", 25)
    assert got.metadata == {"file": "a.csv"}
    assert task.update(percent=40).progress.percent == 40
    assert task.update(50, "Half").progress.percent == 50
    assert task.snapshot.progress.message == "Half"
    assert task.update(advance=2).progress.current == 5


def test_advance_and_message_are_short_for_update(task: Handle) -> None:
    """`advance` adds steps, one by default; `message` says what is being done; each leaves the other alone."""
    task.message("Reading")
    assert task.advance().progress.current == 1
    after = task.advance(2.5).progress
    assert (after.current, after.message) == (3.5, "Reading")
    assert task.advance(1, "Writing").progress.message == "Writing"
    assert task.message("Done soon").progress.current == 4.5


def test_the_id_has_two_names(task: Handle) -> None:
    """`id` and `task_id` are the same text, and the representation names it."""
    assert task.id == task.task_id == "t"
    assert "'t'" in repr(task)


def test_the_handle_of_an_unknown_task_says_so(operations: Operations) -> None:
    """Whatever a handle of no task is asked to do raises TaskNotFound, entering a block too."""
    nobody = Handle(operations, "unknown")
    calls: list[Callable[[], object]] = [
        nobody.update, nobody.advance, nobody.complete, nobody.cancel, nobody.raise_if_cancelled, nobody.__enter__,
        lambda: nobody.fail("broken"), lambda: nobody.snapshot, lambda: nobody.cancelled,
        lambda: next(nobody.track("abc")),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(TaskNotFound):
            call()


def test_a_wrong_value_raises_and_changes_nothing(task: Handle) -> None:
    """An update beyond its bounds is an error of the job's, and the task stays as it was."""
    before = task.snapshot
    with pytest.raises(InvalidValue, match="percent"):
        task.update(percent=101)
    with pytest.raises(InvalidType, match="advance"):
        task.advance("two")  # type: ignore[arg-type]
    assert task.snapshot == before


def test_several_threads_share_a_handle(task: Handle) -> None:
    """No step is lost when threads advance the same task through one handle."""
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait()
        for _ in range(500):
            task.advance()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert task.snapshot.progress.current == 2000


# Being asked to stop.


def test_a_request_to_stop_is_raised_at_the_next_update(operations: Operations, task: Handle) -> None:
    """After `cancel_task`, every way of saying how far it is raises TaskCancelled; what it said is stored."""
    task.update("Before")
    operations.cancel_task("t")
    says: list[Callable[[], object]] = [
        lambda: task.update("Stored"), task.advance, lambda: task.message("Stored"), lambda: next(task.track("abc")),
        task.raise_if_cancelled,
    ]  # fmt: skip
    for say in says:
        with pytest.raises(TaskCancelled) as raised:
            say()
        assert raised.value.task_id == "t"
    after = task.snapshot
    assert (after.status, after.progress.message, after.progress.current) == (PROCESSING, "Stored", 1)


def test_a_request_to_stop_can_be_asked_for(operations: Operations, task: Handle) -> None:
    """`cancelled` turns true with the request, and stays so when the task has ended by it."""
    assert task.cancelled is False
    task.raise_if_cancelled()
    operations.cancel_task("t")
    assert task.cancelled is True
    assert task.cancel().status is CANCELLED
    assert task.cancelled is True


def test_a_job_may_finish_although_it_was_asked_to_stop(operations: Operations, task: Handle) -> None:
    """To complete, or to fail, wins over a request to stop that was not answered yet."""
    operations.cancel_task("t")
    assert task.complete({"rows": 3}).status is COMPLETED
    operations.create_task("u", "ada")
    operations.cancel_task("u")
    assert Handle(operations, "u").fail("No such file").status is FAILED


def test_a_task_that_was_cancelled_stops_its_job(operations: Operations, task: Handle) -> None:
    """Once a task has ended as cancelled, everything that would change it raises TaskCancelled."""
    operations.cancel_task("t", done=True)
    changes: list[Callable[[], object]] = [
        task.update, task.advance, task.complete, lambda: task.fail("late"), lambda: next(task.track("abc")),
        task.raise_if_cancelled, task.__enter__,
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(TaskCancelled):
            change()
    assert task.cancel().status is CANCELLED  # the same end again


def test_a_task_that_the_server_has_failed_while_stopping_stops_its_job(operations: Operations, task: Handle) -> None:
    """The code ``server_stopped`` is a request to stop, as far as the job is concerned."""
    operations.fail_task("t", "The server was stopped.", code=SERVER_STOPPED)
    assert task.cancelled is True
    for change in (task.update, task.complete, task.cancel, task.raise_if_cancelled, task.__enter__):
        with pytest.raises(TaskCancelled):
            change()
    assert task.snapshot.error is not None
    assert task.snapshot.error.code == SERVER_STOPPED


def test_a_task_that_has_ended_otherwise_is_a_mistake_to_update(operations: Operations, task: Handle) -> None:
    """After another end a late update raises TaskAlreadyFinished, as the plain functions do; that is no request."""
    operations.fail_task("t", "Taken too long")
    assert task.cancelled is False
    for change in (task.update, task.advance, task.complete, task.cancel, task.__enter__):
        with pytest.raises(TaskAlreadyFinished, match="failed already"):
            change()


def test_a_task_that_is_cleared_just_after_its_end_has_ended(
    operations: Operations, task: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a late update finds the end, and then nobody knows the task any more, the end is what is raised."""
    operations.fail_task("t", "Taken too long")
    monkeypatch.setattr(operations, "get_task_status", lambda task_id: None)
    with pytest.raises(TaskAlreadyFinished):
        task.update()


# Ending.


def test_the_ends_can_be_said(operations: Operations) -> None:
    """`complete`, `fail` and `cancel` end the task and return its last snapshot."""
    for task_id in "cfx":
        operations.create_task(task_id, "ada")
    completed = Handle(operations, "c").complete({"rows": 3})
    assert (completed.status, completed.result) == (COMPLETED, {"rows": 3})
    failed = Handle(operations, "f").fail("No such file", code="missing", type="IO", retryable=True, details={"n": 1})
    assert failed.status is FAILED
    assert failed.error is not None
    assert failed.error.as_dict() == {
        "type": "IO", "message": "No such file", "code": "missing", "retryable": True, "details": {"n": 1},
    }  # fmt: skip
    assert Handle(operations, "x").cancel().status is CANCELLED


def test_the_end_of_a_block_completes_its_task(task: Handle) -> None:
    """A block that runs to its end completes the task, without a result."""
    with task as entered:
        assert entered is task
        task.advance()
    assert (task.snapshot.status, task.snapshot.result) == (COMPLETED, None)


def test_a_block_that_is_left_on_purpose_completes_its_task(operations: Operations, task: Handle) -> None:
    """``return`` and ``break`` out of a block are ends like any other."""

    def job() -> str:
        with task:
            return "early"

    assert job() == "early"
    assert task.snapshot.status is COMPLETED
    operations.create_task("u", "ada")
    for _ in range(2):
        with Handle(operations, "u") as other:
            break
    assert other.snapshot.status is COMPLETED


def test_the_result_is_the_one_that_the_block_has_given(task: Handle) -> None:
    """A task that the block has completed keeps its result."""
    with task:
        task.complete("found")
    assert (task.snapshot.status, task.snapshot.result) == (COMPLETED, "found")


@pytest.mark.parametrize("ended", [CANCELLED, FAILED])
def test_a_task_that_has_ended_meanwhile_keeps_its_end(operations: Operations, task: Handle, ended: TaskStatus) -> None:
    """A block whose task somebody else has ended is left without a word."""
    with task:
        if ended is FAILED:
            operations.fail_task("t", "Taken too long")
        else:
            operations.cancel_task("t", done=True)
    assert task.snapshot.status is ended


def test_a_task_that_is_gone_lets_its_block_end(
    operations: Operations, task: Handle, caplog: pytest.LogCaptureFixture
) -> None:
    """Ended and cleared while the block ran: nothing to say, whichever way the block ends."""
    with task:
        operations.cancel_task("t", done=True)
        operations.remove_task("t")
    operations.create_task("t", "ada")

    def job() -> None:
        with task:
            operations.cancel_task("t", done=True)
            operations.remove_task("t")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        job()
    assert "could not be stored" not in caplog.text


def replace(operations: Operations, task_id: str) -> Task:
    """End and clear a task, and give its id to a new one."""
    operations.cancel_task(task_id, done=True)
    operations.remove_task(task_id)
    return operations.create_task(task_id, "ada", name="New")


@pytest.mark.parametrize("error", [None, ValueError("mine"), KeyboardInterrupt(), SystemExit()])
def test_a_block_does_not_end_another_task_of_the_same_id(
    operations: Operations, task: Handle, error: BaseException | None
) -> None:
    """However it is left: what has got the id since then is not its own."""
    made = []

    def job() -> None:
        with task:
            made.append(replace(operations, "t"))
            if error is not None:
                raise error

    with contextlib.nullcontext() if error is None else pytest.raises(type(error)):
        job()
    assert [operations.require("t")] == made


def test_a_block_is_asked_to_stop_when_its_id_belongs_to_another_task(operations: Operations, task: Handle) -> None:
    """Its own task has ended: whatever it says is too late, and its end is not stored in the new one."""
    with task:
        task.advance()
        replace(operations, "t")
        assert task.cancelled
        for change in (task.complete, task.cancel, lambda: task.fail("No."), task.raise_if_cancelled, task.update):
            with pytest.raises(TaskCancelled):
                change()
    assert (operations.require("t").name, operations.require("t").status) == ("New", PROCESSING)


def test_a_handle_outside_a_block_stands_for_the_id(operations: Operations, task: Handle) -> None:
    """It acts on whatever task has the id now, as the plain functions do."""
    replace(operations, "t")
    assert task.advance().name == "New"
    assert task.cancelled is False
    assert task.complete().status is COMPLETED


def test_a_pending_task_starts_with_its_block(operations: Operations) -> None:
    """To enter the block is to begin the work."""
    operations.create_task("t", "ada", status="pending")
    with Handle(operations, "t") as task:
        assert task.snapshot.status is PROCESSING


def test_a_block_enters_only_a_task_that_has_not_ended(operations: Operations, task: Handle) -> None:
    """A second block on a task that is done does not run."""
    with task:
        pass
    ran = []
    with pytest.raises(TaskAlreadyFinished), task:
        ran.append(True)
    assert ran == []


def test_an_exception_fails_the_task(task: Handle, caplog: pytest.LogCaptureFixture) -> None:
    """The page gets the message, the log the traceback with the id, and the exception goes on."""
    after = left_by(task, ValueError("row 3: no date"))
    assert after.status is FAILED
    assert after.error is not None
    assert (after.error.type, after.error.message, after.error.code) == ("ValueError", "row 3: no date", "failed")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "t" in record.getMessage()


def test_a_task_error_brings_its_own_code(task: Handle, caplog: pytest.LogCaptureFixture) -> None:
    """What the job has to tell the user goes to the page, without a traceback in the log."""
    after = left_by(task, TaskError("Row 3 has no date.", code="bad_row", retryable=False, details={"row": 3}))
    assert after.error is not None
    assert (after.error.code, after.error.retryable, after.error.details) == ("bad_row", False, {"row": 3})
    assert caplog.records == []


@pytest.mark.parametrize("details", [{"row": object()}, {"rows": "x" * 20_000}])
def test_a_task_error_with_impossible_details_ends_its_task(
    task: Handle, details: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Details that a task cannot hold are left out, and the log says so; the task fails all the same."""
    after = left_by(task, TaskError("Row 3 has no date.", code="bad_row", details=details))
    assert after.error is not None
    assert (after.error.message, after.error.code, after.error.details) == ("Row 3 has no date.", "bad_row", None)
    assert "details" in caplog.text


def test_to_be_asked_to_stop_cancels_the_task_and_goes_on_outwards(operations: Operations, task: Handle) -> None:
    """The code behind the block does not run as if the work were done."""
    behind = []

    def job() -> None:
        with task:
            operations.cancel_task("t")
            task.advance()
        behind.append(True)

    with pytest.raises(TaskCancelled):
        job()
    assert task.snapshot.status is CANCELLED
    assert behind == []


def test_an_except_clause_does_not_swallow_a_request_to_stop(operations: Operations, task: Handle) -> None:
    """``except Exception`` around an update lets TaskCancelled through."""
    operations.cancel_task("t")

    def job() -> None:
        with task:
            try:
                task.advance()
            except Exception:
                pytest.fail("swallowed")

    with pytest.raises(TaskCancelled):
        job()
    assert task.snapshot.status is CANCELLED


def test_another_exception_after_a_request_to_stop_fails_the_task(operations: Operations, task: Handle) -> None:
    """A job that breaks while it cleans up has failed, and was not cancelled."""

    def job() -> None:
        with task:
            operations.cancel_task("t")
            try:
                task.advance()
            except TaskCancelled:
                raise OSError("disk") from None

    with pytest.raises(OSError, match="disk"):
        job()
    assert task.snapshot.status is FAILED


def test_ctrl_c_cancels_the_task(task: Handle) -> None:
    """KeyboardInterrupt is somebody's wish to stop."""
    assert left_by(task, KeyboardInterrupt()).status is CANCELLED


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("no"), GeneratorExit()])
def test_code_that_is_ended_from_outside_has_abandoned_its_task(task: Handle, error: BaseException) -> None:
    """A way out that is neither an error nor a wish to cancel fails the task with the code ``abandoned``."""
    after = left_by(task, error)
    assert after.error is not None
    assert (after.status, after.error.code, after.error.type) == (FAILED, ABANDONED, None)
    assert after.error.message == "The job was left before it was done."


@pytest.mark.parametrize("error", [Retry(), Ignore()])
def test_passthrough_leaves_the_task_alone(operations: Operations, error: BaseException) -> None:
    """A worker's ``Retry`` goes through and the task stays as it is; the next block goes on with it."""
    operations.create_task("t", "ada")
    before = operations.require("t")
    task = Handle(operations, "t", passthrough=(Retry, Ignore))
    assert left_by(task, error) == before
    with task:
        task.advance()
    assert task.snapshot.status is COMPLETED


def test_what_is_not_passed_through_still_fails(operations: Operations) -> None:
    """``passthrough`` concerns the named exceptions only."""
    operations.create_task("t", "ada")
    assert left_by(Handle(operations, "t", passthrough=(Retry, Ignore)), ValueError("no")).status is FAILED


def test_a_store_that_is_away_does_not_hide_the_exception(
    operations: Operations, task: Handle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the end cannot be stored, the log says so and the block's own exception goes on."""

    def away(*args: object) -> Task:
        raise RegistryUnavailable("The store is away.")

    for name in ("fail", "cancel"):
        monkeypatch.setattr(operations.registry, name, away)
    for error in (ValueError("mine"), KeyboardInterrupt(), SystemExit()):
        caplog.clear()
        left_by(task, error)
        assert "The end of the task t could not be stored" in caplog.text


def test_a_completion_that_cannot_be_stored_is_raised(
    operations: Operations, task: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that ends well has nothing else to say: the caller must hear that its end was not stored."""

    def away(*args: object) -> Task:
        raise RegistryUnavailable("The store is away.")

    monkeypatch.setattr(operations.registry, "complete", away)
    with pytest.raises(RegistryUnavailable), task:
        pass


# Loops on a handle.


def test_track_counts_what_the_loop_has_done(task: Handle) -> None:
    """Total from the length; a step counts when the loop's body is through with it."""
    seen = []
    for letter in task.track("abcd", unit="letters"):
        progress = task.snapshot.progress
        seen.append((letter, progress.current, progress.total))
    assert seen == [("a", 0, 4), ("b", 1, 4), ("c", 2, 4), ("d", 3, 4)]
    progress = task.snapshot.progress
    assert (progress.current, progress.unit, progress.percent) == (4, "letters", 100)


@pytest.mark.parametrize("rows", [iter("abc"), (letter for letter in "abc")], ids=["iterator", "generator"])
def test_track_goes_without_a_total(task: Handle, rows: Iterator[str]) -> None:
    """What has no length is counted, with no total."""
    assert list(task.track(rows)) == ["a", "b", "c"]
    assert (task.snapshot.progress.current, task.snapshot.progress.total) == (3, None)


def test_a_length_that_cannot_be_said_is_none(task: Handle) -> None:
    """A ``__len__`` that raises TypeError (a stream that is a data set) is no length, and no error."""

    class Stream:
        def __len__(self) -> int:
            raise TypeError("no length")

        def __iter__(self) -> Iterator[int]:
            return iter((1, 2))

    assert list(task.track(Stream())) == [1, 2]
    assert task.snapshot.progress.total is None


def test_a_total_that_is_given_is_the_total(task: Handle) -> None:
    """It is believed, where the iterable has no length and where it has."""
    assert list(task.track(iter("ab"), 8)) == ["a", "b"]
    assert (task.snapshot.progress.total, task.snapshot.progress.percent) == (8, 25)
    assert list(task.track("cd", total=16)) == ["c", "d"]
    assert (task.snapshot.progress.total, task.snapshot.progress.current) == (16, 4)


def test_two_loops_share_the_total_that_was_declared(operations: Operations) -> None:
    """A task that knows its total keeps it, as long as there is room for the loop in it."""
    operations.create_task("t", "ada", total=6)
    task = Handle(operations, "t")
    list(task.track("abcd"))
    assert (task.snapshot.progress.current, task.snapshot.progress.total) == (4, 6)
    list(task.track("ef"))
    assert (task.snapshot.progress.current, task.snapshot.progress.total) == (6, 6)


def test_a_second_loop_goes_on_where_the_first_has_ended(task: Handle) -> None:
    """Without a total of its own the task's grows by the second loop's length: it never counts beyond."""
    list(task.track("ab"))
    list(task.track("cdef"))
    assert (task.snapshot.progress.current, task.snapshot.progress.total) == (6, 6)


def test_an_empty_loop_is_no_progress(task: Handle) -> None:
    """Nothing to do is done at once, and the task goes on."""
    assert list(task.track([])) == []
    assert (task.snapshot.status, task.snapshot.progress.percent) == (PROCESSING, None)


def test_track_does_not_end_its_task(task: Handle) -> None:
    """Neither the end of the loop nor leaving it early ends a task that the loop does not own."""
    list(task.track("abc"))
    assert task.snapshot.status is PROCESSING
    for _ in task.track("abc"):
        break
    loop = task.track("abc")
    next(loop)
    loop.close()
    assert (task.snapshot.status, task.snapshot.progress.current) == (PROCESSING, 3)


def test_the_block_decides_on_a_loop_that_was_left(operations: Operations, task: Handle) -> None:
    """``break`` out of a loop in a block completes the task, an exception in the loop fails it."""
    with task:
        for letter in task.track("abc"):
            if letter == "b":
                break
    assert (task.snapshot.status, task.snapshot.progress.current) == (COMPLETED, 1)
    operations.create_task("u", "ada")

    def job() -> None:
        with Handle(operations, "u") as other:
            raises(other.track("abc"))

    with pytest.raises(ValueError, match="a"):
        job()
    assert operations.require("u").status is FAILED


def test_a_loop_stops_when_it_is_asked_to(operations: Operations, task: Handle) -> None:
    """TaskCancelled comes out of the loop after the turn in which the request was made."""
    turns = []

    def job() -> None:
        with task:
            for letter in task.track("abc"):
                turns.append(letter)
                if letter == "b":
                    operations.cancel_task("t")

    with pytest.raises(TaskCancelled):
        job()
    assert turns == ["a", "b"]
    assert (task.snapshot.status, task.snapshot.progress.current) == (CANCELLED, 2)


def test_a_pending_task_starts_with_its_loop(operations: Operations) -> None:
    """The first turn of a loop is work that has begun."""
    operations.create_task("t", "ada", status="pending")
    loop = Handle(operations, "t").track("abc")
    next(loop)
    assert operations.require("t").status is PROCESSING


# Loops that are tasks.


def test_a_tracked_loop_is_a_task(operations: Operations) -> None:
    """It is made with the first item, shows how far it is, can be cancelled, and completes with the loop."""
    loop = track(operations, "ab", task_id="t", user_id="ada", name="Letters", unit="letters", message="Go",
                 metadata={"a": 1}, groups=("team:7",))  # fmt: skip
    assert operations.get_task_status("t") is None
    assert next(loop) == "a"
    first = operations.require("t")
    assert (first.status, first.name, first.user_id, first.cancellable) == (PROCESSING, "Letters", "ada", True)
    assert (first.groups, first.metadata, first.progress.message) == (("team:7",), {"a": 1}, "Go")
    assert (first.progress.current, first.progress.total, first.progress.unit) == (0, 2, "letters")
    assert list(loop) == ["b"]
    last = operations.require("t")
    assert (last.status, last.progress.current) == (COMPLETED, 2)


@pytest.mark.parametrize(("given", "total"), [(None, 3), (30, 30), (2, 2)])
def test_a_tracked_loop_has_its_total_from_the_start(operations: Operations, given: int | None, total: int) -> None:
    """It is the length, or what is given whatever the length; the first snapshot has it already."""
    totals = []
    operations.registry.on_change = lambda task, created: totals.append(task.progress.total)
    list(track(operations, "abc", task_id="t", user_id="ada", total=given))
    assert set(totals) == {total}
    assert operations.require("t").progress.current == 3


def test_a_tracked_loop_needs_no_owner(operations: Operations) -> None:
    """NOBODY makes a task that is seen through tickets and groups only."""
    list(track(operations, "ab", task_id="t", user_id=NOBODY))
    assert operations.require("t").user_id is None


def test_a_tracked_loop_that_is_never_begun_makes_no_task(operations: Operations) -> None:
    """Nothing stands on the page for a loop that nobody ran."""
    track(operations, "ab", task_id="t", user_id="ada").close()
    assert operations.get_task_status("t") is None


def test_what_create_task_refuses_is_raised_by_the_loop(operations: Operations) -> None:
    """An id that is taken raises TaskExists at the first item, and the task there is left alone."""
    before = operations.create_task("t", "ada")
    with pytest.raises(TaskExists):
        next(track(operations, "ab", task_id="t", user_id="ada"))
    assert operations.require("t") == before


@pytest.mark.parametrize("leave", [breaks, raises])
def test_a_tracked_loop_that_is_left_early_has_abandoned_its_task(
    operations: Operations, leave: Callable[[Iterable[str]], None], caplog: pytest.LogCaptureFixture
) -> None:
    """``break`` and an exception in the body look alike from here: failed, code ``abandoned``."""
    with contextlib.suppress(ValueError):
        leave(track(operations, "abc", user_id="ada"))
    gc.collect()  # an exception holds on to the frame of the loop
    after = only(operations)
    assert after.error is not None
    assert (after.status, after.error.code, after.progress.current) == (FAILED, ABANDONED, 0)
    assert caplog.records == []


def test_a_tracked_loop_that_is_forgotten_is_abandoned_when_it_is_thrown_away(operations: Operations) -> None:
    """A generator in a cycle of references ends its task when the garbage collector finds it."""
    held: list[object] = []
    loop = track(operations, "abc", user_id="ada")
    next(loop)
    held += [loop, held]
    del loop, held
    gc.collect()
    after = only(operations)
    assert after.error is not None
    assert after.error.code == ABANDONED


def test_an_error_of_the_iterable_fails_the_task(operations: Operations, caplog: pytest.LogCaptureFixture) -> None:
    """What the iterable raises is known, and fails the task with its own message."""

    def rows() -> Iterator[str]:
        yield "a"
        raise ValueError("row 2: no date")

    with pytest.raises(ValueError, match="row 2"):
        list(track(operations, rows(), user_id="ada"))
    after = only(operations)
    assert after.error is not None
    assert (after.error.message, after.error.code, after.progress.current) == ("row 2: no date", "failed", 1)
    assert caplog.records != []


def test_a_tracked_loop_stops_when_it_is_asked_to(operations: Operations) -> None:
    """The task is cancelled, and TaskCancelled comes out of the loop."""
    turns = []

    def job() -> None:
        for letter in track(operations, "abc", task_id="t", user_id="ada"):
            turns.append(letter)
            operations.cancel_task("t")

    with pytest.raises(TaskCancelled):
        job()
    assert turns == ["a"]
    assert operations.require("t").status is CANCELLED


def test_a_tracked_loop_that_is_closed_after_its_task_has_ended_says_nothing(
    operations: Operations, caplog: pytest.LogCaptureFixture
) -> None:
    """The first end stands, and closing the generator neither raises nor logs."""
    caplog.set_level(logging.DEBUG)
    loop = track(operations, "abc", task_id="t", user_id="ada")
    next(loop)
    operations.complete_task("t", "enough")
    loop.close()
    assert (operations.require("t").status, operations.require("t").result) == (COMPLETED, "enough")
    assert caplog.records == []


# Parts of a job.


def test_blocks_loops_and_jobs_may_be_parts() -> None:
    """Whatever makes a task of its own may make it a part of another, of its own weight."""
    app = Flask(__name__)
    rt = Realtime(app)
    rt.create_task("album", "ada")
    with rt.progress(user_id="ada", task_id="block", parent_id="album", weight=3):
        pass
    for _ in rt.track([1], user_id="ada", task_id="loop", parent_id="album", weight=4):
        pass
    rt.job(lambda task: None).start(user_id="ada", task_id="job", parent_id="album", weight=2)

    assert {part.task_id: part.info.kin.weight for part in rt.registry.children("album")} == {
        "block": 3, "loop": 4, "job": 2,
    }  # fmt: skip
