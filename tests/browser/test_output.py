"""`<realtime-output>` and `rt.task(id).output` in a real browser, over real servers.

What is written arrives whole, and the reader stays where the reader is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from support import remote
from support.process import StartServer
from support.remote import Remote

PATIENCE = 30_000  # milliseconds
KEPT = 256 * 1024  # bytes that the element shows
XSS = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&lt;b&gt;\x1b[1m"

# Who watches brings a ticket; what a screen reader would be told is noted.
CONNECT = """
async (ticket) => {
  const { connect } = await import('/realtime/static/realtime.js');
  await import('/realtime/static/elements.js');
  globalThis.heard = [];
  Document.prototype.ariaNotify = (text) => heard.push(text);
  globalThis.events = [];
  globalThis.rt = connect({ name: 'reader', ticket });
  globalThis.states = [];
  rt.onState(({ state }) => states.push(state));
  rt.onEvent((event, payload) => events.push([event, payload.task_id]));
}
"""

SHOW = """
(attributes) => {
  const element = document.createElement('realtime-output');
  for (const [name, value] of Object.entries({ client: 'reader', ...attributes })) element.setAttribute(name, value);
  document.body.append(element);
}
"""

# Keep the first character that stands sixty pixels below the log's upper edge, or lower.
READ = """
(log) => {
  const { x, y } = log.getBoundingClientRect();
  const { offsetNode, offset } = document.caretPositionFromPoint(x + 20, y + 60, { shadowRoots: [log.getRootNode()] });
  globalThis.read = new Range();
  read.setStart(offsetNode, offset);
  read.setEnd(offsetNode, offset + 1);
}
"""

# As when the page is put behind another, and comes back.
SEE = """
(hidden) => {
  Object.defineProperty(document, 'visibilityState', { value: hidden ? 'hidden' : 'visible', configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}
"""


class Reader:
    """One page on which somebody reads what tasks write."""

    def __init__(self, page: Page, app: Remote, **ticket: str) -> None:
        page.set_default_timeout(PATIENCE)
        self.page = page
        self.app = app
        page.goto(app.url)
        page.evaluate(CONNECT, app.ticket(**(ticket or {"user": "ada"})))

    def show(self, task_id: str, **attributes: str) -> Locator:
        """An element for the output of a task; its log."""
        self.page.evaluate(SHOW, {"task-id": task_id, **attributes})
        return self.page.locator("[role=log]").last

    def write(self, task_id: str, text: str, **more: str) -> None:
        self.app.call("append_output", task_id=task_id, text=text, **more)

    def new_lines(self) -> Locator:
        return self.page.locator("[part=new]")


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def app(module_servers: StartServer) -> Remote:
    """``realtime serve``, with tails of 64 KiB."""
    settings = {"FLASK_REALTIME_FLUSH_INTERVAL": "0.02", "FLASK_REALTIME_OUTPUT_TAIL": str(64 * 1024)}
    return remote.start(module_servers, remote.serve("plain:app"), settings)


@pytest.fixture
def reader(page: Page, app: Remote) -> Reader:
    return Reader(page, app)


def text_of(log: Locator) -> str:
    """What the log shows of the task's own words."""
    shown: str = log.evaluate("(log) => [...log.querySelectorAll('div')].map((div) => div.lastChild.data).join('')")
    return shown


def place_of(log: Locator) -> dict[str, float]:
    """Where the reader is: pixels from the top and from the end, and where the line that stands first is written."""
    place: dict[str, float] = log.evaluate(
        "(log) => ({ top: log.scrollTop, end: log.scrollHeight - log.clientHeight - log.scrollTop })"
    )
    return place


def lines(first: int, last: int, width: int = 0) -> str:
    return "".join(f"line {number} é😀{'.' * width}\n" for number in range(first, last + 1))


def scroll_up(log: Locator, pixels: int) -> None:
    """As by a wheel; return when the element knows of it."""
    log.evaluate(
        """(log, pixels) => new Promise((done) => {
          log.addEventListener('scroll', () => requestAnimationFrame(done), { once: true });
          log.scrollTop -= pixels;
        })""",
        pixels,
    )


def test_lines_appear_as_they_are_written(reader: Reader) -> None:
    """What was written before is there, and each piece after it is put to its end, whole lines or not."""
    task = reader.app.create("ada", name="Transcode holiday.mov")
    reader.write(task, "one\ntw")
    log = reader.show(task)
    expect(log).to_have_text("one\ntw", use_inner_text=True)
    reader.write(task, "o\n\n")
    expect(log).to_have_text("one\ntwo\n", use_inner_text=True)
    reader.write(task, "four")
    expect(log).to_have_text("one\ntwo\n\nfour", use_inner_text=True)
    expect(log).to_have_accessible_name("Output of \u2068Transcode holiday.mov\u2069")


def test_a_task_that_has_written_nothing_says_so(reader: Reader) -> None:
    """No output yet, then none at all; a task that is not there looks like one that is another's."""
    task, secret = reader.app.create("ada"), reader.app.create("grace", name="Secret")
    reader.write(secret, "secret")
    log, other, missing = reader.show(task), reader.show(secret), reader.show("missing")
    first, second = reader.page.locator("[role=log]").nth(0), reader.page.locator("[role=log]").nth(1)
    expect(first).to_have_text("No output yet.")
    for unknown in (second, missing):
        expect(unknown).to_have_text("It may have ended and been cleared, or you may not watch it.")
    reader.app.call("complete_task", task_id=task)
    expect(first).to_have_text("No output.")
    assert "Secret" not in reader.page.content()
    assert log is not other


def test_streams_are_shown_apart(reader: Reader) -> None:
    """The attribute names one; another value, or another task, shows another."""
    task, next_task = reader.app.create("ada", name="One"), reader.app.create("ada", name="Two")
    reader.write(task, "fine\n")
    reader.write(task, "bad\n", stream="errors")
    reader.write(next_task, "other\n", stream="errors")
    log = reader.show(task, stream="errors")
    expect(log).to_have_text("bad\n", use_inner_text=False)
    expect(log).to_have_accessible_name("Output “\u2068errors\u2069” of \u2068One\u2069")
    element = reader.page.locator("realtime-output")
    element.evaluate("(element) => { element.stream = 'output'; }")
    expect(log).to_have_text("fine\n", use_inner_text=False)
    element.evaluate("(element, id) => { element.taskId = id; element.stream = 'errors'; }", next_task)
    expect(log).to_have_text("other\n", use_inner_text=False)
    expect(log).to_have_accessible_name("Output “\u2068errors\u2069” of \u2068Two\u2069")


def test_what_a_task_writes_stays_text(reader: Reader) -> None:
    """Markup, entities and control characters are shown as they were written, in the name too."""
    task = reader.app.create("ada", name=XSS[:100])
    reader.write(task, XSS + "\n")
    reader.write(task, XSS)
    log = reader.show(task)
    expect(log).to_contain_text("onerror")
    assert text_of(log) == f"{XSS}\n{XSS}"
    found = "(element) => [...element.shadowRoot.querySelectorAll('img, script, b')].map((node) => node.outerHTML)"
    assert reader.page.locator("realtime-output").evaluate(found) == []
    assert reader.page.title() == "Watched"


def test_nothing_is_lost_or_twice_across_cut_connections(reader: Reader) -> None:
    """A task goes on writing while the connection is cut again and again, by the page and at the server.

    It is never so far ahead of the page that the server would keep less than the page has still to get.
    """
    task = reader.app.create("ada")
    log = reader.show(task)
    reader.write(task, lines(1, 1))
    expect(log).to_contain_text("line 1 ")
    stop = threading.Event()
    written, shown = [1], [1]

    def go_on() -> None:
        while not stop.is_set():
            if written[0] - shown[0] > 1000:
                stop.wait(0.02)
                continue
            reader.write(task, lines(written[0] + 1, written[0] + 3))
            written[0] += 3

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for cut in range(1, 5):
            if cut % 2:
                reader.page.evaluate("rt.cut(50)")
            else:
                reader.app.json("POST", "/logout/ada")
            reader.page.wait_for_function("(times) => states.filter((it) => it === 'live').length > times", arg=cut)
            newest = written[0]
            expect(log).to_contain_text(f"line {newest} ")
            shown[0] = newest
    finally:
        stop.set()
        writer.join()
    expect(log).to_contain_text(f"line {written[0]} ")
    assert text_of(log) == lines(1, written[0])
    assert reader.page.evaluate("states.filter((it) => it === 'offline').length") >= 4


def test_a_tail_that_is_gone_is_said(reader: Reader) -> None:
    """What a late reader cannot have is said before what there is; it begins with a whole character."""
    task = reader.app.create("ada")
    for first in range(1, 4000, 500):
        reader.write(task, lines(first, first + 499, width=20))
    log = reader.show(task)
    expect(log).to_contain_text("line 4000 ")
    expect(log.locator("em").first).to_have_text("Earlier output is gone (64 KiB kept).")
    assert lines(1, 4000, width=20).endswith(text_of(log))
    assert len(text_of(log).encode()) > 60 * 1024


def test_what_an_outage_has_cost_is_said_in_its_place(reader: Reader) -> None:
    """More is written during a cut than is kept: what was here stays, then it says how much is missing."""
    task = reader.app.create("ada")
    reader.write(task, "before")
    log = reader.show(task)
    expect(log).to_contain_text("before")
    reader.page.evaluate("rt.cut(60_000)")
    reader.page.wait_for_function("rt.state.state === 'offline'")
    expect(reader.page.locator("realtime-output")).to_contain_text("Last known, ")
    for first in range(1, 4000, 500):
        reader.write(task, lines(first, first + 499, width=20))
    reader.page.evaluate("rt.cut(0)")
    expect(log).to_contain_text("line 4000 ")
    whole = "before" + lines(1, 4000, width=20)
    shown = text_of(log)
    assert shown.startswith("before")
    assert whole.endswith(shown.removeprefix("before"))
    missing = len(whole.encode()) - len(shown.encode())
    expect(log.locator("div em")).to_have_text(f"{-(-missing // 1024)} KiB of output is missing here.")
    expect(log.locator("em").first).to_be_hidden()
    expect(reader.page.locator("realtime-output")).not_to_contain_text("Last known")


def test_who_reads_at_the_end_stays_there(reader: Reader) -> None:
    """New lines move up by themselves, also when the element was hidden, and when it gets narrower."""
    task = reader.app.create("ada")
    log = reader.show(task)
    reader.write(task, lines(1, 100))
    expect(log).to_contain_text("line 100 ")
    assert place_of(log)["end"] <= 1
    assert place_of(log)["top"] > 1000
    element = reader.page.locator("realtime-output")
    element.evaluate("(element) => { element.hidden = true; }")
    reader.write(task, lines(101, 200, width=100))
    expect(log).to_contain_text("line 200 ")
    element.evaluate("(element) => { element.hidden = false; }")
    wait_for_end(log)
    element.evaluate("(element) => { element.style.inlineSize = '12rem'; }")
    wait_for_end(log)
    expect(reader.new_lines()).to_be_hidden()


def wait_for_end(log: Locator) -> None:
    remote.wait_until(lambda: place_of(log), lambda place: bool(place["end"] <= 1 and place["top"] > 0))


def test_who_has_scrolled_up_stays_there_and_is_told_of_new_lines(reader: Reader) -> None:
    """A button counts the lines; it leads to the end, gives the keyboard's place to the log, and goes."""
    task = reader.app.create("ada")
    log = reader.show(task)
    reader.write(task, lines(1, 100) + "half")
    expect(log).to_contain_text("half")
    scroll_up(log, 400)
    before = place_of(log)
    expect(reader.new_lines()).to_be_hidden()
    reader.write(task, " a line")
    expect(reader.new_lines()).to_have_text("New text")
    reader.write(task, "\n")
    reader.write(task, lines(102, 114))
    expect(reader.new_lines()).to_have_text("13 new lines")
    reader.write(task, "last")
    expect(reader.new_lines()).to_have_text("14 new lines")
    assert place_of(log)["top"] == before["top"]
    reader.new_lines().press("Enter")
    expect(reader.new_lines()).to_be_hidden()
    expect(log).to_be_focused()
    assert place_of(log)["end"] <= 1
    reader.write(task, " one\n" + lines(116, 120))
    expect(log).to_contain_text("line 120 ")
    assert place_of(log)["end"] <= 1
    assert text_of(log) == lines(1, 100) + "half a line\n" + lines(102, 114) + "last one\n" + lines(116, 120)


def test_who_comes_back_to_the_end_follows_again(reader: Reader) -> None:
    """By the keyboard: Home leaves, End returns."""
    task = reader.app.create("ada")
    log = reader.show(task)
    reader.write(task, lines(1, 100))
    expect(log).to_contain_text("line 100 ")
    log.focus()
    reader.page.keyboard.press("Home")
    remote.wait_until(lambda: place_of(log)["top"], lambda top: top == 0)
    reader.write(task, lines(101, 101))
    expect(reader.new_lines()).to_have_text("1 new line")
    reader.page.keyboard.press("End")
    expect(reader.new_lines()).to_be_hidden()
    reader.write(task, lines(102, 130))
    expect(log).to_contain_text("line 130 ")
    wait_for_end(log)


def test_the_page_stays_small_however_much_is_written(reader: Reader) -> None:
    """Of megabytes the newest 256 KiB stay in the page, in few nodes; who has scrolled up keeps the line being read."""
    task = reader.app.create("ada")
    log = reader.show(task)
    number = 0

    def write(times: int) -> None:
        nonlocal number
        for _ in range(times):
            reader.write(task, lines(number + 1, number + 400, width=100))
            number += 400
            expect(log).to_contain_text(f"line {number} ")  # or the server's tail would end before the page has it

    write(10)
    assert KEPT < len(text_of(log).encode()) < KEPT + 8192
    expect(log.locator("em").first).to_have_text("Earlier output is gone (256 KiB kept).")
    assert log.evaluate("(log) => log.querySelectorAll('*').length") < 100
    scroll_up(log, 2000)
    log.evaluate(READ)
    place = reader.page.evaluate("read.getBoundingClientRect().y")
    write(3)
    assert abs(reader.page.evaluate("read.getBoundingClientRect().y") - place) < 1
    assert log.evaluate("(log) => log.contains(read.startContainer)")
    expect(reader.new_lines()).to_have_text("1,200 new lines")
    assert len(text_of(log).encode()) < KEPT + 8192


def test_one_endless_line_is_bounded_too(reader: Reader) -> None:
    """Generated text may never end its line; its beginning goes, between two characters."""
    task = reader.app.create("ada")
    log = reader.show(task)
    for number in range(12):
        reader.write(task, f"{number}" + "é😀x" * 6000)
        expect(log).to_contain_text(f"{number}é")
    shown = text_of(log)
    assert "".join(f"{number}" + "é😀x" * 6000 for number in range(12)).endswith(shown)
    assert KEPT <= len(shown.encode()) < KEPT + 48 * 1024


def test_a_hidden_page_gets_what_it_missed_when_it_is_seen(reader: Reader) -> None:
    """Nothing is sent meanwhile; then all of it, once. The end of a task comes with what it wrote, hidden or not."""
    task, other, over = (reader.app.create("ada") for _ in range(3))
    log = reader.show(task)
    last = reader.show(over)
    reader.write(task, lines(1, 1))
    expect(log).to_have_count(1)
    first = reader.page.locator("[role=log]").first
    expect(first).to_contain_text("line 1 ")
    reader.page.evaluate(SEE, True)
    # The server handles one viewer's messages in their order: this is answered once it knows that the page is hidden.
    reader.page.evaluate("(id) => rt.task(id).cancel().catch(() => {})", other)
    reader.page.evaluate("events.length = 0")
    reader.write(task, lines(2, 50))
    reader.write(over, "the last words")
    reader.app.call("complete_task", task_id=over)
    expect(last).to_have_text("the last words")
    reader.page.wait_for_function(
        "(id) => events.some(([event, task]) => event === 'task_completed' && task === id)", arg=over
    )
    told = reader.page.evaluate("events")
    assert [event for event in told if event[1] == task] == []
    assert told.index(["task_output", over]) < told.index(["task_completed", over])
    reader.page.evaluate(SEE, False)
    expect(first).to_contain_text("line 50 ")
    assert text_of(first) == lines(1, 50)


def test_only_what_is_listened_to_is_sent(reader: Reader) -> None:
    """A page hears of no output that nobody on it reads; an element that goes ends what came for it."""
    task, other = reader.app.create("ada"), reader.app.create("ada")
    log = reader.show(task)
    reader.write(other, "unheard")
    reader.write(task, "heard")
    expect(log).to_have_text("heard")
    pieces = "events.filter(([event]) => event === 'task_output')"
    assert reader.page.evaluate(pieces) == [["task_output", task]]
    reader.page.evaluate("document.querySelector('realtime-output').remove()")
    again = reader.show(other)
    expect(again).to_have_text("unheard")  # asked for after the other was given up, and in that order
    reader.write(task, "unheard")
    reader.write(other, ", then heard")
    expect(again).to_have_text("unheard, then heard")
    assert reader.page.evaluate(pieces) == [["task_output", task], ["task_output", other], ["task_output", other]]


def test_an_element_that_is_moved_shows_the_same(reader: Reader) -> None:
    """Nothing twice, and it goes on."""
    task = reader.app.create("ada")
    log = reader.show(task)
    reader.write(task, lines(1, 3))
    expect(log).to_contain_text("line 3 ")
    reader.page.evaluate("document.body.prepend(document.querySelector('realtime-output'))")
    reader.write(task, lines(4, 4))
    expect(log).to_contain_text("line 4 ")
    assert text_of(log) == lines(1, 4)


def test_the_log_goes_on_with_the_next_attempt(reader: Reader) -> None:
    """A line says which it is; what the one before wrote stays above it. `attempt="this"` and the client stay with it.

    The reader who has scrolled up stays there, and what is new is counted.
    """
    task = reader.app.create("ada", name="Export")
    reader.show(task)
    reader.show(task, attempt="this")
    stays = reader.page.locator("[role=log]").nth(1)
    listen = "(id) => { globalThis.told = ''; rt.task(id).output(({ text }) => { told += text; }); }"
    reader.page.evaluate(listen, task)
    log = reader.page.locator("[role=log]").first
    reader.write(task, lines(1, 30) + "cut")
    expect(log).to_contain_text("cut")
    scroll_up(log, 200)
    before = place_of(log)["top"]
    reader.app.call("fail_task", task_id=task, error="Bad.")
    again = reader.app.call("retry_task", task_id=task)["task_id"]
    expect(log.locator(".attempt").last).to_have_text("Attempt 2")
    expect(log).to_contain_text("No output yet.")
    expect(reader.new_lines().first).to_be_hidden()
    reader.write(again, lines(101, 103))
    expect(reader.new_lines().first).to_have_text("3 new lines")
    assert place_of(log)["top"] == before
    parts = (
        "(log) => [...log.querySelectorAll('.attempt, section > div')].map((part) => part.textContent).filter(Boolean)"
    )
    assert log.evaluate(parts) == [lines(1, 30) + "cut", "Attempt 2", lines(101, 103)]
    expect(log).not_to_contain_text("No output yet.")
    expect(log).to_have_accessible_name("Output of \u2068Export\u2069")
    assert text_of(stays) == lines(1, 30) + "cut"
    assert reader.page.evaluate("told") == lines(1, 30) + "cut"

    reader.app.call("fail_task", task_id=again, error="Bad.")
    third = reader.app.call("retry_task", task_id=again)["task_id"]
    reader.write(third, "the third")
    expect(log).to_contain_text("the third")
    expect(log.locator(".attempt >> visible=true")).to_have_text(["Attempt 2", "Attempt 3"])
    late = reader.show(task)
    expect(late).to_have_text("Attempt 3the third")  # as a card: of who comes late nobody knows what was watched before
    assert text_of(log) == lines(1, 30) + "cut" + lines(101, 103) + "the third"


def test_a_retry_during_an_outage_costs_no_byte_of_what_went_before(reader: Reader) -> None:
    """What the first attempt wrote last comes after the reconnect, and stands above the second."""
    task = reader.app.create("ada")
    log = reader.show(task)
    reader.write(task, "one, ")
    expect(log).to_have_text("one, ")
    reader.page.evaluate("rt.cut(60_000)")
    reader.page.wait_for_function("rt.state.state === 'offline'")
    reader.write(task, "two")
    reader.app.call("fail_task", task_id=task, error="Bad.")
    again = reader.app.call("retry_task", task_id=task)["task_id"]
    reader.write(again, "three")
    reader.page.evaluate("rt.cut(0)")
    expect(log).to_have_text("one, twoAttempt 2three")
    reader.page.evaluate("document.body.prepend(document.querySelector('realtime-output'))")
    reader.write(again, ", four")
    expect(log).to_have_text("one, twoAttempt 2three, four")


def test_who_has_lines_announced_hears_of_the_next_attempt(reader: Reader) -> None:
    """In its place between the lines, and also what the attempt writes first."""
    task = reader.app.create("ada")
    log = reader.show(task, announce="lines")
    reader.write(task, "first\n")
    expect(log).to_contain_text("first")
    reader.write(task, "unended")
    reader.app.call("fail_task", task_id=task, error="Bad.")
    again = reader.app.call("retry_task", task_id=task)["task_id"]
    reader.write(again, "second\n")
    reader.page.wait_for_function("heard.join('\\n').endsWith('unended\\nAttempt 2\\nsecond')")


def test_who_holds_a_ticket_for_a_task_reads_it(page: Page, app: Remote) -> None:
    """A task that is not in the viewer's list is subscribed to; an id that begins anew begins anew here, too."""
    app.call("create_task", task_id="again", user_id="grace")
    reader = Reader(page, app, task="again")
    log = reader.show("again")
    reader.write("again", "old")
    expect(log).to_have_text("old")
    app.call("complete_task", task_id="again")
    app.call("remove_task", task_id="again")
    app.call("create_task", task_id="again", user_id="grace")
    reader.write("again", "new")
    expect(log).to_have_text("new")


def test_a_screen_reader_finds_a_log_that_is_silent_until_asked(reader: Reader) -> None:
    """`role=log` that is not live by itself; a button that only the keyboard meets has new lines said."""
    task = reader.app.create("ada", name="Export")
    log = reader.show(task)
    reader.write(task, "before\n")
    expect(log).to_contain_text("before")
    assert log.evaluate("(log) => [log.getAttribute('aria-live'), log.tabIndex]") == ["off", 0]
    button = reader.page.get_by_role("button", name="Announce new lines")
    assert button.evaluate("(button) => button.getBoundingClientRect().width") < 10
    reader.page.keyboard.press("Tab")
    expect(button).to_be_focused()
    assert button.evaluate("(button) => button.getBoundingClientRect().width") > 100
    expect(button).to_have_attribute("aria-pressed", "false")
    reader.page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    reader.write(task, "one\ntwo\nthr")
    reader.page.wait_for_function("heard.includes('one\\ntwo')")
    reader.write(task, "ee")
    reader.app.call("complete_task", task_id=task)
    reader.page.wait_for_function("heard.includes('three')")
    assert "before" not in "".join(reader.page.evaluate("heard"))


def test_the_page_may_have_lines_announced(reader: Reader) -> None:
    """`announce=lines`; of many only the newest are said, with how many there were."""
    task = reader.app.create("ada")
    log = reader.show(task, announce="lines")
    reader.write(task, "first\n")
    expect(log).to_contain_text("first")
    reader.write(task, lines(1, 100))
    reader.page.wait_for_function("heard.some((text) => text.startsWith('100 new lines: '))")
    said: Any = reader.page.evaluate("heard.find((text) => text.startsWith('100'))")
    assert said.endswith("line 100 é😀")
    assert len(said) < 320
