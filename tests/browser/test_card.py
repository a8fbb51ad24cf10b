"""`<realtime-task>`: states, words, tree, events, buttons, focus."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page

from browser.stage import Stage

CARD = "<realtime-task task-id='a'></realtime-task>"
TWO = "<realtime-task task-id='a'></realtime-task><realtime-task task-id='b'></realtime-task>"
XSS = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

#: What each card of the state sheet shows: figure, words, count, time, bar and button. A bar without a value is None.
STATES: dict[str, dict[str, Any]] = {
    "pending": {
        "figure": "Waiting",
        "words": "Waiting for a free worker.",
        "meta": ["not started"],
        "time": "asked 8 s ago",
        "bar": None,
        "button": "cancel",
    },
    "processing-total-known": {
        "state": "processing",
        "figure": "64%",
        "words": "Reading rows",
        "meta": ["12,800 of 20,000 rows", "1,240 rows/s", "about 6 s left"],
        "time": "started 10 s ago",
        "bar": 64,
        "button": "cancel",
    },
    "processing-no-total": {
        "state": "processing",
        "figure": "1:08",
        "words": "Folder “Archive”",
        "meta": ["3,112 messages", "46 messages/s"],
        "time": "started 1 min ago",
        "bar": None,
        "button": "cancel",
    },
    "quiet": {
        "figure": "71%",
        "words": "Still working. No progress for 2 min.",
        "meta": ["10 of 14 epochs"],
        "time": "started 22 min ago",
        "bar": 71,
        "button": "cancel",
    },
    "stalled": {
        "figure": "38%",
        "words": "No word from the job for 40 s. It fails if it stays silent.",
        "meta": ["0:41 of 1:48"],
        "time": "started 3 min ago",
        "bar": 38,
        "button": "cancel",
    },
    "lost": {
        "figure": "38%",
        "words": "Last known, 1 s ago.",
        "meta": ["190 of 500 rows"],
        "time": "started 20 s ago",
        "bar": 38,
        "button": "cancel",
        "disabled": True,
    },
    "cancelling": {
        "figure": "Cancelling",
        "words": "Asked the job to stop. It stops at its next step.",
        "meta": ["1,004 of 1,570 files"],
        "time": "asked 2 s ago",
        "bar": 64,
        "button": "cancel",
        "disabled": True,
    },
    "cancelling-heard": {
        "state": "cancelling",
        "figure": "Cancelling",
        "words": "The job is stopping.",
        "meta": ["1,004 of 1,570 files"],
        "time": "asked 22 s ago",
        "bar": 64,
        "button": "cancel",
        "disabled": True,
    },
    "cancelling-unanswered": {
        "state": "cancelling",
        "figure": "Cancelling",
        "words": "Asked to stop 14 s ago; the job has not answered.",
        "meta": ["1,004 of 1,570 files"],
        "time": "asked 14 s ago",
        "bar": 64,
        "button": "cancel",
        "disabled": True,
    },
    "attempt": {
        "state": "processing",
        "figure": "1:08",
        "words": "Folder “Archive”",
        "meta": ["Attempt 2", "3,112 messages", "46 messages/s"],
        "time": "started 1 min ago",
        "bar": None,
        "button": "cancel",
    },
    "parts": {
        "state": "processing",
        "figure": "60%",
        "words": "2019 to 2023",
        "meta": ["2 of 5 parts done, 1 failed", "about 40 s left"],
        "time": "started 1 min ago",
        "bar": 60,
        "button": "cancel",
    },
    "parts-partly": {
        "state": "failed",
        "figure": "Failed",
        "words": "2 of 3 completed; 1 failed. Technical details",
        "meta": ["Attempt 2", "2 of 3 parts done, 1 failed"],
        "time": "14:03, after 48 s",
        "bar": 97,
        "button": "dismiss",
    },
    "completed": {
        "figure": "Done",
        "words": "20,000 rows, no errors. Download invoices.csv",
        "meta": ["16 s", "1,250 rows/s"],
        "time": "14:03",
        "bar": 100,
        "button": "dismiss",
    },
    "failed": {
        "figure": "Failed",
        "words": "Row 212, column “email”: ada(at)example.org is not an address. Nothing was imported. "
        "Technical details",
        "meta": ["211 of 500 rows"],
        "time": "14:03, after 3 s",
        "bar": 42,
        "button": "dismiss",
    },
    "failed-worker-lost": {
        "state": "failed",
        "figure": "Failed",
        "words": "The job’s worker went away and did not come back. Start it again.",
        "meta": ["stopped at 38%"],
        "time": "14:03, after 4 min",
        "bar": 38,
        "button": "dismiss",
    },
    "cancelled": {
        "figure": "Cancelled",
        "words": "Stopped at 64%.",
        "meta": ["1,004 of 1,570 files"],
        "time": "14:03",
        "bar": 64,
        "button": "dismiss",
    },
    "7f3a91": {
        "state": "unknown",
        "figure": "Not found",
        "words": "It may have ended and been cleared, or you may not watch it.",
        "bar": "none",
    },
    "loading": {"figure": "", "words": "Connecting…", "bar": 0},
}


@pytest.mark.parametrize("card", STATES)
def test_each_state_says_what_it_is(stage: Stage, card: str) -> None:
    """Figure, words, count, time, bar and button of every state are those of the design."""
    stage.open(path="/states.html")
    shown = stage.read(card)
    del shown["name"]
    assert shown == {"state": card, "meta": [], "time": "", "button": "", "disabled": False} | STATES[card]


def test_the_tree_stands_in_reading_order(stage: Stage) -> None:
    """Icon, heading, figure, words, bar, meta, button: what is read first stands first."""
    stage.open(CARD)
    stage.put("a", name="Export", percent=10)
    stage.advance(300)
    order = stage.run("() => probe.order('a')")
    assert order == ["icon", "name", "figure", "message", "bar", "meta", "action"]


def test_a_card_is_a_group_with_a_name_except_in_a_list(stage: Stage) -> None:
    """In a list the item is the group already."""
    other = "<realtime-task task-id='{}'></realtime-task>".format
    stage.open(f"{CARD}<ul><li>{other('b')}</li></ul><div role='listitem'>{other('c')}</div>")
    roles = [stage.run("(id) => probe.role(id)", name) for name in "abc"]
    assert roles == ["group", None, None]


def accessibility_tree(page: Page) -> list[dict[str, Any]]:
    """Role, name and a few properties of what assistive technology finds, in order."""
    session = page.context.new_cdp_session(page)
    session.send("Accessibility.enable")
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", ""),
            "value": node.get("value", {}).get("value"),
            **{item["name"]: item["value"].get("value") for item in node.get("properties", [])},
        }
        for node in nodes
        if not node.get("ignored")
    ]


def test_a_running_task_in_the_accessibility_tree(stage: Stage) -> None:
    """A group and a heading with the name, a progress bar with its value, and a button that says what it cancels."""
    stage.open("<realtime-task task-id='a' heading-level='4'></realtime-task>")
    stage.put("a", name="Export", percent=38, message="Reading rows")
    stage.advance(300)
    tree = accessibility_tree(stage.page)
    found = {(node["role"], node["name"]): node for node in tree}
    assert ("group", "Export") in found
    assert found["heading", "Export"]["level"] == 4
    assert int(found["progressbar", "Export"]["value"]) == 38
    assert ("button", "Cancel Export") in found
    texts = [node["name"].strip() for node in tree if node["role"] == "StaticText"]
    assert "In progress." in texts
    assert "Reading rows" in texts
    assert "38%" not in texts  # the bar says it


@pytest.mark.parametrize(
    ("task", "figure"),
    [({"status": "pending"}, "Waiting"), ({"status": "completed"}, "Done"), ({"status": "failed"}, "Failed")],
)
def test_where_nothing_moves_the_word_is_heard_and_the_bar_is_not(
    stage: Stage, task: dict[str, Any], figure: str
) -> None:
    """The bar of a task that waits or has ended is hidden from assistive technology; its word is not."""
    stage.open(CARD)
    stage.put("a", name="Export", percent=38, **task)
    stage.advance(300)
    tree = accessibility_tree(stage.page)
    assert [node for node in tree if node["role"] == "progressbar"] == []
    assert figure in [node["name"] for node in tree if node["role"] == "StaticText"]


def test_text_of_a_task_is_text(stage: Stage) -> None:
    """Markup in any field of a task is shown as it is and runs nothing."""
    stage.open(TWO + "<realtime-tasks></realtime-tasks>")
    error = {"message": XSS, "code": XSS, "type": XSS, "details": {XSS: XSS, "list": [XSS]}}
    stage.put_all(
        {"id": "a", "name": XSS, "message": XSS, "current": 1, "unit": XSS},
        {"id": "b", "name": XSS, "status": "completed", "result": {"message": XSS, "url": "/x", "label": XSS}},
        {"id": "c", "name": XSS, "status": "failed", "error": error},
        {"id": "d", "name": "d", "status": "completed", "result": XSS, "metadata": {"x": XSS}},
    )
    stage.run("(xss) => { fake().refusals.cancel_task = {code: 'forbidden', message: xss}; }", XSS)
    stage.run("(xss) => document.querySelector('realtime-task').setAttribute('label', xss)", XSS)
    stage.advance(300)
    found = stage.run("() => probe.injected()")
    stage.card().first.locator("[part=cancel]").click()
    stage.advance(2000)
    refused = stage.run("() => probe.injected()")
    assert (found["found"], refused["found"]) == ([], [])
    assert refused["title"] == "elements"
    # Twice, in the card and in the list: names, message, unit, Cancel's and Dismiss's names, result, label; and once
    # the error with its three rows, and the last result.
    assert found["shown"] >= 22
    assert XSS in stage.card().first.locator("#words").inner_text()


def test_a_link_of_a_result_leads_only_where_links_may(stage: Stage) -> None:
    """http, https and relative addresses are links, others are not there; a result without a label has one of ours."""
    stage.open(CARD)
    links = {}
    for url in ("/report.csv", "https://example.org/r", "javascript:alert(1)", "data:text/html,x", ""):
        stage.run("() => fake().remove('a')")
        stage.put("a", status="completed", result={"message": "Done.", "url": url})
        stage.advance(300)
        links[url] = stage.run("() => probe.links('a')")
    assert links == {
        "/report.csv": [["/report.csv", "Open the result"]],
        "https://example.org/r": [["https://example.org/r", "Open the result"]],
        "javascript:alert(1)": [],
        "data:text/html,x": [],
        "": [],
    }


def test_details_unfold_with_their_rows_and_stay_open(stage: Stage) -> None:
    """Code, details and type of a failure stand under Technical details; a repaint does not close them."""
    stage.open(CARD)
    stage.put(
        "a", status="failed", error={"message": "Bad.", "code": "bad_row", "type": "RowError", "details": {"row": 212}}
    )
    stage.advance(300)
    stage.card().locator("summary").click()
    stage.run("() => setStrings('en', {})")
    stage.advance(300)
    assert stage.card().locator("dl").inner_text().split("\n") == ["code", "bad_row", "row", "212", "type", "RowError"]
    assert stage.card().locator("details").evaluate("(d) => d.open")


def test_a_fast_task_is_repainted_four_times_a_second(stage: Stage) -> None:
    """A hundred updates a second change the text four times a second at most; in the end the newest is shown."""
    stage.open(CARD)
    stage.put("a", name="Export", current=0, total=1000)
    stage.advance(300)
    stage.run("() => { globalThis.paints = probe.watchPaints('a'); }")
    for step in range(1, 201):
        stage.put("a", current=step, message=f"Row {step}")
        stage.advance(10)
    paints = stage.run("() => paints")
    gaps = [later - earlier for earlier, later in pairwise(paints)]
    assert 7 <= len(paints) <= 9
    assert min(gaps) >= 250
    stage.advance(250)
    assert stage.read()["words"] == "Row 200"


def test_a_change_after_a_quiet_time_is_shown_at_once(stage: Stage) -> None:
    """The limit delays only what follows closely."""
    stage.open(CARD)
    stage.put("a", percent=1)
    stage.advance(300)
    stage.put("a", percent=2)
    assert stage.read()["figure"] == "2%"
    stage.put("a", percent=3)
    assert stage.read()["figure"] == "2%"
    stage.advance(250)
    assert stage.read()["figure"] == "3%"


def test_the_first_snapshot_is_not_held_up_by_the_empty_card(stage: Stage) -> None:
    """What stood there before there was an answer does not count as a repaint."""
    stage.open()
    stage.put("a", percent=5)
    stage.run("(card) => { document.body.innerHTML = card; }", CARD)
    stage.advance(1)
    assert stage.read()["figure"] == "5%"


def test_times_go_on_by_themselves(stage: Stage) -> None:
    """Elapsed time counts, a running task falls quiet, and an ended one stands still."""
    stage.open("<realtime-task task-id='a' quiet-after='5'></realtime-task><realtime-task task-id='b'></realtime-task>")
    stage.put_all({"id": "a", "created": 10, "message": "Reading"}, {"id": "b", "status": "completed"})
    stage.advance(1000)
    first = stage.read()
    stage.advance(3000)
    second = stage.read()
    stage.advance(2000)
    assert [first["figure"], second["figure"]] == ["0:11", "0:14"]
    assert [first["state"], second["state"], stage.read()["state"]] == ["processing", "processing", "quiet"]
    stage.put("a", message="Reading on")
    stage.advance(300)
    assert stage.read()["words"] == "Reading on"


@pytest.mark.parametrize("ahead", [600_000, -600_000])
def test_a_wrong_clock_in_the_browser_makes_no_silence(stage: Stage, ahead: int) -> None:
    """Ages are counted on the server's clock: a browser that is ten minutes slow or fast shows the same."""
    stage.open()
    stage.run("(ahead) => { serverAhead = ahead; }", ahead)
    stage.put("a", created=10, message="Reading")
    stage.show(CARD)
    shown = stage.read()
    assert (shown["state"], shown["time"], shown["words"]) == ("processing", "started 10 s ago", "Reading")


def test_an_element_that_is_moved_keeps_what_it_shows(stage: Stage) -> None:
    """Taken to another place, with `moveBefore()` too, the card shows the same, and hears what comes next."""
    stage.open(f"<p></p>{CARD}<div></div>")
    stage.put("a", percent=5)
    stage.advance(300)
    moves = ("place.moveBefore(card, null)", "document.body.append(card)")
    for percent, move in enumerate(moves, start=6):
        stage.run(
            "() => { const card = document.querySelector('realtime-task'), place = document.querySelector('div');"
            f" {move}; }}"
        )
        assert stage.read()["figure"] == f"{percent - 1}%"
        stage.put("a", percent=percent)
        stage.advance(300)
        assert stage.read()["figure"] == f"{percent}%"
    assert [event["first"] for event in stage.events("change")] == [True, False, False]
