"""When the next flush may be."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from realtime import pacing
from realtime.pacing import MOST, Pacing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class TestRest:
    def test_none_before_the_first_flush(self, clock: SimpleNamespace) -> None:
        assert Pacing(0.05).rest() <= 0

    @pytest.mark.parametrize(
        ("cost", "apart"),
        [
            pytest.param(0.0, 0.05, id="a flush that costs nothing"),
            pytest.param(0.025, 0.05, id="half of the interval"),
            pytest.param(0.04, 0.08, id="more: half of the time all the same"),
            pytest.param(10.0, 0.05 * MOST, id="no more than so many intervals"),
        ],
    )
    def test_from_the_beginning_of_the_last_flush(self, clock: SimpleNamespace, cost: float, apart: float) -> None:
        paced = Pacing(0.05)
        began = clock.now
        clock.now += 0.03
        paced.flushed(began, cost)
        assert paced.rest() == pytest.approx(apart - 0.03)

    def test_what_has_to_be_told_whole_is_not_told_less_often(self, clock: SimpleNamespace) -> None:
        paced = Pacing(0.05)
        paced.conflates = False
        paced.flushed(clock.now, 10.0)
        assert paced.rest() == pytest.approx(0.05)

    def test_the_last_flush_alone_counts(self, clock: SimpleNamespace) -> None:
        paced = Pacing(0.05)
        paced.flushed(clock.now, 10.0)
        paced.flushed(clock.now, 0.0)
        assert paced.rest() == pytest.approx(0.05)


def test_the_clock_is_the_one_that_does_not_step() -> None:
    paced = Pacing(1000.0)
    paced.flushed(time.monotonic(), 0.0)
    assert 990 < paced.rest() <= 1000
