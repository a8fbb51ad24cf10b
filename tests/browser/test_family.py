"""Attempts as one card, and parts under what they are parts of: places, words, voices, the keyboard, the looks."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from playwright.sync_api import Page

from browser.stage import READ_CARD, Stage
from browser.test_list import LIST, SHOWN, open_list

CARD = "<realtime-task task-id='a'></realtime-task>"
ERROR = {"message": "Row 3.", "code": "x", "type": None, "details": None}
UNFOLD = "realtime-tasks [part=parts]"


def again(task_id: str, of: str, attempt: int = 2, **task: Any) -> dict[str, Any]:
    """Another attempt, made now."""
    return {"id": task_id, "retry_of": of, "attempt": attempt, "created": 0, **task}


def fail(stage: Stage, task_id: str) -> None:
    """End a task."""
    stage.put(task_id, status="failed", error=ERROR)


def read(stage: Stage, task_id: str) -> dict[str, Any]:
    """What the list's card of a task shows."""
    shown: dict[str, Any] = stage.page.locator(f"realtime-tasks realtime-task[task-id={task_id}]").evaluate(READ_CARD)
    return shown


def children(total: int, **counts: int) -> dict[str, int]:
    """How parts stand."""
    return {"total": total, "pending": 0, "processing": 0, "completed": 0, "failed": 0, "cancelled": 0} | counts


def open_family(stage: Stage, markup: str = LIST) -> None:
    """Open a list with a task of three parts between two others."""
    stage.open()
    stage.put_all(
        {"id": "x", "created": 90},
        {"id": "p", "name": "Import", "created": 80, "children": children(3, processing=2, failed=1)},
        {"id": "p1", "name": "2021", "created": 70, "parent_id": "p", "percent": 5},
        {"id": "p2", "name": "2022", "created": 60, "parent_id": "p", "status": "failed", "error": ERROR},
        {"id": "p3", "name": "2023", "created": 50, "parent_id": "p", "percent": 5},
        {"id": "y", "created": 40},
    )
    stage.show(markup)


def test_a_retry_takes_the_place_of_what_it_retries(stage: Stage) -> None:
    """One card, the same node, where the first attempt stood, with the number of the attempt and the focus in it."""
    open_list(stage, {"id": "x"}, {"id": "a", "name": "Export"}, {"id": "y"})
    stage.run("() => { globalThis.before = probe.cardsOfList(); }")
    stage.page.locator("realtime-task[task-id=a] [part=cancel]").focus()
    fail(stage, "a")
    stage.advance(300)
    stage.put_all(again("a2", "a", name="Export", percent=5))
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "a2", "x"]
    assert stage.run("() => probe.cardsOfList().every((card, at) => card === before[at])")
    assert stage.focused() == "a2:cancel"
    shown = read(stage, "a2")
    assert (shown["state"], shown["meta"], shown["disabled"]) == ("processing", ["Attempt 2"], False)
    assert stage.page.locator("realtime-tasks [part=count]").inner_text() == "3 running"
    stage.page.locator("realtime-task[task-id=a2] [part=cancel]").press("Enter")
    assert stage.asked("cancel_task") == [{"task_id": "a2"}]


def test_the_place_stays_when_the_first_attempt_is_cleared_away(stage: Stage) -> None:
    """Retention takes the oldest first; the card stays where it is."""
    open_list(stage, {"id": "a"}, {"id": "b"})
    fail(stage, "a")
    stage.put_all(again("a2", "a"))
    stage.advance(300)
    stage.run("() => { globalThis.before = probe.cardsOfList(); fake().remove('a'); }")
    stage.advance(300)
    assert stage.run(SHOWN) == ["b", "a2"]
    assert stage.run("() => probe.cardsOfList().every((card, at) => card === before[at])")


