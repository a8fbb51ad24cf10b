"""The demo in a real browser: its jobs, its two users, and what becomes of them when connections come and go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from browser.demo_page import DEMO, ENVIRONMENT, PATIENCE, Demo, Side
from support.chromium import CHROMIUM_ARGS
from support.process import ServerProcess, StartServer
from support.remote import wait_until
from support.tools import find_chromium

pytestmark = pytest.mark.timeout(300)

#: With pauses that are ten times as long: its jobs go on until they are cancelled, however slow the browser is.
SLOW = [*DEMO[:2], f"from realtime import demo_jobs; demo_jobs.PAUSE = 0.25; {DEMO[2]}", *DEMO[3:]]


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def server(server_process: StartServer) -> ServerProcess:
    return server_process(DEMO, env=ENVIRONMENT, timeout=60)


@pytest.fixture
def demo(server: ServerProcess, page: Page) -> Demo:
    # In this order: a page whose server goes first complains.
    return live(page, server)


def live(page: Page, server: ServerProcess) -> Demo:
    """The page, once it hears of jobs: of one that was over before nothing would be seen but its end."""
    demo = Demo(page, server.url).open()
    for name in ("Ada", "Grace"):
        expect(demo.side(name).connection).to_contain_text("Live")
    return demo


def sample(demo: Demo, link: str, folder: Path) -> Path:
    """Download one of the samples as a reader would."""
    with demo.page.expect_download() as download:
        demo.page.get_by_role("link", name=link).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def is_moving(lines: list[dict[str, Any]]) -> bool:
    """Whether the job was seen at work at three places at least, one after another."""
    places = [line["current"] or 0 for line in lines if line["status"] == "processing"]
    return places == sorted(places) and len(set(places)) >= 3


# The four jobs.


def test_a_dropped_file_is_checked(demo: Demo, tmp_path: Path) -> None:
    """The bar moves while the file is read, and the card ends with size, savings and hash."""
    file = tmp_path / "holiday.mov"
    file.write_bytes(Random(1).randbytes(40_000_000))
    demo.send("check", file)
    card = demo.side("Ada").card("Check holiday.mov")
    expect(card).to_contain_text("Done")
    expect(card).to_contain_text("40 MB, gzip saves 0%.")
    expect(card).to_contain_text(re.compile("SHA-256 [0-9a-f]{6}…[0-9a-f]{4}"))
    assert is_moving(demo.heard("ada", "Check holiday.mov"))


@pytest.mark.timeout(300)
def test_the_library_is_surveyed(demo: Demo) -> None:
    """File by file, to a sentence with the sums."""
    demo.start("survey")
    card = demo.side("Ada").card("Survey the standard library")
    expect(card).to_contain_text("Reading ")
    expect(card).to_contain_text(re.compile(r"of [\d,]+ files"))
    sums = re.compile(r"Done.*[\d,]+ files, [\d,]+ lines, [\d,]+ functions, [\d,]+ classes\.")
    expect(card).to_contain_text(sums, timeout=4 * PATIENCE)
    assert is_moving(demo.heard("ada", "Survey the standard library"))


def test_a_good_file_is_imported(demo: Demo, tmp_path: Path) -> None:
    """The sample that the page offers goes through, row by row."""
    demo.send("import", sample(demo, "a good file", tmp_path))
    expect(demo.side("Ada").card("Import customers.csv")).to_contain_text("500 rows, no errors.")
    assert is_moving(demo.heard("ada", "Import customers.csv"))


def test_a_broken_file_says_where_it_is_broken(demo: Demo, tmp_path: Path) -> None:
    """The job moves up to the bad row and fails by row and column, in words."""
    demo.send("import", sample(demo, "a broken one", tmp_path))
    card = demo.side("Ada").card("Import customers-broken.csv")
    expect(card).to_contain_text("Failed")
    expect(card).to_contain_text("Row 212, column “email”: ada(at)example.org is not an address. Nothing was imported.")
    expect(card).to_contain_text("211 of 500 rows")
    assert is_moving(demo.heard("ada", "Import customers-broken.csv"))


def test_python_is_weighed_without_a_total(demo: Demo) -> None:
    """A clock and stripes stand where percent would, and it ends with the sum."""
    demo.start("weigh")
    card = demo.side("Ada").card("Weigh this Python")
    expect(card).to_contain_text(re.compile(r"[\d,]+ files, [\d.]+ [MGT]B\."))
    demo.wait_for_shown("ada Weigh this Python", r" \d:\d\d .* so far .*\(no total\)$")
    assert is_moving(demo.heard("ada", "Weigh this Python"))


def test_what_a_job_writes_is_shown_to_who_looks(demo: Demo) -> None:
    """The details are there once a job writes; opened, they show the newest one's lines, to its last."""
    demo.start("survey")
    ada, grace = demo.side("Ada").section.locator(".written"), demo.side("Grace").section.locator(".written")
    expect(demo.side("Ada").card("Survey")).to_contain_text("Reading ")
    expect(ada).to_be_hidden()
    demo.start("weigh")
    ada.locator("summary").click()
    log = ada.locator("realtime-output [role=log]")
    expect(log).to_contain_text(re.compile(r"^ *[\d.]+ (bytes|[kMG]B)  \.\n"))
    expect(log).to_have_accessible_name("Output of \u2068Weigh this Python\u2069")
    card = demo.side("Ada").card("Weigh this Python")
    expect(card).to_contain_text("Done")
    written = min(card.evaluate("(card) => card.task.output_size"), 200_000)
    shown = "([log, size]) => [...log.querySelectorAll('div')].map((div) => div.textContent).join('').length >= size"
    demo.page.wait_for_function(shown, arg=[log.element_handle(), written])
    expect(grace).to_be_hidden()


