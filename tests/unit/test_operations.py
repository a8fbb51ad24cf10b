"""`Operations`: the lifecycle functions check what they are given, change one task, and return its new snapshot."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.config import Config
from realtime.errors import (
    InvalidType,
    InvalidValue,
    TaskAlreadyFinished,
    TaskCancelled,
    TaskError,
    TaskExists,
    TaskNotFound,
)
from realtime.operations import ANYBODY, NOBODY, Operations
from realtime.registry.memory import MemoryRegistry
from realtime.task import Task, TaskFailure, TaskStatus

CANCELLED, COMPLETED, FAILED = TaskStatus.CANCELLED, TaskStatus.COMPLETED, TaskStatus.FAILED
PENDING, PROCESSING = TaskStatus.PENDING, TaskStatus.PROCESSING

Call = Callable[[Operations], object]


def make(user: str | None = None, **settings: Any) -> Operations:
    """Operations where ``user`` is identified, over an empty registry."""
    return Operations(MemoryRegistry(), Config(**settings), lambda: user)


@pytest.fixture
def operations() -> Operations:
    """With a task ``t`` of Ada's, and nobody identified."""
    made = make()
    made.create_task("t", "ada")
    return made


def failure(task: Task) -> TaskFailure:
    assert task.error is not None
    return task.error


# The plain forms.


def test_a_task_from_its_creation_to_its_end() -> None:
    """The five functions in their plainest form do what they say."""
    operations = make()
    created = operations.create_task("export-7", "ada")
    assert (created.task_id, created.user_id, created.status) == ("export-7", "ada", PROCESSING)
    assert created.progress.message == "Starting..."
    assert operations.update_task_progress("export-7", "Reading page 3").progress.message == "Reading page 3"
    assert operations.update_task_progress("export-7", 40).progress.percent == 40
    assert operations.complete_task("export-7", {"rows": 3}).status is COMPLETED
    found = operations.get_task_status("export-7")
    assert found is not None
    assert (found.result, found.progress.percent) == ({"rows": 3}, 100)
    operations.create_task("import-8", "ada")
    assert failure(operations.fail_task("import-8", "No such file")).message == "No such file"


def test_each_change_returns_the_snapshot_that_is_stored(operations: Operations) -> None:
    """What a call returns is what `get_task_status` finds after it, with a higher version than before."""
    calls: list[Callable[[], Task]] = [
        lambda: operations.update_task_progress("t", 10),
        lambda: operations.cancel_task("t"),
        lambda: operations.complete_task("t"),
    ]
    last = operations.require("t")
    for call in calls:
        got = call()
        assert got == operations.get_task_status("t")
        assert got.version > last.version
        last = got


# create_task.


def test_a_new_task_has_all_that_was_given() -> None:
    """Every argument lands in the snapshot."""
    task = make().create_task(
        "t", "ada", name="Export", status="pending", message=None, total=12, unit="rows", metadata={"a": [1]},
        cancellable=True, groups=["team:7"],
    )  # fmt: skip
    assert (task.name, task.status, task.progress.message) == ("Export", PENDING, None)
    assert (task.progress.total, task.progress.unit, task.metadata) == (12, "rows", {"a": [1]})
    assert (task.cancellable, task.groups, task.started_at) == (True, ("team:7",), None)


@pytest.mark.parametrize(
    ("given", "stored"), [("a.b_c:d-1", "a.b_c:d-1"), (7, "7"), (uuid.UUID(int=7), str(uuid.UUID(int=7)))]
)
def test_an_id_may_be_text_an_int_or_a_uuid(given: Any, stored: str) -> None:
    """It is stored as text, and every function takes it as it was given."""
    operations = make()
    assert operations.create_task(given, 42).task_id == stored
    assert operations.update_task_progress(given, 1).task_id == stored
    assert operations.cancel_task(given).task_id == stored
    assert operations.complete_task(given).task_id == stored
    assert operations.get_task_status(given) == operations.require(stored)
    assert operations.remove_task(given).task_id == stored


