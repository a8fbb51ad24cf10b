"""What becomes of viewers when the registry has lost its memory: all come anew, and their first snapshot says so."""

from __future__ import annotations

import logging

from .concurrency import Concurrency
from .hub import Hub
from .registry.base import Registry

log = logging.getLogger("realtime")


def renew_viewers(registry: Registry, hub: Hub, concurrency: Concurrency) -> None:
    """Have every viewer's connection closed after the registry has begun a new epoch. Clients come back."""

    def close_all() -> None:
        for viewer in list(hub.viewers.values()):
            hub.close_viewer(viewer, "begins anew, since the task store has lost its memory")

    registry.on_epoch = lambda epoch: concurrency.spawn(close_all, "realtime-renewal")
