"""The settings, each with its unit and default, read from a mapping given to it.

Flask's config holds them as ``REALTIME_<NAME>``; the environment as ``FLASK_REALTIME_<NAME>`` (Flask's own
``config.from_prefixed_env`` convention; a value there is read as JSON if it is JSON, else as text). Nothing is read
at import.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

from .errors import ConfigError

PREFIX = "REALTIME_"
ENVIRONMENT_PREFIX = "FLASK_REALTIME_"


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """All settings, in seconds and bytes. An attribute is the setting's name without ``REALTIME_``, in lower case.

    The README has a table of them; what each one means stands in the source of this module.
    """

    #: Where tasks live. ``memory://``: in this process, forgotten when it ends. ``sqlite:///tasks.db``: in a file that
    #: one server process owns; relative to the app's instance folder, with four slashes to the root. ``redis://``,
    #: ``rediss://``, ``redis+sentinel://``, ``redis+cluster://``, ``unix://`` and ``valkey://``: on a server, or a
    #: cluster of them, that many processes share.
    registry: str = "memory://"
    #: The Socket.IO namespace of viewers.
    namespace: str = "/tasks"
    #: ``threading``, ``eventlet`` or ``gevent``. Default: what is really patched in this process, else ``threading``.
    async_mode: str | None = None
    #: Seconds between two pushes of the same task to a viewer.
    flush_interval: float = 0.05
    #: Seconds that a finished task is kept.
    retention: float = 3600.0
    #: Finished tasks kept in all; the oldest finished leave first, unfinished ones never.
    max_tasks: int = 100_000
    #: Finished tasks kept per user.
    max_tasks_per_user: int = 1_000
    #: Bytes (UTF-8) of a task's output that are kept.
    output_tail: int = 256 * 1024
    #: Origins whose pages may connect. Default: the server's own. A list of ``scheme://host[:port]``; ``*`` allows all.
    allowed_origins: tuple[str, ...] | None = None
    #: Host names this server answers to (guards against DNS rebinding). Default: any.
    allowed_hosts: tuple[str, ...] | None = None
    #: Proxies in front whose ``X-Forwarded-For/-Proto/-Host`` are believed: how many.
    trusted_proxies: int = 0
    #: Viewers at once. Default: the descriptor limit less 256.
    max_viewers: int | None = None
    #: Viewers (tabs) of one user at once.
    max_viewers_per_user: int = 100
    #: Viewers from one network address at once.
    max_viewers_per_address: int = 1_000
    #: Seconds after which a viewer that takes nothing is closed.
    viewer_timeout: float = 30.0
    #: Seconds without an update after which a task shows as stalled; 0: never.
    stall_timeout: float = 0.0
    #: Seconds without a sign of life of its process after which a job's task fails with ``worker_lost``, where tasks
    #: are in a store that several processes share.
    lease: float = 30.0
    #: Of how many tasks the newest state waits, in the process that updates them, while a store that several processes
    #: share is out of reach; it is written when the store is back. 0: such updates raise `RegistryUnavailable`, as all
    #: other changes do in any case. An address says it as ``?buffer=100``.
    buffer: int = 0
    #: Seconds that a ticket is good for.
    ticket_age: float = 3600.0
    #: Jobs that run at once (native threads); more wait as ``pending``.
    threads: int = 16
    #: Requests, handlers and ``identify`` calls that run at once under ``realtime serve`` (native threads). Under other
    #: servers with threads (set it to their number) half as many requests may wait for a change.
    request_threads: int = 40
    #: What a page is told of an exception that is not a ``TaskError``: ``message``, ``type`` or ``none``.
    error_detail: str = "message"
    #: Opens ``GET /realtime/v1/metrics`` to whoever sends ``Authorization: Bearer <this>``: a secret of 16 to 256
    #: visible ASCII characters. None: there are no metrics, and nothing is measured. No login, ticket or address opens
    #: them: behind a proxy every request comes from this machine.
    metrics: str | None = dataclasses.field(default=None, repr=False)
    #: A file of worker keys (``realtime keys create``), whose holders may report tasks over HTTP. It is read again when
    #: it has changed. None: ingest is off, and its addresses are not found.
    worker_keys: str | None = None
    #: Characters of a name.
    max_name: int = 200
    #: Characters of a message.
    max_message: int = 2_000
    #: Bytes of ``metadata``, as JSON.
    max_metadata: int = 16 * 1024
    #: Bytes of a ``result``, as JSON.
    max_result: int = 256 * 1024
    #: Bytes of an error's ``details``, as JSON.
    max_details: int = 16 * 1024

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
        """Build from a mapping (Flask's config) and an environment. The mapping wins.

        Raises `ConfigError` for a key that is not known (naming the nearest one) and for a value that is not allowed.
        """
        given: dict[str, Any] = {}
        for key, text in (environ or {}).items():
            if key.startswith(ENVIRONMENT_PREFIX):
                name = key.removeprefix("FLASK_")
                given[name] = _read(text) if name not in _SECRET else _read_secret(text)
        given.update((key, value) for key, value in mapping.items() if key.startswith(PREFIX))

        known = {PREFIX + field.name.upper(): field.name for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        hints = get_type_hints(cls)
        for key, value in given.items():
            if key not in known:
                nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
                raise ConfigError(f"{key} is not a setting. The nearest is {nearest}.")
            values[known[key]] = _typed(key, value, hints[known[key]])
        config = cls(**values)
        for name, (rule, allowed) in _RULES.items():
            if not rule(getattr(config, name)):
                key = PREFIX + name.upper()
                raise ConfigError(f"{key} is {_shown(key, getattr(config, name))}; it may be {allowed}.")
        return config


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_secret(text: str) -> str | None:
    """Text, also where it looks like a number."""
    value = _read(text)
    return value if value is None or isinstance(value, str) else text


def _shown(key: str, value: Any) -> str:
    return "set (its value is a secret)" if key in _SECRET else repr(value)


def _typed(key: str, value: Any, hint: Any) -> Any:
    options = getattr(hint, "__args__", (hint,))
    if value is None and type(None) in options:
        return None
    if hint == tuple[str, ...] | None:
        items = [value] if isinstance(value, str) else value
        items = list(items) if isinstance(items, Iterable) and not isinstance(items, Mapping) else [items]
        if not all(isinstance(item, str) for item in items):
            raise ConfigError(f"{key} is {value!r}; it must be a list of text.")
        parts = [part.strip() for item in items for part in item.split(",")]
        return tuple(filter(None, parts)) or None  # an empty list would read as "none" and mean "any"
    wanted = next(kind for kind in (bool, int, float, str) if kind in options)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) <= 2**53 else math.inf  # which no rule allows
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise ConfigError(f"{key} is {_shown(key, value)}; it must be {_NAMES[wanted]}.")
    return value


#: Settings that no message shows.
_SECRET = {"REALTIME_METRICS"}

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

_Rule = tuple[Callable[[Any], bool], str]


def _between(low: float, high: float, unit: str) -> _Rule:
    return (lambda value: value is None or low <= value <= high), f"{low:g} to {high:g} {unit}"  # NaN is not between


def _one_of(*words: str | None) -> _Rule:
    return (lambda value: value in words), "one of " + ", ".join(repr(word) for word in words)


_RULES: dict[str, _Rule] = {
    "namespace": (
        lambda value: re.fullmatch(r"/[A-Za-z0-9._~/-]{1,63}", value) is not None,
        "a name such as '/tasks' (not '/'; at most 64 letters, digits and ._~/-)",
    ),
    "allowed_origins": (
        lambda value: all(re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+", origin) for origin in value or ()),
        "a list such as 'https://app.example.com' (scheme, host and port as browsers write them, no path), or '*'",
    ),
    "async_mode": _one_of(None, "threading", "eventlet", "gevent"),
    "error_detail": _one_of("message", "type", "none"),
    "flush_interval": _between(0.001, 10, "seconds"),
    "retention": _between(0, 365 * 86400, "seconds"),
    "max_tasks": _between(1, 100_000_000, "tasks"),
    "max_tasks_per_user": _between(1, 10_000_000, "tasks"),
    "output_tail": _between(1024, 64 * 1024 * 1024, "bytes"),
    "trusted_proxies": _between(0, 16, "proxies"),
    "max_viewers": _between(1, 10_000_000, "viewers"),
    "max_viewers_per_user": _between(1, 10_000_000, "viewers"),
    "max_viewers_per_address": _between(1, 10_000_000, "viewers"),
    "viewer_timeout": _between(0.1, 3600, "seconds"),
    "stall_timeout": _between(0, 30 * 86400, "seconds"),
    "lease": _between(1, 86400, "seconds"),
    "buffer": _between(0, 4096, "tasks"),
    "ticket_age": _between(1, 365 * 86400, "seconds"),
    "threads": _between(1, 1024, "threads"),
    "request_threads": _between(1, 1024, "threads"),
    "metrics": (
        lambda value: value is None or re.fullmatch(r"[!-~]{16,256}", value) is not None,
        "a secret of 16 to 256 visible ASCII characters, which a scraper sends as its bearer token",
    ),
    "worker_keys": ((lambda value: value is None or value.strip() != ""), "the path of a file of worker keys"),
    "max_name": _between(1, 1_000, "characters"),
    "max_message": _between(100, 4_000, "characters"),
    "max_metadata": _between(2, 16 * 1024, "bytes"),
    "max_result": _between(2, 16 * 1024 * 1024, "bytes"),
    "max_details": _between(2, 16 * 1024, "bytes"),
}
