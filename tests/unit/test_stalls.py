"""Tasks of which nothing is heard, where the host has said after how long they stall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime.registry.memory import MemoryRegistry
from realtime.stalls import look_for_stalls
from realtime.task import NewTask, TaskStatus
from support.clock import Clock
from support.watching import House


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    clock = Clock()
    house = House(None, MemoryRegistry(clock=clock))
    house.clock = clock  # type: ignore[attr-defined]
    monkeypatch.setattr("realtime.stalls.time", type("", (), {"time": clock}))
    return house


def stalled(house: House) -> list[str]:
    return sorted(task.task_id for task in house.registry.unfinished() if task.info.stalled is not None)


def test_what_is_silent_for_long_is_marked_until_it_speaks(house: House) -> None:
    """Not what waits to be started, nor what has ended."""
    clock: Any = house.clock  # type: ignore[attr-defined]
    look_for_stalls(house.registry, house.hub, house.concurrency, 10.0)
    look = house.hub.on_sweep[-1]
    for task_id in ("a", "b", "ended"):
        house.registry.create(NewTask(task_id, "ada"))
    house.registry.create(NewTask("pending", "ada", status=TaskStatus.PENDING))
    house.registry.complete("ended", None)
    clock.go(9.0)
    house.registry.update("b", "speaks")
    look()
    assert stalled(house) == []
    clock.go(2.0)
    look()
    assert stalled(house) == ["a"]
    house.registry.update("a", "speaks")
    assert stalled(house) == []


def test_where_reading_waits_the_hub_does_not(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done beside it."""
    monkeypatch.setattr(MemoryRegistry, "reads_wait", True)
    spawned: list[Callable[[], None]] = []
    monkeypatch.setattr(house.concurrency, "spawn", lambda work, name: spawned.append(work))
    look_for_stalls(house.registry, house.hub, house.concurrency, 10.0)
    house.registry.create(NewTask("a", "ada"))
    clock: Any = house.clock  # type: ignore[attr-defined]
    clock.go(11.0)
    house.hub.on_sweep[-1]()
    assert stalled(house) == []
    for work in spawned:
        work()
    assert stalled(house) == ["a"]
