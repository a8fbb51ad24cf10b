"""What is measured, and who may see it."""

from __future__ import annotations

import contextlib
import logging
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import pytest
from flask import Flask
from openapi_spec_validator import validate
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

import realtime.metrics
from realtime import Realtime
from realtime.errors import RegistryUnavailable
from realtime.metrics import REFUSALS, Histogram, Metrics
from realtime.registry.buffer import Buffer
from realtime.task import NewTask
from support.clock import Clock
from support.watching import House

TOKEN = "a scraper's own secret".replace(" ", "-")
PAGES = ("metrics", "servers")


@pytest.fixture(name="clock")
def new_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which flushes are measured."""
    clock = Clock()
    monkeypatch.setattr(realtime.metrics, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture(name="house")
def new_house() -> House:
    house = House()
    house.hub.metrics = Metrics()
    return house


def made(**config: Any) -> Flask:
    """An app with a user for whoever says ``X-User``."""
    app = Flask("measured")
    app.config.update({"SECRET_KEY": "only for tests: " + "k" * 32, **config})
    Realtime(app).identify(lambda request: request.headers.get("X-User"))
    return app


def scrape(app: Flask, token: str | None = TOKEN, page: str = "metrics", **headers: str) -> TestResponse:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return app.test_client().get(f"/realtime/v1/{page}", headers=headers)


def samples(app: Flask) -> dict[tuple[str, ...], float]:
    """Name and labels of each sample, and its value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(scrape(app).text)
        for sample in family.samples
    }


class TestHistogram:
    def test_a_value_counts_at_its_bound(self) -> None:
        """``le`` means at most: a value on a bound is below it, one above the last bound is in none of them."""
        histogram = Histogram((1, 10))
        for value in (0, 1, 1.5, 10, 11):
            histogram.observe(value)
        assert (histogram.counts, histogram.sum) == ([2, 2, 1], 23.5)


