"""Ports for the servers that tests start."""

from __future__ import annotations

import os
import random
import socket

#: Below the range from which Linux gives ports to clients (32768 and up), so that no connection of another test takes
#: one between the moment it is found free and the moment the server listens.
LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now, and that no other pytest worker will be given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.randrange(LOWEST + worker, HIGHEST, workers)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
