"""The HTTP side, on Flask's test client: answers, rights, waits, errors and the static files."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import realtime.waiting
from realtime.auth import Grant
from realtime.config import Config
from realtime.errors import ConfigError, RegistryUnavailable, SeveralProcesses, TicketExpired, TicketInvalid
from realtime.registry.buffer import Buffer
from realtime.registry.memory import MemoryRegistry
from realtime.task import Task
from realtime.transport import http, processes
from realtime.transport.commands import Commands
from realtime.transport.http import MAX_WAIT, MAX_WAITS_PER_USER, Scraped
from realtime.transport.ingest import Ingest
from support.watching import House

Parked = list[tuple[str, float, Callable[[], bool]]]


class Site(House):
    """What the blueprint needs of a `Realtime`, and an app with it."""

    def __init__(self, static: Path, config: Config | None = None, registry: MemoryRegistry | None = None) -> None:
        super().__init__(config, registry)
        self.commands = Commands(self.operations, self.hub)
        self.static_folder = static
        self.exposition: Scraped | None = None
        self.ingest = Ingest(self.registry, self.config, None)
        self.app = Flask("site")
        self.app.register_blueprint(http.blueprint(self), url_prefix="/realtime")

    def authorise(self, environ: dict[str, Any], ticket: str | None) -> Grant | None:
        """Tickets are ``user:<id>`` and ``task:<id>``; the cookie is the header ``X-User``, ``<id>/<group>``."""
        kind, _, name = (ticket or "").partition(":")
        match kind:
            case "user":
                return Grant(name)
            case "task":
                return Grant(None, (), frozenset({name}))
            case "expired":
                raise TicketExpired
            case "unset":
                raise ConfigError("SECRET_KEY is not set: SECRET_KEY = 'generated'")
            case "broken":
                raise RegistryUnavailable("The store is away.")
        if ticket is not None:
            raise TicketInvalid
        user, _, group = environ.get("HTTP_X_USER", "").partition("/")
        if user == "crash":
            raise RuntimeError("a secret of the app")
        return Grant(user, (group,) if group else ()) if user else None

    def get(self, path: str, user: str | None = "ann", **options: Any) -> TestResponse:
        return self.open("GET", path, user, **options)

    def post(self, path: str, user: str | None = "ann", **options: Any) -> TestResponse:
        return self.open("POST", path, user, **options)

    def open(
        self, method: str, path: str, user: str | None = "ann", headers: dict[str, str] | None = None, **environ: Any
    ) -> TestResponse:
        """A request; ``environ`` are WSGI keys with ``__`` for the dot."""
        client: FlaskClient = self.app.test_client()
        sent = dict(headers or {})
        if user is not None:
            sent["X-User"] = user
        extra = {name.replace("__", "."): value for name, value in environ.items()}
        return client.open(f"/realtime{path}", method=method, headers=sent, environ_overrides=extra, buffered=True)

    def task(self, task_id: str = "a", user_id: str = "ann", **options: Any) -> Task:
        return self.operations.create_task(task_id, user_id, **options)

    def cursor(self, task_id: str = "a") -> str:
        """``<epoch>.<version>`` of a task as it is now."""
        task = self.registry.get(task_id)
        assert task is not None
        return task.etag.strip('"')


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of this process has not yet been told of several processes."""
    monkeypatch.setattr(processes, "_told", False)


def error(response: TestResponse) -> tuple[int, str, str]:
    """Status, code and message of an error, which has the shape of one."""
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json is not None
    assert set(response.json) == {"error"}
    assert set(response.json["error"]) == {"code", "message"}
    return response.status_code, response.json["error"]["code"], response.json["error"]["message"]


class TestList:
    def test_visible_tasks_newest_first_in_pages(self, site: Site) -> None:
        """Own ones and those of one's groups; the cursor of a page leads to the next, and there is none on the last."""
        for number in range(3):
            site.task(f"t{number}")
            site.task(f"x{number}", "eve", groups=["team"])
        first = site.get("/v1/tasks?limit=2").json
        assert first is not None
        assert [task["task_id"] for task in first["tasks"]] == ["t2", "t1"]
        assert first["epoch"] == site.registry.epoch
        second = site.get(f"/v1/tasks?limit=2&before={first['next']}").json
        assert second is not None
        assert [task["task_id"] for task in second["tasks"]] == ["t0"]
        assert (second["next"], set(second)) == (None, {"epoch", "tasks", "next"})
        ours = site.get("/v1/tasks", "bob/team").json
        assert ours is not None
        assert [task["task_id"] for task in ours["tasks"]] == ["x2", "x1", "x0"]

    def test_empty_arguments_are_none(self, site: Site) -> None:
        """A form that sends all its fields asks for the first page, of fifty."""
        for number in range(51):
            site.task(f"t{number}")
        page = site.get("/v1/tasks?limit=&before=").json
        assert page is not None
        assert len(page["tasks"]) == 50

    def test_long_results_are_left_out_and_nothing_is_stored(self, site: Site) -> None:
        """A list may not be kept by anybody: what it holds depends on who asks."""
        site.task()
        site.operations.complete_task("a", "x" * 5_000)
        response = site.get("/v1/tasks")
        assert response.json is not None
        assert response.json["tasks"][0]["result_omitted"] is True
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"),
            ("limit=1e3", "limit"),
            ("limit=٣", "limit"), ("limit=²", "limit"), ("limit=" + "9" * 5_000, "limit"), ("before=x", "before"),
            ("before=x.1", "before"),
        ],
    )  # fmt: skip
    def test_a_wrong_argument_is_named(self, site: Site, query: str, field: str) -> None:
        """422, and short."""
        status, code, message = error(site.get(f"/v1/tasks?{query}"))
        assert (status, code) == (422, "invalid")
        assert message.startswith(f"{field}: ")
        assert len(message) < 200


