"""`<realtime-tasks>`: what is in it, in which order, what stands around it, and where the focus goes."""

from __future__ import annotations

from typing import Any

from browser.stage import READ_CARD, Stage

LIST = "<realtime-tasks></realtime-tasks>"
SHOWN = "() => probe.idsOfList()"


def open_list(stage: Stage, *tasks: dict[str, Any], markup: str = LIST) -> None:
    """Open a page whose server has these tasks, the first the oldest, and then the list in it."""
    stage.open()
    stage.put_all(*({"created": 100 - at, **task} for at, task in enumerate(tasks)))
    stage.show(markup)


def text(stage: Stage, selector: str) -> str | None:
    """What the part shows; None when it is not to be seen."""
    part = stage.page.locator(f"realtime-tasks {selector}").first
    return " ".join(part.inner_text().split()) if part.is_visible() else None


def test_a_page_with_nothing_but_the_tag(stage: Stage) -> None:
    """Tasks are there, newest first, in a list of items; they move, and what is around them is right."""
    open_list(
        stage,
        {"id": "a", "status": "completed"},
        {"id": "b", "percent": 5},
        {"id": "c", "status": "failed"},
        {"id": "d"},
    )
    assert stage.run(SHOWN) == ["d", "c", "b", "a"]
    stage.put("b", percent=6)
    stage.advance(300)
    assert stage.page.locator("realtime-task[task-id=b]").evaluate(READ_CARD)["figure"] == "6%"
    assert text(stage, "[part=count]") == "2 running, 2 finished"
    assert text(stage, "[part=clear]") == "Clear finished"
    assert text(stage, "[part=empty]") is None
    assert (
        stage.run("() => document.querySelector('realtime-tasks').shadowRoot.querySelector('ul').getAttribute('role')")
        == "list"
    )


def test_the_list_never_reorders(stage: Stage) -> None:
    """Ends, updates and new tasks move no card; a new one comes in at the top, and every node stays the one it was."""
    open_list(stage, {"id": "a"}, {"id": "b"}, {"id": "c"})
    stage.run("() => { globalThis.before = probe.cardsOfList(); }")
    stage.put("a", status="completed")
    stage.put("c", status="failed")
    stage.put("e", created=0)
    stage.put("b", percent=50)
    stage.advance(300)
    assert stage.run(SHOWN) == ["e", "c", "b", "a"]
    assert stage.run("() => probe.cardsOfList().slice(1).every((card, at) => card === before[at])")


def test_a_new_connection_keeps_every_card(stage: Stage) -> None:
    """After a break the same nodes show what came meanwhile."""
    open_list(stage, {"id": "a"}, {"id": "b"})
    stage.run("() => { globalThis.before = probe.cardsOfList(); fake().drop(); }")
    stage.advance(300)
    assert stage.page.locator("realtime-task[task-id=b]").evaluate(READ_CARD)["state"] == "lost"
    stage.put("b", status="completed")
    stage.run("() => { fake().mode = 'up'; }")
    stage.advance(5000)
    assert stage.page.locator("realtime-task[task-id=b]").evaluate(READ_CARD)["state"] == "completed"
    assert stage.run("() => probe.cardsOfList().every((card, at) => card === before[at])")


def test_nobody_says_no_jobs_before_it_is_known(stage: Stage) -> None:
    """While the first snapshot is on its way the list is busy, not empty."""
    stage.open()
    stage.run("() => { fake().mode = 'silent'; }")
    stage.show(LIST)
    assert text(stage, "[part=empty]") is None
    stage.run("() => fake().speak()")
    stage.advance(300)
    assert text(stage, "[part=empty]") == "No jobs yet. Start one, and it appears here while it runs."
    stage.put("a")
    stage.advance(300)
    assert text(stage, "[part=empty]") is None


def test_the_page_may_bring_its_own_words_for_nothing(stage: Stage) -> None:
    """Slot `empty`."""
    open_list(stage, markup="<realtime-tasks><p slot='empty'>Grace has no jobs.</p></realtime-tasks>")
    assert stage.page.locator("[slot=empty]").is_visible()
    assert not stage.page.locator("[part=empty] b").is_visible()


