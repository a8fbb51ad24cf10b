"""The moves of a task, beyond what the contract of the registries says of them."""

from __future__ import annotations

import pytest

from realtime.errors import InvalidValue, TaskAlreadyFinished
from realtime.progress import SAMPLE_INTERVAL
from realtime.registry import transitions
from realtime.task import NewTask, Task, TaskStatus
from support.clock import START


def make(**fields: object) -> Task:
    new = NewTask("a", "ada", **fields)  # type: ignore[arg-type]
    return transitions.created(new, epoch="e1", now=START, version=7, order=1)


def test_a_change_makes_a_new_record() -> None:
    """The old one stays as it was, so whoever holds it holds a snapshot."""
    task = make(total=10)
    before = task.encode()
    later = transitions.updated(task, START + 1, "On", 5)
    transitions.ended(later, START + 2, TaskStatus.FAILED)
    assert task.encode() == before
    assert (later.version, later.progress.current) == (8, 5)


def test_what_seldom_changes_is_shared() -> None:
    """An update costs the fields that move, not the whole task."""
    task = make(total=10, unit="rows")
    assert transitions.updated(task, START + 1, "On", 5, total=20).info is task.info
    assert transitions.updated(task, START + 1, unit="pages").info is not task.info


def test_nothing_to_change_is_the_same_record() -> None:
    """A registry sees from it that there is nothing to store and nothing to tell."""
    task = transitions.asked_to_stop(make(), START)
    assert transitions.begun(task, START + 1) is task
    assert transitions.asked_to_stop(task, START + 1) is task
    silent = transitions.stalled(task, START)
    assert transitions.stalled(silent, START + 1) is silent
    done = transitions.ended(silent, START + 1, TaskStatus.CANCELLED)
    assert transitions.ended(done, START + 2, TaskStatus.CANCELLED) is done
    assert transitions.asked_to_stop(done, START + 2) is done
    assert transitions.stalled(done, START + 2) is done


def test_the_wait_before_the_start_is_no_work() -> None:
    """A task that was pending for an hour has its rate from the start on."""
    task = transitions.begun(make(status=TaskStatus.PENDING, total=100), START + 3600)
    for second in range(1, 4):
        task = transitions.updated(task, START + 3600 + second, current=second * 5)
    assert task.progress.rate == 5.0


def test_a_hot_loop_takes_few_samples() -> None:
    """Thousands of updates in a moment leave the pace as it is, so they do not pay for it."""
    task = make(total=10_000)
    pace = task.pace
    for step in range(1000):
        task = transitions.updated(task, START + step * SAMPLE_INTERVAL / 1001, current=step)
    assert task.pace is pace


def test_messages_alone_do_not_count_as_progress() -> None:
    """A task that talks and does not move has a rate that falls to nothing."""
    task = make(total=100)
    for second in range(1, 4):
        task = transitions.updated(task, START + second, current=second * 5)
    for second in range(4, 200):
        task = transitions.updated(task, START + second, f"Still at it: {second}")
    assert task.progress.rate == pytest.approx(0.0, abs=1e-6)


def test_a_percent_alone_tells_the_time_left() -> None:
    """Four looks at a percent, and the page can say how long."""
    task = make()
    for second in range(4):
        task = transitions.updated(task, START + second, percent=second * 10.0)
    assert (task.progress.rate, task.progress.eta) == (None, 7.0)


def test_a_late_update_is_refused_before_it_is_looked_at() -> None:
    """After the end a sum that would be too large is no news either."""
    done = transitions.ended(make(), START, TaskStatus.COMPLETED)
    with pytest.raises(TaskAlreadyFinished, match="completed"):
        transitions.updated(done, START, advance=2**60)


def test_a_task_begins_unfinished() -> None:
    """The state of a new task is one that something may follow."""
    with pytest.raises(InvalidValue, match=r"status: failed; a task begins as pending or processing"):
        make(status=TaskStatus.FAILED)