def test_an_omitted_id_is_made() -> None:
    """Two tasks without an id get different ones."""
    operations = make()
    first, second = operations.create_task(user_id="ada"), operations.create_task(user_id="ada")
    assert first.task_id != second.task_id
    assert len(first.task_id) >= 16


def test_an_omitted_user_is_the_one_that_is_identified() -> None:
    """Where nobody is, that is an error which says what to give; NOBODY makes a task without an owner."""
    assert make("ada").create_task().user_id == "ada"
    assert make("ada").create_task(user_id="grace").user_id == "grace"
    assert make("ada").create_task(user_id=NOBODY).user_id is None
    with pytest.raises(InvalidValue, match=r"user_id: .*realtime\.NOBODY"):
        make().create_task("t")


def test_a_user_id_may_be_an_int() -> None:
    """It is stored as text."""
    operations = make()
    assert operations.create_task("t", 42).user_id == "42"
    assert operations.get_task_status("t", user_id=42) == operations.get_task_status("t", user_id="42") is not None


def test_an_id_that_is_taken_changes_nothing(operations: Operations) -> None:
    """TaskExists names the id; the task there stays as it is."""
    before = operations.require("t")
    with pytest.raises(TaskExists, match="'t'"):
        operations.create_task("t", "ada", name="Other")
    assert operations.require("t") == before


def test_exist_ok_returns_an_unfinished_task_of_the_same_owner(operations: Operations) -> None:
    """Somebody else's, or one that has ended, is TaskExists all the same."""
    before = operations.require("t")
    assert operations.create_task("t", "ada", name="Other", exist_ok=True) == before
    with pytest.raises(TaskExists):
        operations.create_task("t", "grace", exist_ok=True)
    operations.complete_task("t")
    with pytest.raises(TaskExists):
        operations.create_task("t", "ada", exist_ok=True)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "running", None, 1])
def test_a_task_begins_as_pending_or_processing(status: Any) -> None:
    """Any other status is refused."""
    operations = make()
    with pytest.raises(InvalidValue, match="status: "):
        operations.create_task("t", "ada", status=status)
    assert operations.get_task_status("t") is None


