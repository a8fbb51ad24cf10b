"""What a process takes the store's clock to be ahead of its own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from realtime.registry.redis import link as link_module
from realtime.registry.redis.cluster import open_link
from realtime.registry.redis.link import Link


@pytest.fixture
def link() -> Link:
    return open_link("redis://127.0.0.1:1", 1.0)  # which is not opened


def answer(link: Link, monkeypatch: pytest.MonkeyPatch, asked: float, store: int, read: float) -> float:
    """The store is asked at a time, says what its own is, and that is read at another. Returns what is made of it."""
    monkeypatch.setattr(link_module, "time", SimpleNamespace(time=lambda: read))
    link._take([b"e", store, 0, b"0"], asked)
    return link.offset


def test_an_answer_that_took_long_says_little_of_a_clock(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given at once, and read late, or the other way round: the clocks are the same, and taken for that."""
    assert answer(link, monkeypatch, 99.5, 100, 160.0) == 0.0
    assert answer(link, monkeypatch, 140.0, 200, 200.5) == 0.0


@pytest.mark.parametrize("ahead", [50, -50])
def test_a_clock_that_is_another_is_followed(link: Link, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """As far as it is certain, from whichever side; and back again when it has been put right."""
    for now, by in (100, ahead), (200, 0):
        assert abs(answer(link, monkeypatch, now - 0.5, now + by, now + 0.5) - by) == 0.5
