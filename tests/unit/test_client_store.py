"""A client that writes to the store which the servers share."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.client import Client
from realtime.errors import ConfigError, LeaseHeld, RegistryUnavailable, TaskAlreadyFinished, TaskNotFound
from realtime.registry.redis import RedisRegistry, followers
from realtime.registry.redis.link import Link
from realtime.task import Task, TaskStatus
from support.proxy import Proxy
from support.stores import StoreServer, shared_server, started

LONG = 20.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer may take its time."""
    monkeypatch.setattr("realtime.client.registry.PATIENCE", LONG)


@pytest.fixture
def url() -> str:
    return f"{shared_server('redis').url}?prefix=rt-{secrets.token_hex(8)}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, timeout=LONG) as client:
        yield client


@pytest.fixture
def registry(url: str) -> Iterator[RedisRegistry]:
    """What a server would see."""
    registry = RedisRegistry(url, timeout=10.0)
    yield registry
    registry.close()


def test_a_worker_that_is_taken_over_writes_nothing_more(client: Client, registry: RedisRegistry) -> None:
    """At the store itself, too: update, output and end of its block are refused."""
    with client.progress(user_id="ada", task_id="t") as task:
        task.update("mine")
        client.flush()
        registry.heartbeat("t", 30.0, "another", takeover=True)
        client._conflator._entries["t"].heard = float("-inf")  # as after a quiet time
        with pytest.raises(LeaseHeld):
            task.update("mine?")
        with pytest.raises(LeaseHeld):
            task.write("mine?")
    assert (stored(registry, "t").message, stored(registry, "t").finished) == ("mine", False)
    assert registry.output_ends("t") == {}


def stored(registry: RedisRegistry, task_id: str) -> Task:
    task = registry.get(task_id)
    assert task is not None
    return task


def test_a_life_of_a_task(client: Client, registry: RedisRegistry) -> None:
    """As over HTTP; the store's own errors and answers."""
    client.create_task("t", 42, name="Export", total=100)
    for _ in range(1000):
        client.update_task_progress("t", advance=0.05)
    client.append_output("t", "é\n")
    client.heartbeat_task("t", 5)
    assert stored(registry, "t").info.lease == 5
    done = client.complete_task("t", {"n": 1})
    assert done.as_dict() == stored(registry, "t").as_dict()
    assert done.current == pytest.approx(50)
    assert registry.output_ends("t") == {"output": 3}
    with pytest.raises(TaskAlreadyFinished):
        client.update_task_progress("t", 1)
    with pytest.raises(TaskNotFound):
        client.update_task_progress("u", 1)
    assert [task.task_id for task in client.list_tasks(42)] == ["t"]
    assert client.remove_task("t").task_id == "t"
    assert client.get_task_status("t") is None
    assert client.watched("t") is False


def test_a_block(client: Client, registry: RedisRegistry) -> None:
    """A handle is the same."""
    with client.progress(user_id="ada", task_id="t", total=3) as task:
        for number in task.track(range(3)):
            print(number, file=task.stdout)
    assert stored(registry, "t").status is TaskStatus.COMPLETED
    assert stored(registry, "t").output_size == 6


def losing(client: Client, monkeypatch: pytest.MonkeyPatch, script: str, times: int) -> None:
    """Have the answers to a script lost: it is done, and nobody hears of it."""
    link: Any = client._transport._registry._link  # type: ignore[attr-defined]
    run: Callable[..., Any] = link.run

    def lose(name: str, keys: Any, args: Any) -> Any:
        nonlocal times
        answer = run(name, keys, args)
        if name == script and times:
            times -= 1
            raise RegistryUnavailable("The answer is lost.")
        return answer

    monkeypatch.setattr(link, "run", lose)