class TestShow:
    def test_the_whole_snapshot(self, site: Site) -> None:
        """Nothing is left out: this is where long results are fetched."""
        site.task()
        site.operations.complete_task("a", "x" * 5_000)
        task = site.registry.get("a")
        assert task is not None
        response = site.get("/v1/tasks/a")
        assert (response.status_code, response.json) == (200, task.as_dict())
        assert response.headers["ETag"] == task.etag == f'"{site.registry.epoch}.{task.version}"'
        assert response.content_type == "application/json"

    def test_a_browser_asks_whether_its_copy_still_holds(self, site: Site) -> None:
        """304 while it does; private, and never without asking."""
        site.task()
        first = site.get("/v1/tasks/a")
        assert first.headers["Cache-Control"] == "private, no-cache"
        for tag in (first.headers["ETag"], "W/" + first.headers["ETag"], f'"x", {first.headers["ETag"]}', "*"):
            again = site.get("/v1/tasks/a", headers={"If-None-Match": tag})
            assert (again.status_code, again.data) == (304, b"")
            assert again.headers["ETag"] == first.headers["ETag"]
        site.operations.update_task_progress("a", "more")
        changed = site.get("/v1/tasks/a", headers={"If-None-Match": first.headers["ETag"]})
        assert changed.status_code == 200
        assert changed.headers["ETag"] != first.headers["ETag"]

    def test_a_copy_does_not_open_what_its_holder_may_not_see(self, site: Site) -> None:
        """The right comes before the condition."""
        site.task()
        tag = site.get("/v1/tasks/a").headers["ETag"]
        assert error(site.get("/v1/tasks/a", "eve", headers={"If-None-Match": tag}))[0] == 404

    def test_head(self, site: Site) -> None:
        """The same without the body."""
        site.task()
        response = site.open("HEAD", "/v1/tasks/a")
        assert (response.status_code, response.data) == (200, b"")
        assert response.headers["ETag"] == f'"{site.cursor()}"'

    def test_a_tasks_ticket_shows_it(self, site: Site) -> None:
        """And no other, also when it does not exist yet."""
        site.task()
        site.task("b")
        bearer = {"Authorization": "Bearer task:a"}
        assert site.get("/v1/tasks/a", None, headers=bearer).status_code == 200
        assert error(site.get("/v1/tasks/b", None, headers=bearer))[0] == 404


