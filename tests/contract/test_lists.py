"""What a registry gives in pages: whose tasks, in which order, each once."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from itertools import chain

import pytest

from realtime.errors import InvalidValue
from realtime.registry.base import Registry
from realtime.task import Task
from support.clock import Clock

Create = Callable[..., Task]


def pages(
    registry: Registry,
    limit: int,
    *,
    user_id: str | None = "ada",
    groups: Collection[str] = (),
    finished: bool | None = None,
) -> list[list[str]]:
    """The ids of all pages, one after the other."""
    found: list[list[str]] = []
    before = None
    while True:
        tasks, before = registry.list(user_id=user_id, groups=groups, limit=limit, before=before, finished=finished)
        found.append([task.task_id for task in tasks])
        if before is None:
            return found


@pytest.mark.parametrize("task_id", ["\ud800", "a}:out", "a\n", "", "a" * 129, "/a", "\x00"])
def test_what_no_task_can_be_called_is_no_task(registry: Registry, create: Create, task_id: str) -> None:
    """Viewers may ask for anything that JSON can say."""
    create("a")
    assert registry.get(task_id) is None


def test_a_list_is_newest_first_in_pages(registry: Registry, create: Create) -> None:
    """The order is that of creation, also within one microsecond; the last page has no next."""
    for number in range(7):
        create(f"t{number}")
    assert pages(registry, 3) == [["t6", "t5", "t4"], ["t3", "t2", "t1"], ["t0"]]
    assert pages(registry, 7) == [["t6", "t5", "t4", "t3", "t2", "t1", "t0"]]


def test_a_clock_that_steps_back_does_not_mix_up_the_order(registry: Registry, clock: Clock, create: Create) -> None:
    """What was created later stands first, whatever the clock said."""
    for number in range(3):
        create(f"t{number}")
        clock.go(-10)
    assert pages(registry, 2) == [["t2", "t1"], ["t0"]]


def test_a_list_of_nothing_is_empty(registry: Registry, create: Create) -> None:
    """Who owns nothing sees nothing."""
    create()
    assert registry.list(user_id="grace", groups=("team",), limit=5) == ([], None)


def test_a_list_holds_the_users_and_the_groups_tasks_each_once(registry: Registry, create: Create) -> None:
    """Own tasks and those of every group given are merged; a task that is visible in several ways stands there once."""
    create("own")
    create("other", "grace")
    create("shared", "grace", groups=("team", "house"))
    create("both", "ada", groups=("team",))
    create("nobody", None, groups=("house",))
    assert pages(registry, 2, groups=("team", "house", "team", "void")) == [["nobody", "both"], ["shared", "own"]]
    assert pages(registry, 9, groups=("team",)) == [["both", "shared", "own"]]
    assert pages(registry, 9) == [["both", "own"]]
    assert pages(registry, 9, user_id=None, groups=("team",)) == [["both", "shared"]]


def test_users_and_groups_of_one_name_are_told_apart(registry: Registry, create: Create) -> None:
    """A user called as a group is not a member of it, nor the other way round."""
    create("users", "x")
    create("groups", "ada", groups=("x",))
    assert pages(registry, 9, user_id="x") == [["users"]]
    assert pages(registry, 9, user_id=None, groups=("x",)) == [["groups"]]


def test_nobody_owns_no_list(registry: Registry, create: Create) -> None:
    """Tasks without an owner are not those of a user called nobody, nor of no user."""
    create("a", None)
    for user_id in (None, "None", ""):
        assert registry.list(user_id=user_id, groups=(), limit=5) == ([], None)


def test_a_list_can_hold_only_what_has_ended_or_has_not(registry: Registry, create: Create) -> None:
    """A task moves from one list to the other with its end and keeps its place among the others."""
    for number in range(6):
        create(f"t{number}", groups=("team",))
    for number in (4, 0, 2):
        registry.cancel(f"t{number}")
    assert pages(registry, 2, finished=True) == [["t4", "t2"], ["t0"]]
    assert pages(registry, 2, finished=False) == [["t5", "t3"], ["t1"]]
    assert pages(registry, 4, user_id=None, groups=("team",)) == [["t5", "t4", "t3", "t2"], ["t1", "t0"]]


def test_pages_stay_right_while_tasks_come_end_and_leave(registry: Registry, create: Create) -> None:
    """What is created meanwhile is above the next page; what was removed, even the task that the cursor stands on, is
    missing; nothing comes twice."""
    for number in range(6):
        create(f"t{number}")
    first, before = registry.list(user_id="ada", groups=(), limit=2)
    create("new")
    for number in (3, 4):
        registry.cancel(f"t{number}")
        registry.remove(f"t{number}")
    registry.cancel("t2")
    second, before = registry.list(user_id="ada", groups=(), limit=2, before=before)
    assert [task.task_id for task in first + second] == ["t5", "t4", "t2", "t1"]
    assert before is not None
    assert [task.task_id for task in registry.list(user_id="ada", groups=(), limit=2, before=before)[0]] == ["t0"]


def test_pages_stay_right_over_many_tasks(registry: Registry, create: Create) -> None:
    """Thousands of tasks, ended and removed in any order, are paged through like a few."""
    ids = [f"t{number}" for number in range(2500)]
    for task_id in ids:
        create(task_id)
    ended = [task_id for number, task_id in enumerate(ids) if number * 7919 % 3 == 0]
    removed = [task_id for number, task_id in enumerate(ended) if number * 104_729 % 5 < 3]
    shuffle = random.Random(7).shuffle
    shuffle(ended)
    for task_id in ended:
        registry.cancel(task_id)
    shuffle(removed)
    for task_id in removed:
        registry.remove(task_id)
    there = [task_id for task_id in reversed(ids) if task_id not in set(removed)]
    assert list(chain(*pages(registry, 97))) == there
    assert list(chain(*pages(registry, 97, finished=True))) == [task_id for task_id in there if task_id in set(ended)]
    assert [task.task_id for task in registry.unfinished()] == [task_id for task_id in ids if task_id not in set(ended)]


@pytest.mark.parametrize("before", ["", "x", "9", ".9", "{epoch}.", "{epoch}.x", "{epoch}.-1", "{epoch}.²", "other.5"])
def test_a_cursor_that_no_page_gave_is_refused(registry: Registry, create: Create, before: str) -> None:
    """It raises, and names the argument."""
    create()
    with pytest.raises(InvalidValue, match="before"):
        registry.list(user_id="ada", groups=(), limit=5, before=before.format(epoch=registry.epoch))


def test_lists_show_tasks_as_they_are_now(registry: Registry, create: Create) -> None:
    """The newest snapshot is in the list, with the updates of the last moment."""
    create()
    task = registry.update("a", "On")
    assert registry.list(user_id="ada", groups=(), limit=5)[0] == [task]


def test_unfinished_are_the_oldest_first(registry: Registry, create: Create) -> None:
    """Everybody's and nobody's tasks that have not ended, in the order of their creation."""
    for number, user_id in enumerate(("ada", "grace", None, "ada")):
        create(f"t{number}", user_id)
    registry.cancel("t1")
    assert [task.task_id for task in registry.unfinished()] == ["t0", "t2", "t3"]
