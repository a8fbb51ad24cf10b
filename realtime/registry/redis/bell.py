"""A wake-up for a thread that waits for a connection: something to select on that other threads make ready."""

from __future__ import annotations

import contextlib
import selectors
import socket


class Bell:
    """Rung by any thread, which it never holds up; waited for by one."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def ring(self) -> None:
        """Make it ready."""
        with contextlib.suppress(OSError):  # full means that it rings; closed, that nobody waits
            self._writer.send(b"\0")

    def still(self) -> None:
        """It was heard."""
        with contextlib.suppress(OSError):
            while self._reader.recv(4096):
                pass

    def fileno(self) -> int:
        """What to select on."""
        return self._reader.fileno()

    def wait(self, seconds: float) -> None:
        """Wait until it rings, at most so long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.select(seconds)
        self.still()

    def close(self) -> None:
        """Let go of its sockets."""
        self._reader.close()
        self._writer.close()
