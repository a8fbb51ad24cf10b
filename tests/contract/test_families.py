"""What a registry does with parents, their parts, and the attempts at them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from realtime.errors import InvalidValue, LimitReached, TaskAlreadyFinished, TaskExists, TaskNotFound
from realtime.kin import MAX_LEVELS, Children, Kin
from realtime.registry import family
from realtime.registry.base import Registry
from realtime.registry.leases import WORKER_LOST
from realtime.registry.redis import families
from realtime.task import NewTask, Task, TaskFailure, TaskStatus
from support.clock import Clock
from support.registries import OpenRegistry, Told

Create = Callable[..., Task]

BROKEN = TaskFailure(None, "It broke.", "broken")
AGAIN = TaskFailure(None, "Not now.", "busy", True)


def get(registry: Registry, task_id: str) -> Task:
    """A task as whoever reads it sees it."""
    registry.follow()
    task = registry.get(task_id)
    assert task is not None
    return task


@pytest.fixture
def group(create: Create) -> Callable[[int], list[str]]:
    """Creates the group ``g`` of so many processing parts; returns their ids."""

    def make(count: int) -> list[str]:
        create("g", kin=Kin(announced=count))
        return [create(f"c{number}", parent_id="g").task_id for number in range(count)]

    return make


# Progress.


def test_a_parent_is_as_far_as_its_parts_by_weight(registry: Registry, create: Create) -> None:
    """Its percent is the mean of theirs; it counts those that have ended, where it has no total of its own."""
    assert create("p").children is None
    create("a", parent_id="p", kin=Kin(weight=3.0))
    create("b", parent_id="p", status=TaskStatus.PENDING)
    registry.update("a", percent=40.0)
    parent = get(registry, "p")
    assert (parent.percent, parent.children) == (30.0, Children(2, 1, 1, counted=True))
    assert (parent.current, parent.total, parent.info.unit) == (0, 2, "tasks")
    registry.complete("a", None)
    parent = get(registry, "p")
    assert (parent.percent, parent.current, parent.status) == (75.0, 1, "processing")
    registry.update("b", percent=50.0)
    registry.fail("b", BROKEN)
    parent = get(registry, "p")
    assert (parent.percent, parent.current, parent.status) == (87.5, 2, "processing")
    assert parent.as_dict()["children"] == {
        "total": 2, "pending": 0, "processing": 0, "completed": 1, "failed": 1, "cancelled": 0,
    }  # fmt: skip


def test_a_parent_that_counts_something_else_keeps_that(registry: Registry, create: Create) -> None:
    """Its percent follows all the same; unit, current and total are its own."""
    create("p", total=200, unit="rows")
    create("a", parent_id="p")
    registry.update("p", current=20)
    registry.update("a", percent=60.0)
    parent = get(registry, "p")
    assert (parent.percent, parent.current, parent.total, parent.info.unit) == (60.0, 20, 200, "rows")


def test_a_parent_may_begin_to_count_something_else(registry: Registry, create: Create) -> None:
    """From then on it counts that, and not its parts."""
    create("p")
    create("a", parent_id="p")
    assert get(registry, "p").total == 1
    registry.update("p", current=20, total=200)
    registry.update("a", percent=60.0)
    parent = get(registry, "p")
    assert (parent.percent, parent.current, parent.total) == (60.0, 20, 200)
    registry.complete("a", None)
    parent = get(registry, "p")
    assert (parent.percent, parent.current, parent.total) == (100.0, 20, 200)


def test_a_part_that_moves_is_a_sign_of_life_of_its_parent(registry: Registry, create: Create) -> None:
    """What showed as stalled does not any more."""
    create("p")
    create("a", parent_id="p")
    registry.follow()
    assert registry.stall("p", 1.0).stalled_since is not None
    registry.update("a", percent=60.0)
    assert get(registry, "p").stalled_since is None


def test_a_part_that_was_announced_weighs_one_before_it_is_there(registry: Registry, create: Create) -> None:
    """And shows in the total alone."""
    parent = create("g", kin=Kin(announced=4))
    assert (parent.children, parent.percent, parent.total) == (Children(4, counted=True), 0.0, 4)
    create("a", parent_id="g")
    registry.complete("a", None)
    parent = get(registry, "g")
    assert (parent.children, parent.percent) == (Children(4, completed=1, counted=True), 25.0)


def test_a_parents_percent_does_not_go_down(registry: Registry, create: Create) -> None:
    """Neither when more parts come."""
    create("p")
    create("a", parent_id="p")
    registry.complete("a", None)
    create("b", parent_id="p")
    parent = get(registry, "p")
    assert (parent.percent, parent.total) == (100.0, 2)


def test_a_pending_parent_starts_with_its_first_part(registry: Registry, create: Create) -> None:
    """Which has started itself."""
    create("g", status=TaskStatus.PENDING, kin=Kin(announced=2))
    create("a", parent_id="g", status=TaskStatus.PENDING)
    assert get(registry, "g").status == "pending"
    registry.update("a", "Reading")
    parent = get(registry, "g")
    assert parent.status == "processing"
    assert parent.started_at is not None


def test_what_has_not_moved_is_not_told(registry: Registry, create: Create) -> None:
    """A parent has a new version only when something that it shows is new."""
    create("p")
    create("a", parent_id="p")
    before = get(registry, "p").version
    registry.update("a", "Reading")
    assert get(registry, "p").version == before
    registry.update("a", percent=1.0)
    assert get(registry, "p").version == before + 1


def test_progress_goes_up_all_levels(registry: Registry, create: Create) -> None:
    """And an end too: groups end from the bottom up."""
    create("a", kin=Kin(announced=1))
    create("b", parent_id="a", kin=Kin(announced=2))
    create("c", parent_id="b", kin=Kin(announced=1))
    create("d", parent_id="c")
    registry.update("d", percent=50.0)
    assert (get(registry, "c").percent, get(registry, "a").percent) == (50.0, 25.0)
    registry.complete("d", None)
    assert [get(registry, one).status for one in "cba"] == ["completed", "processing", "processing"]
    create("e", parent_id="b")
    registry.complete("e", None)
    assert [get(registry, one).status for one in "ba"] == ["completed", "completed"]


# Groups.


def test_a_group_ends_well_with_the_last_of_its_parts(registry: Registry, group: Any, told: Told) -> None:
    """And says how many there were; at once, without anybody looking."""
    first, second = group(2)
    registry.complete(first, None)
    registry.complete(second, None)
    (end,) = [task for task, _ in told.changes if task.task_id == "g" and task.finished]
    assert (end.status, end.result, end.percent) == ("completed", {"completed": 2}, 100.0)


def test_a_group_of_which_a_part_has_failed_has_partly_completed(registry: Registry, group: Any) -> None:
    """That is a failure that says how many."""
    ids = group(3)
    registry.complete(ids[0], None)
    registry.fail(ids[1], BROKEN)
    assert not get(registry, "g").finished
    registry.complete(ids[2], None)
    end = get(registry, "g")
    assert end.error == TaskFailure(None, "2 of 3 completed; 1 failed.", "partly_completed")
    assert (end.status, round(end.percent or 0)) == ("failed", 67)


def test_a_group_that_was_partly_cancelled_says_so(registry: Registry, group: Any) -> None:
    """Without having been asked itself."""
    ids = group(2)
    registry.complete(ids[0], None)
    registry.cancel(ids[1])
    end = get(registry, "g")
    assert end.error == TaskFailure(None, "1 of 2 completed; 1 cancelled.", "partly_completed")


def test_a_group_of_which_none_has_completed_has_failed(registry: Registry, group: Any) -> None:
    """If one of them has."""
    ids = group(3)
    registry.fail(ids[0], BROKEN)
    registry.fail(ids[1], BROKEN)
    registry.cancel(ids[2])
    end = get(registry, "g")
    assert end.error == TaskFailure(None, "0 of 3 completed; 2 failed, 1 cancelled.", "children_failed")


def test_a_group_of_cancelled_parts_is_cancelled(registry: Registry, group: Any) -> None:
    """Though nobody has asked it to stop."""
    for part in group(2):
        registry.cancel(part)
    assert get(registry, "g").status == "cancelled"


def test_an_empty_group_is_complete_at_once(registry: Registry) -> None:
    """As one is whose list of things to do was empty."""
    task, _ = registry.create(NewTask("g", "ada", kin=Kin(announced=0)))
    assert (task.status, task.result) == ("completed", {"completed": 0})
    assert get(registry, "g") == task


def test_a_group_may_have_more_parts_than_were_announced(registry: Registry, group: Any, create: Create) -> None:
    """It waits for them too."""
    ids = group(1)
    create("more", parent_id="g")
    registry.complete(ids[0], None)
    parent = get(registry, "g")
    assert (parent.status, parent.children) == ("processing", Children(2, processing=1, completed=1, counted=True))
    registry.complete("more", None)
    assert get(registry, "g").result == {"completed": 2}


def test_a_group_waits_for_what_may_be_tried_again(registry: Registry, group: Any) -> None:
    """A part that has failed so, and its retry, count once, by the newest attempt."""
    ids = group(2)
    registry.complete(ids[0], None)
    registry.fail(ids[1], AGAIN)
    parent = get(registry, "g")
    assert (parent.status, parent.children) == ("processing", Children(2, completed=1, failed=1, counted=True))
    follower, is_new = registry.retry(ids[1])
    assert (is_new, follower.attempt, follower.retry_of, follower.status) == (True, 2, ids[1], "pending")
    assert get(registry, "g").children == Children(2, pending=1, completed=1, counted=True)
    registry.fail(follower.task_id, AGAIN)
    third, _ = registry.retry(follower.task_id)
    assert third.attempt == 3
    registry.complete(third.task_id, None)
    parent = get(registry, "g")
    assert (parent.status, parent.result) == ("completed", {"completed": 2})
    assert parent.children == Children(2, completed=2, counted=True)
    assert [part.task_id for part in registry.children("g")] == [ids[0], third.task_id]


def test_a_group_does_not_wait_for_what_has_lost_its_worker(registry: Registry, group: Any) -> None:
    """Though that may be tried again: nobody is there who would."""
    (part,) = group(1)
    registry.fail(part, WORKER_LOST)
    end = get(registry, "g")
    assert end.error is not None
    assert end.error.code == "children_failed"


# Stopping.


def test_a_request_to_stop_goes_down(registry: Registry, group: Any, create: Create) -> None:
    """To all parts on all levels that have not ended: pending ones end, others are asked; so does the group."""
    done, busy = group(2)
    create("deep", parent_id=busy)
    create("waits", parent_id=busy, status=TaskStatus.PENDING)
    registry.complete(done, None)
    assert registry.request_cancel("g").cancel_requested is not None
    assert get(registry, busy).cancel_requested is not None
    assert get(registry, "deep").cancel_requested is not None
    assert get(registry, "waits").status == "cancelled"
    assert get(registry, done).status == "completed"
    registry.cancel("deep")
    registry.cancel(busy)
    assert get(registry, "g").status == "cancelled"


def test_parts_are_asked_once(registry: Registry, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of their parent later does not read them all again."""
    create("p")
    create("a", parent_id="p")
    registry.follow()
    asked: list[str] = []
    ask = registry._ask_parts

    def ask_parts(task_id: str) -> None:
        asked.append(task_id)
        ask(task_id)

    monkeypatch.setattr(registry, "_ask_parts", ask_parts)
    registry.request_cancel("p")
    registry.acknowledge_cancel("p")
    registry.request_cancel("p")
    assert asked == ["p"]
    registry.cancel("p")


