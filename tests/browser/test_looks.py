"""How the elements look where they stand: width, colour, motion, contrast, language, direction, the page's styles."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from browser.conftest import NewPage
from browser.stage import Stage

CARD = "<realtime-task task-id='a'></realtime-task>"
LIST = "<realtime-tasks></realtime-tasks>"
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
ERROR = {"message": "Bad.", "code": "bad", "type": None, "details": None}


def sheet(page: Page, site: str) -> Stage:
    """Open the page with every state."""
    stage = Stage(page, site)
    stage.open(path="/states.html")
    return stage


@pytest.mark.parametrize("width", [320, 360, 399, 400, 720, 1024, 1440])
def test_nothing_is_wider_than_its_place(new_page: NewPage, static_site: str, width: int) -> None:
    """From a small phone to a desk nothing overflows, whatever the state and however long the words."""
    stage = sheet(new_page(viewport={"width": width, "height": 900}), static_site)
    long = {
        "name": LONG,
        "message": LONG,
        "unit": LONG,
        "error": {"message": LONG, "code": LONG, "type": None, "details": {LONG: LONG}},
        "result": {"message": LONG, "url": "/x", "label": LONG},
    }
    for card in ("processing-total-known", "failed", "completed"):
        stage.put(card, server="live", **long)
    stage.put("a", server="list", **long)
    stage.advance(300)
    for details in stage.page.locator("summary >> visible=true").all():
        details.click()
    assert stage.run("() => probe.tooWide()") == []
    assert stage.run("() => probe.cutOff()") == []


@pytest.mark.parametrize("width", [640, 1280])
def test_letters_of_twice_the_size_have_room(new_page: NewPage, static_site: str, width: int) -> None:
    """As for who has asked the browser for them: nothing overflows, and nothing is cut off, parts in parts too."""
    stage = sheet(new_page(viewport={"width": width, "height": 900}), static_site)
    stage.run("() => { document.documentElement.style.fontSize = '200%'; }")
    stage.advance(300)
    assert stage.page.locator("#unfolded [part=parts][aria-expanded=true]").count() == 3
    assert stage.run("() => probe.tooWide()") == []
    assert stage.run("() => probe.cutOff()") == []


def test_in_a_narrow_place_cancel_goes_to_the_foot(stage: Stage) -> None:
    """The card looks at its own width, not at the window's."""
    stage.open(CARD)
    stage.put("a", name="Export", percent=5)
    below = {}
    for width in ("20rem", "40rem"):
        stage.card().evaluate("(element, width) => { element.style.inlineSize = width; }", width)
        stage.advance(300)
        places = stage.run("() => probe.placesOf('a')")
        below[width] = places["buttonTop"] > places["bar"]
    assert below == {"20rem": True, "40rem": False}


def test_a_place_that_takes_its_width_from_the_card(stage: Stage) -> None:
    """In a row of boxes the card does not shrink to nothing."""
    stage.open(f"<div class='row'>{CARD}</div>")
    stage.put("a", percent=5)
    stage.advance(300)
    box = stage.card().bounding_box()
    assert box is not None
    assert box["width"] >= 300


@pytest.mark.parametrize("forced", ["none", "active"])
def test_the_three_silences_do_not_look_alike(new_page: NewPage, static_site: str, forced: str) -> None:
    """Quiet, stalled and lost differ in icon, and in texture or edge, not in colour alone; in forced colours too."""
    stage = sheet(new_page(forced_colors=forced), static_site)
    looks = {
        card: stage.run("(id) => probe.look(id)", card)
        for card in ("quiet", "stalled", "lost", "processing-total-known")
    }
    assert len({look["icon"] for look in looks.values()}) == 4
    shapes = {card: (look["edge"], look["dotted"], look["hatched"]) for card, look in looks.items()}
    assert shapes == {
        "quiet": ("solid", True, False),
        "stalled": ("solid", False, True),
        "lost": ("dashed", False, False),
        "processing-total-known": ("solid", False, False),
    }


def test_forced_colours_keep_the_bar(new_page: NewPage, static_site: str) -> None:
    """Rails have an edge, and a bar without a total keeps its stripes."""
    stage = sheet(new_page(forced_colors="active"), static_site)
    looks = {card: stage.run("(id) => probe.look(id)", card) for card in stage.run("() => probe.states()")}
    assert looks["processing-no-total"]["striped"]
    assert {look["railEdge"] for look in looks.values()} == {"1px"}


def test_without_motion_nothing_moves(new_page: NewPage, static_site: str) -> None:
    """Under reduced motion there is no animation and no transition in any state, and none when cards come and go."""
    stage = sheet(new_page(reduced_motion="reduce"), static_site)
    stage.put("new", server="list", created=0, percent=5)
    stage.put("processing-total-known", server="live", status="completed")
    stage.advance(300)
    assert stage.run("() => document.getAnimations().length") == 0
    assert set(stage.run("() => probe.itemStyles('animationName')")) == {"none"}
    looks = [stage.run("(id) => probe.look(id)", card) for card in stage.run("() => probe.states()")]
    assert {(look["animation"], look["transition"]) for look in looks} == {("none", "0s")}


