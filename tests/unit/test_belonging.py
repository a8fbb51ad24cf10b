"""Whose the requests of a long-polling session are."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.auth import Grant
from realtime.transport.belonging import Belonging


class Gate:
    """A session ``s`` of ada's, begun with the cookie ``1``; the cookie says who it is, after a dash."""

    def __init__(self) -> None:
        #: How often `identify` was asked.
        self.asked = 0
        self.belonging = Belonging(self.authorise, lambda ask: ask())
        self.belonging.note("s", self.environ("1-ada"), "ada")

    def authorise(self, environ: dict[str, Any], ticket: str | None) -> Grant | None:
        assert ticket is None
        self.asked += 1
        user = environ["HTTP_COOKIE"].partition("-")[2]
        if user == "broken":
            raise LookupError
        return Grant(user) if user else None

    @staticmethod
    def environ(cookie: str, query: str = "transport=polling&sid=s") -> dict[str, Any]:
        return {"QUERY_STRING": query, "HTTP_COOKIE": cookie}

    def admits(self, cookie: str, **more: str) -> bool:
        return self.belonging.admits(self.environ(cookie, **more))


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_the_same_cookie_is_asked_for_nothing(gate: Gate) -> None:
    """However often it comes: a poll costs no question to the host's user database."""
    assert all(gate.admits("1-ada") for _ in range(100))
    assert gate.asked == 0


def test_a_renewed_cookie_is_asked_for_once(gate: Gate) -> None:
    """And a request with the former one may still be on its way."""
    assert all(gate.admits(cookie) for cookie in ("2-ada", "1-ada", "2-ada", "1-ada"))
    assert gate.asked == 1
    assert gate.admits("3-ada")
    assert gate.admits("2-ada")
    assert gate.asked == 2


@pytest.mark.parametrize("cookie", ["2-mallory", "", "2-", "2-broken", "\udcff"])
def test_who_is_another_is_refused(gate: Gate, cookie: str) -> None:
    """Or nobody, or nobody knows; each time anew, and the user is not concerned."""
    assert not gate.admits(cookie)
    assert not gate.admits(cookie)
    assert gate.admits("1-ada")
    assert gate.asked == 2


def test_the_id_is_read_as_engineio_reads_it(gate: Gate) -> None:
    """Written otherwise, or twice."""
    for query in ("transport=polling&%73id=s", "sid=%73", "sid=s&sid=t"):
        assert not gate.admits("2-mallory", query=query)


def test_other_sessions_are_not_concerned(gate: Gate) -> None:
    """Those that are unknown, that have ended, that were a WebSocket from the start, or whose user has no name."""
    assert gate.admits("2-mallory", query="transport=polling")
    assert gate.admits("2-mallory", query="sid=t&sid=s")
    gate.belonging.note("w", gate.environ("1-ada", "transport=websocket"), "ada")
    gate.belonging.note("n", gate.environ("1-ada"), None)
    assert gate.admits("2-mallory", query="sid=w")
    assert gate.admits("2-mallory", query="sid=n")
    gate.belonging.forget("s")
    gate.belonging.forget("s")
    assert gate.admits("2-mallory")
    assert gate.asked == 0