def test_what_has_been_kept_long_enough_leaves_when_a_task_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention holds where nobody watches too; it is looked at once a second at most."""
    now = [1000.0]
    monkeypatch.setattr("realtime.operations.time", SimpleNamespace(monotonic=lambda: now[0]))
    operations = Operations(MemoryRegistry(retention=10, clock=lambda: now[0]), Config(), lambda: None)
    operations.create_task("old", "ada")
    operations.complete_task("old")
    now[0] += 9
    operations.create_task("young", "ada")
    assert operations.get_task_status("old") is not None
    now[0] += 0.9
    operations.create_task("younger", "ada")
    now[0] += 0.1  # its time has come, but the last look was just now
    operations.create_task("youngest", "ada")
    assert operations.get_task_status("old") is not None
    now[0] += 1
    operations.create_task("new", "ada")
    assert operations.get_task_status("old") is None


# update_task_progress.


def test_progress_is_the_message_or_the_percent(operations: Operations) -> None:
    """Text is what is being done, a number how far it is; both can be said at once."""
    assert operations.update_task_progress("t", 0.4).progress.percent == 0.4
    both = operations.update_task_progress("t", 40, "Reading").progress
    assert (both.percent, both.message) == (40, "Reading")
    assert operations.update_task_progress("t", message="Writing").progress.message == "Writing"
    assert operations.update_task_progress("t", percent=50).progress.percent == 50


def test_what_is_omitted_stays(operations: Operations) -> None:
    """An update changes only what it names."""
    operations.update_task_progress("t", "Reading", current=1, total=4, unit="rows", metadata={"a": 1})
    changes: list[dict[str, Any]] = [
        {"advance": 1},
        {"message": "Writing"},
        {"unit": "lines"},
        {"total": 8},
        {"metadata": {}},
    ]
    for change in changes:
        operations.update_task_progress("t", **change)
    task = operations.require("t")
    assert (task.progress.current, task.progress.total, task.progress.unit) == (2, 8, "lines")
    assert (task.progress.message, task.metadata) == ("Writing", {})


def test_a_pending_task_starts_with_its_first_update() -> None:
    """Nothing else has to be said."""
    operations = make()
    operations.create_task("t", "ada", status="pending")
    assert operations.update_task_progress("t").status is PROCESSING


def test_start_task_starts_a_pending_task_once() -> None:
    """On one that is being processed it changes nothing."""
    operations = make()
    operations.create_task("t", "ada", status="pending")
    started = operations.start_task("t")
    assert started.status is PROCESSING
    assert operations.start_task("t") == started


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("message", lambda it: it.update_task_progress("t", "one", "two")),
        ("percent", lambda it: it.update_task_progress("t", 1, percent=2)),
    ],
)
def test_the_same_thing_said_twice_is_refused(operations: Operations, field: str, call: Call) -> None:
    """Text in both places of a message, or a number in both places of a percent, is a mistake."""
    before = operations.require("t")
    with pytest.raises(InvalidValue, match=f"{field}: given twice"):
        call(operations)
    assert operations.require("t") == before


# Batches.


def test_many_updates_in_one_call(operations: Operations) -> None:
    """An item is a message, a percent, or arguments by name; each comes to its snapshot, or to its own error."""
    for task_id in ("u", "v", "7"):
        operations.create_task(task_id, "ada", total=10)
    operations.complete_task("v")
    made = operations.update_many(
        [("t", "Reading"), ("u", {"current": 4, "message": "é"}), ("none", 3), ("v", 5), (7, 40), ("u", {"unit": "km"})]
    )
    kinds = [type(each) for each in made]
    assert kinds == [Task, Task, TaskNotFound, TaskAlreadyFinished, Task, Task]
    assert operations.require("t").message == "Reading"
    unit = operations.require("u")
    assert (unit.current, unit.percent, unit.message, unit.info.unit) == (4, 40.0, "é", "km")
    assert operations.require("7").percent == 40
    assert made[0] == operations.require("t")


@pytest.mark.parametrize(
    ("field", "item"),
    [
        (r"updates\[1\]", "t"),
        (r"updates\[1\]", ("t", 1, 2)),
        (r"updates\[1\]\.percent", ("t", 101)),
        (r"updates\[1\]\.percent", ("t", True)),
        (r"updates\[1\]\.percent", ("t", {"percent": -1})),
        (r"updates\[1\]\.current", ("t", {"current": float("nan")})),
        (r"updates\[1\]\.advance", ("t", {"advance": "1"})),
        (r"updates\[1\]\.message", ("t", "x" * 2001)),
        (r"updates\[1\]\.progress", ("t", None)),
        (r"updates\[1\]\.colour", ("t", {"colour": 1})),
        (r"updates\[1\]\.task_id", (None, 1)),
    ],
)
def test_a_wrong_item_is_named_and_none_is_made(operations: Operations, field: str, item: Any) -> None:
    """The first item is right, and is not made either."""
    before = operations.require("t")
    with pytest.raises(InvalidValue, match=f"^{field}: "):
        operations.update_many([("t", 5), item])
    assert operations.require("t") == before


# Bounds.

_DEEP: dict[str, Any] = {}
for _ in range(101):
    _DEEP = {"a": _DEEP}


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("name", lambda it: it.create_task("n", "ada", name="x" * 201)),
        ("name", lambda it: it.create_task("n", "ada", name=7)),
        ("message", lambda it: it.create_task("n", "ada", message="x" * 2001)),
        ("message", lambda it: it.create_task("n", "ada", message="\ud800")),
        ("total", lambda it: it.create_task("n", "ada", total=-1)),
        ("total", lambda it: it.create_task("n", "ada", total=True)),
        ("unit", lambda it: it.create_task("n", "ada", unit="x" * 41)),
        ("groups", lambda it: it.create_task("n", "ada", groups="team:7")),
        ("groups", lambda it: it.create_task("n", "ada", groups=[str(n) for n in range(9)])),
        ("metadata", lambda it: it.create_task("n", "ada", metadata=[1])),
        ("metadata", lambda it: it.create_task("n", "ada", metadata={"a": "x" * 16_384})),
        ("metadata", lambda it: it.create_task("n", "ada", metadata=_DEEP)),
        (r"metadata\.a", lambda it: it.create_task("n", "ada", metadata={"a": object()})),
        ("task_id", lambda it: it.create_task("a b", "ada")),
        ("task_id", lambda it: it.create_task("x" * 129, "ada")),
        ("task_id", lambda it: it.create_task(True, "ada")),
        ("user_id", lambda it: it.create_task("n", "")),
        ("user_id", lambda it: it.create_task("n", True)),
        ("user_id", lambda it: it.create_task("n", 1.5)),
        ("message", lambda it: it.update_task_progress("t", "x" * 2001)),
        ("message", lambda it: it.update_task_progress("t", "ä" * 2001)),
        ("message", lambda it: it.update_task_progress("t", "\udc00")),
        ("message", lambda it: it.update_task_progress("t", None, 7)),
        ("percent", lambda it: it.update_task_progress("t", 100.1)),
        ("percent", lambda it: it.update_task_progress("t", -0.1)),
        ("percent", lambda it: it.update_task_progress("t", float("nan"))),
        ("percent", lambda it: it.update_task_progress("t", True)),
        ("percent", lambda it: it.update_task_progress("t", [1])),
        ("current", lambda it: it.update_task_progress("t", current="3")),
        ("current", lambda it: it.update_task_progress("t", current=2**53 + 1)),
        ("total", lambda it: it.update_task_progress("t", total=-1)),
        ("advance", lambda it: it.update_task_progress("t", advance=float("inf"))),
        ("advance", lambda it: it.update_task_progress("t", current=2**53, advance=1)),
        ("unit", lambda it: it.update_task_progress("t", unit=3)),
        ("metadata", lambda it: it.update_task_progress("t", metadata="text")),
        ("task_id", lambda it: it.update_task_progress(None, 3)),
        ("task_id", lambda it: it.update_task_progress(1.5, 3)),
        ("task_id", lambda it: it.complete_task(None)),
        ("task_id", lambda it: it.get_task_status(None)),
        (r"result\.scores\[1\]", lambda it: it.complete_task("t", {"scores": [1, object()]})),
        ("result", lambda it: it.complete_task("t", "x" * 262_144)),
        (r"result\[0\]", lambda it: it.complete_task("t", [float("nan")])),
        ("error", lambda it: it.fail_task("t", 7)),
        ("error", lambda it: it.fail_task("t", "x" * 2001)),
        ("code", lambda it: it.fail_task("t", "No.", code="x" * 65)),
        ("type", lambda it: it.fail_task("t", "No.", type=ValueError)),
        ("retryable", lambda it: it.fail_task("t", "No.", retryable="yes")),
        ("details", lambda it: it.fail_task("t", "No.", details=[1])),
        ("details", lambda it: it.fail_task("t", TaskError("No.", details={}), details={"a": "x" * 16_384})),
        ("user_id", lambda it: it.get_task_status("t", user_id=1.5)),
        ("limit", lambda it: it.list_tasks("ada", limit=0)),
        ("limit", lambda it: it.list_tasks("ada", limit=1001)),
        ("limit", lambda it: it.list_tasks("ada", limit=True)),
        ("before", lambda it: it.list_tasks("ada", before="yesterday")),
        ("user_id", lambda it: it.list_tasks()),
        ("task_id", lambda it: it.remove_task("t")),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_and_changes_nothing(operations: Operations, field: str, call: Call) -> None:
    """InvalidValue names the field first; no task is made, and none is changed."""
    before = operations.require("t")
    with pytest.raises(InvalidValue, match=rf"^{field}: "):
        call(operations)
    assert operations.require("t") == before
    assert operations.get_task_status("n") is None


def test_a_wrong_type_is_a_type_error_too(operations: Operations) -> None:
    """Whoever expects Python's own exceptions catches them."""
    with pytest.raises(TypeError):
        operations.update_task_progress("t", True)
    with pytest.raises(ValueError, match="percent"):
        operations.update_task_progress("t", 101)
    with pytest.raises(InvalidType):
        operations.complete_task("t", object())


