"""The metrics in Prometheus' form (https://prometheus.io/docs/instrumenting/exposition_formats/), and how each server
stands, for whoever has the token.

A login, a ticket or an address opens nothing: viewers have those, and behind a proxy everybody comes from this machine.
No label holds what users choose; the number of series is fixed, but for four to each server that is shown.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..errors import Unauthenticated
from ..hub import Hub
from ..metrics import Histogram, Metrics
from ..presence import Presence
from ..registry.base import Registry
from .answers import json


class Exposition(Collector):
    """Answers scrapers. ``jobs`` returns how many jobs run and how many wait."""

    def __init__(
        self, token: str, metrics: Metrics, hub: Hub, registry: Registry, jobs: Callable[[], tuple[int, int]],
        presence: Presence,
    ) -> None:  # fmt: skip
        self._token = token.encode()
        self._metrics = metrics
        self._hub = hub
        self._tasks = registry
        self._jobs = jobs
        self._presence = presence
        # Its own, since the one of the process belongs to the host, and several apps may live in a process.
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def answer(self) -> Response:
        """The metrics, for the current request. Raises `Unauthenticated`."""
        self._check()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(encode(self._registry), headers=headers, content_type=content_type)

    def servers(self) -> Response:
        """How each server stands: an `Overview`. Raises `Unauthenticated`."""
        self._check()
        return json(self._presence.overview())

    def _check(self) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise Unauthenticated("Metrics are for whoever has the token of REALTIME_METRICS.")

    def describe(self) -> list[Metric]:
        """Nothing else is in the registry, so there are no names to compare."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What there is now, as Prometheus' client wants it."""
        hub, metrics = self._hub, self._metrics
        yield _histogram(
            "realtime_flush_duration_seconds", "How long a flush took that told viewers something.", metrics.duration
        )
        yield _histogram(
            "realtime_change_to_write_seconds",
            "From the first wake-up of the flusher by a change to the end of the flush that handed it to sockets: the "
            "age of the oldest change of each flush, for viewers that could take it.",
            metrics.age,
        )
        yield _histogram("realtime_flush_viewers_behind", "Viewers still to be told after a flush.", metrics.behind)
        yield _histogram(
            "realtime_flush_bytes", "Bytes that a flush handed over, to all viewers, without WebSocket's headers.",
            metrics.bytes,
        )  # fmt: skip
        yield CounterMetricFamily(
            "realtime_changes", "Tasks that flushes found changed; of several changes between two flushes one.",
            hub.changes,
        )  # fmt: skip
        yield CounterMetricFamily("realtime_flushes", "Flushes that told viewers something.", hub.flushes)
        yield CounterMetricFamily("realtime_encodes", "Snapshots encoded: one per task and flush.", hub.encodes)
        yield CounterMetricFamily("realtime_frames", "Frames handed over, to all viewers.", hub.pushes)
        yield CounterMetricFamily("realtime_viewers_connected", "Viewers that were let in.", hub.joined)
        yield CounterMetricFamily("realtime_viewers_disconnected", "Viewers that have left, or were closed.", hub.left)
        yield _labelled(CounterMetricFamily, "realtime_viewers_refused", "Not let in.", "code", metrics.refusals)
        yield _labelled(
            CounterMetricFamily, "realtime_viewers_closed", "Closed by us; slow: it took nothing; flood: it asked on.",
            "reason", metrics.closings,
        )  # fmt: skip
        yield GaugeMetricFamily("realtime_viewers", "Viewers that are connected.", len(hub.viewers))
        yield GaugeMetricFamily("realtime_viewers_behind", "Viewers that have still to be told.", metrics.behind_now)
        yield GaugeMetricFamily(
            "realtime_rooms", "Rooms with a viewer in them, network addresses included.", hub.rooms()
        )
        buffer = self._tasks.buffer
        if buffer is not None:
            yield GaugeMetricFamily(
                "realtime_tasks_buffered", "Tasks whose newest state waits for the store to be back.", buffer.waiting()
            )
            yield CounterMetricFamily(
                "realtime_updates_dropped",
                "Tasks of which what waited could not be written any more: ended, taken over or gone.", buffer.dropped,
            )  # fmt: skip
        states = dict(zip(("unfinished", "finished"), self._tasks.count(), strict=True))
        yield _labelled(GaugeMetricFamily, "realtime_tasks", "Tasks that are held.", "state", states)
        states = dict(zip(("running", "waiting"), self._jobs(), strict=True))
        yield _labelled(
            GaugeMetricFamily, "realtime_jobs", "Jobs; those that wait have no thread yet.", "state", states
        )
        yield from self._of_servers()

    def _of_servers(self) -> Iterator[Metric]:
        """Of each server that shares the tasks, whichever of them is asked: several may answer at one address."""
        viewers, connects, changes, pushes = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        overview = self._presence.overview()
        for server in overview.servers:
            name = f"{server.host}:{server.pid}"  # which containers may have in common
            viewers[name] += server.viewers
            connects[name] += server.connects
            changes[name] += server.changes
            pushes[name] += server.pushes
        yield GaugeMetricFamily(
            "realtime_store_reachable", "Whether the task store has answered now.", overview.store.reachable
        )
        yield _labelled(
            GaugeMetricFamily, "realtime_server_viewers", "Viewers of each server, as it has said of late.", "server",
            viewers,
        )  # fmt: skip
        for what, text, counts in (
            ("viewers_connected", "Viewers that were let in", connects),
            ("changes", "Tasks that flushes found changed", changes),
            ("frames", "Frames handed over", pushes),
        ):
            name = f"realtime_server_{what}"
            yield _labelled(CounterMetricFamily, name, f"{text}, by server, as it has said of late.", "server", counts)


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, map(float, histogram.bounds)), "+Inf"), list(histogram.counts), strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.sum)


def _labelled(family: Any, name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    made: Metric = family(name, text, labels=[label])
    for value, number in list(values.items()):
        made.add_metric([value], number)  # type: ignore[attr-defined]
    return made
