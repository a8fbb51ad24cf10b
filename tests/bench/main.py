"""The command ``tests/bench/run``: measure, print the table, write it to a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from bench import processes, scenarios
from bench.client import ClientEnded
from bench.machine import HERE, Missing, can_pin, description, raise_descriptor_limit
from bench.report import for_readers, markdown, put_between_marks
from bench.results import Figures, Results
from bench.scenarios import QUICK, Bench, Scenario, Sizes
from bench.sessions import say
from bench.systems import Realtime, System, all_peers

SCENARIOS = (*scenarios.SCENARIOS, *processes.SCENARIOS)


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--only", default="", metavar="E1,E3", help="these scenarios; default: all of "
                        + ", ".join(scenario.key for scenario in SCENARIOS))  # fmt: skip
    parser.add_argument("--peers", metavar="node,nats", help="these peers ('' = none); default: all that are installed")
    parser.add_argument("--runs", type=int, metavar="N", help="medians of so many runs; default: 3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="few viewers, a few seconds: to see that it works")
    parser.add_argument("--pin", action=argparse.BooleanOptionalAction, default=True,
                        help="servers on core 0 and the load client on core 1")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to a file too")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put what was measured of peers too between the "
                        "marks of this file")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of each run to a file")
    parser.add_argument("--source", type=Path, default=HERE.parent.parent, metavar="DIR",
                        help="the checkout whose realtime is measured; default: this one")  # fmt: skip
    arguments = parser.parse_args(given)
    known = {scenario.key.lower(): scenario.key for scenario in SCENARIOS}
    wanted = [key.strip().lower() for key in arguments.only.split(",") if key.strip()]
    if unknown := [key for key in wanted if key not in known]:
        parser.error(f"there is no scenario {', '.join(unknown)}")
    arguments.only = [known[key] for key in wanted] or list(known.values())
    peers = [peer.key for peer in all_peers()]
    if arguments.peers is not None:
        asked = [key for key in arguments.peers.split(",") if key]
        if unknown := [key for key in asked if key not in peers]:
            parser.error(f"there is no peer {', '.join(unknown)}; there are {', '.join(peers)}")
        peers = asked
    arguments.peers = peers
    arguments.runs = arguments.runs or (1 if arguments.quick else 3)
    if arguments.pin and not can_pin():
        parser.error("this machine has no two cores for us, or no taskset (apt-get install util-linux): --no-pin")
    return arguments


def _measure(bench: Bench, scenario: Scenario, systems: list[System], results: Results, problems: list[str]) -> None:
    """One run of a scenario: each system, one after the other."""
    run: dict[str, Figures] = {}
    results.runs.append(run)
    for system in systems:
        if not isinstance(system, Realtime) and system.key not in scenario.peers:
            continue
        say(f"  {system.title}")
        try:
            run[system.key] = scenario.measure(bench, system)
        except (ClientEnded, OSError, RuntimeError) as error:
            text = f"{scenario.key}: {system.title} could not be measured: {str(error).strip().splitlines()[0]}"
            say(f"    {error}")
            if text not in problems:
                problems.append(text)
            continue
        say(f"    {scenario.cell(run[system.key])}")


PINNED = """
Servers and their publishers ran on core 0, the load client on core 1 (E8, second figure of E2: the server on any).
"""
#: Load average above which the machine is not ours alone.
QUIET = 0.7
NOT_PINNED = "Nothing was pinned to a core."
FAIR = """
Viewers of realtime are authenticated with a signed ticket each, those of the peers with nothing. All offer
permessage-deflate but those of Flask-SocketIO, which would accept it and be slower. “Age” is how old the picture on the
screen was just before it changed. CPU time is that of server and publisher. The publisher of realtime, Node and
Flask-SocketIO is in the server’s process; to nginx and NATS a program in C publishes.
"""
BUSY = "**Other work was running on the machine: these figures are too low, and ratios say little.**"
QUICK_LOOK = "**A quick look with few viewers: these figures say nothing about speed.**"


def _notes(arguments: argparse.Namespace, files: int, busy: float) -> list[str]:
    runs = "One run" if arguments.runs == 1 else f"Medians of {arguments.runs} runs; ratios are taken within each run"
    how = f"{runs}. Up to {files:,} open files for each process. {PINNED if arguments.pin else NOT_PINNED}"
    warnings = [text for text, given in ((QUICK_LOOK, arguments.quick), (BUSY, busy > QUIET)) if given]
    return [" ".join(note.split()) for note in (how, FAIR, *warnings)]


def main(given: list[str] | None = None) -> int:
    """Measure; returns the exit code: 1 if something could not be measured."""
    arguments = _arguments(given)
    files, machine, busy = raise_descriptor_limit(), description(), os.getloadavg()[0]
    bench = Bench(QUICK if arguments.quick else Sizes(), arguments.pin)
    systems: list[System] = [Realtime(arguments.source.resolve())]
    missing: dict[str, str] = {}
    for peer in all_peers():
        if peer.key in arguments.peers:
            command = peer.missing()
            if command is None:
                systems.append(peer)
            else:
                missing[peer.title] = command
                say(f"{peer.title} is missing and will not be measured. To install it: {command}")
    measured = [scenario for scenario in SCENARIOS if scenario.key in arguments.only]
    results = {scenario.key: Results() for scenario in measured}
    problems: list[str] = []
    try:
        for run in range(arguments.runs):
            for scenario in measured:
                say(f"{scenario.key}, run {run + 1} of {arguments.runs}: {scenario.title}")
                _measure(bench, scenario, systems, results[scenario.key], problems)
    except Missing as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped: the table is of what was measured so far")
        problems.append("The measurement was stopped before its end.")
    table = markdown(measured, results, systems, missing, machine, [*_notes(arguments, files, busy), *problems])
    print(table, end="")
    if arguments.out is not None:
        arguments.out.write_text(table)
    if arguments.readme is not None:
        notes = [*_notes(arguments, files, busy), *problems]
        put_between_marks(arguments.readme, for_readers(measured, results, systems, machine, notes))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({key: found.runs for key, found in results.items()}, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
