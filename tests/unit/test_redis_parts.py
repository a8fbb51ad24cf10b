"""What is kept of the parts of a task in a store that processes share, and when it goes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from realtime.errors import RegistryUnavailable, TaskAlreadyFinished, TaskExists
from realtime.kin import Children
from realtime.registry.family import Sums
from realtime.registry.redis import RedisRegistry
from realtime.task import NewTask, Task
from support.stores import shared_server


@pytest.fixture
def registry() -> Iterator[RedisRegistry]:
    registry = RedisRegistry(f"{shared_server('redis').url}?prefix=rt-{secrets.token_hex(8)}", timeout=10.0)
    registry.create(NewTask("p", "ada"))
    yield registry
    registry.close()


def create(registry: RedisRegistry, task_id: str, parent_id: str | None = None) -> Task:
    return registry.create(NewTask(task_id, "ada", parent_id=parent_id))[0]


def parts(registry: RedisRegistry) -> Children | None:
    """What the parent says of its parts."""
    registry.follow()
    task = registry.get("p")
    assert task is not None
    return task.children


def test_what_could_not_be_followed_is_followed_later(registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store went away between a part's change and what follows from it."""
    create(registry, "a", "p")
    with monkeypatch.context() as away:

        def unavailable(*_: Any) -> Any:
            raise RegistryUnavailable("away")

        away.setattr(registry._families, "note", unavailable)
        registry.complete("a", None)
    assert parts(registry) == Children(1, completed=1, counted=True)


def test_the_newest_word_of_a_part_is_kept(registry: RedisRegistry) -> None:
    """Of two threads the one that comes last may bring the older one."""
    before = create(registry, "a", "p")
    registry.lazy = True
    registry._last_followed = float("inf")
    after = registry.update("a", percent=40.0)
    registry._keep(before)
    assert registry._moved == {"a": after}
    assert parts(registry) == Children(1, processing=1, counted=True)
    assert (registry.get("p") or pytest.fail("gone")).percent == 40.0


def test_a_parent_that_has_left_is_seen_to_no_more(registry: RedisRegistry) -> None:
    """Or the list of parents would grow for ever."""
    create(registry, "a", "p")
    assert registry._families.parents() == ["p"]
    registry.complete("p", None)
    registry.remove("p")
    registry.repair()
    assert registry._families.parents() == []


def test_a_part_whose_id_is_taken_in_between_does_not_count(
    registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was let in, and then not created: another task had the id."""
    create(registry, "a", "p")
    create(registry, "b")
    read = registry.get
    seen: list[str] = []

    def not_there_yet(task_id: str) -> Task | None:
        if task_id == "b" and not seen:
            seen.append(task_id)
            return None
        return read(task_id)

    monkeypatch.setattr(registry, "get", not_there_yet)
    with pytest.raises(TaskExists):
        create(registry, "b", "p")
    assert seen
    assert registry._families.sums("p").parts == 1


def test_a_part_that_is_there_is_not_taken_out(registry: RedisRegistry) -> None:
    """Only what was let in and never came can be."""
    part = create(registry, "a", "p")
    registry._families.leave(NewTask("a", "ada", parent_id="p"))
    assert part.parent_id == "p"
    assert registry._families.sums("p").parts == 1


def test_a_parent_that_ends_in_between_lets_nobody_in(registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has the last word; and the part that was about to come is in no list."""
    monkeypatch.setattr(registry, "_admitted", lambda new, parent: new)
    registry.complete("p", None)
    with pytest.raises(TaskAlreadyFinished):
        create(registry, "a", "p")
    assert registry.get("a") is None
    assert registry.count() == (0, 1)


def test_parts_of_what_has_ended_go_with_it(registry: RedisRegistry) -> None:
    """Also what is first said of them after its end."""
    registry.complete("p", None)
    assert registry._families.note("p", []) == Sums()
    left, parent = registry._link.ask(
        ("PTTL", registry._keys.kin("p")), ("PTTL", registry._keys.task("p"))
    )  # fmt: skip
    assert 0 < left <= parent + 1


def test_a_new_task_has_no_parts_of_a_former_one(registry: RedisRegistry) -> None:
    """Whatever has taken the former one away: the store itself may, for want of memory."""
    create(registry, "a", "p")
    registry._link.ask(("DEL", registry._keys.task("p")))
    create(registry, "p")
    assert registry._families.sums("p") == Sums()
    assert registry.children("p") == []


def test_who_sweeps_holds_the_turn(registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time anew: what it keeps for it (when all parents were seen to last) is its own."""
    monkeypatch.setattr("realtime.registry.redis.leases._TURN", 600_000)  # it is not over when it is looked at
    key = registry._link.keys.sweeper
    assert registry._leases.take_turn()
    registry._link.ask(("PERSIST", key))
    assert registry._leases.take_turn()
    (left,) = registry._link.ask(("PTTL", key))
    assert left > 0
