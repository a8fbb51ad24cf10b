"""A trial: servers, writers that note what was acknowledged, viewers that note what they saw, and what is done to the
servers, their store or their network meanwhile. What comes of it is for `support.history` to judge."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
import websocket

from . import remote
from .history import ENDS, History
from .process import StartServer
from .remote import PATIENCE, Refused, Remote
from .store import Store
from .stores import StoreServer, started
from .wire import ACCEPTED, CONNECT, Closed, Wire

WRITERS = VIEWERS = 3
#: The tasks that a writer makes between two disturbances.
TASKS = 4
#: Tasks that come and end while no server hears of it.
LAST = 5
#: Changes that are answered between two disturbances, at least and at most.
LEAST, MOST = 40, 120
#: What may become of a call whose server is killed.
CUT_OFF = (OSError, http.client.HTTPException)
#: How a task is made to end so.
_ENDING = {"completed": "complete_task", "failed": "fail_task"}


class Trial:
    """Servers, writers and viewers of one user; ``store`` is a Redis that the servers share, None for one file.

    ``settle``: the seconds after which a viewer that does not know what is so is taken never to learn it.
    """

    def __init__(
        self, start_server: StartServer, registry: str, store: StoreServer | None, seed: int, app: str = "plain:app",
        settle: float = PATIENCE, servers: int = VIEWERS, **environment: str,
    ) -> None:  # fmt: skip
        self._start_server = start_server
        self._store = store
        self._app = app
        self._settle = settle
        self._environment = remote.environment(
            FLASK_REALTIME_REGISTRY=registry, FLASK_REALTIME_FLUSH_INTERVAL="0.005", **environment
        )
        self._choose = random.Random(seed)
        self.history = History(keeps_progress=store is not None)
        #: Whether the store has lost its memory: then there are tasks no more that there were.
        self.forgetful = False
        self._news = threading.Condition()
        self._answers = 0
        self._round = 0
        self._writing = False
        self._over = threading.Event()
        self._stores = [Store() for _ in range(VIEWERS)]
        self._wires: dict[int, Wire] = {}
        self._failures: list[BaseException] = []
        self.servers = [self._serve() for _ in range(1 if store is None else servers)]
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

    def wait_for(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until something is so that news may make so. AssertionError, with ``what`` there is, if it never is."""
        with self._news:
            assert self._news.wait_for(lambda: self._failures or condition(), timeout), what
        if self._failures:
            raise self._failures[0]

    # What is done.

    def run(self, kills: int) -> None:
        """Kill a server so often, each time while all write, and start it again."""
        for _ in range(kills):
            with self.written():
                victim = self._choose.randrange(len(self.servers))
                self.servers[victim].server.send_signal(signal.SIGKILL)
                self.servers[victim].server.wait()
                if self._store is None:  # all who write have been cut off
                    self._writing = False
            self.servers[victim] = self._serve(self.servers[victim].server.port)
            self.look(frozenset(self.history.tasks() if self._store is None else ()))
        self.finish()

    def finish(self) -> None:
        """Write once more, and a last word that viewers have to learn by themselves; then judge."""
        with self.written():
            pass
        with self._deaf():
            server = self.servers[0]
            for number in range(LAST):
                self.history.acknowledged(server.call("create_task", task_id=f"last-{number}", user_id="ada"))
            for task_id, state in self.look().items():
                if state["status"] not in ENDS:
                    self.history.acknowledged(server.call("complete_task", task_id=task_id))
        truth = self.look()
        over = time.monotonic() + self._settle
        for number, store in enumerate(self._stores):
            while store.tasks != truth:
                left = over - time.monotonic()
                assert left > 0, f"viewer {number} does not end with what is so: {_difference(store.tasks, truth)}"
                with self._news:
                    self._news.wait(min(left, 1.0))
                if self._failures:
                    raise self._failures[0]
        self.close()
        self.history.check({})

    def close(self) -> None:
        """End the viewers."""
        self._over.set()
        for connection in list(self._wires.values()):
            if (sock := connection.socket.sock) is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)  # to close it would not wake the thread that waits for it
        for viewer in self._viewers:
            viewer.join(PATIENCE)
            assert not viewer.is_alive()
        if self._failures:
            raise self._failures[0]

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Have writers at work; in the block enough was answered to disturb them, and they stop after it."""
        self._writing, self._round = True, self._round + 1
        writers = [self._start(self._write, number) for number in range(WRITERS)]
        self.wait_for_answers(self._choose.randrange(LEAST, MOST))
        yield
        self._writing = False
        for writer in writers:
            writer.join(PATIENCE)
            assert not writer.is_alive()

    def wait_for_answers(self, number: int) -> None:
        """Wait until so many more changes were answered."""
        enough = self._answers + number
        self.wait_for(lambda: self._answers >= enough, PATIENCE, "too few changes were answered")

    @contextlib.contextmanager
    def _deaf(self) -> Iterator[None]:
        """Cut the servers off from the news of the store as often as they come back to them."""
        if self._store is None:
            yield
            return
        over, begun = threading.Event(), threading.Event()

        def cut(_: int) -> None:
            assert self._store is not None
            with contextlib.closing(self._store.client()) as client:
                while not over.wait(0.01):
                    with contextlib.suppress(redis.exceptions.ResponseError):
                        if client.client_kill_filter(_type="pubsub"):
                            begun.set()

        cutter = self._start(cut, 0)
        assert begun.wait(PATIENCE), "there is nobody to cut off"
        yield
        over.set()
        cutter.join(PATIENCE)

    def _write(self, number: int) -> None:
        """Create, advance and end tasks, until it is time to stop, or the server is gone."""
        choose = random.Random(f"{self._round} {number}")
        server = self.servers[number % len(self.servers)]
        mine: list[str] = []
        end: str | None
        asked = created = 0
        while self._writing:
            kind = choose.random()
            more: dict[str, Any] = {}
            if not mine or (len(mine) < 2 and created < TASKS):
                asked += 1
                task_id, end, verb = f"{self._round}-{number}-{asked}", "created", "create_task"
                more["user_id"] = "ada"
            elif kind < 0.2 and created < TASKS:
                task_id, end = mine.pop(choose.randrange(len(mine))), choose.choice(("completed", "failed"))
                verb = _ENDING[end]
                more.update({"error": "no"} if end == "failed" else {"result": created})
            else:
                task_id, end, verb = choose.choice(mine), None, "update_task_progress"
                more["advance"] = 1
            try:
                snapshot = server.call(verb, task_id=task_id, **more)
            except CUT_OFF:
                self.history.unanswered(task_id, end)
                return
            except Refused as refused:
                if self.forgetful and refused.code == "not_found":
                    mine = [one for one in mine if one != task_id]
                    continue
                if refused.code != "unavailable":
                    raise
                self.history.unanswered(task_id, end)
                continue
            if end == "created":
                created += 1
                mine.append(task_id)
            if end is None:
                self.history.advanced(snapshot)
            else:
                self.history.acknowledged(snapshot)
            self._tell(1)

    def look(self, lost: frozenset[str] = frozenset()) -> dict[str, dict[str, Any]]:
        """What the servers know of all tasks, which is what was acknowledged; the workers of ``lost`` are gone."""
        server = self.servers[0]
        states: dict[str, dict[str, Any]] = server.call("get_tasks", task_ids=self.history.tasks())
        self.history.survived(states, lost, server.stats()["epoch"] if self.forgetful else None)
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
            except (Closed, websocket.WebSocketException, *CUT_OFF):
                server = choose.randrange(VIEWERS)  # another one, while there is one
                self._over.wait(0.01)
                continue
            try:
                connection.send(CONNECT + json.dumps(store.auth()))
                answer = connection.receive()
                assert str(answer).startswith(ACCEPTED), answer
                while not self._over.is_set():
                    self._tell()
                    events.append(connection.receive_event())
                    store.apply(*events[-1])
            except (Closed, *CUT_OFF):
                pass
            finally:
                connection.close()
        self.history.saw("ada", events)


def _difference(seen: dict[str, Any], truth: dict[str, Any]) -> str:
    """What a viewer knows otherwise, at most three of them."""
    others = [task_id for task_id in {**seen, **truth} if seen.get(task_id) != truth.get(task_id)]
    return "; ".join(f"{one}: {seen.get(one)}, and it is {truth.get(one)}" for one in others[:3])


@contextlib.contextmanager
def redis_trial(
    start_server: StartServer, seed: int, store: StoreServer | None = None, url: str | None = None,
    app: str = "unreliable:app", timeout: float = 10.0, **more: Any,
) -> Iterator[Trial]:  # fmt: skip
    """A trial on a Redis, which is gone afterwards; ``url`` is where servers find it, if that is not where it is."""
    with started(StoreServer() if store is None else store) as store:
        yield Trial(start_server, f"{url or store.url}?timeout={timeout}", store, seed, app, **more)
