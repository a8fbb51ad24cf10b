"""Servers that all tests of a file share, and one that a test has for itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from realtime.registry.redis import RedisRegistry
from support import remote
from support.listening import Server
from support.process import StartServer
from support.remote import Remote
from support.stores import StoreServer, started


@pytest.fixture(scope="module")
def plain(module_servers: StartServer) -> Remote:
    """``realtime serve`` with the app of `support.apps.plain`."""
    return remote.start(module_servers, remote.serve("plain:app"), FLASK_REALTIME_FLUSH_INTERVAL="0.02")


@pytest.fixture
def store(server_process: StartServer) -> Iterator[StoreServer]:
    """A Redis server that the test may stop. It outlives the servers: what they have still to say of it is no trouble
    of theirs."""
    with started(StoreServer()) as store:
        yield store
        server_process.end_all()


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def server(opened: contextlib.ExitStack, url: str) -> Server:
    """What a server hears of the store at ``url``, which a file of tests names."""
    return opened.enter_context(contextlib.closing(Server(url, timeout=10.0)))


@pytest.fixture
def worker(opened: contextlib.ExitStack, url: str) -> RedisRegistry:
    """Another process's registry in the same store."""
    return opened.enter_context(contextlib.closing(RedisRegistry(url, timeout=10.0)))
