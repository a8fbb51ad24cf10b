"""Viewers while the task store is out of reach: they are told so, and what they are owed follows once it is back.

A ``server_state`` says ``stale`` when what a page shows may be old, and ``live`` when all is right again. Who connects
meanwhile is not sent away: its CONNECT is answered, and its first snapshot follows when there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from socketio.packet import EVENT

from ..auth import Grant
from ..concurrency import Concurrency
from ..errors import RegistryUnavailable
from ..hub import Hub, Viewer
from ..protocol import SERVER_STATE, TASKS_SNAPSHOT, ConnectAuth
from ..renewal import is_outdated
from .commands import Answer, Commands

log = logging.getLogger("realtime")

#: A first snapshot, and the ids of the tasks that it had no room for.
First = tuple[Answer, list[str]]


class Reachability:
    """``send`` gives a connection a packet of a kind."""

    def __init__(
        self, hub: Hub, commands: Commands, concurrency: Concurrency, send: Callable[[str, int, Any], None]
    ) -> None:  # fmt: skip
        self._registry = commands.registry
        self._hub = hub
        self._commands = commands
        self._concurrency = concurrency
        self._send = send
        #: Viewers that have had no snapshot yet, with what they brought.
        self._owed: dict[Viewer, ConnectAuth] = {}
        self._making_up = False
        self._registry.on_reachable = self._changed
        hub.on_sweep.append(self._sweep)

    def read(self, grant: Grant, auth: ConnectAuth) -> First | None:
        """The first snapshot of a viewer that is in its rooms: what changes meanwhile is told twice, never lost. None
        while the store is away."""
        if not self._registry.reachable:  # at once: those who come back in an outage would fill the pool
            return None
        try:
            if self._commands.wait:
                return self._concurrency.execute(lambda: self._commands.snapshot(grant, auth))
            return self._commands.snapshot(grant, auth)
        except RegistryUnavailable:
            return None

    def begin(self, viewer: Viewer, auth: ConnectAuth, first: First | None) -> None:
        """A viewer's CONNECT has been answered: give it its snapshot, or say that it has to wait for it."""
        if first is None:
            self._send(viewer.connection, EVENT, [SERVER_STATE, {"state": "stale"}])
            self._owed[viewer] = auth
            return
        self._open(viewer, first)
        if not self._registry.reachable:
            self._tell(viewer)

    def _open(self, viewer: Viewer, first: First) -> None:
        snapshot, owed = first
        viewer.epoch = snapshot["epoch"]
        self._send(viewer.connection, EVENT, [TASKS_SNAPSHOT, snapshot])
        self._hub.open(viewer, owed)
        if is_outdated(viewer, self._registry):  # a new one has begun while it was read, or is about to
            self._hub.close_viewer(viewer, "begins anew, since the task store has lost its memory")

    def _tell(self, viewer: Viewer) -> None:
        """Tell a viewer how it is; whoever else does it at the same time, the last word is right."""
        reachable = None
        while reachable is not self._registry.reachable:
            reachable = self._registry.reachable
            self._send(viewer.connection, EVENT, [SERVER_STATE, {"state": "live" if reachable else "stale"}])

    def _changed(self, reachable: bool) -> None:
        self._concurrency.spawn(self._tell_all, "realtime-reachability")
        if reachable:
            self._sweep()

    def _tell_all(self) -> None:
        for viewer in list(self._hub.viewers.values()):
            if viewer.live:  # nothing precedes the CONNECT answer; who opens now looks for itself
                self._tell(viewer)

    def _sweep(self) -> None:
        if self._owed and self._registry.reachable and not self._making_up:
            self._making_up = True
            self._concurrency.spawn(self._make_up, "realtime-snapshots")

    def _make_up(self) -> None:
        try:
            for viewer in list(self._owed):
                auth = self._owed.pop(viewer)
                if viewer.session not in self._hub.viewers:
                    continue
                first = self.read(viewer.grant, auth)
                if first is None:  # it is away again
                    self._owed[viewer] = auth
                    return
                self._open(viewer, first)
                self._tell(viewer)
        except Exception:
            log.exception("A first snapshot could not be made up for.")
            self._hub.close_viewer(viewer, "could not be given its first snapshot")
        finally:
            self._making_up = False