def test_only_what_is_alive_moves(new_page: NewPage, static_site: str) -> None:
    """Where motion is welcome a bar without a total weaves; in a silence, and when asked to stop, it stands still."""
    stage = sheet(new_page(reduced_motion="no-preference"), static_site)
    for card, task in {"cancelling": {}, "stalled": {"stalled": 40}, "quiet": {"updated": 130}}.items():
        stage.put(card, server="live", total=None, percent=None, **task)
    stage.advance(300)
    cards = ("processing-no-total", "lost-no-total", "cancelling", "stalled", "quiet", "pending", "completed")
    names = {card: stage.run("(id) => probe.look(id)", card)["animation"] for card in cards}
    assert names == dict.fromkeys(cards, "none") | {"processing-no-total": "weave"}


def test_only_new_cards_come_in_with_a_movement(new_page: NewPage, static_site: str) -> None:
    """The first list stands there at once, and no card comes in again when the list was hidden."""
    stage = Stage(new_page(reduced_motion="no-preference"), static_site)
    stage.open()
    stage.put_all({"id": "a", "created": 30, "percent": 5}, {"id": "b", "created": 20, "percent": 5})
    stage.show(LIST)
    stage.run(
        """() => {
          const root = document.querySelector('realtime-tasks').shadowRoot;
          globalThis.moved = [];
          const note = ({ animationName, target }) => moved.push([animationName, target.firstElementChild.taskId]);
          root.addEventListener('animationstart', note);
          globalThis.over = new Promise((done) => root.addEventListener('animationend', done));
        }"""
    )
    stage.put("c", created=0, percent=5)
    stage.advance(300)
    stage.run("async () => { await over; }")
    assert stage.run("() => moved") == [["in", "c"]]
    for hidden in (True, False):
        stage.page.locator("realtime-tasks").evaluate("(list, hidden) => { list.hidden = hidden; }", hidden)
        stage.page.locator("realtime-tasks").evaluate("(list) => list.offsetHeight")
    assert stage.run("() => document.querySelector('realtime-tasks').shadowRoot.getAnimations().length") == 0


def test_a_time_left_that_comes_and_goes_moves_nothing(stage: Stage) -> None:
    """In a narrow place it is the second line, for which there is room."""
    stage.open(f"<div class='row'>{CARD}</div>")
    stage.card().evaluate("(element) => { element.style.inlineSize = '22rem'; }")
    heights = []
    for eta in (None, 30, None):
        stage.put("a", name="Survey", current=300, total=1790, unit="files", rate=48.5, eta=eta, message="Reading x.py")
        stage.advance(300)
        box = stage.card().bounding_box()
        assert box is not None
        heights.append(box["height"])
    assert heights[1:] == heights[:1] * 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(new_page: NewPage, static_site: str, scheme: str) -> None:
    """At least 4.5 to 1 for every text of every state, in light and in dark."""
    stage = sheet(new_page(color_scheme=scheme), static_site)
    texts = stage.run("() => probe.contrasts()")
    assert len(texts) > 80
    assert [text for text in texts if text["ratio"] < 4.5] == []


@pytest.mark.parametrize(("options", "least"), [({}, 36), ({"has_touch": True, "is_mobile": True}, 44)])
def test_buttons_are_large_enough(new_page: NewPage, static_site: str, options: dict[str, Any], least: int) -> None:
    """36 pixels for a mouse, 44 for a finger, both ways."""
    stage = sheet(new_page(viewport={"width": 390, "height": 800}, **options), static_site)
    sizes = [button.bounding_box() for button in stage.page.locator("button:not(.on-focus) >> visible=true").all()]
    assert len(sizes) > 12
    assert min(min(size["width"], size["height"]) for size in sizes if size) >= least


def test_the_focus_can_be_seen(stage: Stage) -> None:
    """What has it by the keyboard has a ring, a heading too."""
    stage.open(CARD + "<realtime-task task-id='b'></realtime-task>")
    stage.put_all({"id": "a", "status": "failed", "error": ERROR}, {"id": "b", "status": "completed"})
    stage.advance(1000)
    rings = []
    for key in ("Tab", "Tab", "Enter"):
        stage.page.keyboard.press(key)
        rings.append(stage.run("() => probe.ring()"))
    assert rings == [["summary", "solid", "2px"], ["button", "solid", "2px"], ["h3", "solid", "2px"]]