def test_filter_and_group(stage: Stage) -> None:
    """Only running or finished tasks, only those of one group; each has its words for nothing."""
    open_list(
        stage, {"id": "a", "status": "completed", "groups": ["team:7"]}, {"id": "b"}, {"id": "c", "groups": ["team:7"]}
    )
    shown = {}
    for attributes in (
        "filter='running'",
        "filter='finished'",
        "group='team:7'",
        "group='team:8'",
        "filter='running' group='team:8'",
    ):
        stage.show(f"<realtime-tasks {attributes}></realtime-tasks>")
        shown[attributes] = (stage.run(SHOWN), text(stage, "[part=empty]"))
    assert shown == {
        "filter='running'": (["c", "b"], None),
        "filter='finished'": (["a"], None),
        "group='team:7'": (["c", "a"], None),
        "group='team:8'": ([], "No jobs yet. Start one, and it appears here while it runs."),
        "filter='running' group='team:8'": ([], "Nothing is running."),
    }


def test_a_filtered_list_follows_the_tasks(stage: Stage) -> None:
    """A task that ends leaves the list of the running; the focus in it goes to the next."""
    open_list(stage, {"id": "a"}, {"id": "b"}, markup="<realtime-tasks filter='running'></realtime-tasks>")
    stage.page.locator("realtime-task[task-id=b] [part=cancel]").focus()
    stage.put("b", status="completed")
    stage.advance(300)
    assert stage.run(SHOWN) == ["a"]
    assert stage.focused() == "a:name"
    assert text(stage, "[part=count]") == "1 running"
    assert text(stage, "[part=clear]") is None


def test_a_long_list_holds_back_the_old_but_nothing_that_runs(stage: Stage) -> None:
    """`limit` newest, whatever runs, and what was shown before; Show more brings the next."""
    tasks: list[dict[str, Any]] = [{"id": f"t{at}", "status": "completed"} for at in range(9)]
    tasks[1] = {"id": "t1"}
    open_list(stage, *tasks, markup="<realtime-tasks limit='3'></realtime-tasks>")
    assert stage.run(SHOWN) == ["t8", "t7", "t6", "t1"]
    assert text(stage, "[part=count]") == "1 running, 8 finished"
    stage.put("t1", status="completed")
    stage.advance(300)
    assert stage.run(SHOWN) == ["t8", "t7", "t6", "t1"]
    more = stage.page.locator("realtime-tasks [part=more]")
    more.press("Enter")
    stage.advance(300)
    assert stage.run(SHOWN) == ["t8", "t7", "t6", "t5", "t4", "t3", "t1"]
    assert stage.focused() == ":more"
    more.press("Enter")
    stage.advance(300)
    assert len(stage.run(SHOWN)) == 9
    assert text(stage, "[part=more]") is None
    assert stage.focused().endswith(":name")


def test_dismissing_moves_the_focus_to_the_next_card(stage: Stage) -> None:
    """To the one that takes its place, to the last, and in the end to the words for nothing."""
    open_list(stage, *({"id": name, "status": "completed"} for name in "abc"))
    for name, focus in (("b", "a:name"), ("a", "c:name"), ("c", ":empty")):
        stage.page.locator(f"realtime-task[task-id={name}] [part=dismiss]").press("Enter")
        stage.advance(300)
        assert stage.focused() == focus
    assert stage.asked("remove_task") == [{"task_id": "b"}, {"task_id": "a"}, {"task_id": "c"}]


def test_clear_finished_clears_them_all_and_nothing_else(stage: Stage) -> None:
    """The running stay; the focus goes to the first that is left; the page may keep some."""
    open_list(stage, {"id": "a", "status": "completed"}, {"id": "b"}, {"id": "c", "status": "failed"})
    stage.page.locator("realtime-tasks [part=clear]").press("Enter")
    stage.advance(300)
    assert stage.run(SHOWN) == ["b"]
    assert stage.focused() == "b:name"
    assert sorted(message["task_id"] for message in stage.asked("remove_task")) == ["a", "c"]
    assert [event["cancelable"] for event in stage.events("dismiss")] == [True, True]
    stage.put("b", status="completed")
    stage.run("() => { refused = ['dismiss']; }")
    stage.advance(1000)
    stage.page.locator("realtime-tasks [part=clear]").press("Enter")
    stage.advance(300)
    assert stage.run(SHOWN) == ["b"]
    assert stage.focused() == ":clear"


