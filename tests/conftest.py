"""What every test has: servers as processes, free ports, the tools outside Python, and a Python nobody has patched."""

from __future__ import annotations

import _thread
import os
import select
import socket
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import BuiltinFunctionType

import pytest
from hypothesis import HealthCheck, settings

from support import ports, tools, tracing
from support.process import StartServer

tracing.spare_native_threads()
# How long an example takes says how busy the machine is.
settings.register_profile("realtime", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("realtime")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--history-trials", type=int, default=1,
        help="how many trials test_history*.py make, of five kills each; with several, outages last 30 and 90 s, and "
        "each trial has 2,000 races",
    )  # fmt: skip


def _servers(folder: Path) -> Iterator[StartServer]:
    start = StartServer(folder)
    try:
        yield start
    finally:
        start.end_all()
    for server, noisy in start.started:
        assert noisy or not server.problems(), server.output()


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers as processes of their own; they and all they started are gone when the test ends."""
    yield from _servers(tmp_path)


@pytest.fixture(scope="module")
def module_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """As ``server_process``, for servers that live as long as the tests of the file."""
    yield from _servers(tmp_path_factory.mktemp("servers"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that finds a port of 127.0.0.1 which nothing listens on."""
    return ports.free_port


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return tools.ROOT


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js."""
    return tools.find_node()


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the npm packages that ``static/package-lock.json`` pins."""
    return tools.find_node_modules()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; start it with ``support.chromium.CHROMIUM_ARGS``."""
    return tools.find_chromium()


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    """No test leaves this process monkey-patched by eventlet or gevent: all that follow would test something else."""
    yield
    builtins = (time.sleep, select.select, _thread.start_new_thread)
    patched = [function.__name__ for function in builtins if not isinstance(function, BuiltinFunctionType)]
    patched += ["socket"] if socket.socket.__module__ != "socket" else []
    assert not patched, f"patched in the test process: {', '.join(patched)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test logged fit to travel: a worker of pytest-xdist ends at a lone surrogate."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the checks of ``tests/run`` that failed before pytest began, beside pytest's own failures."""
    failed = os.environ.get("REALTIME_FAILED_CHECKS")
    if failed:
        terminalreporter.section("other checks failed, see above", red=True)
        terminalreporter.line(failed.replace(",", ", "))
