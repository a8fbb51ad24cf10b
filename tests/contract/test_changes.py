"""What a registry does with one task: creation, moves, versions, and what it tells of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime.errors import InvalidValue, TaskAlreadyFinished, TaskExists, TaskNotFound
from realtime.registry.base import Registry
from realtime.task import TRANSITIONS, NewTask, Task, TaskFailure, TaskStatus
from support.clock import START, Clock
from support.registries import Told

Create = Callable[..., Task]

FAILURE = TaskFailure("ValueError", "bad row", "bad_row", True, b'{"row":3}')

#: What takes a task to each state, as the registry's methods.
MOVES: dict[TaskStatus, Callable[[Registry, str], Task]] = {
    TaskStatus.PROCESSING: lambda registry, task_id: registry.update(task_id, "Working"),
    TaskStatus.COMPLETED: lambda registry, task_id: registry.complete(task_id, b'{"rows":7}'),
    TaskStatus.FAILED: lambda registry, task_id: registry.fail(task_id, FAILURE),
    TaskStatus.CANCELLED: lambda registry, task_id: registry.cancel(task_id),
}
ENDS = [status for status in TaskStatus if status.finished]


def in_state(registry: Registry, status: TaskStatus, task_id: str = "a") -> Task:
    """A new task that has come to a state."""
    begin = TaskStatus.PENDING if status is TaskStatus.PENDING else TaskStatus.PROCESSING
    task, _ = registry.create(NewTask(task_id, "ada", status=begin))
    return MOVES[status](registry, task_id) if status.finished else task


# Creation.


def test_create_stores_what_it_is_given(registry: Registry) -> None:
    """A new task has the values it was made of, a start, no end, and is there for `get`."""
    registry.create(NewTask("p", "ada"))
    new = NewTask(
        "a",
        "ada",
        ("team:7",),
        "Export",
        message="Reading",
        total=200,
        unit="rows",
        metadata=b'{"k":[1]}',
        cancellable=True,
        attempt=2,
        retry_of="z",
        parent_id="p",
    )
    task, is_new = registry.create(new)
    assert is_new
    assert (task.task_id, task.user_id, task.groups, task.name) == ("a", "ada", ("team:7",), "Export")
    assert (task.status, task.finished, task.cancellable) == ("processing", False, True)
    assert (task.attempt, task.retry_of, task.parent_id, task.metadata) == (2, "z", "p", {"k": [1]})
    assert (task.progress.current, task.progress.total, task.progress.unit) == (0, 200, "rows")
    assert (task.progress.percent, task.progress.message) == (0.0, "Reading")
    assert task.created_at == task.started_at == task.updated_at
    assert (task.completed_at, task.result, task.error, task.output_size) == (None, None, None, 0)
    assert task.epoch == registry.epoch
    assert registry.get("a") == task


def test_a_task_without_a_total_begins_indeterminate(create: Create) -> None:
    """Nobody has counted yet: no current, no total, no percent."""
    progress = create().progress
    assert (progress.current, progress.total, progress.percent) == (None, None, None)


def test_a_pending_task_has_not_started(create: Create) -> None:
    """Its start is not known until something moves."""
    task = create(status=TaskStatus.PENDING)
    assert (task.status, task.started_at) == ("pending", None)


@pytest.mark.parametrize("status", ENDS)
def test_no_task_begins_with_its_end(registry: Registry, status: TaskStatus) -> None:
    """A task that would be born finished is refused, and nothing is stored."""
    with pytest.raises(InvalidValue, match="status"):
        registry.create(NewTask("a", "ada", status=status))
    assert registry.get("a") is None


def test_an_id_is_taken_until_it_is_removed(registry: Registry, told: Told, create: Create) -> None:
    """A second creation raises and changes nothing, whoever asks."""
    task = create()
    for user_id in ("ada", "grace", None):
        with pytest.raises(TaskExists, match="'a'"):
            registry.create(NewTask("a", user_id))
    assert registry.get("a") == task
    assert len(told.changes) == 1


def test_exist_ok_returns_the_owners_own_unfinished_task(registry: Registry, told: Told, create: Create) -> None:
    """The same owner gets the task that is there, untouched and untold."""
    task = create(name="First")
    assert registry.create(NewTask("a", "ada", name="Second"), exist_ok=True) == (task, False)
    assert len(told.changes) == 1


def test_exist_ok_is_not_for_another_owner(registry: Registry, create: Create) -> None:
    """Nobody gets hold of a task by guessing its id."""
    create()
    for user_id in ("grace", None):
        with pytest.raises(TaskExists):
            registry.create(NewTask("a", user_id), exist_ok=True)


@pytest.mark.parametrize("status", ENDS)
def test_exist_ok_is_not_for_a_finished_task(registry: Registry, status: TaskStatus) -> None:
    """A task that has ended cannot be gone on with."""
    in_state(registry, status)
    with pytest.raises(TaskExists):
        registry.create(NewTask("a", "ada"), exist_ok=True)


# Moves.


@pytest.mark.parametrize("after", MOVES)
@pytest.mark.parametrize("before", TRANSITIONS)
def test_moves_follow_the_table(registry: Registry, told: Told, before: TaskStatus, after: TaskStatus) -> None:
    """What the table allows happens with the next version; the same end again returns what is stored; all else raises
    and changes nothing."""
    stored = in_state(registry, before)
    told.changes.clear()
    if after in TRANSITIONS[before]:
        moved = MOVES[after](registry, "a")
        assert (moved.status, moved.finished, moved.version) == (after, after.finished, stored.version + 1)
        assert told.changes == [(moved, False)]
        assert registry.get("a") == moved
    else:
        if after is before:
            assert MOVES[after](registry, "a") == stored
        else:
            with pytest.raises(TaskAlreadyFinished) as caught:
                MOVES[after](registry, "a")
            assert (caught.value.task_id, caught.value.status) == ("a", before)
        assert registry.get("a") == stored
        assert told.changes == []


@pytest.mark.parametrize(
    "call",
    [
        *MOVES.values(),
        lambda registry, task_id: registry.start(task_id),
        lambda registry, task_id: registry.request_cancel(task_id),
        lambda registry, task_id: registry.stall(task_id, START),
        lambda registry, task_id: registry.remove(task_id),
    ],
)
def test_an_unknown_id_is_not_found(registry: Registry, told: Told, call: Callable[[Registry, str], Any]) -> None:
    """Every change of a task that is not there raises `TaskNotFound`; `get` gives None."""
    with pytest.raises(TaskNotFound, match="'nowhere'"):
        call(registry, "nowhere")
    assert registry.get("nowhere") is None
    assert told.changes == []


def test_the_first_update_starts_a_pending_task(registry: Registry, clock: Clock, create: Create) -> None:
    """Work that reports itself has begun."""
    created = create(status=TaskStatus.PENDING)
    clock.go(5)
    task = registry.update("a", "Reading")
    assert (task.status, task.progress.message) == ("processing", "Reading")
    assert task.started_at is not None
    assert (task.started_at - created.created_at).total_seconds() == 5
    clock.go(1)
    assert registry.update("a", "Writing").started_at == task.started_at


def test_start_takes_a_pending_task_to_processing_once(registry: Registry, told: Told, create: Create) -> None:
    """To start what has started is no change, and is not told."""
    create(status=TaskStatus.PENDING)
    task = registry.start("a")
    assert (task.status, task.started_at is not None) == ("processing", True)
    assert registry.start("a") == task
    assert [change.version for change, _ in told.changes] == [task.version - 1, task.version]


@pytest.mark.parametrize("status", ENDS)
def test_start_after_the_end_raises(registry: Registry, status: TaskStatus) -> None:
    """Nothing follows an end, not even a start."""
    in_state(registry, status)
    with pytest.raises(TaskAlreadyFinished):
        registry.start("a")


def test_completing_sets_the_percent_and_leaves_current(registry: Registry, clock: Clock, create: Create) -> None:
    """A completed task shows 100 % and what was counted."""
    create(total=200)
    registry.update("a", "Reading", current=40)
    clock.go(2)
    task = registry.complete("a", b'{"rows":[1,2]}')
    assert (task.progress.percent, task.progress.current, task.progress.total) == (100.0, 40, 200)
    assert (task.progress.message, task.result, task.error) == ("Reading", {"rows": [1, 2]}, None)
    assert task.completed_at == task.updated_at
    assert (task.updated_at - task.created_at).total_seconds() == 2


def test_completing_without_a_result_leaves_none(registry: Registry, create: Create) -> None:
    """No result is null on the wire."""
    create()
    assert registry.complete("a", None).as_dict()["result"] is None


def test_a_failure_is_kept_and_the_percent_with_it(registry: Registry, create: Create) -> None:
    """A failed task shows how far it came, and why no further."""
    create(total=4)
    registry.update("a", current=1)
    task = registry.fail("a", FAILURE)
    assert (task.progress.percent, task.result) == (25.0, None)
    assert task.as_dict()["error"] == {
        "type": "ValueError",
        "message": "bad row",
        "code": "bad_row",
        "retryable": True,
        "details": {"row": 3},
    }


def test_100_percent_does_not_complete(registry: Registry, create: Create) -> None:
    """Only completing completes."""
    create(total=2)
    task = registry.update("a", current=2)
    assert (task.progress.percent, task.status) == (100.0, "processing")


# Progress.


@pytest.mark.parametrize(
    ("steps", "percents"),
    [
        ([{"current": 50}, {"current": 20}, {"current": 60}], [50, 50, 60]),
        ([{"current": 50}, {"total": 200}, {"current": 150}], [50, 50, 75]),
        ([{"percent": 40.0}, {"percent": 30.0}, {"current": 35}], [40, 40, 40]),
        ([{"current": 30, "percent": 60.0}, {"current": 50}], [60, 60]),
        ([{"current": 50}, {"current": 60, "percent": 10.0}, {"current": 55}], [50, 50, 55]),
        ([{"advance": 10}, {"advance": 15}, {"advance": -5}], [10, 25, 25]),
        ([{"current": 10, "advance": 5}], [15]),
        ([{"current": 500}], [100]),
        ([{"current": -5}], [0]),
        ([{"total": 0}, {"total": 10}], [None, 0]),
        ([{"current": 50}, {"total": 0}], [50, 50]),
        ([{"percent": 0.4}], [0.4]),
        ([{"message": "Reading"}], [0]),
    ],
)
def test_percent_never_goes_down(
    registry: Registry, create: Create, steps: list[dict[str, Any]], percents: list[float | None]
) -> None:
    """Of a task with a total of 100: a growing total, a falling current and a lower percent hold the percent."""
    create(total=100)
    assert [registry.update("a", **step).progress.percent for step in steps] == percents


def test_a_total_of_nothing_has_no_percent(registry: Registry, create: Create) -> None:
    """0 of 0 is neither nothing nor all."""
    assert create(total=0).progress.percent is None
    assert registry.update("a", current=0).progress.percent is None


def test_percent_without_a_total_is_what_is_given(registry: Registry, create: Create) -> None:
    """Without a total only an explicit percent says how far it is."""
    create()
    assert registry.update("a", current=7).progress.percent is None
    assert registry.update("a", percent=12.5).progress.percent == 12.5
    progress = registry.update("a", current=9).progress
    assert (progress.percent, progress.current, progress.total) == (12.5, 9, None)


def test_a_total_that_comes_late_counts_from_0(registry: Registry, create: Create) -> None:
    """Once there is a total, there is a current."""
    create()
    progress = registry.update("a", total=8).progress
    assert (progress.current, progress.percent) == (0, 0.0)


def test_advance_without_a_current_counts_from_0(registry: Registry, create: Create) -> None:
    """The first step is step one."""
    create()
    assert registry.update("a", advance=1).progress.current == 1
    assert registry.update("a", advance=0.5).progress.current == 1.5


@pytest.mark.parametrize(("start", "step"), [(2**53, 1), (-(2**53), -1), (2**53, 2.0)])
def test_advancing_beyond_2_to_53_is_refused(registry: Registry, create: Create, start: int, step: float) -> None:
    """A sum that JavaScript cannot count exactly raises and changes nothing."""
    create()
    stored = registry.update("a", current=start)
    with pytest.raises(InvalidValue, match="advance"):
        registry.update("a", "On", advance=step)
    assert registry.get("a") == stored


def test_an_update_leaves_alone_what_it_does_not_name(registry: Registry, create: Create) -> None:
    """Each value stands until another comes."""
    create(total=10, unit="rows", message="Reading", metadata=b'{"a":1}')
    registry.update("a", current=5)
    registry.update("a", unit="pages")
    registry.update("a", metadata=b'{"b":2}')
    task = registry.update("a", "Writing")
    progress = task.progress
    assert (progress.current, progress.total, progress.unit, progress.message) == (5, 10, "pages", "Writing")
    assert task.metadata == {"b": 2}


def test_an_end_leaves_the_metadata_alone(registry: Registry, create: Create) -> None:
    """What the app noted about a task outlives it."""
    create(metadata=b'{"a":1}')
    assert registry.complete("a", None).metadata == {"a": 1}


# Stopping, stalling.


def test_a_pending_task_is_cancelled_at_once(registry: Registry, create: Create) -> None:
    """Nobody works on it, so nobody needs to be asked."""
    create(status=TaskStatus.PENDING)
    task = registry.request_cancel("a")
    assert (task.status, task.cancel_requested_at, task.started_at) == ("cancelled", None, None)
    assert registry.request_cancel("a") == task


def test_a_processing_task_is_asked_once(registry: Registry, told: Told, clock: Clock, create: Create) -> None:
    """The first request is noted with its time and without moving `updated_at`; another changes nothing."""
    created = create()
    clock.go(3)
    task = registry.request_cancel("a")
    assert (task.status, task.version, task.updated_at) == ("processing", created.version + 1, created.updated_at)
    assert task.cancel_requested_at is not None
    assert (task.cancel_requested_at - created.created_at).total_seconds() == 3
    clock.go(1)
    assert registry.request_cancel("a") == task
    assert len(told.changes) == 2


def test_a_request_to_stop_outlives_updates_and_the_end(registry: Registry, create: Create) -> None:
    """What was asked stays on record; completing before the answer wins."""
    create()
    asked = registry.request_cancel("a").cancel_requested_at
    assert registry.update("a", "Tidying up", current=1).cancel_requested_at == asked
    task = registry.complete("a", None)
    assert (task.status, task.cancel_requested_at) == ("completed", asked)


def test_a_request_to_stop_is_acknowledged_once(registry: Registry, told: Told, clock: Clock, create: Create) -> None:
    """The first word that the worker knows of the request is noted, with its time; nothing else changes."""
    create()
    asked = registry.request_cancel("a")
    clock.go(2)
    task = registry.acknowledge_cancel("a")
    assert (task.status, task.version, task.updated_at) == ("processing", asked.version + 1, asked.updated_at)
    assert task.cancel_acknowledged_at is not None
    assert asked.cancel_requested_at is not None
    assert (task.cancel_acknowledged_at - asked.cancel_requested_at).total_seconds() == 2
    assert task.as_dict()["cancel_acknowledged_at"] == task.cancel_acknowledged_at.isoformat(
        timespec="microseconds"
    ).replace("+00:00", "Z")
    clock.go(1)
    assert registry.acknowledge_cancel("a") == task
    assert len(told.changes) == 3
    assert registry.update("a", "Tidying up", unit="rows").cancel_acknowledged_at == task.cancel_acknowledged_at
    ended = registry.cancel("a")
    assert (ended.status, ended.cancel_acknowledged_at) == ("cancelled", task.cancel_acknowledged_at)
    assert registry.acknowledge_cancel("a") == ended


def test_nothing_is_acknowledged_that_nobody_has_asked_for(
    registry: Registry, told: Told, clock: Clock, create: Create
) -> None:
    """Without a request an acknowledgement changes nothing; after another end, and of no task, it is an error."""
    created = create()
    assert registry.acknowledge_cancel("a") == created
    assert len(told.changes) == 1
    registry.request_cancel("a")
    registry.stall("a", clock.now)
    stalled = registry.acknowledge_cancel("a")
    assert stalled.stalled_since is not None
    assert stalled.cancel_acknowledged_at is not None
    registry.complete("a", None)
    with pytest.raises(TaskAlreadyFinished, match="completed"):
        registry.acknowledge_cancel("a")
    with pytest.raises(TaskNotFound):
        registry.acknowledge_cancel("b")


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED])
def test_what_has_ended_otherwise_cannot_be_asked_to_stop(registry: Registry, status: TaskStatus) -> None:
    """A request that comes too late raises, and says how the task has ended."""
    stored = in_state(registry, status)
    with pytest.raises(TaskAlreadyFinished, match=status):
        registry.request_cancel("a")
    assert registry.get("a") == stored


def test_a_stall_is_noted_once_and_taken_back_by_an_update(registry: Registry, told: Told, create: Create) -> None:
    """Silence is an attribute of a processing task, not a state, and moves no time of it."""
    created = create()
    task = registry.stall("a", START - 60)
    assert (task.status, task.version, task.updated_at) == ("processing", created.version + 1, created.updated_at)
    assert task.stalled_since is not None
    assert (created.created_at - task.stalled_since).total_seconds() == 60
    assert registry.stall("a", START - 30) == task
    assert registry.request_cancel("a").stalled_since == task.stalled_since
    assert registry.update("a", "Back").stalled_since is None
    registry.stall("a", START)
    assert registry.complete("a", None).stalled_since is None
    assert len(told.changes) == 6


@pytest.mark.parametrize("status", [TaskStatus.PENDING, *ENDS])
def test_only_a_processing_task_stalls(registry: Registry, status: TaskStatus) -> None:
    """What waits or has ended owes no sign of life."""
    stored = in_state(registry, status)
    assert registry.stall("a", START) == stored


# Versions, times, bytes.


def test_a_version_begins_at_the_microsecond_and_counts_up(registry: Registry, create: Create) -> None:
    """Creation takes the clock's microsecond; each change adds one, whatever the clock does."""
    assert create().version == int(START * 1e6)
    versions = [registry.update("a", percent=float(percent)).version for percent in range(3)]
    assert versions == [int(START * 1e6) + n for n in (1, 2, 3)]