def test_a_job_can_be_cancelled(demo: Demo) -> None:
    """Cancel stops it where it is."""
    demo.start("survey")
    ada = demo.side("Ada")
    ada.wait_until("(task) => task.progress.current > 0")
    ada.cards.get_by_role("button", name="Cancel Survey the standard library").click()
    expect(ada.cards).to_contain_text("Cancelled")
    expect(ada.cards).to_contain_text(re.compile(r"Stopped at \d+%\."))


# Two users.


def test_each_sees_their_own_jobs_alone(demo: Demo, tmp_path: Path) -> None:
    """Neither list ever holds a job of the other, and an empty one says whose the others are."""
    ada, grace = demo.side("Ada"), demo.side("Grace")
    expect(grace.section).to_contain_text("No jobs yet. Start one, and it appears here while it runs.")
    demo.start("weigh")
    demo.start("weigh")
    expect(ada.cards).to_have_count(2)
    expect(grace.section).to_contain_text("Grace has no jobs. Ada’s two are Ada’s alone.")
    demo.page.get_by_role("radio", name="Grace").check()
    demo.send("import", {"name": "hers.csv", "mimeType": "text/csv", "buffer": b"name,email\nG,g@example.org\n"})
    expect(grace.cards).to_contain_text("1 rows, no errors.")
    assert {task["user"] for task in ada.tasks()} == {"ada"}
    assert {task["user"] for task in grace.tasks()} == {"grace"}
    assert (len(ada.tasks()), len(grace.tasks())) == (2, 1)
    assert {line["side"] for line in demo.page.evaluate("heard") if line.get("name") == "Import hers.csv"} == {"grace"}


def test_cutting_one_connection_leaves_the_other_live(server_process: StartServer, page: Page) -> None:
    """Ada's side says what it last knew, Grace's goes on; then Ada's is right again, without a reload."""
    demo = live(page, server_process(SLOW, env=ENVIRONMENT, timeout=60))
    ada, grace = demo.side("Ada"), demo.side("Grace")
    demo.start("weigh", "Ada")
    ada.wait_until("(task) => task.progress.current > 0")
    demo.page.get_by_role("radio", name="Grace").check()

    ada.cut.click()
    demo.wait_for_shown("ada cut", r"^Cut: \d s left .*\(off\)$")
    demo.wait_for_shown("ada connection", "Not connected")
    demo.wait_for_shown("ada Weigh this Python", "Last known,")
    known = ada.tasks()[0]["progress"]["current"]
    demo.start("weigh")
    grace.wait_until("(task) => task.progress.current > 0")

    expect(ada.connection).to_contain_text("Live")
    expect(ada.cut).to_have_text(re.compile("^Cut connection"))
    ada.wait_until("(task, known) => task.progress.current > known", known)
    wait_until(lambda: demo.heard("grace", "Weigh this Python"), is_moving)
    for side in (ada, grace):
        side.cards.get_by_role("button", name="Cancel Weigh this Python").click()
        expect(side.cards).to_contain_text("Cancelled")
    assert [line["connection"] for line in demo.heard("ada")][-2:] == ["offline", "live"]
    assert "offline" not in [line["connection"] for line in demo.heard("grace")]


