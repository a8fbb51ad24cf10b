"""`Client`: the lifecycle functions in a process that serves no viewers."""

from __future__ import annotations

import dataclasses
import os
import ssl
from types import TracebackType
from typing import TypeVar, cast

from .. import values
from ..blocks import Blocks
from ..config import Config
from ..errors import InvalidValue
from ..heart import Heart
from ..operations import ANYBODY, NOBODY, Operations, TaskId, UserId, Word
from ..registry import open_registry, schemes
from ..registry.base import Registry
from ..task import Task
from .conflator import Conflator
from .http import HttpTransport
from .registry import RemoteRegistry
from .sender import Sender
from .store import StoreTransport
from .transport import Transport

_T = TypeVar("_T")


class Client(Blocks):
    """Live progress from a worker: ``Client("https://app.example.com", key="rt_…")``.

    The functions are those of `Realtime`, with the same arguments, results and errors; no user is identified here, so
    ``user_id`` is always given (and over HTTP `list_tasks` takes no ``groups``). ``url`` is where the app is served,
    and ``key`` a worker's key (``realtime keys create``); or it is the store that the servers share (``redis://…``, as
    in `REALTIME_REGISTRY`), without a key. Both are read from ``REALTIME_URL`` and ``REALTIME_KEY`` where omitted.
    ``timeout`` is in seconds, of one answer; ``interval`` too, between two writes of one task's progress; ``max_tasks``
    is how many tasks, and ``max_bytes`` how many bytes of output and of ends, may wait for a server that is away.
    The tasks of blocks and tracked loops are held by a ``lease`` of so many seconds (1 to 86,400; None: not at all), as
    `heartbeat_task` does it. ``ssl_context`` is for a certificate authority of one's own. Raises `ConfigError`.

    An update returns at once, with the newest state as far as it is known here; its version is not final. What others
    did to the task (a request to stop, an end) is known from the answers to what is sent, twenty times a second; after
    half a second without one, an update waits for its answer (at most a second, once in an outage). Creations and ends
    are confirmed when they return. `RegistryUnavailable` is raised when there is no answer in time: an end is kept and
    sent later all the same.

    Any thread may use it, not a signal handler. A forked child goes on with a connection and a thread of its own; what
    its parent had not sent is the parent's to send. Nothing is opened or started before the first call.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        interval: float = 0.05,
        max_tasks: int = 10_000,
        max_bytes: int = 8 * 1024 * 1024,
        lease: float | None = 30.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        for name, value, low, high in (
            ("timeout", timeout, 0.1, 300.0), ("interval", interval, 0.0, 10.0), ("lease", lease, 1.0, 86_400.0),
        ):  # fmt: skip
            if value is not None and not low <= values.number(name, value) <= high:
                raise InvalidValue(name, f"{value}; it may be {low:g} to {high:g} seconds")
        # The limits are the server's where it has the same environment; what it takes less of, it refuses itself.
        config = Config.from_mapping({}, os.environ)
        self._transport = transport = _transport(
            os.environ.get("REALTIME_URL", "") if url is None else url,
            os.environ.get("REALTIME_KEY") if key is None else key,
            ssl_context,
            config,
        )
        self._conflator = Conflator(interval=interval, max_tasks=max_tasks, max_bytes=max_bytes)
        self._sender = Sender(self._conflator, transport, timeout)
        self._conflator.wake = self._sender.wake
        self._remote = RemoteRegistry(self._conflator, self._sender, timeout, transport.name)
        self._remote.watched = lambda task: not task.finished and transport.watched(task.task_id) is not False
        # `Operations` calls of a registry what `RemoteRegistry` has, and nothing else.
        super().__init__(cast(Registry, self._remote), config, lambda: None)
        self.heart = None if lease is None else Heart(
            self._remote.beat, lease, first=self._remote.heartbeat, acknowledge=self._remote.acknowledge_cancel,
            give_back=self._remote.release, forget=self._conflator.disown,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Client of {self._remote.name}>"

    # As those of Realtime.

    def get_task_status(self, task_id: TaskId, *, user_id: UserId | Word | None = ANYBODY) -> Task | None:
        """The newest snapshot as the server has it, after all that was said here; None if there is no such task."""
        task = self._remote.read(values.task_id(task_id))
        if task is None or user_id is ANYBODY:
            return task
        owner = None if user_id is None or user_id is NOBODY else values.user_id(user_id)
        return task if owner is not None and task.user_id == owner else None

    def watched(self, task_id: TaskId) -> bool | None:
        """Whether somebody looks at the task, as the server said last; None while it has not. Over Redis it is False
        when no server has a viewer of it, and None else: only a viewer's server knows whether its page is seen."""
        return self._transport.watched(values.task_id(task_id))

    def _working(self) -> Operations:
        """For handles: they look at the newest state that is known here, and do not ask at each look."""
        working = Operations(self.registry, self.config, lambda: None)
        working.heart = self.heart
        return working

    # Of a client alone.

    def flush(self, timeout: float = 10.0) -> bool:
        """Send all that waits; returns whether it was all answered within ``timeout`` seconds.

        The end of the process does the same, for five seconds.
        """
        return self._sender.flush(timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Send all that waits, as `flush`, and end the connection. What is said afterwards raises
        `RegistryUnavailable`.
        """
        self._sender.flush(timeout)
        self._sender.stop(timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _transport(url: str, key: str | None, ssl_context: ssl.SSLContext | None, config: Config) -> Transport:
    """The way to the server or the store of an address. Raises `ConfigError`."""
    if url.partition("://")[0] in schemes.REDIS:
        # A client keeps the newest states itself, and must hear that the store is away.
        config = dataclasses.replace(config, registry=f"{url}{'&' if '?' in url else '?'}buffer=0")
        return StoreTransport(url, lambda: open_registry(config))
    return HttpTransport(url, key, ssl_context)
