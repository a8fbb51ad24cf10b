"""What is spoken: milestones, ends, the connection; once, merged, and never what was there from the start."""

from __future__ import annotations

from typing import Any

import pytest

from browser.stage import READ_CARD, Stage

CARD = "<realtime-task task-id='a'></realtime-task>"
LIST = "<realtime-tasks></realtime-tasks>"


def test_a_task_is_told_in_milestones(stage: Stage) -> None:
    """Start, half and end, each with the name; the end with what came of it."""
    stage.open(CARD)
    stage.put("a", name="Export", status="pending")
    stage.advance(2000)
    assert stage.heard() == []
    stage.put("a", status="processing", started=0, percent=1)
    stage.advance(2000)
    stage.put("a", started=20, percent=50, eta=20)
    stage.advance(2000)
    stage.put("a", percent=80)
    stage.advance(2000)
    stage.put("a", status="completed", result={"message": "20,000 rows."})
    stage.advance(2000)
    assert stage.heard() == ["Export: started", "Export: half done", "Export: done. 20,000 rows."]


@pytest.mark.parametrize(
    ("announce", "heard"),
    [("ends", ["Export: failed. Row 3."]), ("off", []), ("milestones", ["Export: started", "Export: failed. Row 3."])],
)
def test_a_page_says_how_much_is_told(stage: Stage, announce: str, heard: list[str]) -> None:
    """`announce` takes milestones, ends or nothing."""
    stage.open(f"<realtime-task task-id='a' announce='{announce}'></realtime-task>")
    stage.put("a", name="Export", status="pending")
    stage.put("a", status="processing")
    stage.advance(2000)
    stage.put("a", status="failed", error={"message": "Row 3.", "code": "x", "type": None, "details": None})
    stage.advance(2000)
    assert stage.heard() == heard


@pytest.mark.parametrize("markup", [CARD, LIST])
def test_what_was_there_from_the_start_is_not_news(stage: Stage, markup: str) -> None:
    """A reload in the middle of everything is silent."""
    stage.open()
    stage.put_all(
        {"id": "a", "status": "completed"}, {"id": "b", "status": "failed"}, {"id": "c", "percent": 60, "started": 100}
    )
    stage.show(markup)
    stage.advance(5000)
    assert stage.heard() == []


def test_a_list_tells_ends_merged(stage: Stage) -> None:
    """Two within a second by name, more by number; no starts."""
    stage.open(LIST)
    stage.put_all(*({"id": name, "name": name.upper(), "created": 30} for name in "abcdef"))
    stage.advance(2000)
    stage.put_all({"id": "a", "status": "completed", "result": "Fine."}, {"id": "b", "status": "cancelled"})
    stage.advance(2000)
    stage.put_all(*({"id": name, "status": "completed"} for name in "cde"), {"id": "f", "status": "failed"})
    stage.advance(2000)
    assert stage.heard() == ["A: done. Fine. B: cancelled", "3 jobs done, 1 failed."]


def test_a_task_that_two_elements_show_is_told_once(stage: Stage) -> None:
    """The list and a card of the same task speak with one voice."""
    stage.open(CARD + LIST)
    stage.put("a", name="Export")
    stage.advance(2000)
    stage.put("a", status="completed")
    stage.advance(2000)
    assert stage.heard() == ["Export: done."]


@pytest.mark.parametrize(
    "markup", [LIST, CARD, "<realtime-connection></realtime-connection><realtime-tasks></realtime-tasks>"]
)
def test_a_lost_connection_and_its_return(stage: Stage, markup: str) -> None:
    """Nothing for a blink; after three seconds once; then how much finished meanwhile."""
    stage.open(markup)
    stage.put_all({"id": "a", "name": "A", "created": 30}, {"id": "b", "name": "B", "created": 20})
    stage.advance(2000)
    stage.run("() => fake().drop()")
    stage.advance(2900)
    assert stage.heard() == []
    stage.advance(6000)
    assert stage.heard() == ["Connection lost. Showing what was known."]
    stage.put_all({"id": "a", "status": "completed"}, {"id": "b", "percent": 60})
    stage.run(
        "() => { fake().mode = 'up'; document.querySelector('realtime-task, realtime-tasks').client.reconnect(); }"
    )
    stage.advance(2000)
    assert stage.heard()[1:] == ["Connected again. 1 job finished meanwhile."]


def test_a_blink_is_not_spoken_of(stage: Stage) -> None:
    """A connection that is back within three seconds is no news; an end in it is."""
    stage.open(LIST)
    stage.put("a", name="A", created=30)
    stage.advance(2000)
    stage.run("() => { fake().drop(); fake().mode = 'up'; }")
    stage.put("a", status="completed")
    stage.advance(10_000)
    assert stage.heard() == ["A: done."]


