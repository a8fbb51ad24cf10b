"""Where tasks live: `base` is the interface with its guarantees, each other module one store."""

from __future__ import annotations

from ..config import Config
from ..errors import ConfigError
from .base import Registry
from .memory import MemoryRegistry


def open_registry(config: Config) -> Registry:
    """The registry that ``REALTIME_REGISTRY`` names. Raises `ConfigError` for one that is not known."""
    if config.registry == "memory://":
        return MemoryRegistry(
            retention=config.retention,
            max_tasks=config.max_tasks,
            max_tasks_per_user=config.max_tasks_per_user,
            output_tail=config.output_tail,
        )
    raise ConfigError(f"REALTIME_REGISTRY is {config.registry!r}; it may be 'memory://'.")
