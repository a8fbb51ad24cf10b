"""What a server says of itself, and whom it shows."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from flask import Flask

import realtime.presence
from realtime import Realtime
from realtime.errors import RegistryUnavailable
from realtime.metrics import Metrics
from realtime.overview import Server
from realtime.presence import BEAT, LIFE, MAX_SERVERS, Presence, overview, quantile
from realtime.registry.memory import MemoryRegistry
from support.clock import Clock
from support.remote import wait_until
from support.watching import House


class Board:
    """In the place of a store's: one dictionary."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}
        self.seconds: set[float] = set()
        self.threads: set[str] = set()
        self.away = False
        self.spoken = threading.Event()

    def put(self, name: str, text: bytes, seconds: float) -> None:
        self.threads.add(threading.current_thread().name)
        if not self.away:
            self.said[name] = text
            self.seconds.add(seconds)
        self.spoken.set()
        if self.away:
            raise RegistryUnavailable("The store is away.")

    def drop(self, name: str) -> None:
        self.said.pop(name)

    def read(self, most: int) -> list[bytes]:
        if self.away:
            raise RegistryUnavailable("The store is away.")
        return list(self.said.values())[:most]


class Site(House):
    """A hub with metrics, a board, and what it says there."""

    def __init__(self) -> None:
        super().__init__()
        self.hub.metrics = Metrics()
        self.board = self.registry.board = Board()
        self.presence = Presence(self.hub, self.registry, lambda: (1, 2), "redis")


@pytest.fixture(name="clock")
def new_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the rates."""
    clock = Clock()
    used = SimpleNamespace(monotonic=clock, time=time.time, process_time=lambda: clock.now / 4)
    monkeypatch.setattr(realtime.presence, "time", used)
    return clock


@pytest.fixture(name="site")
def new_site() -> Site:
    return Site()


class TestWords:
    def test_what_there_is(self, site: Site, clock: Clock) -> None:
        """Each number is that of what was done, each rate that of the time since."""
        assert site.presence.server().changes_per_second is None  # there has been no time
        outboxes = [site.viewer("ann")[1] for _ in range(2)]
        for number in range(4):
            site.operations.create_task(f"t{number}", "ann")
        site.hub.flush()
        site.operations.update_task_progress("t0", 1)
        site.operations.update_task_progress("t0", 2)
        clock.go(2)
        server = site.presence.server()
        assert (server.viewers, server.connects, server.connects_per_second) == (2, 2, 1.0)
        assert (server.changes, server.changes_per_second) == (4, 2.0)
        assert (server.pushes, server.pushes_per_second) == (8, 4.0)
        assert server.bytes == sum(sum(outbox.sizes) for outbox in outboxes)
        assert server.bytes_per_second == server.bytes / 2
        assert (server.jobs_running, server.jobs_waiting, server.reachable, server.cpu) == (1, 2, True, 0.25)
        assert server.rss is not None
        assert server.rss > 1_000_000
        site.hub.flush()  # two changes since the last one are one
        assert (site.presence.server().changes, site.presence.server().viewers_behind) == (5, 2)
        assert len(msgspec.json.encode(server)) < 1024

    def test_rates_are_of_the_last_ten_seconds(self, site: Site, clock: Clock) -> None:
        """What was busy a while ago is no longer, and what has just begun is not thinned by the hours before."""
        site.presence.server()
        site.viewer("ann")
        site.operations.create_task("a", "ann")
        site.hub.flush()
        for _ in range(8):
            clock.go(BEAT)
            site.presence.speak()
        assert site.presence.server().changes_per_second == 0
        site.operations.create_task("b", "ann")
        site.hub.flush()
        clock.go(BEAT)
        assert site.presence.server().changes_per_second == pytest.approx(1 / 12, abs=0.001)

    def test_without_metrics_it_says_what_is_counted_anyway(self, site: Site) -> None:
        """And measures nothing for it."""
        site.hub.metrics = None
        server = site.presence.server()
        assert (server.viewers_behind, server.bytes, server.flush_p99) == (None, None, None)
        assert (server.viewers, server.changes) == (0, 0)

    def test_the_slowest_flushes_of_late(self, site: Site, clock: Clock) -> None:
        """Of those since the window began, not of all."""
        assert site.hub.metrics is not None
        site.hub.metrics.duration.observe(4.0)
        site.presence.server()
        for _ in range(99):
            site.hub.metrics.duration.observe(0.002)
        assert site.presence.server().flush_p99 == pytest.approx(0.0025, rel=0.02)

    def test_a_change_costs_what_it_did(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """No update comes by here, nor looks at a clock: the flusher's own count is read."""
        site.viewer("ann")
        site.operations.create_task("a", "ann")
        site.hub.flush()
        site.presence.server()
        before = vars(site.hub).copy()
        for name in vars(Presence):
            if not name.startswith("__"):
                monkeypatch.setattr(Presence, name, None)
        for step in range(100):
            site.operations.update_task_progress("a", percent=step)
        site.hub.flush()
        assert site.hub.changes == before["changes"] + 1

    def test_quantiles(self) -> None:
        """As Prometheus has them."""
        assert quantile(0.5, (1, 2), (0, 0, 0)) is None
        assert quantile(0.5, (1, 2), (2, 0, 0)) == 0.5
        assert quantile(0.99, (1, 2), (50, 50, 0)) == pytest.approx(1.98)
        assert quantile(0.99, (1, 2), (0, 0, 3)) == 2


