"""The record of a task and its bytes on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.protocol import MAX_PUSHED_RESULT_BYTES
from realtime.registry import transitions
from realtime.task import TRANSITIONS, NewTask, Task, TaskFailure, TaskStatus
from support.clock import START

FAILURE = TaskFailure("ValueError", "bad row", "bad_row", False, b'{"row":3}')


def make(new: NewTask | None = None, now: float = START) -> Task:
    new = NewTask("a", "ada") if new is None else new
    return transitions.created(new, epoch="e1", now=now, version=int(now * 1e6), order=1)


# States.


def test_a_status_is_its_text() -> None:
    """It compares, prints and formats as the word on the wire."""
    assert [str(status) for status in TaskStatus] == ["pending", "processing", "completed", "failed", "cancelled"]
    assert [f"{status}" for status in TaskStatus] == list(TaskStatus)


def test_the_table_knows_every_state_and_ends_in_the_finished_ones() -> None:
    """From a finished state nothing leads on, from any other something does; nothing leads back to pending."""
    assert set(TRANSITIONS) == set(TaskStatus)
    for status, after in TRANSITIONS.items():
        assert status.finished == (not after)
        assert TaskStatus.PENDING not in after


def test_the_table_cannot_be_changed() -> None:
    """It is the law for every registry in the process."""
    with pytest.raises(TypeError):
        TRANSITIONS[TaskStatus.FAILED] = frozenset()  # type: ignore[index]


def test_it_prints_short_and_without_what_people_wrote() -> None:
    """In a log a task is one short line: which one, how it stands, how far it is."""
    task = make(NewTask("a", "ada", name="Secret plans"))
    assert repr(task) == f"<Task 'a' processing, version {task.version}>"
    third = transitions.updated(task, START, current=1, total=3)
    assert repr(third) == f"<Task 'a' processing at 33.33 %, version {third.version}>"


# The wire.


def test_the_wire_form_of_a_new_task() -> None:
    """Every field of the protocol is there, null where there is nothing to say."""
    new = NewTask("a", "42", ("team:7", "x"), "Export", total=200, unit="rows", cancellable=True)
    assert make(new).as_dict() == {
        "task_id": "a",
        "user": "42",
        "groups": ["team:7", "x"],
        "name": "Export",
        "status": "processing",
        "version": 1_795_495_200_000_000,
        "epoch": "e1",
        "progress": {
            "current": 0,
            "total": 200,
            "unit": "rows",
            "percent": 0.0,
            "message": "Starting...",
            "rate": None,
            "eta": None,
        },
        "created_at": "2026-11-24T04:40:00.000000Z",
        "started_at": "2026-11-24T04:40:00.000000Z",
        "updated_at": "2026-11-24T04:40:00.000000Z",
        "completed_at": None,
        "result": None,
        "error": None,
        "cancellable": True,
        "cancel_requested_at": None,
        "cancel_acknowledged_at": None,
        "stalled_since": None,
        "attempt": 1,
        "retry_of": None,
        "parent_id": None,
        "retried_by": None,
        "children": None,
        "output_size": 0,
        "metadata": {},
    }


def test_the_wire_form_of_a_task_under_way() -> None:
    """Counts, rate, time left and the request to stop are shown as they are stored."""
    task = make(NewTask("a", None, total=200, status=TaskStatus.PENDING, metadata=b'{"k":[1,null]}', retry_of="z"))
    for step in range(5):
        task = transitions.updated(task, START + step, "Reading", 4 * step, unit="rows")
    task = transitions.asked_to_stop(task, START + 5.25)
    task = transitions.stalled(task, START + 4.000001)
    shown = task.as_dict()
    assert shown["progress"] == {
        "current": 16,
        "total": 200,
        "unit": "rows",
        "percent": 8.0,
        "message": "Reading",
        "rate": 4.0,
        "eta": 46.0,
    }
    assert shown["progress"] == task.progress.as_dict()
    assert (shown["user"], shown["name"], shown["groups"], shown["retry_of"]) == (None, None, [], "z")
    assert shown["cancel_requested_at"] == "2026-11-24T04:40:05.250000Z"
    assert shown["stalled_since"] == "2026-11-24T04:40:04.000001Z"
    assert shown["metadata"] == task.metadata == {"k": [1, None]}


def test_an_end_shows_no_rate_and_no_time_left() -> None:
    """They are about what is to come."""
    task = make(NewTask("a", "ada", total=10))
    for step in range(5):
        task = transitions.updated(task, START + step, current=step)
    assert task.progress.rate == 1.0
    ended = transitions.ended(task, START + 9, TaskStatus.COMPLETED, b"[1]")
    assert (ended.progress.rate, ended.progress.eta, ended.as_dict()["progress"]["rate"]) == (None, None, None)
    assert (ended.as_dict()["completed_at"], ended.result) == ("2026-11-24T04:40:09.000000Z", [1])


def test_a_failure_on_the_wire() -> None:
    """``error`` has all five parts; its details are decoded for Python."""
    task = transitions.ended(make(), START, TaskStatus.FAILED, failure=FAILURE)
    error = {"type": "ValueError", "message": "bad row", "code": "bad_row", "retryable": False, "details": {"row": 3}}
    assert task.as_dict()["error"] == FAILURE.as_dict() == error
    bare = TaskFailure(None, "no", "failed")
    assert json.loads(bare.encode()) == bare.as_dict() == dict.fromkeys(error) | {"message": "no", "code": "failed"}


def test_a_push_leaves_a_long_result_out() -> None:
    """Up to the bound a result is pushed; beyond, it is null and said to be omitted. `encode` always has it."""
    short = b'"' + b"x" * (MAX_PUSHED_RESULT_BYTES - 2) + b'"'
    task = transitions.ended(make(), START, TaskStatus.COMPLETED, short)
    assert task.encode_push() == task.encode()
    assert "result_omitted" not in task.as_dict()
    task = transitions.ended(make(), START, TaskStatus.COMPLETED, short[:-1] + b'x"')
    pushed = json.loads(task.encode_push())
    assert (pushed.pop("result"), pushed.pop("result_omitted")) == (None, True)
    whole = task.as_dict()
    assert len(whole.pop("result")) == MAX_PUSHED_RESULT_BYTES - 1
    assert pushed == whole


def test_an_unfinished_task_is_pushed_whole() -> None:
    """The two forms differ in long results only."""
    assert make().encode_push() == make().encode()


texts = st.text(max_size=40)
numbers = st.integers(-(2**53), 2**53) | st.floats(-(2**53), 2**53, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(
    user=texts,
    name=st.none() | texts,
    message=st.none() | texts,
    unit=st.none() | texts,
    groups=st.lists(texts, max_size=3).map(tuple),
    current=st.none() | numbers,
    total=st.none() | numbers.filter(lambda total: total >= 0),
    percent=st.none() | st.floats(0, 100),
    metadata=st.dictionaries(texts, st.none() | texts | numbers, max_size=3),
    gaps=st.lists(st.floats(-10, 1e4), max_size=5),
)
def test_every_value_survives_the_wire(
    user: str,
    name: str | None,
    message: str | None,
    unit: str | None,
    groups: tuple[str, ...],
    current: float | None,
    total: float | None,
    percent: float | None,
    metadata: dict[str, Any],
    gaps: list[float],
) -> None:
    """The bytes are strict JSON in UTF-8, and say what the record says: quotes, control characters, emoji and all."""
    task = make(NewTask("a", user, groups, name, message=message, unit=unit, metadata=msgspec.json.encode(metadata)))
    now = START
    for gap in gaps:
        now += gap
        task = transitions.updated(task, now, None, current, total, percent)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    shown = json.loads(task.encode().decode(), parse_constant=refuse)
    assert (shown["user"], shown["name"], tuple(shown["groups"])) == (user, name, groups)
    assert shown["progress"] == task.progress.as_dict()
    assert (shown["progress"]["message"], shown["progress"]["unit"]) == (message, unit)
    assert shown["metadata"] == metadata
    assert shown == task.as_dict() == json.loads(task.encode_push())


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 4e9), st.sampled_from(["created_at", "started_at", "updated_at"]))
def test_times_are_the_same_in_python_and_on_the_wire(now: float, field: str) -> None:
    """To the microsecond, in UTC, with a ``Z`` and always six digits."""
    task = make(now=now)
    text = task.as_dict()[field]
    moment = getattr(task, field)
    assert len(text) == len("2026-11-24T04:40:00.000000Z")
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment
    assert moment.tzinfo is UTC
    assert abs(moment - (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=now))) <= timedelta(microseconds=1)


def test_times_that_are_not_there_are_none() -> None:
    """A pending task has neither started nor ended, nor was it asked to stop, nor is it silent."""
    task = make(NewTask("a", "ada", status=TaskStatus.PENDING))
    assert (task.started_at, task.completed_at, task.cancel_requested_at, task.stalled_since) == (None,) * 4


# The record.


def test_a_record_never_changes() -> None:
    """Nothing of a snapshot can be set."""
    task = make()
    for name in ("version", "message", "info"):
        with pytest.raises(AttributeError):
            setattr(task, name, None)
    with pytest.raises(AttributeError):
        task.info.name = "x"  # type: ignore[misc]


def test_what_is_decoded_is_a_copy() -> None:
    """Whoever changes the result or the metadata he was given changes nothing stored."""
    task = transitions.ended(make(NewTask("a", "ada", metadata=b'{"k":1}')), START, TaskStatus.COMPLETED, b"[1]")
    task.result.append(2)
    task.metadata["k"] = 2
    assert (task.result, task.metadata) == ([1], {"k": 1})


def test_the_parts_that_never_change_can_be_read() -> None:
    """Owner, groups, name, epoch and descent are those of the creation."""
    task = make(NewTask("b", "ada", ("g",), "Export", cancellable=True, attempt=2, retry_of="a", parent_id="p"))
    assert (task.task_id, task.user_id, task.groups, task.name, task.epoch) == ("b", "ada", ("g",), "Export", "e1")
    assert (task.cancellable, task.attempt, task.retry_of, task.parent_id) == (True, 2, "a", "p")
    assert task.etag == f'"e1.{task.version}"'
