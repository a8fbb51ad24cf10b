"""Workers elsewhere, over HTTP and over Redis, are killed, and stopped for longer than their leases; answers to them
are lost: what was confirmed to them is so once, their tasks are lost or ended, and stay what they are."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime import keys
from support.counting import STEPS, CountingWorker
from support.process import StartServer
from support.proxy import Proxy
from support.remote import wait_until
from support.stores import StoreServer
from support.trial import Trial, redis_trial

pytestmark = pytest.mark.timeout(3600)

#: Seconds.
LEASE = 2.0


class Place:
    """A trial, and workers of it; between them and the servers, and the store, is a network that loses answers."""

    def __init__(self, trial: Trial, folder: Path, key: str, networks: dict[str, Proxy], seed: int) -> None:
        self.trial = trial
        self.networks = networks
        self._folder = folder
        self._seed = seed
        self._ways = {
            "http": (f"http://127.0.0.1:{networks['http'].port}", key),
            "redis": (f"redis://127.0.0.1:{networks['redis'].port}?timeout=10", ""),
        }
        self.workers: list[CountingWorker] = []

    def work(self, way: str, name: str) -> CountingWorker:
        """Start a worker; ``way`` is how it reports: ``http`` or ``redis``."""
        url, key = self._ways[way]
        worker = CountingWorker(self.trial.history, self._folder, f"{self._seed}-{way}-{name}", url, key, LEASE)
        self.workers.append(worker)
        return worker

    def wait_for_end(self, task_id: str) -> None:
        """Wait until a task is over: failed, as nobody works on it, unless its worker had ended it just before."""
        wait_until(
            lambda: self.trial.servers[0].call("get_task_status", task_id=task_id), lambda now: now["completed_at"]
        )


@contextlib.contextmanager
def place(start_server: StartServer, folder: Path, seed: int, **more: Any) -> Iterator[Place]:
    """The last of the servers is the one that workers report to over HTTP."""
    key = keys.create(folder / f"{seed}.json", ["create", "report", "read", "control"])[0]
    store = StoreServer()
    more["FLASK_REALTIME_WORKER_KEYS"] = str(folder / f"{seed}.json")
    with redis_trial(start_server, seed, store, **more) as trial, contextlib.ExitStack() as opened:
        networks = {
            "http": opened.enter_context(Proxy(trial.servers[-1].server.port, seed)),
            "redis": opened.enter_context(Proxy(store.socket, seed)),
        }
        there = Place(trial, folder, key, networks, seed)
        try:
            yield there
        finally:
            for worker in there.workers:
                worker.kill()


def count_on(worker: CountingWorker, steps: int) -> None:
    """Wait until so many more steps were confirmed to a worker."""
    enough = worker.counted + steps
    wait_until(lambda: worker.catch_up().counted, lambda counted: counted >= enough)


def pause_in_task(worker: CountingWorker, steps: int) -> str:
    """Stop a worker after some steps, while it holds a task; its id."""
    while True:
        count_on(worker, steps)
        worker.pause()
        if worker.held is not None and not worker.ending:
            return worker.held
        worker.go_on()


def test_what_was_confirmed_to_workers_is_so(
    server_process: StartServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two are killed, two are stopped for too long and refused afterwards; then these go on with other tasks."""
    for seed in range(request.config.getoption("history_trials")):
        choose = random.Random(seed)
        with place(server_process, tmp_path, seed) as there:
            trial = there.trial
            for network in there.networks.values():
                network.lose(0.05)
            killed = [there.work(way, "killed") for way in there.networks]
            stopped = [there.work(way, "stopped") for way in there.networks]
            lost = set()
            for worker in killed:
                count_on(worker, choose.randrange(5, 40))
                worker.kill()
                lost.update([worker.held] if worker.held is not None else [])
            late = {pause_in_task(worker, choose.randrange(5, 40)): worker for worker in stopped}
            for task_id in lost | set(late):
                there.wait_for_end(task_id)
            trial.look(frozenset(lost | set(late)))
            for task_id, worker in late.items():
                worker.go_on()
                wait_until(lambda worker=worker: worker.catch_up().refused, bool)  # type: ignore[misc]
                assert worker.refused == [(task_id, ["failed", "failed"])]
            for worker in stopped:
                count_on(worker, 5)
                worker.end()
            assert all(network.lost for network in there.networks.values())
            trial.finish()


def test_a_trial_finds_that_late_workers_are_not_refused(server_process: StartServer, tmp_path: Path) -> None:
    """Without fencing, a worker that comes back brings its task to another end than was told."""
    with place(server_process, tmp_path, 0, servers=1, SWITCHED_OFF="fencing") as there:
        found = ""
        for turn in range(5):
            worker = there.work("http", f"stopped-{turn}")
            task_id = pause_in_task(worker, 1)
            there.wait_for_end(task_id)
            there.trial.look(frozenset([task_id]))
            worker.go_on()
            worker.end()
            try:
                there.trial.look()
            except AssertionError as error:
                found = str(error)
                break
            assert worker.refused  # it was stopped just when it looked, and has seen the end itself
        # If it has seen the end when it was about to go on, it says that it has failed, which another one has said.
        assert re.search("ended as completed and as failed|had ended, and is another now", found), found
        there.trial.close()


def test_a_trial_finds_that_requests_are_made_twice(server_process: StartServer, tmp_path: Path) -> None:
    """Without the memory of idempotency keys, a request whose answer was lost counts again."""
    with place(server_process, tmp_path, 0, servers=1, SWITCHED_OFF="idempotency") as there:
        worker = there.work("http", "counting")
        pause_in_task(worker, 1)
        while worker.counted % STEPS > STEPS // 2:  # in the rest of its task answers have to be lost
            worker.go_on()
            pause_in_task(worker, 1)
        there.networks["http"].lose(0.5)
        worker.begin_no_more()
        worker.go_on()
        worker.end()
        assert there.networks["http"].lost > 0
        with pytest.raises(AssertionError, match="was advanced"):
            there.trial.look()
        there.trial.close()
