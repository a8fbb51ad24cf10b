"""Handles, blocks and loops, of a server and of a worker alike."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from typing import Any, TypeVar

from .handle import Handle, track
from .operations import Operations, TaskId, UserId, Word

_T = TypeVar("_T")


class Blocks(Operations):
    """The lifecycle functions, and what holds a task in the hands of its job."""

    def _working(self) -> Operations:
        """What handles act on."""
        return self

    def task(
        self, task_id: TaskId, *, passthrough: tuple[type[BaseException], ...] = (), takeover: bool = False
    ) -> Handle:
        """The `Handle` of a task that exists; also a context manager, as `progress`. Raises `TaskNotFound`."""
        return Handle(self._working(), self.require(task_id).task_id, passthrough=passthrough, takeover=takeover)

    def progress(
        self, *, user_id: UserId | Word | None = None, name: str | None = None, total: float | None = None,
        unit: str | None = None, task_id: TaskId | None = None, message: str | None = "Starting...",
        metadata: Mapping[str, Any] | None = None, groups: Collection[str] = (),
        parent_id: TaskId | None = None, weight: float = 1.0, passthrough: tuple[type[BaseException], ...] = (),
    ) -> Handle:  # fmt: skip
        """``with rt.progress(user_id=…, name=…) as task:`` runs the block as a task.

        The end of the block completes it; an exception fails it and is raised again (one of ``passthrough`` leaves the
        task alone); KeyboardInterrupt cancels it. Arguments as for `create_task`.
        """
        task = self.create_task(
            task_id, user_id, name=name, total=total, unit=unit, message=message, metadata=metadata,
            groups=groups, cancellable=True, parent_id=parent_id, weight=weight,
        )  # fmt: skip
        return Handle(self._working(), task.task_id, passthrough=passthrough)

    def track(
        self, iterable: Iterable[_T], *, user_id: UserId | Word | None = None, name: str | None = None,
        total: float | None = None, unit: str | None = None, task_id: TaskId | None = None,
        message: str | None = "Starting...", metadata: Mapping[str, Any] | None = None, groups: Collection[str] = (),
        parent_id: TaskId | None = None, weight: float = 1.0,
    ) -> Generator[_T]:  # fmt: skip
        """``for row in rt.track(rows, user_id=…):`` shows the loop as a task that ends with it.

        Left early, the task fails with code ``abandoned``. ``total`` is ``len(iterable)`` where there is one.
        """
        return track(
            self._working(), iterable, task_id=task_id, user_id=user_id, name=name, total=total, unit=unit,
            message=message, metadata=metadata, groups=groups, parent_id=parent_id, weight=weight,
        )  # fmt: skip
