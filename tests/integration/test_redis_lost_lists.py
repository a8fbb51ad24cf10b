"""Lists of a Redis Cluster that were lost, or not written to the end: tasks come back into them, removed ones leave."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from typing import Any

import pytest

from realtime.errors import RegistryUnavailable
from realtime.protocol import user_room
from realtime.registry.redis import RedisRegistry, relist
from realtime.task import NewTask
from support.clusters import shared_cluster
from support.listening import Server, wait_for


@pytest.fixture
def url() -> str:
    return f"{shared_cluster().url}?prefix=rt-{secrets.token_hex(8)}"


@pytest.fixture
def other(opened: contextlib.ExitStack, url: str) -> RedisRegistry:
    """A third process's registry."""
    return opened.enter_context(contextlib.closing(RedisRegistry(url, timeout=10.0)))


def lose_lists(registry: RedisRegistry) -> None:
    """What FLUSHALL on the node of the lists does to those of one app."""
    prefix = registry._keys.meta.partition("}")[0] + "}"
    with contextlib.closing(shared_cluster().owner(registry._keys.meta).client()) as client:
        client.delete(*client.keys(prefix + "*"))


class Before:
    """A script, and what happens before it is run the first time."""

    def __init__(self, script: Any, first: Callable[[], object]) -> None:
        self._script = script
        self._first: Callable[[], object] | None = first
        self.sha = script.sha

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._first is not None:
            first, self._first = self._first, None
            first()
        return self._script(*args, **kwargs)


def listed(registry: RedisRegistry, user_id: str = "ada") -> list[str]:
    return [task.task_id for task in registry.list(user_id=user_id, groups=(), limit=9)[0]]


def new(task_id: str = "a", **fields: Any) -> NewTask:
    return NewTask(task_id, "ada", **fields)


def unavailable(*_: object) -> Any:
    raise RegistryUnavailable("cut off")


