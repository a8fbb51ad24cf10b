"""A record from the JSON of a snapshot: it shows the same JSON again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.client.snapshots import decoded, is_unknown, unknown
from realtime.registry import transitions
from realtime.task import COMPLETED, FAILED, PENDING, PROCESSING, NewTask, Task, TaskFailure

numbers = st.one_of(st.none(), st.integers(0, 10**6), st.floats(0, 1e6))


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """A task somewhere in its life."""
    now = draw(st.integers(10**15, 2 * 10**15)) / 1e6
    new = NewTask(
        draw(st.text("ab:.-", min_size=1, max_size=9)), draw(st.sampled_from((None, "ada", "é"))),
        draw(st.sampled_from(((), ("team:7", "b")))), draw(st.one_of(st.none(), st.text(max_size=20))),
        draw(st.sampled_from((PENDING, PROCESSING))), draw(st.one_of(st.none(), st.text(max_size=20))), draw(numbers),
        draw(st.sampled_from((None, "rows"))), draw(st.sampled_from((None, b'{"a":[1,null]}'))), draw(st.booleans()),
    )  # fmt: skip
    task = transitions.created(new, epoch="e1", now=now, version=draw(st.integers(1, 2**52)), order=7)
    for _ in range(draw(st.integers(0, 6))):
        now += draw(st.integers(1, 9)) / 4
        counts = draw(st.booleans())
        amount = draw(st.integers(0, 1000))
        task = transitions.updated(task, now, None, *((amount,) if counts else (None, None, min(amount, 100) / 1)))
    if draw(st.booleans()) and task.status is PROCESSING:
        task = transitions.asked_to_stop(task, now)
    if draw(st.booleans()):
        task = transitions.stalled(task, now)
    end = draw(st.sampled_from((None, COMPLETED, FAILED)))
    if end is COMPLETED:
        task = transitions.ended(task, now, end, result=draw(st.sampled_from((None, b'{"url":"/x"}'))))
    elif end is FAILED:
        failure = TaskFailure("OSError", "no", "failed", draw(st.sampled_from((None, True))), b'{"n":1}')
        task = transitions.ended(task, now, end, failure=failure)
    return task


@given(tasks())
def test_a_record_shows_the_same_snapshot_again(task: Task) -> None:
    """All is as it was, but for the rounding of the rate and of the time left."""
    again = decoded(task.encode())
    first, second = task.as_dict(), again.as_dict()
    for name in ("rate", "eta"):
        one, other = first["progress"].pop(name), second["progress"].pop(name)
        if one is None or (name == "rate" and one > 0):
            assert other == (None if one is None else pytest.approx(one, rel=1e-4))
        elif one and other is not None:
            assert other == pytest.approx(one, rel=0.02, abs=0.2)
    assert first == second
    assert again.finished is task.finished
    assert again.info.order == int(task.info.created * 1e6 + 0.5)


def test_what_a_newer_server_says_beyond_it_is_passed_over() -> None:
    """A client goes on with a server that says more."""
    task = transitions.created(NewTask("t"), epoch="e", now=1.0, version=1, order=1)
    said: dict[str, Any] = {**task.as_dict(), "colour": "red"}
    assert decoded(msgspec.json.encode(said)).as_dict() == task.as_dict()


def test_what_is_no_snapshot_is_refused() -> None:
    """So that a proxy's page is not taken for a task."""
    with pytest.raises(msgspec.DecodeError):
        decoded(b"<html>")


def test_the_record_of_a_task_not_heard_of_says_so() -> None:
    """It can be updated like any other."""
    task = unknown("t", 1.0)
    assert is_unknown(task)
    assert is_unknown(transitions.updated(task, 2.0, "Reading", 3))
    assert not is_unknown(decoded(transitions.created(NewTask("t"), epoch="e", now=1.0, version=1, order=9).encode()))
