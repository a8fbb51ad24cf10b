"""`<realtime-task>`: its events, Cancel and Dismiss, and where the keyboard's focus goes."""

from __future__ import annotations

import pytest

from browser.stage import Stage
from support.remote import wait_until

CARD = "<realtime-task task-id='a'></realtime-task>"
TWO = "<realtime-task task-id='a'></realtime-task><realtime-task task-id='b'></realtime-task>"


def running(stage: Stage, markup: str = CARD) -> None:
    """Open a page with the tasks a and b running."""
    stage.open(markup)
    stage.put_all({"id": "a", "name": "Export", "percent": 10}, {"id": "b", "name": "Import", "percent": 20})
    stage.advance(300)


def test_events_tell_each_change_and_each_end_once(stage: Stage) -> None:
    """`realtime-change` with every version, the end by its own name; `first` marks what was there already."""
    stage.open()
    stage.put("b", status="failed")
    stage.show(TWO)
    stage.put("a", percent=10)
    stage.put("a", percent=20)
    stage.put("a", status="completed")
    stage.advance(300)
    told = [(event["type"], event["id"], event["first"]) for event in stage.events()]
    assert told == [
        ("change", "b", True), ("failed", "b", True),
        ("change", "a", True), ("change", "a", False), ("change", "a", False), ("completed", "a", False),
    ]  # fmt: skip


def test_events_do_not_come_again_with_a_new_connection(stage: Stage) -> None:
    """A snapshot that the element had already is no change."""
    running(stage)
    stage.run("() => { events.length = 0; fake().drop('up'); }")
    stage.advance(2000)
    assert stage.read()["state"] == "processing"
    assert stage.events() == []


def test_cancel_asks_the_server_once_and_waits_for_its_answer(stage: Stage) -> None:
    """After a click the button is off; the card says Cancelling when the server has said so."""
    running(stage)
    cancel = stage.card().locator("[part=cancel]")
    cancel.click()
    cancel.click(force=True)
    assert cancel.get_attribute("aria-disabled") == "true"
    stage.advance(300)
    assert stage.asked("cancel_task") == [{"task_id": "a"}]
    assert stage.read()["state"] == "cancelling"
    cancel.click(force=True)
    assert len(stage.asked("cancel_task")) == 1
    assert [event["cancelable"] for event in stage.events("cancel-request")] == [True]


def test_a_page_may_keep_the_job_going(stage: Stage) -> None:
    """A prevented `realtime-cancel-request` asks nobody, and the button can be pressed again."""
    running(stage)
    stage.run("() => { refused = ['cancel-request']; }")
    cancel = stage.card().locator("[part=cancel]")
    cancel.click()
    cancel.click()
    stage.advance(300)
    assert stage.asked("cancel_task") == []
    assert len(stage.events("cancel-request")) == 2
    assert stage.read()["disabled"] is False


def test_a_refused_cancel_says_why_and_may_be_tried_again(stage: Stage) -> None:
    """The server's reason is shown for a while, and spoken."""
    running(stage)
    stage.run("() => { fake().refusals.cancel_task = {code: 'limit', message: 'Too many requests.'}; }")
    stage.card().locator("[part=cancel]").click()
    stage.advance(1500)
    shown = stage.read()
    assert (shown["words"], shown["disabled"]) == ("It could not be cancelled. Too many requests.", False)
    assert stage.heard() == ["It could not be cancelled. Too many requests."]
    stage.advance(8000)
    assert stage.read()["words"] == ""


def test_a_task_that_ends_while_cancelling_is_asked_for_is_no_refusal(stage: Stage) -> None:
    """`already_finished` needs no words: the card shows the end."""
    running(stage)
    stage.run("() => { fake().refusals.cancel_task = {code: 'already_finished', message: 'It has ended.'}; }")
    stage.card().locator("[part=cancel]").evaluate(
        "(button) => { button.click(); fake().put({id: 'a', status: 'completed', result: 'Fine.'}); }"
    )
    stage.advance(2000)
    assert stage.read()["words"] == "Fine."
    assert stage.heard() == ["Export: done. Fine."]


def test_cancel_is_off_while_the_page_is_cut_off(stage: Stage) -> None:
    """It stays a button that can be reached, says that it is off, and does nothing."""
    running(stage)
    stage.run("() => fake().drop()")
    stage.advance(300)
    cancel = stage.card().locator("[part=cancel]")
    assert cancel.get_attribute("aria-disabled") == "true"
    assert cancel.get_attribute("disabled") is None
    cancel.click(force=True)
    stage.advance(300)
    assert stage.events("cancel-request") == []


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_cancel_outlives_its_task_while_it_has_the_focus(stage: Stage, end: str) -> None:
    """The focused node stays, off; when the focus moves on, Dismiss takes its place."""
    running(stage, TWO)
    stage.card().locator("[part=cancel]").focus()
    stage.put("a", status=end)
    stage.advance(300)
    shown = stage.read()
    assert (shown["state"], shown["button"], shown["disabled"]) == (end, "cancel", True)
    assert stage.focused() == "a:cancel"
    stage.page.keyboard.press("Tab")
    stage.advance(300)
    assert stage.focused() == "b:cancel"
    shown = stage.read()
    assert (shown["button"], shown["disabled"]) == ("dismiss", False)


def test_a_button_without_the_focus_is_exchanged_at_once(stage: Stage) -> None:
    """Cancel makes way for Dismiss when its task ends."""
    running(stage)
    stage.put("a", status="completed")
    stage.advance(300)
    assert stage.read()["button"] == "dismiss"


