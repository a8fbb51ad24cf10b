"""A real Chromium for the tests here, pages that fail their test when they complain, and the static files over HTTP."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from browser.stage import Stage
from support.chromium import CHROMIUM_ARGS
from support.tools import ROOT

PAGES = Path(__file__).parent / "pages"
FAILURES = Path(__file__).parent / "failures"

#: Milliseconds that a step may take in a browser: on a loaded machine a page alone takes many seconds.
PATIENCE = 60_000

# Under this policy a page may run its own scripts and sheets, and nothing that stands in the markup.
POLICY = "default-src 'self'"


class NewPage(Protocol):
    """Open a page in a context of its own; the options are those of Playwright's ``new_context``."""

    def __call__(self, **options: Any) -> Page: ...


class _StaticFiles(SimpleHTTPRequestHandler):
    """``/realtime/static/…`` as the app serves it, and the test pages beside it under ``/``."""

    protocol_version = "HTTP/1.1"

    def translate_path(self, path: str) -> str:
        name = path.partition("?")[0].removeprefix("/")
        if name == "realtime/static/socket.js":
            return str(PAGES / "fake-socket.js")
        static = name.startswith("realtime/static/")
        folder = ROOT / "static" if static else PAGES
        return str(folder / name.removeprefix("realtime/static/").replace("..", "_"))

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # the browser asks for one by itself
            self.send_response(204)
            self.end_headers()
            return
        super().do_GET()

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests look at the page."""


@pytest.fixture(scope="session")
def static_site() -> Iterator[str]:
    """The address of a server of the static files and of ``tests/browser/pages``, under a strict policy."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _StaticFiles) as server:
        server.daemon_threads = True
        thread = Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """The machine's Chromium, started once."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the pages of this test complained of: console errors, exceptions, refusals by the policy.

    The test fails if something is left in it. A test that provokes one takes it out.
    """
    return []


@pytest.fixture
def new_page(browser: Browser, complaints: list[str], request: pytest.FixtureRequest) -> Iterator[NewPage]:
    """Open pages that are closed after the test; where they complained the test fails."""
    contexts: list[BrowserContext] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} ({message.location.get('url')})")

    def open_page(**options: Any) -> Page:
        context = browser.new_context(
            **{"locale": "en-US", "timezone_id": "UTC", "viewport": {"width": 1280, "height": 900}} | options
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("console", heard)
        context.on("weberror", lambda web_error: complaints.append(str(web_error.error)))
        return context.new_page()

    yield open_page
    if request.node.stash.get(FAILED, False):
        FAILURES.mkdir(exist_ok=True)
        for number, page in enumerate(page for context in contexts for page in context.pages):
            page.screenshot(path=FAILURES / f"{request.node.name}-{number}.png", full_page=True)
    for context in contexts:
        context.close()
    assert complaints == []


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leave the outcome where `new_page` finds it, so that it can keep a picture of what failed."""
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """One page of a desk's width."""
    return new_page()


@pytest.fixture
def stage(page: Page, static_site: str) -> Stage:
    """A page with the elements and a server in the page, under a clock that only the test moves."""
    return Stage(page, static_site)
