"""Who holds a task: two workers that got the same one are told apart, on every registry."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from realtime.errors import LeaseHeld, TaskAlreadyFinished, TaskNotFound
from realtime.registry import transitions
from realtime.registry.base import Registry
from realtime.registry.conditional import When
from realtime.task import Task, TaskFailure
from support.history import History
from support.registries import Told

Create = Callable[..., Task]

LEASE = 30.0
WRITES: dict[str, Callable[[Any], Any]] = {
    "update": lambda store: store.update("a", "still here", advance=1),
    "append_output": lambda store: store.append_output("a", "output", b"still here\n"),
    "start": lambda store: store.start("a"),
    "complete": lambda store: store.complete("a", None),
    "fail": lambda store: store.fail("a", TaskFailure(None, "no", "failed")),
    "cancel": lambda store: store.cancel("a"),
    "acknowledge_cancel": lambda store: store.acknowledge_cancel("a"),
}


def test_what_one_holds_no_other_does(registry: Registry, create: Create, told: Told) -> None:
    """Its heartbeats are refused and change nothing; those of the first one go on, and so do those of nobody."""
    create()
    held = registry.heartbeat("a", LEASE, "one")
    assert b'"one"' not in held.encode()
    told.changes.clear()
    with pytest.raises(LeaseHeld, match="'a' is held by another worker"):
        registry.heartbeat("a", LEASE, "two")
    assert registry.heartbeat("a", LEASE, "one") == held
    assert registry.heartbeat("a", LEASE) == held
    assert registry.get("a") == held
    assert told.changes == []
    # Nobody in particular keeps it alive, and does not make it nobody's.
    registry.heartbeat("a", 2 * LEASE)
    with pytest.raises(LeaseHeld):
        registry.heartbeat("a", LEASE, "two")


def test_a_lease_of_nobody_in_particular_is_anybodys(registry: Registry, create: Create) -> None:
    """The first one that says who it is has the task."""
    create()
    registry.heartbeat("a", LEASE)
    registry.heartbeat("a", LEASE, "one")
    with pytest.raises(LeaseHeld):
        registry.heartbeat("a", LEASE, "two")


def test_who_takes_over_fences_the_other(registry: Registry, create: Create) -> None:
    """Whatever that one says then is refused, and changes nothing; what the new one says is taken."""
    create(status="pending")
    registry.heartbeat("a", LEASE, "one")
    one, two = When(registry, holder="one"), When(registry, holder="two")
    assert one.update("a", "here").message == "here"
    registry.request_cancel("a")
    before = registry.heartbeat("a", LEASE, "two", takeover=True)
    for write in WRITES.values():
        with pytest.raises(LeaseHeld):
            write(one)
    with pytest.raises(LeaseHeld):
        registry.heartbeat("a", LEASE, "one")
    assert registry.get("a") == before
    assert registry.output_ends("a") == {}
    two.update("a", "mine")
    registry.update("a", "said by nobody in particular")
    two.complete("a", None)
    for name, write in WRITES.items():
        if name not in ("complete", "append_output"):
            with pytest.raises(TaskAlreadyFinished):
                write(one)


@pytest.mark.parametrize("write", WRITES)
def test_the_holder_writes_as_ever(write: str, registry: Registry, create: Create) -> None:
    """And one that has never given a sign of life is held from nobody."""
    create()
    WRITES[write](When(registry, holder="one"))
    registry.remove("a") if registry.get("a").finished else None  # type: ignore[union-attr]
    create("b")
    registry.heartbeat("b", LEASE, "one")
    assert When(registry, holder="one").update("b", "here").message == "here"


def test_what_is_given_back_is_anybodys(registry: Registry, create: Create) -> None:
    """Its lease ends with it: however long it takes until somebody goes on, nobody is missed."""
    create()
    registry.heartbeat("a", LEASE, "one")
    held = registry.get("a")
    assert registry.release("a", "two") == held
    free = registry.release("a", "one")
    assert (free.info.lease, free.info.holder) == (None, None)
    assert registry.release("a", "one") == free
    registry.sweep()
    assert registry.silences() == []
    registry.heartbeat("a", LEASE, "two")
    registry.complete("a", None)
    with pytest.raises(TaskAlreadyFinished):
        registry.release("a", "two")
    with pytest.raises(TaskNotFound):
        registry.release("nowhere", "two")


def race(registry: Registry, create: Create) -> History:
    """One worker writes all the time, while another takes its task over and goes on with it."""
    history = History()
    history.acknowledged(create(total=1000).as_dict())
    history.taken(registry.heartbeat("a", LEASE, "one").as_dict(), "one")
    halfway, over = threading.Event(), threading.Event()

    def write(holder: str) -> None:
        store, left = When(registry, holder=holder), 10
        for number in itertools.count(1):
            try:
                history.written(store.update("a", advance=1).as_dict(), holder)
            except LeaseHeld:
                return
            if number == 10:
                halfway.set()
            left -= over.is_set()
            if left == 0:
                return

    first = threading.Thread(target=write, args=("one",))
    first.start()
    assert halfway.wait(30)
    history.taken(registry.heartbeat("a", LEASE, "two", takeover=True).as_dict(), "two")
    over.set()
    write("two")
    first.join(30)
    assert not first.is_alive()
    history.acknowledged(registry.complete("a", None).as_dict())
    return history


def test_nothing_of_the_former_holder_comes_after_the_takeover(registry: Registry, create: Create) -> None:
    """In the order of the versions, while both of them write."""
    race(registry, create).check({})


def test_the_check_finds_that_fencing_is_off(
    registry: Registry, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the former holder's next word is taken."""
    monkeypatch.setattr(transitions, "is_held_from", lambda task, holder: False)
    history = race(registry, create)
    with pytest.raises(AssertionError, match="a was written by one, and two had it"):
        history.check({})
