"""Tasks of a server that is reached over HTTP: ``/realtime/v1`` of the app, with a worker's key.

What creates, changes and ends tasks goes to ``POST /batch``, as many calls as there are, in order, under one
``Idempotency-Key``: made again after a lost answer, the same request is answered from what the server remembers. Reads
go one by one. One connection is kept open; one that the server has closed meanwhile is opened again at once.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from ..errors import ConfigError, InvalidValue, RealtimeError, RegistryUnavailable, TaskNotFound
from ..registry.base import Removed
from ..task import Task
from .calls import READS, Call
from .snapshots import decoded
from .transport import Request, Transport, TryLater
from .wire import Error, Page, Refusal, Result, Results, operation_of, problem_of

#: Calls and bytes of one request; a single call may be longer.
MAX_CALLS: Final = 500
MAX_BODY: Final = 512 * 1024
#: Tasks on a page of a list.
MAX_PAGE: Final = 100
#: Bytes of an answer.
MAX_ANSWER: Final = 64 * 1024 * 1024
#: Tasks of which it is remembered whether somebody looks at them.
_MAX_WATCHED: Final = 10_000

_KEY: Final = re.compile(r"[!-~]{16,512}")
#: What a server or a proxy answers that will not answer so for ever.
_LATER: Final = frozenset((408, 425, 429, 502, 503, 504))


class _Batch(Request):
    """A request to ``POST /batch``, as it is on the wire."""

    __slots__ = ("answers", "body", "key", "open", "operations")

    def __init__(self, calls: Sequence[Call], operations: Sequence[bytes]) -> None:
        super().__init__(calls)
        self.operations = operations
        self.answers: list[Any] = [None] * len(calls)
        self.ask(range(len(calls)))

    def ask(self, places: Sequence[int]) -> None:
        """Ask for the operations at these places. It is another request then, with a key of its own."""
        self.open = places
        self.body = b'{"operations":[' + b",".join(self.operations[place] for place in places) + b"]}"
        self.key = secrets.token_urlsafe(18)


class HttpTransport(Transport):
    """See the module. ``url`` is where the app is; raises `ConfigError` for one that is none, and for a key that is
    none.
    """

    def __init__(self, url: str, key: str | None, ssl_context: ssl.SSLContext | None = None) -> None:
        self._address = _address(url)
        if key is None or not _KEY.fullmatch(key):
            raise ConfigError(
                "REALTIME_KEY (the client's key) is missing or not one of a worker: `realtime keys create` makes one."
            )
        self._base = f"{self._address.path.rstrip('/')}/realtime/v1"
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._ssl_context = ssl_context
        self._connection: http.client.HTTPConnection | None = None
        self._watched: dict[str, bool] = {}

    @property
    def name(self) -> str:
        """What the server is called in errors."""
        return f"The server at {self._address.scheme}://{self._address.netloc}"

    # As a transport.

    def requests(self, calls: Sequence[Call]) -> list[Request]:
        requests: list[Request] = []
        batch: list[Call] = []
        operations: list[bytes] = []
        size = 0

        def close() -> None:
            nonlocal size
            if batch:
                requests.append(_Batch(tuple(batch), tuple(operations)))
            batch.clear()
            operations.clear()
            size = 0

        for call in calls:
            if call.verb in READS:
                close()
                requests.append(Request((call,)))
                continue
            operation = operation_of(call)
            if batch and (len(batch) == MAX_CALLS or size + len(operation) > MAX_BODY):
                close()
            batch.append(call)
            operations.append(operation)
            size += len(operation)
        close()
        return requests

    def perform(self, request: Request, timeout: float) -> Sequence[Any]:
        until = time.monotonic() + timeout
        try:
            if isinstance(request, _Batch):
                return self._perform(request, until)
            (call,) = request.calls
            return [_READS[call.verb](self, call, until)]
        except msgspec.DecodeError as error:
            return [RealtimeError(f"{self.name} has answered what is no answer: {error}")] * len(request.calls)
        except RegistryUnavailable:
            raise
        except RealtimeError as error:
            return [error] * len(request.calls)

    def watched(self, task_id: str) -> bool | None:
        return self._watched.get(task_id)

    def leave(self) -> None:
        # The descriptor alone: to close a duplicate says nothing to the other side. To close the connection would wait,
        # for ever, for the lock of its buffer, where the parent's thread was reading an answer when it was forked.
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                os.close(connection.sock.detach())

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # What is asked.

    def _perform(self, batch: _Batch, until: float) -> list[Any]:
        status, body = self._ask("POST", "/batch", until, batch.body, batch.key)
        if status != 200:
            raise self._refusal(status, body, "")
        results = msgspec.json.decode(body, type=Results).results
        if len(results) != len(batch.open):
            raise RealtimeError(f"{self.name} has answered {len(results)} of {len(batch.open)} operations.")
        for place, result in zip(batch.open, results, strict=True):
            batch.answers[place] = self._answer(batch.calls[place], result)
        # What could not be stored there now. To the same request the server would say the same again.
        later = [place for place in batch.open if isinstance(batch.answers[place], RegistryUnavailable)]
        if later:
            batch.ask(later)
            raise RegistryUnavailable(f"The store of {self.name[0].lower()}{self.name[1:]} is out of reach.")
        return batch.answers

    def _answer(self, call: Call, result: Result) -> Any:
        if result.watched is not None:
            if len(self._watched) >= _MAX_WATCHED:
                self._watched.clear()
            self._watched[call.task_id] = result.watched
        if result.error is not None:
            return self._problem(result.status, result.error, call.task_id)
        if result.output is not None:
            return result.output.end
        return decoded(result.task) if result.task else RealtimeError(f"{self.name} has answered nothing.")

    def _get(self, call: Call, until: float) -> Any:
        status, body = self._ask("GET", f"/tasks/{quote(call.task_id)}", until)
        if status == 200:
            return decoded(body)
        problem = self._refusal(status, body, call.task_id)
        if isinstance(problem, TaskNotFound):
            return None
        raise problem

    def _list(self, call: Call, until: float) -> Any:
        user_id, groups, limit, before, finished = call.args
        if groups:
            raise InvalidValue("groups", "over HTTP the tasks of a user are listed, not those of groups")
        tasks: list[Task] = []
        while True:  # the server ends a page early where it grows long
            asked = {"user_id": user_id, "limit": min(limit - len(tasks), MAX_PAGE), "before": before}
            query = urlencode({name: value for name, value in asked.items() if value is not None})
            status, body = self._ask("GET", f"/tasks?{query}", until)
            if status != 200:
                raise self._refusal(status, body, "")
            page = msgspec.json.decode(body, type=Page)
            found, before = [decoded(task) for task in page.tasks], page.next
            tasks += [task for task in found if finished is None or task.finished is finished]
            if before is None or len(tasks) == limit:
                return tasks, before

    def _remove(self, call: Call, until: float) -> Any:
        task = self._get(call, until)
        if task is None:
            raise TaskNotFound(call.task_id)
        status, body = self._ask("DELETE", f"/tasks/{quote(call.task_id)}", until)
        if status != 204:
            raise self._refusal(status, body, call.task_id)
        return Removed(task.task_id, task.user_id, task.groups, task.epoch, task.version + 1)

    # How.

    def _ask(
        self, method: str, path: str, until: float, body: bytes | None = None, key: str | None = None
    ) -> tuple[int, bytes]:
        """The status and the body of an answer that is final. Raises `RegistryUnavailable` for none."""
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        while True:
            kept = self._connection
            try:
                response, answer = self._exchange(method, self._base + path, body, headers, until)
                break
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # The server may close a connection that it has kept, just when it is used: that is no outage.
                if kept is not None and isinstance(error, ConnectionError) and time.monotonic() < until:
                    continue
                raise RegistryUnavailable(f"{self.name} cannot be reached ({_reason(error)}).") from error
        if response.will_close:
            self.close()
        code = _code(answer)
        if (response.status in _LATER and code != "multiprocess") or code == "idempotency_key_in_use":
            raise TryLater(f"{self.name} has answered {response.status}.", _pause(response))
        return response.status, answer

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], until: float
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connection
        if connection is None:
            connection = self._connect(_left(until))
            connection.connect()
            self._connection = connection
        connection.sock.settimeout(_left(until))
        connection.request(method, path, body, headers)
        connection.sock.settimeout(_left(until))
        sock = connection.sock  # which an answer that ends the connection takes from it
        response = connection.getresponse()
        parts: list[bytes] = []
        size = 0
        while True:
            sock.settimeout(_left(until))
            part = response.read1(1 << 20)
            if not part:
                response.close()  # all of it was read: the connection is free for the next request
                return response, b"".join(parts)
            size += len(part)
            if size > MAX_ANSWER:
                raise http.client.HTTPException(f"more than {MAX_ANSWER} bytes")
            parts.append(part)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        # Verifies the certificate and the name.
        context = self._ssl_context or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    # What is refused.

    def _refusal(self, status: int, body: bytes, task_id: str) -> RealtimeError:
        try:
            error = msgspec.json.decode(body, type=Refusal).error
        except msgspec.DecodeError:
            return RealtimeError(f"{self.name} has answered {status} at {self._base}: is that where the app is served?")
        if status == 404 and not task_id:
            return RealtimeError(f"{self.name} takes nothing from workers: REALTIME_WORKER_KEYS is not set there.")
        return self._problem(status, error, task_id)

    def _problem(self, status: int, error: Error, task_id: str) -> RealtimeError:
        text = f"{self.name} refuses with {status}: {error.message} ({error.code})"
        return problem_of(task_id, error) or RealtimeError(text)


_READS: Final[dict[str, Callable[[HttpTransport, Call, float], Any]]] = {
    "get": HttpTransport._get,
    "list": HttpTransport._list,
    "remove": HttpTransport._remove,
}


def _address(url: str) -> SplitResult:
    problem = "is not where an app is: give http(s)://host[:port][/path], without a user, a query and a fragment"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"REALTIME_URL (the client's address) {problem}.") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ConfigError(f"REALTIME_URL (the client's address) {problem}.")  # never shown: it may hold a password
    return parts


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _code(body: bytes) -> str | None:
    if not body.startswith(b'{"error"'):
        return None
    try:
        return msgspec.json.decode(body, type=Refusal).error.code
    except msgspec.DecodeError:
        return None


def _pause(response: http.client.HTTPResponse) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:  # a date
        return 0.0