def test_an_attempt_that_is_gone_from_the_middle_leaves_one_card(stage: Stage) -> None:
    """The first says which it was, and the third too: they are one, in the place of the first, and one node."""
    open_list(stage, {"id": "a"}, {"id": "b"})
    fail(stage, "a")
    stage.put_all(again("a2", "a", status="failed", error=ERROR), {"id": "a", "retried_by": "a2"})
    stage.advance(300)
    stage.run("() => { globalThis.before = probe.cardsOfList(); fake().remove('a2'); }")
    stage.advance(300)
    assert stage.run(SHOWN) == ["b", "a"]
    stage.put_all(again("a3", "a2", 3))
    stage.advance(300)
    assert stage.run(SHOWN) == ["b", "a3"]
    assert stage.run("() => probe.cardsOfList().every((card, at) => card === before[at])")
    assert read(stage, "a3")["meta"] == ["Attempt 3"]


def test_unfolded_parts_stay_unfolded_when_the_next_attempt_begins_without_any(stage: Stage) -> None:
    """Those of the attempt before are gone with it; the new ones come where they were, and what was folded stays so."""
    open_family(stage)
    stage.page.locator(UNFOLD).press("Enter")
    stage.put_all({"id": "p1", "status": "completed"}, {"id": "p3", "status": "completed"})
    fail(stage, "p")
    stage.put_all(again("p again", "p", children=None))
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p again", "x"]
    assert stage.focused() == "p again:name"
    stage.put("q1", parent_id="p again", created=0)
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p again", "q1", "x"]
    stage.page.locator(UNFOLD).press("Enter")
    stage.put("q1", status="completed")
    fail(stage, "p again")
    stage.put_all(again("p third", "p again", 3))
    stage.put("r1", parent_id="p third", created=0)
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p third", "x"]


def test_dismissing_the_newest_attempt_brings_no_older_one_back(stage: Stage) -> None:
    """All of the chain goes, here and on the server."""
    open_list(stage, {"id": "a"}, {"id": "b"})
    fail(stage, "a")
    stage.put_all(again("a2", "a", status="completed"))
    stage.advance(1000)
    stage.page.locator("realtime-task[task-id=a2] [part=dismiss]").press("Enter")
    stage.advance(300)
    assert stage.run(SHOWN) == ["b"]
    assert stage.focused() == "b:name"
    assert stage.asked("remove_task") == [{"task_id": "a"}, {"task_id": "a2"}]


@pytest.mark.parametrize("markup", [LIST, CARD])
def test_a_retry_is_told_once_and_not_as_an_end_and_a_start(stage: Stage, markup: str) -> None:
    """Within the second it is "attempt 2" and nothing else; later the end has been told already."""
    stage.open(markup)
    stage.put("a", name="Export")
    stage.advance(2000)
    fail(stage, "a")
    stage.advance(300)
    stage.put_all(again("a2", "a", name="Export", status="pending"))
    stage.put("a2", status="processing", started=0)
    stage.advance(3000)
    assert stage.heard() == ["Export: attempt 2"]
    fail(stage, "a2")
    stage.advance(3000)
    stage.put_all(again("a3", "a2", 3, name="Export"))
    stage.advance(3000)
    assert stage.heard()[1:] == ["Export: failed. Row 3.", "Export: attempt 3"]


def test_a_job_that_was_tried_again_meanwhile_finished_once(stage: Stage) -> None:
    """After a break attempts count as the one job they are; one that runs again did not finish."""
    stage.open(LIST)
    stage.put_all({"id": "a", "name": "A", "created": 30}, {"id": "b", "name": "B", "created": 20})
    stage.advance(2000)
    stage.run("() => fake().drop()")
    stage.advance(6000)
    fail(stage, "a")
    fail(stage, "b")
    stage.put_all(again("a2", "a", status="failed", error=ERROR), again("a3", "a2", 3, status="completed"))
    stage.put_all(again("b2", "b", name="B"))
    stage.run("() => { fake().mode = 'up'; document.querySelector('realtime-tasks').client.reconnect(); }")
    stage.advance(2000)
    assert stage.heard()[1:] == ["Connected again. 1 job finished meanwhile. B: attempt 2"]


