"""A small server of the worker endpoints, on a thread of the test, that does what the test wants to each request.

It stands in for the real one where that would never lose an answer, hang or be away just when a test needs it. The
tasks are in a real registry, so versions, ends and errors are the real ones.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from realtime.config import Config
from realtime.errors import RealtimeError, TaskAlreadyFinished, TaskNotFound
from realtime.operations import NOBODY, Operations
from realtime.registry.memory import MemoryRegistry

from .ports import free_port

KEY = "rt_0123abcd_" + "k" * 43


class Sent:
    """A request that has come in."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        self.at = time.monotonic()
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body


class WorkerServer:
    """``faults`` holds what happens to the next requests, one each:

    - ``"lose"``: it is done, and the connection is closed without an answer,
    - ``"drop"``: the connection is closed before anything is done,
    - a number: that status is answered, and nothing is done; with a text, which is the error's code,
    - an Event: the answer waits until it is set.
    """

    def __init__(self) -> None:
        self.operations = Operations(MemoryRegistry(), Config(), lambda: None)
        self.requests: list[Sent] = []
        self.faults: deque[str | int | tuple[int, str] | threading.Event] = deque()
        #: What each operation was, in the order in which they were done; a replayed one is not there again.
        self.done: list[dict[str, Any]] = []
        #: What the answers say about who looks.
        self.watched: bool | None = None
        #: Tasks of a list after which its page is full, whatever was asked for.
        self.page = 100
        self.connections = 0
        self._answers: dict[str, tuple[bytes, int, bytes]] = {}
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._server: ThreadingHTTPServer | None = None
        #: None that a client's connection could be given while the server is away.
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> WorkerServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, at the same port as before."""
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Go away, with all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def batches(self) -> list[Sent]:
        """The batches that have come in, each time that they were sent."""
        return [sent for sent in self.requests if sent.path.endswith("/batch")]

    def of(self, op: str) -> list[dict[str, Any]]:
        """The operations of a kind that were done."""
        return [operation for operation in self.done if operation["op"] == op]

    # For the handler.

    def opened(self, connection: socket.socket, server: socketserver.BaseServer) -> None:
        with self._lock:
            self.connections += 1
            if server is self._server:
                self._open.append(connection)
                return
        # It was accepted, and before this thread had its turn the server went away: with all connections.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def answer(self, method: str, path: str, headers: dict[str, str], data: bytes) -> tuple[int, bytes]:
        body = json.loads(data) if data else None
        with self._lock:
            if headers.get("Authorization") != f"Bearer {KEY}":
                return _refusal(401, "key_invalid", "This key is not known.")
            kept = self._answers.get(headers.get("Idempotency-Key", ""))
            if kept is not None:
                assert kept[0] == data, "the same key for another request"
                return kept[1], kept[2]
            status, answer = self._answer(method, path, body)
            if status == 200 and "Idempotency-Key" in headers:
                self._answers[headers["Idempotency-Key"]] = data, status, answer
            return status, answer

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        parts = urlsplit(path)
        words = parts.path.removeprefix("/realtime/v1/").split("/")
        if method == "POST" and words == ["batch"]:
            return 200, json.dumps(
                {"results": [self._do(dict(operation)) for operation in body["operations"]]}
            ).encode()
        try:
            if method == "GET" and words[0] == "tasks" and len(words) == 2:
                return 200, self.operations.require(words[1]).encode()
            if method == "GET" and words == ["tasks"]:
                return 200, self._list(parse_qs(parts.query))
            if method == "DELETE" and len(words) == 2:
                self.operations.remove_task(words[1])
                return 204, b""
        except RealtimeError as error:
            return error.http_status, json.dumps({"error": _error(error)}).encode()
        return _refusal(404, "not_found", "Nothing is here.")

    def _list(self, query: dict[str, list[str]]) -> bytes:
        assert 1 <= int(query["limit"][0]) <= 100
        page = self.operations.list_tasks(
            query["user_id"][0], limit=min(int(query["limit"][0]), self.page), before=query.get("before", [None])[0]
        )
        return json.dumps({"epoch": "e", "tasks": [task.as_dict() for task in page], "next": page.next}).encode()

    def _do(self, operation: dict[str, Any]) -> dict[str, Any]:
        self.done.append(dict(operation))
        op, task_id = operation.pop("op"), operation.pop("task_id")
        holder = None if op == "heartbeat" else operation.pop("holder", None)
        operations = self.operations if holder is None else self.operations.holding(holder)
        try:
            if op == "output":
                end = operations.append_output(task_id, operation["text"], stream=operation["stream"])
                return {"status": 200, "output": {"task_id": task_id, "stream": operation["stream"], "end": end}}
            task = _FUNCTIONS[op](operations, task_id, operation)
        except RealtimeError as error:
            return {"status": error.http_status, "error": _error(error)}
        more = {} if self.watched is None else {"watched": self.watched}
        return {"status": 200, "task": task.as_dict(), **more}


def _create(operations: Operations, task_id: str, given: dict[str, Any]) -> Any:
    user_id = given.pop("user_id")
    return operations.create_task(task_id, NOBODY if user_id is None else user_id, **given)


_FUNCTIONS: dict[str, Any] = {
    "create": _create,
    "update": lambda operations, task_id, given: operations.update_task_progress(task_id, **given),
    "heartbeat": lambda operations, task_id, given: (
        operations.registry.release(task_id, given["holder"])
        if given.get("release")
        else operations.heartbeat_task(
            task_id, given["lease"], holder=given.get("holder"), takeover=given.get("takeover", False)
        )
    ),
    "acknowledge_cancel": lambda operations, task_id, given: operations.acknowledge_cancel(task_id),
    "start": lambda operations, task_id, given: operations.start_task(task_id),
    "complete": lambda operations, task_id, given: operations.complete_task(task_id, given.get("result")),
    "fail": lambda operations, task_id, given: operations.fail_task(task_id, **given),
    "cancel": lambda operations, task_id, given: operations.cancel_task(task_id, done=given["done"]),
}


def _error(error: RealtimeError) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, TaskAlreadyFinished):
        told["status"] = error.status
    if isinstance(error, TaskNotFound):
        told["task_id"] = error.task_id
    if isinstance(error, ValueError):
        told["field"] = getattr(error, "field", "")
    return told


def _refusal(status: int, code: str, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"code": code, "message": message}}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: WorkerServer

    def setup(self) -> None:
        super().setup()
        self.server_of.opened(self.connection, self.server)

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner = self.server_of
        owner.requests.append(
            Sent(self.command, self.path, dict(self.headers.items()), json.loads(data) if data else None)
        )
        fault = owner.faults.popleft() if owner.faults else None
        if fault == "drop":
            self.close_connection = True
            return
        if isinstance(fault, int):
            status, answer = _refusal(fault, "unavailable", "Not now.")
        elif isinstance(fault, tuple):
            status, answer = _refusal(*fault, "Not now.")
        else:
            status, answer = owner.answer(self.command, self.path, dict(self.headers.items()), data)
        if isinstance(fault, threading.Event):
            fault.wait(30)
        if fault == "lose":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815  # the names that the handler is looked up by

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what came in is in `WorkerServer.requests`."""
