"""A retry that does not come about: what was claimed for it is given back, and the task can be tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime.errors import LimitReached, TaskAlreadyFinished, TaskExists
from realtime.kin import Kin
from realtime.registry.base import Registry
from realtime.task import NewTask, Task, TaskFailure

Create = Callable[..., Task]
Make = Callable[..., tuple[Task, bool]]

BROKEN = TaskFailure(None, "It broke.", "broken")


def create_next(registry: Registry, instead: Callable[..., tuple[Task, bool]]) -> None:
    """Have the next creation made by ``instead``, which is given the way it would have been made."""
    make = registry.create

    def once(new: NewTask, **more: Any) -> tuple[Task, bool]:
        registry.create = make  # type: ignore[method-assign]
        return instead(make, new, **more)

    registry.create = once  # type: ignore[method-assign]


def test_an_id_that_is_taken_in_between_is_no_retry(registry: Registry, create: Create) -> None:
    """Another task comes between the claim and what it is for: it does not become the next attempt."""
    create("a")
    registry.fail("a", BROKEN)

    def too_late(make: Make, new: NewTask, **more: Any) -> tuple[Task, bool]:
        make(NewTask(new.task_id, "bob"))
        return make(new, **more)

    create_next(registry, too_late)
    with pytest.raises(TaskExists):
        registry.retry("a", "b")
    assert (registry.get("a") or pytest.fail("gone")).retried_by is None
    assert registry.retry("a", "c")[0].retry_of == "a"


def test_a_retry_that_is_refused_leaves_the_task_free(registry: Registry, create: Create) -> None:
    """Its parent, say, has no room for it any more."""
    create("a")
    registry.fail("a", BROKEN)

    def refuse(make: Make, new: NewTask, **more: Any) -> tuple[Task, bool]:
        raise LimitReached("no room")

    create_next(registry, refuse)
    with pytest.raises(LimitReached):
        registry.retry("a", "b")
    assert (registry.get("a") or pytest.fail("gone")).retried_by is None
    assert registry.retry("a", "c")[0].retry_of == "a"


def test_a_part_of_what_has_ended_is_not_tried_again(registry: Registry, create: Create) -> None:
    """And nothing has moved by asking."""
    create("p")
    create("a", parent_id="p")
    registry.fail("a", BROKEN)
    registry.complete("p", None)
    before = registry.get("a")
    with pytest.raises(TaskAlreadyFinished):
        registry.retry("a", "b")
    assert registry.get("a") == before


def test_the_newest_attempt_stands_in_the_place_of_the_first(registry: Registry, create: Create) -> None:
    """Parts are told in the order in which they began, whatever became of each."""
    create("p")
    create("a", parent_id="p", kin=Kin(weight=2.0))
    create("b", parent_id="p")
    registry.fail("a", BROKEN)
    registry.retry("a", "c")
    registry.follow()
    assert [part.task_id for part in registry.children("p")] == ["c", "b"]