# Tabs, reloads, restarts.


def test_a_second_tab_shows_the_same(demo: Demo, server: ServerProcess) -> None:
    """Opened in mid-job it comes in where the job is, and both tabs come to the same end."""
    demo.start("weigh")
    first = demo.side("Ada")
    first.wait_until("(task) => task.progress.current > 0")
    (known,) = first.tasks()
    with demo.page.context.expect_page() as opened:
        demo.page.get_by_role("link", name="a second tab").click()
    opened.value.set_default_timeout(PATIENCE)
    second = Side(opened.value, "Ada")
    second.wait_until("(task, known) => task.version >= known.version", known)
    for side in (first, second):
        expect(side.cards).to_contain_text("Done")
    assert first.tasks() == second.tasks()
    first.section.get_by_role("button", name="Clear finished").click()
    for side in (first, second):
        expect(side.cards).to_have_count(0)


def test_a_reload_in_mid_job_comes_back_right(demo: Demo) -> None:
    """The same job, no further back than before, still moving, and for the same user."""
    demo.start("survey", "Grace")
    demo.side("Grace").wait_until("(task) => task.progress.current > 0")
    (before,) = demo.side("Grace").tasks()
    demo.page.reload()
    grace = demo.side("Grace")
    grace.wait_until("(task, before) => task.progress.current > before", before["progress"]["current"])
    assert [task["task_id"] for task in grace.tasks()] == [before["task_id"]]
    expect(demo.page.get_by_role("radio", name="Grace")).to_be_checked()


def test_a_restarted_server_is_found_again(
    demo: Demo, server: ServerProcess, server_process: StartServer, complaints: list[str]
) -> None:
    """While it is away the page says so, starting too; then it shows the new one, and what it complained of is over."""
    demo.start("weigh")
    ada = demo.side("Ada")
    expect(ada.cards).to_have_count(1)
    server.stop()
    expect(ada.connection).to_contain_text("Not connected")
    expect(ada.list).to_contain_text("Connection lost.")
    demo.start("weigh")
    expect(demo.page.get_by_role("alert")).to_have_text("The server did not answer. Try again when it is back.")

    server_process(DEMO, port=server.port, env=ENVIRONMENT, timeout=60)
    expect(ada.connection).to_contain_text("Live")
    expect(ada.cards).to_have_count(0)
    expect(ada.section).to_contain_text("No jobs yet.")
    expect(demo.page.get_by_role("alert")).to_be_hidden()
    demo.start("weigh")
    expect(ada.cards).to_have_count(1)
    # Refused; or reset, where it went with a connection that was about to be asked for something; or answered that it
    # is leaving, over one that the browser had kept.
    away = (
        "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "WebSocket connection to",
        "status of 503 (Service Unavailable)",
    )  # fmt: skip
    assert all(any(word in complaint for word in away) for complaint in complaints), complaints
    complaints.clear()  # the browser's own words for a server that is away


# The page.


@pytest.mark.parametrize(("place", "name"), [(".drop", "Check my.csv"), (".jobs li:nth-child(2)", "Import my.csv")])
def test_files_can_be_dropped(demo: Demo, place: str, name: str) -> None:
    """On the zone a file is checked, on the row of the import it is imported."""
    demo.page.evaluate(
        """(place) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["name,email\\nAda,ada@example.org\\n"], "my.csv"));
          for (const type of ["dragover", "drop"]) {
            const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector(place).firstElementChild.dispatchEvent(event);
            if (!event.defaultPrevented) throw new Error("the browser would open the file");
          }
        }""",
        place,
    )
    expect(demo.side("Ada").card(name)).to_contain_text("Done")


