"""What becomes of viewers when the registry has lost its memory: all come anew, and their first snapshot says so.

What a viewer is told is of the epoch of its first snapshot, and nothing of another. So those of a former epoch are told
nothing more from the moment on in which there is a new one, and are closed; a look about once a second finds whom that
has passed over, whatever came in between. Where the store was out of reach for so long that not all can be told which
was missed (`on_epoch` with ""), all who have had a snapshot come anew, too: with what they have, and are told what of
it is there no more.
"""

from __future__ import annotations

import logging

from .concurrency import Concurrency
from .hub import Hub
from .registry.base import Registry
from .viewer import Viewer

log = logging.getLogger("realtime")


def is_outdated(viewer: Viewer, registry: Registry) -> bool:
    """Whether what a viewer will be told is of another epoch than what it was. (No: as long as either is not known.)"""
    now = registry.local.epoch
    return now != "" and viewer.epoch is not None and viewer.epoch != now


def renew_viewers(registry: Registry, hub: Hub, concurrency: Concurrency) -> None:
    """Have the connection of every viewer of a former epoch closed. Clients come back."""

    def outdated() -> list[Viewer]:
        return [viewer for viewer in list(hub.viewers.values()) if is_outdated(viewer, registry)]

    def close(viewers: list[Viewer]) -> None:
        for viewer in viewers:
            try:
                if viewer.session in hub.viewers:
                    hub.close_viewer(viewer, "begins anew, since the task store has lost its memory, or was long away")
            except Exception:  # the others are to come anew all the same
                log.exception("A viewer of a former epoch could not be closed.")

    def look(epoch: str | None = None) -> None:
        # Of the same epoch still are those who have missed too much: what they have is right but for that.
        found = outdated() if epoch != "" else [each for each in list(hub.viewers.values()) if each.epoch is not None]
        for viewer in found:
            viewer.live = False
        if found:
            concurrency.spawn(lambda: close(found), "realtime-renewal")

    registry.on_epoch = look
    hub.on_sweep.append(look)