def test_a_card_follows_to_the_newest_attempt_unless_it_is_told_to_stay(stage: Stage) -> None:
    """By itself it goes with the job; `attempt="this"` keeps it with the one that it names."""
    stage.open(CARD + CARD.replace(">", " attempt='this'>", 1))
    stage.put("a", name="Export")
    stage.advance(300)
    fail(stage, "a")
    stage.put_all(again("a2", "a", name="Export", percent=40))
    stage.advance(300)
    follows, stays = stage.card().all()
    assert [follows.evaluate(READ_CARD)["meta"], follows.evaluate("(card) => card.task.task_id")] == [
        ["Attempt 2"],
        "a2",
    ]
    assert stays.evaluate(READ_CARD)["state"] == "failed"
    stage.put("a2", status="completed")
    stage.advance(300)
    assert [(event["type"], event["id"]) for event in stage.events("completed", "failed")] == [
        ("failed", "a"),
        ("failed", "a"),
        ("completed", "a2"),
    ]
    stays.evaluate("(card) => card.removeAttribute('attempt')")
    stage.advance(300)
    assert stays.evaluate(READ_CARD)["state"] == "completed"


def test_a_page_that_comes_late_shows_the_newest_attempt_and_tells_nothing(stage: Stage) -> None:
    """How things stand is no news, for a card and for a list."""
    stage.open()
    stage.put("a", status="failed", error=ERROR, created=30)
    stage.put_all(again("a2", "a", status="completed", created=20))
    stage.show(CARD + LIST)
    stage.advance(3000)
    assert [stage.read()["state"], stage.run(SHOWN), stage.heard()] == ["completed", ["a2"], []]


def test_parts_are_folded_under_their_task(stage: Stage) -> None:
    """They are not in the list by themselves; a button shows them, in the order of their making, and hides them."""
    open_family(stage)
    assert stage.run(SHOWN) == ["y", "p", "x"]
    assert read(stage, "p")["meta"] == ["0 of 3 parts done, 1 failed"]
    assert stage.page.locator("realtime-tasks [part=count]").inner_text() == "3 running"
    button = stage.page.locator(UNFOLD)
    assert button.inner_text().split() == ["Show", "parts", "Import"]
    assert button.get_attribute("aria-expanded") == "false"
    button.press("Enter")
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p", "p1", "p2", "p3", "x"]
    assert [button.get_attribute("aria-expanded"), stage.focused()] == ["true", ":parts"]
    nested = stage.page.get_by_role("list", name="Parts of Import")
    assert nested.get_attribute("id") == button.get_attribute("aria-controls")
    assert nested.get_by_role("listitem").count() == 3
    level = "(card) => card.shadowRoot.querySelector('.name').localName"
    assert [stage.page.locator(f"realtime-task[task-id={name}]").evaluate(level) for name in ("p", "p1")] == [
        "h3",
        "h4",
    ]
    button.press("Space")
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p", "x"]
    assert [button.get_attribute("aria-expanded"), stage.focused()] == ["false", ":parts"]


def test_parts_go_on_while_they_are_unfolded(stage: Stage) -> None:
    """News, retries and new parts come to their places, and nothing of it is spoken; the end of all is."""
    open_family(stage)
    stage.page.locator(UNFOLD).click()
    stage.put("p1", status="completed")
    stage.put_all(again("p2b", "p2", name="2022", parent_id="p"), {"id": "p4", "created": 0, "parent_id": "p"})
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p", "p1", "p2b", "p3", "p4", "x"]
    assert [read(stage, "p1")["state"], read(stage, "p2b")["meta"]] == ["completed", ["Attempt 2"]]
    stage.advance(3000)
    assert stage.heard() == []
    stage.put(
        "p", status="failed", error={**ERROR, "message": "2 of 3 completed; 1 failed.", "code": "partly_completed"}
    )
    stage.advance(3000)
    assert stage.heard() == ["Import: failed. 2 of 3 completed; 1 failed."]
    assert read(stage, "p")["words"].startswith("2 of 3 completed; 1 failed.")


