"""Leases: whose worker is alive, and what becomes of a task when it is not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from realtime.errors import TaskAlreadyFinished, TaskNotFound
from realtime.kin import Kin
from realtime.registry import base
from realtime.registry.base import Registry
from realtime.registry.leases import Leases
from realtime.registry.redis import leases as redis_leases
from realtime.task import PENDING, Task
from support.clock import Clock
from support.registries import Told

Create = Callable[..., Task]

#: Seconds. Short enough that sweeps a second of the test's time apart are no gap.
LEASE = 8.0


@pytest.fixture(autouse=True)
def lease_clock(registry: Registry, clock: Clock) -> None:
    """The leases of a process go by a clock of their own."""
    leases = getattr(registry, "_leases", None)
    if isinstance(leases, Leases):
        leases._clock = clock
    registry.sweep()


def wait(registry: Registry, clock: Clock, seconds: float) -> None:
    """Let time pass, with a sweep after each second, as the hub has them made."""
    while seconds > 0:
        clock.go(min(1.0, seconds))
        registry.sweep()
        seconds -= 1.0


def status(registry: Registry, task_id: str = "a") -> str:
    task = registry.get(task_id)
    assert task is not None
    return task.status


def test_a_task_without_a_lease_waits_for_ever(registry: Registry, clock: Clock, create: Create) -> None:
    """Nobody has promised anything."""
    create()
    registry.update("a", "Reading")
    wait(registry, clock, 5 * LEASE)
    task = registry.get("a")
    assert task is not None
    assert (task.status, task.stalled_since) == ("processing", None)


def test_heartbeats_keep_it(registry: Registry, clock: Clock, create: Create) -> None:
    """As long as they come nothing is told of them, and `updated_at` stays."""
    created = create()
    first = registry.heartbeat("a", LEASE)
    for _ in range(10):
        wait(registry, clock, 3.0)
        task = registry.heartbeat("a", LEASE)
        assert (task.status, task.stalled_since, task.version) == ("processing", None, first.version)
    assert registry.get("a") == task
    assert task.updated_at == created.updated_at


def test_updates_are_signs_of_life_too(registry: Registry, clock: Clock, create: Create) -> None:
    """A worker that reports all the time need not say that it is there."""
    create()
    registry.heartbeat("a", LEASE)
    for step in range(10):
        wait(registry, clock, 3.0)
        assert registry.update("a", f"step {step}").stalled_since is None
    assert status(registry) == "processing"


def test_half_a_lease_of_silence_is_shown(registry: Registry, clock: Clock, told: Told, create: Create) -> None:
    """From when on is said, once; the task is still its worker's."""
    create()
    registry.heartbeat("a", LEASE)
    heard = clock.now
    wait(registry, clock, 3.0)
    task = registry.get("a")
    assert task is not None
    assert task.stalled_since is None
    wait(registry, clock, 3.0)
    task = registry.get("a")
    assert task is not None
    assert task.status == "processing"
    assert task.stalled_since is not None
    assert task.stalled_since.timestamp() == pytest.approx(heard, abs=1.1)
    assert [change.stalled_since for change, _ in told.changes].count(task.stalled_since) == 1


def test_to_look_is_no_sign_of_life(registry: Registry, clock: Clock, create: Create) -> None:
    """The lease runs from the heartbeat on, and not from the sweep after it."""
    create()
    registry.heartbeat("a", LEASE)
    clock.go(LEASE * 0.75)
    (silence,) = registry.silences()
    assert silence.seconds == pytest.approx(LEASE * 0.75)


@pytest.mark.parametrize("sign", ["heartbeat", "update"])
def test_a_sign_of_life_takes_it_back(sign: str, registry: Registry, clock: Clock, create: Create) -> None:
    """And the lease begins anew."""
    create()
    registry.heartbeat("a", LEASE)
    wait(registry, clock, 6.0)
    task = registry.heartbeat("a", LEASE) if sign == "heartbeat" else registry.update("a", "Here again")
    assert task.stalled_since is None
    wait(registry, clock, 3.0)
    assert status(registry) == "processing"
    assert registry.get("a") == task


@pytest.mark.parametrize("pending", [True, False])
def test_a_whole_lease_of_silence_is_the_end(
    pending: bool, registry: Registry, clock: Clock, told: Told, create: Create
) -> None:
    """It fails at the next sweep, which is told; the worker that comes back is refused whatever it says."""
    create(**({"status": PENDING} if pending else {}))
    registry.heartbeat("a", LEASE)
    wait(registry, clock, LEASE + 2)
    task = registry.get("a")
    assert task is not None
    assert task.status == "failed"
    assert task.error is not None
    assert (task.error.code, task.error.retryable) == ("worker_lost", True)
    assert told.changes[-1] == (task, False)
    for late in (
        lambda: registry.heartbeat("a", LEASE),
        lambda: registry.update("a", "Here again"),
        lambda: registry.append_output("a", "output", b"Here again"),
        lambda: registry.complete("a", None),
    ):
        with pytest.raises(TaskAlreadyFinished):
            late()
    assert registry.get("a") == task


