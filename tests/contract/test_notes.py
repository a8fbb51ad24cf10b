"""Notes that the servers of one store share, and requests that reach several of them."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from realtime import keys
from realtime.config import Config
from realtime.errors import IdempotencyKeyInUse, RegistryUnavailable
from realtime.keys import Keys
from realtime.registry.base import Registry
from realtime.registry.memory import MemoryRegistry
from realtime.registry.notes import Notes
from realtime.registry.redis import RedisRegistry
from realtime.task import NewTask
from realtime.transport import idempotency
from realtime.transport.answers import resource
from realtime.transport.idempotency import Answer, SharedIdempotency
from realtime.transport.ingest import Ingest
from support.clusters import shared_cluster
from support.remote import wait_until
from support.stores import shared_server


@pytest.fixture(params=["redis", "valkey", "cluster"])
def servers(request: pytest.FixtureRequest) -> Iterator[list[Registry]]:
    """Two processes' hands on one store."""
    store = shared_cluster() if request.param == "cluster" else shared_server(request.param)
    url = f"{store.url}?prefix=rt-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(RedisRegistry(url, timeout=10.0))) for _ in range(2)]


@pytest.fixture
def notes(servers: list[Registry]) -> list[Notes]:
    return [registry.notes for registry in servers if registry.notes is not None]


class Door:
    """The ingest of one server."""

    def __init__(self, registry: Registry, path: Path, key: str) -> None:
        ingest = Ingest(registry, Config(), Keys(path))
        self._key = key
        self._app = Flask("door")
        self._app.add_url_rule("/<task_id>", "door", resource({"PATCH": ingest.update}, None), methods=["PATCH"])

    def advance(self, steps: int, key: str = "k") -> TestResponse:
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key, "Content-Type": "application/json"}
        return self._app.test_client().patch("/a", data=json.dumps({"advance": steps}), headers=headers)


@pytest.fixture
def doors(servers: list[Registry], tmp_path: Path) -> list[Door]:
    path = tmp_path / "keys.json"
    key = keys.create(path, ["report"])[0]
    return [Door(registry, path, key) for registry in servers]


def steps(registry: Registry) -> float | None:
    """How many the task has."""
    task = registry.get("a")
    assert task is not None
    return task.current


def test_one_store_has_one_note_of_a_name(notes: list[Notes]) -> None:
    """The first claim counts for all, until it is dropped."""
    one, two = notes
    assert one.claim("ci", "n", b"1", 60) == b"1"
    assert two.claim("ci", "n", b"2", 60) == b"1"
    two.write("ci", "n", b"\x00\xff", 60, 10_000)
    assert one.claim("ci", "n", b"3", 60) == b"\x00\xff"
    one.drop("ci", "n")
    assert two.claim("ci", "n", b"4", 60) == b"4"
    assert two.claim("ci", "m", b"5", 60) == b"5"


def test_of_many_claims_at_once_one_counts(notes: list[Notes]) -> None:
    """And all are told of it."""
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda number: notes[number % 2].claim("ci", "n", b"%d" % number, 60), range(40)))
    assert len(found) == 1


def test_notes_are_forgotten(notes: list[Notes]) -> None:
    """Each when its time is over, whether it was claimed or written."""
    one, two = notes
    one.claim("ci", "claimed", b"1", 0.05)
    one.write("ci", "written", b"1", 0.05, 10_000)
    one.claim("ci", "stays", b"0", 0.02)  # the time of what was claimed is not that of what is written
    one.write("ci", "stays", b"1", 600, 10_000)
    for name in ("claimed", "written"):
        wait_until(lambda name=name: two.claim("ci", name, b"2", 600), lambda found: found == b"2")  # type: ignore[misc]
    assert two.claim("ci", "stays", b"2", 600) == b"1"


def test_who_does_not_come_back_leaves_nothing(servers: list[Registry], notes: list[Notes]) -> None:
    """The store itself forgets, after the longest of the times."""
    assert isinstance(servers[0], RedisRegistry)
    link = servers[0]._link
    notes[0].write("ci", "m", b"1", 120, 10_000)
    notes[0].claim("ci", "n", b"1", 60)
    texts, written, claims = link.ask(*[("PTTL", key) for key in link.keys.notes("ci")])
    assert 60_000 < texts <= 120_000
    assert 60_000 < written <= 120_000
    assert 0 < claims <= 60_000


