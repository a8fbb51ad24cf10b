"""The way to the server: its address, time limits, the scripts, and whether it still has its memory.

No call takes longer than a time limit of its own, and none is made twice unless that does no harm: a change carries a
nonce by which its script knows it again when the answer to it was lost.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from ...errors import ConfigError, RegistryUnavailable
from .. import schemes
from .keys import Keys

SCRIPTS: Final = ("open", "register", "create", "store", "remove", "settle", "due", "append", "read")
#: Seconds: the longest time limit. A request waits for as long, and viewers learn no sooner that the store is away.
MAX_TIMEOUT: Final = 60.0
_T = TypeVar("_T")


class Link:
    """``timeout`` is in seconds, unless the address says it: of one answer, and of making a connection. Nothing is
    opened before the first call."""

    def __init__(self, url: str, timeout: float) -> None:
        self.client, prefix, database, self.timeout = _client(url, timeout, self._greet)
        self.keys = Keys(prefix, database)
        self._scripts = {name: self.client.register_script(_source(name)) for name in SCRIPTS}
        #: The run id of the server that the last connection was made to.
        self._run: str | None = None
        #: The epoch, None while it must be asked for; and the last that was known.
        self._epoch: str | None = None
        self._last: str | None = None
        #: What the server's clock is ahead of ours, in seconds.
        self.offset = 0.0
        #: Called with a new epoch, when there was one before. Must not raise.
        self.on_epoch: Callable[[str], None] | None = None

    # Calls.

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script. Raises `RegistryUnavailable`."""
        self.open()
        return self.attempt(lambda: self._scripts[name](keys, args))

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run a script several times on one way there and back. Raises `RegistryUnavailable`."""
        self.open()

        def attempt() -> Any:
            pipe = self.client.pipeline(transaction=False)
            for keys, args in calls:
                self._scripts[name](keys, args, client=pipe)
            return pipe.execute()

        return self.attempt(attempt) if calls else []

    def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Give commands on one way there and back, in this order; they must do no harm when they are given twice.

        Raises `RegistryUnavailable`.
        """
        self.open()

        def attempt() -> Any:
            pipe = self.client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()

        return self.attempt(attempt)

    def attempt(self, call: Callable[[], _T]) -> _T:
        """Make a call; make it once more if its connection turned out to be dead (the server may be a new one by now).

        Raises `RegistryUnavailable`.
        """
        try:
            try:
                return call()
            except redis.exceptions.TimeoutError:  # the time is over
                raise
            except redis.exceptions.ConnectionError:
                return call()
        except redis.exceptions.ReadOnlyError as error:  # a primary no more: find the one that is
            self.client.connection_pool.disconnect()
            raise _unavailable(error) from error
        except redis.exceptions.RedisError as error:
            raise _unavailable(error) from error

    def connection(self) -> Any:
        """A connection of one's own, not made yet."""
        return self.client.connection_pool.make_connection()

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        self.client.connection_pool.disconnect()

    # Memory.

    @property
    def epoch(self) -> str:
        """The epoch of the store. Raises `RegistryUnavailable` while it is not known."""
        return self.open()

    @property
    def known_epoch(self) -> str | None:
        """The same without asking: None while it is not known."""
        return self._epoch

    def open(self) -> str:
        """Find out the epoch, unless it is known, and begin a new one if the server is another than it began on."""
        epoch = self._epoch
        return self.look() if epoch is None else epoch

    def look(self) -> str:
        """Ask for epoch and time. Raises `RegistryUnavailable`."""
        if self._run is None:
            self.attempt(self.client.ping)
        while True:
            run, asked = self._run, time.time()
            answer = self.attempt(partial(self._scripts["open"], [self.keys.meta], [run, secrets.token_hex(8)]))
            if run == self._run:
                break  # else it was another server that answered
        epoch, seconds, micros = answer
        self.offset = int(seconds) + int(micros) / 1e6 - (asked + time.time()) / 2
        return self._note(epoch.decode())

    def heard(self, epoch: str) -> None:
        """A call has told the epoch that stands in the store. Not whose it is: that only `look` finds out."""
        if epoch != self._epoch:
            self.look()

    def _note(self, epoch: str) -> str:
        former, self._epoch, self._last = self._last, epoch, epoch
        if former is not None and former != epoch and self.on_epoch is not None:
            self.on_epoch(epoch)
        return epoch

    def _greet(self, connection: Any) -> None:
        """A connection is made: see which server it is."""
        connection.on_connect()
        connection.send_command("INFO", "server", check_health=False)
        run = _run_id(connection.read_response())
        if run != self._run:
            self._run = run
            self._epoch = None  # asked for anew before the next call


def _run_id(info: bytes) -> str:
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].decode()
    return ""


def _unavailable(error: Exception) -> RegistryUnavailable:
    # Clients read this too: hosts and ports are in the error that it comes from, for the log.
    return RegistryUnavailable(f"The task store cannot be reached now ({type(error).__name__}).")


def _source(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


def _client(url: str, timeout: float, greet: Callable[[Any], None]) -> tuple[Any, str, int, float]:
    """The client of an address, its prefix, its database, and its time limit. Raises `ConfigError`."""
    try:
        parts = urlsplit(url)
    except ValueError:  # whose texts may quote the password
        raise ConfigError("REALTIME_REGISTRY is no address of a task store.") from None
    scheme = parts.scheme.replace("valkey", "redis")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = query.pop("prefix", "rt")
    if parts.scheme not in schemes.REDIS:
        raise ConfigError(
            f"REALTIME_REGISTRY begins with {parts.scheme!r}; it may be one of {', '.join(schemes.REDIS)}."
        )
    if not prefix or set(prefix) & set("{}* \n"):
        raise ConfigError("The prefix in REALTIME_REGISTRY is one or more letters without braces and blanks.")
    timeout = _seconds(query.pop("timeout", None), timeout)
    options: dict[str, Any] = {
        "socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2, "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": greet,
    }  # fmt: skip
    try:
        if scheme.endswith("+sentinel"):
            client = _sentinel(parts.netloc, parts.path, query, options)
        else:
            address = f"{scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"
            client = redis.Redis.from_url(address, **options)
        database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    except (ValueError, TypeError, LookupError) as error:  # whose texts may quote the password
        raise ConfigError(
            f"REALTIME_REGISTRY is no address of a task store: {parts.scheme}://… cannot be read "
            f"({type(error).__name__})."
        ) from None
    return client, prefix, database, timeout


def _seconds(text: str | None, default: float) -> float:
    try:
        seconds = default if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds <= MAX_TIMEOUT:
        raise ConfigError(f"The timeout in REALTIME_REGISTRY is a number of seconds above 0, up to {MAX_TIMEOUT:g}.")
    return seconds


def _sentinel(netloc: str, path: str, query: dict[str, str], options: dict[str, Any]) -> Any:
    """``redis+sentinel://[user:password@]host[:port],…/service[/database]``; the password is that of the service."""
    login, _, hosts = netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, database = path.lstrip("/").partition("/")
    if not service or not hosts:
        raise ValueError("a service and a host are needed")
    sentinels = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":") if ":" in host else (host, "", "26379")
        sentinels.append((name, int(port)))
    given = {"username": unquote(user) or None, "password": unquote(password) or None, **query}
    limits = {key: options[key] for key in ("socket_timeout", "socket_connect_timeout", "protocol", "retry")}
    sentinel: Any = Sentinel(sentinels, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
    return sentinel.master_for(unquote(service), **{"db": int(database or 0), **options, **given})
