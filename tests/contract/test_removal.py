"""How tasks leave a registry: on request, after their time, and where there are too many."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from realtime.errors import InvalidValue, TaskNotFound
from realtime.registry.base import Registry
from realtime.task import NewTask, Task, TaskStatus
from support.clock import Clock
from support.registries import OpenRegistry, Told

Create = Callable[..., Task]


def end(registry: Registry, *ids: str, user_id: str | None = "ada") -> None:
    """Create tasks and end them, one after the other."""
    for task_id in ids:
        registry.create(NewTask(task_id, user_id))
        registry.complete(task_id, b"1")


def ids_of(registry: Registry, user_id: str = "ada") -> list[str]:
    return [task.task_id for task in registry.list(user_id=user_id, groups=(), limit=999)[0]]


def test_remove_forgets_a_finished_task_and_tells_it(registry: Registry, told: Told, create: Create) -> None:
    """It is gone, from lists too, and its rooms learn of it with a version above all that it had."""
    create(groups=("team",))
    task = registry.complete("a", b"1")
    removed = registry.remove("a")
    assert (removed.task_id, removed.user_id, removed.groups) == ("a", "ada", ("team",))
    assert (removed.epoch, removed.version > task.version) == (registry.epoch, True)
    assert told.removed == [removed]
    assert registry.get("a") is None
    assert registry.list(user_id="ada", groups=("team",), limit=5) == ([], None)
    with pytest.raises(TaskNotFound):
        registry.remove("a")


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.PROCESSING])
def test_an_unfinished_task_cannot_be_removed(
    registry: Registry, told: Told, create: Create, status: TaskStatus
) -> None:
    """It raises, names the argument and the state, and changes nothing."""
    task = create(status=status)
    with pytest.raises(InvalidValue, match=f"task_id.*{status}"):
        registry.remove("a")
    assert registry.get("a") == task
    assert told.removed == []


def test_expire_lets_go_of_what_ended_long_ago(open_registry: OpenRegistry, clock: Clock) -> None:
    """Retention counts from the end, not from the creation; what has not ended stays for ever."""
    registry = open_registry(retention=60.0)
    told = Told(registry)
    registry.create(NewTask("open", "ada"))
    registry.create(NewTask("late", "ada"))
    end(registry, "first", "second")
    clock.go(59)
    registry.complete("late", None)
    assert registry.expire() == []
    clock.go(1)
    assert [removed.task_id for removed in registry.expire()] == ["first", "second"]
    assert ids_of(registry) == ["late", "open"]
    assert [removed.task_id for removed in registry.expire(clock.now + 59)] == ["late"]
    clock.go(1e6)
    assert registry.expire() == []
    assert told.ids == ["first", "second", "late"]


def test_expire_lets_go_of_thousands(open_registry: OpenRegistry, clock: Clock) -> None:
    """It is not limited to what one hold of the lock removes."""
    registry = open_registry(retention=1.0, max_tasks_per_user=5000)
    end(registry, *(f"t{number}" for number in range(1500)))
    clock.go(2)
    assert len(registry.expire()) == 1500
    assert ids_of(registry) == []


def test_a_clock_put_right_does_not_keep_tasks_for_ever(open_registry: OpenRegistry, clock: Clock) -> None:
    """Tasks that ended while the clock was years ahead leave one retention after it was put right, and do not hold up
    those behind them any longer."""
    registry = open_registry(retention=60.0)
    clock.go(1e9)
    end(registry, "ahead", "too")
    clock.go(-1e9)
    end(registry, "after")
    assert registry.expire() == []
    clock.go(60)
    assert {removed.task_id for removed in registry.expire()} == {"ahead", "too", "after"}


def test_a_user_keeps_the_newest_ends(open_registry: OpenRegistry) -> None:
    """Beyond the bound of a user its oldest end leaves, not its oldest task, nobody else's, and no unfinished one."""
    registry = open_registry(max_tasks_per_user=2)
    told = Told(registry)
    for task_id in ("open", "early", "late"):
        registry.create(NewTask(task_id, "ada"))
    end(registry, "other", "another", user_id="grace")
    registry.complete("late", None)
    registry.complete("early", None)
    assert told.ids == []
    end(registry, "new")
    assert told.ids == ["late"]
    assert ids_of(registry) == ["new", "early", "open"]
    assert ids_of(registry, "grace") == ["another", "other"]


def test_nobody_is_no_user_with_a_bound(open_registry: OpenRegistry) -> None:
    """Tasks without an owner are bounded in all only."""
    registry = open_registry(max_tasks=3, max_tasks_per_user=1)
    told = Told(registry)
    end(registry, "a", "b", "c", user_id=None)
    assert told.ids == []
    end(registry, "d", user_id=None)
    assert told.ids == ["a"]


