"""Tasks of which nothing has been heard for long are shown as stalled, where the host says after how long that is."""

from __future__ import annotations

import contextlib
import time
from functools import partial

from .concurrency import Concurrency
from .errors import TaskAlreadyFinished, TaskNotFound
from .hub import Hub
from .registry.base import Registry
from .task import TaskStatus


def look_for_stalls(registry: Registry, hub: Hub, concurrency: Concurrency, after: float) -> None:
    """With each sweep of the hub mark the tasks of which nothing was heard for ``after`` seconds."""

    def look() -> None:
        before = time.time() - after
        for task in registry.unfinished():
            if task.status == TaskStatus.PROCESSING and task.info.stalled is None and task.updated < before:
                with contextlib.suppress(TaskNotFound, TaskAlreadyFinished):
                    registry.stall(task.task_id, task.updated)

    looking = look
    if registry.reads_wait:  # which the hub must not
        looking = partial(concurrency.spawn, partial(concurrency.execute, look), "realtime-stalled")
    hub.on_sweep.append(looking)
