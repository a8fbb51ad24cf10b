"""Viewers without a network: a concurrency that starts nothing by itself, and outboxes that note what they get."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from realtime.auth import Grant
from realtime.concurrency import Concurrency
from realtime.config import Config
from realtime.frames import Batch
from realtime.hub import Hub, Viewer
from realtime.operations import Operations
from realtime.protocol import MAX_POLLED_PACKETS
from realtime.registry.memory import MemoryRegistry


class HandEvent:
    """An event whose waits return at once. Each calls ``on_wait`` with its timeout and returns what that returns."""

    def __init__(self, on_wait: Callable[[float | None], bool]) -> None:
        self.on_wait = on_wait
        self.sets = 0

    def set(self) -> None:
        self.sets += 1

    def clear(self) -> None:
        """Nothing to lower: what a test looks at is how often it was raised."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.on_wait(timeout)


class HandConcurrency(Concurrency):
    """Notes what is to be run beside, for the test to call."""

    mode = "threading"

    def __init__(self) -> None:
        self.attached = 0
        self.spawned: list[tuple[str, Callable[[], None]]] = []
        self.events: list[HandEvent] = []
        self.on_wait: Callable[[float | None], bool] = lambda timeout: False

    def attach(self) -> None:
        self.attached += 1

    def event(self) -> HandEvent:
        made = HandEvent(lambda timeout: self.on_wait(timeout))
        self.events.append(made)
        return made

    def spawn(self, function: Callable[[], None], name: str) -> None:
        self.spawned.append((name, function))

    def call_soon(self, function: Callable[[], None]) -> None:
        function()


class HandOutbox:
    """In the place of an `Outbox`: holds the flushes it is given until the test says that they are written."""

    def __init__(self) -> None:
        self.polling = False
        self.busy_since: float | None = None
        self.flushes: list[list[tuple[str, dict[str, Any]]]] = []
        self.sizes: list[int] = []
        self.on_ready: Callable[[], None] | None = None
        self.on_overflow: Callable[[], None] | None = None

    def attach(self, on_ready: Callable[[], None], on_overflow: Callable[[], None]) -> None:
        self.on_ready, self.on_overflow = on_ready, on_overflow

    def detach(self) -> None:
        self.on_ready = self.on_overflow = None

    def push(self, batch: Batch) -> int:
        assert self.busy_since is None, "a flush was handed over while another one was in flight"
        frames = batch.frames[: MAX_POLLED_PACKETS if self.polling else None]
        assert frames, "an empty flush was handed over"
        self.busy_since = time.monotonic()
        events = [json.loads(frame.packet.data.partition(",")[2]) for frame in frames]
        self.flushes.append([(event, payload) for event, payload in events])
        self.sizes.append(sum(frame.size for frame in frames))
        return len(frames)

    def empty(self) -> bool:
        return not self.flushes

    def written(self) -> None:
        """The flush in flight has been written."""
        self.busy_since = None
        if self.on_ready is not None:
            self.on_ready()

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """All that came since the last look, written now: event and payload of each packet."""
        news = [packet for flush in self.flushes for packet in flush]
        self.flushes.clear()
        self.written()
        return news


class House:
    """A registry, its lifecycle functions and a started hub; the test is the flusher."""

    def __init__(self, config: Config | None = None, registry: MemoryRegistry | None = None) -> None:
        self.config = config or Config()
        self.registry = registry or MemoryRegistry()
        self.operations = Operations(self.registry, self.config, lambda: None)
        self.concurrency = HandConcurrency()
        self.hub = Hub(self.registry, self.concurrency, flush_interval=0.05, viewer_timeout=30.0)
        self.hub.start()
        self._viewers = 0

    def viewer(
        self, user_id: str | None = None, *, groups: Iterable[str] = (), task_ids: Iterable[str] = (),
        address: str = "10.0.0.1", live: bool = True,
    ) -> tuple[Viewer, HandOutbox]:  # fmt: skip
        """One more viewer, joined and (if ``live``) open."""
        self._viewers += 1
        outbox = HandOutbox()
        grant = Grant(user_id, tuple(groups), frozenset(task_ids))
        viewer = Viewer(f"s{self._viewers}", f"c{self._viewers}", grant, address, outbox)
        self.hub.join(viewer, per_user=100, per_address=1_000, in_all=10_000)
        if live:
            self.hub.open(viewer)
        return viewer, outbox
