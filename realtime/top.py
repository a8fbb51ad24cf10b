"""``realtime top``: how the servers of one store stand, read again and again, as a table.

What is shown was said by servers, and comes over a network: it is bounded and checked by its types, and what a terminal
would take for a command is taken out.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .config import Config
from .errors import ConfigError, RealtimeError
from .overview import Overview, Server, Store
from .presence import overview
from .registry import open_registry, schemes
from .values import printable

#: Seconds that a server has for its answer, and the bytes of one.
TIMEOUT: Final = 5.0
MAX_ANSWER: Final = 1024 * 1024
#: Characters of a name.
MAX_NAME: Final = 40
PATH: Final = "/realtime/v1/servers"

Read = Callable[[], Overview]


class NotRead(RealtimeError):
    """How the servers stand cannot be read. The message is one line."""

    code = "not_read"


# Reading.


def reader(url: str, token: str | None) -> Read:
    """What reads at a server's address, or in a store. Raises `ConfigError`; what it returns raises `NotRead`."""
    scheme = url.partition("://")[0]
    if scheme in schemes.REDIS:
        registry = open_registry(Config(registry=url))

        def read() -> Overview:
            found = overview(registry, scheme)
            if not found.store.reachable:
                raise NotRead("The task store cannot be reached.")
            return found

        return read
    if scheme not in ("http", "https"):
        # It is not shown: what stands there by mistake may hold a password.
        raise ConfigError("URL is neither where an app is served (http://…) nor a store (redis://…).")
    if token is None:
        raise ConfigError("The token is missing: set REALTIME_METRICS as for the server, or give --token.")
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.hostname and "@" not in parts.netloc and not parts.query and not parts.fragment:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            host, port, path = parts.hostname, parts.port, parts.path.rstrip("/") + PATH
            name = f"{scheme}://{parts.netloc}"
            return lambda: _ask(kind(host, port, timeout=TIMEOUT), path, token, name)
    raise ConfigError("URL is where the app is: http(s)://host[:port][/path], without a user, a query and a fragment.")


def _ask(connection: http.client.HTTPConnection, path: str, token: str, name: str) -> Overview:
    # Redirects are not followed: the token is for this host.
    try:
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
            with connection.getresponse() as answer:
                body, status = answer.read(MAX_ANSWER + 1), answer.status
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NotRead(f"{name} cannot be reached: {_shown(str(why), 200)}") from error
    if status == 401:
        raise NotRead(f"{name} refuses the token: it is what REALTIME_METRICS is set to there.")
    if status == 404:
        raise NotRead(f"{name} has no such page: is it where the app is, and is REALTIME_METRICS set there?")
    if status != 200:
        raise NotRead(f"{name} has answered {status}.")
    try:
        if len(body) > MAX_ANSWER:
            raise ValueError("it is too long")
        return msgspec.json.decode(body, type=Overview)
    except ValueError as error:  # a msgspec.DecodeError, too
        raise NotRead(f"{name} has answered what is no answer: {_shown(str(error), 200)}") from error


# Showing.