def test_what_is_written_for_one_is_bounded_in_bytes(servers: list[Registry], notes: list[Notes]) -> None:
    """The oldest goes first; what is claimed stays, and what is another's."""
    one, two = notes
    one.claim("ci", "claimed", b"first", 60)
    one.write("other", "theirs", b"first", 60, 310_000)
    for number in range(20):
        one.write("ci", f"n{number}", b"%02d" % number * 50_000, 60 + number, 310_000)
    two.write("ci", "n18", b"again", 600, 310_000)
    two.drop("ci", "n19")
    assert isinstance(servers[0], RedisRegistry)
    link = servers[0]._link
    texts = link.keys.notes("ci")[0]
    assert link.ask(("MEMORY", "USAGE", texts, "SAMPLES", 0))[0] < 400_000
    for number in range(10):
        two.write("ci", f"m{number}", b"small", 700 + number, 310_000)
    assert link.ask(("HGET", texts, "")) == [b"%d" % (100_000 + 11 * 5 + 12 * 512)]
    assert two.claim("other", "theirs", b"2", 60) == b"first"
    assert two.claim("ci", "claimed", b"2", 60) == b"first"
    kept = [number for number in range(20) if two.claim("ci", f"n{number}", b"gone", 60) != b"gone"]
    assert kept == [17, 18]
    assert [two.claim("ci", f"m{number}", b"gone", 60) for number in range(10)] == [b"small"] * 10


def test_a_request_that_reaches_two_servers_is_made_once(servers: list[Registry], doors: list[Door]) -> None:
    """The answer was lost, and the next server is asked: it gives the answer of the first."""
    servers[0].create(NewTask("a", "ada", total=100))
    first, again = doors[0].advance(1), doors[1].advance(1)
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.data, again.headers["ETag"]) == (first.data, first.headers["ETag"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert doors[1].advance(2).status_code == 422
    assert doors[1].advance(1, "other").status_code == 200
    assert steps(servers[0]) == 2


def test_what_was_refused_is_made_anew_on_another_server(servers: list[Registry], doors: list[Door]) -> None:
    """It has changed nothing."""
    assert doors[0].advance(1).status_code == 404
    servers[0].create(NewTask("a", "ada", total=100))
    assert doors[1].advance(1).status_code == 200


def test_of_many_at_once_on_two_servers_one_is_made(servers: list[Registry], doors: list[Door]) -> None:
    """The others are given its answer, or told to ask again."""
    servers[0].create(NewTask("a", "ada", total=100))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: doors[number % 2].advance(1), range(24)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert steps(servers[1]) == 1


def test_answers_that_are_kept_for_one_are_bounded(notes: list[Notes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are let go, and such a request is made anew; nobody pushes out what is kept for another."""
    monkeypatch.setattr(idempotency, "SHARED_BYTES", 1_000_000)
    one, two = map(SharedIdempotency, notes)
    large = Answer(200, b"x" * 300_000, ())

    def asked(who: str, key: str) -> bool:
        return not two.once(who, key, b"f", lambda: (large, True))[1]

    for who, key in (("other", "k0"), ("ci", "k0"), ("ci", "k1"), ("ci", "k2"), ("ci", "k3")):
        one.once(who, key, b"f", lambda: (large, True))
    assert [asked("ci", key) for key in ("k3", "k2", "k1")] == [False] * 3
    assert not asked("other", "k0")
    assert asked("ci", "k0")


def test_while_one_is_under_way_another_server_says_so(notes: list[Notes]) -> None:
    """As within one process."""
    inside, leave = threading.Event(), threading.Event()
    one, two = map(SharedIdempotency, notes)

    def slow() -> tuple[Answer, bool]:
        inside.set()
        assert leave.wait(30)
        return Answer(200, b"made", (("ETag", '"e.1"'),)), True

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(one.once, "ci", "k", b"f", slow)
        assert inside.wait(30)
        with pytest.raises(IdempotencyKeyInUse):
            two.once("ci", "k", b"f", slow)
        leave.set()
        assert first.result(30) == (Answer(200, b"made", (("ETag", '"e.1"'),)), False)
    assert two.once("ci", "k", b"f", slow) == (Answer(200, b"made", (("ETag", '"e.1"'),)), True)


def test_an_answer_that_cannot_be_noted_is_given_all_the_same() -> None:
    """The change is made; whoever asks again is told that it is under way, not that it may be made once more."""

    class Away:
        """Goes away after the claim."""

        def __init__(self) -> None:
            self.noted: dict[str, bytes] = {}

        def claim(self, who: str, name: str, text: bytes, seconds: float) -> bytes:
            return self.noted.setdefault(name, text)

        def write(self, who: str, name: str, text: bytes, seconds: float, most: int) -> None:
            raise RegistryUnavailable("The store is away.")

        def drop(self, who: str, name: str) -> None:
            raise RegistryUnavailable("The store is away.")

    store = SharedIdempotency(Away())
    made = Answer(200, b"made", ())
    assert store.once("ci", "k", b"f", lambda: (made, True)) == (made, False)
    with pytest.raises(IdempotencyKeyInUse):
        store.once("ci", "k", b"f", lambda: (made, True))


def test_one_process_needs_no_notes() -> None:
    """Its answers are its own."""
    assert MemoryRegistry().notes is None
