"""A system with its viewers connected, and the search for the highest rate that it keeps up with."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.client import Client, ClientEnded, Report
from bench.machine import CLIENT_CORE, SERVER_CORE
from bench.systems import Order, Published, Server, Setup, System

#: A push that takes longer than this at the 99th percentile is late: the rate is too high.
LATE_MS: Final = 250.0
#: Share of the expected rate below which a system does not keep up.
KEPT: Final = 0.95
MAX_STEPS: Final = 14


def say(text: str) -> None:
    """Tell whoever waits for the table."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Load:
    """Viewers: how many, in how many groups, and how they behave."""

    viewers: int
    groups: int
    inflight: int = 128
    slow_share: float = 0.0
    slow_rate: float = 1000.0
    connect_timeout: float = 60.0

    def arguments(self) -> list[str]:
        """For the load client."""
        numbers: dict[str, float] = {"viewers": self.viewers, "groups": self.groups, "inflight": self.inflight}
        if self.slow_share:
            numbers |= {"slow": self.slow_share, "slow-rate": self.slow_rate}
        return [part for name, number in numbers.items() for part in (f"--{name}", str(number))]


class Session:
    """A started system and a load client. Used as a context manager."""

    def __init__(self, system: System, setup: Setup, load: Load, *, pin: bool, free_server: bool = False) -> None:
        self.load, self.setup = load, setup
        core = SERVER_CORE if pin and not free_server else None
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as guard:
            self.server: Server = guard.enter_context(system.start(replace(setup, core=core)))
            self.client = self.connect(self.server.viewers, load, pin=pin)
            guard.callback(self.client.close)
            self._stack = guard.pop_all()
        #: Pieces of output published so far.
        self.pieces = 0

    def connect(self, viewers: Sequence[str], load: Load, *, pin: bool) -> Client:
        """A load client for this server. Whoever asks for another one closes it."""
        arguments = ["--port", str(self.server.port), "--pids", ",".join(map(str, self.server.pids))]
        return Client(
            [*arguments, *viewers, *load.arguments()],
            core=CLIENT_CORE if pin else None, connect_timeout=load.connect_timeout,
        )  # fmt: skip

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self, rate: float, seconds: float, *, warmup: float = 0.0, finals: float = 0.0, drain: float = 0.0,
        churn: float = 0.0,
    ) -> tuple[Report, Published | None]:  # fmt: skip
        """Publish and count."""
        piece = self.setup.piece
        order = Order(self.load.groups, rate, seconds, finals > 0, piece, self.pieces)
        report = self.client.run(
            lambda: self.server.publish(order), seconds, warmup=warmup, finals=finals, drain=drain, churn=churn
        )
        published = self.server.published(seconds + 5)
        if published is not None and piece:
            self.pieces += published.sent
        return report, published


@dataclass(frozen=True)
class Best:
    """The highest rate that a system kept up with."""

    rate: float = 0.0
    per_second: float = 0.0
    p99_ms: float = -1.0
    #: CPU microseconds of the server (and its publisher) for a delivery.
    cpu_us: float = -1.0


class Search:
    """Looks for the highest rate at which nothing is lost or late. Each try is an open loop of ``seconds``."""

    def __init__(self, system: System, setup: Setup, load: Load, *, pin: bool, seconds: float, tries: int) -> None:
        self._system, self._setup, self._load, self._pin = system, setup, load, pin
        self._seconds, self._tries = seconds, tries
        self._session: Session | None = None

    def best(self, first: float, grow: float = 1.4) -> Best:
        """Begin with a rate, go up while it is kept, then halve the distance a few times."""
        best, low, high, rate, tries = Best(), 0.0, 0.0, first, self._tries
        try:
            for _ in range(MAX_STEPS):
                # Twice, since something else on the machine may have been in the way once.
                found = self._try(rate) or self._try(rate)
                if found is not None:
                    low, best = rate, max(best, found, key=lambda step: step.per_second)
                else:
                    high = rate
                if not high:
                    rate *= grow
                elif not low:
                    rate /= grow * grow
                elif tries > 0 and high / low > 1.04:
                    tries -= 1
                    rate = (low * high) ** 0.5
                else:
                    break
        finally:
            self._end()
        return best

    def _end(self) -> None:
        if self._session is not None:
            self._session.__exit__()
            self._session = None

    def _try(self, rate: float) -> Best | None:
        if self._session is None:
            self._session = Session(self._system, self._setup, self._load, pin=self._pin)
        session = self._session
        problem: str | None
        try:
            report, published = session.run(rate, self._seconds, warmup=self._seconds / 8, drain=15)
        except ClientEnded as ended:
            report, published, problem = {}, None, str(ended)
        else:
            problem = self._problem(session, rate, report, published)
        say(
            f"    {rate:12,.0f}/s published: {report.get('per_second', 0):12,.0f} deliveries/s, p99 "
            f"{report.get('latency_ms', {}).get('p99', -1):6.1f} ms: {problem or 'kept'}"
        )
        if problem:
            self._end()  # what is still under way would spoil the next try
            return None
        return Best(
            rate, report["per_second"], report["latency_ms"]["p99"], report["cpu_s"] / max(report["messages"], 1) * 1e6
        )

    def _problem(self, session: Session, rate: float, report: Report, published: Published | None) -> str | None:
        share = self._load.viewers / self._load.groups
        held_up = published is None or published.seconds > 1.1 * self._seconds + 0.2
        if published is None or held_up or published.sent < KEPT * rate * self._seconds:
            return "the publisher is held up"
        bad = {name: report[name] for name in ("lost", "repeated", "reordered", "corrupt", "dropped", "failed")}
        if any(bad.values()):
            return ", ".join(f"{number:,} {name}" for name, number in bad.items() if number)
        if report["messages"] != round(published.sent * share):
            return f"{report['messages']:,} of {published.sent * share:,.0f} delivered"
        if report["per_second"] < KEPT * rate * share:
            return "it falls behind"
        if not 0 <= report["latency_ms"]["p99"] < LATE_MS:
            return "late"
        return None
