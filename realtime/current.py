"""Whom the lifecycle functions act for: the client that ``REALTIME_URL`` names, else the `Realtime` of the app."""

from __future__ import annotations

from collections.abc import Callable

from .client import environment
from .operations import Operations

_of_app: Callable[[], Operations] | None = None


def current() -> Operations:
    """The client of this process if it is a worker; else as `extension.current`. Raises `NoRealtime`, `ConfigError`."""
    worker = environment.client()
    return worker if worker is not None else (_of_app or _load())()


def _load() -> Callable[[], Operations]:
    """Only here: a worker needs no Flask."""
    global _of_app
    from .extension import current as of_app

    _of_app = of_app
    return of_app