def test_from_right_to_left(stage: Stage) -> None:
    """In a page that reads from the right, icon and bar begin at the right; a text goes its own way."""
    stage.open(f"<div dir='rtl' lang='he'>{CARD}</div>")
    stage.put("a", name="ייצוא", current=3, total=10, unit="שורות", message="Reading rows")
    stage.advance(300)
    at = stage.run("() => probe.placesOf('a')")
    assert at["button"] < at["figure"] < at["name"] < at["icon"]
    assert at["time"] < at["count"]
    directions = [stage.run("(part) => probe.styleOf('a', part, 'direction')", part) for part in ("progress", "#words")]
    assert directions == ["rtl", "ltr"]


def test_a_hebrew_message_in_an_english_page_reads_from_the_right(stage: Stage) -> None:
    """Words of ours beside a text do not decide its direction."""
    stage.open(CARD)
    stage.put("a", message="קורא שורות", name="Export")
    stage.advance(300)
    assert stage.run("() => probe.styleOf('a', '#words', 'direction')") == "rtl"


def test_the_page_chooses_the_language(stage: Stage) -> None:
    """setStrings() repaints what is there; a part of the page may speak another; numbers go with the words."""
    stage.open(f"<div lang='de'>{CARD}</div><div lang='fr'><realtime-task task-id='b'></realtime-task></div>")
    stage.put_all({"id": "a", "current": 12800, "total": 20000, "unit": "Zeilen"}, {"id": "b", "status": "completed"})
    stage.advance(300)
    assert stage.read()["meta"] == ["12,800 of 20,000 Zeilen"]
    german = {"meta.of.unit": "{current} von {total} {unit}", "cancel": "Abbrechen"}
    stage.run("(table) => setStrings('de', table)", german)
    stage.run("() => setStrings('fr', {'figure.completed': 'Fini'})")
    stage.advance(300)
    assert stage.read()["meta"] == ["12.800 von 20.000 Zeilen"]
    assert stage.card().locator("[part=cancel]").inner_text().split() == ["Abbrechen", "Job", "a"]
    assert stage.read("b")["figure"] == "Fini"
    stage.show(f"<div lang='fr'>{LIST}</div>")
    assert stage.read("b")["figure"] == "Fini"  # the language reaches into the list


def test_the_page_styles_the_parts_and_tokens(stage: Stage) -> None:
    """`::part()` reaches a card, also in a list; `--realtime-…` changes colour, corner and bar."""
    for markup in (CARD, LIST):
        stage.page.goto("about:blank")
        stage.open(f"<div class='tokens'>{markup}</div>")
        stage.put("a", name="Export", percent=5)
        stage.advance(300)
        card = stage.page.locator("realtime-task")
        styles = {
            name: card.locator(part).evaluate("(node, property) => getComputedStyle(node)[property]", name)
            for part, name in ((".card", "outlineColor"), (".card", "borderTopLeftRadius"), ("progress", "blockSize"))
        }
        assert styles == {"outlineColor": "rgb(1, 2, 3)", "borderTopLeftRadius": "0px", "blockSize": "20px"}
        figure = card.locator(".figure")
        assert figure.evaluate("(node) => getComputedStyle(node).color") == "rgb(120, 0, 120)"


def test_the_page_may_bring_its_own_result_error_and_actions(stage: Stage) -> None:
    """Slots `result` and `error` stand in for ours in their states only; `actions` stands beside the button."""
    slots = "<b slot='result'>my result</b><b slot='error'>my error</b><button slot='actions'>Retry</button>"
    stage.open(f"<realtime-task task-id='a'>{slots}</realtime-task>")
    seen = {}
    for task in (
        {"status": "processing"},
        {"status": "completed", "result": "ours"},
        {"status": "failed", "error": ERROR},
    ):
        stage.run("() => fake().remove('a')")
        stage.put("a", **task)
        stage.advance(300)
        shown = [slot for slot in ("result", "error", "actions") if stage.page.locator(f"[slot={slot}]").is_visible()]
        seen[task["status"]] = shown
        assert "ours" not in stage.read()["words"]
    assert seen == {"processing": ["actions"], "completed": ["result", "actions"], "failed": ["error", "actions"]}
    stage.run("() => fake().remove('a')")
    stage.put("a", status="completed", result=None)  # nothing of ours to show: the page's is shown all the same
    stage.advance(300)
    assert stage.page.locator("[slot=result]").is_visible()


def test_a_scheme_that_the_page_does_not_have_is_not_taken(new_page: NewPage, static_site: str) -> None:
    """On a page without dark colours the cards stay light, whatever the machine prefers."""
    stage = Stage(new_page(color_scheme="dark"), static_site)
    stage.open(f"<div>{CARD}</div>")
    stage.put("a", percent=5)
    stage.advance(300)
    ground = []
    for scheme in ("light", "light dark"):
        stage.run("(scheme) => { document.querySelector('div').style.colorScheme = scheme; }", scheme)
        ground.append(stage.run("() => probe.styleOf('a', '.card', 'backgroundColor')"))
    assert ground == ["rgb(255, 255, 255)", "rgb(27, 27, 31)"]