def test_the_bounds_are_settings() -> None:
    """What is just within a configured bound is taken, and one more is not."""
    operations = make("ada", max_name=3, max_message=3, max_metadata=9, max_result=5, max_details=9)
    operations.create_task("t", name="abc", message="abc", metadata={"a": "b"})
    operations.update_task_progress("t", "äöü", metadata={"a": "c"})
    calls: list[tuple[str, Call]] = [
        ("name", lambda it: it.create_task(name="abcd")),
        ("message", lambda it: it.create_task(message="abcd")),
        ("metadata", lambda it: it.create_task(message=None, metadata={"a": "bc"})),
        ("message", lambda it: it.update_task_progress("t", "abcd")),
        ("metadata", lambda it: it.update_task_progress("t", metadata={"a": "bc"})),
        ("result", lambda it: it.complete_task("t", "abcd")),
        ("error", lambda it: it.fail_task("t", "abcd")),
        ("details", lambda it: it.fail_task("t", "abc", details={"a": "bc"})),
    ]
    for field, call in calls:
        with pytest.raises(InvalidValue, match=f"^{field}: "):
            call(operations)
    assert operations.complete_task("t", "abc").result == "abc"


# Ends.


def test_the_same_end_again_returns_what_is_stored(operations: Operations) -> None:
    """The first result, and the first error, stay."""
    first = operations.complete_task("t", 1)
    assert operations.complete_task("t", 2) == first
    operations.create_task("u", "ada")
    failed = operations.fail_task("u", "one")
    assert operations.fail_task("u", "two") == failed
    operations.create_task("v", "ada")
    cancelled = operations.cancel_task("v", done=True)
    assert operations.cancel_task("v", done=True) == operations.cancel_task("v") == cancelled
    assert operations.fail_task("v", TaskCancelled()) == cancelled


