"""The client that ``REALTIME_URL`` and ``REALTIME_KEY`` ask for: where they are set, `realtime.create_task` and the
others are those of a worker, also in an app context (Celery's recipe for Flask pushes one around each task).

The variables are read at the first call. ``realtime serve`` does not follow them, so that the server and its workers
may share one environment; under other servers, set them for the workers only.
"""

from __future__ import annotations

import os

from ..concurrency import server_mode
from .client import Client

#: What was found, under its one key, once it has been looked for. There is no lock: a finalizer may ask in the middle
#: of a look, and a fork may come there, whose child would wait for ever for a thread that it has not. Of several that
#: look at once the first one's client counts; that of another was never used, and has opened nothing.
_found: dict[str, Client | None] = {}
_CLIENT = "client"


def is_set() -> bool:
    """Whether the variables make this process a worker."""
    return bool(os.environ.get("REALTIME_URL")) and server_mode() is None


def client() -> Client | None:
    """The client of this process, None if it is not a worker. Raises `ConfigError`."""
    try:
        return _found[_CLIENT]
    except KeyError:
        return _found.setdefault(_CLIENT, Client() if is_set() else None)


def forget() -> None:
    """Read the variables again at the next call; the client of before is closed."""
    former = _found.pop(_CLIENT, None)
    if former is not None:
        former.close()
