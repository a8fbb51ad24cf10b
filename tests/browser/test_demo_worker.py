"""The demo's worker in another process, in a real browser: started, killed, and what the page says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.demo_page import DEMO, ENVIRONMENT, PATIENCE, Demo
from support.process import ServerProcess, StartServer
from support.remote import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def server(server_process: StartServer) -> ServerProcess:
    return server_process(DEMO, env=ENVIRONMENT, timeout=60)


def button(demo: Demo, name: str) -> Locator:
    return demo.page.locator(".apart").get_by_role("button", name=name)


def is_there(process: int) -> bool:
    """Also as a zombie."""
    return Path(f"/proc/{process}").exists()


def test_a_worker_is_killed_and_the_page_says_so(server: ServerProcess, new_page: Callable[[], Page]) -> None:
    """Its process is gone at once; the card has no word from it, and then has failed. Tried again, it is the same card.

    Another browser sees the task, and has no worker that it could kill.
    """
    demo, other = (Demo(new_page(), server.url).open() for _ in range(2))
    for each in (demo, other):
        each.page.locator(".apart summary").click()
    ada, card = demo.side("Ada"), demo.side("Ada").card("Count primes")
    start, kill, fate = button(demo, "Start a worker"), button(demo, "Kill the worker"), demo.page.locator(".fate")
    expect(kill).to_have_attribute("aria-disabled", "true")
    start.click()
    expect(card).to_contain_text("so far, says process")
    [worker] = [task for task in ada.tasks() if task["parent_id"] is None]
    process = int(worker["progress"]["message"].rpartition(" ")[2])
    assert "realtime.demo_worker" in Path(f"/proc/{process}/cmdline").read_text().split("\0")
    expect(card).to_contain_text("0 of 3 parts done")
    expect(card.locator("[part=figure]")).to_have_text(re.compile("^[1-9]"))
    expect(start).to_have_attribute("aria-disabled", "true")
    expect(other.side("Ada").card("Count primes")).to_contain_text("so far, says process")
    expect(button(other, "Kill the worker")).to_have_attribute("aria-disabled", "true")

    kill.click()
    expect(kill).to_have_attribute("aria-disabled", "true")
    demo.wait_for_shown("fate", r"^Killed, and nobody has told the server\.$")
    wait_until(lambda: is_there(process), lambda there: not there)
    demo.wait_for_shown("ada Count primes", "No word from the job for")
    demo.wait_for_shown("fate", r"^Killed\. Half of the lease went by without a word\.$")
    for each in (demo, other):
        expect(each.side("Ada").card("Count primes")).to_contain_text("The job’s worker went away")
    expect(fate).to_have_text("The lease was over, and the server has failed the task.")
    assert [task["error"]["code"] for task in ada.tasks() if task["parent_id"] is None] == ["worker_lost"]

    start.click()
    expect(card).to_contain_text("so far, says process")
    expect(card).to_contain_text("Attempt 2")
    expect(ada.cards).to_have_count(1)
    expect(fate).to_have_text("")
    ada.cards.get_by_role("button", name="Cancel Count primes").click()
    expect(card).to_contain_text("Cancelled")
    expect(start).to_have_attribute("aria-disabled", "false")
