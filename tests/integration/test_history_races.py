"""Many do at once what only one can: of those who create one id, or end one task, one wins, all are told the same of
it, and all viewers see it."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from realtime.errors import RealtimeError
from realtime.registry.redis import RedisRegistry
from realtime.task import PENDING, PROCESSING, NewTask, TaskFailure, TaskStatus
from support.process import StartServer
from support.remote import PATIENCE, Refused, Remote
from support.stores import StoreServer
from support.trial import Trial, redis_trial

pytestmark = pytest.mark.timeout(3600)

CREATORS = 100
#: Tasks that are completed, failed and cancelled at once in a trial: by processes that share a store, where it is the
#: only trial and where there are several; and by requests to a server.
RACES, MANY_RACES, REQUESTED = 500, 2000, 50
STATUSES = PENDING, PROCESSING


class Racer:
    """Somebody who creates tasks of an id and a status, and has ways to end them."""

    def __init__(self, create: Callable[[str, TaskStatus], Any], *ends: Callable[[str], Any]) -> None:
        self.create = create
        self.ends = ends


def of_server(server: Remote) -> Racer:
    """Who asks a server for it."""

    def ask(function: str, **more: Any) -> Callable[[str], Any]:
        return lambda task_id: server.call(function, task_id=task_id, **more)

    return Racer(
        lambda task_id, status: server.call("create_task", task_id=task_id, user_id="ada", status=status),
        ask("complete_task"), ask("fail_task", error="no"), ask("cancel_task", done=True),
    )  # fmt: skip


def of_process(registry: RedisRegistry) -> Racer:
    """Who changes the store without a server."""
    return Racer(
        lambda task_id, status: registry.create(NewTask(task_id, "ada", status=status))[0].as_dict(),
        lambda task_id: registry.complete(task_id, None).as_dict(),
        lambda task_id: registry.fail(task_id, TaskFailure(None, "no", "failed")).as_dict(),
        lambda task_id: registry.cancel(task_id).as_dict(),
    )  # fmt: skip


def attempt(trial: Trial, change: Callable[..., Any], *what: Any) -> str:
    """Make a change: ``done``, which is acknowledged, or the code of the refusal."""
    try:
        made = change(*what)
    except (Refused, RealtimeError) as refused:
        return str(refused.code)
    trial.history.acknowledged(made)
    return "done"


def create_at_once(trial: Trial) -> None:
    """One of all that ask a server for a task of one id is given it."""
    together = threading.Barrier(CREATORS)
    racers = [of_server(server) for server in trial.servers]

    def create(number: int) -> str:
        together.wait(PATIENCE)
        return attempt(trial, racers[number % len(racers)].create, "one", PROCESSING)

    with ThreadPoolExecutor(CREATORS) as creators:
        answers = Counter(creators.map(create, range(CREATORS)))
    assert answers == {"done": 1, "exists": CREATORS - 1}


def race(trial: Trial, racers: list[Racer], races: int) -> None:
    """Each task is ended in three ways at once; one way is its end."""
    together = threading.Barrier(len(racers))

    def end(number: int) -> list[str]:
        racer, answers = racers[number], []
        for turn in range(races):
            task_id = f"race-{turn}"
            if number == turn % len(racers):
                assert attempt(trial, racer.create, task_id, STATUSES[turn % 2]) == "done"
            together.wait(PATIENCE)
            answers.append(attempt(trial, racer.ends[(number + turn) % len(racers)], task_id))
        return answers

    with ThreadPoolExecutor(len(racers)) as pool:
        wins = list(pool.map(end, range(len(racers))))
    for answers in zip(*wins, strict=True):
        assert sorted(answers) == ["already_finished", "already_finished", "done"]
    assert all("done" in answers for answers in wins), "one of the three never wins: that is no race"


def test_one_of_many_wins_in_redis(server_process: StartServer, request: pytest.FixtureRequest) -> None:
    """Whether they ask three servers, which lose answers of the store, or change it themselves."""
    trials = request.config.getoption("history_trials")
    for seed in range(trials):
        store = StoreServer()
        kept: dict[str, Any] = {"FLASK_REALTIME_MAX_TASKS_PER_USER": str(2 * MANY_RACES)}
        with redis_trial(server_process, seed, store, **kept) as trial, contextlib.ExitStack() as opened:
            create_at_once(trial)
            processes = [
                opened.enter_context(
                    contextlib.closing(RedisRegistry(store.url, max_tasks_per_user=2 * MANY_RACES, timeout=10.0))
                )
                for _ in range(3)
            ]
            race(trial, [of_process(process) for process in processes], RACES if trials == 1 else MANY_RACES)
            trial.finish()


def test_one_of_many_wins_in_a_file(
    server_process: StartServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """They ask the one server of the file."""
    for seed in range(request.config.getoption("history_trials")):
        trial = Trial(server_process, f"sqlite:///{tmp_path / f'{seed}.db'}", None, seed)
        create_at_once(trial)
        race(trial, [of_server(trial.servers[0])] * 3, REQUESTED)
        trial.finish()
        trial.servers[0].server.stop()