def test_a_lost_answer_changes_nothing_twice(
    client: Client, registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same change is made again under its nonce, and known again, however often."""
    client.create_task("t", "ada")
    losing(client, monkeypatch, "store", 3)
    client.update_task_progress("t", advance=5)
    client.update_task_progress("t", advance=2)
    assert client.flush(LONG)
    assert stored(registry, "t").current == 7
    losing(client, monkeypatch, "append", 2)
    client.append_output("t", "once")
    assert client.flush(LONG)
    assert registry.output_ends("t") == {"output": 4}
    losing(client, monkeypatch, "create", 1)
    assert client.create_task("u", "ada").task_id == "u"
    losing(client, monkeypatch, "store", 1)
    assert client.complete_task("u", 1).result == 1


def test_a_change_made_again_is_known_where_nothing_else_is(client: Client, registry: RedisRegistry, url: str) -> None:
    """Also by a process (or a connection) that must read the task first, and finds the change in it."""
    client.create_task("t", "ada")
    nonce = secrets.token_bytes(8)
    with registry.nonces.once(nonce):
        registry.update("t", None, None, None, None, 5)
    other = RedisRegistry(url, timeout=10.0)
    with other.nonces.once(nonce):
        assert other.update("t", None, None, None, None, 5).current == 5
    assert other.update("t", None, None, None, None, 5).current == 10
    other.close()


def test_a_store_that_is_away_is_waited_for() -> None:
    """Updates do not wait; what was said is there when it is back."""
    server = StoreServer("redis")
    try:
        server.start()
        client = Client(server.url, timeout=LONG)
        client.create_task("t", "ada")
        server.save()
        server.kill()
        for _ in range(100):
            client.update_task_progress("t", advance=1)
        assert not client.flush(0.05)
        server.start()
        assert client.complete_task("t").current == 100
        client.close()
    finally:
        server.remove()


def test_a_store_that_is_silent_for_a_while_loses_nothing_of_a_block() -> None:
    """Cut off, and not only gone: what was said meanwhile, output too, is there when the connection is; and no buffer
    of the registry's takes an update that the client then takes for stored.
    """
    store = shared_server("redis")
    prefix = f"rt-{secrets.token_hex(8)}"
    registry = RedisRegistry(f"{store.url}?prefix={prefix}", timeout=10.0)
    with (
        Proxy(store.socket) as proxy,
        Client(f"redis://127.0.0.1:{proxy.port}?prefix={prefix}&timeout=0.3&buffer=9", timeout=LONG) as client,
        client.progress(user_id="ada", task_id="t", total=100) as task,
    ):
        proxy.cut()
        for _ in range(50):
            task.advance()
        until, pause = time.monotonic() + LONG, threading.Event()
        while not client._conflator.away:
            assert time.monotonic() < until
            task.write("line\n")
            pause.wait(0.01)
        for _ in range(50):
            task.advance()
        assert not client.flush(0.05)
        assert stored(registry, "t").current == 0
        proxy.heal()
        assert client.flush(LONG)
        assert stored(registry, "t").current == 100
        assert registry.output_ends("t")["output"] > 0
    assert stored(registry, "t").status is TaskStatus.COMPLETED
    registry.close()


def test_a_forked_child_has_connections_of_its_own(client: Client, registry: RedisRegistry) -> None:
    """And what the parent had not sent, the parent sends."""
    client.create_task("t", "ada")
    client.update_task_progress("t", advance=1)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            client.update_task_progress("t", advance=10)
            code = 0 if client.flush(LONG) else 2
        finally:
            os._exit(code)
    client.update_task_progress("t", advance=100)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.flush(LONG)
    assert stored(registry, "t").current == 111


def test_an_address_is_shown_without_its_password() -> None:
    """In errors and in what a debugger shows."""
    client = Client("redis://user:secret@127.0.0.1:1/0", timeout=0.1)
    assert "secret" not in repr(client)
    with pytest.raises(RegistryUnavailable, match=r"store at redis://127\.0\.0\.1:1") as away:
        client.create_task("t", "ada")
    assert "secret" not in str(away.value)
    client.close(0.1)


def test_without_redis_py_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "realtime.registry.redis", None)
    with pytest.raises(ConfigError, match=r"realtime-progress\[redis\]"):
        Client("redis://127.0.0.1")


def test_who_looks_is_asked_once_a_second(
    client: Client, registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a job asks, while nobody follows the task and while a server does."""
    client.create_task("t", 42)
    now = [100.0]
    monkeypatch.setattr(followers, "_YOUNG", 0.0)
    monkeypatch.setattr("realtime.registry.redis.followers.time", SimpleNamespace(monotonic=lambda: now[0]))
    asked: list[str] = []
    run = Link.run

    def counted(link: Link, name: str, *call: Any) -> Any:
        asked.append(name)
        return run(link, name, *call)

    monkeypatch.setattr(Link, "run", counted)
    assert [client.watched("t") for _ in range(100)] == [False] * 100
    registry.serve()
    registry.watch("user:42")
    assert registry.feed.wait_for(["user:42"], 20)
    assert client.watched("t") is False
    now[0] += 1.0
    assert [client.watched("t") for _ in range(100)] == [None] * 100
    assert asked.count("followers") == 2


def test_who_looks_is_not_known_after_a_store_has_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers that listened to the last one have yet to notice: nobody is known not to look until they can."""
    monkeypatch.setattr(followers, "_GOOD", 0.0)
    store = StoreServer("redis", durable=True)
    with started(store), contextlib.closing(Client(store.url, timeout=LONG)) as client:

        def age() -> None:
            with contextlib.closing(RedisRegistry(store.url)) as other, contextlib.closing(store.client()) as direct:
                assert direct.hset(other._link.keys.meta, "born", int(time.time() - followers._YOUNG - 1)) == 0

        client.create_task("t", 42)
        age()
        with contextlib.closing(Client(store.url, timeout=LONG)) as late:
            late.update_task_progress("t", current=1)
            assert late.flush(LONG)
            assert late.watched("t") is False
            store.kill()
            assert late.watched("t") is None
            store.start()
            assert late.watched("t") is None
            age()
            with contextlib.closing(Client(store.url, timeout=LONG)) as later:
                assert later.watched("t") is False