def test_a_click_meant_for_cancel_does_not_dismiss(stage: Stage) -> None:
    """Dismiss takes no click of a pointer in its first half second, but any key."""
    running(stage, TWO)
    stage.put("a", status="completed")
    stage.put("b", status="completed")
    stage.advance(300)
    dismiss = stage.card().locator("[part=dismiss]")
    dismiss.click()
    assert stage.events("dismiss") == []
    stage.card("b").locator("[part=dismiss]").press("Enter")
    assert [event["id"] for event in stage.events("dismiss")] == ["b"]
    stage.advance(600)
    dismiss.click()
    assert [event["id"] for event in stage.events("dismiss")] == ["b", "a"]


def test_dismissing_hides_the_card_clears_the_task_and_moves_the_focus_on(stage: Stage) -> None:
    """The next card's heading gets the focus, after the last one the one before."""
    running(stage, f"{TWO}<realtime-task task-id='c'></realtime-task>")
    stage.put_all({"id": "b", "status": "completed"}, {"id": "c", "status": "failed"})
    stage.advance(1000)
    stage.card("b").locator("[part=dismiss]").press("Enter")
    stage.advance(300)
    assert stage.focused() == "c:name"
    assert not stage.card("b").is_visible()
    stage.card("c").locator("[part=dismiss]").press("Enter")
    stage.advance(300)
    assert stage.focused() == "a:name"
    assert stage.asked("remove_task") == [{"task_id": "b"}, {"task_id": "c"}]


def test_another_heading_level_keeps_the_focus(stage: Stage) -> None:
    """The heading is made anew, and has the focus that the old one had."""
    running(stage)
    stage.card().evaluate("(element) => { element.focusHeading(); element.setAttribute('heading-level', '5'); }")
    stage.advance(300)
    assert stage.run("() => probe.focused()") == "a:name"
    assert stage.card().locator("h5").inner_text() == "Export"


def test_a_page_may_keep_a_task(stage: Stage) -> None:
    """A prevented `realtime-dismiss` hides and clears nothing, and leaves the focus."""
    running(stage, TWO)
    stage.put("a", status="completed")
    stage.run("() => { refused = ['dismiss']; }")
    stage.advance(1000)
    stage.card().locator("[part=dismiss]").press("Enter")
    stage.advance(300)
    assert stage.focused() == "a:dismiss"
    assert stage.card().is_visible()
    assert stage.asked("remove_task") == []


def test_a_dismissed_card_comes_back_for_another_task(stage: Stage) -> None:
    """A page that reuses its element sees it again."""
    running(stage, CARD)
    stage.put("a", status="completed")
    stage.advance(1000)
    stage.card().locator("[part=dismiss]").press("Enter")
    stage.run("() => { document.querySelector('realtime-task').taskId = 'b'; }")
    stage.advance(300)
    assert stage.card("b").is_visible()
    assert stage.read("b")["name"] == "Import"


def test_a_task_that_is_removed_is_not_found(stage: Stage) -> None:
    """What the server has cleared is shown like what it never had."""
    running(stage)
    stage.run("() => fake().remove('a')")
    stage.advance(300)
    shown = stage.read()
    assert (shown["state"], shown["name"], shown["button"]) == ("unknown", "Job a", "")


def test_another_id_is_another_task(stage: Stage) -> None:
    """Nothing of the first task is left, and nothing about it is announced as news of the second."""
    running(stage)
    stage.put("b", status="completed", result="All.")
    stage.card().evaluate("(element) => element.setAttribute('task-id', 'b')")
    stage.advance(1500)
    shown = stage.read("b")
    assert (shown["name"], shown["figure"], shown["words"]) == ("Import", "Done", "All.")
    assert stage.heard() == []


def test_only_the_owner_is_offered_cancel(stage: Stage) -> None:
    """A member of a task's group, and a holder of a ticket, may watch it."""
    stage.open(TWO)
    stage.put_all({"id": "a", "percent": 1, "user": "grace"}, {"id": "b", "percent": 1})
    stage.advance(300)
    assert [stage.read("a")["button"], stage.read("b")["button"]] == ["", "cancel"]


def test_an_element_that_leaves_listens_no_more(stage: Stage) -> None:
    """A card of a single task that leaves the page unsubscribes and stands still; put back, it catches up."""
    stage.open()
    stage.run("() => fake().hidden.add('a')")
    stage.put("a", percent=1, user="grace")
    stage.show(CARD)
    assert stage.read()["figure"] == "1%"
    stage.run("() => { globalThis.kept = document.body.firstElementChild; kept.remove(); }")
    stage.advance(300)
    assert stage.asked("unsubscribe") == [{"task_ids": ["a"]}]
    stage.run("() => { events.length = 0; }")
    stage.put("a", percent=2)
    stage.advance(3000)
    assert stage.run("() => kept.shadowRoot.querySelector('.figure').textContent") == "1%"
    assert stage.events() == []
    stage.run("() => document.body.append(kept)")
    stage.advance(300)
    assert stage.read()["figure"] == "2%"


def test_a_large_result_is_fetched_for_its_words(stage: Stage) -> None:
    """A result that was too large to push still shows its message and link."""
    result = {"message": "Rather long.", "url": "/report", "label": "Read it", "rows": ["x"] * 10}
    stage.page.route(
        "**/realtime/v1/tasks/a",
        lambda route: route.fulfill(
            json=stage.run("(result) => ({...fake().tasks.get('a'), result_omitted: false, result})", result)
        ),
    )
    running(stage)
    stage.put("a", status="completed", result_omitted=True)
    # The answer comes in its own time, and is painted in the page's.

    def words() -> str:
        stage.advance(300)
        return str(stage.read()["words"])

    wait_until(words, bool)
    assert stage.read()["words"] == "Rather long. Read it"
