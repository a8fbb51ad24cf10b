"""Percent, rate and time left."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.progress import MAX_NUMBER, MIN_SAMPLES, SAMPLE_INTERVAL, Pace, Progress, outlook, percent_of, sampled

numbers = st.one_of(
    st.integers(-MAX_NUMBER, MAX_NUMBER), st.floats(-MAX_NUMBER, MAX_NUMBER, allow_nan=False, allow_infinity=False)
)
totals = st.one_of(st.none(), numbers.filter(lambda total: total >= 0))


def pace_of(*points: tuple[float, float], in_percent: bool = False) -> Pace:
    """The pace after looks at (time, value)."""
    pace = None
    for now, value in points:
        pace = sampled(pace, now, value, in_percent)
    assert pace is not None
    return pace


# Percent.


@pytest.mark.parametrize(
    ("held", "current", "total", "percent"),
    [
        (None, 1, 4, 25.0),
        (None, None, 4, None),
        (None, 1, None, None),
        (30.0, 1, None, 30.0),
        (30.0, 1, 4, 30.0),
        (None, 5, 4, 100.0),
        (None, -5, 4, 0.0),
        (None, 0, 0, None),
        (0.0, 0, 0, None),
        (30.0, 0, 0, 30.0),
    ],
)
def test_percent_of(held: float | None, current: float | None, total: float | None, percent: float | None) -> None:
    """The part of the total, cut to 0–100 and never under what is held; None where there is nothing to say."""
    assert percent_of(held, current, total) == percent


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.none() | numbers, totals), min_size=1))
def test_percent_stays_in_bounds_and_never_goes_down(steps: list[tuple[float | None, float | None]]) -> None:
    """Whatever counts come in, percents are 0–100 and in ascending order; one above 0 does not go away again."""
    held = None
    for current, total in steps:
        percent = percent_of(held, current, total)
        assert percent is None or 0.0 <= percent <= 100.0
        assert (percent or 0.0) >= (held or 0.0)
        held = percent


# Rate and time left.


def test_there_is_no_rate_before_three_samples() -> None:
    """One look is where counting begins; each sample needs another after it."""
    pace = None
    for look in range(MIN_SAMPLES):
        pace = sampled(pace, float(look), 2.0 * look, False)
        assert outlook(pace, 2 * look, 100, None) == (None, None)
    pace = sampled(pace, float(MIN_SAMPLES), 2.0 * MIN_SAMPLES, False)
    assert outlook(pace, 6, 100, None) == pytest.approx((2.0, 47.0))


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0.01, 1e6),
    st.lists(st.floats(SAMPLE_INTERVAL * 1.01, 500.0), min_size=MIN_SAMPLES, max_size=30),
)
def test_a_steady_task_has_its_rate_from_the_first_sample_on(per_second: float, gaps: list[float]) -> None:
    """The average is right at once, however young it is and however its samples are spaced."""
    now, pace = 1e6, sampled(None, 1e6, 0.0, False)
    for gap in gaps:
        now += gap
        pace = sampled(pace, now, (now - 1e6) * per_second, False)
    rate, _ = outlook(pace, 1, 2, None)
    assert rate == pytest.approx(per_second, rel=1e-4)


def test_a_rate_does_not_depend_on_how_often_one_looks() -> None:
    """The average is one over time: the same course, looked at ten times as often, has the same rate."""

    def done(now: float) -> float:
        return 10.0 * min(now, 20.0) + 100.0 * max(0.0, now - 20.0)

    seldom = pace_of(*((now, done(now)) for now in map(float, range(31))))
    often = pace_of(*((look / 10, done(look / 10)) for look in range(301)))
    assert outlook(seldom, 1, 2, None)[0] == pytest.approx(outlook(often, 1, 2, None)[0])


def test_a_rate_forgets_how_it_once_was() -> None:
    """Long after a change of speed, only the new one is seen."""
    pace = pace_of(*((float(now), 1000.0 * now) for now in range(60)))
    for now in range(60, 180):
        pace = sampled(pace, float(now), 60_000.0 + (now - 60), False)
    assert outlook(pace, 1, 2, None)[0] == pytest.approx(1.0, rel=0.05)


def test_looks_in_quick_succession_take_one_sample() -> None:
    """Between two samples lies the interval; a look in between gives the same object back."""
    pace = sampled(None, 100.0, 0, False)
    assert sampled(pace, 100.0 + SAMPLE_INTERVAL * 0.9, 50, False) is pace
    assert sampled(pace, 100.0 + SAMPLE_INTERVAL * 1.1, 50, False).samples == 1


def test_a_clock_that_steps_back_spoils_no_rate() -> None:
    """The stretch over the step is left out; the rate stays what it was and goes on from there."""
    pace = pace_of(*((float(now), 5.0 * now) for now in range(10)))
    back = sampled(pace, -3600.0, 50.0, False)
    assert outlook(back, 1, 2, None)[0] == pytest.approx(5.0)
    after = sampled(back, -3599.0, 55.0, False)
    assert after.samples == pace.samples + 1
    assert outlook(after, 1, 2, None)[0] == pytest.approx(5.0)


def test_a_value_that_goes_back_spoils_no_rate() -> None:
    """A job that begins again has not worked backwards."""
    pace = pace_of(*((float(now), 5.0 * now) for now in range(10)))
    back = sampled(pace, 10.0, 0.0, False)
    assert outlook(back, 1, 2, None)[0] == pytest.approx(5.0)


def test_percent_gives_a_time_left_but_no_rate() -> None:
    """Where nobody counts steps, the percent tells how long it takes."""
    pace = pace_of((0.0, 0.0), (1.0, 2.0), (2.0, 4.0), (3.0, 6.0), in_percent=True)
    rate, eta = outlook(pace, None, None, 6.0)
    assert rate is None
    assert eta == pytest.approx(47.0)


def test_counting_steps_takes_over_from_percent() -> None:
    """The two are never mixed in one average: it begins anew."""
    pace = pace_of((0.0, 0.0), (1.0, 2.0), (2.0, 4.0), (3.0, 6.0), in_percent=True)
    assert sampled(pace, 4.0, 1000, False) == Pace(4.0, 1000)


@pytest.mark.parametrize(
    ("current", "total", "eta"), [(5, 10, 1.0), (10, 10, 0.0), (15, 10, 0.0), (5, None, None), (5, 0, None)]
)
def test_time_left_needs_a_total(current: int, total: int | None, eta: float | None) -> None:
    """It is what is left over the rate: none without a total, 0 beyond it."""
    pace = pace_of((0.0, 0), (1.0, 5), (2.0, 10), (3.0, 15))
    rate, left = outlook(pace, current, total, None)
    assert rate == pytest.approx(5.0)
    assert left == (eta if eta is None else pytest.approx(eta))


def test_a_task_at_a_standstill_has_no_time_left() -> None:
    """A rate of 0 leads nowhere, and one that has all but died away is not told as thousands of years."""
    still = pace_of(*((float(now), 7.0) for now in range(5)))
    assert outlook(still, 7, 10, None) == (0.0, None)
    fading = pace_of(*((float(now), 7.0 * min(now, 4)) for now in range(10_000)))
    rate, eta = outlook(fading, 28, 100, None)
    assert rate == pytest.approx(0.0)
    assert eta is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-1e10, 1e10), numbers, st.booleans()), min_size=1), totals)
def test_rate_and_time_left_are_finite_whatever_comes(
    looks: list[tuple[float, float, bool]], total: float | None
) -> None:
    """No course of clock and count makes a number that JSON cannot carry, or a negative one."""
    pace = None
    for now, value, in_percent in looks:
        pace = sampled(pace, now, value, in_percent)
        for number in outlook(pace, value, total, 50.0):
            assert number is None or (math.isfinite(number) and number >= 0.0)


def test_progress_as_dict_is_the_wires() -> None:
    """The names are those of the protocol."""
    assert Progress(1, 4, "rows", 25.0, "Reading", 2.0, 1.5).as_dict() == {
        "current": 1,
        "total": 4,
        "unit": "rows",
        "percent": 25.0,
        "message": "Reading",
        "rate": 2.0,
        "eta": 1.5,
    }