def test_a_task_whose_listing_was_lost_before_its_creation_is_listed_by_who_sweeps(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who watches its owner's room from then on hears of it, though its news are told by its own channel alone."""
    monkeypatch.setattr(relist, "_PROMPT", 60.0)  # else it lists it itself, where the machine is slow
    worker._link.scripts["create"] = Before(worker._link.scripts["create"], lambda: lose_lists(worker))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(server._relist, "step", lambda: None)
        worker.create(new())
        assert listed(worker) == []
    server.open(user_room("ada"))
    server.wait_until(lambda: "a" in [task.task_id for task, _ in server.changes])
    wait_for(lambda: listed(worker) == ["a"])
    assert worker.count() == (1, 0)
    worker.update("a", "On")
    server.wait_until(lambda: server.shown("a") == "On")


def test_who_takes_long_to_create_a_task_lists_it_once_more(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tasks of the new epoch may have been gone through before it was there."""
    monkeypatch.setattr(relist, "_WAIT", 0.0)
    monkeypatch.setattr(relist, "_PROMPT", 0.0)

    def meanwhile() -> None:
        former = worker.epoch
        lose_lists(worker)
        wait_for(lambda: server._link.known_epoch not in (None, former))
        wait_for(lambda: server._link.ask(("HGET", worker._keys.meta, "listed")) == [server.epoch.encode()])

    worker._link.scripts["create"] = Before(worker._link.scripts["create"], meanwhile)
    worker.create(new())
    assert listed(worker) == ["a"]


def test_a_creation_that_is_made_once_more_is_listed_once_more(worker: RedisRegistry, other: RedisRegistry) -> None:
    """Its answers were lost, and so was its listing meanwhile; who made it is told of its task, and finds it."""
    script = worker._link.scripts["create"]

    def lost(*args: Any, **kwargs: Any) -> Any:
        script(*args, **kwargs)
        raise unavailable()

    worker._link.scripts["create"] = lost
    with worker.nonces.once(b"nonce--1"), pytest.raises(RegistryUnavailable):
        worker.create(new())
    lose_lists(worker)
    assert other.epoch
    worker._link.scripts["create"] = script
    with worker.nonces.once(b"nonce--1"):
        task, created = worker.create(new())
    assert (created, listed(other), other.count()) == (True, ["a"], (1, 0))
    assert other.get("a") == task


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("verb", ["get", "update"])
def test_who_reads_a_task_that_is_in_no_list_puts_it_there(
    worker: RedisRegistry, other: RedisRegistry, verb: str, ended: bool
) -> None:
    """Also where no server is: once in an epoch, and with no more than one way there and back for an update."""
    worker.create(new())
    if ended:
        worker.complete("a", None)
    lose_lists(worker)
    other.create(new("next"))  # by which the new epoch begins
    assert listed(other) == ["next"]
    if verb == "get" or ended:
        assert other.get("a") is not None
    else:
        other.update("a", "On")
    assert listed(other) == ["next", "a"]
    assert other.count() == ((1, 1) if ended else (2, 0))
    if not ended:
        made: list[str] = []
        run, ask = other._link.run, other._link.ask
        other._link.run = lambda name, *call: made.append(name) or run(name, *call)  # type: ignore[method-assign,func-returns-value]
        other._link.ask = lambda *commands: made.append("ask") or ask(*commands)  # type: ignore[method-assign,func-returns-value]
        other.update("a", "Still on")
        assert made == ["store"]
        other.get("a")
        assert made == ["store", "ask"]


def test_who_watches_sees_what_is_listed_again(server: Server, worker: RedisRegistry) -> None:
    """Under the new epoch: what goes on, and what has ended of late."""
    server.open(user_room("ada"))
    for task_id in "ab":
        worker.create(new(task_id))
    worker.complete("a", None)
    server.wait_until(lambda: {"processing b", "completed a"} <= set(server.told))
    lose_lists(worker)
    server.wait_until(lambda: server.epochs)
    known = server.told.index("epoch")
    server.wait_until(lambda: {"processing b", "completed a"} <= set(server.told[known:]))
    assert {task.epoch for task, _ in server.changes[-2:]} == {server.epoch}
    worker.update("b", "On")
    server.wait_until(lambda: server.shown("b") == "On")


@pytest.mark.parametrize("held", [True, False])
def test_a_task_that_is_listed_again_is_told_to_who_has_looked_in_between(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Its server follows it, and has it unless it has just begun anew; a viewer who read the lists in the meantime does
    not know of it."""
    server.open(user_room("ada"))
    task = worker.create(new())[0]
    server.wait_until(lambda: (task, True) in server.changes)
    worker._lists.unregister(task)
    if not held:
        ticked = threading.Event()
        monkeypatch.setattr(server.feed, "_tick", ticked.set)  # which would leave a channel whose task is not here
        assert ticked.wait(20)
        server.feed.mirror.reset(server.epoch)
    told = len(server.changes)
    worker._lists.restore([task])
    server.wait_until(lambda: len(server.changes) > told)
    server.wait_until(lambda: server.changes[-1] == (task, False))


def test_what_was_noted_of_leases_and_parents_is_noted_again(server: Server, worker: RedisRegistry) -> None:
    """A worker that is gone is missed, and a parent is seen to, though nobody speaks of them any more."""
    worker.create(new("leased"))
    worker.heartbeat("leased", 3600)
    worker.create(new("parent"))
    worker.create(new("part", parent_id="parent"))
    noted = (("ZRANGE", worker._keys.leases, 0, -1), ("ZRANGE", worker._keys.parents, 0, -1))
    before = worker._link.ask(*noted)
    assert [len(members) for members in before] == [1, 1]
    lose_lists(worker)
    wait_for(lambda: worker._link.ask(*noted) == before)
    wait_for(lambda: sorted(listed(worker)) == ["leased", "parent", "part"])  # on other nodes, so perhaps later


def test_who_finds_a_removed_task_in_a_list_takes_it_out_and_tells_its_viewers(
    server: Server, worker: RedisRegistry, other: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removed it was killed before it came to the lists: it is shown to nobody, and counted no more either."""
    monkeypatch.setattr(server._lists, "look_over", lambda: None)  # by which it would find it, too
    server.open(user_room("ada"))
    worker.create(new())
    ended = worker.complete("a", None)
    server.wait_until(lambda: ended in [told for told, _ in server.changes])
    # By its own channel, which is left some time after its end, they hear of it anyhow: not so here.
    wait_for(lambda: "task:a" not in server.feed._implied)  # type: ignore[attr-defined]
    wait_for(lambda: subscribers(worker, "task:a") == 0)
    monkeypatch.setattr(worker._lists, "drop", unavailable)
    removed = worker.remove("a")
    assert other.count() == (0, 1)
    assert listed(other) == []
    assert other.count() == (0, 0)
    server.wait_until(lambda: server.removed)
    assert [(gone.task_id, gone.user_id, gone.version) for gone in server.removed] == [("a", "ada", removed.version)]
    assert server.local.get("a") is None
    prefix = worker._keys.meta.partition("}")[0] + "}"
    with contextlib.closing(shared_cluster().owner(worker._keys.meta).client()) as client:
        left = {key.decode().removeprefix(prefix) for key in client.keys(prefix + "*")}
    assert left <= {":meta", ":gone:user:ada", ":sweeper", ":sweeps"}


def test_scripts_that_a_node_has_forgotten_are_told_to_it_again(worker: RedisRegistry) -> None:
    """Of several calls on one way to each node, too: each is made once, in its place."""
    ids = [f"t{number}" for number in range(9)]
    for task_id in ids:
        worker.create(new(task_id))
        worker.cancel(task_id)
    for node in shared_cluster().nodes[1:]:
        with contextlib.closing(node.client()) as client:
            client.script_flush()
    assert [gone.task_id for gone in worker.expire(worker._now() + 7200)] == ids
    assert worker.count() == (0, 0)


def subscribers(registry: RedisRegistry, room: str) -> int:
    channel = registry._keys.channel(room)
    with contextlib.closing(shared_cluster().owner(channel).client()) as client:
        return int(client.execute_command("PUBSUB SHARDNUMSUB", channel)[0][1])
