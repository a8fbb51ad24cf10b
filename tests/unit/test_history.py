"""The checker of histories finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest

from support.history import History


def snapshot(version: int, status: str = "processing", user: str = "ada") -> dict[str, Any]:
    return {"task_id": "t", "user": user, "version": version, "status": status}


def recorded(*seen: dict[str, Any]) -> History:
    history = History()
    for made in (snapshot(1), snapshot(2), snapshot(3, "completed")):
        history.acknowledged(made)
    events = {"completed": "task_completed", "failed": "task_failed"}
    history.saw("ada", [(events.get(task["status"], "task_progress"), task) for task in seen])
    return history


def test_a_right_history_passes() -> None:
    """Versions may be left out, and told twice."""
    recorded(snapshot(1), snapshot(1), snapshot(3, "completed")).check({"ada": ["t"]})


@pytest.mark.parametrize(
    "seen",
    [
        [snapshot(2), snapshot(1), snapshot(3, "completed")],
        [snapshot(3, "completed"), snapshot(4)],
        [snapshot(1)],
        [snapshot(1, user="grace"), snapshot(3, "completed")],
        [snapshot(2, "failed"), snapshot(3, "completed")],
        [],
    ],
    ids=["goes back", "goes on after the end", "has not ended", "another's", "two states of a version", "nothing"],
)
def test_a_planted_fault_is_found(seen: list[dict[str, Any]]) -> None:
    """Each of these is a fault that a server could have."""
    with pytest.raises(AssertionError):
        recorded(*seen).check({"ada": ["t"]})


def state(version: int, status: str, current: int, code: str | None = None) -> dict[str, Any]:
    error = None if code is None else {"code": code}
    return {**snapshot(version, status), "progress": {"current": current}, "error": error}


def advanced() -> History:
    """A task that was created, advanced twice, and perhaps once more."""
    history = History()
    history.acknowledged(state(1, "processing", 0))
    history.advanced(state(2, "processing", 1))
    history.advanced(state(3, "processing", 2))
    history.unanswered("t", None)
    return history


def test_what_was_acknowledged_has_survived() -> None:
    """As it was, or with what was done without an answer; or, when nobody was left to work on it, as lost."""
    advanced().survived({"t": state(3, "processing", 2)})
    advanced().survived({"t": state(4, "processing", 3)})
    advanced().survived({"t": state(4, "failed", 0, "worker_lost")}, frozenset("t"))
    history = advanced()
    history.unanswered("t", "completed")
    history.survived({"t": state(4, "completed", 2)})
    history.learned(state(4, "completed", 2))
    history.survived({"t": state(4, "completed", 2)}, frozenset("t"))


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        (None, False),
        (state(2, "processing", 1), False),
        (state(3, "processing", 4), False),
        (state(4, "completed", 2), False),
        (state(4, "failed", 2, "worker_lost"), False),
        (state(3, "failed", 2, "worker_lost"), True),
        (state(3, "processing", 2), True),
    ],
    ids=["gone", "a change is lost", "counted twice", "nobody ended it", "nor lost it", "a version again", "goes on"],
)
def test_what_has_not_survived_is_found(now: dict[str, Any] | None, lost: bool) -> None:
    """Each of these is a change that was acknowledged, and is not so."""
    with pytest.raises(AssertionError):
        advanced().survived({"t": now}, frozenset("t" if lost else ()))


def test_an_end_that_was_acknowledged_stays() -> None:
    """Nothing of it may differ, and what was counted before it counts."""
    for end, now in (
        (state(4, "completed", 2), state(5, "failed", 2, "worker_lost")),
        (state(4, "completed", 4), state(4, "completed", 4)),
    ):
        history = advanced()
        history.acknowledged(end)
        with pytest.raises(AssertionError):
            history.survived({"t": now}, frozenset("t"))


def test_what_a_worker_counted_is_there_when_it_is_lost() -> None:
    """Where the registry keeps progress, the end by somebody else takes none of it."""
    for keeps_progress, current in ((True, 3), (True, 4), (False, 0)):
        history = History(keeps_progress=keeps_progress)
        history.acknowledged(state(1, "processing", 0))
        history.counted("t", 3, 4)
        history.survived({"t": state(5, "failed", current, "worker_lost")}, frozenset("t"))
    for current in (2, 5):
        history = History(keeps_progress=True)
        history.acknowledged(state(1, "processing", 0))
        history.counted("t", 3, 4)
        with pytest.raises(AssertionError, match="was advanced 3 times"):
            history.survived({"t": state(5, "failed", current, "worker_lost")}, frozenset("t"))


def test_a_creation_without_an_answer_is_looked_for() -> None:
    """It need not be there; once it was seen, it stays."""
    history = History()
    history.unanswered("t", "created")
    assert history.tasks() == ["t"]
    history.survived({})
    history.learned(state(1, "processing", 0))
    history.survived({"t": state(1, "processing", 0)})
    with pytest.raises(AssertionError, match="gone"):
        history.survived({})


def test_what_was_acknowledged_in_a_memory_that_is_gone_may_be_gone() -> None:
    """And what was acknowledged in the one that there is now may not."""
    history = History()
    history.acknowledged({**state(1, "processing", 0), "epoch": "before"})
    history.survived({"t": {**state(1, "processing", 0), "epoch": "after"}}, epoch="after")
    history.survived({}, epoch="after")
    assert history.tasks() == []
    history.acknowledged({**state(1, "processing", 0), "epoch": "after"})
    with pytest.raises(AssertionError, match="gone"):
        history.survived({}, epoch="after")


def test_two_ends_that_were_acknowledged_are_found() -> None:
    """Whatever is so afterwards."""
    history = History()
    history.acknowledged(state(1, "failed", 0, "worker_lost"))
    history.acknowledged(state(2, "completed", 0))
    fault = "ended as completed and as failed"
    with pytest.raises(AssertionError, match=fault):
        history.survived({"t": state(2, "completed", 0)})
    with pytest.raises(AssertionError, match=fault):
        history.check({})