def test_time_in_which_nobody_swept_is_not_held_against_workers(
    registry: Registry, clock: Clock, create: Create
) -> None:
    """The process was stopped, or the store was away: nobody could be heard. Every lease begins anew."""
    create()
    registry.heartbeat("a", LEASE)
    wait(registry, clock, 2.0)
    clock.go(60.0)
    registry.sweep()
    wait(registry, clock, 3.0)
    task = registry.get("a")
    assert task is not None
    assert (task.status, task.stalled_since) == ("processing", None)
    wait(registry, clock, LEASE)
    assert status(registry) == "failed"


def test_an_end_ends_the_lease(registry: Registry, clock: Clock, create: Create) -> None:
    """And another task of the same id has none, until its worker says so."""
    create()
    registry.heartbeat("a", LEASE)
    registry.complete("a", None)
    registry.remove("a")
    create()
    wait(registry, clock, 3 * LEASE)
    assert status(registry) == "processing"


def test_the_last_lease_counts(registry: Registry, clock: Clock, create: Create) -> None:
    """A worker may promise less, or more, at any heartbeat."""
    create()
    registry.heartbeat("a", LEASE)
    registry.heartbeat("a", 3 * LEASE)
    wait(registry, clock, 2 * LEASE)
    assert status(registry) == "processing"
    registry.heartbeat("a", 2.0)
    wait(registry, clock, 4.0)
    assert status(registry) == "failed"


def test_each_task_has_its_own(registry: Registry, clock: Clock, create: Create) -> None:
    """The end of one is not the end of another."""
    for task_id in ("a", "b", "c"):
        create(task_id)
    registry.heartbeat("a", LEASE)
    registry.heartbeat("b", LEASE)
    for _ in range(4):
        wait(registry, clock, 3.0)
        registry.heartbeat("b", LEASE)
    assert [status(registry, task_id) for task_id in ("a", "b", "c")] == ["failed", "processing", "processing"]


def test_there_must_be_a_task(registry: Registry, create: Create) -> None:
    """An unfinished one."""
    with pytest.raises(TaskNotFound):
        registry.heartbeat("a", LEASE)
    create()
    registry.complete("a", None)
    with pytest.raises(TaskAlreadyFinished):
        registry.heartbeat("a", LEASE)


def test_a_part_whose_worker_is_lost_ends_its_group(registry: Registry, clock: Clock, create: Create) -> None:
    """The sweep that ends the one sees to the other, and waits for no other attempt: nobody is there to make it."""
    create("g", kin=Kin(announced=2))
    for task_id in "ab":
        create(task_id, parent_id="g")
    registry.complete("b", None)
    registry.heartbeat("a", LEASE)
    wait(registry, clock, 3 * LEASE)
    assert status(registry) == "failed"
    group = registry.get("g")
    assert group is not None
    assert group.error is not None
    assert (group.status, group.error.code) == ("failed", "partly_completed")


def test_a_lease_is_any_number_of_seconds(registry: Registry, clock: Clock, create: Create) -> None:
    """Also one of more digits than anybody writes."""
    create()
    registry.heartbeat("a", 25 / 3)
    wait(registry, clock, 5.0)
    task = registry.get("a")
    assert task is not None
    assert task.stalled_since is not None
    registry.heartbeat("a", 7.000001)
    wait(registry, clock, 9.0)
    assert status(registry) == "failed"


def test_who_is_long_late_hides_nobody(
    registry: Registry, clock: Clock, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are whose leases have time left: a sweep looks at a number of them, and at others too."""
    monkeypatch.setattr(base, "_LAPSES", 2)
    monkeypatch.setattr(redis_leases, "_MOST", 2)
    for task_id in "abc":
        create(task_id)
        registry.heartbeat(task_id, 10 * LEASE)
    wait(registry, clock, 5 * LEASE + 3.0)
    stalled = [registry.get(task_id) for task_id in "abc"]
    assert None not in [task and task.stalled_since for task in stalled]
    assert len({task and task.stalled_since for task in stalled}) == 1
    create("d")
    registry.heartbeat("d", LEASE)
    wait(registry, clock, LEASE + 3.0)
    assert [status(registry, task_id) for task_id in "abcd"] == ["processing"] * 3 + ["failed"]
    assert [registry.get(task_id) for task_id in "abc"] == stalled
    wait(registry, clock, 4 * LEASE)
    assert [status(registry, task_id) for task_id in "abc"] == ["failed"] * 3


def test_a_sweep_ends_some_of_many(
    registry: Registry, clock: Clock, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one goes on: while it lasts, no viewer is told anything."""
    monkeypatch.setattr(base, "_LAPSES", 2)
    monkeypatch.setattr(redis_leases, "_MOST", 2)
    for task_id in "abcde":
        create(task_id)
        registry.heartbeat(task_id, LEASE)
    wait(registry, clock, LEASE * 0.75)
    clock.go(LEASE)
    left = [5]
    while left[-1] and len(left) < 9:
        registry.sweep()
        left.append(registry.count()[0])
    assert left[:2] == [5, 3]
    assert max(before - after for before, after in pairwise(left)) == 2
    assert left[-1] == 0