class TestWaiting:
    def test_what_is_newer_is_answered_at_once(self, site: Site) -> None:
        """An older version, and one of another epoch."""
        site.concurrency.on_wait = lambda timeout: pytest.fail("it waited")
        site.task()
        old = site.cursor()
        site.operations.update_task_progress("a", "more")
        for after in (old, f"other.{10**18}"):
            response = site.get(f"/v1/tasks/a?after={after}")
            assert response.status_code == 200
            assert response.headers["ETag"] == f'"{site.cursor()}"'
            assert response.headers["Cache-Control"] == "no-store"

    def test_a_change_while_it_waits_is_the_answer(self, site: Site) -> None:
        """It waits up to 25 seconds, and answers with the newest version."""
        site.task()
        waits: list[float | None] = []

        def change(timeout: float | None) -> bool:
            waits.append(timeout)
            site.operations.update_task_progress("a", "one")
            site.operations.update_task_progress("a", "two")
            return True

        site.concurrency.on_wait = change
        response = site.get(f"/v1/tasks/a?after={site.cursor()}")
        assert response.status_code == 200
        assert response.json is not None
        assert response.json["progress"]["message"] == "two"
        assert len(waits) == 1
        assert waits[0] == pytest.approx(MAX_WAIT, abs=5)

    def test_when_nothing_comes_the_answer_is_304(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the tag that still holds, and no body."""
        now = self.clock(site, monkeypatch)
        site.task()
        response = site.get(f"/v1/tasks/a?after={site.cursor()}")
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == f'"{site.cursor()}"'
        assert now() == MAX_WAIT

    @pytest.mark.parametrize(("wait", "seconds"), [("1.5", 1.5), ("25", 25.0), ("", 25.0), ("0", 0.0)])
    def test_a_client_may_have_less_patience(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, wait: str, seconds: float
    ) -> None:
        """``wait`` in seconds; none at all is a question whether there is news."""
        now = self.clock(site, monkeypatch)
        site.task()
        assert site.get(f"/v1/tasks/a?after={site.cursor()}&wait={wait}").status_code == 304
        assert now() == seconds

    @staticmethod
    def clock(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
        """Waits pass at once on the clock that is returned."""
        now = 0.0

        class Time:
            @staticmethod
            def monotonic() -> float:
                return now

        def wait(timeout: float | None) -> bool:
            nonlocal now
            assert timeout is not None
            now += timeout
            return False

        monkeypatch.setattr(realtime.waiting, "time", Time)
        site.concurrency.on_wait = wait
        return lambda: now

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("after=", "after"), ("after=x", "after"), ("after=.1", "after"), ("after=x.-1", "after"),
            ("after=x.²", "after"), ("after=x.٣", "after"), ("after=x." + "1" * 20, "after"),
            ("after=x.1&wait=26", "wait"), ("after=x.1&wait=-1", "wait"), ("after=x.1&wait=nan", "wait"),
            ("after=x.1&wait=soon", "wait"),
        ],
    )  # fmt: skip
    def test_a_wrong_argument_is_named(self, site: Site, query: str, field: str) -> None:
        """422, before anything waits."""
        site.concurrency.on_wait = lambda timeout: pytest.fail("it waited")
        site.task()
        status, _, message = error(site.get(f"/v1/tasks/a?{query}"))
        assert status == 422
        assert message.startswith(f"{field}: ")

    def test_nobody_waits_for_what_they_may_not_see(self, site: Site) -> None:
        """404 at once, as for an id that is none."""
        site.concurrency.on_wait = lambda timeout: pytest.fail("it waited")
        site.task()
        answers = {error(site.get(f"/v1/tasks/{task_id}?after={site.cursor()}", "eve")) for task_id in ("a", "none")}
        assert answers == {(404, "not_found", "No such task, or not one you may see.")}

    @pytest.mark.parametrize("again", [None, "eve"])
    def test_a_task_that_goes_while_it_is_waited_for_is_not_found(self, site: Site, again: str | None) -> None:
        """Also when its id comes back as somebody else's: the right is asked again after the wait."""
        site.task()
        site.operations.complete_task("a")

        def remove(timeout: float | None) -> bool:
            site.operations.remove_task("a")
            if again is not None:
                site.task("a", again)
            return True

        site.concurrency.on_wait = remove
        assert error(site.get(f"/v1/tasks/a?after={site.cursor()}"))[0] == 404

    def test_half_of_the_threads_may_wait(self, tmp_path: Path) -> None:
        """The others go on answering; one more is told to come back."""
        site = Site(tmp_path, Config(request_threads=7))
        self.crowd(site, 3)

    def test_a_single_thread_may_wait(self, tmp_path: Path) -> None:
        """Half of one is not none."""
        self.crowd(Site(tmp_path, Config(request_threads=1)), 1)

    def test_green_threads_wait_by_the_thousand(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a process that the host has patched, a wait costs little."""
        monkeypatch.setattr(http, "MAX_WAITS", 30)
        monkeypatch.setattr(http, "patched_mode", lambda: "gevent")
        green = self.made_for(site, "gevent")
        self.crowd(green, 30)

    @staticmethod
    def made_for(site: Site, mode: str) -> Site:
        """The same site, its blueprint made for another mode."""
        site.concurrency.mode = mode
        site.app = Flask("site")
        site.app.register_blueprint(http.blueprint(site), url_prefix="/realtime")
        return site

    @staticmethod
    def crowd(site: Site, most: int) -> None:
        """Requests of many users wait inside one another; exactly ``most`` find room."""
        site.task("a", "owner", groups=["team"])
        after = site.cursor()
        answers: list[TestResponse] = []

        def one_more(timeout: float | None) -> bool:
            answers.append(site.get(f"/v1/tasks/a?after={after}", f"user{len(answers) + depth[0]}/team"))
            site.operations.update_task_progress("a", "the end of all waits")
            return True

        def deeper(timeout: float | None) -> bool:
            depth[0] += 1
            return one_more(timeout)

        depth = [0]
        site.concurrency.on_wait = deeper
        answers.append(site.get(f"/v1/tasks/a?after={after}", "user0/team"))
        assert depth[0] == most
        assert [response.status_code for response in answers] == [429] + [200] * most
        status, code, message = error(answers[0])
        assert (status, code, answers[0].headers["Retry-After"]) == (429, "limit", "1")
        assert message.startswith(f"{most} requests are waiting already")
        assert ("REALTIME_REQUEST_THREADS" in message) is (site.concurrency.mode == "threading")

    def test_a_native_thread_among_green_ones_does_not_wait(self, site: Site) -> None:
        """It could not be woken: it is answered as if the time were over."""
        green = self.made_for(site, "eventlet")
        green.concurrency.on_wait = lambda timeout: pytest.fail("it waited")
        green.task()
        assert green.get(f"/v1/tasks/a?after={green.cursor()}").status_code == 304


class TestParking:
    @pytest.fixture(autouse=True)
    def nobody_waits_here(self, site: Site) -> None:
        site.concurrency.on_wait = lambda timeout: pytest.fail("it waited")

    def park(self, site: Site, user: str | None = "ann", task_id: str = "a", **options: Any) -> tuple[int, Parked]:
        """The status of a request for news that there are not yet, and what it has left with the server."""
        parked: Parked = []
        path = f"/v1/tasks/{task_id}?after={site.cursor(task_id)}&wait=20"
        response = site.get(path, user, realtime__park=parked, **options)
        return response.status_code, parked

    def test_a_wait_ends_when_the_store_goes_away(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """The view is asked again, and says why. A store that must be waited for is not asked on the hub's thread."""
        site.task()
        ((_, _, unless),) = self.park(site)[1]
        asked: list[Callable[[], Any]] = []

        def execute(ask: Callable[[], Any]) -> Any:
            asked.append(ask)
            return ask()

        monkeypatch.setattr(site.registry, "reads_wait", True, raising=False)
        monkeypatch.setattr(site.concurrency, "execute", execute)
        assert unless() is False
        assert len(asked) == 1

        def away(task_id: str) -> None:
            raise RegistryUnavailable("The store is away.")

        monkeypatch.setattr(site.registry, "get", away)
        assert unless() is True
        assert error(site.get("/v1/tasks/a"))[:2] == (503, "unavailable")

    def test_a_view_that_would_wait_leaves_that_to_the_server(self, site: Site) -> None:
        """It says what for, how long, and what to ask."""
        site.task()
        status, parked = self.park(site)
        assert status == 204
        [(task_id, seconds, unless)] = parked
        assert (task_id, seconds, unless()) == ("a", 20.0, False)
        site.operations.update_task_progress("a", "more")
        assert unless() is True

    def test_it_need_not_wait_for_a_task_that_is_gone(self, site: Site) -> None:
        """A removal is news."""
        site.task()
        _, [(_, _, unless)] = self.park(site)
        site.operations.complete_task("a")
        site.operations.remove_task("a")
        assert unless() is True

    def test_what_can_be_answered_is_not_parked(self, site: Site) -> None:
        """A newer version, an error and an ordinary request leave nothing with the server."""
        site.task()
        old = site.cursor()
        site.operations.update_task_progress("a", "more")
        parked: Parked = []
        for path, status in (
            (f"?after={old}", 200),
            ("?after=x", 422),
            ("", 200),
            (f"?after={site.cursor()}&wait=0", 304),
        ):
            assert site.get(f"/v1/tasks/a{path}", realtime__park=parked).status_code == status
        assert parked == []

    def test_the_second_call_answers_at_once(self, site: Site) -> None:
        """With what there is: the newer version, or 304."""
        site.task()
        path = f"/v1/tasks/a?after={site.cursor()}"
        assert site.get(path, realtime__parked=True).status_code == 304
        assert site.get(path, realtime__parked=True, realtime__park=[]).status_code == 304
        site.operations.update_task_progress("a", "more")
        assert site.get(path, realtime__parked=True).status_code == 200

    def test_a_user_waits_twenty_times_at_once(self, site: Site) -> None:
        """One more is told to come back; others are not concerned; what the server has dropped counts no more."""
        site.task("a", "ann", groups=["team"])
        waits = [self.park(site)[1] for _ in range(MAX_WAITS_PER_USER)]
        assert error(site.get(f"/v1/tasks/a?after={site.cursor()}", realtime__park=[]))[:2] == (429, "limit")
        assert self.park(site, "bob/team")[0] == 204
        waits.pop()
        gc.collect()
        status, kept = self.park(site)
        assert (status, len(kept)) == (204, 1)
        assert self.park(site)[0] == 429

    def test_one_user_does_not_hold_all_waits(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there are few, half of them at most."""
        monkeypatch.setattr(http, "MAX_WAITS", 6)
        site.task("a", "ann", groups=["team"])
        waits = [self.park(site) for _ in range(4)]
        assert [status for status, _ in waits] == [204] * 3 + [429]
        assert [self.park(site, f"user{number}/team")[0] for number in range(2)] == [204] * 2

    def test_those_without_a_user_are_told_apart_by_their_address(self, site: Site) -> None:
        """A ticket may be in many hands, and a user is never taken for an address."""
        site.task()
        bearer = {"Authorization": "Bearer task:a"}
        waits = [
            self.park(site, None, headers=bearer, REMOTE_ADDR="10.0.0.1")[1] for _ in range(MAX_WAITS_PER_USER)
        ]  # fmt: skip
        assert self.park(site, None, headers=bearer, REMOTE_ADDR="10.0.0.1")[0] == 429
        assert self.park(site, None, headers=bearer, REMOTE_ADDR="10.0.0.2")[0] == 204
        site.task("b", "10.0.0.1")
        assert self.park(site, "10.0.0.1", "b")[0] == 204
        assert len(waits) == MAX_WAITS_PER_USER

    def test_behind_a_proxy_the_address_is_the_clients(self, tmp_path: Path) -> None:
        """Not everybody's is that of the proxy."""
        site = Site(tmp_path, Config(trusted_proxies=1))
        site.task()
        waits = []
        for number in range(MAX_WAITS_PER_USER + 1):
            sent = {"Authorization": "Bearer task:a", "X-Forwarded-For": f"10.0.0.{number}"}
            status, parked = self.park(site, None, headers=sent, REMOTE_ADDR="127.0.0.1")
            assert status == 204
            waits.append(parked)

    def test_a_bound_on_all_of_them(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever they are."""
        monkeypatch.setattr(http, "MAX_WAITS", 5)
        site.task("a", "owner", groups=["team"])
        waits = [self.park(site, f"user{number}/team") for number in range(6)]
        assert [status for status, _ in waits] == [204] * 5 + [429]
        assert http.MAX_WAIT == 25.0


class TestCancel:
    def test_it_asks_and_answers_with_the_snapshot(self, site: Site) -> None:
        """202: the job has still to hear of it."""
        site.task()
        response = site.post("/v1/tasks/a/cancel")
        assert response.status_code == 202
        assert response.json is not None
        assert response.json["cancel_requested_at"] is not None
        assert response.headers["ETag"] == f'"{site.cursor()}"'
        assert response.headers["Cache-Control"] == "no-store"

    def test_a_pending_one_ends_and_asking_again_changes_nothing(self, site: Site) -> None:
        """A cancelled task is what was asked for."""
        site.task(status="pending")
        for _ in range(2):
            response = site.post("/v1/tasks/a/cancel")
            assert response.json is not None
            assert (response.status_code, response.json["status"]) == (202, "cancelled")

    def test_refusals(self, site: Site) -> None:
        """An end, somebody who only sees it, and somebody who does not: 409, 403, and 404 as for no task at all."""
        site.task("a", "ann", groups=["team"])
        site.task("done", "ann")
        site.operations.complete_task("done")
        assert error(site.post("/v1/tasks/done/cancel"))[:2] == (409, "already_finished")
        assert error(site.post("/v1/tasks/a/cancel", "bob/team"))[:2] == (403, "forbidden")
        bearer = {"Authorization": "Bearer task:a"}
        assert error(site.post("/v1/tasks/a/cancel", None, headers=bearer))[:2] == (403, "forbidden")
        assert error(site.post("/v1/tasks/a/cancel", "eve")) == error(site.post("/v1/tasks/none/cancel", "eve"))
        assert error(site.post("/v1/tasks/a/cancel", "eve"))[:2] == (404, "not_found")
        task = site.registry.get("a")
        assert task is not None
        assert task.cancel_requested_at is None

    def test_only_a_post_cancels(self, site: Site) -> None:
        """A link does not."""
        site.task()
        response = site.get("/v1/tasks/a/cancel")
        assert error(response)[:2] == (405, "method_not_allowed")
        assert response.headers["Allow"] == "OPTIONS, POST"


class TestRemove:
    def test_a_finished_one_of_ones_own(self, site: Site) -> None:
        """204, and it is gone."""
        site.task()
        site.operations.complete_task("a")
        response = site.open("DELETE", "/v1/tasks/a")
        assert (response.status_code, response.data) == (204, b"")
        assert site.registry.get("a") is None
        assert error(site.open("DELETE", "/v1/tasks/a"))[:2] == (404, "not_found")

    def test_refusals(self, site: Site) -> None:
        """One that runs, somebody who only sees it, and somebody who does not."""
        site.task("a", "ann", groups=["team"])
        status, code, message = error(site.open("DELETE", "/v1/tasks/a"))
        assert (status, code) == (422, "invalid")
        assert message.startswith("task_id: ")
        site.operations.complete_task("a")
        assert error(site.open("DELETE", "/v1/tasks/a", "bob/team"))[:2] == (403, "forbidden")
        assert error(site.open("DELETE", "/v1/tasks/a", "eve"))[:2] == (404, "not_found")
        assert site.registry.get("a") is not None


class TestIdentity:
    PATHS = (("GET", "/v1/tasks"), ("GET", "/v1/tasks/a"), ("POST", "/v1/tasks/a/cancel"), ("DELETE", "/v1/tasks/a"))

    @pytest.mark.parametrize(("method", "path"), PATHS)
    def test_nobody_sees_nothing(self, site: Site, method: str, path: str) -> None:
        """401 whether the task exists or not, with a scheme that makes no browser ask for a password."""
        before = error(site.open(method, path, None))
        site.task()
        response = site.open(method, path, None)
        assert error(response) == before
        assert before[:2] == (401, "unauthenticated")
        assert response.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("header", ["Bearer user:ann", "bearer user:ann", "BEARER   user:ann "])
    def test_a_ticket_in_the_authorization_header(self, site: Site, header: str) -> None:
        """Without a cookie, and before one."""
        site.task()
        assert site.get("/v1/tasks/a", None, headers={"Authorization": header}).status_code == 200
        assert site.get("/v1/tasks/a", "eve", headers={"Authorization": header}).status_code == 200

    def test_a_password_is_no_ticket(self, site: Site) -> None:
        """Other schemes are not read: whoever sends one has brought no ticket, and not a bad one."""
        assert error(site.get("/v1/tasks", None, headers={"Authorization": "Basic YTpi"}))[1] == "unauthenticated"

    @pytest.mark.parametrize(("ticket", "code"), [("expired:", "ticket_expired"), ("rubbish", "ticket_invalid")])
    def test_a_bad_ticket_is_told_by_its_code(self, site: Site, ticket: str, code: str) -> None:
        """A client with a ticket function fetches another one then."""
        response = site.get("/v1/tasks", None, headers={"Authorization": f"Bearer {ticket}"})
        assert error(response)[:2] == (401, code)
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'

    def test_an_expired_ticket_is_not_replaced_by_a_cookie(self, site: Site) -> None:
        """It was ours, and it was meant."""
        response = site.get("/v1/tasks", "ann", headers={"Authorization": "Bearer expired:"})
        assert error(response)[:2] == (401, "ticket_expired")

    @pytest.mark.parametrize(
        "header", ["Bearer a.token.of-the-app", "Bearer unset:", "Bearer ", "Bearer", "Basic YTpi"]
    )
    def test_the_header_is_the_apps_too(self, site: Site, header: str) -> None:
        """Whoever `identify` knows is known, whatever token or password of the app's own stands there."""
        site.task()
        assert site.get("/v1/tasks/a", headers={"Authorization": header}).status_code == 200

    def test_a_setting_that_is_wrong_is_not_told_to_strangers(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is in the log; the answer says that the server failed."""
        response = site.get("/v1/tasks", None, headers={"Authorization": "Bearer unset:"})
        assert error(response) == (500, "internal", "The server failed to answer.")
        assert "SECRET_KEY" in caplog.text

    def test_a_store_that_is_away_is_told(self, site: Site) -> None:
        """503 with its own words: it may be tried again."""
        response = site.get("/v1/tasks", None, headers={"Authorization": "Bearer broken:"})
        assert error(response) == (503, "unavailable", "The store is away.")


class TestOrigins:
    @pytest.mark.parametrize(("method", "path"), TestIdentity.PATHS)
    @pytest.mark.parametrize(
        "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
    )
    def test_pages_of_other_origins_are_refused(
        self, site: Site, method: str, path: str, headers: dict[str, str]
    ) -> None:
        """Whatever the method: they neither ride on a cookie nor use up waits."""
        site.task()
        before = site.cursor()
        assert error(site.open(method, path, headers=headers))[:2] == (403, "origin_not_allowed")
        assert site.cursor() == before

    def test_own_pages_may(self, site: Site) -> None:
        """By either header."""
        site.task()
        for headers in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}):
            assert site.post("/v1/tasks/a/cancel", headers=headers).status_code == 202

    def test_allowed_ones_may_and_still_nothing_is_granted_to_scripts(self, tmp_path: Path) -> None:
        """No answer carries a CORS header, a preflight's least of all."""
        site = Site(tmp_path, Config(allowed_origins=("https://page.example",)))
        site.task()
        headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
        answers = [site.post("/v1/tasks/a/cancel", headers=headers)]
        answers.append(site.open("OPTIONS", "/v1/tasks/a/cancel", headers=headers))
        assert [response.status_code for response in answers] == [202, 204]
        assert answers[1].headers["Allow"] == "OPTIONS, POST"
        for response in answers:
            assert not [
                name for name, _ in response.headers.to_wsgi_list() if name.lower().startswith("access-control")
            ]


class TestHealth:
    def test_it_says_whether_its_store_is_in_reach(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is ready as long as tasks can be read and changed; alive all the same."""
        assert site.get("/v1/readyz", None).json == {"ok": True}

        def away() -> None:
            raise RegistryUnavailable("The store is away.")

        monkeypatch.setattr(site.registry, "check", away)
        assert error(site.get("/v1/readyz", None)) == (503, "unavailable", "The store is away.")
        assert site.get("/v1/healthz", None).status_code == 200

    def test_it_says_how_many_tasks_wait_for_the_store(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where updates are kept meanwhile: as long as it is away, and until all of them are written."""
        buffer = Buffer(5, lambda task_id: site.registry.get(task_id), lambda nonce: contextlib.nullcontext())
        monkeypatch.setattr(type(site.registry), "buffer", buffer)
        assert site.get("/v1/readyz", None).json == {"ok": True, "waiting": 0}
        site.task()
        again = threading.Event()

        def away(*_: object) -> Any:
            if not again.is_set():
                raise RegistryUnavailable("The store is away.")
            return site.registry.get("a")

        monkeypatch.setattr(site.registry, "check", away)
        buffer.update(away, "a", ("waits", None, None, None, None, None, None))
        answer = site.get("/v1/readyz", None)
        told = {"code": "unavailable", "message": "The store is away."}
        assert (answer.status_code, answer.json) == (503, {"error": told, "waiting": 1})
        again.set()
        buffer.bring("a")
        assert site.get("/v1/readyz", None).json == {"ok": True, "waiting": 0}

    def test_it_says_that_it_lives_and_nothing_else(self, tmp_path: Path) -> None:
        """To anybody, from anywhere, by any name: probes know no host and no user."""
        site = Site(tmp_path, Config(allowed_hosts=("app.example",)))
        response = site.get("/v1/healthz", None, headers={"Origin": "https://elsewhere.example"})
        assert (response.status_code, response.json) == (200, {"ok": True})
        assert response.headers["Cache-Control"] == "no-store"
        assert error(site.get("/v1/tasks"))[:2] == (403, "origin_not_allowed")


@pytest.mark.usefixtures("told")
class TestSeveralProcesses:
    def test_it_is_one_loud_error(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        """Every answer of the API names the cure; the log has it once, at the highest level."""
        site.task()
        texts = set()
        for method, path in (
            *TestIdentity.PATHS,
            ("GET", "/v1/nothing"),
            ("PUT", "/v1/tasks"),
            ("OPTIONS", "/v1/tasks"),
        ):
            status, code, message = error(site.open(method, path, None, wsgi__multiprocess=True))
            assert (status, code) == (503, "multiprocess")
            texts.add(message)
        [message] = texts
        assert "--workers 1" in message
        [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
        assert record.getMessage() == message

    def test_the_process_lives_and_serves_its_files(self, site: Site, tmp_path: Path) -> None:
        """Liveness is not readiness; a page that loads can show the reason."""
        (tmp_path / "realtime.js").write_text("export {}")
        assert site.get("/v1/healthz", None, wsgi__multiprocess=True).status_code == 200
        assert site.get("/static/realtime.js", None, wsgi__multiprocess=True).status_code == 200

    def test_a_store_that_processes_share_is_no_error(self) -> None:
        """Only `memory://` is one process's own, and a file."""
        with pytest.raises(SeveralProcesses, match="sqlite://"):
            processes.refuse_multiprocess({"wsgi.multiprocess": True}, Config(registry="sqlite:///tasks.db"))
        processes.refuse_multiprocess({"wsgi.multiprocess": True}, Config(registry="redis://host"))
        processes.refuse_multiprocess({"wsgi.multiprocess": False}, Config())
        processes.refuse_multiprocess({}, Config())


class TestErrors:
    @pytest.fixture
    def site(self, site: Site) -> Site:
        """An app with pages of its own for errors and for what nobody else answers."""

        @site.app.errorhandler(Exception)
        def page(error: Exception) -> Response:
            return Response("<h1>The app's own page</h1>", 418)

        @site.app.errorhandler(404)
        def not_found(error: Exception) -> Response:
            return Response("<h1>The app's own 404</h1>", 404)

        return site

    @pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/tasks/", "/v1/tasks/a/b", "/v1/nothing", "/static/none.js"])
    def test_what_is_not_there(self, site: Site, path: str) -> None:
        """404 as JSON below the API; a path beside it is the app's."""
        response = site.get(path)
        if path in ("/v1", "/v1/"):
            assert response.data == b"<h1>The app's own 404</h1>"
        else:
            assert error(response)[:2] == (404, "not_found")
            assert "Allow" not in response.headers

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/v1/healthz", "GET, HEAD, OPTIONS"),
            ("/v1/tasks", "GET, HEAD, OPTIONS, POST"),
            ("/v1/tasks/a", "DELETE, GET, HEAD, OPTIONS, PATCH"),
            ("/static/a.js", "GET, HEAD, OPTIONS"),
        ],
    )
    def test_another_method(self, site: Site, path: str, allowed: str) -> None:
        """405 with what would be right."""
        for method in {"PUT", "PATCH", "POST"} - set(allowed.split(", ")):
            response = site.open(method, path)
            assert error(response)[:2] == (405, "method_not_allowed")
            assert response.headers["Allow"] == allowed
        assert site.open("OPTIONS", path).headers["Allow"] == allowed

    def test_a_failure_is_logged_and_not_shown(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        """No traceback, no text of the exception; also while debugging and testing."""
        site.app.testing = site.app.debug = True
        response = site.get("/v1/tasks", "crash")
        assert error(response) == (500, "internal", "The server failed to answer.")
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.exc_info is not None
        assert "a secret of the app" in str(record.exc_info[1])

    def test_other_pages_of_the_app_are_its_own(self, site: Site) -> None:
        """The blueprint answers below its own paths only."""
        client = site.app.test_client()
        assert client.get("/elsewhere").data == b"<h1>The app's own 404</h1>"
        assert client.get("/realtime/elsewhere").data == b"<h1>The app's own 404</h1>"


class TestStatic:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        for name in (
            "realtime.js", "page.css", "data.json", "vendor/socket.mjs", "vendor/socket.js.map", "icon.svg",
            "demo.html", ".npmrc", "vendor/.hidden/x.js", "node_modules/x/index.js",
        ):  # fmt: skip
            path = tmp_path / "static" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"/* {name} */")
        (tmp_path / "secret.js").write_text("outside")
        return Site(tmp_path / "static")

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("realtime.js", "text/javascript; charset=utf-8"),
            ("vendor/socket.mjs", "text/javascript; charset=utf-8"),
            ("page.css", "text/css; charset=utf-8"),
            ("data.json", "application/json"),
            ("vendor/socket.js.map", "application/json"),
            ("icon.svg", "image/svg+xml; charset=utf-8"),
            ("demo.html", "text/html; charset=utf-8"),
        ],
    )
    def test_types_do_not_depend_on_the_machine(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
    ) -> None:
        """A browser runs no module of another type, and is told not to guess."""
        if name != "demo.html":
            monkeypatch.setattr("mimetypes.guess_type", lambda *_, **__: ("text/plain", None))
        response = site.get(f"/static/{name}", None)
        assert (response.status_code, response.data) == (200, f"/* {name} */".encode())
        assert response.content_type == kind
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    def test_browsers_ask_each_time_whether_their_copy_holds(self, site: Site, tmp_path: Path) -> None:
        """A name does not change with its contents; what the app sets for its own files does not apply."""
        site.app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3_600
        first = site.get("/static/realtime.js", None)
        assert first.headers["Cache-Control"] == "no-cache"
        assert "Expires" not in first.headers
        again = site.get("/static/realtime.js", None, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == "no-cache"
        (tmp_path / "static/realtime.js").write_text("changed now")
        changed = site.get("/static/realtime.js", None, headers={"If-None-Match": first.headers["ETag"]})
        assert changed.data == b"changed now"

    @pytest.mark.parametrize(
        "name",
        [
            "none.js", "vendor", "vendor/", ".npmrc", "vendor/.hidden/x.js", "node_modules/x/index.js", "../secret.js",
            "%2e%2e/secret.js", "vendor/../../secret.js", "..%2fsecret.js", "/etc/passwd",
        ],
    )  # fmt: skip
    def test_nothing_but_what_is_to_be_served(self, site: Site, name: str) -> None:
        """Nothing outside the folder, no hidden file, and none of what only builds and tests need."""
        response = site.get(f"/static/{name}", None)
        assert response.status_code in (404, 308)
        assert b"outside" not in response.data

    def test_head(self, site: Site) -> None:
        """The same without the body."""
        response = site.open("HEAD", "/static/realtime.js", None)
        assert (response.status_code, response.data) == (200, b"")
        assert response.content_length == len("/* realtime.js */")


def test_what_it_was_made_with_is_kept(tmp_path: Path) -> None:
    """One extension object may act for another app later; the pages of this app go on with this one's tasks."""
    site, other = Site(tmp_path), Site(tmp_path)
    site.task()
    client = site.app
    for name in ("registry", "hub", "commands", "config", "operations"):
        setattr(site, name, getattr(other, name))
    site.app = client
    assert site.get("/v1/tasks/a").status_code == 200
    page = site.get("/v1/tasks").json
    assert page is not None
    assert [task["task_id"] for task in page["tasks"]] == ["a"]
