"""What a change costs does not depend on how many tasks there are. Counted in steps of the interpreter, not in time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from realtime.config import Config
from realtime.operations import Operations
from realtime.registry.memory import MemoryRegistry

FEW, MANY = 100, 100_000


class Steps:
    """Counts the instructions that Python code of this thread executes."""

    def __init__(self) -> None:
        self.count = 0

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        self.count += event == "opcode"
        return self._trace

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count in the block. A tracer that was there (coverage's) goes on afterwards."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(before)


def filled(tasks: int) -> Operations:
    """A registry with this many tasks of a thousand users, half of them finished."""
    registry = MemoryRegistry(max_tasks=1_000_000, max_tasks_per_user=1_000_000, clock=lambda: 1_795_495_200.0)
    operations = Operations(registry, Config(), lambda: None)
    for number in range(tasks):
        task = operations.create_task(f"task-{number}", f"user-{number % 1000}")
        if number % 2:
            operations.complete_task(task.task_id)
    return operations


@pytest.fixture(scope="module")
def few() -> Operations:
    return filled(FEW)


@pytest.fixture(scope="module")
def many() -> Operations:
    return filled(MANY)


CHANGES: dict[str, Callable[[Operations], Any]] = {
    "update": lambda operations: operations.update_task_progress("task-4", "more", current=3, total=9),
    "read": lambda operations: operations.get_task_status("task-4"),
    "create": lambda operations: operations.create_task("new", "user-8"),
    "complete": lambda operations: operations.complete_task("new", {"rows": 3}),
    "page": lambda operations: operations.list_tasks("user-8", limit=1),
    "remove": lambda operations: operations.remove_task("new"),
}


def test_no_operation_takes_more_steps_among_more_tasks(few: Operations, many: Operations) -> None:
    """An update is exactly as many steps among 100,000 tasks as among 100; so is all else, but for a page's search."""
    counts: dict[str, list[int]] = {}
    for operations in (few, many):
        for name, change in CHANGES.items():
            steps = Steps()
            with steps.counted():
                change(operations)
            counts.setdefault(name, []).append(steps.count)
    for name, (among_few, among_many) in counts.items():
        assert among_few > 0
        if name in ("update", "read"):
            assert among_many == among_few, name
        else:
            assert among_many <= among_few * 1.5 + 50, name


def test_the_count_finds_a_search(few: Operations, many: Operations) -> None:
    """What goes through all tasks is found by it."""
    counts = []
    for operations in (few, many):
        steps = Steps()
        with steps.counted():
            assert not any(task.name for task in operations.registry.unfinished())
        counts.append(steps.count)
    assert counts[1] > 100 * counts[0]