def test_what_comes_later_is_asked_at_once(registry: Registry, create: Create) -> None:
    """A new part of a parent that was asked to stop: it is asked when `create` returns, or has ended already."""
    create("p")
    create("first", parent_id="p")
    registry.request_cancel("p")
    assert create("late", parent_id="p").cancel_requested is not None
    assert create("later", parent_id="p", status=TaskStatus.PENDING).status == "cancelled"


def test_a_group_that_is_asked_waits_for_no_more_parts(registry: Registry, create: Create) -> None:
    """Nor for another attempt: it ends with those that there are."""
    create("g", kin=Kin(announced=5))
    create("a", parent_id="g")
    create("b", parent_id="g")
    registry.fail("b", AGAIN)
    registry.request_cancel("g")
    assert not get(registry, "g").finished
    registry.cancel("a")
    end = get(registry, "g")
    assert end.error == TaskFailure(None, "0 of 5 completed; 1 failed, 1 cancelled.", "children_failed")
    assert create("h", kin=Kin(announced=3)).status == "processing"
    registry.request_cancel("h")
    assert get(registry, "h").status == "cancelled"


def test_a_parent_that_is_cancelled_by_its_worker_takes_its_parts_along(registry: Registry, create: Create) -> None:
    """They are asked to stop."""
    create("p")
    create("a", parent_id="p")
    registry.cancel("p")
    assert get(registry, "a").cancel_requested is not None


