"""A test's hand on an app that runs in a server process: see `support.apps.making`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .process import ServerProcess, StartServer
from .tools import ROOT

#: Seconds that anything may take which a test waits for. Long enough that only a fault reaches it.
PATIENCE = 30.0


def environment(**more: str) -> dict[str, str]:
    """The environment of a server that loads apps of ``support.apps``."""
    known = os.environ.get("PYTHONPATH")
    path = [str(ROOT / "tests"), *([known] if known else [])]
    return {"PYTHONPATH": os.pathsep.join(path), **more}


def realtime(*arguments: str) -> list[str]:
    """The ``realtime`` command of this environment."""
    return [str(Path(sys.executable).with_name("realtime")), *arguments]


def serve(app: str, *arguments: str) -> list[str]:
    """``realtime serve`` for an app of ``support.apps``."""
    return realtime("serve", f"support.apps.{app}", "--port", "{port}", *arguments)


def start(
    start_server: StartServer, command: list[str], also: Mapping[str, str] | None = None, *, noisy: bool = False,
    **settings: str,
) -> Remote:  # fmt: skip
    """Start a server of one of the apps; ``also`` and ``settings`` are environment variables."""
    return Remote(start_server(command, env=environment(**(also or {}), **settings), noisy=noisy))


class Refused(AssertionError):
    """The app has answered with an error. ``code`` is the one of the error, if there is any."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.code: str | None = None
        with contextlib.suppress(ValueError, TypeError, KeyError):
            self.code = json.loads(body)["error"]["code"]


class Remote:
    """Drives the app and looks into it, over HTTP."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.url = server.url

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> tuple[int, str]:  # fmt: skip
        """Status and body of an answer. ``body`` goes as JSON; ``patience`` is in seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=patience)
        data = None if body is None else json.dumps(body)
        given = {} if body is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, data, {**given, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer; None for an empty one. Raises `Refused`."""
        status, text = self.request(method, path, body)
        if status >= 300:
            raise Refused(status, text)
        return json.loads(text) if text else None

    def call(self, function: str, *, where: str = "view", **arguments: Any) -> Any:
        """Call a lifecycle function in a view, ``thread``, ``pool``, ``timer`` or ``native`` thread of the server."""
        return self.json("POST", f"/call/{function}?where={where}", arguments)

    def create(self, user: str, **arguments: Any) -> str:
        """Create a task; its id."""
        made: str = self.call("create_task", user_id=user, **arguments)["task_id"]
        return made

    def job(self, kind: str, user: str, **kwargs: Any) -> str:
        """Start a job; the id of its task."""
        made: str = self.json("POST", f"/job/{kind}", {"user_id": user, "kwargs": kwargs})["task_id"]
        return made

    def ticket(self, **what: str) -> str:
        """A ticket: ``user=…`` or ``task=…``."""
        query = {"for" if name == "user" else name: value for name, value in what.items()}
        return self.request("GET", f"/ticket?{urllib.parse.urlencode(query)}")[1]

    def emit(self, event: str, where: str = "view", **arguments: Any) -> None:
        """Emit an event as the host app would, from a place as for `call`."""
        self.json("POST", f"/emit?where={where}", {"event": event, **arguments})

    def open_gate(self, name: str) -> None:
        self.json("POST", f"/gate/{name}")

    def waiting_at(self, name: str) -> int:
        """How many wait at a gate."""
        number: int = self.json("GET", f"/gate/{name}")["waiting"]
        return number

    def stats(self) -> dict[str, Any]:
        """What the server holds: see `support.apps.making.look_into`."""
        found: dict[str, Any] = self.json("GET", "/stats")
        return found

    def wait_for_stats(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Look until ``condition`` is true of what the server holds. AssertionError if that never is."""
        seen: dict[str, Any] = wait_until(self.stats, condition)
        return seen

    @contextlib.contextmanager
    def in_background(self, method: str, path: str, times: int = 1) -> Iterator[list[tuple[int, str]]]:
        """Have requests under way during the block; all have been answered at its end, and are in the list then."""
        answers: list[tuple[int, str]] = []
        threads = [
            threading.Thread(target=lambda: answers.append(self.request(method, path)), daemon=True)
            for _ in range(times)
        ]
        for thread in threads:
            thread.start()
        yield answers
        for thread in threads:
            thread.join(PATIENCE)
        assert len(answers) == times


def wait_until(look: Callable[[], Any], condition: Callable[[Any], bool], timeout: float = PATIENCE) -> Any:
    """Look again and again until what is seen is as it should be; what was seen then. AssertionError if it never is."""
    until = time.monotonic() + timeout
    while not condition(seen := look()):
        assert time.monotonic() < until, f"this is how it stayed: {seen}"
        time.sleep(0.02)
    return seen