CHANGES: dict[str, Call] = {
    "update": lambda it: it.update_task_progress("t", 1),
    "start": lambda it: it.start_task("t"),
    "complete": lambda it: it.complete_task("t"),
    "fail": lambda it: it.fail_task("t", "No."),
    "ask": lambda it: it.cancel_task("t"),
    "cancel": lambda it: it.cancel_task("t", done=True),
}


@pytest.mark.parametrize(
    ("end", "same"), [("complete", {"complete"}), ("fail", {"fail"}), ("cancel", {"ask", "cancel"})]
)
def test_nothing_follows_an_end(operations: Operations, end: str, same: set[str]) -> None:
    """Any other change raises TaskAlreadyFinished, which says how it has ended, and changes nothing."""
    CHANGES[end](operations)
    last = operations.require("t")
    for name in CHANGES.keys() - same:
        with pytest.raises(TaskAlreadyFinished) as raised:
            CHANGES[name](operations)
        assert raised.value.status == last.status
    assert operations.require("t") == last


def test_an_unknown_task_is_not_found() -> None:
    """Every change of it says so and names it; to look is no error."""
    operations = make()
    others: list[Call] = [lambda it: it.remove_task("t"), lambda it: it.require("t")]
    for call in [*CHANGES.values(), *others]:
        with pytest.raises(TaskNotFound, match="'t'"):
            call(operations)
    assert operations.get_task_status("t") is None


def test_cancelling_asks_a_task_that_runs(operations: Operations) -> None:
    """It goes on until its worker answers; asking again changes nothing."""
    asked = operations.cancel_task("t")
    assert (asked.status, asked.cancel_requested_at is not None) == (PROCESSING, True)
    assert operations.cancel_task("t") == asked
    assert operations.update_task_progress("t", "Cleaning up").status is PROCESSING
    assert operations.cancel_task("t", done=True).status is CANCELLED


