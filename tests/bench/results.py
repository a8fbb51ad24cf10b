"""Figures of several runs, medians of them, ratios within a run, and what must be reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

#: What one measurement of one system came to, by name.
Figures = dict[str, float]


@dataclass
class Results:
    """All measurements of a scenario: of each run, the figures of each system."""

    runs: list[dict[str, Figures]] = field(default_factory=list)

    def median(self, system: str, name: str) -> float | None:
        """The median over the runs; None if it was never measured."""
        values = [run[system][name] for run in self.runs if name in run.get(system, {})]
        return statistics.median(values) if values else None

    def figures(self, system: str) -> Figures:
        """The medians of all figures of a system."""
        names = {name: None for run in self.runs for name in run.get(system, {})}
        return {name: value for name in names if (value := self.median(system, name)) is not None}

    def ratio(self, name: str, peer: str, peer_name: str) -> float | None:
        """How many times our figure is a peer's, taken in each run by itself; the median of that."""
        ratios = [
            run["realtime"][name] / run[peer][peer_name]
            for run in self.runs
            if name in run.get("realtime", {}) and run.get(peer, {}).get(peer_name, 0) > 0
        ]
        return statistics.median(ratios) if ratios else None


@dataclass(frozen=True)
class Goal:
    """Something to reach: a value at least or at most so high. ``show`` puts a number and its unit."""

    value: Callable[[Results], float | None]
    show: str
    least: float | None = None
    most: float | None = None

    def text(self) -> str:
        """What must be reached."""
        bound = self.least if self.least is not None else self.most
        return ("≥ " if self.least is not None else "≤ ") + self.show.format(bound)

    def verdict(self, results: Results) -> tuple[str, bool | None]:
        """What was reached, and whether it is enough; None if it could not be measured."""
        value = self.value(results)
        if value is None:
            return "not measured", None
        enough = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return self.show.format(value), enough


def at_least(name: str, least: float, show: str) -> Goal:
    """Our own figure must be so high."""
    return Goal(lambda results: results.median("realtime", name), show, least=least)


def at_most(name: str, most: float, show: str) -> Goal:
    """Our own figure may be so high."""
    return Goal(lambda results: results.median("realtime", name), show, most=most)


def times(name: str, least: float, peer: str, title: str, peer_name: str | None = None) -> Goal:
    """Our figure must be so many times a peer's in the same run."""
    return Goal(lambda results: results.ratio(name, peer, peer_name or name), "{:.2f} × " + title, least=least)


def nothing(name: str, what: str) -> Goal:
    """In no run may there be any of it."""

    def worst(results: Results) -> float | None:
        values = [run["realtime"][name] for run in results.runs if name in run.get("realtime", {})]
        return max(values) if values else None

    return Goal(worst, "{:.0f} " + what, most=0)


def short(value: float) -> str:
    """A large number in three digits or so: 5.57 M, 241 k, 12."""
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.0f} k"
    return f"{value:,.0f}"


def cells(figures: Mapping[str, float], parts: Sequence[tuple[str, str]]) -> str:
    """The parts of which the figures are there: ``("per_second", "{} deliveries/s")``; {} is put by `short`, a format
    with a colon as it says.
    """
    shown = [
        text.format(figures[name] if "{:" in text else short(figures[name])) for name, text in parts if name in figures
    ]
    return ", ".join(shown)
