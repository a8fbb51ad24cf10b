"""Changes on a condition, on every registry: looked at in the step that makes the change."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime.errors import CancelRequested, PreconditionFailed, TaskAlreadyFinished, TaskNotFound
from realtime.registry.base import Registry
from realtime.registry.conditional import When
from realtime.task import Task, TaskFailure
from support.registries import Told

Create = Callable[..., Task]

FAILURE = TaskFailure("ValueError", "bad", "failed")
CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "update": lambda store, task_id: store.update(task_id, "Reading", None, None, 40),
    "start": lambda store, task_id: store.start(task_id),
    "complete": lambda store, task_id: store.complete(task_id, b"7"),
    "fail": lambda store, task_id: store.fail(task_id, FAILURE),
    "request_cancel": lambda store, task_id: store.request_cancel(task_id),
    "cancel": lambda store, task_id: store.cancel(task_id),
    "heartbeat": lambda store, task_id: store.heartbeat(task_id, 30.0),
    "acknowledge_cancel": lambda store, task_id: store.acknowledge_cancel(task_id),
    "append_output": lambda store, task_id: store.append_output(task_id, "output", b"line\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_version_that_is_there_lets_it_through(change: str, registry: Registry, create: Create) -> None:
    """And what comes of it is what the registry itself would have made."""
    one, two = create("one", status="pending"), create("two", status="pending")
    wanted = CHANGES[change](registry, one.task_id)
    made = CHANGES[change](When(registry, frozenset((two.etag,))), two.task_id)
    if isinstance(wanted, Task):
        shown = [
            {name: value for name, value in task.as_dict().items() if name in ("status", "progress", "result", "error")}
            for task in (made, wanted)
        ]
        assert shown[0] == shown[1]
    else:
        assert made == wanted


@pytest.mark.parametrize("change", CHANGES)
def test_another_version_stops_it(change: str, registry: Registry, create: Create, told: Told) -> None:
    """Nothing is changed and nothing told."""
    former = create().etag
    now = registry.update("a", "Someone else was here")
    told.changes.clear()
    with pytest.raises(PreconditionFailed):
        CHANGES[change](When(registry, frozenset((former,))), "a")
    assert registry.get("a") == now
    assert told.changes == []
    assert registry.output_ends("a") == {}


@pytest.mark.parametrize("change", ["update", "append_output", "heartbeat"])
def test_a_task_that_was_asked_to_stop_is_left_alone(change: str, registry: Registry, create: Create) -> None:
    """Where that is the condition: then whoever wrote knows it, which is noted; an end is told as what it is."""
    create()
    CHANGES[change](When(registry, unasked=True), "a")
    registry.request_cancel("a")
    with pytest.raises(PreconditionFailed):
        CHANGES[change](When(registry, frozenset(('"e.1"',)), unasked=True), "a")
    assert registry.get("a").cancel_acknowledged_at is None  # type: ignore[union-attr]
    with pytest.raises(CancelRequested):
        CHANGES[change](When(registry, unasked=True), "a")
    assert registry.get("a").cancel_acknowledged_at is not None  # type: ignore[union-attr]
    registry.cancel("a")
    with pytest.raises(TaskAlreadyFinished):
        CHANGES[change](When(registry, unasked=True), "a")


def test_no_task_is_no_condition(registry: Registry) -> None:
    """It is not found, whatever the version."""
    for change in CHANGES.values():
        with pytest.raises(TaskNotFound):
            change(When(registry, frozenset(('"e.1"',))), "a")


def test_of_many_writers_of_one_version_one_wins(registry: Registry, create: Create) -> None:
    """Each of 8 threads adds one on top of what it has read, 10 times; none is lost, and other writers come between."""
    create(total=200)
    lost: list[Exception] = []

    def add(_: int) -> None:
        made = 0
        while made < 10:
            task = registry.get("a")
            assert task is not None
            try:
                When(registry, frozenset((task.etag,))).update("a", None, (task.current or 0) + 1)
                made += 1
            except PreconditionFailed as error:
                lost.append(error)
            registry.update("a", "Still here")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    task = registry.get("a")
    assert task is not None
    assert task.current == 80
