"""What this process says of itself to whoever looks after the servers, and what the others say.

One thread says it every two seconds, on the board of a store that servers share, where it is forgotten soon after: who
was killed is missed by nobody but the reader. It begins with the first viewer, or when our own server begins to serve.
The hub never waits for it, and it asks for nothing that is not counted anyway: what is told of a flush is told of by
the flusher, and no change costs more.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from .concurrency import native_lock
from .errors import RegistryUnavailable
from .hub import Hub
from .overview import Overview, Server, Store
from .registry.base import Registry

log = logging.getLogger("realtime")

#: Seconds between two words, and after which a silent server is forgotten.
BEAT: Final = 2.0
LIFE: Final = 3.5 * BEAT
#: Seconds that rates are taken over, and the least.
WINDOW: Final = 10.0
LEAST: Final = 0.2
#: Servers that are shown.
MAX_SERVERS: Final = 256


class _Sample(NamedTuple):
    """What was counted by a moment, in monotonic seconds."""

    at: float
    connects: int
    changes: int
    pushes: int
    bytes: int | None
    #: Of flushes by how long they took: see `Histogram`.
    flushes: tuple[int, ...]
    cpu: float


class Presence:
    """``kind`` is the scheme of the store's address; ``jobs`` returns how many jobs run and how many wait."""

    def __init__(self, hub: Hub, registry: Registry, jobs: Callable[[], tuple[int, int]], kind: str) -> None:
        self._hub, self._registry, self._jobs, self._kind = hub, registry, jobs, kind
        self._host = socket.gethostname()[:256]
        self._started = _text(time.time())
        self._lock = native_lock()
        self._over = threading.Event()
        # The process that counts, and the one whose thread speaks.
        self._pid = self._speaking = 0

    def start(self) -> None:
        """Begin, where somebody may read it: at the first call in each process. Any thread; does not wait."""
        if self._speaking == os.getpid() or self._over.is_set():
            return
        if self._registry.board is None and self._hub.metrics is None:
            return
        with self._lock:
            if self._speaking == os.getpid():
                return
            self._speaking = os.getpid()
            self._begin()
        # Not held by its thread: an app that is let go of takes its voice with it.
        given = weakref.ref(self), self._over
        threading.Thread(target=_speak, args=given, name="realtime-presence", daemon=True).start()

    def _begin(self) -> None:
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._id = secrets.token_hex(8)
        self._samples: deque[_Sample] = deque([self._sample()])

    def stop(self) -> None:
        """Take leave. Does not wait for it."""
        self._over.set()

    def speak(self) -> None:
        """Say how it stands, where others read it."""
        server = self.server()
        self._samples.append(self._sample())
        while self._samples[0].at < self._samples[-1].at - WINDOW:
            self._samples.popleft()
        if self._registry.board is not None:
            self._registry.board.put(server.id, msgspec.json.encode(server), LIFE)

    def leave(self) -> None:
        """Be forgotten at once."""
        if self._registry.board is not None:
            self._registry.board.drop(self._id)

    # What there is to say.

    def server(self) -> Server:
        """This process, now."""
        self._begin()
        hub, metrics = self._hub, self._hub.metrics
        first, last = self._samples[0], self._sample()
        seconds = last.at - first.at

        def rate(before: float | None, now: float | None) -> float | None:
            if before is None or now is None or seconds < LEAST:
                return None
            return round((now - before) / seconds, 3)

        running, waiting = self._jobs()
        took = [now - before for before, now in zip(first.flushes, last.flushes, strict=True)]
        return Server(
            id=self._id, host=self._host, pid=self._pid, version=_version(), started_at=self._started,
            said_at=_text(time.time()), viewers=len(hub.viewers),
            viewers_behind=None if metrics is None else metrics.behind_now, rooms=hub.rooms(),
            connects=last.connects, changes=last.changes, pushes=last.pushes, bytes=last.bytes,
            connects_per_second=rate(first.connects, last.connects),
            changes_per_second=rate(first.changes, last.changes),
            pushes_per_second=rate(first.pushes, last.pushes),
            bytes_per_second=rate(first.bytes, last.bytes),
            flush_p99=None if metrics is None else quantile(0.99, metrics.duration.bounds, took),
            jobs_running=running, jobs_waiting=waiting, reachable=self._registry.reachable,
            cpu=rate(first.cpu, last.cpu), rss=_rss(),
        )  # fmt: skip

    def _sample(self) -> _Sample:
        hub, metrics = self._hub, self._hub.metrics
        flushes = () if metrics is None else tuple(metrics.duration.counts)
        size = None if metrics is None else int(metrics.bytes.sum)
        return _Sample(time.monotonic(), hub.joined, hub.changes, hub.pushes, size, flushes, time.process_time())

    def overview(self) -> Overview:
        """All servers of the store, and the store. May wait for it; never raises for one that is out of reach."""
        self.start()
        return overview(self._registry, self._kind, self.server())


def overview(registry: Registry, kind: str, own: Server | None = None) -> Overview:
    """The servers of a store, and the store; ``own`` is there in any case. ``kind`` is the scheme of its address.

    What ``own`` has said is shown rather than what it is now: whichever server is asked, no count goes back.
    """
    texts: Sequence[bytes] = ()
    unfinished = finished = None
    reachable = True
    try:
        if registry.board is not None:
            texts = registry.board.read(MAX_SERVERS + 1)
        unfinished, finished = registry.count()
    except RegistryUnavailable:
        reachable = False
    servers = {}
    for text in texts:
        with contextlib.suppress(msgspec.DecodeError):  # of another version
            server = msgspec.json.decode(text, type=Server)
            servers[server.id] = server
    if own is not None:
        servers.setdefault(own.id, own)
    shown = sorted(servers.values(), key=lambda server: (server.host, server.pid))
    store = Store(
        kind=kind, shared=registry.board is not None, reachable=reachable, unfinished=unfinished, finished=finished
    )  # fmt: skip
    return Overview(
        time=_text(time.time()), store=store, servers=shown[:MAX_SERVERS], more=len(shown) > MAX_SERVERS
    )  # fmt: skip


def quantile(part: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The value that ``part`` of what was observed lies below, taken as even between two bounds; None of nothing.

    As ``histogram_quantile`` of Prometheus has it: what lies above the last bound counts as that.
    """
    rank, below = part * sum(counts), 0
    if not rank:
        return None
    for place, (bound, count) in enumerate(zip(bounds, counts, strict=False)):
        if below + count >= rank:
            lower = bounds[place - 1] if place else 0.0
            return lower + (bound - lower) * (rank - below) / count
        below += count
    return bounds[-1]


def _speak(presence: weakref.ref[Presence], over: threading.Event) -> None:
    told = False
    while True:
        ended = over.wait(BEAT) if told else over.is_set()
        told = True
        found = presence()
        if found is None:
            return
        try:
            with contextlib.suppress(RegistryUnavailable):  # it is said again
                if ended:
                    found.leave()
                else:
                    found.speak()
        except Exception:
            log.exception("How this server stands could not be told.")
        if ended:
            return
        del found


@cache  # it is read from a file, which takes a millisecond
def _version() -> str:
    try:
        return importlib.metadata.version("realtime-progress")
    except importlib.metadata.PackageNotFoundError:  # a tree that nobody has installed
        return "-"


def _rss() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # not Linux
        return None


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
