"""The registries that the contract is tested on. To add one: a function like `open_memory`, and a line in `OPENERS`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from realtime.registry.base import Registry, Removed
from realtime.registry.memory import MemoryRegistry
from realtime.registry.redis import RedisRegistry
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import Task

from .clusters import shared_cluster
from .stores import shared_server


def open_memory(folder: Path, **settings: Any) -> Registry:
    return MemoryRegistry(**settings)


def open_sqlite(folder: Path, **settings: Any) -> Registry:
    """In a file of its own."""
    return SqliteRegistry(folder / f"{secrets.token_hex(8)}.db", **settings)


def open_store(kind: str, folder: Path, **settings: Any) -> Registry:
    """On a server that other tests share, under names that nobody else has."""
    return RedisRegistry(f"{shared_server(kind).url}?prefix=rt-{secrets.token_hex(8)}", timeout=10.0, **settings)


def open_cluster(folder: Path, **settings: Any) -> Registry:
    """On a cluster that other tests share, under names that nobody else has."""
    return RedisRegistry(f"{shared_cluster().url}?prefix=rt-{secrets.token_hex(8)}", timeout=10.0, **settings)


#: How to open each registry, given a folder of the test's own, ``clock`` and what of ``retention``, ``max_tasks`` and
#: ``max_tasks_per_user`` is not to be as usual.
OPENERS: dict[str, Callable[..., Registry]] = {
    "memory": open_memory,
    "sqlite": open_sqlite,
    "redis": partial(open_store, "redis"),
    "valkey": partial(open_store, "valkey"),
    "cluster": open_cluster,
}


class OpenRegistry(Protocol):
    """Opens a registry; ``retention``, ``max_tasks`` and ``max_tasks_per_user`` may be given."""

    def __call__(self, **settings: Any) -> Registry: ...


class Told:
    """What a registry has announced, in order."""

    def __init__(self, registry: Registry) -> None:
        self.changes: list[tuple[Task, bool]] = []
        self.removed: list[Removed] = []
        registry.on_change = lambda task, created: self.changes.append((task, created))
        registry.on_remove = self.removed.append

    @property
    def ids(self) -> list[str]:
        """The ids of what was removed."""
        return [removed.task_id for removed in self.removed]
