"""Servers that all tests of a file share, and one that a test has for itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import remote
from support.process import StartServer
from support.remote import Remote
from support.stores import StoreServer


@pytest.fixture(scope="module")
def plain(module_servers: StartServer) -> Remote:
    """``realtime serve`` with the app of `support.apps.plain`."""
    return remote.start(module_servers, remote.serve("plain:app"), FLASK_REALTIME_FLUSH_INTERVAL="0.02")


@pytest.fixture
def store() -> Iterator[StoreServer]:
    """A Redis server that the test may stop."""
    store = StoreServer()
    try:
        store.start()
        yield store
    finally:
        store.remove()
