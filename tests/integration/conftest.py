"""Servers that all tests of a file share."""

from __future__ import annotations

import pytest

from support import remote
from support.process import StartServer
from support.remote import Remote


@pytest.fixture(scope="module")
def plain(module_servers: StartServer) -> Remote:
    """``realtime serve`` with the app of `support.apps.plain`."""
    return remote.start(module_servers, remote.serve("plain:app"), FLASK_REALTIME_FLUSH_INTERVAL="0.02")