class _Column(NamedTuple):
    title: str
    #: What a server has there, and what all of them have.
    of: Callable[[Server], str]
    total: Callable[[list[Server]], str] | None = None
    #: What is compared, where the highest is shown as that.
    rank: Callable[[Server], float | None] | None = None
    left: bool = False
    #: Columns go in this order where the terminal is narrow; 0: never.
    goes: int = 0


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _max(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _numbers(
    title: str, name: str, form: Callable[[Any], str], join: Callable[[Iterable[Any]], Any] = _sum, *,
    ranks: bool = False, goes: int = 0,
) -> _Column:  # fmt: skip
    def get(server: Server) -> Any:
        return getattr(server, name)

    return _Column(
        title, lambda server: form(get(server)), lambda servers: form(join(map(get, servers))), get if ranks else None,
        goes=goes,
    )  # fmt: skip


def count(value: float | None) -> str:
    """A whole number, or that there is none."""
    return "–" if value is None else f"{round(value):,}"


def rate(value: float | None) -> str:
    """A number per second, to three figures."""
    if value is None:
        return "–"
    return f"{value:.1f}" if 0 < value < 99.95 else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return "–"
    for unit in ("B", "KB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 9.95 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def milliseconds(value: float | None) -> str:
    """Seconds, as milliseconds."""
    return "–" if value is None else f"{value * 1000:,.1f}"


def percent(value: float | None) -> str:
    """A share."""
    return "–" if value is None else f"{value * 100:.0f}%"


def age(seconds: float) -> str:
    """A time, in its two greatest units."""
    whole = max(0, int(seconds))
    for unit, name, part, rest in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            return f"{whole // unit}{name} {whole % unit // part}{rest}"
    return f"{whole}s"


def _columns(now: float) -> list[_Column]:
    def up(server: Server) -> str:
        return age(now - started) if (started := _moment(server.started_at)) is not None else "–"

    return [
        _Column("server", _name, lambda servers: f"{len(servers)} server{'s' * (len(servers) != 1)}", left=True),
        _Column("version", lambda server: _shown(server.version), left=True, goes=1),
        _Column("up", up, goes=3),
        _numbers("viewers", "viewers", count, ranks=True),
        _numbers("behind", "viewers_behind", count, goes=5),
        _numbers("connects/s", "connects_per_second", rate, ranks=True, goes=7),
        _numbers("changes/s", "changes_per_second", rate, ranks=True),
        _numbers("pushes/s", "pushes_per_second", rate, ranks=True),
        _numbers("bytes/s", "bytes_per_second", size, ranks=True, goes=9),
        _numbers("p99 ms", "flush_p99", milliseconds, _max, ranks=True, goes=6),
        _numbers("jobs", "jobs_running", count, goes=4),
        _numbers("waiting", "jobs_waiting", count, goes=2),
        _numbers("cpu", "cpu", percent, ranks=True, goes=10),
        _numbers("memory", "rss", size, goes=8),
        _Column("store", lambda server: "ok" if server.reachable else "away", left=True, goes=11),
    ]  # fmt: skip


def render(found: Overview, console: Console) -> RenderableType:
    """The table, as wide as the console has room for, and the state of the store."""
    columns = _columns(_moment(found.time) or time.time())
    lines: list[RenderableType] = [_of_store(found.store)]
    if busiest := _busiest(found.servers):
        lines.append(busiest)
    going = sorted((column for column in columns if column.goes), key=lambda column: column.goes)
    while True:
        table = _table(found, columns)
        wanted = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        if wanted <= console.width or not going:
            break
        columns.remove(going.pop(0))
    lines.append(table)
    if found.more:
        lines.append(Text(f"Only {len(found.servers)} servers are shown; there are more.", style="yellow"))
    return Group(*lines)


def _table(found: Overview, columns: list[_Column]) -> Table:
    servers = found.servers
    table = Table(box=None, pad_edge=False, header_style="bold", footer_style="bold", show_footer=len(servers) > 1)
    tops = {}
    for column in columns:
        footer = "" if column.total is None else column.total(servers)
        table.add_column(
            column.title, Text(footer), justify="left" if column.left else "right", no_wrap=True, overflow="ellipsis"
        )  # fmt: skip
        if column.rank is not None and len(servers) > 1:
            tops[column.title] = _max(map(column.rank, servers))
    for server in servers:
        cells = []
        for column in columns:
            style = ""
            if column.rank is not None and tops.get(column.title) and column.rank(server) == tops[column.title]:
                style = "bold cyan"
            if column.title == "store" and not server.reachable:
                style = "bold red"
            cells.append(Text(column.of(server), style=style))
        table.add_row(*cells)
    if not servers:
        table.add_row(Text("No server says anything.", style="yellow"))
    return table


def _of_store(store: Store) -> Text:
    told = Text.assemble("Tasks in ", (_shown(store.kind), "bold"), "  ")
    told.append("in reach" if store.reachable else "out of reach", style="green" if store.reachable else "bold red")
    told.append(f"  {count(store.unfinished)} unfinished, {count(store.finished)} finished")
    if not store.shared:
        told.append("  (one process)")
    return told


def _busiest(servers: list[Server]) -> Text | None:
    """Who does most of what, where there is a choice."""
    parts = []
    for what, name in (
        ("pushes/s", "pushes_per_second"),
        ("changes/s", "changes_per_second"),
        ("connects/s", "connects_per_second"),
    ):
        rates = [(getattr(server, name) or 0.0, _name(server)) for server in servers]
        if len(rates) > 1 and (most := max(rates))[0]:
            parts.append(f"{most[1]} {rate(most[0])} {what}")
    return Text("Busiest: " + ", ".join(parts), no_wrap=True, overflow="ellipsis") if parts else None


def _name(server: Server) -> str:
    return f"{_shown(server.host)}:{server.pid}"


def _shown(text: str, most: int = MAX_NAME) -> str:
    """Text of others, cut."""
    clean = printable(text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def as_json(found: Overview) -> str:
    """The same for programs, on one line."""
    return json.dumps(msgspec.to_builtins(found))