def test_an_id_goes_on_above_what_was_removed(registry: Registry, clock: Clock, create: Create) -> None:
    """In its next life an id has higher versions than in all lives before, and than the removal; a stopped or
    turned-back clock does not matter."""
    versions = []
    for back in (0, 0, -3600, 7200, -86_400):
        clock.go(back)
        versions.append(create().version)
        versions.append(registry.update("a", "On").version)
        versions.append(registry.complete("a", None).version)
        versions.append(registry.remove("a").version)
    assert versions == sorted(set(versions))


def test_many_ids_go_on_above_what_was_removed(registry: Registry, clock: Clock, create: Create) -> None:
    """The memory of removed ids is bounded, the promise is not."""
    last: dict[str, int] = {}
    for number in range(3000):
        task_id = f"t{number}"
        create(task_id)
        registry.cancel(task_id)
        last[task_id] = registry.remove(task_id).version
    clock.go(-100)
    for task_id, version in last.items():
        assert create(task_id).version > version


def test_times_do_not_step_back_with_the_clock(registry: Registry, clock: Clock, create: Create) -> None:
    """Created, started, updated and completed stand in this order, whatever the clock does meanwhile."""
    create(status=TaskStatus.PENDING)
    clock.go(-3600)
    registry.update("a", current=1)
    clock.go(10)
    registry.request_cancel("a")
    task = registry.complete("a", None)
    assert task.started_at is not None
    assert task.completed_at is not None
    assert task.cancel_requested_at is not None
    assert task.created_at <= task.started_at <= task.cancel_requested_at <= task.completed_at


