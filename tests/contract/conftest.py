"""What the tests of the contract are given. Each runs on every registry of `support.registries`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.registry.base import Registry
from realtime.task import NewTask, Task
from support.clock import Clock
from support.registries import OPENERS, OpenRegistry, Told


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=sorted(OPENERS))
def open_registry(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[OpenRegistry]:
    """Opens registries of the kind under test, all on ``clock``; closes them in the end."""
    opened: list[Registry] = []

    def open_one(**settings: Any) -> Registry:
        opened.append(OPENERS[request.param](tmp_path, clock=clock, **settings))
        return opened[-1]

    yield open_one
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(open_registry: OpenRegistry) -> Registry:
    return open_registry()


@pytest.fixture
def told(registry: Registry) -> Told:
    return Told(registry)


@pytest.fixture
def create(registry: Registry) -> Callable[..., Task]:
    """Creates a task, ``a`` of the user ``ada`` unless told otherwise; takes the fields of `NewTask`."""

    def create_one(task_id: str = "a", user_id: str | None = "ada", **fields: Any) -> Task:
        return registry.create(NewTask(task_id, user_id, **fields))[0]

    return create_one
