"""What is particular about tasks in Redis: addresses, lost answers, lists that lag, records of other releases."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from realtime.auth import Grant
from realtime.concurrency import ThreadingConcurrency
from realtime.config import Config
from realtime.errors import ConfigError, LeaseHeld, RegistryUnavailable, TaskNotFound
from realtime.hub import Hub
from realtime.operations import Operations
from realtime.protocol import ConnectAuth
from realtime.registry import open_registry
from realtime.registry import transitions as moves
from realtime.registry.conditional import When
from realtime.registry.redis import RedisRegistry
from realtime.registry.redis.cluster import open_link
from realtime.registry.redis.codec import FORMAT, decode, encode
from realtime.registry.redis.lists import Shelf
from realtime.task import FAILED, NewTask, TaskFailure
from realtime.transport.commands import Commands
from realtime.viewer import Viewer
from support.clock import Clock
from support.registries import Told
from support.stores import shared_server


@pytest.fixture
def url() -> str:
    return f"{shared_server('redis').url}?prefix=rt-{secrets.token_hex(8)}"


@pytest.fixture
def registry(url: str) -> Iterator[RedisRegistry]:
    with contextlib.closing(RedisRegistry(url, timeout=10.0)) as registry:
        yield registry


@pytest.fixture
def other(url: str) -> Iterator[RedisRegistry]:
    """The same tasks, seen by another process."""
    with contextlib.closing(RedisRegistry(url, timeout=10.0)) as registry:
        yield registry


# Addresses.


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        ("redis://h:7/3", redis.Connection, {"host": "h", "port": 7, "db": 3}),
        ("valkey://u:p@h", redis.Connection, {"host": "h", "username": "u", "password": "p"}),
        ("rediss://h", redis.SSLConnection, {"host": "h"}),
        ("valkeys://h", redis.SSLConnection, {"host": "h"}),
        ("unix:///run/s?db=2", redis.UnixDomainSocketConnection, {"path": "/run/s", "db": 2}),
        ("unix:///run/s?prefix=app&db=2", redis.UnixDomainSocketConnection, {"path": "/run/s", "db": 2}),
    ],
)
def test_an_address_says_how_to_connect(url: str, kind: type, expected: dict[str, Any]) -> None:
    """Every form leads to the connection that it names, with the time limit; nothing is opened."""
    pool = open_link(url, 0.5).client.connection_pool
    assert pool.connection_class is kind
    assert expected.items() <= pool.connection_kwargs.items()
    assert pool.connection_kwargs["socket_timeout"] == pool.connection_kwargs["socket_connect_timeout"] == 0.5


def test_an_address_says_how_long_to_wait() -> None:
    """For an answer, for a connection, and for a sign of life."""
    link = open_link("redis://h/1?timeout=0.25&prefix=app", 9.0)
    given = link.client.connection_pool.connection_kwargs
    assert (link.timeout, given["socket_timeout"], given["socket_connect_timeout"], given["db"]) == (
        0.25,
        0.25,
        0.25,
        1,
    )


@pytest.mark.parametrize("scheme", ["redis+sentinel", "valkey+sentinel"])
def test_an_address_of_sentinels_names_a_service(scheme: str) -> None:
    """Several sentinels, the service, the database, and the login of the service."""
    pool = open_link(f"{scheme}://u:p%40@one:1,two/main/4", 0.5).client.connection_pool
    sentinels = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"], one["socket_timeout"]) for one in sentinels] == [
        ("one", 1, 0.5),
        ("two", 26379, 0.5),
    ]
    assert pool.service_name == "main"
    assert {"db": 4, "username": "u", "password": "p@"}.items() <= pool.connection_kwargs.items()


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster"])
def test_an_address_of_a_cluster_opens_nothing(scheme: str) -> None:
    """It names some nodes; who else there is, is found out by the first call."""
    link = open_link(f"{scheme}://u:p%40@127.0.0.1:1,127.0.0.2?prefix=app", 0.5)
    assert (link.sharded, link.timeout, link.keys.meta) == (True, 0.5, "{app}:meta")
    with pytest.raises(RegistryUnavailable):
        link.look()


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://u:secret@",
        "redis+cluster://u:secret@h,",
        "redis+cluster://u:secret@h:port",
        "redis+cluster://u:secret@h/1",
        "redis+cluster://u:secret@h?db=1",
        "redis://u:secret@h:port/0",
        "redis+sentinel://u:secret@",
        "redis+sentinel://u:secret@h",
        "redis://u:secret@h?prefix=",
        "redis://u:secret@h?prefix={a}",
        "redis://u:secret@h?db=first",
        "redis://u:secret@h?timeout=soon",
        "redis://u:secret@h?timeout=0",
        "redis://u:secret@h?timeout=61",
        "redis://u:secret@h?timeout=nan",
        "redis://u:secret@h?unheard=of",
        "rediss://u:secret@h?ssl_cert_reqs=secret",
        "redis+sentinel://u:secret@h/service?unheard=of",
        "redis+cluster://u:secret@h?unheard=of",
        "nowhere://u:secret@h",
        "u:secret@h:6379",
        "redis:u:secret@h",
        "redis://u:secret@[h",
        "redis://u:secret\uff1f@h",
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url: str) -> None:
    """The error names the setting and shows nothing of the login."""
    with pytest.raises(ConfigError, match="REALTIME_REGISTRY") as caught:
        open_registry(Config(registry=url))
    assert "secret" not in str(caught.value)


def test_the_setting_opens_it(url: str) -> None:
    """With the bounds of the settings; nothing is opened before the first use."""
    registry = open_registry(Config(registry=url, max_tasks_per_user=1))
    with contextlib.closing(registry):
        assert isinstance(registry, RedisRegistry)
        for task_id in "ab":
            registry.create(NewTask(task_id, "ada"))
            registry.cancel(task_id)
        assert [task.task_id for task in registry.list(user_id="ada", groups=(), limit=5)[0]] == ["b"]


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """Every call says so, and the epoch too."""
    registry = RedisRegistry(f"unix://{tmp_path}/nothing", timeout=0.5)
    calls: list[Callable[[], object]] = [
        lambda: registry.epoch,
        lambda: registry.get("a"),
        lambda: registry.create(NewTask("a", "ada")),
        lambda: registry.update("a", "On"),
        lambda: registry.expire(),
        lambda: registry.unfinished(),
    ]
    for call in calls:
        with pytest.raises(RegistryUnavailable):
            call()


def test_apps_and_databases_are_kept_apart(url: str) -> None:
    """Another prefix, and another database, is another store, with an epoch of its own."""
    urls = [url, f"{url}x", f"{url}&db=1"]
    registries = [RedisRegistry(one, timeout=10.0) for one in urls]
    try:
        for registry in registries:
            registry.create(NewTask("a", "ada"))
        assert len({registry.epoch for registry in registries}) == 3
        assert len({registry._link.keys.channel("user:ada") for registry in registries}) == 3
    finally:
        for registry in registries:
            registry.close()


# Answers that are lost.


class LosesAnswers:
    """A script whose answer does not arrive the first times, though the store has done what it says."""

    def __init__(self, script: Any, times: int) -> None:
        self._script = script
        self._times = times
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        answer = self._script(*args, **kwargs)
        if self.calls <= self._times:
            raise redis.exceptions.ConnectionError("cut off")
        return answer


@pytest.fixture
def lose(registry: RedisRegistry) -> Callable[..., LosesAnswers]:
    """Have the next answer of a script be lost, or the next ``times``."""

    def lose_one(name: str, times: int = 1) -> LosesAnswers:
        loses = LosesAnswers(registry._link.scripts[name], times)
        registry._link.scripts[name] = loses
        return loses

    return lose_one


def test_a_change_whose_answer_was_lost_is_made_once(
    registry: RedisRegistry, lose: Callable[[str], LosesAnswers]
) -> None:
    """An advance counts once, a creation is one, output is not doubled, and all is told once, as it is stored."""
    told = Told(registry)
    script = lose("create")
    created, is_new = registry.create(NewTask("a", "ada"))
    assert (is_new, script.calls) == (True, 2)
    script = lose("store")
    task = registry.update("a", advance=1)
    assert (task.current, task.version, script.calls) == (1, created.version + 1, 2)
    script = lose("append")
    assert registry.append_output("a", "output", b"text") == 4
    assert script.calls == 2
    lose("store")
    ended = registry.complete("a", b"1")
    assert registry.get("a") == ended
    assert told.changes == [(created, True), (task, False), (ended, False)]
    assert registry.output_ends("a") == {"output": 4}


def test_a_change_that_is_made_anew_is_answered_as_it_is_stored(
    registry: RedisRegistry, lose: Callable[..., LosesAnswers]
) -> None:
    """Whoever heard nothing, of the second try of the call either, makes it again later: what was stored then counts,
    its times and its place in the lists too."""
    nonces = iter((b"nonce--1", b"nonce--2", b"nonce--3"))

    def until_answered(script: str, change: Callable[[], Any]) -> Any:
        nonce = next(nonces)
        lose(script, 2)
        with pytest.raises(RegistryUnavailable), registry.nonces.once(nonce):
            change()
        with registry.nonces.once(nonce):
            return change()

    created, is_new = until_answered("create", lambda: registry.create(NewTask("a", "ada")))
    assert is_new
    assert registry.get("a") == created
    assert registry._link.ask(("ZCARD", registry._keys.live)) == [1]
    updated = until_answered("store", lambda: registry.update("a", advance=1))
    assert registry.get("a") == updated
    ended = until_answered("store", lambda: registry.complete("a", b"1"))
    assert registry.get("a") == ended
    assert (updated.current, ended.version) == (1, created.version + 2)


def test_a_removal_whose_answer_was_lost_is_made_once(registry: RedisRegistry) -> None:
    """It is told, not taken for one that somebody else made."""
    told = Told(registry)
    registry.create(NewTask("a", "ada"))
    registry.cancel("a")
    run_all = registry._link.run_all
    made: list[str] = []

    def twice(name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        made.append(name)
        run_all(name, calls)
        return run_all(name, calls)

    registry._link.run_all = twice  # type: ignore[method-assign]
    assert registry.remove("a") in told.removed
    assert made[:1] == ["remove"]
    with pytest.raises(TaskNotFound):
        registry.remove("a")


# Several processes.


def test_a_change_stands_on_what_others_have_stored(registry: RedisRegistry, other: RedisRegistry) -> None:
    """What this process last knew is out of date: the change is made anew, and nothing of another's is lost."""
    registry.create(NewTask("a", "ada", total=10))
    other.update("a", "Theirs", current=5)
    other.request_cancel("a")
    task = registry.update("a", advance=1)
    assert (task.message, task.current, task.cancel_requested is not None) == ("Theirs", 6, True)
    other.append_output("a", "output", b"text")
    assert registry.update("a", "On").output_size == 4