def test_the_focus_in_a_part_that_goes_is_not_lost(stage: Stage) -> None:
    """To the next part, then to the task they were parts of."""
    open_family(stage)
    stage.page.locator(UNFOLD).click()
    stage.page.locator("realtime-task[task-id=p2] [part=dismiss]").press("Enter")
    stage.advance(300)
    assert stage.focused() == "p3:name"
    stage.run("() => fake().remove('p3')")
    stage.advance(300)
    assert stage.focused() == "p1:name"
    stage.run("() => fake().remove('p1')")
    stage.advance(300)
    assert stage.focused() == "p:name"
    assert stage.page.locator(UNFOLD).count() == 0


def test_dismissing_a_task_takes_its_parts_along(stage: Stage) -> None:
    """What has ended of it goes; nothing of it comes up by itself."""
    open_family(stage)
    stage.put("p1", status="completed")
    stage.put("p3", status="completed")
    stage.put("p", status="failed", error=ERROR)
    stage.advance(1000)
    stage.page.locator("realtime-task[task-id=p] [part=dismiss]").press("Enter")
    stage.advance(300)
    assert stage.run(SHOWN) == ["y", "x"]
    assert [message["task_id"] for message in stage.asked("remove_task")] == ["p1", "p2", "p3", "p"]


def test_a_filter_brings_out_the_parts_that_match(stage: Stage) -> None:
    """A task that does not match gives its place to its parts that do."""
    open_family(stage, "<realtime-tasks filter='finished'></realtime-tasks>")
    assert stage.run(SHOWN) == ["p2"]
    stage.put("p", status="failed", error=ERROR)
    stage.advance(300)
    assert stage.run(SHOWN) == ["p"]


def test_many_parts_come_in_portions(stage: Stage) -> None:
    """Fifty at first, whatever runs, and the rest on demand."""
    stage.open()
    stage.put("p", created=90)
    stage.run(
        "() => { for (let at = 0; at < 70; at += 1)"
        " fake().put({id: `c${at}`, created: 80 - at, parent_id: 'p', status: 'completed'}); }"
    )
    stage.show(LIST)
    stage.page.locator(UNFOLD).click()
    stage.advance(300)
    assert len(stage.run(SHOWN)) == 51
    stage.page.locator("realtime-tasks .parts [part=more]").press("Enter")
    stage.advance(300)
    assert len(stage.run(SHOWN)) == 71
    assert stage.focused() == "c50:name"


def test_unfolded_parts_can_be_read_and_fit(page: Page, static_site: str) -> None:
    """Contrast in light and dark, width down to a small phone, and the size of the button, three levels deep."""
    stage = Stage(page, static_site)
    open_family(stage)
    stage.put_all(
        {"id": "q", "name": "2023 a", "created": 45, "parent_id": "p3"},
        {"id": "r", "name": "2023 b", "created": 44, "parent_id": "q", "percent": 5},
    )
    stage.advance(300)
    for _ in range(3):
        page.locator(f"{UNFOLD}[aria-expanded=false]").click()
        stage.advance(300)
    assert stage.run(SHOWN) == ["y", "p", "p1", "p2", "p3", "q", "r", "x"]
    dim = {}
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        texts = stage.run("() => probe.contrasts()")
        assert len(texts) > 20
        dim[scheme] = [text for text in texts if text["ratio"] < 4.5]
    assert dim == {"light": [], "dark": []}
    page.set_viewport_size({"width": 320, "height": 900})
    assert stage.run("() => probe.tooWide()") == []
    boxes = [button.bounding_box() for button in page.locator(UNFOLD).all()]
    assert len(boxes) == 3
    assert min(box["height"] for box in boxes if box) >= 36
    page.emulate_media(forced_colors="active")
    edge = page.locator(UNFOLD).first.evaluate("(button) => getComputedStyle(button).borderTopColor")
    assert edge == page.evaluate("() => getComputedStyle(document.body).color")  # an edge of its own, as a button has
