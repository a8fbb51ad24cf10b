"""Parents in a file: what becomes of them when a new process opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.kin import Children, Kin
from realtime.registry.leases import WORKER_LOST
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import NewTask, Task, TaskFailure
from support.clock import Clock

Open = Callable[..., SqliteRegistry]
BROKEN = TaskFailure(None, "no", "no")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_file(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Opens the file again and again; who comes next closes it first."""
    opened: list[SqliteRegistry] = []

    def open_it(**settings: Any) -> SqliteRegistry:
        for registry in opened:
            registry.close()
        opened[:] = [SqliteRegistry(tmp_path / "tasks.db", clock=clock, **settings)]
        return opened[0]

    yield open_it
    for registry in opened:
        registry.close()


def get(registry: SqliteRegistry, task_id: str) -> Task:
    registry.follow()
    task = registry.get(task_id)
    assert task is not None
    return task


def make_group(registry: SqliteRegistry, count: int, group: str = "g") -> None:
    registry.create(NewTask(group, "ada", kin=Kin(announced=count)))
    for number in range(count):
        registry.create(NewTask(f"{group}{number}", "ada", parent_id=group))


def test_a_group_lives_as_long_as_one_of_its_parts(open_file: Open) -> None:
    """One on a worker elsewhere: the group goes on, on all levels above it; what was lost counts as that."""
    registry = open_file()
    registry.create(NewTask("top", "ada", kin=Kin(announced=1)))
    registry.create(NewTask("g", "ada", parent_id="top", kin=Kin(announced=3)))
    for number in range(3):
        registry.create(NewTask(f"g{number}", "ada", parent_id="g"))
    registry.heartbeat("g0", 30.0)
    registry.complete("g1", None)
    registry = open_file()
    assert (get(registry, "top").status, get(registry, "g").status) == ("processing", "processing")
    assert get(registry, "g").children == Children(3, processing=1, completed=1, failed=1, counted=True)
    registry.complete("g0", None)
    end = get(registry, "g")
    assert end.error == TaskFailure(None, "2 of 3 completed; 1 failed.", "partly_completed")
    assert (get(registry, "top").error or BROKEN).code == "children_failed"


def test_a_group_whose_parts_are_all_lost_ends_by_them(open_file: Open) -> None:
    """And one that still waits for parts, or for another attempt, has lost who would make them."""
    registry = open_file()
    make_group(registry, 2)
    registry.complete("g0", None)
    registry.create(NewTask("waits", "ada", kin=Kin(announced=2)))
    registry.create(NewTask("one", "ada", parent_id="waits"))
    registry.complete("one", None)
    make_group(registry, 1, "again")
    registry.fail("again0", TaskFailure(None, "busy", "busy", True))
    registry.create(NewTask("own", "ada"))
    registry.create(NewTask("part", "ada", parent_id="own"))
    registry = open_file()
    assert get(registry, "g").error == TaskFailure(None, "1 of 2 completed; 1 failed.", "partly_completed")
    assert [get(registry, one).error for one in ("waits", "again", "own", "part")] == [WORKER_LOST] * 4
    assert get(registry, "waits").children == Children(2, completed=1, counted=True)
    assert registry.unfinished() == []


def test_all_that_a_parent_is_comes_back(open_file: Open) -> None:
    """Byte for byte: counts, weights, levels, attempts."""
    registry = open_file()
    registry.create(NewTask("p", "ada"))
    registry.heartbeat("p", 30.0)
    registry.create(NewTask("a", "ada", parent_id="p", kin=Kin(2.5)))
    registry.fail("a", BROKEN)
    follower, _ = registry.retry("a", "b")
    registry.cancel("b")
    before = [get(registry, one) for one in "ab"]
    registry = open_file()
    after = [get(registry, one) for one in "ab"]
    assert [task.encode() for task in after] == [task.encode() for task in before]
    assert [task.info.kin for task in after] == [Kin(2.5, None, 1, None, "b"), Kin(2.5, None, 1, "a")]
    assert follower.attempt == after[1].attempt == 2
    assert get(registry, "p").children == Children(1, cancelled=1, counted=True)
    assert registry.retry("b")[0].attempt == 3
    assert get(registry, "p").children == Children(1, pending=1, counted=True)


def test_a_finished_part_stays_until_its_parent_has_ended(open_file: Open, clock: Clock) -> None:
    """Or a process that opens the file would not know what it has come to."""
    registry = open_file(retention=60.0, max_tasks_per_user=1)
    registry.create(NewTask("g", "ada", kin=Kin(announced=3)))
    registry.heartbeat("g", 30.0)
    for number in range(2):
        registry.create(NewTask(f"g{number}", "ada", parent_id="g"))
        registry.complete(f"g{number}", None)
    clock.go(100.0)
    registry.expire()
    registry = open_file(retention=60.0, max_tasks_per_user=1)
    assert get(registry, "g").children == Children(3, completed=2, counted=True)
    registry.create(NewTask("g2", "ada", parent_id="g"))
    registry.complete("g2", None)
    assert get(registry, "g").result == {"completed": 3}
    clock.go(100.0)
    registry.expire()
    assert registry.count() == (0, 0)


def test_a_part_of_a_task_that_is_gone_counts_in_no_other_of_its_id(open_file: Open) -> None:
    """Nor after the file was opened again."""
    registry = open_file()
    registry.create(NewTask("p", "eve"))
    registry.create(NewTask("a", "eve", parent_id="p"))
    registry.complete("p", None)
    registry.remove("p")
    registry.create(NewTask("p", "ada", kin=Kin(announced=1)))
    registry.heartbeat("p", 30.0)
    registry.complete("a", None)
    registry = open_file()
    registry.update("p", "Going on")
    assert (get(registry, "p").children, get(registry, "p").status) == (Children(1, counted=True), "processing")
    registry.create(NewTask("b", "ada", parent_id="p"))
    registry.complete("b", None)
    assert get(registry, "p").result == {"completed": 1}