def test_what_is_out_of_date_says_nothing(registry: RedisRegistry, other: RedisRegistry) -> None:
    """A task that another process has removed and made anew is the new one, whatever was known of the old one."""
    registry.create(NewTask("a", "ada"))
    other.complete("a", None)
    other.remove("a")
    with pytest.raises(TaskNotFound):
        registry.update("a", "On")
    registry.create(NewTask("a", "ada"))
    registry.start("a")
    other.complete("a", None)
    other.remove("a")
    with pytest.raises(TaskNotFound):
        registry.start("a")  # which was nothing to do, as far as was known


def test_a_condition_that_an_old_record_does_not_meet_may_be_met(registry: RedisRegistry, other: RedisRegistry) -> None:
    """What this process last knew is no ground for a refusal: another has taken the task over since."""
    registry.create(NewTask("t", "ada"))
    registry.heartbeat("t", 30.0, "one")
    other.heartbeat("t", 30.0, "two", takeover=True)
    assert When(registry, holder="two").update("t", "Reading").message == "Reading"
    with pytest.raises(LeaseHeld):
        When(registry, holder="one").update("t", "Late")


def test_many_processes_lose_no_advance(url: str) -> None:
    """Registries that know nothing of each other come to the right sum, with a version for each step."""
    registries = [RedisRegistry(url, timeout=20.0) for _ in range(4)]
    told = [Told(registry) for registry in registries]
    registries[0].create(NewTask("a", "ada"))

    def work(registry: RedisRegistry) -> None:
        for _ in range(50):
            registry.update("a", advance=1)

    threads = [threading.Thread(target=work, args=(registry,)) for registry in registries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    task = registries[0].get("a")
    assert task is not None
    assert task.current == 200
    versions = [change.version for one in told for change, _ in one.changes]
    assert sorted(versions) == list(range(task.version - 200, task.version + 1))
    for registry in registries:
        registry.close()


def test_scripts_that_the_server_has_forgotten_are_told_to_it_again(registry: RedisRegistry) -> None:
    """Of several calls on one way, too: each is made once, in its place."""
    for task_id in "abc":
        registry.create(NewTask(task_id, "ada"))
        registry.cancel(task_id)
    with contextlib.closing(shared_server("redis").client()) as client:
        client.script_flush()
    removed = registry.expire(registry._now() + 7200)
    assert [gone.task_id for gone in removed] == ["a", "b", "c"]
    assert registry.count() == (0, 0)


# Lists that lag.


def unavailable(*_: object) -> Any:
    raise RegistryUnavailable("cut off")


def test_an_end_that_was_not_settled_is_settled_by_the_next_reader(
    registry: RedisRegistry, other: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end itself is made; whoever reads the list of unfinished tasks moves it to the finished ones."""
    registry.create(NewTask("a", "ada"))
    monkeypatch.setattr(registry._lists, "settle", unavailable)
    ended = registry.complete("a", None)
    assert ended.finished
    assert other.list(user_id="ada", groups=(), limit=5, finished=True)[0] == []
    assert other.list(user_id="ada", groups=(), limit=5, finished=False)[0] == []
    assert other.list(user_id="ada", groups=(), limit=5, finished=True)[0] == [ended]
    assert other.unfinished() == []
    assert other.expire(other._now() + 7200)[0].task_id == "a"


def test_what_was_listed_and_never_created_is_taken_out(url: str, clock: Clock) -> None:
    """Not at once, since it may be about to be: a minute later."""
    registry = RedisRegistry(url, timeout=10.0, clock=clock)
    with contextlib.closing(registry):
        registry._lists.register(NewTask("dead", "ada"), int(clock() * 1e6))
        registry.create(NewTask("a", "ada"))
        key = registry._keys.unfinished("user:ada")
        for seconds, size in ((0.0, 2), (59.0, 2), (2.0, 1)):
            clock.go(seconds)
            tasks, following = registry.list(user_id="ada", groups=(), limit=1)
            assert ([task.task_id for task in tasks], following) == (["a"], None)
            assert registry._link.ask(("ZCARD", key)) == [size]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_removal_that_was_not_noted_is_put_right(
    registry: RedisRegistry, other: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are as if it had been, and ids that came back are not shown twice."""
    registry.create(NewTask("a", "ada"))
    registry.complete("a", None)
    monkeypatch.setattr(registry._lists, "drop", unavailable)
    registry.remove("a")
    task = other.create(NewTask("a", "ada"))[0]
    assert other.list(user_id="ada", groups=(), limit=5) == ([task], None)
    assert other.count() == (1, 0)
    assert other.expire(other._now() + 7200) == []


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("reader", ["owner", "member", "sweep", "bound"])
def test_a_removed_task_is_counted_no_more_once_a_list_was_read(
    registry: RedisRegistry, other: RedisRegistry, monkeypatch: pytest.MonkeyPatch, reader: str, settled: bool
) -> None:
    """Whoever removed it was killed before it came to the lists: nothing of it stays there in the end."""
    registry.create(NewTask("a", "ada", ("team",)))
    if not settled:  # killed at its end, too: long ago, so that it is not about to be created
        monkeypatch.setattr(registry._lists, "settle", unavailable)
        monkeypatch.setattr("realtime.registry.redis.lists._CREATION", 0)
    registry.complete("a", None)
    monkeypatch.setattr(registry._lists, "drop", unavailable)
    registry.remove("a")
    assert other.count() == ((0, 1) if settled else (1, 0))
    if reader == "sweep":
        other.unfinished()
        other.expire(other._now() + 7200)
    elif reader == "bound":
        other.unfinished()
        other._thin_out(Shelf(other._keys.ends("ada"), 0))
    else:
        rooms: dict[str, Any] = {"user_id": "ada", "groups": ()} if reader == "owner" else {
            "user_id": None, "groups": ("team",),
        }  # fmt: skip
        assert other.list(**rooms, limit=5) == ([], None)
    assert other.count() == (0, 0)
    for user_id, groups in ("ada", ()), (None, ("team",)):
        assert other.list(user_id=user_id, groups=groups, limit=5) == ([], None)
    keys = other._keys
    assert other._link.ask(("ZCARD", keys.ends("ada")), ("HLEN", keys.over)) == [0, 0]
    for room in "user:ada", "group:team":
        assert other._link.ask(("ZCARD", keys.unfinished(room)), ("ZCARD", keys.finished(room))) == [0, 0]


def test_who_sweeps_puts_right_what_nobody_reads(registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part at a time, from the beginning again when it has come to the end: what was listed and never created, and
    what was removed and never unlisted, is counted no more."""
    monkeypatch.setattr("realtime.registry.redis.lists._CREATION", 0)
    monkeypatch.setattr("realtime.registry.redis.lists._LOOK_OVER", 0.0)
    monkeypatch.setattr("realtime.registry.redis.lists._BATCH", 2)
    drop = registry._lists.drop
    for life in range(2):
        for number in range(5):
            registry._lists.register(NewTask(f"never{number}", "ada"), None)
            registry.create(NewTask(f"left{number}", "ada"))
            registry.cancel(f"left{number}")
            monkeypatch.setattr(registry._lists, "drop", unavailable)
            registry.remove(f"left{number}")
            monkeypatch.setattr(registry._lists, "drop", drop)
        there = registry.create(NewTask(f"there{life}", "ada"))[0]
        ended = registry.create(NewTask(f"ended{life}", "ada"))[0]
        registry.cancel(ended.task_id)
        assert registry.count() == (5 + 1 + life, 5 + 1 + life)
        for _ in range(8):
            registry.sweep()
        assert registry.count() == (1 + life, 1 + life)
        assert registry.get(there.task_id) == there


def test_a_task_in_both_lists_is_taken_out_of_that_of_unfinished_ones(registry: RedisRegistry) -> None:
    """Lists that were lost were made up for just when it ended."""
    task = registry.create(NewTask("a", "ada"))[0]
    ended = registry.complete("a", None)
    member = f"{task.info.order} a"
    for key in registry._keys.live, registry._keys.unfinished("user:ada"):
        registry._link.ask(("ZADD", key, task.info.order, member))
    assert registry.count() == (1, 1)
    assert registry.list(user_id="ada", groups=(), limit=5)[0] == [ended]
    assert registry.count() == (0, 1)
    assert registry.unfinished() == []


def test_a_task_is_listed_though_the_store_was_flushed_while_it_was_made(
    registry: RedisRegistry, other: RedisRegistry, url: str
) -> None:
    """Between its listing and its creation, which is then alone in another epoch; it goes on, and ends in its place."""
    script, former = registry._link.scripts["create"], registry.epoch

    def flushed(*args: Any, **kwargs: Any) -> Any:
        with contextlib.closing(shared_server("redis").client()) as client:
            client.delete(*client.keys(f"*{url.rpartition('=')[2]}*"))
        return script(*args, **kwargs)

    registry._link.scripts["create"] = flushed
    registry.create(NewTask("a", "ada", ("team",)))
    for user_id, groups in ("ada", ()), (None, ("team",)):
        (found,) = other.list(user_id=user_id, groups=groups, limit=5)[0]
        assert (found.task_id, found.epoch != former) == ("a", True)
    assert (other.count(), [task.task_id for task in other.unfinished()]) == ((1, 0), ["a"])
    registry.complete("a", None)
    assert (other.count(), other.unfinished()) == ((0, 1), [])


def test_an_ended_task_is_kept_by_the_server_for_its_time_only(registry: RedisRegistry) -> None:
    """With all that belongs to it, an hour beyond its retention; before its end for ever."""
    registry.create(NewTask("a", "ada"))
    registry.append_output("a", "output", b"text")
    keys = [registry._keys.task("a"), registry._keys.output("a"), registry._keys.stream("a", "output")]
    assert registry._link.ask(*(("TTL", key) for key in keys)) == [-1, -1, -1]
    registry.complete("a", None)
    for left in registry._link.ask(*(("TTL", key) for key in keys)):
        assert 7100 <= left <= 7200
    registry.remove("a")
    (left,) = registry._link.ask(("TTL", keys[0]))
    assert 86_300 <= left <= 86_400
    assert registry._link.ask(*(("EXISTS", key) for key in keys)) == [1, 0, 0]


# Records.


def test_a_record_is_the_same_when_it_is_read() -> None:
    """All that a task is goes through bytes unchanged, its JSON too."""
    new = NewTask(
        "a", "ada", ("team",), "Näme", total=7.5, unit="rows", metadata=b'{"k":1}', cancellable=True, attempt=2,
        retry_of="z", parent_id="p",
    )  # fmt: skip
    task = moves.created(new, epoch="e", now=100.25, version=7, order=3)
    for step in range(5):
        task = moves.updated(task, 101.0 + step, "Réading", current=step, metadata=b'{"k":2}')
    task = moves.stalled(moves.asked_to_stop(moves.written(task, 12), 107.0), 106.5)
    failure = TaskFailure("E", "no", "code", True, b'{"d":1}')
    for one in (task, moves.ended(task, 108.0, FAILED, failure=failure), moves.written(task, 3)):
        size, written = one.output_size, one.output_size + one.output_more
        again = decode(encode(one), epoch="e", version=one.version, size=size, written=written)
        assert again == one
        assert again.encode() == one.encode()


def test_a_record_of_another_release_is_not_misread(registry: RedisRegistry) -> None:
    """It is said, instead of shown as something else."""
    task = registry.create(NewTask("a", "ada"))[0]
    fields = msgspec.msgpack.decode(encode(task))
    for record in (msgspec.msgpack.encode([FORMAT + 1, *fields[1:]]), b"\x01", b""):
        registry._link.ask(("HSET", registry._keys.task("a"), "r", record))
        with pytest.raises(RegistryUnavailable, match="release"):
            registry.get("a")


class Trips:
    """Counts a registry's ways there and back."""

    def __init__(self, registry: RedisRegistry) -> None:
        self._made = 0
        attempt = registry._link.attempt

        def counted(call: Callable[[], Any]) -> Any:
            self._made += 1
            return attempt(call)

        registry._link.attempt = counted  # type: ignore[method-assign]

    def take(self) -> int:
        """How many there were since the last time."""
        made, self._made = self._made, 0
        return made


@pytest.mark.parametrize("known", [0, 1, 100])
def test_what_a_viewer_is_given_at_first_is_read_together(registry: RedisRegistry, known: int) -> None:
    """As many ways there and back for a hundred tasks that it knows as for one: after an outage all come at once."""
    config = Config()
    hub = Hub(registry, ThreadingConcurrency(), flush_interval=0.05, viewer_timeout=30.0)
    commands = Commands(Operations(registry, config, lambda: None), hub)
    for number in range(3):
        registry.create(NewTask(f"mine{number}", "ada"))
    theirs = [registry.create(NewTask(f"theirs{number}", "bob", ("team",)))[0].task_id for number in range(10)]
    cursors = dict.fromkeys([f"gone{number}" for number in range(known)], 7)
    trips = Trips(registry)
    grant = Grant("ada", (), frozenset(theirs))
    snapshot, owed = commands.snapshot(grant, ConnectAuth(epoch=registry.epoch, cursors=cursors))
    assert trips.take() == 5 + bool(known)
    assert (len(snapshot["tasks"]), snapshot["removed"], owed) == (13, list(cursors), [])
    outbox: Any = None
    viewer = Viewer("s", "c", grant, "", outbox)
    answer = commands.answer(viewer, "subscribe", {"task_ids": [*theirs, *cursors][:100]})
    assert (len(answer["tasks"]), len(answer["denied"])) == (10, min(known, 90))
    assert trips.take() == 2


def test_one_server_sweeps_at_a_time_and_that_costs_little(
    registry: RedisRegistry, other: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is nothing to do: one way there and back for all but one, and four for that one."""
    monkeypatch.setattr("realtime.registry.redis.leases._TURN", 600_000)  # none is over before the next one
    for one in (registry, other):
        one.sweep()
    trips = {one: Trips(one) for one in (registry, other)}
    for one in trips:
        one.sweep()
    assert [made.take() for made in trips.values()] == [4, 1]
    registry._link.ask(("DEL", registry._keys.sweeper))  # it is gone
    other.sweep()
    for made in trips.values():
        made.take()
    for one in trips:
        one.sweep()
    assert [made.take() for made in trips.values()] == [1, 4]


def test_a_process_that_serves_sweeps_and_any_other_does_not(registry: RedisRegistry) -> None:
    """From its first request on, though nobody watches; once, however many threads say so."""
    assert not registry.feed.running
    before = set(threading.enumerate())
    threads = [threading.Thread(target=registry.adopt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [thread.name for thread in set(threading.enumerate()) - before]
    assert names.count("realtime-feed") == 1
    assert set(names) <= {"realtime-feed", "realtime-sweep"}  # which begins soon
    assert registry.feed.running
