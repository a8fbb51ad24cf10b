"""What the address of a store says: where it is, which kind of store, the prefix of its names, and time limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from ...errors import ConfigError
from .. import schemes

#: Seconds: the longest time limit. A request waits for as long, and viewers learn no sooner that the store is away.
MAX_TIMEOUT: Final = 60.0
#: Connections of a client: as many as threads call at once, whom an end to them would refuse. redis-py's is 100.
_MAX_CONNECTIONS: Final = 10_000
#: Tasks whose newest state can wait for a store that is away; a process remembers about as many.
MAX_BUFFER: Final = 4096


class Address(NamedTuple):
    """``client`` makes a client, given what to do with each new connection; that of a cluster connects at once.
    ``sharded`` says that it is a cluster."""

    client: Callable[[Callable[[Any], None]], Any]
    prefix: str
    database: int
    #: In seconds: of one answer, and of making a connection.
    timeout: float
    sharded: bool


def read_address(url: str, timeout: float) -> Address:
    """``timeout`` is in seconds, unless the address says it. Opens nothing. Raises `ConfigError`."""
    try:
        parts = urlsplit(url)
    except ValueError:  # whose texts may quote the password
        raise ConfigError("REALTIME_REGISTRY is no address of a task store.") from None
    scheme, _, kind = parts.scheme.replace("valkey", "redis").partition("+")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = query.pop("prefix", "rt")
    if parts.scheme not in schemes.REDIS:
        raise ConfigError(
            f"REALTIME_REGISTRY begins with {parts.scheme!r}; it may be one of {', '.join(schemes.REDIS)}."
        )
    if not prefix or set(prefix) & set("{}* \n"):
        raise ConfigError("The prefix in REALTIME_REGISTRY is one or more letters without braces and blanks.")
    query.pop("buffer", None)
    timeout = _seconds(query.pop("timeout", None), timeout)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2}
    options["max_connections"] = _MAX_CONNECTIONS
    try:
        if kind == "cluster":
            client, database = _cluster(scheme, parts.netloc, parts.path, query, options), 0
        elif kind == "sentinel":
            client = _sentinel(scheme, parts.netloc, parts.path, query, options)
            database = _database(client)
        else:
            address = f"{scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"
            client = partial(_single, address, options)
            database = _database(client)
    except (ValueError, TypeError, LookupError, redis.RedisError) as error:  # whose texts may quote the password
        raise ConfigError(
            f"REALTIME_REGISTRY is no address of a task store: {parts.scheme}://… cannot be read "
            f"({type(error).__name__})."
        ) from None
    return Address(client, prefix, database, timeout, kind == "cluster")


def buffer_of(url: str, buffer: int) -> int:
    """Of how many tasks the newest state is kept while the store is away, unless the address says it.

    Raises `ConfigError`.
    """
    text = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True)).get("buffer")
    if text is None:
        return buffer
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= MAX_BUFFER):
        raise ConfigError(f"The buffer in REALTIME_REGISTRY is a number of tasks from 0 to {MAX_BUFFER}.")
    return int(text)


def _seconds(text: str | None, default: float) -> float:
    try:
        seconds = default if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds <= MAX_TIMEOUT:
        raise ConfigError(f"The timeout in REALTIME_REGISTRY is a number of seconds above 0, up to {MAX_TIMEOUT:g}.")
    return seconds


def _database(client: Callable[..., Any]) -> int:
    """Which one a client uses. Raises what is raised for options that no connection has."""
    pool = client(None).connection_pool
    pool.make_connection()  # which opens nothing
    return int(pool.connection_kwargs.get("db") or 0)


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _single(address: str, options: dict[str, Any], greet: Callable[[Any], None] | None) -> Any:
    return redis.Redis.from_url(address, **options, retry=_once(), redis_connect_func=greet)


def _hosts(netloc: str, default: int) -> tuple[str, list[tuple[str, int]]]:
    """The login, and the hosts with their ports."""
    login, _, hosts = netloc.rpartition("@")
    found = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":") if ":" in host else (host, "", str(default))
        if not name:
            raise ValueError("a host is needed")
        found.append((name, int(port)))
    return login, found


def _cluster(
    scheme: str, netloc: str, path: str, query: dict[str, str], options: dict[str, Any]
) -> Callable[[Callable[[Any], None]], Any]:
    """``redis+cluster://[user:password@]host[:port],…[?options]``: some of the nodes, which name the others."""
    login, nodes = _hosts(netloc, 6379)
    (host, port), *others = nodes
    if path.strip("/") not in ("", "0") or query.get("db", "0") != "0":
        raise ConfigError("REALTIME_REGISTRY names a database; a Redis Cluster has none but 0: ?prefix=… keeps apart.")
    address = f"{scheme}://{login}{'@' if login else ''}{host}:{port}?{urlencode(query)}"
    _database(partial(_single, address, options))  # what is wrong with it is found now

    def connect(greet: Callable[[Any], None]) -> Any:
        # Who was named first knows the others; a dead one among the names does no harm.
        startup = [ClusterNode(name, number) for name, number in others]  # type: ignore[no-untyped-call]
        return redis.RedisCluster(
            url=address, startup_nodes=startup, retry=_once(), redis_connect_func=greet, **options
        )  # fmt: skip

    return connect


def _sentinel(
    scheme: str, netloc: str, path: str, query: dict[str, str], options: dict[str, Any]
) -> Callable[[Callable[[Any], None] | None], Any]:
    """``redis+sentinel://[user:password@]host[:port],…/service[/database]``; the password is that of the service."""
    login, sentinels = _hosts(netloc, 26379)
    user, _, password = login.partition(":")
    service, _, number = path.lstrip("/").partition("/")
    if not service:
        raise ValueError("a service is needed")
    database = int(number or 0)
    given = {"username": unquote(user) or None, "password": unquote(password) or None, **query}

    def connect(greet: Callable[[Any], None] | None) -> Any:
        sentinel: Any = Sentinel(sentinels, sentinel_kwargs={**options, "retry": _once()})  # type: ignore[no-untyped-call]
        return sentinel.master_for(
            unquote(service), **{"db": database, **options, "retry": _once(), "redis_connect_func": greet, **given}
        )

    return connect
