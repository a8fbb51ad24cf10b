"""Green threads that are used again, on eventlet's hub."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import eventlet
import pytest
from eventlet import hubs

from realtime.transport.greenlets import MAX_IDLE, Greenlets

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Nothing here takes long."""
    with eventlet.Timeout(PATIENCE):
        yield


def run(greenlets: Greenlets, functions: list[Callable[[], None]]) -> None:
    """Have the hub run them, and wait until it has come back from the last."""
    over = eventlet.Event()

    def call() -> None:
        for function in functions:
            greenlets.run(function, hubs.get_hub())
        over.send(None)

    hubs.get_hub().schedule_call_global(0, call)
    over.wait()


def test_what_does_not_wait_runs_on_one_after_another() -> None:
    """Whatever their number; the caller has what they did when `run` comes back."""
    greenlets, seen = Greenlets(), list[Any]()
    run(greenlets, [lambda: seen.append(eventlet.getcurrent())] * 100)
    assert len(seen) == 100
    assert len(set(seen)) == 1
    assert seen[0] is not hubs.get_hub().greenlet


def test_what_has_run_is_kept_by_nobody() -> None:
    """Neither the first that a green thread has run nor the last: each would be a viewer that stays in memory."""
    greenlets = Greenlets()
    known, ran = list[weakref.ref[Any]](), list[int]()

    def made() -> Callable[[], None]:
        function = partial(ran.append, 1)
        known.append(weakref.ref(function))
        return function

    def call() -> None:
        for _ in range(3):
            greenlets.run(made(), hubs.get_hub())

    run(greenlets, [])
    hubs.get_hub().schedule_call_global(0, call)
    while len(ran) < 3:
        eventlet.sleep(0)
    gc.collect()
    assert [each() for each in known] == [None] * 3


def test_one_that_waits_keeps_nobody_waiting() -> None:
    """The hub goes on, others run meanwhile, and all come to their end; few stay for the next time."""
    greenlets, gate = Greenlets(), eventlet.Event()
    begun, ended = list[int](), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        gate.wait()
        ended.append(number)

    many = MAX_IDLE + 10
    run(greenlets, [partial(work, number) for number in range(many)])
    assert (begun, ended) == (list(range(many)), [])
    gate.send(None)
    while len(ended) < many:
        eventlet.sleep(0)
    assert sorted(ended) == begun
    eventlet.sleep(0)
    assert len(greenlets._idle) == MAX_IDLE
