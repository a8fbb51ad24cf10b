"""The client that ``REALTIME_URL`` and ``REALTIME_KEY`` ask for: where they are set, `realtime.create_task` and the
others are those of a worker, also in an app context (Celery's recipe for Flask pushes one around each task).

The variables are read at the first call. ``realtime serve`` does not follow them, so that the server and its workers
may share one environment; under other servers, set them for the workers only.
"""

from __future__ import annotations

import os
import threading

from ..concurrency import server_mode
from .client import Client

_reading = threading.Lock()
_is_read = False
_client: Client | None = None


def is_set() -> bool:
    """Whether the variables make this process a worker."""
    return bool(os.environ.get("REALTIME_URL")) and server_mode() is None


def client() -> Client | None:
    """The client of this process, None if it is not a worker. Raises `ConfigError`."""
    if not _is_read:
        _read()
    return _client


def _read() -> None:
    global _client, _is_read
    with _reading:
        if not _is_read:
            if is_set():
                _client = Client()
            _is_read = True


def forget() -> None:
    """Read the variables again at the next call; the client of before is closed."""
    global _client, _is_read
    with _reading:
        former, _client, _is_read = _client, None, False
    if former is not None:
        former.close()
