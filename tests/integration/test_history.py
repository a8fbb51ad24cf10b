"""Servers are killed, connections to the store are cut and answers lost, in the middle of whatever is done: what was
acknowledged to writers is there afterwards, as the registry promises, and three viewers end with the truth."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from support import remote
from support.history import ENDS, History
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.store import Store
from support.stores import StoreServer
from support.wire import Closed, Wire

#: Servers start one after the other, and on a busy machine each takes its time.
pytestmark = pytest.mark.timeout(600)

WRITERS = VIEWERS = 3
#: How often a server is killed in a trial; the tasks that a writer makes between two disturbances.
KILLS, TASKS = 5, 4
#: Tasks that come and end while no server hears of it.
LAST = 5
#: Changes that are answered between two disturbances, at least and at most.
LEAST, MOST = 40, 120
#: What may become of a call whose server is killed.
CUT_OFF = (OSError, http.client.HTTPException)


class Trial:
    """Servers, writers and viewers of one user; ``store`` is a Redis that the servers share, None for one file."""

    def __init__(
        self, start_server: StartServer, registry: str, store: StoreServer | None, seed: int, app: str = "plain:app",
        settle: float = PATIENCE, **environment: str,
    ) -> None:  # fmt: skip
        self._start_server = start_server
        self._store = store
        self._app = app
        self._settle = settle
        self._environment = remote.environment(
            FLASK_REALTIME_REGISTRY=registry, FLASK_REALTIME_FLUSH_INTERVAL="0.005", **environment
        )
        self._choose = random.Random(seed)
        self.history = History()
        self._news = threading.Condition()
        self._answers = 0
        self._round = 0
        self._writing = False
        self._over = threading.Event()
        self._stores = [Store() for _ in range(VIEWERS)]
        self._wires: dict[int, Wire] = {}
        self._failures: list[BaseException] = []
        self.servers = [self._serve() for _ in range(1 if store is None else VIEWERS)]
        self._viewers = [self._start(self._view, number) for number in range(VIEWERS)]

    def _serve(self, port: int | None = None) -> Remote:
        return Remote(self._start_server(remote.serve(self._app), env=self._environment, port=port))

    def _start(self, function: Callable[[int], None], number: int) -> threading.Thread:
        def guarded() -> None:
            try:
                function(number)
            except BaseException as failure:
                self._failures.append(failure)
                self._tell()

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def _tell(self, answers: int = 0) -> None:
        with self._news:
            self._answers += answers
            self._news.notify_all()

    def _wait_for(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self._failures or condition(), timeout), what
        if self._failures:
            raise self._failures[0]

    # What is done.

    def run(self, kills: int) -> None:
        for _ in range(kills):
            with self._written():
                victim = self._choose.randrange(len(self.servers))
                self.servers[victim].server.send_signal(signal.SIGKILL)
                self.servers[victim].server.wait()
                if self._store is None:  # all who write have been cut off
                    self._writing = False
            self.servers[victim] = self._serve(self.servers[victim].server.port)
            self._look(killed=True)
        with self._written():
            pass
        with self._deaf():
            server = self.servers[0]
            for number in range(LAST):
                self.history.acknowledged(server.call("create_task", task_id=f"last-{number}", user_id="ada"))
            for task_id, state in self._look().items():
                if state["status"] not in ENDS:
                    self.history.acknowledged(server.call("complete_task", task_id=task_id))
        truth = self._look()
        for number, store in enumerate(self._stores):
            same = f"viewer {number} does not end with what is so"
            self._wait_for(lambda store=store: store.tasks == truth, self._settle, same)  # type: ignore[misc]
        self.close()
        self.history.check({})

    def close(self) -> None:
        """End the viewers."""
        self._over.set()
        for connection in list(self._wires.values()):
            connection.close()
        for viewer in self._viewers:
            viewer.join(PATIENCE)
            assert not viewer.is_alive()
        if self._failures:
            raise self._failures[0]

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Have writers at work; in the block enough was answered to disturb them, and they stop after it."""
        self._writing, self._round = True, self._round + 1
        writers = [self._start(self._write, number) for number in range(WRITERS)]
        enough = self._answers + self._choose.randrange(LEAST, MOST)
        self._wait_for(lambda: self._answers >= enough, PATIENCE, "too few changes were answered")
        yield
        self._writing = False
        for writer in writers:
            writer.join(PATIENCE)
            assert not writer.is_alive()

    @contextlib.contextmanager
    def _deaf(self) -> Iterator[None]:
        """Cut the servers off from the news of the store as often as they come back to them."""
        if self._store is None:
            yield
            return
        over = threading.Event()

        def cut(_: int) -> None:
            assert self._store is not None
            with contextlib.closing(self._store.client()) as client:
                while not over.wait(0.01):
                    with contextlib.suppress(redis.exceptions.ResponseError):
                        client.client_kill_filter(_type="pubsub")

        cutter = self._start(cut, 0)
        yield
        over.set()
        cutter.join(PATIENCE)

    def _write(self, number: int) -> None:
        """Create, advance and end tasks, until it is time to stop, or the server is gone."""
        choose = random.Random(f"{self._round} {number}")
        server = self.servers[number % len(self.servers)]
        mine: list[str] = []
        created = 0
        while self._writing:
            kind = choose.random()
            try:
                if len(mine) < 2 and created < TASKS:
                    task_id = f"{self._round}-{number}-{created}"
                    created += 1
                    self.history.acknowledged(server.call("create_task", task_id=task_id, user_id="ada"))
                    mine.append(task_id)
                elif kind < 0.2 and created < TASKS:
                    end = choose.choice(("complete_task", "fail_task"))
                    task_id = mine.pop(choose.randrange(len(mine)))
                    how = {"error": "no"} if end == "fail_task" else {"result": created}
                    try:
                        self.history.acknowledged(server.call(end, task_id=task_id, **how))
                    except CUT_OFF:
                        self.history.unanswered(task_id, "completed" if end == "complete_task" else "failed")
                        raise
                else:
                    task_id = choose.choice(mine)
                    try:
                        self.history.advanced(server.call("update_task_progress", task_id=task_id, advance=1))
                    except CUT_OFF:
                        self.history.unanswered(task_id, None)
                        raise
            except CUT_OFF:
                return
            self._tell(1)

    def _look(self, killed: bool = False) -> dict[str, dict[str, Any]]:
        """What the servers know of all tasks, which is what was acknowledged."""
        states = {task_id: self.servers[0].call("get_task_status", task_id=task_id) for task_id in self.history.tasks()}
        self.history.survived(states, frozenset(states if killed and self._store is None else ()))
        for state in states.values():
            self.history.learned(state)
        return states

    # Viewers.

    def _view(self, number: int) -> None:
        store, choose, events = self._stores[number], random.Random(number), []
        server = number
        while not self._over.is_set():
            try:
                self._wires[number] = connection = Wire(self.servers[server % len(self.servers)].url, "ada")
            except (Closed, *CUT_OFF):
                server = choose.randrange(VIEWERS)  # another one, while there is one
                self._over.wait(0.01)
                continue
            try:
                events.append(("tasks_snapshot", connection.watch(store.auth())))
                store.apply(*events[-1])
                while not self._over.is_set():
                    self._tell()
                    events.append(connection.receive_event())
                    store.apply(*events[-1])
            except (Closed, *CUT_OFF):
                pass
            finally:
                connection.close()
        self.history.saw("ada", events)


