"""`RedisRegistry` with a `Buffer`: updates are held while the store is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...task import Task
from ..buffer import Buffer
from .registry import RedisRegistry


class BufferedRedisRegistry(RedisRegistry):
    """As `RedisRegistry`; the newest states of at most ``buffer`` tasks wait for a store that is away."""

    buffer: Buffer

    def __init__(self, url: str, *, buffer: int, **settings: Any) -> None:
        super().__init__(url, **settings)

        def known(task_id: str) -> Task | None:
            last = self._records.last(task_id)
            return None if last is None else last.task

        self.buffer = Buffer(buffer, known, self.nonces.once, self._now, patience=2 * self._link.timeout)

    def update(
        self,
        task_id: str,
        message: str | None = None,
        current: int | float | None = None,
        total: int | float | None = None,
        percent: float | None = None,
        advance: int | float | None = None,
        unit: str | None = None,
        metadata: bytes | None = None,
    ) -> Task:
        args = (message, current, total, percent, advance, unit, metadata)
        return self.buffer.update(super().update, task_id, args)

    def _change(self, task_id: str, change: Callable[[Task, float], Task]) -> Task:
        self.buffer.bring(task_id)
        return super()._change(task_id, change)

    def close(self) -> None:
        self.buffer.close()
        super().close()