# What is refused.


@pytest.mark.parametrize("owner", ["bob", None])
def test_a_parent_of_another_looks_like_none(registry: Registry, create: Create, owner: str | None) -> None:
    """The two errors are the same, and nothing is changed."""
    create("hers", "ada")
    texts = []
    for parent_id in ("hers", "none"):
        with pytest.raises(InvalidValue) as caught:
            registry.create(NewTask("a", owner, parent_id=parent_id))
        assert caught.value.field == "parent_id"
        texts.append(str(caught.value).replace(parent_id, "…"))
    assert texts[0] == texts[1]
    assert registry.get("a") is None
    assert get(registry, "hers").children is None
    assert registry.list(user_id=owner, groups=(), limit=9)[0] == []


def test_a_parent_that_has_ended_takes_no_more_parts(registry: Registry, create: Create) -> None:
    """The error names it."""
    create("p")
    registry.complete("p", None)
    with pytest.raises(TaskAlreadyFinished) as caught:
        create("a", parent_id="p")
    assert (caught.value.task_id, caught.value.status) == ("p", "completed")
    assert registry.get("a") is None


def test_there_are_eight_levels(registry: Registry, create: Create) -> None:
    """A task on the last one has no parts."""
    create("1")
    for level in range(2, MAX_LEVELS + 1):
        create(str(level), parent_id=str(level - 1))
    with pytest.raises(InvalidValue, match="level 8 of 8"):
        create("9", parent_id="8")


