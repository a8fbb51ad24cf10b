"""The board of a shared store: what its servers say of themselves, and how they are forgotten."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import pytest

from realtime.registry.board import Board
from realtime.registry.memory import MemoryRegistry
from realtime.registry.redis import RedisRegistry
from support.clusters import shared_cluster
from support.remote import wait_until
from support.stores import shared_server


@pytest.fixture(params=["redis", "valkey", "cluster"])
def servers(request: pytest.FixtureRequest) -> Iterator[list[RedisRegistry]]:
    """Two processes' hands on one store."""
    url = shared_cluster().url if request.param == "cluster" else shared_server(request.param).url
    url = f"{url}?prefix=rt-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(RedisRegistry(url, timeout=10.0))) for _ in range(2)]


@pytest.fixture
def boards(servers: list[RedisRegistry]) -> list[Board]:
    return [registry.board for registry in servers if registry.board is not None]


def test_each_reads_what_all_say(boards: list[Board]) -> None:
    """The last word of each, whatever bytes it has."""
    one, two = boards
    assert one.read(10) == []
    one.put("a", b"1", 60)
    two.put("b", b"\x00\xff", 60)
    one.put("a", b"2", 60)
    for board in boards:
        assert sorted(board.read(10)) == [b"\x00\xff", b"2"]
    one.drop("a")
    assert two.read(10) == [b"\x00\xff"]


def test_the_silent_are_forgotten(boards: list[Board]) -> None:
    """By the store itself: nobody has to miss them."""
    one, two = boards
    two.put("b", b"2", 60)
    one.put("a", b"1", 0.05)
    assert wait_until(lambda: two.read(10), lambda found: found == [b"2"]) == [b"2"]


def test_nothing_stays_of_them(servers: list[RedisRegistry], boards: list[Board]) -> None:
    """Neither a name nor a word: all that is stored has its time."""
    boards[0].put("a", b"1", 60)
    link = servers[0]._link
    times = link.ask(("PTTL", link.keys.note("board")), ("PTTL", link.keys.note("board/a")))
    assert all(0 < time <= 60_000 for time in times)
    link.ask(("ZADD", link.keys.note("board"), 1, "gone"))
    boards[1].put("b", b"1", 60)
    assert link.ask(("ZCARD", link.keys.note("board"))) == [2]


def test_of_too_many_the_last_to_speak_are_read(boards: list[Board]) -> None:
    """An answer has a bound, and those that speak are those that live."""
    for number in range(5):
        boards[0].put(f"n{number}", b"%d" % number, 60)
    assert boards[1].read(3) == [b"4", b"3", b"2"]


def test_one_process_needs_no_board() -> None:
    """It knows of itself."""
    assert MemoryRegistry().board is None
