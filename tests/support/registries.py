"""Registries in tests: how one is opened, and a listener to it."""

from __future__ import annotations

from typing import Any, Protocol

from realtime.registry.base import Registry, Removed
from realtime.task import Task


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
