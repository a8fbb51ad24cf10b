"""``realtime keys``: make, list, replace and revoke the keys that let workers report over HTTP."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from . import keys as store
from .errors import InvalidValue
from .keys import WorkerKey

#: Where the file's name is looked for; the first is the setting's own name, as workers' settings have theirs.
VARIABLES = ("REALTIME_WORKER_KEYS", "FLASK_REALTIME_WORKER_KEYS")

_file = click.option(
    "--file", "path", type=click.Path(dir_okay=False, path_type=Path), help="The file; else FLASK_REALTIME_WORKER_KEYS."
)
_expires = click.option("--expires", help="When it stops working: 12h, 90d, 2027-01-31. Else it never does.")


@click.group()
def keys() -> None:
    """Make, list and revoke worker keys.

    A worker in another process reports over HTTP with one. Each is shown once; the file has its SHA-256.
    """


@keys.command()
@click.option(
    "--scope", "scopes", multiple=True, required=True,
    help="create, report, read, control: what it may do; user:ID, group:ID: only with their tasks. Commas, or several.",
)  # fmt: skip
@click.option("--name", help="Whose key it is; else its id.")
@_expires
@_file
def create(scopes: tuple[str, ...], name: str | None, expires: str | None, path: Path | None) -> None:
    """Make a key and print it: it can be read nowhere later."""
    path = _path(path)
    _told(path, *store.create(path, scopes, name=name, expires=_moment(expires)))


@keys.command()
@click.argument("name")
@click.option("--grace", default="24h", show_default=True, help="How much longer the old key works.")
@_expires
@_file
def rotate(name: str, grace: str, expires: str | None, path: Path | None) -> None:
    """Make a new key in the place of NAME.

    Both work until the grace is over.
    """
    path, longer = _path(path), store.period(grace)
    if longer is None and grace != "0":
        raise InvalidValue("grace", f"{grace[:40]!a}; give 0, 30m, 12h, 7d")
    _told(path, *store.rotate(path, name, grace=longer or timedelta(), expires=_moment(expires)))


@keys.command("list")
@_file
def show(path: Path | None) -> None:
    """Show the keys, without their secrets."""
    now = datetime.now(UTC).timestamp()
    rows = [("ID", "NAME", "SCOPES", "CREATED", "EXPIRES")]
    for key in store.read(_path(path)):
        ends = "never" if key.expires is None else _time(key.expires) + (" (over)" if key.expired(now) else "")
        rows.append((key.id, key.name, ",".join(key.scopes), _time(key.created), ends))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@click.argument("name")
@_file
def revoke(name: str, path: Path | None) -> None:
    """Let the key NAME (or the one of this id) work no longer."""
    gone = store.revoke(_path(path), name)
    click.echo(f"Revoked: {', '.join(f'{key.id} ({key.name})' for key in gone)}.")


def _path(path: Path | None) -> Path:
    if path is not None:
        return path
    named = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None) or _of_app()
    if named is None:
        raise click.UsageError("Which file? Set FLASK_REALTIME_WORKER_KEYS, as for the server, or give --file PATH.")
    return Path(named)


def _of_app() -> Any:
    """What the app has set, under ``flask realtime keys``."""
    from flask.cli import ScriptInfo

    info = click.get_current_context().find_object(ScriptInfo)
    return None if info is None else info.load_app().config.get("REALTIME_WORKER_KEYS")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else store.moment(text)


def _time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _told(path: Path, text: str, key: WorkerKey) -> None:
    # The key alone goes to the output, so that a script can take it.
    click.echo(text)
    ends = "" if key.expires is None else f", until {_time(key.expires)}"
    click.echo(f"The key {key.name!r} ({', '.join(key.scopes)}{ends}) is in {path}. It is not shown again.", err=True)