def test_the_name_of_a_file_is_only_text(demo: Demo) -> None:
    """Markup in a name is shown as it is."""
    name = "<img src=x onerror=document.title='owned'>.txt"
    demo.send("check", {"name": name, "mimeType": "text/plain", "buffer": b"x"})
    expect(demo.side("Ada").cards.locator("[part=name]")).to_have_text(f"Check {name}")
    assert demo.page.title() == "realtime: live jobs"


def test_a_refusal_is_said(demo: Demo, complaints: list[str]) -> None:
    """The server's words stand on the page, and go with the next start."""
    words = "Ada has 20 unfinished jobs. Cancel one, or wait for one to end."
    refusal = {"status": 429, "json": {"error": {"code": "too_many_requests", "message": words}}}
    demo.page.route("**/jobs/*", lambda route: route.fulfill(**refusal), times=1)
    demo.start("weigh")
    expect(demo.page.get_by_role("alert")).to_have_text(words)
    demo.start("weigh")
    expect(demo.side("Ada").cards).to_have_count(1)
    expect(demo.page.get_by_role("alert")).to_be_hidden()
    assert [complaint for complaint in complaints if "429" not in complaint] == []
    complaints.clear()


def test_a_file_that_is_too_large_is_not_sent(demo: Demo) -> None:
    """What the server would refuse after two gigabytes is refused before the first."""
    demo.page.locator("[data-send=check]").evaluate("(input) => { input.dataset.max = 3e9 / 1e9; }")
    demo.send("check", {"name": "big.bin", "mimeType": "text/plain", "buffer": b"four"})
    expect(demo.page.get_by_role("alert")).to_contain_text("big.bin is too large.")
    assert demo.side("Ada").tasks() == []


def test_what_arrived_last_can_be_looked_at(demo: Demo) -> None:
    """The event, its version, its size and what is in it."""
    ada = demo.side("Ada")
    ada.section.locator(".wire summary").click()
    expect(ada.section.locator("pre")).to_contain_text("tasks_snapshot")
    demo.send("check", {"name": "small.txt", "mimeType": "text/plain", "buffer": b"x"})
    shown = ada.section.locator("pre")
    expect(shown).to_contain_text(re.compile(r'^task_completed  v\d{16}  \d+ bytes\n{"task_id": "'))
    expect(shown).to_contain_text('"status": "completed"')
    expect(shown).to_contain_text("SHA-256")


def test_the_keyboard_does_everything(demo: Demo) -> None:
    """Tab leads from the choice to the buttons, each with a name of its own; Enter starts and cancels."""
    page, grace = demo.page, demo.side("Grace")
    expect(grace.connection).to_contain_text("Live")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the jobs")).to_be_in_viewport()
    page.get_by_role("radio", name="Ada").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Grace")).to_be_checked()
    tab_to(page, "Survey the standard library")
    page.keyboard.press("Enter")
    expect(grace.cards).to_have_count(1)
    for name in ("a good file", "a broken one", "Choose a CSV", "Weigh this Python"):
        tab_to(page, name)
    tab_to(page, "Cut connection of Ada")
    tab_to(page, "Cut connection of Grace")
    tab_to(page, "Cancel Survey the standard library")
    page.keyboard.press("Enter")
    expect(grace.cards).to_contain_text("Cancelled")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called so; fails when the page's end comes first."""
    passed: list[str] = []
    for _ in range(20):
        page.keyboard.press("Tab")
        passed.append(
            page.evaluate(
                """() => {
                  let node = document.activeElement;
                  while (node.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
                  return [node.innerText, ...[...node.labels ?? []].map((label) => label.innerText)].join(" ");
                }"""
            )
        )
        if name in re.sub(r"\s+", " ", passed[-1]):
            return
    pytest.fail(f"Tab did not come to {name!r}, but to {passed}")


