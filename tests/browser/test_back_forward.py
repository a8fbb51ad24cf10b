"""A page that the browser keeps while another is looked at, and that comes back as it was: the back/forward cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from support import remote
from support.chromium import CHROMIUM_ARGS
from support.process import StartServer
from support.remote import Remote

# What happens to the page and to its connection, in order. The longest wait there is lies before each further try.
CONNECT = """
async (ticket) => {
  const { connect } = await import('/realtime/static/realtime.js');
  Math.random = () => 0.999;
  globalThis.marks = [];
  globalThis.text = '';
  globalThis.rt = connect({ name: 'reader', ticket });
  rt.onState(({ state, retryAt }) => marks.push([state, retryAt !== null]));
  for (const type of ['pagehide', 'pageshow']) addEventListener(type, (event) => marks.push([type, event.persisted]));
}
"""

WATCH = """
(id) => {
  rt.task(id).output(({ text, first }) => { globalThis.text = first ? text : globalThis.text + text; });
  rt.task(id).subscribe((task) => { globalThis.status = task?.status; });
}
"""


@pytest.fixture
def complaints() -> list[str]:
    """What the page's console said of errors."""
    return []


@pytest.fixture
def page(browser: Browser, chromium: str, complaints: list[str]) -> Iterator[Page]:
    """A page of a Chromium that keeps pages, which under Playwright it does not by itself."""
    keeping = browser.browser_type.launch(
        executable_path=chromium, args=CHROMIUM_ARGS, ignore_default_args=["--disable-back-forward-cache"]
    )

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page = keeping.new_page()
    page.on("console", hear)
    yield page
    keeping.close()
    assert complaints == []


@pytest.fixture
def app(server_process: StartServer) -> Remote:
    return remote.start(server_process, remote.serve("plain:app"))


def go_away(page: Page) -> None:
    page.evaluate("location.href = '/?next'")
    page.wait_for_url("**/?next")


def come_back(page: Page) -> list[Any]:
    """Return to the page; what it has seen, once it is live."""
    page.evaluate("history.back()")
    page.wait_for_function("globalThis.marks?.at(-1)?.[0] === 'live'")
    marks: list[Any] = page.evaluate("marks")
    return marks


def test_a_page_that_comes_back_is_right_again(app: Remote, page: Page) -> None:
    """It takes no connection with it; when it is back it connects at once and gets what it has missed, once."""
    page.goto(app.url)
    page.evaluate(CONNECT, app.ticket(user="ada"))
    task = app.create("ada")
    app.call("append_output", task_id=task, text="one, ")
    page.evaluate(WATCH, task)
    page.wait_for_function("text === 'one, '")
    go_away(page)
    app.wait_for_stats(lambda stats: bool(stats["viewers"] == 0))
    app.call("append_output", task_id=task, text="two")
    app.call("complete_task", task_id=task)
    marks = come_back(page)
    page.wait_for_function("text === 'one, two' && status === 'completed'")
    assert marks == [
        ["connecting", False], ["live", False], ["offline", True], ["pagehide", True],
        ["offline", False], ["pageshow", True], ["live", False],
    ]  # fmt: skip