def test_two_lists_of_two_clients_lose_their_connection_in_one_voice(stage: Stage) -> None:
    """The document has one announcer, whatever the number of clients."""
    stage.open("".join(f"<realtime-tasks client='{name}'></realtime-tasks>" for name in ("ada", "grace")))
    stage.run("() => { for (const name of ['ada', 'grace']) connect({name, ticket: name}); }")
    stage.advance(1000)
    stage.run("() => { fake('ada').drop(); fake('grace').drop(); }")
    stage.advance(5000)
    assert stage.heard() == ["Connection lost. Showing what was known."]
    assert stage.page.locator("[role=status]").count() == 1


def test_without_ariaNotify_a_live_region_speaks(stage: Stage) -> None:  # noqa: N802
    """`role=status`, in the page before anything is said, out of sight, and new each time."""
    stage.page.add_init_script("delete Document.prototype.ariaNotify;")
    stage.open(CARD)
    region = stage.page.locator("[role=status]")
    assert region.count() == 1
    assert region.text_content() == ""
    box = region.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (1, 1)
    stage.run("() => { globalThis.said = probe.watchRegion(); }")
    for _ in range(2):
        stage.put("a", name="<b>Export</b>", status="pending")
        stage.put("a", status="processing")
        stage.advance(2000)
        stage.run("() => fake().remove('a')")
        stage.advance(2000)
    assert stage.run("() => said") == ["<b>Export</b>: started"] * 2


def test_words_are_spoken_in_the_language_of_the_page(stage: Stage) -> None:
    """Announcements take their sentences where the cards do."""
    stage.open()
    stage.run("() => setStrings('de', {'say.started': '{name}: begonnen'})")
    stage.show(f"<div lang='de'>{CARD}</div>")
    stage.put("a", name="Export", status="pending")
    stage.put("a", status="processing")
    stage.advance(2000)
    assert stage.heard() == ["Export: begonnen"]


def test_a_long_list_of_updates_says_nothing(stage: Stage) -> None:
    """Progress is for the eye and for whoever asks the bar."""
    stage.open(LIST + CARD)
    tasks: list[dict[str, Any]] = [
        {"id": "a", "name": "A", "started": 100, "percent": percent} for percent in range(0, 49, 4)
    ]
    for task in tasks:
        stage.put_all(task)
        stage.advance(1500)
    assert stage.heard() == []


def test_a_list_of_a_group_tells_the_ends_of_that_group(stage: Stage) -> None:
    """What the page does not show it does not speak of."""
    stage.open("<realtime-tasks group='team:7'></realtime-tasks>")
    stage.put_all(
        {"id": "a", "name": "A", "created": 30}, {"id": "b", "name": "B", "created": 20, "groups": ["team:7"]}
    )
    stage.advance(2000)
    stage.put_all({"id": "a", "status": "completed"}, {"id": "b", "status": "completed"})
    stage.advance(2000)
    assert stage.heard() == ["B: done."]


@pytest.mark.parametrize("markup", [CARD, LIST])
def test_a_job_that_does_not_answer_is_told_once(stage: Stage, markup: str) -> None:
    """Ten seconds after it was asked to stop, with the time on the card and without it in the ear."""
    stage.open(markup)
    stage.put("a", name="Export", percent=5)
    stage.advance(2000)
    stage.put("a", cancelled=0)
    stage.advance(9000)
    assert stage.heard() == []
    for _ in range(3):
        stage.advance(5000)
    assert stage.heard() == ["Export: asked to stop; the job has not answered."]
    cards = stage.page.locator("realtime-task")
    assert cards.first.evaluate(READ_CARD)["words"] == "Asked to stop 24 s ago; the job has not answered."
    stage.put("a", cancel_acknowledged_at="2026-11-24T14:03:59Z")
    stage.advance(300)
    assert cards.first.evaluate(READ_CARD)["words"] == "The job is stopping."
    stage.put("a", status="cancelled")
    stage.advance(20_000)
    assert stage.heard()[1:] == ["Export: cancelled"]


def test_a_job_that_had_not_answered_before_the_page_came_is_shown_and_not_told(stage: Stage) -> None:
    """How things stand is no news."""
    stage.open()
    stage.put("a", name="Export", percent=5, cancelled=60)
    stage.show(CARD)
    stage.advance(5000)
    assert stage.read()["words"] == "Asked to stop 1 min ago; the job has not answered."
    assert stage.heard() == []