@contextlib.contextmanager
def redis_trial(start_server: StartServer, seed: int, **more: Any) -> Iterator[Trial]:
    store = StoreServer()
    try:
        store.start()
        yield Trial(start_server, f"{store.url}?timeout=10", store, seed, "unreliable:app", **more)
    finally:
        store.remove()


def test_what_was_acknowledged_survives_in_redis(server_process: StartServer, request: pytest.FixtureRequest) -> None:
    """Every change that was answered by one of three servers is there, once, whichever of them is killed."""
    for seed in range(request.config.getoption("history_trials")):
        with redis_trial(server_process, seed) as trial:
            trial.run(KILLS)


def test_what_was_acknowledged_survives_in_a_file(
    server_process: StartServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Every creation and every end is; what was unfinished when its server was killed has failed."""
    for seed in range(request.config.getoption("history_trials")):
        trial = Trial(server_process, f"sqlite:///{tmp_path / f'{seed}.db'}", None, seed)
        trial.run(KILLS)
        trial.servers[0].server.stop()


@pytest.mark.parametrize(
    ("safety", "fault"), [("catchup", "does not end with what is so"), ("nonce", "was advanced")]
)  # fmt: skip
def test_a_trial_finds_that_a_safety_is_off(safety: str, fault: str, server_process: StartServer) -> None:
    """Without catching up a viewer ends with less; a change that is sent again, and not known again, counts twice."""
    with redis_trial(server_process, 2, settle=5.0, SWITCHED_OFF=safety) as trial:
        with pytest.raises(AssertionError, match=fault):
            trial.run(0)
        trial.close()
