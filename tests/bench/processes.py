"""The scenarios W1 to W3: tasks that several processes share in a store on the same machine."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator

from bench.client import Report
from bench.results import Figures, at_least, at_most, nothing
from bench.scenarios import Bench, Scenario, missing_ends
from bench.sessions import Load, Session
from bench.share import share_of_core
from bench.systems import Order, Setup, System
from support.stores import StoreServer, started

#: Changes a second that another process makes (W1).
CHANGES = 1_000.0
#: Viewers, their tasks, and changes a second of each task, as often as a flush tells it (W2).
MANY, FEW, EACH = 8_000, 20, 20.0
#: Of a core, what each server process has (W2): two are to leave enough for who publishes, the store and who reads.
SHARE = 0.4
#: Viewers in a room of their own in which nothing happens (W3).
ROOMS = 10_000


@contextlib.contextmanager
def _store(kind: str) -> Iterator[tuple[StoreServer, dict[str, str]]]:
    """A store of this kind, and what a server is told to share it."""
    with started(StoreServer(kind)) as store:
        yield store, {"FLASK_REALTIME_REGISTRY": store.url, "BENCH_SECRET_KEY": secrets.token_hex(32)}


def _from_elsewhere(session: Session, system: System, rate: float, bench: Bench) -> Report:
    """The report of a run in which another server process, which has no viewer, makes the changes and the ends."""
    sizes, setup = bench.sizes, session.setup
    with system.start(Setup(setup.groups, settings=setup.settings)) as publisher:
        order = Order(setup.groups, rate, sizes.seconds, finals=True)
        report = session.client.run(lambda: publisher.publish(order), sizes.seconds, finals=sizes.patience)
        if publisher.published(sizes.patience) is None:
            raise RuntimeError("the publisher is not through in time")
        return report


def elsewhere(kind: str) -> Callable[[Bench, System], Figures]:
    """Changes that another process makes in a store of this kind, until they are on the screen."""

    def measure(bench: Bench, system: System) -> Figures:
        sizes = bench.sizes
        with _store(kind) as (_, settings):
            setup, load = Setup(sizes.tasks, settings=settings), Load(sizes.viewers, sizes.tasks)
            with Session(system, setup, load, pin=bench.pin) as session:
                report = _from_elsewhere(session, system, CHANGES * sizes.viewers / 1_000, bench)
        return {
            "latency_ms": report["latency_ms"]["p99"],
            "half_ms": report["latency_ms"]["p50"],
            "pushes": report["per_second"],
            "missing": missing_ends(sizes.viewers, report),
        }

    return measure


def several(bench: Bench, system: System) -> Figures:
    """What one server process pushes, and what two do, each with the same share of a core."""
    figures: Figures = {"missing": 0.0}
    viewers = MANY * bench.sizes.viewers // 1_000
    for workers in (1, 2):
        with _store("redis") as (_, settings):
            setup, load = Setup(FEW, settings=settings, workers=workers), Load(viewers, FEW, inflight=256)
            with (
                Session(system, setup, load, pin=False) as session,
                share_of_core(session.server.pids, SHARE) as shared,
            ):
                report = _from_elsewhere(session, system, FEW * EACH, bench)
        figures["share"] = SHARE if shared else 1.0
        figures[f"pushes_{workers}"] = report["per_second"]
        figures[f"cpu_us_{workers}"] = report["cpu_s"] / max(report["messages"], 1) * 1e6
        figures["missing"] += missing_ends(viewers, report)
    figures["times"] = figures["pushes_2"] / figures["pushes_1"]
    figures["per_cpu"] = 2 * figures["cpu_us_1"] / figures["cpu_us_2"]
    return figures


def idle_rooms(bench: Bench, system: System) -> Figures:
    """How many connections a server follows the rooms of its viewers by."""
    rooms = ROOMS * bench.sizes.viewers // 1_000
    with _store("redis") as (store, settings), contextlib.closing(store.client()) as client:
        load = Load(rooms, rooms, inflight=256, connect_timeout=180)
        with Session(system, Setup(rooms, settings=settings), load, pin=bench.pin) as session:
            report = session.client.idle(max(bench.sizes.seconds, 3.0))
            followed = [int(entry["sub"]) for entry in client.client_list(_type="pubsub")]
            absent = rooms - session.client.connected["ready"]
    return {
        "rooms": float(sum(followed)),
        "connections": float(len(followed)),
        "absent": float(absent),
        "cpu_percent": report["cpu_s"] / report["seconds"] * 100,
    }


_ON_SCREEN = (("latency_ms", "on the screen p99 {:.0f} ms"), ("half_ms", "p50 {:.0f} ms"), ("pushes", "{} pushes/s"))


def _on_screen(key: str, store: str, kind: str) -> Scenario:
    return Scenario(
        key, f"1,000 changes/s made in another process, 100 tasks × 10 viewers, {store}", (), elsewhere(kind),
        (*_ON_SCREEN, ("missing", "{:.0f} without the end")),
        (at_most("latency_ms", 100, "{:.0f} ms p99"), nothing("missing", "without the end")),
    )  # fmt: skip


SCENARIOS = (
    _on_screen("W1", "Redis", "redis"),
    _on_screen("W1v", "Valkey", "valkey"),
    Scenario(
        "W2",
        "8,000 viewers of 20 tasks, 20 changes/s of each: two server processes beside one, each with as much of a core",
        (),
        several,
        (
            ("share", "{:.1f} of a core each"),
            ("pushes_1", "one {} pushes/s"),
            ("cpu_us_1", "{:.1f} µs CPU each"),
            ("pushes_2", "two {} pushes/s"),
            ("cpu_us_2", "{:.1f} µs CPU each"),
            ("times", "{:.2f} × by the clock"),
            ("per_cpu", "{:.2f} × by CPU time"),
            ("missing", "{:.0f} without the end"),
        ),
        (
            at_least("times", 1.7, "{:.2f} × by the clock"),
            at_least("per_cpu", 1.7, "{:.2f} × by CPU time"),
            nothing("missing", "without the end"),
        ),
    ),
    Scenario(
        "W3",
        "10,000 viewers, each in an idle room of its own, in Redis",
        (),
        idle_rooms,
        (
            ("rooms", "{} rooms followed"),
            ("connections", "{:.0f} connection"),
            ("absent", "{:.0f} absent"),
            ("cpu_percent", "{:.1f} % CPU"),
        ),
        (at_most("connections", 1, "{:.0f} connection"), nothing("absent", "absent")),
    ),
)
