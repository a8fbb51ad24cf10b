"""The scenarios E1 to E8, and one of viewers that come and go: what is measured, and what must be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.client import Report
from bench.machine import HERE
from bench.results import Figures, Goal, at_least, at_most, cells, nothing, times
from bench.sessions import Best, Load, Search, Session
from bench.systems import AppServer, Published, Realtime, RealtimeServer, Setup, System

PIECE = 200
TAIL = 8 * 1024 * 1024


@dataclass(frozen=True)
class Sizes:
    """How much of it: the full measurement, or a quick look whose figures say nothing."""

    viewers: int = 1_000
    tasks: int = 100
    firehose: float = 20_000
    seconds: float = 10.0
    step: float = 4.0
    tries: int = 3
    idle: int = 8_000
    idle_seconds: float = 30.0
    storm: int = 5_000
    registry: tuple[int, ...] = (100, 10_000, 1_000_000)
    beside: tuple[int, int] = (10, 10_000)
    churn: float = 500.0
    patience: float = 40.0


QUICK = Sizes(
    viewers=100, tasks=10, firehose=2_000, seconds=3.0, step=1.5, tries=1, idle=400, idle_seconds=3.0, storm=300,
    registry=(100, 10_000), beside=(10, 300), churn=50.0, patience=10.0,
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """How to measure."""

    sizes: Sizes
    pin: bool


@dataclass(frozen=True)
class Scenario:
    """A row of the table. ``measure`` takes one system once; ``shown`` are figures and the words they are put in."""

    key: str
    title: str
    peers: tuple[str, ...]
    measure: Callable[[Bench, System], Figures]
    shown: tuple[tuple[str, str], ...]
    goals: tuple[Goal, ...]

    def cell(self, figures: Figures) -> str:
        """What came of it, in a few words."""
        return cells(figures, self.shown)


# E1: fan-out of an output stream.

_FIRST_OUTPUT = {"realtime": 2_000.0, "plain": 15.0, "node": 60.0, "nchan": 100.0, "nats": 1_500.0}


def fan_out(bench: Bench, system: System) -> Figures:
    """The highest rate of pieces to all viewers of one task at which every byte arrives, in order and in time."""
    sizes = bench.sizes
    setup = Setup(piece=PIECE, settings={"FLASK_REALTIME_OUTPUT_TAIL": str(TAIL)})
    search = Search(system, setup, Load(sizes.viewers, 1), pin=bench.pin, seconds=sizes.step, tries=sizes.tries)
    return _deliveries(search.best(_FIRST_OUTPUT[system.key]))


def _deliveries(best: Best) -> Figures:
    if not best.rate:
        return {"per_second": 0.0}  # it kept up with nothing
    return {"per_second": best.per_second, "p99_ms": best.p99_ms, "cpu_us": best.cpu_us}


# E2: a task each.

_FIRST_EACH = {"plain": 8_000.0, "node": 40_000.0, "nchan": 50_000.0, "nats": 300_000.0}


def one_each(bench: Bench, system: System) -> Figures:
    """As many tasks as viewers. Ours absorbs updates as fast as they can be called; peers deliver each."""
    sizes = bench.sizes
    load = Load(sizes.viewers, sizes.viewers)
    if not isinstance(system, Realtime):
        search = Search(system, Setup(sizes.viewers), load, pin=bench.pin, seconds=sizes.step, tries=sizes.tries)
        return _deliveries(search.best(_FIRST_EACH[system.key]))
    figures: Figures = {}
    for suffix, free in (("", False), ("_free", True)):
        with Session(system, Setup(sizes.viewers), load, pin=bench.pin, free_server=free) as session:
            report, published = session.run(0, sizes.seconds / 2, warmup=0.5, finals=sizes.patience)
        figures |= {
            f"absorbed{suffix}": published.sent / published.seconds if published else 0.0,
            f"age_ms{suffix}": report["age_ms"]["p99"],
            f"pictures{suffix}": report["per_second"],
            f"missing{suffix}": missing_ends(sizes.viewers, report),
        }
    return figures


# E3: the firehose, alone and with company.


def missing_ends(viewers: int, report: Report) -> float:
    """Viewers without the last state of their task; and whatever came in the wrong order counts too."""
    return float(viewers - report["finals"] - report["slow_finals"] + report["reordered"] + report["corrupt"])


def _firehose(bench: Bench, session: Session, **more: float) -> tuple[Figures, Report, Published | None]:
    sizes = bench.sizes
    report, published = session.run(sizes.firehose, sizes.seconds, finals=sizes.patience, **more)
    figures = {
        "age_ms": report["age_ms"]["p99"],
        "latency_ms": report["latency_ms"]["p99"],
        "last_s": report["final_ms"]["max"] / 1000,
        "end_s": report["last_final_s"],
        "cpu_s": report["cpu_whole_s"],
        "missing": missing_ends(session.load.viewers, report),
    }
    if not isinstance(session.server, RealtimeServer):
        figures["lost"] = float(report["lost"])
    return figures, report, published


def firehose(bench: Bench, system: System) -> Figures:
    """Many updates for a hundred tasks with ten viewers each, then the end of every task."""
    sizes = bench.sizes
    with Session(system, Setup(sizes.tasks), Load(sizes.viewers, sizes.tasks), pin=bench.pin) as session:
        return _firehose(bench, session)[0]


def slow_readers(bench: Bench, system: System) -> Figures:
    """The firehose with a tenth of the viewers reading 1 KB/s, right after it without them."""
    sizes = bench.sizes
    alone = firehose(bench, system)
    load = Load(sizes.viewers, sizes.tasks, slow_share=0.1)
    with Session(system, Setup(sizes.tasks), load, pin=bench.pin) as session:
        figures, report, _ = _firehose(bench, session, drain=30.0)
    return {
        "age_ms": figures["age_ms"],
        "age_ratio": figures["age_ms"] / alone["age_ms"],
        "slow_s": report["slow_ms"]["max"] / 1000,
        "grown_mb": report["rss_peak_mb"] - report["rss_early_mb"],
        "missing": figures["missing"],
        "dropped": float(report["dropped"]),
    }


def computing(bench: Bench, system: System) -> Figures:
    """The firehose beside a job that computes without end on a native thread of the server."""
    sizes = bench.sizes
    load = Load(sizes.viewers, sizes.tasks)
    with Session(system, Setup(sizes.tasks), load, pin=bench.pin, free_server=True) as session:
        assert isinstance(session.server, AppServer)
        session.server.ask(f"/compute?seconds={sizes.seconds + 3}")
        return _firehose(bench, session)[0]


def churning(bench: Bench, system: System) -> Figures:
    """The firehose while viewers hang up and come back; what is left of them afterwards."""
    sizes = bench.sizes
    load = Load(sizes.viewers, sizes.tasks)
    with Session(system, Setup(sizes.tasks), load, pin=bench.pin) as session:
        assert isinstance(session.server, AppServer)
        server, program = session.server, session.server.program
        before, held = program.descriptors(), _held(server)
        figures, report, _ = _firehose(bench, session, churn=sizes.churn, drain=5.0)
        leaked = left = 1
        over = time.monotonic() + 5
        while (leaked > 0 or left > 0) and time.monotonic() < over:
            session.client.idle(0.2)  # the last that hung up may not be noticed yet
            leaked, left = program.descriptors() - before, _held(server) - held
        return {
            "age_ms": figures["age_ms"],
            "reconnects": float(report["reconnects"]),
            "failed": float(report["failed"] + report["dropped"]),
            "leaked": float(max(0, leaked)),
            "left": float(max(0, left)),
            "grown_mb": report["rss_mb"] - report["rss_early_mb"],
            "missing": figures["missing"],
        }


def _held(server: AppServer) -> int:
    """Objects and rooms that a server holds for its viewers."""
    held: dict[str, int] = json.loads(server.ask("/held"))
    return held["objects"] + held["rooms"]


# E4 and E5: connections.


def idle(bench: Bench, system: System) -> Figures:
    """Memory of the server for a viewer that only watches."""
    sizes = bench.sizes
    groups = min(sizes.idle, 1_000)
    load = Load(sizes.idle, groups, inflight=256, connect_timeout=120)
    with Session(system, Setup(groups), load, pin=bench.pin) as session:
        connected = session.client.connected
        held = session.client.idle(sizes.idle_seconds)
        kilobytes = (held["rss_mb"] - connected["rss_before_mb"]) * 1024
        return {
            "kb": kilobytes / max(held["ready"], 1),
            "absent": float(sizes.idle - held["ready"]),
            "cpu_percent": held["cpu_s"] / held["seconds"] * 100,
        }


def storm(bench: Bench, system: System) -> Figures:
    """Viewers that all connect at once, up to a thousand of them under way."""
    sizes = bench.sizes
    groups = min(sizes.storm, 1_000)
    with Session(system, Setup(groups), Load(sizes.storm, groups, inflight=1_000), pin=bench.pin) as session:
        connected = session.client.connected
        return {
            "connects": connected["ready"] / connected["seconds"] if connected["seconds"] else 0.0,
            "refused": float(sizes.storm - connected["ready"]),
            "p99_ms": connected["connect_ms"]["p99"],
        }


# E7: what it costs does not depend on how much there is beside.


def growth(bench: Bench, system: System) -> Figures:
    """An update among many tasks, and a flush beside many idle viewers."""
    assert isinstance(system, Realtime)
    sizes = bench.sizes
    done = subprocess.run(
        [sys.executable, str(HERE / "among.py"), *map(str, sizes.registry)],
        env={**os.environ, "PYTHONPATH": str(system.source), "PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    updates: list[float] = json.loads(done.stdout)
    few, many = (_flush_us(bench, system, idle_viewers) for idle_viewers in sizes.beside)
    return {
        "update_us": updates[0],
        "update_ratio": max(updates) / min(updates),
        "flush_us": few,
        "flush_ratio": max(few, many) / min(few, many),
    }


def _flush_us(bench: Bench, system: Realtime, idle_viewers: int) -> float:
    """CPU microseconds of a flush to ten watched viewers, without what the publisher and the idle ones cost."""
    watched, rate, seconds = 10, 200.0, max(bench.sizes.seconds / 2, 2.0)
    # A short interval, so that there are many flushes for the pings of the idle viewers.
    settings = {"FLASK_REALTIME_FLUSH_INTERVAL": "0.004"}
    setup = Setup(watched, settings=settings, idle=idle_viewers)
    with Session(system, setup, Load(watched, watched), pin=bench.pin) as session:
        assert isinstance(session.server, RealtimeServer)
        load = Load(idle_viewers, idle_viewers, inflight=256, connect_timeout=120)
        beside = session.connect(session.server.idle_viewers, load, pin=bench.pin)
        try:
            if beside.connected["ready"] != idle_viewers:
                raise RuntimeError(f"{beside.connected['ready']} of {idle_viewers} idle viewers connected")
            quiet = session.client.idle(seconds)
            report, published = session.run(rate * watched, seconds, warmup=0.0)
            if published is None or report["messages"] == 0:
                raise RuntimeError("nothing was published")
            cpu = report["cpu_s"] - quiet["cpu_s"] / quiet["seconds"] * seconds - published.cpu
            return float(cpu / (report["messages"] / watched) * 1e6)
        finally:
            beside.close()


_ALL = ("plain", "node", "nchan", "nats")
_DELIVERIES = (("per_second", "{} deliveries/s"), ("p99_ms", "p99 {:.0f} ms"), ("cpu_us", "{:.2f} µs each"))
_FIREHOSE = (
    ("age_ms", "age p99 {:,.0f} ms"), ("last_s", "last end {:.2f} s late"), ("cpu_s", "{:.1f} CPU s"),
    ("missing", "{:.0f} without the end"), ("lost", "{:,.0f} lost"),
)  # fmt: skip

SCENARIOS = (
    Scenario(
        "E1",
        "Output of one task to 1,000 viewers in pieces of 200 bytes: the highest rate at which every byte arrives, "
        "in order, p99 < 250 ms",
        _ALL, fan_out, _DELIVERIES,
        (
            at_least("per_second", 3.5e6, "{:,.0f} deliveries/s"),
            times("per_second", 1.0, "nats", "NATS"),
            times("per_second", 20.0, "node", "Node"),
        ),
    ),
    Scenario(
        "E2",
        "1,000 tasks with a viewer each, updated as fast as a thread can call (peers: the highest rate they deliver, "
        "p99 < 250 ms)",
        _ALL, one_each,
        (
            ("absorbed", "{} updates/s"), ("age_ms", "age p99 {:.0f} ms"),
            ("absorbed_free", "not pinned: {} updates/s"), ("age_ms_free", "age p99 {:.0f} ms"), *_DELIVERIES,
        ),
        (
            at_least("absorbed", 8e5, "{:,.0f} updates/s"),
            at_most("age_ms", 150, "{:.0f} ms age p99"),
            at_least("absorbed_free", 8e5, "{:,.0f} updates/s not pinned"),
            at_most("age_ms_free", 150, "{:.0f} ms age p99 not pinned"),
            times("absorbed", 1.0, "nats", "NATS", "per_second"),
            times("absorbed", 8.0, "node", "Node", "per_second"),
            nothing("missing", "without the end"),
            nothing("missing_free", "without the end not pinned"),
        ),
    ),
    Scenario(
        "E3", "Firehose: 20,000 updates/s for 10 s, 100 tasks × 10 viewers, then each ends", _ALL, firehose, _FIREHOSE,
        (
            at_most("age_ms", 100, "{:.0f} ms age p99"),
            at_most("last_s", 0.1, "{:.2f} s to the last end"),
            at_most("cpu_s", 2.0, "{:.2f} CPU s"),
            nothing("missing", "without the end"),
        ),
    ),
    Scenario(
        "E4", "8,000 idle viewers", _ALL, idle,
        (("kb", "{:.1f} KB each"), ("absent", "{:.0f} absent"), ("cpu_percent", "{:.1f} % CPU")),
        (at_most("kb", 7.0, "{:.1f} KB each"), nothing("absent", "absent")),
    ),
    Scenario(
        "E5", "5,000 connect at once, up to 1,000 under way", _ALL, storm,
        (("connects", "{} connects/s"), ("p99_ms", "p99 {:,.0f} ms"), ("refused", "{:.0f} refused")),
        (
            at_least("connects", 2_500, "{:,.0f} connects/s"),
            nothing("refused", "refused"),
            times("connects", 1.0, "node", "Node"),
        ),
    ),
    Scenario(
        "E6", "E3 with 10 % of the viewers reading 1 KB/s", (), slow_readers,
        (
            ("age_ms", "others’ age p99 {:.0f} ms"), ("age_ratio", "{:.2f} × E3"), ("slow_s", "slow ones’ {:.1f} s"),
            ("grown_mb", "{:+.1f} MB"), ("dropped", "{:.0f} dropped"),
        ),
        (
            at_most("age_ratio", 1.2, "{:.2f} × E3’s age p99"),
            at_most("slow_s", 8.0, "{:.1f} s old for slow viewers"),
            at_most("grown_mb", 4.0, "{:.1f} MB grown"),
            nothing("missing", "without the end"),
            nothing("dropped", "dropped"),
        ),
    ),
    Scenario(
        "E7", "An update among 100, 10,000 and 1,000,000 tasks; a flush to 10 viewers beside 10 and 10,000 idle ones",
        (), growth,
        (
            ("update_us", "update {:.2f} µs"), ("update_ratio", "within {:.2f} ×"),
            ("flush_us", "flush {:.0f} µs"), ("flush_ratio", "within {:.2f} ×"),
        ),
        (at_most("update_ratio", 1.15, "{:.2f} × for updates"), at_most("flush_ratio", 1.15, "{:.2f} × for flushes")),
    ),
    Scenario(
        "E8", "E3 beside a job that computes in Python on a native thread, not pinned to one core", (), computing,
        _FIREHOSE,
        (at_most("age_ms", 150, "{:.0f} ms age p99"), nothing("missing", "without the end")),
    ),
    Scenario(
        "churn", "E3 while 500 viewers a second hang up and come back", (), churning,
        (
            ("age_ms", "age p99 {:.0f} ms"), ("reconnects", "{} reconnects"), ("failed", "{:.0f} failed"),
            ("leaked", "{:.0f} descriptors leaked"), ("left", "{:.0f} objects and rooms left"),
            ("grown_mb", "{:+.1f} MB"),
        ),
        (
            at_least("reconnects", 4_500, "{:,.0f} reconnects"),
            nothing("failed", "failed"),
            nothing("leaked", "descriptors leaked"),
            nothing("left", "objects and rooms left"),
            nothing("missing", "without the end"),
        ),
    ),
)  # fmt: skip
