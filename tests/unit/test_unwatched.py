"""How long, and how often, a connection may ask to watch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from realtime.transport import unwatched
from realtime.transport.unwatched import MAX_REFUSALS, Unwatched
from support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of the monotonic clock."""
    made = Clock()
    monkeypatch.setattr(unwatched, "time", SimpleNamespace(monotonic=made))
    return made


def test_refusals_do_not_begin_its_time_anew(clock: Clock) -> None:
    """Who asks in vain every moment is overdue as soon as who says nothing; not while an answer is looked for."""
    waiting = Unwatched()
    for connection in ("silent", "asking"):
        waiting.begin(connection)
    clock.go(6)
    since = waiting.ask("asking")
    clock.go(5)
    assert waiting.overdue(10) == ["silent"]
    waiting.refuse("asking", since)
    assert waiting.overdue(10) == ["silent", "asking"]


def test_a_viewer_that_leaves_has_its_time_anew(clock: Clock) -> None:
    """And what has ended is not kept."""
    waiting = Unwatched()
    waiting.begin("c")
    waiting.ask("c")
    clock.go(100)
    waiting.begin("c")
    assert waiting.overdue(10) == []
    clock.go(11)
    assert waiting.overdue(10) == ["c"]
    waiting.forget("c")
    assert waiting.overdue(10) == []


def test_it_may_ask_in_vain_a_few_times(clock: Clock) -> None:
    """The next connection has as many of its own."""
    waiting = Unwatched()
    for connection in ("one", "two"):
        for _ in range(MAX_REFUSALS):
            assert waiting.may_ask(connection)
            waiting.refuse(connection, waiting.ask(connection))
        assert not waiting.may_ask(connection)
        waiting.forget("one")
    assert waiting.may_ask("one")
