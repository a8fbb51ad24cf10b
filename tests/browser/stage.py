"""A page with the elements on it, a server that stands in the page, and a clock that only the test moves."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page

#: Where the clock stands when the page opens.
NOW = "2026-11-24T14:03:30Z"
#: Where it stands at first, for as long as it runs by itself: until it is told to stop at `NOW`, which it may not pass.
BEFORE = "2026-11-23T14:03:30Z"

#: What a card shows, as a reader and a screen reader would find it.
READ_CARD = """
(element) => {
  const root = element.shadowRoot;
  const one = (selector) => root.querySelector(selector);
  const shown = (node) => (node && node.checkVisibility() ? node.innerText.replace(/\\s+/g, ' ').trim() : '');
  const bar = one('progress');
  const button = one('.action button');
  return {
    state: one('.card').dataset.state,
    name: shown(one('.name')),
    figure: shown(one('.figure')),
    words: [...one('.words').children].filter((node) => !node.matches('.sr')).map(shown).filter(Boolean).join(' '),
    meta: [...one('.meta p').children].map((node) => shown(node.querySelector('bdi'))),
    time: shown(one('time')),
    bar: bar.checkVisibility() ? (bar.hasAttribute('value') ? bar.value : null) : 'none',
    button: button ? button.getAttribute('part') : '',
    disabled: button ? button.getAttribute('aria-disabled') === 'true' : false,
  };
}
"""

# Where the browser can speak by itself, that is noted instead.
SILENCE = """
globalThis.heard = [];
if ('ariaNotify' in Document.prototype) Document.prototype.ariaNotify = (text) => globalThis.heard.push(text);
"""


class Stage:
    """One page. Times pass only in `advance`, so that nothing here depends on how fast the machine is."""

    def __init__(self, page: Page, site: str) -> None:
        self.page = page
        self.site = site

    def open(self, markup: str = "", *, path: str = "/blank.html") -> None:
        """Open a page, by itself an empty one, and put ``markup`` in its body."""
        self.page.add_init_script(SILENCE)
        self.page.clock.install(time=BEFORE)
        self.page.clock.pause_at(NOW)
        self.page.goto(self.site + path)
        self.show(markup)

    def show(self, markup: str) -> None:
        """Put this in the page's body, in the place of what is there."""
        if markup:
            self.run("(html) => { document.body.innerHTML = html; }", markup)
        self.advance(300)

    def advance(self, milliseconds: int) -> None:
        """Let time pass in the page."""
        self.page.clock.run_for(milliseconds)

    def run(self, script: str, argument: Any = None) -> Any:
        """Run an expression or a function in the page; give what comes of it."""
        return self.page.evaluate(script, argument)

    def put(self, task_id: str, *, server: str = "default", **task: Any) -> None:
        """Let the server have a new version of a task, in the short form of ``pages/fake-socket.js``, and tell it."""
        self.run("([server, task]) => fake(server).put(task)", [server, {"id": task_id, **task}])

    def put_all(self, *tasks: dict[str, Any]) -> None:
        """Several tasks in one turn."""
        self.run("(tasks) => fake().putAll(...tasks)", list(tasks))

    def card(self, task_id: str = "a") -> Locator:
        """The card of a task."""
        return self.page.locator(f"realtime-task[task-id='{task_id}']")

    def read(self, task_id: str = "a") -> dict[str, Any]:
        """What the card of a task shows now."""
        shown: dict[str, Any] = self.card(task_id).evaluate(READ_CARD)
        return shown

    def events(self, *types: str) -> list[dict[str, Any]]:
        """The elements' events so far, of these types."""
        seen: list[dict[str, Any]] = self.run("() => events")
        return [event for event in seen if not types or event["type"] in types]

    def asked(self, *commands: str) -> list[Any]:
        """What the page asked of the server, of these commands."""
        seen: list[Any] = self.run("() => fake().asked")
        return [message for command, message in seen if command in commands]

    def heard(self) -> list[str]:
        """What was announced so far."""
        said: list[str] = self.run("() => heard")
        return said

    def focused(self) -> str:
        """Which part of which element has the focus: ``a:name``."""
        found: str = self.run("() => probe.focused()")
        return found
