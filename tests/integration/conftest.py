"""Servers that all tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import remote
from support.process import StartServer
from support.remote import Remote


@pytest.fixture(scope="module")
def module_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """As ``server_process``, for servers that live as long as the tests of the file."""
    start = StartServer(tmp_path_factory.mktemp("servers"))
    try:
        yield start
    finally:
        start.end_all()
    for server, noisy in start.started:
        assert noisy or not server.problems(), server.output()


@pytest.fixture(scope="module")
def plain(module_servers: StartServer) -> Remote:
    """``realtime serve`` with the app of `support.apps.plain`."""
    return remote.start(module_servers, remote.serve("plain:app"), FLASK_REALTIME_FLUSH_INTERVAL="0.02")
