"""The command ``realtime top``. rich is loaded when it is called, and not before."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

#: Where the secret's name is looked for; the first is the setting's own name, as workers' settings have theirs.
VARIABLES = ("REALTIME_METRICS", "FLASK_REALTIME_METRICS")


@click.command()
@click.argument("url", envvar="REALTIME_URL", default="http://127.0.0.1:5000")
@click.option("--token", envvar=VARIABLES, help="The secret of the servers' metrics; else REALTIME_METRICS.")
@click.option("--once", is_flag=True, help="Show it once; the exit code is 1 if it cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one line each time.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between two looks."
)
def top(url: str, token: str | None, once: bool, as_json: bool, interval: float) -> None:
    """Show how the servers stand: viewers, rates, and the store.

    URL is where the app is served (any of the servers, with REALTIME_METRICS set there), or the address of the store
    that they share (redis://…). Else it is REALTIME_URL, or http://127.0.0.1:5000.
    """
    from rich.console import Console

    from . import top as shown

    read = shown.reader(url, token)
    console = Console(highlight=False)
    if once:
        found = read()
        if as_json:
            click.echo(shown.as_json(found))
        else:
            console.print(shown.render(found, console))
        return
    with _ended_by_signals():
        if as_json or not console.is_terminal:
            _go_on(shown, console, read, as_json, interval)
        else:
            _stay(shown, console, read, interval)


def _go_on(shown: Any, console: Any, read: Any, as_json: bool, interval: float) -> None:
    """One after the other, for a pipe or a file."""
    while True:
        try:
            found = read()
        except shown.NotRead as error:
            click.echo(f"realtime top: {error}", err=True)
        else:
            if as_json:
                click.echo(shown.as_json(found))
            else:
                console.print(shown.render(found, console))
            sys.stdout.flush()
        time.sleep(interval)


def _stay(shown: Any, console: Any, read: Any, interval: float) -> None:
    """In one place, on a screen that is left as it was found."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    last: Any = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            trouble = None
            try:
                last = read()
            except shown.NotRead as error:
                trouble = Text(f"{error} Trying again.", style="bold red")
            # Drawn anew each time: the window may have another width.
            parts = [] if last is None else [shown.render(last, console)]
            hint = Text("Ctrl-C ends it.", style="dim")
            live.update(Group(*([trouble] if trouble else []), *parts, hint), refresh=True)
            time.sleep(interval)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C ends it as it should; SIGTERM and SIGHUP likewise, after what is on the screen has been tidied up."""

    def leave(number: int, _frame: Any) -> None:
        sys.exit(128 + number)

    former = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
