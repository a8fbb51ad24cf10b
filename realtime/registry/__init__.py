"""Where tasks live: `base` is the interface with its guarantees, each other module or package one store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import Config
from ..errors import ConfigError
from . import schemes
from .base import Registry
from .memory import MemoryRegistry
from .sqlite import SqliteRegistry


def open_registry(config: Config, folder: Path | None = None) -> Registry:
    """The registry that ``REALTIME_REGISTRY`` names. Raises `ConfigError` for one that is not known.

    ``folder`` is where relative paths begin: the app's instance folder. Default: the working directory.
    """
    settings: dict[str, Any] = {
        "retention": config.retention,
        "max_tasks": config.max_tasks,
        "max_tasks_per_user": config.max_tasks_per_user,
        "output_tail": config.output_tail,
    }
    if config.registry == "memory://":
        return MemoryRegistry(**settings)
    if config.registry.startswith("sqlite:"):
        return SqliteRegistry((folder or Path.cwd()) / _path(config.registry), **settings)
    scheme, colon, _ = config.registry.partition("://")  # never the whole address: it may hold a password
    if scheme in schemes.REDIS:
        try:
            from .redis import BufferedRedisRegistry, RedisRegistry, buffer_of  # late: redis-py is an extra
        except ImportError as error:
            raise ConfigError(
                f"REALTIME_REGISTRY begins with {scheme}://, which needs redis-py: "
                "pip install 'realtime-progress[redis]'"
            ) from error
        buffer = buffer_of(config.registry, config.buffer)
        return (
            BufferedRedisRegistry(config.registry, buffer=buffer, **settings)
            if buffer
            else RedisRegistry(config.registry, **settings)
        )
    said = f"begins with {scheme!r}" if colon else "has no ://"
    raise ConfigError(
        f"REALTIME_REGISTRY {said}; it may be memory://, sqlite:///path, or an address that begins "
        f"with {', '.join(schemes.REDIS)}."
    )


def _path(address: str) -> str:
    """The path in ``sqlite:///tasks.db`` (relative) or ``sqlite:////var/lib/app/tasks.db``, as SQLAlchemy writes it."""
    path = address.removeprefix("sqlite:///")
    if path == address or not path or path == ":memory:" or "?" in path or "\0" in path or path.endswith("/"):
        raise ConfigError(
            f"REALTIME_REGISTRY is {address!r}; with SQLite it is 'sqlite:///tasks.db' (in the app's instance folder) "
            "or 'sqlite:////var/lib/app/tasks.db': a file, and no options."
        )
    return path
