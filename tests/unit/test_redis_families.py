"""Parents in a store that processes share: two that follow at once, and what one leaves undone that dies."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from realtime.client import store
from realtime.client.calls import Call
from realtime.kin import Children, Kin
from realtime.registry.redis import RedisRegistry, families
from realtime.task import NewTask, Task
from support.clock import Clock
from support.stores import shared_server

Open = Callable[[], RedisRegistry]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_one(clock: Clock) -> Iterator[Open]:
    """Opens registries of processes that share a store."""
    url = f"{shared_server('redis').url}?prefix=rt-{secrets.token_hex(8)}"
    opened: list[RedisRegistry] = []

    def open_one() -> RedisRegistry:
        opened.append(RedisRegistry(url, timeout=10.0, clock=clock))
        return opened[-1]

    yield open_one
    for registry in opened:
        registry.close()


def make(registry: RedisRegistry, *parts: str, announced: int | None = None) -> None:
    """The parent ``p`` and its parts."""
    registry.create(NewTask("p", "ada", kin=Kin(announced=announced)))
    for part in parts:
        registry.create(NewTask(part, "ada", parent_id="p"))


def parent(registry: RedisRegistry) -> Task:
    task = registry.get("p")
    assert task is not None
    return task


def test_who_comes_late_with_old_sums_sees_the_new_ones(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is held up between reading what the parts come to and storing it, while another goes on."""
    late, other = open_one(), open_one()
    make(late, "a", "b", "c")
    change = RedisRegistry._change
    held: list[str] = []

    def hold_up(self: RedisRegistry, task_id: str, what: Any) -> Task:
        if self is late and task_id == "p" and not held:
            held.append(task_id)
            other.complete("b", None)
        return change(self, task_id, what)

    monkeypatch.setattr(RedisRegistry, "_change", hold_up)
    late.complete("a", None)
    assert held
    assert parent(other).children == Children(3, processing=1, completed=2, counted=True)


def test_a_part_that_was_let_in_and_never_made_is_taken_out_again(
    open_one: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maker has died in between. Not at once: it may be on its way."""
    dead, sweeper = open_one(), open_one()
    make(dead, "a")
    run = dead._link.run

    def die(name: str, *rest: Any) -> Any:
        if name == "create":
            raise KeyboardInterrupt
        return run(name, *rest)

    monkeypatch.setattr(dead._link, "run", die)
    with pytest.raises(KeyboardInterrupt):
        dead.create(NewTask("b", "ada", parent_id="p"))
    sweeper.repair()
    assert parent(sweeper).children == Children(2, processing=2, counted=True)
    clock.go(61.0)
    sweeper.repair()
    assert parent(sweeper).children == Children(1, processing=1, counted=True)


def test_of_parts_that_are_as_they_were_told_the_version_is_read_alone(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be ten thousand of them. What is behind is read, and the parent is stored if that is news."""
    dead, sweeper = open_one(), open_one()
    make(dead, "a", "b", "c")
    for number in range(3):
        sweeper.create(NewTask(f"p{number}", "ada"))
        sweeper.create(NewTask(f"a{number}", "ada", parent_id=f"p{number}"))
    monkeypatch.setattr(families, "_MANY", 2)
    read: list[str] = []
    look = sweeper._records.read_many

    def look_at(task_ids: Any) -> Any:
        read.extend(task_ids)
        return look(task_ids)

    monkeypatch.setattr(sweeper._records, "read_many", look_at)
    before = parent(sweeper)
    sweeper.repair()
    assert read == ["p", "p0", "p1", "p2"]
    assert parent(sweeper) == before
    monkeypatch.setattr(dead, "_followed", lambda old, new: None)
    dead.complete("b", None)
    sweeper.repair()
    assert read[4:] == ["p", "p0", "p1", "p2", "b"]
    assert parent(sweeper).children == Children(3, processing=2, completed=1, counted=True)


def test_many_parents_are_seen_to_less_often(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What that costs is a small part of the time."""
    now, took = [100.0], [0.0]
    monkeypatch.setattr("realtime.registry.redis.families.time.monotonic", lambda: now[0])
    registry = open_one()
    seen: list[float] = []

    def repair() -> None:
        seen.append(now[0])
        now[0] += took[0]

    monkeypatch.setattr(registry, "repair", repair)
    for took[0] in (0.5, 5.0):
        for _ in range(100):
            registry._repair_in_time()
            now[0] += 1.0
    gaps = [after - before for before, after in pairwise(seen)]
    assert set(gaps[:5]) == {10.5}
    assert gaps[-1] == 50.0


def test_a_request_to_stop_that_went_half_way_goes_on(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the parent was asked only or has ended by it; then there is nothing more to see to."""
    dead, sweeper = open_one(), open_one()
    make(dead, "a")
    dead.create(NewTask("q", "ada", status=NewTask("x").status))
    dead.create(NewTask("c", "ada", parent_id="q"))
    monkeypatch.setattr(dead, "_followed", lambda old, new: None)
    dead.request_cancel("p")
    dead.cancel("q")
    assert [getattr(dead.get(one), "cancel_requested", 0) for one in "ac"] == [None, None]
    sweeper.repair()
    assert None not in [getattr(sweeper.get(one), "cancel_requested", None) for one in "ac"]
    assert sweeper._families.parents() == ["p"]


def test_the_lines_go_with_the_parent(open_one: Open) -> None:
    """They last as long as it does, a late word included, and no longer than it."""
    registry = open_one()
    make(registry, "a", "b")
    registry.complete("p", None)
    key = registry._keys.kin("p")
    for _ in range(2):
        there, left = registry._link.ask(("EXISTS", key), ("PTTL", key))
        assert there == 1
        assert left > 0
        registry.complete("a", None)
    registry.remove("p")
    assert registry._link.ask(("EXISTS", key)) == [0]


def test_progress_is_followed_once_an_interval(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many updates there are; the rest when it is time, or somebody looks."""
    now = [100.0]
    monkeypatch.setattr("realtime.registry.redis.families.time.monotonic", lambda: now[0])
    registry = open_one()
    make(registry, "a", "b")
    now[0] += 1.0
    before = parent(registry).version
    for percent in range(1, 21):
        registry.update("a", percent=float(percent))
    assert (parent(registry).version, parent(registry).percent) == (before + 1, 0.5)
    registry.follow()
    assert (parent(registry).version, parent(registry).percent) == (before + 2, 10.0)


def test_a_client_follows_when_all_is_written_that_goes_together(open_one: Open) -> None:
    """The updates of one turn move the parent once."""
    server = open_one()
    make(server, "a", "b")
    transport = store.StoreTransport("redis://host", open_one)
    before = parent(server).version
    calls = [Call("update", one, (None, None, None, 50.0)) for one in "ab"]
    versions = []
    for request in transport.requests(calls):
        transport.perform(request, 10.0)
        versions.append(parent(server).version - before)
    assert versions == [0, 1]
    assert parent(server).percent == 50.0


def test_a_change_that_follows_bears_a_nonce_of_its_own(open_one: Open) -> None:
    """Else a parent would be taken for changed already by whoever makes the same call again."""
    registry = open_one()
    make(registry, "a", "b")
    with registry.nonces.once(b"12345678"):
        registry.complete("a", None)
    with registry.nonces.once(b"12345678"):
        registry.complete("a", None)  # the answer was lost
        assert registry.nonces.given == b"12345678"
    known = registry._records.read("p")
    assert known is not None
    assert known.nonce != b"12345678"
    assert parent(registry).children == Children(2, processing=1, completed=1, counted=True)
