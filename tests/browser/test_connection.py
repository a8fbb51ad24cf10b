"""`<realtime-connection>`: the word, the banner, the buttons."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from browser.stage import Stage
from support import remote
from support.process import StartServer

CONNECTION = "<realtime-connection sign-in-href='/login'></realtime-connection>"

PATIENCE = 60_000  # milliseconds, where a real server and a real connection are in it


def state(stage: Stage) -> str:
    """The word beside the dot."""
    return stage.page.locator("realtime-connection [part=state]").inner_text()


def banner(stage: Stage) -> str | None:
    """What the banner says; None when there is none."""
    found = stage.page.locator("realtime-connection [part=banner]")
    return " ".join(found.inner_text().split()) if found.is_visible() else None


def test_live_and_connecting_have_no_banner(stage: Stage) -> None:
    """Before the first snapshot the page is connecting; with it, live."""
    stage.open()
    stage.run("(html) => { fake().mode = 'silent'; document.body.innerHTML = html; }", CONNECTION)
    stage.advance(300)
    assert (state(stage), banner(stage)) == ("Connecting…", None)
    stage.run("() => fake().speak()")
    stage.advance(1)
    assert (state(stage), banner(stage)) == ("Live", None)


def test_a_lost_connection_counts_down_to_the_next_try(stage: Stage) -> None:
    """The banner says what is shown, and when the next try is; it goes when the connection is back."""
    stage.open(CONNECTION)
    stage.run("() => { Math.random = () => 0.999; fake().drop(); }")
    stage.advance(7000)
    said = set()
    for _ in range(9):
        said.add(banner(stage))
        stage.advance(1000)
    assert state(stage) == "Not connected"
    assert "Connection lost. Showing what was known. Next try in 3 s. Try now" in said
    assert "Connection lost. Showing what was known. Next try in 2 s. Try now" in said
    stage.run("() => { fake().mode = 'up'; }")
    stage.advance(40_000)
    assert (state(stage), banner(stage)) == ("Live", None)


def test_try_now_tries_now(stage: Stage) -> None:
    """A click connects at once; the button, which has the focus, stays until the focus moves on."""
    stage.open(f"{CONNECTION}<button>next</button>")
    stage.run("() => { Math.random = () => 0.999; fake().drop(); }")
    stage.advance(7000)
    stage.run("() => { fake().mode = 'up'; }")
    retry = stage.page.locator("[part=retry]")
    retry.press("Enter")
    stage.advance(1)
    assert state(stage) == "Live"
    assert banner(stage) == "Connected again. Try now"
    assert retry.get_attribute("aria-disabled") == "true"
    assert stage.focused() == ":retry"
    stage.page.keyboard.press("Tab")
    stage.advance(300)
    assert banner(stage) is None
    assert stage.run("() => document.activeElement.textContent") == "next"


def test_while_a_try_is_under_way_there_is_nothing_to_hurry(stage: Stage) -> None:
    """The banner says so, and Try now is off."""
    stage.open(CONNECTION)
    stage.run("() => fake().drop('silent')")
    stage.advance(1000)
    assert banner(stage) == "Connection lost. Showing what was known. Trying now… Try now"
    assert stage.page.locator("[part=retry]").get_attribute("aria-disabled") == "true"


def test_delayed_news(stage: Stage) -> None:
    """Connected, and the server cannot reach its task store."""
    stage.open(CONNECTION)
    stage.run("() => fake().storeIs('stale')")
    stage.advance(300)
    assert (state(stage), banner(stage)) == (
        "Delayed",
        "News is delayed. The server cannot reach its task store. This page catches up by itself.",
    )
    stage.run("() => fake().storeIs('live')")
    stage.advance(300)
    assert (state(stage), banner(stage)) == ("Live", None)


@pytest.mark.parametrize("code", ["unauthenticated", "ticket_invalid", "ticket_expired"])
def test_a_viewer_who_is_not_signed_in_is_led_there(stage: Stage, code: str) -> None:
    """The link is the page's; without one there is none."""
    stage.open()
    stage.run("([code, html]) => { fake().mode = code; document.body.innerHTML = html; }", [code, CONNECTION])
    stage.advance(300)
    assert (state(stage), banner(stage)) == ("Not signed in", "Not signed in. Sign in again to see your jobs. Sign in")
    link = stage.page.locator("[part=sign-in]")
    assert link.get_attribute("href") == "/login"
    for href in ("", "javascript:alert(1)"):
        stage.run("(href) => document.querySelector('realtime-connection').setAttribute('sign-in-href', href)", href)
        stage.advance(1)
        assert not link.is_visible()


def test_the_page_may_bring_its_own_way_to_sign_in(stage: Stage) -> None:
    """Slot `sign-in`, seen only where it helps."""
    stage.open("<realtime-connection><button slot='sign-in'>Log in</button></realtime-connection>")
    own = stage.page.locator("[slot=sign-in]")
    assert not own.is_visible()
    stage.run("() => fake().drop('unauthenticated')")
    stage.advance(3000)
    assert own.is_visible()


@pytest.mark.parametrize("code", ["origin_not_allowed", "not_served"])
def test_a_refused_page_says_why(stage: Stage, code: str) -> None:
    """Signing in would not help: the server's reason is shown, for whoever runs the page."""
    stage.open()
    stage.run("([code, html]) => { fake().mode = code; document.body.innerHTML = html; }", [code, CONNECTION])
    stage.advance(300)
    assert (state(stage), banner(stage)) == ("Refused", f"Not allowed here. The server says: {code}.")


