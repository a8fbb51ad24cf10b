"""The table: what was measured side by side, what must be reached and whether it was, the machine and the versions."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.results import Results
from bench.scenarios import Scenario
from bench.systems import System

#: Between which a README holds the table.
MARKS: Final = "<!-- measured -->", "<!-- end of what was measured -->"


def markdown(
    scenarios: Sequence[Scenario], results: Mapping[str, Results], systems: Sequence[System],
    missing: Mapping[str, str], machine: str, notes: Sequence[str],
) -> str:  # fmt: skip
    """The whole report as Markdown. ``missing``: the title of each peer that is not there, and what installs it."""
    head = ["", "Scenario", *(system.title for system in systems), "Must reach", "Reached"]
    lines = [_row(head), _row(["---"] * len(head))]
    for scenario in scenarios:
        found = results[scenario.key]
        shown = [_cell(scenario, found, system) for system in systems]
        reached = []
        for goal in scenario.goals:
            text, enough = goal.verdict(found)
            reached.append({True: "", False: "**no**: ", None: ""}[enough] + text)
        lines.append(
            _row([
                scenario.key, scenario.title, *shown, "; ".join(goal.text() for goal in scenario.goals),
                f"{'**yes**: ' if _all_reached(scenario, found) else ''}{'; '.join(reached)}",
            ])
        )  # fmt: skip
    lines += ["", f"Measured on {dt.datetime.now(dt.UTC).date()} on {machine}.", ""]
    lines += [f"- {system.version()}" for system in systems]
    lines += [f"- {title}: missing, not measured; to install it: `{command}`" for title, command in missing.items()]
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


def for_readers(
    scenarios: Sequence[Scenario], results: Mapping[str, Results], systems: Sequence[System], machine: str,
    notes: Sequence[str],
) -> str:  # fmt: skip
    """What the README shows: the scenarios that were measured of a peer too, a row each; machine and versions."""
    lines = [_row(["", "", *(system.title for system in systems)]), _row(["---"] * (len(systems) + 2))]
    for scenario in scenarios:
        found = results[scenario.key]
        if any(found.figures(system.key) for system in systems[1:]):
            lines.append(_row([scenario.key, scenario.title, *(_cell(scenario, found, system) for system in systems)]))
    versions = "; ".join(system.version() for system in systems)
    said = f"Measured on {dt.datetime.now(dt.UTC).date()} on {machine}, by `tests/bench/run`: {versions}."
    paragraphs = [textwrap.fill(text, 120, break_on_hyphens=False) for text in (said, *notes)]
    return "\n".join([*lines, "", *paragraphs, ""])


def put_between_marks(file: Path, text: str) -> None:
    """Put a text between the marks of a Markdown file. Raises `ValueError` if it has none."""
    before, opening, rest = file.read_text().partition(f"{MARKS[0]}\n")
    _, closing, after = rest.partition(MARKS[1])
    if not opening or not closing:
        raise ValueError(f"{file} has no lines {MARKS[0]} and {MARKS[1]}")
    file.write_text(before + opening + text + closing + after)


def _all_reached(scenario: Scenario, results: Results) -> bool:
    return all(goal.verdict(results)[1] for goal in scenario.goals)


def _cell(scenario: Scenario, results: Results, system: System) -> str:
    figures = results.figures(system.key)
    return scenario.cell(figures) if figures else "–"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