def test_cancelling_ends_a_task_that_waits() -> None:
    """Nobody works on it who could answer."""
    operations = make()
    operations.create_task("t", "ada", status="pending")
    assert operations.cancel_task("t").status is CANCELLED


def test_a_task_may_be_completed_with_nothing(operations: Operations) -> None:
    """No result is None."""
    assert operations.complete_task("t").result is None


# Failures.


def test_a_failure_with_all_it_can_say(operations: Operations) -> None:
    """Text is shown as it is; code, type, retryable and details stand beside it."""
    task = operations.fail_task("t", "No date.", code="bad_row", type="Row", retryable=False, details={"row": 3})
    assert failure(task).as_dict() == {
        "type": "Row", "message": "No date.", "code": "bad_row", "retryable": False, "details": {"row": 3},
    }  # fmt: skip


def test_a_plain_message_has_the_code_failed(operations: Operations) -> None:
    """What is not said is null."""
    assert failure(operations.fail_task("t", "No.")).as_dict() == {
        "type": None, "message": "No.", "code": "failed", "retryable": None, "details": None,
    }  # fmt: skip


def test_a_task_error_says_it_all(operations: Operations, caplog: pytest.LogCaptureFixture) -> None:
    """Its message is safe to show under every setting; what the call names goes before what it brings."""
    error = TaskError("No date.", code="bad_row", retryable=True, details={"row": 3})
    for error_detail in ("message", "type", "none"):
        strict = make("ada", error_detail=error_detail)
        strict.create_task("t")
        assert failure(strict.fail_task("t", error)).as_dict() == {
            "type": "TaskError", "message": "No date.", "code": "bad_row", "retryable": True, "details": {"row": 3},
        }  # fmt: skip
    named = failure(operations.fail_task("t", error, code="other", type="Row", retryable=False, details={}))
    assert (named.code, named.type, named.retryable, named.details) == ("other", "Row", False, {})
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error_detail", "type_", "message"),
    [
        ("message", "ValueError", "password=hunter2"),
        ("type", "ValueError", "The job failed."),
        ("none", None, "The job failed."),
    ],
)
def test_of_an_exception_the_page_gets_what_the_setting_allows(
    error_detail: str, type_: str | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log gets the traceback with the task's id, whatever the page gets."""
    operations = make("ada", error_detail=error_detail)
    operations.create_task("t")
    got = failure(operations.fail_task("t", ValueError("password=hunter2")))
    assert (got.type, got.message, got.code) == (type_, message, "failed")
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "Task t failed.")
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