def test_all_users_together_keep_the_newest_ends(open_registry: OpenRegistry) -> None:
    """Beyond the bound of all, the oldest end of anybody leaves; unfinished tasks neither leave nor count."""
    registry = open_registry(max_tasks=2)
    told = Told(registry)
    for number in range(5):
        registry.create(NewTask(f"open{number}", "ada"))
    end(registry, "a", user_id="ada")
    end(registry, "b", user_id="grace")
    end(registry, "c", user_id="joan")
    assert told.ids == ["a"]
    assert len(registry.unfinished()) == 5


def test_a_bound_of_none_keeps_no_end(open_registry: OpenRegistry) -> None:
    """With room for nothing a task leaves when it has ended; its end was told before."""
    registry = open_registry(max_tasks=0)
    order: list[str] = []
    registry.on_change = lambda task, created: order.append(task.status)
    registry.on_remove = lambda removed: order.append("removed")
    end(registry, "a")
    assert order == ["processing", "completed", "removed"]
    assert registry.get("a") is None


def test_the_end_is_told_before_its_pin_is_asked_for(open_registry: OpenRegistry) -> None:
    """Who learns of an end can keep it."""
    registry = open_registry(max_tasks=0)
    owed: set[str] = set()
    registry.on_change = lambda task, created: owed.add(task.task_id)
    registry.pinned = lambda task_id: task_id in owed
    end(registry, "a")
    assert registry.get("a") is not None


def test_pinned_tasks_stay_and_the_next_oldest_leave(open_registry: OpenRegistry) -> None:
    """A viewer that is owed an end does not lose it, and does not keep others; once it has it, the bound holds."""
    registry = open_registry(max_tasks_per_user=3)
    told = Told(registry)
    owed = {"a", "c"}
    registry.pinned = lambda task_id: task_id in owed
    end(registry, "a", "b", "c", "d", "e", "f")
    registry.expire()
    assert told.ids == ["b", "d", "e"]
    assert ids_of(registry) == ["f", "c", "a"]
    owed.clear()
    end(registry, "g")
    registry.expire()
    assert ids_of(registry) == ["g", "f", "c"]


def test_expire_returns_to_the_bound_when_pins_are_gone(open_registry: OpenRegistry) -> None:
    """What pins have kept beyond the bound leaves at the next look, without another end."""
    registry = open_registry(max_tasks=2)
    owed = True
    registry.pinned = lambda task_id: owed
    end(registry, *"abcdefghij")
    assert len(ids_of(registry)) == 10
    assert registry.expire() == []
    owed = False
    assert [removed.task_id for removed in registry.expire()] == list("abcdefgh")
    assert ids_of(registry) == ["j", "i"]


def test_pins_do_not_make_each_end_look_at_all_of_them(open_registry: OpenRegistry) -> None:
    """With hundreds pinned the questions grow with the ends, not with their square."""
    registry = open_registry(max_tasks=10)
    asked = 0

    def pinned(task_id: str) -> bool:
        nonlocal asked
        asked += 1
        return True

    registry.pinned = pinned
    end(registry, *(f"t{number}" for number in range(800)))
    assert asked < 800 * 12


def test_pinned_tasks_outlive_their_retention(open_registry: OpenRegistry, clock: Clock) -> None:
    """They leave at the first look after the pin is gone."""
    registry = open_registry(retention=60.0)
    owed = {"a"}
    registry.pinned = lambda task_id: task_id in owed
    end(registry, "a", "b")
    clock.go(60)
    assert [removed.task_id for removed in registry.expire()] == ["b"]
    owed.clear()
    assert [removed.task_id for removed in registry.expire()] == ["a"]


def test_pinned_tasks_can_be_removed_on_request(registry: Registry) -> None:
    """A pin holds off eviction, not the owner."""
    registry.pinned = lambda task_id: True
    end(registry, "a")
    assert registry.remove("a").task_id == "a"


def test_pins_are_asked_for_outside_the_lock(open_registry: OpenRegistry) -> None:
    """Whoever answers may use the registry meanwhile."""
    registry = open_registry(max_tasks=1)

    def pinned(task_id: str) -> bool:
        registry.update("open", task_id)
        return False

    registry.create(NewTask("open", "ada"))
    registry.pinned = pinned
    end(registry, "a", "b")
    task = registry.get("open")
    assert task is not None
    assert task.progress.message == "a"


def test_an_evicted_id_goes_on_above_its_last_version(open_registry: OpenRegistry, clock: Clock) -> None:
    """Eviction keeps the promise of removal: no version of an id comes twice."""
    registry = open_registry(max_tasks=1)
    told = Told(registry)
    end(registry, "a", "b")
    clock.go(-500)
    end(registry, "a")
    versions = [task.version for task, _ in told.changes if task.task_id == "a"]
    assert versions == sorted(set(versions))
    assert versions[1] < told.removed[0].version < versions[2]
