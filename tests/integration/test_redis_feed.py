"""What a server learns of the tasks in Redis that others change: news, catching up, outages, a lost memory."""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
import redis

from realtime.errors import RegistryUnavailable
from realtime.protocol import group_room, task_room, user_room
from realtime.registry.redis import RedisRegistry
from realtime.registry.redis import feed as feed_module
from realtime.task import NewTask, TaskFailure
from support.clusters import shared_cluster
from support.forks import in_child
from support.listening import Server, wait_for
from support.stores import StoreServer, shared_server

#: Seconds that the server has to answer, where a test stops it.
SHORT = 0.3


@pytest.fixture
def url() -> str:
    return f"{shared_server('redis').url}?prefix=rt-{secrets.token_hex(8)}"


def new(task_id: str = "a", user_id: str | None = "ada", **fields: Any) -> NewTask:
    return NewTask(task_id, user_id, **fields)


# News.


def test_a_server_learns_what_another_process_changes(server: Server, worker: RedisRegistry) -> None:
    """Each change in a watched room is announced once, with its creation said to be one, and the hub can read it."""
    server.open(user_room("ada"), task_room("a"), group_room("team"))
    made = [worker.create(new(groups=("team",)))[0], worker.update("a", "On"), worker.request_cancel("a")]
    made.append(worker.cancel("a"))
    server.wait_until(lambda: len(server.changes) >= len(made))
    assert server.changes == [(task, number == 0) for number, task in enumerate(made)]
    assert server.read == made
    removed = worker.remove("a")
    server.wait_until(lambda: server.removed)
    assert server.removed == [removed]
    assert server.local.get("a") is None


def test_its_own_changes_come_the_same_way(server: Server) -> None:
    """Once each, in the order in which they were made, output before the end that follows it."""
    server.open(user_room("ada"))
    server.create(new())
    server.append_output("a", "output", b"one ")
    server.append_output("a", "output", b"two")
    server.complete("a", None)
    server.remove("a")
    server.wait_until(lambda: server.removed)
    assert server.told[-5:] == ["processing a", "output a", "output a", "completed a", "removed a"]
    assert [start for _, _, start in server.written] == [0, 4]


def test_a_server_receives_nothing_that_nobody_watches(server: Server, worker: RedisRegistry) -> None:
    """Not of other users, of nobody, of other groups, nor of single tasks."""
    server.open(user_room("ada"))
    for number, (user_id, groups) in enumerate((("grace", ()), (None, ()), ("joan", ("team",)))):
        worker.create(new(f"t{number}", user_id, groups=groups))
        worker.complete(f"t{number}", None)
    worker.create(new("own"))
    server.wait_until(lambda: server.changes)
    assert server.feed.received == 1
    assert [task.task_id for task, _ in server.changes] == ["own"]


