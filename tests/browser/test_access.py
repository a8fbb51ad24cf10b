"""What assistive technology finds and is told: names, roles, values, the order of the focus, and who speaks."""

from __future__ import annotations

import re

from playwright.sync_api import Page

from browser.stage import Stage
from browser.test_family import UNFOLD, again, children, open_family

#: Of each state what is heard: role and name, or the words, in their order.
HEARD = {
    "stalled": """
        group "Transcode holiday.mov": heading "Transcode holiday.mov" [level=3]
        paragraph: strong: No word from the job for 40 s. text: It fails if it stays silent.
        progressbar "Transcode holiday.mov" paragraph: 0:41 of 1:48 , time: started 3 min ago
        button "Cancel Transcode holiday.mov" """,
    "cancelling": """
        group "Survey the standard library": heading "Survey the standard library" [level=3] text: Cancelling
        paragraph: Asked the job to stop. It stops at its next step.
        progressbar "Survey the standard library" paragraph: 1,004 of 1,570 files , time: asked 2 s ago
        button "Cancel Survey the standard library" [disabled]""",
    "cancelling-heard": """
        group "Survey the standard library": heading "Survey the standard library" [level=3] text: Cancelling
        paragraph: The job is stopping.
        progressbar "Survey the standard library" paragraph: 1,004 of 1,570 files , time: asked 22 s ago
        button "Cancel Survey the standard library" [disabled]""",
    "cancelling-unanswered": """
        group "Survey the standard library": heading "Survey the standard library" [level=3] text: Cancelling
        paragraph: Asked to stop 14 s ago; the job has not answered.
        progressbar "Survey the standard library" paragraph: 1,004 of 1,570 files , time: asked 14 s ago
        button "Cancel Survey the standard library" [disabled]""",
    "attempt": """
        group "Fetch the mailbox": heading "Fetch the mailbox" [level=3] text: In progress.
        paragraph: Folder “Archive” progressbar "Fetch the mailbox"
        paragraph: Attempt 2 , 3,112 messages , 46 messages/s , time: started 1 min ago
        button "Cancel Fetch the mailbox" """,
    "parts": """
        group "Import the archive": heading "Import the archive" [level=3] text: In progress.
        paragraph: 2019 to 2023 progressbar "Import the archive"
        paragraph: 2 of 5 parts done, 1 failed , about 40 s left , time: started 1 min ago
        button "Cancel Import the archive" """,
    "parts-partly": """
        group "Import the archive": heading "Import the archive" [level=3] text: Failed
        paragraph: 2 of 3 completed; 1 failed. group: Technical details
        paragraph: Attempt 2 , 2 of 3 parts done, 1 failed , time: 14:03, after 48 s
        button "Dismiss Import the archive" """,
    "delayed": """
        group "Import customers.csv": heading "Import customers.csv" [level=3]
        paragraph: Last known, 1 s ago. progressbar "Import customers.csv"
        paragraph: 190 of 500 rows , time: started 20 s ago button "Cancel Import customers.csv" [disabled]""",
}

# Who would speak by itself, beside the page's one announcer.
SPEAKERS = """
() => {
  const found = [];
  const search = (root) => {
    for (const node of root.querySelectorAll('*')) {
      const live = node.getAttribute('aria-live') ?? '';
      const speaks = node.matches('[role=status], [role=alert], [role=marquee], [role=timer], output');
      if (speaks || (live && live !== 'off') || (node.matches('[role=log]') && live !== 'off')) found.push(node.id);
      if (node.shadowRoot) search(node.shadowRoot);
    }
  };
  search(document);
  return found;
}
"""


def words(text: str) -> list[str]:
    return text.split()


def spoken(snapshot: str) -> list[str]:
    """Playwright's tree of what is heard, without its lines and dashes."""
    return words(re.sub(r"^ *- ", "", snapshot, flags=re.MULTILINE))


def test_what_is_heard_of_each_state(stage: Stage) -> None:
    """A group of the task's name; its state in words; a bar with a name where it moves; a button that says of what."""
    stage.open(path="/states.html")
    heard = {state: stage.card(state).aria_snapshot() for state in HEARD}
    assert {state: spoken(tree) for state, tree in heard.items()} == {
        state: words(text) for state, text in HEARD.items()
    }
    for bar in stage.page.get_by_role("progressbar").all():
        assert bar.get_attribute("value") in (None, *map(str, range(101)))


def test_one_voice_speaks_and_it_does_not_chatter(stage: Stage) -> None:
    """However often there is news of cards, attempts, parts and stalls: what is said is that a job has not answered."""
    open_family(stage)
    stage.page.locator(UNFOLD).click()
    stage.put_all({"id": "z", "name": "Zip", "percent": 5, "attempt": 2, "retry_of": "z1", "created": 30})
    stage.advance(2000)
    assert stage.run(SPEAKERS) == ["realtime-announcer"]
    for percent in range(10, 40):
        stalled = {"stalled": 10} if percent % 3 == 0 else {}
        stage.put_all(
            {"id": "p", "percent": percent, "children": children(3, processing=percent % 3, failed=1)},
            {"id": "p1", "percent": percent, **stalled},
            {"id": "z", "percent": percent, "message": f"Row {percent}", **stalled},
        )
        stage.advance(500)
    stage.put_all({"id": "p1", "cancelled": 0}, {"id": "z", "cancelled": 0})
    stage.advance(1500)
    assert stage.heard() == []
    stage.advance(15_000)
    unanswered = "{}: asked to stop; the job has not answered.".format
    assert stage.heard() == [f"{unanswered('2021')} {unanswered('Zip')}"]
    assert stage.run(SPEAKERS) == ["realtime-announcer"]


def test_the_focus_goes_the_way_of_the_eye(stage: Stage) -> None:
    """From card to card, from a card to its parts, and from each to its button; back the same way."""
    open_family(stage)
    stage.page.locator(UNFOLD).click()
    stage.put_all(again("y2", "y", created=0))
    stage.advance(300)
    stage.page.locator("realtime-task[task-id=y2] [part=cancel]").focus()
    way = [stage.focused()]
    tops = [top_of_focus(stage.page)]
    for _ in range(7):
        stage.page.keyboard.press("Tab")
        way.append(stage.focused())
        tops.append(top_of_focus(stage.page))
    assert way == ["y2:cancel", "p:cancel", ":parts", "p1:cancel", "p2:summary", "p2:dismiss", "p3:cancel", "x:cancel"]
    assert tops == sorted(tops)
    for expected in reversed(way[:-1]):
        stage.page.keyboard.press("Shift+Tab")
        assert stage.focused() == expected


def top_of_focus(page: Page) -> float:
    top: float = page.evaluate(
        """() => {
          let node = document.activeElement;
          const inner = () => (node.localName === 'realtime-task' ? null : node.shadowRoot?.activeElement);
          while (inner()) node = inner();
          return node.getBoundingClientRect().top + scrollY; // of a card, else of the button
        }"""
    )
    return top