def test_a_server_that_says_why_is_quoted_while_it_is_tried_again(stage: Stage) -> None:
    """What would have to be mended there: without its words the page would only say that it is not connected."""
    stage.open()
    stage.run("(html) => { fake().mode = 'multiprocess'; document.body.innerHTML = html; }", CONNECTION)
    stage.advance(300)
    said = banner(stage)
    assert state(stage) == "Not connected"
    assert said is not None
    assert said.startswith("Connection lost. The server says: multiprocess. ")
    stage.run("() => { fake().mode = 'up'; }")
    stage.advance(40_000)
    assert (state(stage), banner(stage)) == ("Live", None)


def test_several_processes_of_gunicorn_are_named(server_process: StartServer, page: Page) -> None:
    """With tasks in memory each has its own. The page says so, and what to do about it, as the log does."""
    command = [
        "python", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--no-control-socket", "--workers", "2",
        "--threads", "4", "support.apps.plain:app",
    ]  # fmt: skip
    # gunicorn leaves the socket of a WebSocket that has ended to the garbage collector.
    app = remote.start(server_process, command, {"PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning"})
    page.goto(app.url)
    page.evaluate(
        """async () => {
          const { connect } = await import('/realtime/static/realtime.js');
          await import('/realtime/static/elements.js');
          connect();
          document.body.append(document.createElement('realtime-connection'));
        }"""
    )
    shown = page.locator("realtime-connection [part=banner]")
    expect(shown).to_contain_text("memory:// holds the tasks of one process only.", timeout=PATIENCE)
    expect(shown).to_contain_text("set REALTIME_REGISTRY to redis://.")


def test_a_closed_client_says_so(stage: Stage) -> None:
    """There is nothing to try then."""
    stage.open(CONNECTION)
    stage.run("() => document.querySelector('realtime-connection').client.close()")
    stage.advance(300)
    assert (state(stage), banner(stage)) == ("Closed", "Connection closed. Showing what was known.")


@pytest.mark.parametrize(("show", "parts"), [("", ["state", "banner"]), ("state", ["state"]), ("banner", ["banner"])])
def test_word_and_banner_may_stand_apart(stage: Stage, show: str, parts: list[str]) -> None:
    """`show` takes one of the two, for a header and the place below it."""
    stage.open(f"<realtime-connection show='{show}'></realtime-connection>")
    stage.run("() => fake().drop()")
    stage.advance(300)
    assert [part for part in ("state", "banner") if stage.page.locator(f"[part={part}]").is_visible()] == parts


def test_each_state_is_an_event_once(stage: Stage) -> None:
    """`realtime-state` tells the state's name; a new date for the next try is none."""
    stage.open(CONNECTION)
    stage.run("() => fake().drop()")
    stage.advance(20_000)
    stage.run("() => { fake().mode = 'up'; }")
    stage.advance(40_000)
    told = [event["state"] for event in stage.events("state")]
    assert told == ["live", "offline", "live"]


def test_clients_are_found_by_name_and_waited_for(stage: Stage) -> None:
    """Two clients on one page; an element may stand there before its client does."""
    card = "<realtime-task client='{}' task-id='a'></realtime-task>".format
    stage.open("<realtime-connection client='ada'></realtime-connection>" + card("ada") + card("grace"))
    stage.put("a", server="ada", name="Ada's")
    stage.put("a", server="grace", name="Grace's")
    assert state(stage) == "Connecting…"
    stage.run("() => { connect({name: 'ada', ticket: 'ada'}); connect({name: 'grace', ticket: 'grace'}); }")
    stage.advance(300)
    names = stage.page.locator("realtime-task .name").all_inner_texts()
    assert (state(stage), names) == ("Live", ["Ada's", "Grace's"])
    stage.run("() => fake('grace').drop()")
    stage.advance(300)
    assert (state(stage), banner(stage)) == ("Live", None)


def test_a_client_may_be_handed_over(stage: Stage) -> None:
    """The property `client` takes a client or a name, before the element is placed."""
    stage.open()
    stage.put("a", server="ada", name="Ada's")
    stage.run(
        """() => {
          const card = document.createElement('realtime-task');
          card.taskId = 'a';
          card.client = connect({name: 'ada', ticket: 'ada'});
          const named = document.createElement('realtime-connection');
          named.client = 'ada';
          document.body.append(card, named);
        }"""
    )
    stage.advance(300)
    assert stage.read()["name"] == "Ada's"
    assert state(stage) == "Live"


def test_what_a_page_set_before_the_elements_were_there_holds(stage: Stage) -> None:
    """Properties and markup of the time before the module was loaded are those of the element."""
    stage.open(path="/early.html")
    # A page is loaded before what its scripts wait for is.
    for task_id in ("a", "b"):
        stage.page.locator(f"realtime-task[task-id={task_id}]:defined").wait_for(state="attached")
    stage.advance(300)
    assert stage.read("a")["name"] == "Ada's"
    assert stage.read("b")["name"] == "My label"


def test_a_page_that_connects_by_itself_is_not_connected_twice(stage: Stage) -> None:
    """The page's own connect(), with its own options, comes first: the elements wait for the page's scripts."""
    stage.open(path="/own.html")
    assert stage.run("() => [...fake('mine').sockets].length") == 1
    assert stage.run("() => [...fake('default').sockets].length") == 0
    assert stage.page.locator("realtime-connection [part=state]").inner_text() == "Live"


def test_a_page_without_a_head_and_without_a_client_says_so_to_its_author(stage: Stage) -> None:
    """A line in the console names both ways; nothing is connected to on a guess."""
    said: list[str] = []
    stage.page.on("console", lambda message: said.append(message.text))
    stage.open(path="/headless.html")
    assert [line for line in said if "realtime_head()" in line]
    assert stage.run("() => document.querySelector('realtime-connection').client") is None
