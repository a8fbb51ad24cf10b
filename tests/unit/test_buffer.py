"""The buffer: what is kept while the store is away, what is written when it is back, and what is not."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realtime.config import Config
from realtime.errors import (
    ConfigError,
    InvalidValue,
    LeaseHeld,
    RegistryUnavailable,
    TaskAlreadyFinished,
    TaskNotFound,
)
from realtime.operations import Operations
from realtime.registry import buffer as buffer_module
from realtime.registry import open_registry
from realtime.registry.buffer import Buffer
from realtime.registry.conditional import When
from realtime.registry.memory import MemoryRegistry
from realtime.registry.redis import BufferedRedisRegistry, RedisRegistry
from realtime.task import NewTask, Task, TaskFailure
from support.proxy import Proxy
from support.stores import StoreServer, shared_server

PATIENCE = 20


def eventually(condition: Callable[[], object]) -> None:
    until, pause = time.monotonic() + PATIENCE, threading.Event()
    while not condition():
        assert time.monotonic() < until
        pause.wait(0.005)


def insist(call: Callable[[], Any]) -> Any:
    """What a call returns that may be made again; on a busy machine an answer may take longer than its time."""
    answers: list[Any] = []

    def attempt() -> bool:
        with contextlib.suppress(RegistryUnavailable):
            answers.append(call())
        return bool(answers)

    eventually(attempt)
    return answers[0]


class Store(MemoryRegistry):
    """A store that can be away; ``lost`` answers get lost: what was asked for is done all the same."""

    buffer: Buffer

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.away = False
        self.lost = 0
        self.written: list[Any] = []
        self.nonces: set[bytes] = set()
        self.nonce = threading.local()
        self.buffer = Buffer(most, self._known, self._once, patience=PATIENCE)

    def _known(self, task_id: str) -> Task | None:
        task = self._tasks.get(task_id)
        return None if task is None or task.finished else task

    @contextlib.contextmanager
    def _once(self, nonce: bytes) -> Iterator[None]:
        self.nonce.given = nonce
        yield

    def write(self, task_id: str, *args: Any) -> Task:
        if self.away:
            raise RegistryUnavailable("away")
        if self.nonce.given in self.nonces:
            task = self.get(task_id)
            assert task is not None
            return task
        self.nonces.add(self.nonce.given)
        task = MemoryRegistry.update(self, task_id, *args)
        self.written.append(args)
        if self.lost:
            self.lost -= 1
            raise RegistryUnavailable("The answer is lost.")
        return task

    def update(self, task_id: str, *args: Any) -> Task:
        padded = (*args, *[None] * (7 - len(args)))
        return self.buffer.update(self.write, task_id, padded)

    def now(self, task_id: str = "a") -> Task:
        task = self.get(task_id)
        assert task is not None
        return task

    def settled(self) -> bool:
        return not self.buffer.waiting()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_module, "PAUSE", 0.01)


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    store.create(NewTask("a", total=100))
    yield store
    store.away = False
    store.buffer.close()


def advance(number: float) -> tuple[Any, ...]:
    return None, None, None, None, number


def test_a_store_that_is_there_is_written_to(store: Store) -> None:
    """At once; nothing waits and there is no thread."""
    task = store.update("a", "here")
    assert (task.message, task.version) == (store.now().message, store.now().version)
    assert (store.buffer.waiting(), store.buffer._thread) == (0, None)


def test_the_newest_state_waits_and_is_written(store: Store) -> None:
    """Steps add up, of messages the last one counts; one write for all that waited, and what follows is as ever."""
    before = store.now()
    store.away = True
    for number in range(50):
        told = store.update("a", f"step {number}", *advance(1)[1:])
        assert (told.current, told.version) == (number + 1, before.version)  # as it will be; not stored yet
    assert told.percent == 50
    assert store.buffer.waiting() == 1
    assert store.now() == before
    store.away = False
    eventually(store.settled)
    after = store.now()
    assert (after.current, after.message, after.percent) == (50, "step 49", 50)
    assert len(store.written) == 2  # the one that was tried, and all others
    assert after.version == before.version + 2
    assert store.update("a", "again").version == after.version + 1
    eventually(lambda: store.buffer._thread is None)


def test_an_update_whose_answer_was_lost_counts_once(store: Store) -> None:
    """It is tried again as itself."""
    store.lost = 2
    store.update("a", *advance(7))
    store.update("a", *advance(1))
    eventually(store.settled)
    assert store.now().current == 8


def test_more_tasks_than_there_is_room_for_raise() -> None:
    """What waits goes on being merged, and a task that is not known here never waits."""
    store = Store(most=2)
    for name in "abc":
        store.create(NewTask(name))
    store.away = True
    store.update("a", "one")
    store.update("b", "one")
    for task_id in ("c", "unknown"):
        with pytest.raises(RegistryUnavailable):
            store.update(task_id, "one")
    store.update("a", "two")
    with pytest.raises(InvalidValue):
        store.update("a", *advance(1e300))
    store.away = False
    eventually(store.settled)
    assert [store.now(name).message for name in "abc"] == ["two", "one", "Starting..."]
    assert store.update("c", "there is room").message == "there is room"
    store.buffer.close()


def test_what_has_ended_meanwhile_stays_so(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """What waited for it is dropped, said in the log and counted; the next update hears of the end."""
    store.create(NewTask("gone"))
    store.away = True
    store.update("a", "waits")
    store.update("gone", "waits")
    MemoryRegistry.complete(store, "a", b"1")
    MemoryRegistry.fail(store, "gone", TaskFailure(None, "no", "failed"))
    MemoryRegistry.remove(store, "gone")
    store.away = False
    eventually(store.settled)
    assert (store.now().status, store.now().message) == ("completed", "Starting...")
    assert store.buffer.dropped == 2
    assert caplog.text.count("is dropped") == 2
    with pytest.raises(TaskAlreadyFinished):
        store.update("a", "late")
    with pytest.raises(TaskNotFound):
        store.update("gone", "late")


def test_what_was_taken_over_meanwhile_is_fenced(store: Store) -> None:
    """A held update is still that of its holder."""
    MemoryRegistry.heartbeat(store, "a", 30.0, "one")

    def write(task_id: str, *args: Any) -> Task:
        if store.away:
            raise RegistryUnavailable("away")
        task = store.now()
        if task.info.holder != "one":
            raise LeaseHeld(task_id)
        return store.write(task_id, *args)

    store.away = True
    store.buffer.update(write, "a", ("mine", None, None, None, None, None, None))
    MemoryRegistry.heartbeat(store, "a", 30.0, "two", takeover=True)
    store.away = False
    eventually(store.settled)
    assert store.now().message == "Starting..."


def test_another_change_comes_after_what_waits(store: Store) -> None:
    """It is brought before: at once, and not at the next try."""
    store.away = True
    store.update("a", "waits")
    begun = time.monotonic()
    store.buffer.bring("a")  # away: in vain, and soon
    assert time.monotonic() - begun < PATIENCE
    assert store.buffer.waiting() == 1
    store.away = False
    store.buffer.bring("a")
    assert store.now().message == "waits"
    store.buffer.bring("nothing waits for it")


def test_an_update_comes_after_what_waits(store: Store) -> None:
    """Once the store is back it is not held as well: it is stored when it returns, above all that was said before."""
    write, second, go_on = store.write, threading.Event(), threading.Event()
    wait_for = store.buffer._changed.wait_for

    def held_up(task_id: str, *args: Any) -> Task:
        if len(store.written) == 1:
            second.set()
            assert go_on.wait(PATIENCE)
        return write(task_id, *args)

    def waits(*args: Any, **more: Any) -> Any:
        go_on.set()
        return wait_for(*args, **more)

    store.write = held_up  # type: ignore[method-assign]
    store.away = True
    for text in ("one", "two"):
        store.update("a", text)
    store.away = False
    assert second.wait(PATIENCE)
    store.buffer._changed.wait_for = waits  # type: ignore[method-assign]
    third = store.update("a", "three")
    go_on.set()
    assert third.message == "three"
    assert third.version == store.now().version
    assert [args[0] for args in store.written] == ["one", "two", "three"]


def test_many_threads_lose_nothing(store: Store) -> None:
    """While the store goes away and comes back."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.wait(0.002):
            store.away = not store.away

    def count() -> None:
        for _ in range(300):
            store.update("a", *advance(1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    flicker = threading.Thread(target=come_and_go)
    flicker.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    over.set()
    flicker.join(PATIENCE)
    store.away = False
    eventually(store.settled)
    assert store.now().current == 1200


def test_what_waits_at_the_end_is_lost_and_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Unless the store is back just then; and nothing is taken any more."""
    store.away = True
    store.update("a", "waits")
    store.buffer.close()
    assert "newest states of 1 tasks were not stored" in caplog.text
    with pytest.raises(RegistryUnavailable):
        store.update("a", "waits")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_leaves_it_to_its_parent(store: Store) -> None:
    """What was held there is written once."""
    store.away = True
    store.update("a", *advance(1))
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(store.buffer.waiting())
    assert os.waitpid(child, 0)[1] == 0
    store.away = False
    eventually(store.settled)
    assert store.now().current == 1


# With a Redis.


def url(**options: object) -> str:
    said = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{shared_server('redis').url}?prefix=rt-{secrets.token_hex(8)}&{said}"


def test_it_is_off_unless_it_is_asked_for() -> None:
    """By setting or address, of which the address counts."""
    for address, setting, most in (("", 0, None), ("", 7, 7), ("?buffer=9", 7, 9), ("?buffer=0", 7, None)):
        config = Config.from_mapping({"REALTIME_REGISTRY": f"redis://localhost{address}", "REALTIME_BUFFER": setting})
        registry = open_registry(config)
        assert (None if registry.buffer is None else registry.buffer._most) == most
    for wrong in ("x", "-1", "4097", "", "1.5"):
        with pytest.raises(ConfigError, match="buffer"):
            open_registry(Config(registry=f"redis://localhost?buffer={wrong}"))
    with pytest.raises(ConfigError, match="REALTIME_BUFFER"):
        Config.from_mapping({"REALTIME_BUFFER": 4097})


def test_an_outage_is_survived_by_updates_and_told_to_all_else() -> None:
    """The store is cut off; updates and blocks go on, all else raises; back again, all is as it was said."""
    store = shared_server("redis")
    with Proxy(store.socket) as proxy:
        prefix = f"rt-{secrets.token_hex(8)}"
        registry = open_registry(
            Config(registry=f"redis://127.0.0.1:{proxy.port}?prefix={prefix}&timeout=0.3&buffer=5")
        )
        assert isinstance(registry, BufferedRedisRegistry)
        other = RedisRegistry(f"{store.url}?prefix={prefix}", timeout=10.0)
        operations = Operations(registry, Config(), lambda: None)
        try:
            for task_id in ("a", "b", "c"):
                insist(lambda task_id=task_id: registry.create(NewTask(task_id, total=100), exist_ok=True))  # type: ignore[misc]
            insist(lambda: registry.heartbeat("c", 30.0, "me"))
            held = When(registry, holder="me")
            proxy.cut()
            assert operations.update_task_progress("a", "held", advance=3).current == 3
            for _ in range(20):
                told = operations.update_task_progress("a", advance=1)
            assert (told.current, told.version) == (23, other.get("a").version)  # type: ignore[union-attr]
            held.update("c", "a block's")
            assert registry.buffer.waiting() == 2
            for change in (
                lambda: registry.create(NewTask("d")),
                lambda: registry.complete("a", None),
                lambda: registry.request_cancel("b"),
                lambda: registry.append_output("a", "output", b"line"),
            ):
                with pytest.raises(RegistryUnavailable):
                    change()
            other.complete("c", None)
            proxy.heal()
            eventually(lambda: not registry.buffer.waiting())
            assert (other.get("a").current, other.get("a").message) == (23, "held")  # type: ignore[union-attr]
            assert other.get("c").message == "Starting..."  # type: ignore[union-attr]
            assert insist(lambda: operations.complete_task("a")).current == 23
        finally:
            proxy.heal()
            registry.close()
            other.close()


def test_an_end_takes_along_what_waits_for_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the next try is far off: what was said before it is stored before it."""
    monkeypatch.setattr(buffer_module, "PAUSE", 3600.0)
    server = StoreServer()
    server.start()
    registry = BufferedRedisRegistry(server.url, buffer=5, timeout=10.0)
    try:
        registry.create(NewTask("a", total=10))
        server.save()
        server.kill()
        assert registry.update("a", "last words", 7).current == 7
        eventually(lambda: registry.buffer._failures)
        server.start()
        ended = registry.complete("a", None)
        assert (ended.status, ended.message, ended.current) == ("completed", "last words", 7)
    finally:
        registry.close()
        server.remove()
