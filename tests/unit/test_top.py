"""``realtime top``: what it shows of what it reads."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from realtime.cli import main
from realtime.errors import ConfigError
from realtime.overview import Overview, Server, Store
from realtime.top import MAX_ANSWER, NotRead, age, count, milliseconds, percent, rate, reader, render, size

TOKEN = "the-secret-of-a-scraper"


def server(**other: Any) -> Server:
    """One as it might stand."""
    said: dict[str, Any] = {
        "id": "a", "host": "north", "pid": 7, "version": "0.1.0", "started_at": "2026-11-24T10:00:00Z",
        "said_at": "2026-11-24T12:30:00Z", "viewers": 1_200, "viewers_behind": 3, "rooms": 9, "connects": 10,
        "changes": 11, "pushes": 12, "bytes": 13, "connects_per_second": 4.25, "changes_per_second": 512.0,
        "pushes_per_second": 40_210.0, "bytes_per_second": 2_500_000.0, "flush_p99": 0.0034, "jobs_running": 2,
        "jobs_waiting": 1, "reachable": True, "cpu": 0.42, "rss": 91_000_000,
    }  # fmt: skip
    return Server(**{**said, **other})


def found(*servers: Server, more: bool = False, **store: Any) -> Overview:
    stands: dict[str, Any] = {"kind": "redis", "shared": True, "reachable": True, "unfinished": 40, "finished": 1_000}
    return Overview(
        time="2026-11-24T12:30:00Z", store=Store(**{**stands, **store}), servers=list(servers), more=more
    )  # fmt: skip


def shown(overview: Overview, width: int = 200, *, colours: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, record=True, force_terminal=colours, color_system="truecolor", no_color=False
    )
    console.print(render(overview, console))
    return console.export_text(styles=colours)


class TestTable:
    def test_each_server_and_all_of_them(self) -> None:
        """A row for each, a sum of what can be summed, the worst of what cannot."""
        text = shown(found(server(), server(id="b", host="south", pid=8, viewers=300, flush_p99=0.02, rss=None)))
        head, north, south, total = text.splitlines()[-4:]
        assert head.split() == [
            "server", "version", "up", "viewers", "behind", "connects/s", "changes/s", "pushes/s", "bytes/s", "p99",
            "ms", "jobs", "waiting", "cpu", "memory", "store",
        ]  # fmt: skip
        assert north.split() == [
            "north:7", "0.1.0", "2h", "30m", "1,200", "3", "4.2", "512", "40,210", "2.5", "MB", "3.4", "2", "1", "42%",
            "91", "MB", "ok",
        ]  # fmt: skip
        assert south.split()[:5] == ["south:8", "0.1.0", "2h", "30m", "300"]
        assert south.split()[-3:] == ["42%", "–", "ok"]
        assert total.split() == [
            "2", "servers", "1,500", "6", "8.5", "1,024", "80,420", "5.0", "MB", "20.0", "4", "2", "84%", "91", "MB",
        ]  # fmt: skip

    def test_the_store_and_who_is_busiest(self) -> None:
        """Above the table; who is busiest only where there is a choice."""
        text = shown(found(server(), server(id="b", host="south", pushes_per_second=None, changes_per_second=600.0)))
        assert text.splitlines()[0] == "Tasks in redis  in reach  40 unfinished, 1,000 finished"
        assert "Busiest: north:7 40,210 pushes/s, south:7 600 changes/s, " in text
        alone = shown(found(server(), kind="memory", shared=False, reachable=False, unfinished=None, finished=None))
        assert alone.splitlines()[0] == "Tasks in memory  out of reach  – unfinished, – finished  (one process)"
        assert "Busiest" not in alone
        assert "1 server" not in alone

    @pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 40, 24])
    def test_it_is_as_wide_as_there_is_room(self, width: int) -> None:
        """Columns go rather than be squeezed, and what is left is whole; the name and the load go last."""
        text = shown(found(server(), server(id="b", host="south")), width)
        assert max(map(len, text.splitlines())) <= width
        if width >= 40:
            assert "viewers" in text
            assert "40,210" in text
            assert "…" not in text.partition("server ")[2]
        assert ("version" in text) == (width >= 140)

    def test_the_highest_stands_out_where_there_are_colours(self) -> None:
        """And no escape goes to a pipe."""
        overview = found(server(), server(id="b", host="south", pushes_per_second=50_000.0, reachable=False))
        assert "\x1b" not in shown(overview)
        coloured = shown(overview, colours=True)
        assert re.search(r"\x1b\[1;36m *50,000", coloured)
        assert not re.search(r"\x1b\[1;36m *40,210", coloured)
        assert re.search(r"\x1b\[1;31maway", coloured)

    def test_what_a_terminal_would_obey_is_taken_out(self) -> None:
        """Names come over a network. Nor is anything in them markup."""
        evil = server(host="\x1b]0;x\x07\x9b31m[red]n\r\nq" + "w" * 200, version="\x1b[2J")
        text = shown(found(evil, kind="\x1b[1m"))
        assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
        assert "\x9b" not in text
        assert "[red]n" in text
        assert "w" * 50 not in text

    def test_none_and_too_many(self) -> None:
        """Both are said."""
        assert "No server says anything." in shown(found())
        assert "Only 1 servers are shown" in shown(found(server(), more=True))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (rate(None), "–"), (rate(0.0), "0"), (rate(0.25), "0.2"), (rate(99.94), "99.9"), (rate(99.96), "100"),
            (count(None), "–"), (count(12_345), "12,345"), (size(0), "0 B"), (size(999), "999 B"),
            (size(1_500), "1.5 KB"), (size(999_600), "1.0 MB"), (size(2e15), "2,000.0 TB"), (size(None), "–"),
            (milliseconds(0.0123), "12.3"), (percent(1.5), "150%"), (age(59.9), "59s"), (age(61), "1m 1s"),
            (age(7_300), "2h 1m"), (age(200_000), "2d 7h"), (age(-5), "0s"),
        ],
    )  # fmt: skip
    def test_numbers_are_short(self, text: str, expected: str) -> None:
        """A few figures and a unit."""
        assert text == expected


class Answering:
    """A server that answers everything alike, on 127.0.0.1."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers["Authorization"]))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Not in the tests' output."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextlib.contextmanager