def test_a_room_is_left_when_nobody_has_watched_it_for_a_while(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is followed as long as one is there, and forgotten with all its tasks that no other room shows."""
    monkeypatch.setattr(feed_module, "_LINGER", 0.0)
    server.open(user_room("ada"), group_room("team"))
    server.watch(user_room("ada"))
    worker.create(new("own"))
    worker.create(new("shared", groups=("team",)))
    server.wait_until(lambda: len(server.changes) == 2)
    server.unwatch(user_room("ada"))
    worker.update("own", "Still")
    server.wait_until(lambda: len(server.changes) == 3)
    server.unwatch(user_room("ada"))
    channel = server._link.keys.channel(user_room("ada"))
    with contextlib.closing(shared_server("redis").client()) as client:
        wait_for(lambda: client.pubsub_numsub(channel)[0][1] == 0)
    worker.update("own", "Unseen")
    worker.update("shared", "Seen")
    server.wait_until(lambda: len(server.changes) == 4)
    assert server.shown("shared") == "Seen"
    assert server.feed.mirror.held("own") is None


# Before the news.


def test_what_was_there_before_a_room_is_watched_is_read(server: Server, worker: RedisRegistry) -> None:
    """The unfinished tasks of a user or a group, a single task even if it has ended, and what they have written."""
    worker.create(new("own"))
    worker.create(new("shared", "grace", groups=("team",)))
    worker.create(new("single", "grace"))
    worker.append_output("single", "output", b"text")
    worker.complete("single", None)
    worker.create(new("other", "grace"))
    server.open(user_room("ada"), group_room("team"), task_room("single"))
    assert {(task.task_id, created) for task, created in server.changes} == {
        ("own", False), ("shared", False), ("single", False),
    }  # fmt: skip
    assert server.text("single") == "text"


def test_what_the_hub_asks_for_and_is_not_there_follows(server: Server, worker: RedisRegistry) -> None:
    """An old task that has ended is read when the hub misses it, and announced."""
    worker.create(new("old"))
    ended = worker.complete("old", None)
    server.open(user_room("ada"))
    server.feed.mirror.reset(server.epoch)
    server.changes.clear()
    assert server.local.get("old") is None
    server.wait_until(lambda: server.changes)
    assert server.changes == [(ended, False)]


def test_what_the_hub_asks_for_so_early_that_news_may_be_on_their_way_follows_too(
    server: Server, worker: RedisRegistry
) -> None:
    """There were none: it has been told of already."""
    server.open(user_room("ada"))
    task = worker.create(new())[0]
    server.wait_until(lambda: server.changes)
    server.feed.mirror.reset(server.epoch)
    assert server.local.get("a") is None
    server.wait_until(lambda: len(server.changes) == 2)
    assert server.changes == [(task, True), (task, False)]


@pytest.mark.parametrize("sharded", [False, True])
def test_a_task_that_is_asked_for_before_its_news_are_read_is_new_all_the_same(
    opened: contextlib.ExitStack, url: str, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    """Whoever made it has told of it already; the hub misses it and asks, while the server looks at another room."""
    if sharded:
        url = f"{shared_cluster().url}?prefix=rt-{secrets.token_hex(8)}"
    server = opened.enter_context(contextlib.closing(Server(url, timeout=10.0)))
    worker = opened.enter_context(contextlib.closing(RedisRegistry(url, timeout=10.0)))
    server.open(user_room("ada"))
    busy, go_on, meet = threading.Event(), threading.Event(), server.feed._meet

    def hold_up(rooms: list[str], since: float) -> None:
        busy.set()
        assert go_on.wait(20)
        meet(rooms, since)

    monkeypatch.setattr(server.feed, "_meet", hold_up)
    server.watch(group_room("team"))
    assert busy.wait(20)
    task = worker.create(new())[0]
    assert server.local.get("a") is None
    go_on.set()
    server.wait_until(lambda: server.changes)
    last = worker.create(new("last"))[0]
    server.wait_until(lambda: (last, True) in server.changes)
    assert [change for change in server.changes if change[0] != last] == [(task, True)]


def test_who_comes_as_a_room_is_left_finds_it_followed(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just when its time is over: it is told that all is here, so nothing of it may go."""
    monkeypatch.setattr(feed_module, "_LINGER", 0.0)
    server.open(user_room("ada"))
    task = worker.create(new())[0]
    server.wait_until(lambda: server.changes)
    left = threading.Event()

    found: list[bool] = []

    def come(timeout: float) -> None:
        server.watch(user_room("ada"))
        found.append(server.feed.wait_for([user_room("ada")], timeout))

    late = threading.Thread(target=come, args=(600.0,), daemon=True)

    class Live(set[str]):
        """The rooms that are caught up with. One comes just before a room goes from here, and one just after."""

        def difference_update(self, *rooms: Iterable[object]) -> None:
            over = user_room("ada") in rooms[0] and not left.is_set()
            if over:
                come(0.0)
            super().difference_update(*rooms)
            if over:
                late.start()
                wait_for(lambda: server.feed._waiting)
                left.set()

    gone: list[str] = []
    monkeypatch.setattr(server.feed.mirror, "leave", gone.append)
    server.feed.live = Live(server.feed.live)
    server.unwatch(user_room("ada"))
    assert left.wait(40)
    late.join(20)
    assert found == [True, True]
    assert gone == []
    assert server.local.get("a") == task


# Gaps.


class Gap:
    """While it lasts, the server does not hear anything of the store."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = server._link.connection

    def __enter__(self) -> None:

        def refuse(server: str) -> Any:
            raise redis.exceptions.ConnectionError("cut off")

        self._server._link.connection = refuse  # type: ignore[method-assign]
        with contextlib.closing(shared_server("redis").client()) as client:
            client.client_kill_filter(_type="pubsub")
        self._server.wait_until(lambda: not self._server.feed.reachable)

    def __exit__(self, *_: object) -> None:
        self._server._link.connection = self._connection  # type: ignore[method-assign]
        self._server.wait_until(lambda: self._server.feed.reachable)


def test_to_listen_anew_uses_nothing_up(opened: contextlib.ExitStack, url: str, worker: RedisRegistry) -> None:
    """A connection that has ended is not counted, however often that happens; nor does one of those for calls go."""
    server = opened.enter_context(contextlib.closing(Server(f"{url}&max_connections=3", timeout=10.0)))
    server.open(user_room("ada"))
    for number in range(4):
        with Gap(server):
            worker.create(new(f"{number}"))
    server.create(new("own"))
    server.wait_until(lambda: len(server.changes) == 5)


def test_who_follows_no_room_hears_that_the_store_is_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first viewer and after the last one each answer counts: the store is not taken to be away."""
    monkeypatch.setattr(feed_module, "_LINGER", 0.0)
    wait_for(lambda: server.feed._whole)
    server.open(user_room("ada"))
    server.unwatch(user_room("ada"))
    wait_for(lambda: not server.feed.mirror.rooms)
    for _ in range(2):
        whole = server.feed._whole
        wait_for(lambda whole=whole: server.feed._whole > whole)  # type: ignore[misc]
    assert server.reaches == []


class Slow(Server):
    """Its sweeps do not end before they may, and one is broken."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.may_end = threading.Event()
        self.sweeps = 0
        super().__init__(url, **settings)

    def _sweep(self) -> None:
        self.sweeps += 1
        if not self.may_end.wait(60):
            raise AssertionError
        if self.sweeps == 2:
            raise ValueError("broken")


def test_no_news_wait_for_a_sweep(
    opened: contextlib.ExitStack, url: str, worker: RedisRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it takes, as it does when many workers have died at once; nor does it matter if one fails."""
    server = opened.enter_context(contextlib.closing(Slow(url, timeout=10.0)))
    server.open(user_room("ada"))
    wait_for(lambda: server.sweeps == 1)
    worker.create(new())
    server.wait_until(lambda: server.changes)
    assert not server.may_end.is_set()
    server.may_end.set()
    wait_for(lambda: server.sweeps >= 3)
    assert server.reaches == []
    assert [record.message for record in caplog.records] == ["Sweeping the task store failed; it is done again."]


def test_a_gap_is_made_up_for(server: Server, worker: RedisRegistry) -> None:
    """What changed, ended, came, came and ended, and left while nothing was heard, is announced once it is heard
    again, and said to be new if it is; what did not change is not."""
    server.open(user_room("ada"), task_room("single"))
    for task_id in ("same", "moved", "ended", "left"):
        worker.create(new(task_id))
    worker.create(new("single", "grace"))
    worker.create(new("old"))
    worker.complete("old", None)
    server.wait_until(lambda: len(server.changes) == 7)
    server.changes.clear()
    with Gap(server):
        worker.update("moved", "On")
        worker.complete("ended", None)
        worker.create(new("came"))
        worker.create(new("brief"))
        worker.fail("brief", TaskFailure(None, "no", "failed"))
        worker.cancel("left")
        left = worker.remove("left")
        old = worker.remove("old")
        worker.update("single", "On")
    assert {f"{task.status} {task.task_id}" for task, _ in server.changes} == {
        "processing moved", "completed ended", "processing came", "failed brief", "processing single",
    }  # fmt: skip
    assert len(server.changes) == 5
    assert {task.task_id for task, created in server.changes if created} == {"came", "brief"}
    assert {(gone.task_id, gone.version) for gone in server.removed} == {
        (gone.task_id, gone.version) for gone in (left, old)
    }


def test_what_came_in_a_gap_is_new_though_the_clock_is_in_doubt(server: Server, worker: RedisRegistry) -> None:
    """The answer that tells the store's time took ten seconds, all of them before the store had the question: taken
    for half of it, the store would be five seconds ahead, and what comes next would have been there before."""
    link = server._link
    ask = link._ask

    def late(runs: str, sure: bool, over: str = "") -> tuple[list[Any], float]:
        answer, asked = ask(runs, sure, over)
        return answer, asked - 10.0

    link._ask = late  # type: ignore[method-assign]
    link.look()
    server.open(user_room("ada"))
    with Gap(server):
        worker.create(new())
    assert [(task.task_id, created) for task, created in server.changes] == [("a", True)]


def test_a_gap_that_is_too_long_is_not_made_up_for_alone(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was removed is not known for ever: those who look must begin anew."""
    worker.create(new("a"))
    server.open(user_room("ada"))
    with Gap(server):
        pass
    assert server.epochs == []
    monkeypatch.setattr(feed_module, "LONGEST_GAP", -1.0)
    with Gap(server):
        worker.update("a", "On")
    assert server.epochs == [""]
    assert server.shown("a") == "On"


def test_a_removal_is_made_up_for_though_the_task_was_not_held(server: Server, worker: RedisRegistry) -> None:
    """A page may show an old task that the server does not hold any more: it learns of its removal all the same."""
    worker.create(new("old", groups=("team", "house")))
    worker.complete("old", None)
    server.open(user_room("ada"), group_room("team"))
    server.feed.mirror.reset(server.epoch)
    with Gap(server):
        removed = worker.remove("old")
    (gone,) = server.removed
    assert (gone.task_id, gone.user_id, gone.groups, gone.version) == ("old", "ada", ("team",), removed.version)


def test_output_of_a_gap_follows_in_its_place(server: Server, worker: RedisRegistry) -> None:
    """It is announced from where the news broke off, nothing is missing, and nothing is there twice."""
    server.open(user_room("ada"))
    worker.create(new())
    worker.append_output("a", "output", b"one ")
    server.wait_until(lambda: server.written)
    with Gap(server):
        worker.append_output("a", "output", b"two ")
    worker.append_output("a", "output", b"three")
    server.wait_until(lambda: len(server.written) >= 3)
    assert server.text("a") == "one two three"
    assert [start for _, _, start in server.written] == [0, 4, 8]


def test_output_of_a_gap_comes_before_the_end_of_its_task(server: Server, worker: RedisRegistry) -> None:
    """A viewer takes nothing in of what has ended."""
    server.open(user_room("ada"))
    worker.create(new())
    worker.append_output("a", "output", b"one ")
    server.wait_until(lambda: server.written)
    with Gap(server):
        worker.append_output("a", "output", b"two")
        worker.complete("a", None)
    server.wait_until(lambda: "completed a" in server.told and len(server.written) == 2)
    assert [text for text in server.told if text.endswith(" a")][-2:] == ["output a", "completed a"]
    assert server.text("a") == "one two"


def test_output_that_begins_in_the_middle_is_read_whole(server: Server, worker: RedisRegistry) -> None:
    """News of a stream that is not here bring what is kept of it; what was written before is not announced."""
    worker.create(new())
    worker.append_output("a", "output", b"before ")
    server.open(user_room("ada"))
    worker.append_output("a", "output", b"after")
    server.wait_until(lambda: server.written)
    assert server.written == [("a", "output", 7)]
    assert server.text("a") == "before after"


# Removal.


def test_the_end_that_a_viewer_is_owed_outlives_a_removal_elsewhere(server: Server, worker: RedisRegistry) -> None:
    """The hub reads it as long as it is pinned, and learns of the removal then."""
    owed = {"a"}
    server.pinned = lambda task_id: task_id in owed
    server.open(user_room("ada"))
    worker.create(new())
    ended = worker.complete("a", None)
    worker.remove("a")
    worker.create(new("next"))
    server.wait_until(lambda: server.local.get("next"))
    assert server.local.get("a") == ended
    assert server.removed == []
    owed.clear()
    server.wait_until(lambda: server.removed)
    assert server.local.get("a") is None


def test_a_removal_that_is_held_back_is_told_before_the_next_task_of_that_id(
    server: Server, worker: RedisRegistry
) -> None:
    """Though a viewer is still owed the former one's end: told later, it would take the new one from the page."""
    server.pinned = lambda task_id: True
    server.open(user_room("ada"))
    worker.create(new())
    worker.complete("a", None)
    removed = worker.remove("a")
    again, _ = worker.create(new())
    server.wait_until(lambda: len(server.changes) == 3)
    assert server.told == ["processing a", "completed a", "removed a", "processing a"]
    assert server.removed == [removed]
    assert server.local.get("a") == again


# Forks.


@pytest.mark.filterwarnings("ignore:.*is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_begins_anew(server: Server, worker: RedisRegistry) -> None:
    """Of what its parent follows it hears nothing, and shows nothing: nobody would tell it when that changes."""
    server.open(user_room("ada"))
    worker.create(new())
    server.wait_until(lambda: server.changes)

    def begin() -> None:
        assert not server.feed.running
        server.serve()
        server.open(user_room("grace"))
        assert server.feed.mirror.held("a") is None
        assert set(server.feed.mirror.rooms) == {user_room("grace")}
        server.create(new("hers", "grace"))
        server.wait_until(lambda: "processing hers" in server.told)
        assert server.feed.received == 1

    assert in_child(begin) == 0
    worker.update("a", "On")
    server.wait_until(lambda: server.shown("a") == "On")


# Outages, and a lost memory.


def test_a_store_that_is_away_from_the_start_is_told_of(opened: contextlib.ExitStack, store: StoreServer) -> None:
    """Once, and again when it is there; what happened before it was reached follows."""
    worker = opened.enter_context(contextlib.closing(RedisRegistry(store.url, timeout=10.0)))
    worker.create(new())
    store.send_signal(signal.SIGSTOP)
    try:
        server = opened.enter_context(contextlib.closing(Server(store.url, timeout=SHORT)))
        server.watch(user_room("ada"))
        server.wait_until(lambda: server.reaches == [False])
    finally:
        store.send_signal(signal.SIGCONT)
    server.wait_until(lambda: server.shown("a"))
    server.wait_until(lambda: server.reaches[:2] == [False, True])  # on a slow machine it may be away again


def test_a_store_that_does_not_answer_is_unavailable_in_time(opened: contextlib.ExitStack, store: StoreServer) -> None:
    """Reads and writes raise within the time limit; the hub goes on reading at once; what was missed follows."""
    server = opened.enter_context(contextlib.closing(Server(store.url, timeout=SHORT)))
    worker = opened.enter_context(contextlib.closing(RedisRegistry(store.url, timeout=10.0)))
    hasty = opened.enter_context(contextlib.closing(RedisRegistry(store.url, timeout=SHORT)))
    server.open(user_room("ada"))
    worker.create(new())
    server.wait_until(lambda: server.changes)
    with contextlib.suppress(RegistryUnavailable):  # it is connected, unless the machine is too slow for it
        hasty.get("a")
    store.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        for call in (
            lambda: hasty.update("a", "On"),
            lambda: hasty.get("a"),
            lambda: hasty.create(new("b")),
            lambda: hasty.list(user_id="ada", groups=(), limit=5),
            lambda: hasty.append_output("a", "output", b"x"),
        ):
            with pytest.raises(RegistryUnavailable):
                call()
        assert time.monotonic() - began < 60 * SHORT
        server.wait_until(lambda: server.reaches[-1:] == [False])
        assert server.shown("a") == "Starting..."
    finally:
        store.send_signal(signal.SIGCONT)
    server.wait_until(lambda: server.reaches[-1:] == [True])
    assert server.epochs == []
    version = worker.update("a", "Back").version
    server.wait_until(lambda: server.changes[-1][0].version == version)


def test_a_store_that_was_started_anew_has_another_epoch(opened: contextlib.ExitStack, store: StoreServer) -> None:
    """Whoever notices first begins it; all agree; nothing of before is shown; versions go on above."""
    server = opened.enter_context(contextlib.closing(Server(store.url, timeout=5.0)))
    worker = opened.enter_context(contextlib.closing(RedisRegistry(store.url, timeout=5.0)))
    server.open(user_room("ada"))
    before = worker.create(new())[0]
    server.wait_until(lambda: server.changes)
    store.kill()
    with pytest.raises(RegistryUnavailable):
        worker.update("a", "On")
    server.wait_until(lambda: server.reaches[-1:] == [False])
    store.start()
    after = worker.create(new())[0]
    server.wait_until(lambda: server.epochs and server.reaches[-1])
    server.wait_until(lambda: server.changes[-1][0] == after)
    assert server.epochs == [after.epoch] == [worker.epoch] == [server.epoch] == [server.local.epoch]
    assert after.epoch != before.epoch
    assert after.version > before.version


def test_a_store_that_has_lost_its_last_writes_has_another_epoch(
    opened: contextlib.ExitStack, store: StoreServer
) -> None:
    """What it kept goes on under the new epoch, from what is stored: what was lost is not brought back by whoever still
    knows it, though its version was given again."""
    server = opened.enter_context(contextlib.closing(Server(store.url, timeout=5.0)))
    worker = opened.enter_context(contextlib.closing(RedisRegistry(store.url, timeout=5.0)))
    other = opened.enter_context(contextlib.closing(RedisRegistry(store.url, timeout=5.0)))
    server.open(user_room("ada"))
    worker.create(new())
    kept = worker.update("a", "Kept", current=1)
    store.save()
    lost = worker.update("a", "Lost", current=100)
    server.wait_until(lambda: server.shown("a") == "Lost")
    store.kill()
    server.wait_until(lambda: server.reaches[-1:] == [False])
    store.start()
    again = other.update("a", "Again")
    assert (again.version, again.current) == (lost.version, 1)
    server.wait_until(lambda: server.shown("a") == "Again")
    task = worker.update("a", advance=1)
    assert (task.message, task.current) == ("Again", 2)
    assert server.epochs == [again.epoch] == [task.epoch] != [kept.epoch]


def test_what_a_dead_server_said_of_itself_begins_no_epoch(server: Server, worker: RedisRegistry) -> None:
    """A thread may read it late, when others have met the one that came after: each look would begin another epoch."""
    epoch = worker.epoch
    server._link._run = "a" * 40
    assert server._link.look() == epoch == worker._link.look()
    assert server._link._run == worker._link._run


def test_a_flushed_store_has_another_epoch(opened: contextlib.ExitStack, store: StoreServer) -> None:
    """The server is the same, its memory is not: it is noticed without anybody writing."""
    server = opened.enter_context(contextlib.closing(Server(store.url, timeout=5.0)))
    server.open(user_room("ada"))
    server.create(new())
    server.wait_until(lambda: server.changes)
    epoch = server.epoch
    with contextlib.closing(store.client()) as client:
        client.flushall()
    server.wait_until(lambda: server.epochs)
    assert server.epochs == [server.epoch] != [epoch]
    assert server.local.get("a") is None