def test_an_error_of_this_package_is_shown_under_every_setting() -> None:
    """Its words are about the task and hold nothing of the job's: ``result.scores[3]: object cannot be written…``."""
    operations = make("ada", error_detail="none")
    operations.create_task("t")
    assert failure(operations.fail_task("t", InvalidValue("result", "too long"))).message == "result: too long"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Bare(TaskError):
    """Forgets to call ``super().__init__``."""

    def __init__(self) -> None:
        self.args = ("Bare.",)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x" * 5000), "x" * 2000),
        (ValueError("\ud800"), "\\ud800"),
        (ValueError(), "ValueError"),
        (Mute(), "Mute"),
        (Bare(), "Bare."),
        (TaskError("x" * 5000), "x" * 2000),
        (TaskError(""), "TaskError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_with_a_bad_text_still_ends_its_task(
    operations: Operations, error: BaseException, message: str
) -> None:
    """Too long, no UTF-8, none at all: the job has failed, and its task ends with what can be shown."""
    assert failure(operations.fail_task("t", error)).message == message


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (TaskError("No.", code="x" * 65), "code"),
        (TaskError("No.", code=7), "code"),  # type: ignore[arg-type]
        (TaskError("No.", retryable="yes"), "retryable"),  # type: ignore[arg-type]
        (TaskError("No.", details={"a": object()}), "details.a"),
        (TaskError("No.", details=[1]), "details"),  # type: ignore[arg-type]
    ],
)
def test_what_a_task_error_brings_and_a_task_cannot_hold_is_left_out(
    operations: Operations, error: TaskError, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names it; the task ends without it."""
    assert failure(operations.fail_task("t", error)).as_dict() == {
        "type": "TaskError", "message": "No.", "code": "failed", "retryable": None, "details": None,
    }  # fmt: skip
    (record,) = caplog.records
    assert f"{field}: " in record.getMessage()


def test_to_fail_with_task_cancelled_is_to_cancel(operations: Operations) -> None:
    """A worker may hand on whatever it has caught."""
    assert operations.fail_task("t", TaskCancelled("t")).status is CANCELLED


# Looking.


def test_a_user_sees_their_own_task_only(operations: Operations) -> None:
    """With ``user_id`` somebody else's task looks like one that does not exist; without, it is anybody's."""
    operations.create_task("free", NOBODY)
    operations.create_task("nobodys", user_id=NOBODY)
    assert operations.get_task_status("t") == operations.get_task_status("t", user_id=ANYBODY) is not None
    assert operations.get_task_status("t", user_id="ada") is not None
    for other in ("grace", None, NOBODY):
        assert operations.get_task_status("t", user_id=other) is None
        assert operations.get_task_status("nobodys", user_id=other) is None


def test_a_list_comes_in_pages(operations: Operations) -> None:
    """Newest first; ``next`` leads on, and is None on the last page."""
    for number in range(4):
        operations.create_task(f"t{number}", "ada")
    first = operations.list_tasks("ada", limit=3)
    assert [task.task_id for task in first] == ["t3", "t2", "t1"]
    assert first.next is not None
    rest = operations.list_tasks("ada", limit=3, before=first.next)
    assert ([task.task_id for task in rest], rest.next) == (["t0", "t"], None)


def test_a_list_is_of_one_user_and_groups() -> None:
    """Groups add theirs; a task of both comes once; an omitted user is the identified one."""
    operations = make("ada")
    operations.create_task("mine")
    operations.create_task("both", groups=("g",))
    operations.create_task("theirs", "grace", groups=("g",))
    operations.create_task("hers", "grace")
    assert [task.task_id for task in operations.list_tasks()] == ["both", "mine"]
    assert [task.task_id for task in operations.list_tasks(groups=["g"])] == ["theirs", "both", "mine"]
    assert [task.task_id for task in operations.list_tasks("grace")] == ["hers", "theirs"]


def test_a_list_may_be_of_those_that_have_ended_or_have_not(operations: Operations) -> None:
    """``finished`` picks."""
    operations.create_task("done", "ada")
    operations.complete_task("done")
    assert [task.task_id for task in operations.list_tasks("ada", finished=True)] == ["done"]
    assert [task.task_id for task in operations.list_tasks("ada", finished=False)] == ["t"]


@pytest.mark.parametrize("finished", ["yes", "", 1, 0])
def test_what_picks_of_a_list_is_true_false_or_none(operations: Operations, finished: Any) -> None:
    """Another value is refused by name, and does not stand for the one or the other."""
    with pytest.raises(InvalidType, match=r"^finished: True, False or None, not (str|int)$"):
        operations.list_tasks("ada", finished=finished)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_no_piece_of_output_is_too_long(letter: str) -> None:
    """Whatever it is written in: what is longer than the tail is taken, and its newest bytes are kept."""
    operations = Operations(MemoryRegistry(output_tail=1024), Config(output_tail=1024), lambda: "ada")
    operations.create_task("t")
    end = operations.append_output("t", letter * 1025)
    assert end == 1025 * len(letter.encode())
    kept = operations.registry.read_output("t", "output", 0, end, end)
    assert kept is not None
    assert kept.data.decode() == letter * (1024 // len(letter.encode()))


def test_removing_takes_a_finished_task_out(operations: Operations) -> None:
    """It is gone; what has left has a higher version than the task had."""
    last = operations.complete_task("t")
    removed = operations.remove_task("t")
    assert (removed.task_id, removed.user_id, removed.epoch) == ("t", "ada", last.epoch)
    assert removed.version > last.version
    assert operations.get_task_status("t") is None
    assert repr(NOBODY) == "NOBODY"