def answering(status: int, body: bytes = b"", **headers: str) -> Iterator[Answering]:
    site = Answering(status, body, **headers)
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


class TestReading:
    def test_a_server_below_a_path(self) -> None:
        """With the token, and nowhere else."""
        overview = found(server())
        with answering(200, msgspec.json.encode(overview)) as site:
            assert reader(f"{site.url}/shop/", TOKEN)() == overview
            assert site.asked == [("/shop/realtime/v1/servers", f"Bearer {TOKEN}")]

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (401, b"", "refuses the token"), (404, b"", "no such page"), (500, b"", "has answered 500"),
            (302, b"", "has answered 302"), (200, b"<html>", "no answer"), (200, b"{}", "no answer"),
            (200, b"[" * (MAX_ANSWER + 1), "it is too long"),
            (200, msgspec.json.encode(found(server(viewers=-1))), "no answer"),
        ],
    )  # fmt: skip
    def test_what_is_no_answer(self, status: int, body: bytes, said: str) -> None:
        """One line that says what is wrong; a redirection is not followed, since the token would be."""
        with answering(status, body, Location="http://127.0.0.1:1/") as site:
            with pytest.raises(NotRead, match=said) as caught:
                reader(site.url, TOKEN)()
            assert "\n" not in str(caught.value)
            assert TOKEN not in str(caught.value)
            assert len(site.asked) == 1

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://a", "host:5000", "http://", "http://a:secret@c", "http://a?x", "http://a:99999", "http://[",
            "memory://", "redis//a:secret@c", "secret",
        ],
    )  # fmt: skip
    def test_what_is_no_address(self, url: str) -> None:
        """An error that names what may be given, and shows no password, before anything is sent."""
        with pytest.raises(ConfigError, match=r"where (an|the) app is") as caught:
            reader(url, TOKEN)
        assert "secret" not in str(caught.value)

    def test_a_token_is_needed(self) -> None:
        """And where it is looked for is said."""
        with pytest.raises(ConfigError, match="REALTIME_METRICS"):
            reader("http://127.0.0.1:1", None)


class TestCommand:
    def run(self, *arguments: str, **environ: str) -> Any:
        clean = {"FLASK_REALTIME_METRICS": None, "REALTIME_METRICS": None, "REALTIME_URL": None, "COLUMNS": "200"}
        return CliRunner().invoke(main, ["top", *arguments], env={**clean, **environ})

    def test_once(self) -> None:
        """As a table and as JSON; the token from the environment, under either name."""
        overview = found(server())
        with answering(200, msgspec.json.encode(overview)) as site:
            told = self.run(site.url, "--once", FLASK_REALTIME_METRICS=TOKEN)
            assert (told.exit_code, "north:7" in told.stdout, "\x1b" in told.stdout) == (0, True, False)
            told = self.run("--once", "--json", REALTIME_METRICS=TOKEN, REALTIME_URL=site.url)
            assert json.loads(told.stdout) == msgspec.to_builtins(overview)
            assert told.stdout.count("\n") == 1
            assert {token for _, token in site.asked} == {f"Bearer {TOKEN}"}

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_once_without_an_answer(self, options: list[str]) -> None:
        """One line, and the exit code is 1."""
        told = self.run("http://127.0.0.1:1", "--token", TOKEN, "--once", *options)
        assert (told.exit_code, told.stdout) == (1, "")
        assert told.stderr.startswith("Error: http://127.0.0.1:1 cannot be reached")
        assert told.stderr.count("\n") == 1

    def test_a_store_out_of_reach(self) -> None:
        """Likewise; nothing of its address is told, which may hold a password."""
        told = self.run("redis://:hidden@127.0.0.1:1/0", "--once")
        assert (told.exit_code, told.stderr) == (1, "Error: The task store cannot be reached.\n")
