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