def test_a_focused_card_that_the_server_clears_gives_the_focus_on(stage: Stage) -> None:
    """Retention takes a card away under the reader's hands; the next heading has the focus."""
    open_list(stage, {"id": "a", "status": "completed"}, {"id": "b", "status": "completed"})
    stage.page.locator("realtime-task[task-id=b] [part=dismiss]").focus()
    stage.run("() => fake().remove('b')")
    stage.advance(300)
    assert stage.focused() == "a:name"


def test_the_list_tells_ends_that_happen_and_not_those_that_were(stage: Stage) -> None:
    """An end is an event when it comes, also of a task that came and went at once; an old one is not."""
    open_list(stage, {"id": "old", "status": "completed"}, {"id": "run"})
    assert stage.events("completed", "failed") == []
    stage.put("run", status="failed")
    stage.put("brief", created=0, status="completed")
    stage.advance(300)
    told = [(event["type"], event["id"], event["target"]) for event in stage.events("completed", "failed")]
    assert sorted(told) == [("completed", "brief", "realtime-tasks"), ("failed", "run", "realtime-tasks")]


def test_a_recreated_id_is_a_new_card_at_the_top(stage: Stage) -> None:
    """The old card does not move; it goes, and the new task comes in where new tasks do."""
    open_list(stage, {"id": "a", "status": "completed"}, {"id": "b"})
    stage.run("() => { fake().remove('a'); fake().put({id: 'a', created: 0, percent: 1}); }")  # in one turn
    stage.advance(300)
    assert stage.run(SHOWN) == ["a", "b"]


def test_a_page_without_a_connection_element_still_says_why_nothing_moves(stage: Stage) -> None:
    """The list brings the banner itself, and drops it where the page has one for the same client."""
    open_list(stage, {"id": "a"})
    banner = stage.page.locator("realtime-tasks realtime-connection [part=banner]")
    assert not banner.is_visible()
    stage.run("() => fake().drop()")
    stage.advance(300)
    assert "Connection lost." in banner.inner_text()
    stage.run("() => document.body.prepend(document.createElement('realtime-connection'))")
    stage.advance(300)
    assert stage.page.locator("[part=banner] >> visible=true").count() == 1
    assert banner.count() == 0
    stage.run("() => document.querySelector('realtime-connection').remove()")
    stage.advance(300)
    assert banner.is_visible()


def test_a_connection_element_of_another_client_or_without_a_banner_does_not_count(stage: Stage) -> None:
    """What shows only a word in a header tells nobody what to do."""
    open_list(
        stage,
        markup="<realtime-connection show='state'></realtime-connection>"
        "<realtime-connection client='x'></realtime-connection>"
        "<realtime-tasks sign-in-href='/login'></realtime-tasks>",
    )
    stage.run("() => fake().drop('ticket_expired')")
    stage.advance(3000)
    assert text(stage, "[part=banner]") == "Not signed in. Sign in again to see your jobs. Sign in"
    assert stage.page.locator("realtime-tasks [part=sign-in]").get_attribute("href") == "/login"


def test_cards_in_a_list_take_what_the_list_is_told(stage: Stage) -> None:
    """`quiet-after` and `heading-level` of the list are those of its cards."""
    open_list(
        stage, {"id": "a", "updated": 30}, markup="<realtime-tasks quiet-after='20' heading-level='4'></realtime-tasks>"
    )
    assert stage.page.locator("realtime-task").evaluate(READ_CARD)["state"] == "quiet"
    assert stage.page.locator("realtime-task h4").count() == 1


def test_many_changes_at_once_are_one_list(stage: Stage) -> None:
    """A flush of a hundred new tasks makes a hundred cards in one go, in order."""
    open_list(stage, markup="<realtime-tasks limit='200'></realtime-tasks>")
    stage.put_all(*({"id": f"t{at:03}", "created": 200 - at, "percent": at / 2} for at in range(100)))
    stage.advance(300)
    assert stage.run(SHOWN) == [f"t{at:03}" for at in reversed(range(100))]
    assert text(stage, "[part=count]") == "100 running"