def test_what_is_stored_reads_the_same_each_time(registry: Registry, clock: Clock, create: Create) -> None:
    """One version is one string of bytes, the rate and the time left too, whenever it is asked for."""
    create(total=100, unit="rows")
    for step in range(1, 6):
        clock.go(1)
        task = registry.update("a", "Reading", current=2 * step)
    assert (task.progress.rate, task.progress.eta) == (2.0, 45.0)
    first = task.encode()
    clock.go(100)
    again = registry.get("a")
    assert again is not None
    assert again.encode() == task.encode() == first
    assert again.etag == task.etag == f'"{registry.epoch}.{task.version}"'
    assert json.loads(first) == task.as_dict()


# Announcements.


def test_each_change_is_told_once_with_what_is_stored(registry: Registry, told: Told, create: Create) -> None:
    """Creation is told as such, changes as changes, and nothing else is."""
    made = [create()]
    made += [registry.update("a", "On"), registry.request_cancel("a"), registry.cancel("a")]
    registry.cancel("a")
    assert told.changes == [(task, number == 0) for number, task in enumerate(made)]


def test_announcements_come_outside_the_lock(registry: Registry, create: Create) -> None:
    """A listener may wait for another thread that uses the registry."""
    here = threading.current_thread()
    answered: list[Task] = []

    def elsewhere() -> None:
        answered.append(registry.update("b", "From elsewhere"))
        registry.list(user_id="ada", groups=(), limit=5)

    def listen(*_: object) -> None:
        if threading.current_thread() is here:
            thread = threading.Thread(target=elsewhere, daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive()

    create("b")
    registry.on_change = registry.on_remove = listen
    create("a")
    registry.update("a", "On")
    registry.complete("a", None)
    registry.remove("a")
    assert len(answered) == 4


def test_what_a_listener_raises_goes_no_further(
    registry: Registry, create: Create, caplog: pytest.LogCaptureFixture
) -> None:
    """The change is made and returned; the error is logged with the task's id."""

    def listen(*_: object) -> None:
        raise ZeroDivisionError

    registry.on_change = registry.on_remove = listen
    create()
    assert registry.update("a", "On").progress.message == "On"
    assert registry.complete("a", None).finished
    assert registry.remove("a").task_id == "a"
    assert [record.getMessage() for record in caplog.records] == [
        "Telling a change of the task a failed",
        "Telling a change of the task a failed",
        "Telling a change of the task a failed",
        "Telling the removal of the task a failed",
    ]


# Races.


def test_of_many_ends_at_once_one_wins(registry: Registry, told: Told, create: Create) -> None:
    """Whatever threads end a task at the same time: one end is stored and told, the others learn of it."""
    rounds, ends = 25, list(ENDS) * 2
    for number in range(rounds):
        task_id = f"t{number}"
        create(task_id)
        barrier = threading.Barrier(len(ends))

        def end(status: TaskStatus, task_id: str = task_id, barrier: threading.Barrier = barrier) -> Task | str:
            barrier.wait()
            try:
                return MOVES[status](registry, task_id)
            except TaskAlreadyFinished as error:
                return error.status

        with ThreadPoolExecutor(len(ends)) as pool:
            outcomes = list(pool.map(end, ends))
        stored = registry.get(task_id)
        assert stored is not None
        assert sorted(map(str, outcomes)) == sorted([str(stored)] * 2 + [str(stored.status)] * (len(ends) - 2))
    assert len([task for task, _ in told.changes if task.finished]) == rounds


def test_no_advance_is_lost(registry: Registry, told: Told, create: Create) -> None:
    """Threads that count the same task together come to the right sum, each step with a version of its own."""
    create()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(1000):
            pool.submit(registry.update, "a", advance=1)
    stored = registry.get("a")
    assert stored is not None
    assert stored.progress.current == 1000
    assert len({task.version for task, _ in told.changes}) == 1001


# Batches.


def test_many_updates_are_as_many_single_ones(registry: Registry, create: Create, told: Told) -> None:
    """In order, beyond any chunk; each is told, and one that fails comes back as its error and stops no other."""
    for number in range(300):
        create(f"t{number}", total=10)
    registry.complete("t1", None)
    told.changes.clear()
    step = (None, None, None, None, 1, None, None)
    made = registry.update_many([*((f"t{number}", *step) for number in range(300)), ("none", *step), ("t0", *step)])
    assert (type(made[1]), type(made[300])) == (TaskAlreadyFinished, TaskNotFound)
    stored = [task for task in made if isinstance(task, Task)]
    assert [task.task_id for task in stored] == ["t0", *(f"t{number}" for number in range(2, 300)), "t0"]
    assert told.changes == [(task, False) for task in stored]
    assert (stored[-1].current, stored[-1].version) == (2, stored[0].version + 1)
    assert registry.get("t0") == stored[-1]
    far = registry.update_many([("t0", None, None, None, None, 2**53, None, None)])
    assert type(far[0]) is InvalidValue
    assert registry.get("t0") == stored[-1]
