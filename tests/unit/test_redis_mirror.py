"""What a server holds of the tasks in a store that others change: it never goes back, and does not grow for ever."""

from __future__ import annotations

import pytest

from realtime.protocol import task_room, user_room
from realtime.registry import transitions
from realtime.registry.redis import mirror as mirror_module
from realtime.registry.redis.mirror import Mirror
from realtime.task import COMPLETED, NewTask, Task


def task(task_id: str = "a", version: int = 1, epoch: str = "e") -> Task:
    return transitions.created(NewTask(task_id, "ada"), epoch=epoch, now=1.0, version=version, order=1)


@pytest.fixture
def mirror() -> Mirror:
    mirror = Mirror(1000, lambda task_id: None)
    mirror.reset("e")
    mirror.follow([user_room("ada")])
    return mirror


def test_what_was_read_before_a_removal_does_not_bring_a_task_back(mirror: Mirror) -> None:
    """News and what is read come by different ways. A later task of that id is another one."""
    assert mirror.put(task())
    mirror.remove("a", 5)
    assert mirror.held("a") is None
    assert not mirror.put(task(version=4))
    assert mirror.left_with("a") == 5
    assert mirror.put(task(version=6))


def test_removals_are_not_remembered_for_ever(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest of them."""
    monkeypatch.setattr(mirror_module, "_MAX_GONE", 3)
    for number in range(6):
        mirror.remove(f"t{number}", 5)
    assert [number for number in range(6) if mirror.left_with(f"t{number}")] == [3, 4, 5]


def test_what_ended_long_ago_is_let_go_of(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is watched for itself, or a viewer is owed its end."""
    monkeypatch.setattr(mirror_module, "_KEPT", -1.0)
    mirror.follow([task_room("watched")])
    for task_id in ("goes", "watched", "owed", "goes, too"):
        mirror.put(transitions.ended(task(task_id), 2.0, COMPLETED))
    mirror.put(task("lives"))
    mirror.thin_out(lambda task_id: task_id == "owed")
    held = [name for name in ("goes", "watched", "owed", "goes, too", "lives") if mirror.held(name)]
    assert held == ["watched", "owed", "lives"]
    assert mirror.rooms[user_room("ada")] == {"watched", "owed", "lives"}


def test_what_is_of_another_memory_of_the_store_is_not_taken_in(mirror: Mirror) -> None:
    """It was read before the store was found to have begun anew, or comes from one that has not heard of that."""
    assert not mirror.put(task(epoch="d", version=9))
    assert mirror.held("a") is None
    assert mirror.rooms[user_room("ada")] == set()
    assert mirror.put(task(version=1))
    assert not mirror.put(task("b", epoch="f"))
