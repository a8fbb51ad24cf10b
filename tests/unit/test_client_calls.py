"""How several updates become one, and pieces of output one call: the task must come out the same."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.client.calls import MAX_JOINED, Call, Merged, Waiting
from realtime.errors import TaskNotFound
from realtime.progress import percent_of
from realtime.registry.transitions import created, updated
from realtime.task import NewTask, Task

#: message, current, total, percent, advance, unit, metadata
Update = tuple[Any, ...]
NOTHING = (None,) * 7

texts = st.sampled_from((None, None, "Reading", "Writing"))
steps = st.one_of(st.none(), st.integers(-50, 500))
updates: st.SearchStrategy[Update] = st.tuples(
    texts, steps, st.one_of(st.none(), st.integers(0, 400)), st.one_of(st.none(), st.floats(0, 100)), steps,
    st.sampled_from((None, "rows", "files")), st.sampled_from((None, b'{"a":1}', b'{"a":2}')),
)  # fmt: skip
#: Work that goes forward: what is done grows, of a total that is known from the start.
forward: st.SearchStrategy[Update] = st.one_of(
    st.builds(lambda n: (None, None, None, None, n, None, None), st.integers(0, 50)),
    st.builds(lambda percent: (None, None, None, percent, None, None, None), st.floats(0, 100)),
    st.builds(lambda message: (message, None, None, None, None, None, None), texts),
)
bases = st.builds(
    lambda total, first: updated(
        created(NewTask("t", total=total), epoch="e", now=1.0, version=1, order=1), 1.0, *first
    ),
    st.one_of(st.none(), st.integers(0, 300)), st.one_of(st.just(NOTHING), updates),
)  # fmt: skip


def one_by_one(task: Task, all_of_them: list[Update]) -> Task:
    for update in all_of_them:
        task = updated(task, 2.0, *update)
    return task


def at_once(task: Task, all_of_them: list[Update]) -> Task:
    merged = Merged()
    for update in all_of_them:
        merged.take(*update)
    made = merged.updates()
    assert len(made) <= 2
    return one_by_one(task, made)


def shown(task: Task) -> tuple[Any, ...]:
    return task.message, task.current, task.total, task.info.unit, task.info.metadata_json, task.status


@given(bases, st.lists(updates, min_size=1, max_size=8))
def test_merged_updates_leave_what_all_of_them_would(base: Task, all_of_them: list[Update]) -> None:
    """Message, steps, total, unit and metadata are the same; the percent holds what was said and where the task is."""
    once, each = at_once(base, all_of_them), one_by_one(base, all_of_them)
    assert shown(once) == shown(each)
    counted = [update for update in all_of_them if (update[1], update[2], update[4]) != (None, None, None)]
    follows = counted and counted[-1][3] is None  # else the last one that counted had a percent of its own
    candidates = [base.percent, *(update[3] for update in all_of_them)]
    candidates.append(percent_of(None, each.current, each.total) if follows else None)
    expected = max((percent for percent in candidates if percent is not None), default=None)
    if follows and each.total == 0:
        expected = expected or None  # of nothing there is no percent, and 0 % shown is taken back
    assert once.percent == expected
    assert once.percent is None or (each.percent is not None and once.percent <= each.percent)


@given(bases, st.lists(forward, min_size=1, max_size=12))
def test_work_that_goes_forward_is_merged_without_a_difference(base: Task, all_of_them: list[Update]) -> None:
    """Where nothing is taken back, nobody could tell the one update from the many."""
    once, each = at_once(base, all_of_them), one_by_one(base, all_of_them)
    assert (*shown(once), once.percent) == (*shown(each), each.percent)


def test_a_percent_beside_steps_goes_in_a_call_of_its_own() -> None:
    """In one call with the steps it would stand for them, and hide that more is done."""
    merged = Merged()
    merged.take(None, None, None, 10.0, None, None, None)
    merged.take(None, 50, 100, None, None, None, None)
    assert merged.updates() == [(None, 50, 100, None, None, None, None), (None, None, None, 10.0, None, None, None)]


@given(st.lists(st.tuples(st.sampled_from(("output", "log")), st.text(max_size=30_000)), max_size=12))
def test_output_is_joined_whole_and_in_order(pieces: list[tuple[str, str]]) -> None:
    """Every byte of a stream is there once, in the order in which it was written; no piece is cut."""
    waiting = Waiting("t")
    for stream, text in pieces:
        waiting.write(stream, text.encode())
    calls = waiting.drain()
    assert not waiting
    for stream in ("output", "log"):
        parts = [call.args[1] for call in calls if call.args[0] == stream]
        assert b"".join(parts).decode() == "".join(text for name, text in pieces if name == stream)
        written = list(accumulate(len(text.encode()) for name, text in pieces if name == stream))
        assert set(accumulate(map(len, parts))) <= set(written)
        assert all(len(one) + len(other) > MAX_JOINED for one, other in pairwise(parts))


def test_what_follows_a_call_is_not_merged_into_what_was_before_it() -> None:
    """Updates before an end stay before it, and what comes after stays after."""
    waiting = Waiting("t")
    waiting.merged = Merged()
    waiting.merged.take("before", None, None, None, None, None, None)
    waiting.write("output", b"a")
    waiting.put(Call("request_cancel", "t", ()))
    waiting.write("output", b"b")
    waiting.merged = Merged()
    waiting.merged.take("after", None, None, None, None, None, None)
    said = [(call.verb, *call.args[:2]) for call in waiting.drain()]
    assert said == [
        ("update", "before", None), ("append_output", "output", b"a"), ("request_cancel",),
        ("update", "after", None), ("append_output", "output", b"b"),
    ]  # fmt: skip


def test_the_value_of_a_call_is_its_answer_or_the_error_raised() -> None:
    """An error as an answer is raised where the call was made."""
    call = Call("get", "t", ())
    call.conclude(TaskNotFound("t"))
    with pytest.raises(TaskNotFound):
        call.value()
    assert repr(call) == "<Call get 't'>"