@pytest.mark.parametrize("width", [320, 390, 719, 720, 1000, 1179, 1180, 1440])
def test_nothing_is_wider_than_the_page(server: ServerProcess, browser: Browser, width: int) -> None:
    """From a small phone to a wide desk nothing has to be scrolled sideways, and a phone shows one user."""
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        check_width(context, server.url, width)


def check_width(context: BrowserContext, url: str, width: int) -> None:
    demo = Demo(context.new_page(), url).open()
    name = "a-file-with-a-very-long-name-and-no-space-in-it-" * 3
    demo.send("check", {"name": name, "mimeType": "text/plain", "buffer": b"x"})
    ada, grace = demo.side("Ada"), demo.side("Grace")
    expect(ada.cards).to_contain_text("Done")
    assert demo.page.evaluate("document.documentElement.scrollWidth") <= width
    expect(ada.section).to_be_visible()
    expect(grace.section).to_be_visible(visible=width >= 720)
    demo.page.get_by_role("radio", name="Grace").check()
    expect(grace.section).to_be_visible()
    expect(ada.section).to_be_visible(visible=width >= 720)


def test_each_user_has_one_connection_and_the_page_no_other(
    server: ServerProcess, new_page: Callable[..., Page]
) -> None:
    """The lists' banners show the connection that the list has, and ask for none of their own."""
    page = new_page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text))
    demo = Demo(page, server.url).open()
    for name in ("Ada", "Grace"):
        expect(demo.side(name).connection).to_contain_text("Live")
        expect(demo.side(name).section).to_contain_text("No jobs yet.")
    demo.send("check", {"name": "small.txt", "mimeType": "text/plain", "buffer": b"x"})
    expect(demo.side("Ada").cards).to_contain_text("Done")
    assert len(sockets) == 2
    assert warnings == []


def test_who_has_asked_for_larger_letters_gets_fewer_columns(server: ServerProcess, browser: Browser) -> None:
    """Twice the usual size on a desk is the page of a phone, and nothing has to be scrolled sideways."""
    larger = browser.browser_type.launch(
        executable_path=find_chromium(), args=[*CHROMIUM_ARGS, "--blink-settings=defaultFontSize=32"]
    )
    try:
        with larger.new_context(viewport={"width": 1280, "height": 800}) as context:
            demo = Demo(context.new_page(), server.url).open()
            expect(demo.side("Ada").connection).to_contain_text("Live")
            expect(demo.side("Grace").section).to_be_hidden()
            assert demo.page.evaluate("document.documentElement.scrollWidth") <= 1280
    finally:
        larger.close()


def test_a_cut_moves_nothing_beside_the_name(server: ServerProcess, new_page: Callable[..., Page]) -> None:
    """On a phone "Not connected" has a line of its own, as "Live" had: the list below goes down by the banner only."""
    demo = Demo(new_page(viewport={"width": 360, "height": 800}), server.url).open("/?as=grace")
    grace = demo.side("Grace")
    expect(grace.connection).to_contain_text("Live")
    before, cut = grace.section.evaluate(
        """async (section) => {
          const place = () => JSON.stringify(section.querySelector("header").getBoundingClientRect());
          const state = section.querySelector("header realtime-connection").shadowRoot.querySelector("[part=state]");
          const before = place();
          section.querySelector(".cut").click();
          while (!state.innerText.includes("Not connected")) await new Promise(requestAnimationFrame);
          return [before, place()];
        }"""  # in the page, which may be connected again before the test has looked
    )
    assert before == cut


def test_it_is_dark_where_dark_is_wanted(server: ServerProcess, new_page: Callable[..., Page]) -> None:
    """Page and cards follow the system's choice."""
    background = "(node) => getComputedStyle(node).backgroundColor"
    for scheme, page_color, card_color in (
        ("light", "rgb(245, 243, 238)", "rgb(255, 255, 255)"),
        ("dark", "rgb(18, 18, 20)", "rgb(27, 27, 31)"),
    ):
        demo = Demo(new_page(color_scheme=scheme), server.url).open()
        demo.send("check", {"name": "small.txt", "mimeType": "text/plain", "buffer": b"x"})
        card = demo.side("Ada").cards.first.locator("[part=card]")
        assert demo.page.locator("body").evaluate(background) == page_color
        assert card.evaluate(background) == card_color
