"""The demo's page in the hands of a test or of a script that takes its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from support.tools import ROOT

PATIENCE = 60_000  # milliseconds; machines may be slow, and nothing is decided by how long it takes
#: How the demo is started, and what it finds the package by where it is not installed.
DEMO = ["python", "-c", "from realtime.cli import main; main()", "demo", "--port", "{port}"]
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}

# What the elements tell, one line for each snapshot and each state of a connection; and what there was to be read in
# each place, one text after another, also of what is soon over: a cut, a lease, a job of some seconds.
LISTEN = """
globalThis.heard = [];
addEventListener("realtime-change", ({ target, detail: { task } }) => {
  heard.push({ side: target.getAttribute("client"), name: task.name, status: task.status, ...task.progress });
});
addEventListener("realtime-state", ({ target, detail: { state } }) => {
  if (target.localName !== "realtime-connection") return; // the list has one of its own
  heard.push({ side: target.getAttribute("client"), connection: state.state });
});
globalThis.shown = {};
setInterval(() => {
  const places = { fate: document.querySelector(".fate") };
  for (const view of document.querySelectorAll(".view")) {
    const { user } = view.dataset;
    const within = (selector) => view.querySelector(selector)?.shadowRoot;
    places[`${user} connection`] = within("header realtime-connection")?.querySelector("[part=state]");
    places[`${user} cut`] = view.querySelector(".cut");
    for (const card of within("realtime-tasks")?.querySelectorAll("realtime-task") ?? []) {
      places[`${user} ${card.task?.name}`] = card.shadowRoot.querySelector(".card");
    }
  }
  for (const [place, node] of Object.entries(places)) {
    if (!node) continue;
    const texts = (shown[place] ??= []);
    const more = [
      node.ariaDisabled === "true" ? "(off)" : "",
      node.querySelector("progress:indeterminate") ? "(no total)" : "",
    ];
    const text = [node.innerText, ...more].join(" ").replace(/\\s+/g, " ").trim();
    if (texts.at(-1) !== text) texts.push(text);
  }
}, 100);
"""


class Demo:
    """The demo's page, in one tab."""

    def __init__(self, page: Page, url: str) -> None:
        page.set_default_timeout(PATIENCE)
        page.add_init_script(LISTEN)
        self.page = page
        self.url = url

    def open(self, path: str = "/") -> Demo:
        self.page.goto(self.url + path)
        return self

    def side(self, name: str) -> Side:
        return Side(self.page, name)

    def start(self, kind: str, who: str | None = None) -> None:
        if who is not None:
            self.page.get_by_role("radio", name=who).check()
        self.page.locator(f"[data-start={kind}]").click()

    def send(self, kind: str, file: Path | dict[str, Any]) -> None:
        self.page.set_input_files(f"[data-send={kind}]", file)  # type: ignore[arg-type]

    def heard(self, side: str, name: str | None = None) -> list[dict[str, Any]]:
        """What was told on one side: of the job of that name, or of the connection."""
        heard: list[dict[str, Any]] = self.page.evaluate("heard")
        return [line for line in heard if line["side"] == side and line.get("name") == name]

    def wait_for_shown(self, place: str, *words: str) -> None:
        """Return when each of these regular expressions was shown in a place at some time: ``ada connection``,
        ``ada cut``, ``ada Check holiday.mov``, ``fate``.

        For what passes by itself, and may be over before the test comes to look: the page looks ten times a second.
        """
        self.page.wait_for_function(
            "([place, all]) => all.every((each) => shown[place]?.some((text) => new RegExp(each).test(text)))",
            arg=[place, list(words)],
        )


class Side:
    """What one user sees."""

    def __init__(self, page: Page, name: str) -> None:
        self.section = page.locator(f"[data-name={name}]")
        self.connection = self.section.locator("header realtime-connection")
        self.list = self.section.locator("realtime-tasks")
        self.cards = self.list.locator("realtime-task")
        self.cut = self.section.get_by_role("button", name="of " + name)

    def card(self, name: str) -> Locator:
        return self.cards.filter(has_text=name)

    def tasks(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = self.list.evaluate("(list) => list.tasks")
        return tasks

    def wait_until(self, condition: str, argument: Any = None) -> None:
        """Return when ``condition``, a function of the newest task and an argument in JavaScript, holds."""
        self.section.page.wait_for_function(
            f"([list, argument]) => list.tasks?.length && ({condition})(list.tasks[0], argument)",
            arg=[self.list.element_handle(), argument],
        )