def test_parts_are_bounded(registry: Registry, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused; a retry of one is none more."""
    monkeypatch.setattr(family, "MAX_CHILDREN", 2)
    monkeypatch.setattr(families, "MAX_CHILDREN", 2)
    create("p")
    create("a", parent_id="p")
    create("b", parent_id="p")
    with pytest.raises(LimitReached, match="'p'"):
        create("c", parent_id="p")
    assert registry.get("c") is None
    registry.fail("b", BROKEN)
    registry.retry("b")
    assert get(registry, "p").children == Children(2, pending=1, processing=1, counted=True)


def test_an_id_that_is_taken_makes_no_part(registry: Registry, create: Create) -> None:
    """Nor does one that is returned since it exists."""
    create("p")
    create("a")
    with pytest.raises(TaskExists):
        create("a", parent_id="p")
    assert registry.create(NewTask("a", "ada", parent_id="p"), exist_ok=True)[1] is False
    assert get(registry, "p").children is None
    create("b", parent_id="p")
    assert registry.create(NewTask("b", "ada", parent_id="p"), exist_ok=True)[1] is False
    assert get(registry, "p").children == Children(1, processing=1, counted=True)


# Leaving.


def test_a_part_that_leaves_counts_on(open_registry: OpenRegistry, clock: Clock) -> None:
    """For as long as its parent has not ended, whatever makes room."""
    registry = open_registry(retention=60.0, max_tasks_per_user=2)
    registry.create(NewTask("g", "ada", kin=Kin(announced=6)))
    for number in range(5):
        registry.create(NewTask(str(number), "ada", parent_id="g"))
        registry.complete(str(number), None)
    clock.go(100.0)
    registry.expire()
    parent = get(registry, "g")
    assert (parent.children, parent.status) == (Children(6, completed=5, counted=True), "processing")
    registry.create(NewTask("last", "ada", parent_id="g"))
    registry.complete("last", None)
    assert get(registry, "g").result == {"completed": 6}
    clock.go(100.0)
    registry.expire()
    assert [registry.get(one) for one in ("g", "0", "last")] == [None, None, None]


def test_a_part_is_not_removed_before_its_parent_has_ended(registry: Registry, group: Any) -> None:
    """The refusal names the parent."""
    first, second = group(2)
    registry.complete(first, None)
    with pytest.raises(InvalidValue, match="'g', which has not ended"):
        registry.remove(first)
    registry.complete(second, None)
    registry.remove(first)
    assert registry.get(first) is None


# Attempts.


def test_a_retry_is_the_same_task_once_more(registry: Registry, create: Create) -> None:
    """With all that it was made of, on the next attempt; and the old one says which it is."""
    create("p")
    create(
        "a", groups=("team:7",), name="Export", total=7, unit="rows", metadata=b'{"k":1}', cancellable=True,
        parent_id="p", kin=Kin(weight=2.0),
    )  # fmt: skip
    registry.update("a", "Reading", current=3)
    registry.fail("a", BROKEN)
    follower, is_new = registry.retry("a", "b")
    info = follower.info
    assert (is_new, follower.task_id, follower.status, follower.current, follower.percent) == (
        True, "b", "pending", 0, 0.0,
    )  # fmt: skip
    assert (info.user_id, info.groups, info.name, follower.total, info.unit) == (
        "ada", ("team:7",), "Export", 7, "rows",
    )  # fmt: skip
    assert (follower.metadata, info.cancellable, info.parent_id, info.kin.weight) == ({"k": 1}, True, "p", 2.0)
    assert (follower.retry_of, follower.attempt, follower.retried_by) == ("a", 2, None)
    old = get(registry, "a")
    assert (old.retried_by, old.status, old.error) == ("b", "failed", BROKEN)
    assert old.as_dict()["retried_by"] == "b"


def test_a_retried_group_is_a_group(registry: Registry, group: Any) -> None:
    """That waits for parts of its own."""
    (part,) = group(1)
    registry.fail(part, BROKEN)
    follower, _ = registry.retry("g", "h")
    assert (follower.children, follower.total) == (Children(1, counted=True), 1)
    with pytest.raises(TaskAlreadyFinished) as caught:
        registry.retry(part)
    assert caught.value.task_id == "g"
    assert get(registry, part).retried_by is None


def test_only_what_has_failed_or_was_cancelled_is_tried_again(registry: Registry, create: Create) -> None:
    """Of the others the error says how they are."""
    create("a")
    create("b", status=TaskStatus.PENDING)
    for task_id, status in (("a", "processing"), ("b", "pending")):
        with pytest.raises(InvalidValue, match=status):
            registry.retry(task_id)
    registry.complete("a", None)
    with pytest.raises(InvalidValue, match="completed"):
        registry.retry("a")
    with pytest.raises(TaskNotFound):
        registry.retry("none")
    registry.cancel("b")
    assert registry.retry("b")[0].retry_of == "b"


def test_a_task_is_tried_again_once(registry: Registry, create: Create) -> None:
    """The second call returns the same one while it has not ended; then it names the newest."""
    create("a")
    registry.fail("a", BROKEN)
    registry.retry("a", "b")
    again, is_new = registry.retry("a", "c")
    assert (again.task_id, is_new) == ("b", False)
    registry.fail("b", BROKEN)
    registry.retry("b", "c")
    with pytest.raises(InvalidValue, match="'c': retry that one"):
        registry.retry("a")
    assert registry.count() == (1, 2)


def test_an_id_that_is_taken_is_no_retry(registry: Registry, create: Create) -> None:
    """And the task can be tried again under another one."""
    create("a")
    create("b")
    registry.fail("a", BROKEN)
    with pytest.raises(TaskExists):
        registry.retry("a", "b")
    assert registry.retry("a", "c")[0].task_id == "c"


def test_two_retries_at_once_make_one_follower(registry: Registry, create: Create) -> None:
    """Whichever comes first; one of them has made it."""
    for number in range(5):
        task_id = f"a{number}"
        create(task_id)
        registry.fail(task_id, BROKEN)
        gate = threading.Barrier(4)

        def retry(number: int, task_id: str = task_id, gate: threading.Barrier = gate) -> tuple[Task, bool]:
            gate.wait(10)
            return registry.retry(task_id, f"{task_id}-{number}")

        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(retry, range(4)))
        assert len({task.task_id for task, _ in made}) == 1
        assert sum(is_new for _, is_new in made) == 1
        assert get(registry, task_id).retried_by == made[0][0].task_id


def test_a_retry_whose_maker_has_died_is_made_by_the_next(registry: Registry, create: Create) -> None:
    """The claim stands, and names the task to make."""
    create("a")
    registry.fail("a", BROKEN)
    make, registry.create = registry.create, _dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        registry.retry("a", "b")
    registry.create = make  # type: ignore[method-assign]
    assert get(registry, "a").retried_by == "b"
    assert registry.get("b") is None
    assert registry.retry("a")[0].task_id == "b"


def _dies(*args: Any, **kwargs: Any) -> Any:
    raise KeyboardInterrupt


# At once.


def test_ends_at_once_end_the_group_once(registry: Registry, told: Told, create: Create) -> None:
    """Whoever comes last, all parts are counted."""
    create("g", kin=Kin(announced=12))
    for number in range(12):
        create(str(number), parent_id="g")
    gate = threading.Barrier(4)

    def end(first: int) -> None:
        gate.wait(10)
        for number in range(first, 12, 4):
            if number % 3:
                registry.complete(str(number), None)
            else:
                registry.fail(str(number), BROKEN)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(end, range(4)))
    task = get(registry, "g")
    assert task.children == Children(12, completed=8, failed=4, counted=True)
    assert (task.status, task.error and task.error.code) == ("failed", "partly_completed")
    assert len([one for one, _ in told.changes if one.task_id == "g" and one.finished]) == 1


def test_an_older_word_of_a_part_does_not_count(registry: Registry, create: Create) -> None:
    """One who was held up between a change and what follows from it does no harm."""
    create("p")
    before = create("a", parent_id="p")
    registry.complete("a", None)
    registry._followed(None, before)
    registry._followed(before, replace(before, percent=1.0))
    assert get(registry, "p").children == Children(1, completed=1, counted=True)


def test_a_deriver_that_dies_leaves_nothing_frozen(
    registry: Registry, group: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a process that has stored the end of a part and no more, another makes up for the rest."""
    first, second = group(2)
    registry.complete(first, None)
    with monkeypatch.context() as dead:
        dead.setattr(type(registry), "_followed", lambda self, old, new: None)
        registry.complete(second, None)
    assert not (registry.get("g") or pytest.fail("gone")).finished
    if isinstance(registry, families.RegistryWithFamilies):
        registry.repair()
    else:
        registry.sweep()
    assert get(registry, "g").result == {"completed": 2}


# Ids that come back, as somebody else's.


def leave(registry: Registry, task_id: str) -> None:
    """Have a task end, and taken out."""
    registry.complete(task_id, None)
    registry.remove(task_id)


def test_a_part_moves_no_other_task_that_has_its_parents_id(registry: Registry, create: Create) -> None:
    """Whoever has the id now: what was made a part of the former one counts there no more, nor is it asked to stop."""
    create("p", "eve")
    create("a", "eve", parent_id="p")
    create("b", "eve", parent_id="p")
    registry.fail("b", BROKEN)
    registry.retry("b", "c")
    leave(registry, "p")
    registry.remove("b")
    create("p", kin=Kin(announced=2))
    create("b", parent_id="p")
    before = get(registry, "p")
    registry.update("a", percent=50.0)
    registry.complete("a", None)
    registry.complete("c", None)
    assert get(registry, "p") == before
    assert [part.task_id for part in registry.children("p")] == ["b"]
    registry.remove("a")  # which that parent does not keep
    registry.complete("b", None)
    create("d", parent_id="p")
    registry.complete("d", None)
    assert get(registry, "p").result == {"completed": 2}


def test_a_request_to_stop_goes_to_no_other_task_that_has_a_parts_id(open_registry: OpenRegistry, clock: Clock) -> None:
    """The part has left, where finished parts may, and its id is another's."""
    registry = open_registry(max_tasks_per_user=1)
    registry.create(NewTask("p", "eve"))
    for part in ("a", "b"):
        registry.create(NewTask(part, "eve", parent_id="p"))
        registry.complete(part, None)
    registry.expire()
    others = [name for name in ("a", "b") if registry.get(name) is None]
    for name in others:
        registry.create(NewTask(name, "ada"))
    registry.request_cancel("p")
    assert [get(registry, name).cancel_requested for name in others] == [None] * len(others)
    assert not {part.task_id for part in registry.children("p")} & set(others)


def test_a_retry_is_no_other_task_that_has_its_id(registry: Registry, create: Create) -> None:
    """The attempt has left, and its id is another's: that is not shown, nor named, and there may be another attempt."""
    create("a", "eve")
    registry.fail("a", BROKEN)
    registry.retry("a", "b")
    leave(registry, "b")
    secret = create("b", "ada", name="Secret")
    with pytest.raises(TaskExists):
        registry.retry("a", "b")
    made, is_new = registry.retry("a", "c")
    assert (is_new, made.task_id, made.retry_of, made.attempt, made.info.user_id) == (True, "c", "a", 2, "eve")
    assert get(registry, "a").retried_by == "c"
    assert registry.get("b") == secret
    registry.fail("c", BROKEN)
    registry.retry("c", "d")
    leave(registry, "d")
    create("d", "ada")
    registry.fail("d", BROKEN)
    registry.retry("d", "hers")
    with pytest.raises(InvalidValue, match="newest attempt is 'c'"):
        registry.retry("a")


def test_attempts_that_were_tried_again_make_room(open_registry: OpenRegistry) -> None:
    """Though the task of which they are parts has not ended: the newest counts there, and stays."""
    registry = open_registry(max_tasks_per_user=2)
    registry.create(NewTask("p", "ada", kin=Kin(announced=2)))
    registry.create(NewTask("a0", "ada", parent_id="p"))
    for number in range(9):
        registry.fail(f"a{number}", BROKEN)
        registry.retry(f"a{number}", f"a{number + 1}")
    registry.expire()
    assert registry.count() == (2, 2)
    registry.complete("a9", None)
    assert get(registry, "p").children == Children(2, completed=1, counted=True)


def test_who_goes_on_changing_parts_is_not_waited_for(
    registry: Registry, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are faster than what follows: it would be for ever, on the thread that tells all viewers."""
    create("p")
    create("a", parent_id="p")
    name = "_count" if isinstance(registry, families.RegistryWithFamilies) else "_follow_one"
    follow, times = getattr(registry, name), 0

    def one_more(*args: Any) -> None:
        nonlocal times
        times += 1
        assert times <= MAX_LEVELS
        registry._moved["a"] = registry.update("a", percent=float(times))  # type: ignore[attr-defined]
        follow(*args)

    monkeypatch.setattr(registry, name, one_more)
    registry.update("a", percent=0.5)
    registry.follow()
    assert 0 < times <= MAX_LEVELS
    monkeypatch.undo()
    assert get(registry, "p").percent == float(times)


def test_finished_parts_are_not_looked_at_again_and_again(
    open_registry: OpenRegistry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay until their parent has ended, and there may be ten thousand; then they leave as all others do."""
    registry = open_registry(max_tasks_per_user=10, retention=60.0)
    asked: list[str] = []
    is_held = registry._is_held

    def count(task: Task) -> bool:
        asked.append(task.task_id)
        return is_held(task)

    monkeypatch.setattr(registry, "_is_held", count)
    registry.create(NewTask("p", "ada"))
    for number in range(100):
        registry.create(NewTask(str(number), "ada", parent_id="p"))
        registry.complete(str(number), None)
    assert len(asked) <= 100
    clock.go(100.0)
    registry.expire()
    asked.clear()
    for _ in range(3):
        registry.create(NewTask("x", "ada"))
        registry.complete("x", None)
        registry.expire()
        registry.remove("x")
    assert not set(asked) - {"x"}
    registry.complete("p", None)
    registry.expire()
    assert registry.count()[1] <= 10
    clock.go(100.0)
    registry.expire()
    assert registry.count() == (0, 0)