class TestMeasuring:
    def metrics(self, house: House) -> Metrics:
        assert house.hub.metrics is not None
        return house.hub.metrics

    def test_the_age_of_the_oldest_change(self, house: House, clock: Clock) -> None:
        """From the first mark since the last flush to the end of the flush; later marks do not make it younger."""
        house.viewer("ann")
        house.hub._awake = house.hub._wanted = False
        house.operations.create_task("a", "ann")
        clock.go(0.03)
        house.operations.update_task_progress("a", 1)
        clock.go(0.04)
        make = house.hub.make_frame

        def slowly(event: str, payload: bytes) -> Any:
            clock.go(0.01)
            return make(event, payload)

        house.hub.make_frame = slowly
        house.hub.flush()
        metrics = self.metrics(house)
        assert metrics.age.sum == pytest.approx(0.08)
        assert metrics.duration.sum == pytest.approx(0.01)
        assert (sum(metrics.age.counts), sum(metrics.duration.counts)) == (1, 1)

    def test_a_viewer_that_can_take_more_makes_no_change_older(self, house: House, clock: Clock) -> None:
        """The flusher is to come for it; a change that is made before it does is as old as it is."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.create_task("b", "ann")
        house.hub.flush()
        before = self.metrics(house).age.sum
        outbox.take()  # and so the flusher is to come
        clock.go(0.04)
        house.operations.update_task_progress("a", 1)
        clock.go(0.01)
        house.hub.flush()
        assert self.metrics(house).age.sum == pytest.approx(before + 0.01)

    def test_a_change_that_a_flush_still_took_makes_the_next_no_older(
        self, house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was marked when the flush had begun, before that looked at what is marked."""
        _, outbox = house.viewer("ann")
        house.hub.flush()
        begin = Metrics.begin

        def late(metrics: Metrics) -> None:
            begin(metrics)
            house.operations.create_task("a", "ann")

        with monkeypatch.context() as patch:
            patch.setattr(Metrics, "begin", late)
            house.hub.flush()
        assert outbox.take()
        clock.go(0.04)
        house.operations.update_task_progress("a", 1)
        clock.go(0.01)
        house.hub.flush()
        metrics = self.metrics(house)
        assert metrics.age.sum == pytest.approx(0.01)
        assert sum(metrics.age.counts) == 2

    def test_an_update_looks_at_no_clock_while_the_flusher_is_awake(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A million updates between two flushes are measured as one wake-up, and cost as if nothing were."""
        house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        woken: list[bool] = []
        monkeypatch.setattr(Metrics, "woken", lambda self: woken.append(True))
        house.hub._awake = house.hub._wanted = False
        for step in range(100):
            house.operations.update_task_progress("a", percent=step)
        assert woken == [True]

    def test_what_waited_for_a_slow_viewer_is_no_age_of_a_change(self, house: House, clock: Clock) -> None:
        """A flush that only gives what was missed is measured, but says nothing of how fresh changes are."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.update_task_progress("a", 1)
        house.hub.flush()
        metrics = self.metrics(house)
        assert (metrics.behind_now, sum(metrics.behind.counts)) == (1, 1)  # the second flush gave nobody anything
        house.hub._awake = house.hub._wanted = False
        outbox.take()
        clock.go(5)
        house.hub.flush()
        assert (sum(metrics.age.counts), sum(metrics.duration.counts), metrics.behind_now) == (1, 2, 0)

    def test_bytes_are_those_of_all_frames_of_all_viewers(self, house: House) -> None:
        """Also where a long poll takes a part of a flush only."""
        outboxes = [house.viewer("ann")[1] for _ in range(3)]
        outboxes[0].polling = True
        for number in range(15):
            house.operations.create_task(f"t{number}", "ann")
        house.hub.flush()
        assert [len(outbox.flushes[0]) for outbox in outboxes] == [10, 15, 15]
        assert self.metrics(house).bytes.sum == sum(sum(outbox.sizes) for outbox in outboxes)
        assert sum(self.metrics(house).bytes.counts) == 1

    def test_a_look_that_tells_nobody_is_no_flush(self, house: House) -> None:
        """Else a quiet server would look quick, and a busy one with it."""
        house.viewer("ann")
        house.operations.create_task("a", "eve")
        house.hub.flush()
        house.hub.flush()
        assert sum(self.metrics(house).duration.counts) == 0

    def test_labels_are_few_whatever_comes(self) -> None:
        """`identify` may raise with any code: it makes no series of its own."""
        metrics = Metrics()
        before = set(metrics.refusals), set(metrics.closings)
        for code in ("limit", "user-4711", "user-4712"):
            metrics.refused(code)
        for reason in ("takes nothing", "could not be told"):
            metrics.closed(reason)
        assert (set(metrics.refusals), set(metrics.closings)) == before
        assert (metrics.refusals["limit"], metrics.refusals["other"]) == (1, 2)
        assert metrics.closings == {"slow": 1, "flood": 0, "error": 1}
        assert set(metrics.refusals) == REFUSALS | {"other"}


class TestOff:
    def test_there_is_no_page_and_nothing_is_measured(self) -> None:
        """404, as for any other page that is not there, whatever is sent."""
        app = made()
        assert app.extensions["realtime"].hub.metrics is None
        for token in (None, TOKEN, "None", ""):
            for page in ("metrics", "servers"):
                assert scrape(app, token, page, **{"X-User": "ann"}).status_code == 404


class TestRights:
    @pytest.mark.parametrize(("page", "kind"), [("metrics", "text/plain"), ("servers", "application/json")])
    def test_whoever_has_the_token(self, page: str, kind: str) -> None:
        """Not to be kept."""
        answer = scrape(made(REALTIME_METRICS=TOKEN), page=page)
        assert (answer.status_code, answer.mimetype) == (200, kind)
        assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("page", PAGES)
    @pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é" * 16])
    def test_nobody_else(self, token: str | None, page: str) -> None:
        """401 that names the scheme; nothing of the token."""
        answer = scrape(made(REALTIME_METRICS=TOKEN), token, page)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "realtime_" not in answer.text
        assert "viewers" not in answer.text
        assert TOKEN not in answer.text

    @pytest.mark.parametrize("page", PAGES)
    def test_no_viewer(self, page: str) -> None:
        """Neither a login nor a ticket of a user or task, as a header or in the address; nor being on this machine."""
        app = made(REALTIME_METRICS=TOKEN)
        rt: Realtime = app.extensions["realtime"]
        for ticket in (rt.ticket("ann"), rt.ticket(task_id="a")):
            assert scrape(app, ticket, page, **{"X-User": "ann"}).status_code == 401
            assert app.test_client().get(f"/realtime/v1/{page}?ticket={ticket}").status_code == 401
        assert app.test_client().get(f"/realtime/v1/{page}?token={TOKEN}").status_code == 401
        basic = {"Authorization": f"Basic {TOKEN}", "X-User": "ann"}
        assert app.test_client().get(f"/realtime/v1/{page}", headers=basic).status_code == 401
        local = {"REMOTE_ADDR": "127.0.0.1"}
        assert app.test_client().get(f"/realtime/v1/{page}", environ_overrides=local).status_code == 401

    def test_the_token_opens_nothing_else(self) -> None:
        """It is no ticket."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert made(REALTIME_METRICS=TOKEN).test_client().get("/realtime/v1/tasks", headers=headers).status_code == 401

    def test_a_scraper_reads_only(self) -> None:
        """405 for a POST, with or without the token."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        app = made(REALTIME_METRICS=TOKEN)
        for page in PAGES:
            assert app.test_client().post(f"/realtime/v1/{page}", headers=headers).status_code == 405

    def test_the_token_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nor shown by the config."""
        with caplog.at_level(logging.DEBUG):
            app = made(REALTIME_METRICS=TOKEN)
            scrape(app)
            scrape(app, "wrong")
        assert TOKEN not in caplog.text + repr(app.extensions["realtime"].config)


class TestExposition:
    def test_what_there_is(self) -> None:
        """Every series with its value, of an app with two tasks and nobody who watches."""
        app = made(REALTIME_METRICS=TOKEN)
        rt: Realtime = app.extensions["realtime"]
        rt.create_task("a", "ann")
        rt.create_task("b", "ann")
        rt.complete_task("b")
        assert rt.hub.metrics is not None
        rt.hub.metrics.duration.observe(0.002)
        rt.hub.metrics.duration.observe(60)
        found = samples(app)
        assert found["realtime_tasks", "unfinished"] == found["realtime_tasks", "finished"] == 1
        assert found["realtime_flush_duration_seconds_bucket", "0.001"] == 0
        assert found["realtime_flush_duration_seconds_bucket", "0.0025"] == 1
        assert found["realtime_flush_duration_seconds_bucket", "+Inf"] == 2
        assert found["realtime_flush_duration_seconds_count",] == 2
        assert found["realtime_flush_duration_seconds_sum",] == pytest.approx(60.002)
        assert {name for name, *_ in found if not name.endswith(("_bucket", "_sum", "_count"))} == {
            "realtime_flushes_total", "realtime_encodes_total", "realtime_frames_total", "realtime_viewers",
            "realtime_viewers_connected_total", "realtime_viewers_disconnected_total", "realtime_viewers_behind",
            "realtime_viewers_refused_total", "realtime_viewers_closed_total", "realtime_rooms", "realtime_tasks",
            "realtime_jobs", "realtime_changes_total", "realtime_store_reachable", "realtime_server_viewers",
            "realtime_server_viewers_connected_total", "realtime_server_changes_total", "realtime_server_frames_total",
        }  # fmt: skip

    def test_what_waits_for_a_store_that_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where updates are kept meanwhile."""
        app = made(REALTIME_METRICS=TOKEN)
        registry = app.extensions["realtime"].registry
        buffer = Buffer(5, registry.get, lambda nonce: contextlib.nullcontext())
        monkeypatch.setattr(type(registry), "buffer", buffer)
        registry.create(NewTask("a"))

        def away(*_: object) -> Any:
            raise RegistryUnavailable("away")

        buffer.update(away, "a", ("waits", None, None, None, None, None, None))
        found = samples(app)
        assert (found["realtime_tasks_buffered",], found["realtime_updates_dropped_total",]) == (1, 0)
        buffer.close()
        assert samples(app)["realtime_tasks_buffered",] == 0

    def test_each_server_of_a_shared_store_whichever_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As it has said of late; two of one name are one series."""
        app = made(REALTIME_METRICS=TOKEN)
        presence = app.extensions["realtime"].presence
        found = presence.overview()
        (own,) = found.servers
        others = [
            msgspec.structs.replace(own, id=name, pid=pid, viewers=5) for name, pid in (("x", 1), ("y", 1), ("z", 2))
        ]
        full = msgspec.structs.replace(found, servers=[own, *others])
        monkeypatch.setattr(presence, "overview", lambda: full)
        viewers = {key[1]: value for key, value in samples(app).items() if key[0] == "realtime_server_viewers"}
        assert viewers == {f"{own.host}:{own.pid}": 0, f"{own.host}:1": 10, f"{own.host}:2": 5}

    def test_the_document_names_the_page_of_servers_where_it_is(self) -> None:
        """With a key of its own; and what is answered is as described."""
        app = made(REALTIME_METRICS=TOKEN)
        document = app.test_client().get("/realtime/v1/openapi.json").get_json()
        described = document["paths"]["/servers"]["get"]
        assert described["security"] == [{"metricsToken": []}]
        assert described["responses"]["200"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Overview"
        }
        validate(document)
        answer = scrape(app, page="servers").get_json()
        parts = document["components"]
        jsonschema.validate(answer, {**parts["schemas"]["Overview"], "components": parts})
        assert "/servers" not in made().test_client().get("/realtime/v1/openapi.json").get_json()["paths"]

    def test_no_series_of_a_user_or_a_task(self) -> None:
        """More of them make no more text."""
        app = made(REALTIME_METRICS=TOKEN)
        before = samples(app)
        for number in range(20):
            app.extensions["realtime"].create_task(f"task-{number}", f"user-{number}")
        assert samples(app).keys() == before.keys()
        assert "user-" not in scrape(app).text

    def test_openmetrics_for_whoever_asks_for_it(self) -> None:
        """By the ``Accept`` that Prometheus sends."""
        answer = scrape(
            made(REALTIME_METRICS=TOKEN), Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        )
        assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
        assert "realtime_viewers_behind" in {family.name for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]

    def test_two_apps_measure_apart_and_touch_nothing_of_the_process(self) -> None:
        """A registry of its own for each; the process's own stays the host's."""
        first, second = made(REALTIME_METRICS=TOKEN), made(REALTIME_METRICS=TOKEN)
        first.extensions["realtime"].create_task("a", "ann")
        assert samples(first)["realtime_tasks", "unfinished"] == 1
        assert samples(second)["realtime_tasks", "unfinished"] == 0
        assert not [family.name for family in REGISTRY.collect() if family.name.startswith("realtime_")]
