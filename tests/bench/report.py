"""The table: what was measured side by side, what must be reached and whether it was, the machine and the versions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from bench.results import Results
from bench.scenarios import Scenario
from bench.systems import System


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


def _all_reached(scenario: Scenario, results: Results) -> bool:
    return all(goal.verdict(results)[1] for goal in scenario.goals)


def _cell(scenario: Scenario, results: Results, system: System) -> str:
    figures = results.figures(system.key)
    return scenario.cell(figures) if figures else "–"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