class TestSpeaking:
    def test_a_thread_of_its_own_says_it_until_it_takes_leave(self, site: Site) -> None:
        """Started twice it speaks with one voice; at the end nothing is left of it."""
        site.presence.start()
        site.presence.start()
        assert site.board.spoken.wait(10)
        assert site.board.threads == {"realtime-presence"}
        assert site.board.seconds == {LIFE}
        (text,) = site.board.said.values()
        assert msgspec.json.decode(text, type=Server).id == site.presence.server().id
        site.presence.stop()
        wait_until(lambda: site.board.said, lambda said: not said)
        site.board.spoken.clear()
        site.presence.start()  # a server that has stopped does not come back
        assert not site.board.spoken.wait(0.1)

    def test_a_store_that_is_away_is_spoken_to_again(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its thread outlives any error."""
        monkeypatch.setattr(realtime.presence, "BEAT", 0.01)
        site.board.away = True
        site.presence.start()
        assert site.board.spoken.wait(10)
        site.board.away = False
        wait_until(lambda: site.board.said, bool)
        site.presence.stop()
        wait_until(lambda: site.board.said, lambda said: not said)

    def test_where_nobody_can_read_it_nobody_speaks(self) -> None:
        """No thread for tasks of one process without metrics."""
        house = House()
        presence = Presence(house.hub, house.registry, lambda: (0, 0), "memory")
        presence.start()
        assert presence._speaking == 0

    def test_an_app_that_is_let_go_of_falls_silent(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its thread does not hold it."""
        monkeypatch.setattr(realtime.presence, "BEAT", 0.01)
        presence = Presence(site.hub, site.registry, lambda: (0, 0), "redis")
        presence.start()
        assert site.board.spoken.wait(10)
        gone = weakref.ref(presence)
        del presence
        wait_until(lambda: gc.collect() and gone(), lambda found: found is None or found == 0)
        wait_until(
            lambda: [thread.name for thread in threading.enumerate()], lambda names: "realtime-presence" not in names
        )

    def test_it_begins_with_the_first_look_of_the_flusher(self) -> None:
        """Nothing starts with the app; and its end is its end."""
        app = Flask("quiet")
        app.config.update(SECRET_KEY="k" * 32, REALTIME_METRICS="m" * 16)
        rt = Realtime(app)
        assert rt.presence._speaking == 0
        assert rt.presence.start in rt.hub.on_sweep
        rt.presence.start()
        assert rt.presence._speaking
        rt.stop()
        assert rt.presence._over.is_set()


class TestOverview:
    def test_all_servers_by_their_names(self, site: Site) -> None:
        """What it has said itself is shown as it was said, and it is there if it has said nothing."""
        site.operations.create_task("a", "ann")
        own = site.presence.server()
        say(site, own, host="b", pid=2, id="x")
        say(site, own, host="b", pid=10, id="y")
        found = overview(site.registry, "redis", own)
        assert {server.id for server in found.servers} == {own.id, "x", "y"}
        names = [(server.host, server.pid) for server in found.servers]
        assert names == sorted(names)
        assert (found.store.kind, found.store.shared, found.store.unfinished, found.store.finished) == (
            "redis", True, 1, 0,
        )  # fmt: skip
        say(site, own, viewers=7)
        again = overview(site.registry, "redis", own)
        assert [server.viewers for server in again.servers if server.id == own.id] == [7]

    def test_who_speaks_another_language_is_left_out(self, site: Site) -> None:
        """A server of another version does not hide the others."""
        site.board.said.update(x=b"{}", y=b"\xff", z=b'{"id": 1}')
        assert [server.pid for server in site.presence.overview().servers] == [site.presence.server().pid]
        site.presence.stop()

    def test_a_store_out_of_reach_is_told_and_no_error(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """This server at least is shown."""
        site.board.away = True
        found = overview(site.registry, "redis", site.presence.server())
        assert (found.store.reachable, found.store.unfinished, len(found.servers)) == (False, None, 1)

    def test_there_is_a_bound(self, site: Site) -> None:
        """And it says that it was reached."""
        own = site.presence.server()
        for number in range(MAX_SERVERS + 5):
            say(site, own, id=f"n{number}", pid=number)
        found = overview(site.registry, "redis", None)
        assert (len(found.servers), found.more) == (MAX_SERVERS, True)

    def test_of_one_process_it_is_that_one(self) -> None:
        """Whatever the kind of its store."""
        house = House(registry=MemoryRegistry())
        presence = Presence(house.hub, house.registry, lambda: (0, 0), "memory")
        found = presence.overview()
        assert (len(found.servers), found.store.shared, found.more) == (1, False, False)


def say(site: Site, server: Server, **other: Any) -> None:
    """Have another server say much the same."""
    said = msgspec.structs.replace(server, **other)
    site.board.said[said.id] = msgspec.json.encode(said)
