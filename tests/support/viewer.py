"""A viewer as an app's user has one, on python-socketio's client: what it was told, and waits for what it will be."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import socketio
from socketio.exceptions import ConnectionError as Rejected

from realtime import protocol

from .remote import PATIENCE

NAMESPACE = protocol.NAMESPACE
TASK_EVENTS = ("task_created", "task_progress", "task_completed", "task_failed", "task_cancelled")

Event = tuple[str, Any]


class Viewer:
    """One connection to ``/tasks``, as ``user``. Threads of the client write, the test reads."""

    def __init__(self, url: str, user: str | None = None, **query: str) -> None:
        given = {**({} if user is None else {"user": user}), **query}
        self._url = f"{url}?{urllib.parse.urlencode(given)}"
        self._news = threading.Condition()
        #: All that came, in order: event and payload.
        self.events: list[Event] = []
        #: The newest payload of each task.
        self.tasks: dict[str, Any] = {}
        self.refusal: Any = None
        self.client = socketio.Client(reconnection=False)
        self.client.on("*", self._note, namespace=NAMESPACE)
        self.client.on("disconnect", lambda *_: self._note("disconnect"), namespace=NAMESPACE)
        self.client.on("connect_error", self._refused, namespace=NAMESPACE)

    def connect(
        self,
        *transports: str,
        auth: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        also: tuple[str, ...] = (),
        first: str = "tasks_snapshot",
    ) -> Viewer:
        """Connect and wait for the ``first`` event. ``also`` are other namespaces. Raises `Rejected` if it is refused
        or the connection ends.
        """
        # Several spaces at once: the client waits for all of them, or for the refusal of one.
        self.client.connect(
            self._url, namespaces=[NAMESPACE, *also], transports=list(transports or ("websocket",)), auth=auth,
            headers=headers or {}, wait_timeout=PATIENCE,
        )  # fmt: skip
        self.wait_for(lambda: any(event in (first, "disconnect") for event, _ in self.events), first)
        if not self.count(first):
            raise Rejected("The connection has ended at once.")
        return self

    def connect_refused(self, *transports: str, **more: Any) -> Any:
        """Try to connect and be refused. Returns the code of the reason."""
        try:
            self.connect(*transports, **more)
        except Rejected:
            with self._news:
                assert self._news.wait_for(lambda: self.refusal is not None, PATIENCE)
            return self.refusal["data"]["code"]
        finally:
            self.close()
        raise AssertionError("was not refused")

    def close(self) -> None:
        self.client.disconnect()
        self.client.eio.wait()  # for its reading thread
        if self.client.eio.ws is not None:  # which it leaves open when it was the server that closed
            self.client.eio.ws.shutdown()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a request and wait for its acknowledgement."""
        return self.client.call(command, arguments, namespace=NAMESPACE, timeout=int(PATIENCE))

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until ``condition`` is true; it is looked at whenever something comes."""
        with self._news:
            assert self._news.wait_for(condition, PATIENCE), f"no {what}; this came: {self.events[-20:]}"

    def wait_for_event(self, name: str, matching: Callable[[Any], bool] = lambda payload: True) -> Any:
        """Wait for an event; the payload of the first one that matches."""

        def found() -> bool:
            return any(event == name and matching(payload) for event, payload in self.events)

        self.wait_for(found, name)
        with self._news:
            return next(payload for event, payload in self.events if event == name and matching(payload))

    def wait_for_task(self, task_id: str, **fields: Any) -> Any:
        """Wait until a task shows these values (``message`` and ``percent`` are of its progress); its snapshot."""

        def shows() -> bool:
            task = self.tasks.get(task_id)
            if task is None:
                return False
            seen = {**task, **task["progress"]}
            return all(seen[name] == value for name, value in fields.items())

        self.wait_for(shows, f"{task_id} with {fields}")
        return self.tasks[task_id]

    def heard_of(self, task_id: str) -> list[Event]:
        """What came of one task, in order; what a snapshot held too."""
        with self._news:
            return [
                (event, payload)
                for event, payload in self._each()
                if payload["task_id"] == task_id
            ]  # fmt: skip

    def count(self, event: str) -> int:
        with self._news:
            return sum(name == event for name, _ in self.events)

    def _each(self) -> Iterator[Event]:
        for event, payload in self.events:
            if event in TASK_EVENTS:
                yield event, payload
            elif event == "tasks_snapshot":
                yield from (("tasks_snapshot", task) for task in payload["tasks"])

    def _note(self, event: str, payload: Any = None, *_: Any) -> None:
        with self._news:
            self.events.append((event, payload))
            if event in TASK_EVENTS:
                self.tasks[payload["task_id"]] = payload
            elif event == "tasks_snapshot":
                self.tasks.update((task["task_id"], task) for task in payload["tasks"])
            self._news.notify_all()

    def _refused(self, reason: Any) -> None:
        with self._news:
            self.refusal = reason
            self._news.notify_all()


@contextmanager
def watching(url: str, user: str | None, *transports: str, **more: Any) -> Iterator[Viewer]:
    """A connected viewer, closed at the end of the block. ``more`` goes to `Viewer.connect`."""
    viewer = Viewer(url, user)
    try:
        yield viewer.connect(*transports, **more)
    finally:
        viewer.close()
