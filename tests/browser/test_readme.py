"""The README, followed from an empty folder to a moving bar in the reader's own app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.demo_page import PATIENCE
from support.process import StartServer
from support.remote import realtime
from support.tools import ROOT

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.timeout(300)
WORK = "time.sleep(0.05)"


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


def test_the_readers_own_app_has_a_moving_bar(
    server_process: StartServer, page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    """The first Python block saved as app.py, the command below it, the address: a bar moves, and Cancel works.

    The reader's work takes longer here, so that it goes on until it is cancelled, however slow the browser is.
    """
    blocks = FENCE.findall((ROOT / "README.md").read_text("utf-8"))
    code = next(text for language, text in blocks if language == "python")
    command = next(text for language, text in blocks if language == "sh" and "serve" in text).split()
    assert code.startswith("# app.py\n")
    assert command == [".venv/bin/realtime", "serve", "app:app"]
    assert WORK in code
    (tmp_path / "app.py").write_text(code.replace(WORK, "time.sleep(0.5)"), "utf-8")
    server = server_process(realtime(*command[1:], "--port", "{port}"), cwd=tmp_path, timeout=60)
    page.goto(server.url)
    card = page.locator("realtime-task")
    expect(card).to_contain_text("Export")
    expect(card).to_contain_text(re.compile(r"Writing row [1-9]"))
    before = card.locator("progress").get_attribute("value")
    expect(card.locator("progress")).not_to_have_attribute("value", before or "")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("Cancelled")
    # A page without an icon: the browser asks for one, and Flask has none.
    assert all("favicon" in complaint for complaint in complaints)
    complaints.clear()
