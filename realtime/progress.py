"""How far a task is, and how fast it goes: percent, rate and time left. Pure functions of numbers.

Percent is 0–100 and never goes down: a growing total or a falling current holds it.

The rate is an exponential moving average over *time*, corrected for its bias: of a stretch of ``dt`` seconds the
average takes in ``1 - exp(-dt / TIME_CONSTANT)``, whatever the number of updates in it, and is divided by all that it
has taken in so far, so that a young average is as right as an old one (Adam, https://arxiv.org/abs/1412.6980, section
3). Its state, `Pace`, is a part of the task's record: to show a task twice gives the same bytes.
"""

from __future__ import annotations

from math import exp
from typing import Any, Final

import msgspec

#: Seconds after which a stretch of work counts 1/e in the rate.
TIME_CONSTANT: Final = 10.0
#: Seconds between two samples of the rate; updates in between cost nothing.
SAMPLE_INTERVAL: Final = 0.05
#: Samples that must have been taken before a rate is shown.
MIN_SAMPLES: Final = 3
#: Seconds left that are still told.
MAX_ETA: Final = 1e9
#: No number of steps, and no sum of them, goes beyond this: JavaScript counts exactly up to here.
MAX_NUMBER: Final = 2**53


class Progress(msgspec.Struct, frozen=True):
    """How far a task is, as the page shows it."""

    #: Steps done, None while nobody has counted.
    current: int | float | None
    #: Steps in all; None = indeterminate.
    total: int | float | None
    #: What a step is: ``rows``, ``bytes``.
    unit: str | None
    #: 0–100, or None where it cannot be said.
    percent: float | None
    #: What is being done now; the newest only.
    message: str | None
    #: Steps a second, None until it is known.
    rate: float | None
    #: Seconds left, None until they are known.
    eta: float | None

    def as_dict(self) -> dict[str, Any]:
        """The wire's ``progress``."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Pace(msgspec.Struct, frozen=True, gc=False):
    """The state of a rate. `sampled` makes the next one, `outlook` reads it."""

    #: Seconds since 1970, as the clock said it, when the last sample was taken.
    at: float
    #: Where the task was then, in steps or in percent.
    value: float
    #: The average, in steps (or percent) a second, still to be divided by ``weight``.
    average: float = 0.0
    #: How much the average has taken in, 0–1.
    weight: float = 0.0
    samples: int = 0
    #: Whether ``value`` counts percent, for want of steps.
    in_percent: bool = False


def sampled(pace: Pace | None, now: float, value: float, in_percent: bool) -> Pace:
    """The pace after a look at ``now``: the same one if the last look is not `SAMPLE_INTERVAL` seconds ago.

    A clock that steps back and a value that goes back measure nothing: the stretch is left out.
    """
    if pace is None or pace.in_percent is not in_percent:
        return Pace(now, value, 0.0, 0.0, 0, in_percent)
    elapsed = now - pace.at
    if 0.0 <= elapsed < SAMPLE_INTERVAL:
        return pace
    if elapsed < 0.0 or value < pace.value:
        return Pace(now, value, pace.average, pace.weight, pace.samples, in_percent)
    kept = exp(-elapsed / TIME_CONSTANT)
    taken = 1.0 - kept
    average = pace.average * kept + (value - pace.value) / elapsed * taken
    return Pace(now, value, average, pace.weight * kept + taken, pace.samples + 1, in_percent)


def percent_of(held: float | None, current: float | None, total: float | None) -> float | None:
    """The percent of ``current`` in ``total``, never less than the one ``held`` so far.

    A total of 0 gives None, unless that would take back a percent that was shown.
    """
    if total is None or current is None:
        return held
    if total <= 0:
        return held or None
    percent = 100.0 * current / total
    if percent > 100.0:
        percent = 100.0
    elif percent < 0.0:
        percent = 0.0
    return percent if held is None or percent > held else held


def outlook(
    pace: Pace, current: float | None, total: float | None, percent: float | None
) -> tuple[float | None, float | None]:
    """The rate in steps a second, and the seconds left at it; None for what cannot be said.

    Where percent is all there is, the seconds left are told from it, and there is no rate.
    """
    if pace.samples < MIN_SAMPLES:
        return None, None
    speed = pace.average / pace.weight
    if pace.in_percent:
        rate, left = None, None if percent is None else 100.0 - percent
    else:
        rate, left = speed, None if not total or current is None else max(0.0, total - current)
    # Not a division: where work has stood still for long, it would overflow.
    return rate, None if left is None or left > speed * MAX_ETA or speed <= 0.0 else left / speed
