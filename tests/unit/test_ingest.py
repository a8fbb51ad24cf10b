"""Ingest over HTTP, on Flask's test client: what workers say, who may say it, and what they are told."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, request
from werkzeug.test import TestResponse

from realtime import keys
from realtime.auth import Grant
from realtime.config import Config
from realtime.errors import RegistryUnavailable
from realtime.keys import Keys
from realtime.registry.leases import WORKER_LOST
from realtime.registry.memory import MemoryRegistry
from realtime.task import Task
from realtime.transport import asyncapi, http, ingest, openapi, schema
from realtime.transport.commands import Commands
from realtime.transport.idempotency import MAX_ANSWERS, Answer, Idempotency
from realtime.transport.ingest import Ingest
from realtime.transport.requests import MAX_BODY, MAX_OPERATIONS
from support.watching import House

#: Every address of ingest, with a body that it takes.
ADDRESSES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/tasks", {"user_id": "ann", "task_id": "new"}),
    ("PATCH", "/tasks/a", {"percent": 40}),
    ("POST", "/tasks/a/start", {}),
    ("POST", "/tasks/a/output", {"text": "line\n"}),
    ("POST", "/tasks/a/heartbeat", {"lease": 30}),
    ("POST", "/tasks/a/complete", {"result": [1]}),
    ("POST", "/tasks/a/fail", {"error": "no"}),
    ("POST", "/tasks/a/cancel", {"done": True}),
    ("POST", "/tasks/a/acknowledge_cancel", {}),
    ("POST", "/tasks/a/retry", {"new_task_id": "b"}),
    ("POST", "/batch", {"operations": [{"op": "complete", "task_id": "a"}]}),
]


class Site(House):
    """An app with ingest, and a worker's hand on it."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        super().__init__(config)
        self.path = folder / "keys.json"
        self.commands = Commands(self.operations, self.hub)
        self.static_folder = folder
        self.exposition: http.Scraped | None = None
        self.ingest = Ingest(self.registry, self.config, Keys(self.path))
        #: How often the app was asked who it is.
        self.identified = 0
        self.app = Flask("site")
        self.app.register_blueprint(http.blueprint(self), url_prefix="/realtime")
        self.key = self.make_key()

    def make_key(self, *scopes: str) -> str:
        return keys.create(self.path, scopes or keys.ACTIONS)[0]

    def authorise(self, environ: dict[str, Any], ticket: str | None) -> Grant | None:
        """Everybody is ``ann``, by a cookie."""
        self.identified += 1
        return Grant("ann")

    def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = "", headers: dict[str, str] | None = None,
        data: bytes | None = None, media: str = "application/json", **environ: Any,
    ) -> TestResponse:  # fmt: skip
        """A request below ``/realtime/v1``; ``body`` goes as JSON, ``data`` as it is. ``key`` None: without one."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key or self.key}")
        if body is not None:
            data = json.dumps(body).encode()
        content: dict[str, Any] = {} if data is None else {"data": data, "content_type": media}
        extra = {name.replace("__", "."): value for name, value in environ.items()}
        return self.app.test_client().open(
            f"/realtime/v1{path}", method=method, headers=sent, environ_overrides=extra, **content
        )

    def form(self, method: str, path: str, text: str) -> TestResponse:
        """What ``curl -d`` sends."""
        return self.send(method, path, data=text.encode(), media="application/x-www-form-urlencoded")

    def task(self, task_id: str = "a", user_id: str = "ann", **options: Any) -> Task:
        return self.operations.create_task(task_id, user_id, **options)

    def now(self, task_id: str = "a") -> Task:
        """The task as it is."""
        return self.operations.require(task_id)

    def all(self) -> list[dict[str, Any]]:
        """Everything there is."""
        return [task.as_dict() for task in self.registry.unfinished()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def told(response: TestResponse) -> Any:
    """What an answer holds; of an error its status and code."""
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json is not None
    if response.status_code >= 400:
        assert set(response.json) == {"error"}
        assert {"code", "message"} <= set(response.json["error"]) <= {"code", "message", "field", "task_id", "status"}
        return response.status_code, response.json["error"]["code"]
    return response.json


def field(response: TestResponse) -> str:
    """The field that a 422 names, which its message begins with."""
    assert told(response) == (422, "invalid"), response.json
    assert response.json is not None
    problem: dict[str, str] = response.json["error"]
    assert problem["message"].startswith(problem["field"])
    return problem["field"]


class TestLife:
    def test_a_task_from_its_start_to_its_end(self, site: Site) -> None:
        """Each answer is the whole snapshot, with its entity tag."""
        made = site.send(
            "POST", "/tasks",
            {"user_id": 42, "task_id": "a", "name": "Transcode", "status": "pending", "total": 10, "unit": "s",
             "metadata": {"k": [1]}, "cancellable": True, "groups": ["team:7"], "message": "Queued"},
        )  # fmt: skip
        assert made.status_code == 201
        assert made.headers["Location"] == "/realtime/v1/tasks/a"
        assert told(made) == site.now().as_dict()
        task = site.now()
        assert (task.user_id, task.name, task.status, task.total, task.groups) == (
            "42", "Transcode", "pending", 10, ("team:7",),
        )  # fmt: skip
        assert (task.metadata, task.cancellable, task.message) == ({"k": [1]}, True, "Queued")
        for method, path, body, expected in (
            ("POST", "/start", None, {"status": "processing"}),
            ("PATCH", "", {"current": 4, "message": "Frames"}, {"status": "processing"}),
            ("PATCH", "", {"advance": 2, "unit": "frames", "metadata": {}, "total": 12}, {"metadata": {}}),
            ("POST", "/complete", {"result": {"url": "/x"}}, {"status": "completed", "result": {"url": "/x"}}),
        ):
            answer = site.send(method, f"/tasks/a{path}", body)
            assert answer.status_code == 200
            assert answer.headers["ETag"] == site.now().etag
            assert told(answer) == site.now().as_dict()
            assert expected.items() <= told(answer).items()
        task = site.now()
        assert (task.current, task.total, task.progress.unit, task.percent) == (6, 12, "frames", 100)

    def test_whole_numbers_stay_whole(self, site: Site) -> None:
        """As they were sent: 40 does not become 40.0."""
        site.task(total=200)
        answer = site.send("PATCH", "/tasks/a", {"current": 40})
        assert b'"current":40,"total":200,' in answer.data

    def test_failing(self, site: Site) -> None:
        """With all that an error may say."""
        site.task()
        body = {"error": "Disk full", "code": "disk", "type": "OSError", "retryable": True, "details": {"free": 0}}
        assert told(site.send("POST", "/tasks/a/fail", body))["error"] == {
            "type": "OSError", "message": "Disk full", "code": "disk", "retryable": True, "details": {"free": 0},
        }  # fmt: skip

    def test_output(self, site: Site) -> None:
        """To a stream; answered is where that ends, and whether somebody wants the task to stop."""
        site.task()
        first = told(site.send("POST", "/tasks/a/output", {"text": "é\n"}))
        assert first == {"task_id": "a", "stream": "output", "end": 3, "cancel_requested_at": None}
        raw = site.send("POST", "/tasks/a/output?stream=err", data="ü!".encode(), media="text/plain; charset=utf-8")
        assert told(raw)["end"] == 3
        site.operations.cancel_task("a")
        assert told(site.send("POST", "/tasks/a/output", {"text": "x"}))["cancel_requested_at"] is not None
        assert site.registry.output_ends("a") == {"output": 4, "err": 3}

    def test_a_heartbeat(self, site: Site) -> None:
        """The task is leased, for half a minute unless told otherwise; a worker that comes late is refused."""
        site.task()
        for body, lease in ((None, 30), ({"lease": 1.5}, 1.5)):
            assert told(site.send("POST", "/tasks/a/heartbeat", body)) == site.now().as_dict()
            assert site.now().info.lease == lease
        assert site.form("POST", "/tasks/a/heartbeat", "lease=60").status_code == 200
        assert site.now().info.lease == 60
        site.registry.fail("a", WORKER_LOST)
        assert told(site.send("POST", "/tasks/a/heartbeat")) == (409, "already_finished")

    def test_an_id_is_made(self, site: Site) -> None:
        """If none is given; a task without an owner says so."""
        made = told(site.send("POST", "/tasks", {"user_id": None}))
        assert made["user"] is None
        assert len(made["task_id"]) == 24

    def test_exist_ok(self, site: Site) -> None:
        """The same owner's unfinished task is answered, and 200 says that it is not new."""
        body = {"user_id": "ann", "task_id": "a", "exist_ok": True}
        assert [site.send("POST", "/tasks", body).status_code for _ in range(2)] == [201, 200]
        assert told(site.send("POST", "/tasks", {**body, "exist_ok": False})) == (409, "exists")
        assert told(site.send("POST", "/tasks", {**body, "user_id": "eve"})) == (409, "exists")

    def test_cancelling(self, site: Site) -> None:
        """A request to stop is 202; the worker's answer ends the task."""
        site.task()
        assert site.send("POST", "/tasks/a/cancel").status_code == 202
        assert site.now().cancel_requested_at is not None
        ended = site.send("POST", "/tasks/a/cancel", {"done": True})
        assert (ended.status_code, told(ended)["status"]) == (200, "cancelled")

    @pytest.mark.parametrize(
        ("said", "message"), [({}, "Starting..."), ({"message": None}, None), ({"message": ""}, "")]
    )
    def test_the_first_message(self, site: Site, said: dict[str, Any], message: str | None) -> None:
        """Left out it is the usual one; null is none, alone and in a batch."""
        body = {"user_id": "ann", **said}
        assert told(site.send("POST", "/tasks", body))["progress"]["message"] == message
        [made] = told(site.send("POST", "/batch", {"operations": [{"op": "create", **body}]}))["results"]
        assert made["task"]["progress"]["message"] == message

    def test_reading_listing_and_removing(self, site: Site) -> None:
        """By a key, whosever the task is."""
        site.task("a", "ann")
        site.task("b", "bob")
        assert told(site.send("GET", "/tasks?user_id=bob"))["tasks"] == [site.now("b").as_dict()]
        assert field(site.send("GET", "/tasks")) == "user_id"
        read = site.send("GET", "/tasks/b")
        assert read.json == site.now("b").as_dict()
        again = site.send("GET", "/tasks/b", headers={"If-None-Match": read.headers["ETag"]})
        assert again.status_code == 304
        assert field(site.send("DELETE", "/tasks/b")) == "task_id"
        site.operations.complete_task("b")
        assert site.send("DELETE", "/tasks/b").status_code == 204
        assert told(site.send("GET", "/tasks/b")) == (404, "not_found")

    def test_waiting_for_the_next_version(self, site: Site) -> None:
        """As viewers do; a worker may wait for more tasks than a page does."""
        task = site.task()
        site.concurrency.mode = "threading"
        cursor = task.etag.strip('"')
        assert site.send("GET", f"/tasks/a?after={cursor}&wait=0").status_code == 304
        parked: list[Any] = []
        for _ in range(http.MAX_WAITS_PER_USER + 5):
            answer = site.send("GET", f"/tasks/a?after={cursor}", realtime__park=parked)
            assert answer.status_code == 204
        site.operations.cancel_task("a")
        assert told(site.send("GET", f"/tasks/a?after={cursor}"))["cancel_requested_at"] is not None

    def test_one_key_does_not_hold_all_waits(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Half of them at most, and it is told to come back; others find room."""
        monkeypatch.setattr(http, "MAX_WAITS", 10)
        path = f"/tasks/a?after={site.task().etag.strip(chr(34))}"
        other = site.make_key()
        parked: list[Any] = []
        answers = [site.send("GET", path, realtime__park=parked) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [204] * 5 + [429]
        assert answers[5].headers["Retry-After"] == "1"
        assert "this worker key" in answers[5].get_json()["error"]["message"]
        assert site.send("GET", path, key=other, realtime__park=parked).status_code == 204
        assert site.send("GET", path, key=None, realtime__park=parked).status_code == 204

    def test_parts(self, site: Site) -> None:
        """A group of two, one of them by a form; it ends with them, and takes no more then."""
        made = site.send("POST", "/tasks", {"user_id": "ann", "task_id": "g", "children": 2})
        assert made.json is not None
        assert made.json["children"]["total"] == 2
        site.send("POST", "/tasks", {"user_id": "ann", "task_id": "a", "parent_id": "g", "weight": 3})
        site.form("POST", "/tasks", "user_id=ann&task_id=b&parent_id=g&weight=1")
        site.send("PATCH", "/tasks/a", {"percent": 40})
        read = site.send("GET", "/tasks/g")
        assert read.json is not None
        assert (read.json["progress"]["percent"], read.json["children"]["processing"]) == (30.0, 2)
        for task_id in "ab":
            site.send("POST", f"/tasks/{task_id}/complete")
        assert site.now("g").result == {"completed": 2}
        late = site.send("POST", "/tasks", {"user_id": "ann", "parent_id": "g"})
        assert told(late) == (409, "already_finished")
        assert late.json is not None
        assert (late.json["error"]["task_id"], late.json["error"]["status"]) == ("g", "completed")
        for body, named in (
            ({"parent_id": "none"}, "parent_id"), ({"parent_id": "a b"}, "parent_id"), ({"weight": -1}, "weight"),
            ({"children": 10_001}, "children"), ({"children": 1.5}, "children"),
        ):  # fmt: skip
            assert field(site.send("POST", "/tasks", {"user_id": "ann", **body})) == named

    def test_retrying(self, site: Site) -> None:
        """The first one makes the next attempt, and says where it is; the second finds it; a batch does, too."""
        site.task()
        assert field(site.send("POST", "/tasks/a/retry")) == "task_id"
        site.send("POST", "/tasks/a/fail", {"error": "no"})
        made = site.send("POST", "/tasks/a/retry", {"new_task_id": "b"})
        assert made.json is not None
        assert (made.status_code, made.headers["Location"]) == (201, "/realtime/v1/tasks/b")
        assert (made.json["task_id"], made.json["attempt"], made.json["retry_of"]) == ("b", 2, "a")
        again = site.send("POST", "/tasks/a/retry")
        assert again.json is not None
        assert (again.status_code, again.json["task_id"]) == (200, "b")
        site.send("POST", "/tasks/b/cancel", {"done": True})
        assert field(site.send("POST", "/tasks/a/retry")) == "task_id"
        operations = [{"op": "retry", "task_id": "b", "if_match": "x.1"}, {"op": "retry", "task_id": "b"}]
        key = site.make_key("report", "control", "read")
        assert told(site.send("POST", "/tasks/b/retry", key=key)) == (403, "insufficient_scope")
        refused, made_third = told(site.send("POST", "/batch", {"operations": operations}))["results"]
        assert (refused["status"], refused["error"]["field"]) == (422, "if_match")
        assert (made_third["status"], made_third["task"]["attempt"]) == (201, 3)

    def test_the_same_end_again_changes_nothing(self, site: Site) -> None:
        """Another is refused, and the error says how it ended."""
        site.task()
        first, second = (site.send("POST", "/tasks/a/complete") for _ in range(2))
        assert first.data == second.data
        refused = site.send("POST", "/tasks/a/fail", {"error": "late"})
        assert told(refused) == (409, "already_finished")
        assert refused.json is not None
        assert refused.json["error"]["status"] == "completed"
        assert told(site.send("PATCH", "/tasks/a", {"percent": 1})) == (409, "already_finished")


class TestForms:
    def test_curl_d(self, site: Site) -> None:
        """Numbers, words for true and false, JSON for objects, a field several times for a list."""
        text = urlencode(
            [("user_id", "42"), ("task_id", "a"), ("name", "A & B"), ("total", "10"), ("cancellable", "true"),
             ("groups", "x"), ("groups", "y"), ("metadata", '{"k": 1}'), ("exist_ok", "0")]
        )  # fmt: skip
        assert site.form("POST", "/tasks", text).status_code == 201
        task = site.now()
        assert (task.user_id, task.name, task.total, task.cancellable, task.groups, task.metadata) == (
            "42", "A & B", 10, True, ("x", "y"), {"k": 1},
        )  # fmt: skip
        assert told(site.form("PATCH", "/tasks/a", "percent=40.5&message=50%25+done"))["progress"]["percent"] == 40.5
        assert site.now().message == "50% done"
        assert told(site.form("PATCH", "/tasks/a", "percent=&message=")) == site.now().as_dict()
        assert told(site.form("POST", "/tasks/a/complete", "result=done"))["result"] == "done"

    @pytest.mark.parametrize(
        ("text", "result"),
        [("7", 7), ("[1, 2]", [1, 2]), ('"7"', "7"), ("NaN", "NaN"), ("", ""), ("null", None), ("{", "{")],
    )
    def test_a_result_is_json_if_it_is_json(self, site: Site, text: str, result: Any) -> None:
        """Else it is the text."""
        site.task()
        assert told(site.form("POST", "/tasks/a/complete", urlencode({"result": text})))["result"] == result

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("percent=forty", "percent"),
            ("percent=101", "percent"),
            ("percent=nan", "percent"),
            ("percent=1e999", "percent"),
            ("percent=true", "percent"),
            ("percent=1&percent=2", "percent"),
            ("metadata=x", "metadata"),
            ("metadata=[1]", "metadata"),
            ("percnt=1", "percnt"),
        ],
    )
    def test_what_a_field_cannot_be(self, site: Site, text: str, named: str) -> None:
        """The error names it, and nothing is changed."""
        before = site.task()
        assert field(site.form("PATCH", "/tasks/a", text)) == named
        assert site.now() == before

    def test_a_form_that_the_app_has_read_already(self, site: Site) -> None:
        """A handler before every request, such as one that looks for a CSRF token, leaves nothing to read."""
        seen: list[str] = []
        site.app.before_request(lambda: seen.append(request.form.get("percent", "")))
        site.task()
        assert told(site.form("PATCH", "/tasks/a", "percent=40"))["progress"]["percent"] == 40
        assert seen == ["40"]


class TestBodies:
    @pytest.mark.parametrize(
        ("method", "path", "body", "named"),
        [
            ("POST", "/tasks", {}, "user_id"),
            ("POST", "/tasks", {"user_id": True}, "user_id"),
            ("POST", "/tasks", {"user_id": ""}, "user_id"),
            ("POST", "/tasks", {"user_id": "a\x00b"}, "user_id"),
            ("POST", "/tasks", {"user_id": "a", "task_id": "a b"}, "task_id"),
            ("POST", "/tasks", {"user_id": "a", "status": "completed"}, "status"),
            ("POST", "/tasks", {"user_id": "a", "name": "x" * 201}, "name"),
            ("POST", "/tasks", {"user_id": "a", "total": -1}, "total"),
            ("POST", "/tasks", {"user_id": "a", "groups": ["a"] * 9}, "groups"),
            ("POST", "/tasks", {"user_id": "a", "groups": "a"}, "groups"),
            ("POST", "/tasks", {"user_id": "a", "metadata": {"k": "x" * 17_000}}, "metadata"),
            ("POST", "/tasks", {"user_id": "a", "user": "b"}, "user"),
            ("PATCH", "/tasks/a", {"percent": 100.5}, "percent"),
            ("PATCH", "/tasks/a", {"percent": "40"}, "percent"),
            ("PATCH", "/tasks/a", {"current": 2**53 + 2}, "current"),
            ("PATCH", "/tasks/a", {"message": "x" * 2_001}, "message"),
            ("PATCH", "/tasks/a", {"message": 7}, "message"),
            ("PATCH", "/tasks/a", {"unit": "x" * 41}, "unit"),
            ("PATCH", "/tasks/a", [], "body"),
            ("PATCH", "/tasks/a", "x", "body"),
            ("POST", "/tasks/a/start", {"x": 1}, "x"),
            ("POST", "/tasks/a/heartbeat", {"lease": 0}, "lease"),
            ("POST", "/tasks/a/heartbeat", {"lease": 90_000}, "lease"),
            ("POST", "/tasks/a/output", {}, "text"),
            ("POST", "/tasks/a/output", {"text": "x", "stream": "a b"}, "stream"),
            ("POST", "/tasks/a/complete", {"result": "x" * (256 * 1024)}, "result"),
            ("POST", "/tasks/a/fail", {}, "error"),
            ("POST", "/tasks/a/fail", {"error": "x", "details": [1]}, "details"),
            ("POST", "/tasks/a/fail", {"error": "x", "code": "x" * 65}, "code"),
            ("POST", "/tasks/a/cancel", {"done": "yes"}, "done"),
            ("POST", "/batch", {}, "operations"),
            ("POST", "/batch", {"operations": []}, "operations"),
            ("POST", "/batch", {"operations": [1]}, "operations[0]"),
            ("PATCH", "/tasks/a?stop_on_cancel=maybe", {}, "stop_on_cancel"),
        ],
    )
    def test_a_wrong_field_is_named(self, site: Site, method: str, path: str, body: Any, named: str) -> None:
        """And changes nothing."""
        site.task()
        before = site.all()
        assert field(site.send(method, path, body)) == named
        assert site.all() == before
        assert site.registry.output_ends("a") == {}

    @pytest.mark.parametrize(
        ("data", "media", "status"),
        [
            (b"{", "application/json", 400),
            (b'{"percent": NaN}', "application/json", 400),
            (b'{"percent": 1e999}', "application/json", 400),
            (b'{"message": "\xff"}', "application/json", 400),
            (b'{"message": "\\ud800"}', "application/json", 400),
            (b'{"metadata": ' + b"[" * 100_000, "application/json", 400),
            (b"message=%FF", "application/x-www-form-urlencoded", 400),
            (b"\xff=1", "application/x-www-form-urlencoded", 400),
            (b"a=1&" * 300, "application/x-www-form-urlencoded", 400),
            (b"percent=40", "multipart/form-data; boundary=x", 415),
            (b"40", "text/plain", 415),
            (b"40", "", 415),
        ],
    )
    def test_what_cannot_be_read(self, site: Site, data: bytes, media: str, status: int) -> None:
        """Is told as such, without a traceback."""
        before = site.task()
        assert told(site.send("PATCH", "/tasks/a", data=data, media=media))[0] == status
        assert site.now() == before

    def test_the_bound_on_bytes(self, site: Site, tmp_path: Path) -> None:
        """A longer body is not read; where results may be longer, so may bodies."""
        site.task()
        text = b'{"message": "x"}'
        assert site.send("PATCH", "/tasks/a", data=text.ljust(MAX_BODY)).status_code == 200
        assert told(site.send("PATCH", "/tasks/a", data=text.ljust(MAX_BODY + 1))) == (413, "request_entity_too_large")
        long = site.send("PATCH", "/tasks/a", data=b"", CONTENT_LENGTH=str(10**12))
        assert told(long) == (413, "request_entity_too_large")
        endless = site.send("PATCH", "/tasks/a", headers={"Transfer-Encoding": "chunked"})
        assert told(endless) == (411, "length_required")
        (tmp_path / "more").mkdir()
        more = Site(tmp_path / "more", Config(max_result=2 * 1024 * 1024))
        more.task()
        assert more.send("POST", "/tasks/a/complete", {"result": "x" * 2_000_000}).status_code == 200

    def test_no_body_is_an_empty_one(self, site: Site) -> None:
        """``curl -X POST …/complete``."""
        site.task()
        assert told(site.send("POST", "/tasks/a/complete"))["status"] == "completed"

    @pytest.mark.parametrize("task_id", ["none", "a%20b", "%FF", "x" * 200, "a%00"])
    def test_an_id_that_no_task_has(self, site: Site, task_id: str) -> None:
        """404, whether or not one could have it."""
        for method, path, body in ADDRESSES[1:8]:
            assert told(site.send(method, path.replace("/a", f"/{task_id}", 1), body)) == (404, "not_found")


class TestKeys:
    @pytest.mark.parametrize(
        ("method", "path", "body"), [address for address in ADDRESSES if address[1] != "/tasks/a/cancel"]
    )
    def test_without_a_key_nothing_is_opened(self, site: Site, method: str, path: str, body: dict[str, Any]) -> None:
        """Neither a cookie nor a ticket nor a key that is none of ours, nor one that was revoked."""
        site.task()
        before = site.all()
        gone = site.make_key()
        keys.revoke(site.path, gone.split("_")[1])
        for header in ("", "Bearer ticket", f"Basic {site.key}", f"Bearer {site.key}x", f"Bearer {gone}", "Bearer"):
            answer = site.send(method, path, body, key=None, headers={"Authorization": header, "Cookie": "session=ann"})
            assert told(answer)[0] == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert site.identified == 0
        assert site.all() == before

    def test_a_viewers_cancel_is_never_done(self, site: Site) -> None:
        """A cookie may ask a task to stop, and no more: ``done`` is the worker's. A bad key is no cookie."""
        site.task()
        assert told(site.send("POST", "/tasks/a/cancel", {"done": True}, key=f"{site.key}x")) == (401, "key_invalid")
        answer = site.send("POST", "/tasks/a/cancel", {"done": True}, key=None)
        assert (answer.status_code, site.now().status) == (202, "processing")

    def test_the_apps_own_tokens_are_no_keys(self, site: Site) -> None:
        """What does not look like a key is for ``identify``, and for tickets, as ever."""
        site.task()
        for token in ("rt_of_another_service", "rt_0123", "eyJhbGciOi"):
            assert site.send("GET", "/tasks/a", key=token).status_code == 200
        assert site.identified == 3
        assert told(site.send("GET", "/tasks/a", key=f"{site.key[:12]}x")) == (401, "key_invalid")
        assert site.identified == 3

    @pytest.mark.parametrize(("method", "path", "body"), ADDRESSES)
    def test_a_page_of_another_site_can_do_nothing(
        self, site: Site, method: str, path: str, body: dict[str, Any]
    ) -> None:
        """Its browser sends cookies, and no key; and it is told nothing of what it may do."""
        site.task()
        before = site.all()
        origin = {"Origin": "https://evil.example", "Cookie": "session=ann"}
        media = "application/x-www-form-urlencoded"
        answers = [site.send(method, path, data=b"percent=40", media=media, key=None, headers=origin)]
        asked = {**origin, "Access-Control-Request-Headers": "authorization", "Access-Control-Request-Method": method}
        answers.append(site.send("OPTIONS", path, key=None, headers=asked))
        assert [answer.status_code for answer in answers] == [403, 403]
        for answer in answers:
            assert "access-control" not in str(answer.headers).lower()
            assert "evil.example" not in str(answer.headers)
        assert site.all() == before

    def test_a_worker_may_know_the_server_by_another_name(self, tmp_path: Path) -> None:
        """The names that browsers may use are no affair of a worker's in the same network."""
        site = Site(tmp_path, Config(allowed_hosts=("app.example",)))
        site.task()
        assert site.send("PATCH", "/tasks/a", {"percent": 1}).status_code == 200
        assert told(site.send("GET", "/tasks/a", key=None)) == (403, "origin_not_allowed")

    @pytest.mark.parametrize(
        ("method", "path", "body", "scope"),
        [
            *((*address, "create" if address[1] == "/tasks" else "report") for address in ADDRESSES[:-2]),
            ("POST", "/tasks/a/cancel", {}, "control"),
            ("GET", "/tasks/a", None, "read"),
            ("GET", "/tasks?user_id=ann", None, "read"),
            ("DELETE", "/tasks/b", None, "control"),
        ],
    )
    def test_scopes(self, site: Site, method: str, path: str, body: Any, scope: str) -> None:
        """The one that is needed is enough, and all others are not."""
        site.task()
        site.task("b")
        site.operations.complete_task("b")
        others = [action for action in keys.ACTIONS if action != scope]
        if (method, path) == ("GET", "/tasks/a"):
            others.remove("report")  # who reports on a task sees it in each answer
        refused = site.send(method, path, body, key=site.make_key(*others))
        assert told(refused) == (403, "insufficient_scope")
        assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
        assert site.send(method, path, body, key=site.make_key(scope)).status_code < 300

    def test_a_batch_needs_the_scope_of_each(self, site: Site) -> None:
        """The others are done."""
        site.task()
        operations = [{"op": "create", "user_id": "ann"}, {"op": "update", "task_id": "a", "percent": 4}]
        answer = told(site.send("POST", "/batch", {"operations": operations}, key=site.make_key("report")))
        assert [result["status"] for result in answer["results"]] == [403, 200]

    def test_a_bound_key(self, site: Site) -> None:
        """Others' tasks look like none, and it makes none for them."""
        site.task("mine", "ann")
        site.task("other", "bob")
        key = site.make_key(*keys.ACTIONS, "user:ann")
        for method, path, body in [*ADDRESSES[1:8], ("GET", "/tasks/a", None), ("DELETE", "/tasks/a", None)]:
            here, there = (
                site.send(method, path.replace("/a", f"/{task_id}", 1), body, key=key) for task_id in ("other", "none")
            )
            assert told(here) == told(there) == (404, "not_found")
            assert here.json is not None
            assert there.json is not None
            told_here = here.json["error"]["message"].replace("'other'", "'none'")
            assert told_here == there.json["error"]["message"]
        assert site.now("other").version == site.registry.unfinished()[1].version
        assert site.send("PATCH", "/tasks/mine", {"percent": 4}, key=key).status_code == 200
        assert told(site.send("POST", "/tasks", {"user_id": "bob"}, key=key)) == (403, "insufficient_scope")
        assert told(site.send("GET", "/tasks?user_id=bob", key=key)) == (403, "insufficient_scope")
        assert site.send("POST", "/tasks", {"user_id": "ann"}, key=key).status_code == 201

    def test_a_bound_key_links_to_no_parent_of_another(self, site: Site) -> None:
        """It is answered as if there were none, whosever the new task is; nor does it make others' next attempts."""
        site.task("other", "bob")
        site.task("shared", "bob", groups=("a",))
        site.send("POST", "/tasks/shared/fail", {"error": "no"})
        site.send("POST", "/tasks", {"user_id": None, "task_id": "loose", "groups": ["b"]})
        key = site.make_key(*keys.ACTIONS, "user:ann", "group:a")
        for body in ({"user_id": "ann"}, {"user_id": None, "groups": ["a"]}):
            texts = set()
            for parent_id in ("other", "loose", "none"):
                answer = site.send("POST", "/tasks", {**body, "parent_id": parent_id}, key=key)
                assert field(answer) == "parent_id"
                texts.add(answer.get_data(as_text=True).replace(parent_id, "…"))
            assert len(texts) == 1
        assert told(site.send("POST", "/tasks/shared/retry", key=key)) == (403, "insufficient_scope")
        assert site.now("shared").retried_by is None

    def test_a_key_bound_to_a_group_is_shown_no_task_of_another(self, site: Site) -> None:
        """Nobody owns either task, so that the owner alone would make them the same one."""
        site.send("POST", "/tasks", {"user_id": None, "task_id": "a", "groups": ["b"], "message": "secret"})
        key = site.make_key(*keys.ACTIONS, "group:a")
        body = {"user_id": None, "task_id": "a", "groups": ["a"], "exist_ok": True}
        answer = site.send("POST", "/tasks", body, key=key)
        assert told(answer) == (409, "exists")
        assert b"secret" not in answer.data
        batch = told(site.send("POST", "/batch", {"operations": [{"op": "create", **body}]}, key=key))
        assert [result["error"]["code"] for result in batch["results"]] == ["exists"]
        own = {**body, "task_id": "own"}
        assert [site.send("POST", "/tasks", own, key=key).status_code for _ in range(2)] == [201, 200]

    @pytest.mark.parametrize(("method", "path", "body"), [*ADDRESSES, ("GET", "/tasks", None), ("GET", "/nil", None)])
    def test_a_query_that_is_no_text(
        self, site: Site, caplog: pytest.LogCaptureFixture, method: str, path: str, body: Any
    ) -> None:
        """It is refused, whoever asks, and nothing is logged."""
        site.task()
        for headers in ({}, {"Idempotency-Key": "k"}):
            answer = site.send(method, path, body, headers=headers, QUERY_STRING="x=\xff")
            assert told(answer) == (400, "bad_request")
        assert site.now().percent is None
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert site.send(method, path, body, QUERY_STRING="user_id=\xc3\xa9").status_code != 400

    @pytest.mark.parametrize(("method", "path", "body"), [*ADDRESSES, ("GET", "/tasks/a", {})])
    def test_off_without_a_source_of_keys(self, tmp_path: Path, method: str, path: str, body: Any) -> None:
        """Its addresses are not found; viewers' are as ever."""
        site = Site(tmp_path)
        site.ingest = Ingest(site.registry, site.config, None)
        site.app = Flask("site")
        site.app.register_blueprint(http.blueprint(site), url_prefix="/realtime")
        site.task()
        answer = site.send(method, path, body)
        if path == "/tasks/a/cancel" or method == "GET":
            assert answer.status_code < 300
        else:
            assert told(answer) == (404, "not_found")
            assert told(site.send(method, path, body, key=None)) == (404, "not_found")

    def test_a_broken_file_of_keys_is_not_told(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        """The log has it; a worker is told that the server failed."""
        site.path.write_text("{")
        assert told(site.send("PATCH", "/tasks/a", {})) == (500, "internal")
        assert "is not a file of worker keys" in caplog.text

    def test_no_key_is_logged(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        """Neither a good one nor a bad one."""
        caplog.set_level(logging.DEBUG)
        site.task()
        site.send("PATCH", "/tasks/a", {"percent": 4})
        site.send("PATCH", "/tasks/a", {"percent": 4}, key=site.key + "x")
        assert "rt_" not in caplog.text


class TestConditions:
    def test_if_match(self, site: Site) -> None:
        """The version that is there, with quotes or without; ``*``; several; and no other."""
        site.task()
        for header in ("{0}", "*", '"x.1", {0}', "{1}"):
            etag = site.now().etag
            text = header.format(etag, etag.strip('"'))
            assert site.send("PATCH", "/tasks/a", {"percent": 1}, headers={"If-Match": text}).status_code == 200
        before = site.now()
        for header in ('"x.1"', f"W/{before.etag}", "", '"'):
            for method, path, body in ADDRESSES[1:8]:
                if path == "/tasks/a/start":
                    continue  # changes nothing, but for a pending task
                answer = site.send(method, path, body, headers={"If-Match": header})
                assert told(answer) == (412, "precondition_failed")
        assert site.now() == before

    def test_stop_on_cancel(self, site: Site) -> None:
        """409 once somebody has asked, and only that the worker knows is noted; the end is taken all the same."""
        site.task()
        for method, path, body in ADDRESSES[1:5]:
            assert site.send(method, f"{path}?stop_on_cancel=1", body).status_code == 200
        site.operations.cancel_task("a")
        before, written = site.now(), site.registry.output_ends("a")
        for method, path, body in ADDRESSES[1:5]:
            assert told(site.send(method, f"{path}?stop_on_cancel=1", body)) == (409, "cancel_requested")
        assert site.now().cancel_acknowledged_at is not None
        assert site.now().version == before.version + 1
        assert (site.now().progress, site.registry.output_ends("a")) == (before.progress, written)
        assert site.send("PATCH", "/tasks/a?stop_on_cancel=0", {"percent": 50}).status_code == 200
        assert site.send("POST", "/tasks/a/cancel?stop_on_cancel=1", {"done": True}).status_code == 200

    def test_a_task_is_held_by_one_worker(self, site: Site) -> None:
        """Another is refused unless it takes over; then what the first one says in its own name is."""
        site.task(total=100)
        beat = "/tasks/a/heartbeat"
        assert site.send("POST", beat, {"lease": 30, "holder": "one"}).status_code == 200
        assert told(site.send("POST", beat, {"holder": "two"})) == (409, "lease_held")
        assert told(site.send("POST", f"{beat}?holder=two")) == (409, "lease_held")
        assert site.send("PATCH", "/tasks/a?holder=one", {"advance": 1}).status_code == 200
        answer = site.send("POST", beat, data=b"holder=two&takeover=true", media="application/x-www-form-urlencoded")
        assert answer.status_code == 200
        before = site.now()
        for method, path, body in [*ADDRESSES[1:4], *ADDRESSES[5:9]]:
            assert told(site.send(method, f"{path}?holder=one", body)) == (409, "lease_held")
        operations = [
            {"op": "update", "task_id": "a", "advance": 1, "holder": "one"},
            {"op": "heartbeat", "task_id": "a", "holder": "one"},
            {"op": "update", "task_id": "a", "advance": 1, "holder": "two"},
            {"op": "update", "task_id": "a", "advance": 1, "holder": 7},
            {"op": "heartbeat", "task_id": "a", "release": True},
            {"op": "heartbeat", "task_id": "a", "holder": "two", "release": True},
            {"op": "heartbeat", "task_id": "a", "holder": "one"},
        ]
        results = told(site.send("POST", "/batch", {"operations": operations}))["results"]
        assert [result.get("error", {}).get("code") for result in results] == [
            "lease_held", "lease_held", None, "invalid", "invalid", None, None,
        ]  # fmt: skip
        assert site.now().current == before.current + 1  # type: ignore[operator]
        for wrong in ("", "x" * 65):
            assert told(site.send("PATCH", f"/tasks/a?holder={wrong}", {"advance": 1})) == (422, "invalid")
        assert told(site.send("POST", beat, {"holder": "x" * 65})) == (422, "invalid")

    def test_a_request_to_stop_is_acknowledged(self, site: Site) -> None:
        """By a worker that looks itself: once, and only where one was made; a plain heartbeat does not say so."""
        site.task()
        path = "/tasks/a/acknowledge_cancel"
        assert told(site.send("POST", path))["cancel_acknowledged_at"] is None
        site.operations.cancel_task("a")
        assert told(site.send("POST", "/tasks/a/heartbeat"))["cancel_acknowledged_at"] is None
        at = told(site.send("POST", path))["cancel_acknowledged_at"]
        assert at is not None
        body = {"operations": [{"op": "acknowledge_cancel", "task_id": "a"}]}
        assert told(site.send("POST", "/batch", body))["results"][0]["task"]["cancel_acknowledged_at"] == at
        site.operations.complete_task("a")
        assert told(site.send("POST", path)) == (409, "already_finished")

    def test_prefer_minimal(self, site: Site) -> None:
        """What a worker needs, and no more."""
        site.task(metadata={"k": "x" * 1000})
        answer = site.send("PATCH", "/tasks/a", {"percent": 4}, headers={"Prefer": "respond-async, return=minimal"})
        task = site.now()
        assert told(answer) == {
            "task_id": "a", "epoch": task.epoch, "version": task.version, "status": "processing", "output_size": 0,
            "cancel_requested_at": None,
        }  # fmt: skip
        assert answer.headers["Preference-Applied"] == "return=minimal"
        assert answer.headers["ETag"] == task.etag
        site.operations.cancel_task("a")
        asked = told(site.send("PATCH", "/tasks/a", {}, headers={"Prefer": "return=minimal"}))["cancel_requested_at"]
        assert asked == site.now().as_dict()["cancel_requested_at"]


class TestIdempotency:
    def test_what_comes_twice_is_made_once(self, site: Site) -> None:
        """The second answer is the first one, and says so."""
        site.task(total=100)
        headers = {"Idempotency-Key": "8e03978e-40d5"}
        first = site.send("PATCH", "/tasks/a", {"advance": 1}, headers=headers)
        site.operations.update_task_progress("a", "meanwhile")
        again = site.send("PATCH", "/tasks/a", {"advance": 1}, headers={"Idempotency-Key": '"8e03978e-40d5"'})
        assert site.now().current == 1
        assert (again.data, again.headers["ETag"]) == (first.data, first.headers["ETag"])
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        site.send("PATCH", "/tasks/a", {"advance": 1}, headers={"Idempotency-Key": "other"})
        assert site.now().current == 2

    def test_creation(self, site: Site) -> None:
        """201 again, with the same id, and one task."""
        headers = {"Idempotency-Key": "k"}
        made = [site.send("POST", "/tasks", {"user_id": "ann"}, headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in made] == [201] * 3
        assert len({answer.headers["Location"] for answer in made}) == len(site.all()) == 1

    def test_another_request_with_the_same_key(self, site: Site) -> None:
        """A clear error: another body, another address, another condition."""
        site.task(total=100)
        site.task("b")
        headers = {"Idempotency-Key": "k"}
        site.send("PATCH", "/tasks/a", {"advance": 1}, headers=headers)
        for path, body, more in (
            ("/tasks/a", {"advance": 2}, {}),
            ("/tasks/b", {"advance": 1}, {}),
            ("/tasks/a?stop_on_cancel=1", {"advance": 1}, {}),
            ("/tasks/a", {"advance": 1}, {"If-Match": "*"}),
        ):
            answer = site.send("PATCH", path, body, headers={**headers, **more})
            assert told(answer) == (422, "idempotency_key_reused")
        assert site.now().current == 1
        assert site.now("b").current is None

    def test_another_worker_may_have_the_same_key(self, site: Site) -> None:
        """Each has its own."""
        site.task(total=100)
        headers = {"Idempotency-Key": "k"}
        for key in (site.key, site.make_key("report")):
            site.send("PATCH", "/tasks/a", {"advance": 1}, key=key, headers=headers)
        assert site.now().current == 2

    def test_a_key_made_anew_under_a_name_is_not_told_what_the_old_one_was(self, site: Site) -> None:
        """It may have other scopes; nor is the one that rotation makes."""
        site.task(total=100)
        headers = {"Idempotency-Key": "k"}
        first, _ = keys.create(site.path, ("report",), name="ci")
        assert site.send("PATCH", "/tasks/a", {"advance": 1}, key=first, headers=headers).status_code == 200
        second, _ = keys.rotate(site.path, "ci", grace=timedelta(hours=1))
        assert site.send("PATCH", "/tasks/a", {"advance": 1}, key=second, headers=headers).status_code == 200
        assert site.now().current == 2
        keys.revoke(site.path, "ci")
        third, _ = keys.create(site.path, ("report", "user:bob"), name="ci")
        assert told(site.send("PATCH", "/tasks/a", {"advance": 1}, key=third, headers=headers)) == (404, "not_found")

    def test_what_was_refused_is_asked_anew(self, site: Site) -> None:
        """It has changed nothing."""
        headers = {"Idempotency-Key": "k"}
        assert told(site.send("PATCH", "/tasks/a", {"advance": 1}, headers=headers)) == (404, "not_found")
        site.task(total=100)
        assert site.send("PATCH", "/tasks/a", {"advance": 1}, headers=headers).status_code == 200

    @pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, '""'])
    def test_what_is_no_key(self, site: Site, key: str) -> None:
        """Is told, and changes nothing."""
        before = site.task()
        answer = site.send("PATCH", "/tasks/a", {"advance": 1}, headers={"Idempotency-Key": key})
        assert told(answer) == (422, "invalid")
        assert site.now() == before

    def test_of_several_at_once_one_is_made(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """While it is under way the others are told to ask again; then they are given its answer."""
        inside, leave = threading.Event(), threading.Event()
        update = MemoryRegistry.update

        def slow(registry: MemoryRegistry, *arguments: Any) -> Task:
            inside.set()
            assert leave.wait(30)
            return update(registry, *arguments)

        monkeypatch.setattr(MemoryRegistry, "update", slow)
        site.task(total=100)
        answers: list[TestResponse] = []

        def ask() -> None:
            answers.append(site.send("PATCH", "/tasks/a", {"advance": 1}, headers={"Idempotency-Key": "k"}))

        first = threading.Thread(target=ask)
        first.start()
        assert inside.wait(30)
        ask()
        assert told(answers[0]) == (409, "idempotency_key_in_use")
        assert answers[0].headers["Retry-After"] == "1"
        leave.set()
        first.join(30)
        ask()
        assert [answer.status_code for answer in answers] == [409, 200, 200]
        assert site.now().current == 1

    def test_the_bounds_of_what_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In time, number and bytes; the oldest goes first."""
        clock = [0.0]
        store = Idempotency(lambda: clock[0])
        made: list[str] = []

        def ask(key: str, size: int = 1) -> bool:
            def answer() -> tuple[Answer, bool]:
                made.append(key)
                return Answer(200, b"x" * size, ()), True

            return store.once("ci", key, b"f", answer)[1]

        for number in range(MAX_ANSWERS + 1):
            ask(str(number))
        assert not ask("0")  # which made room for the newest, and now for itself
        assert not ask("1")
        assert ask("3")
        clock[0] += 600
        assert not ask("3")
        assert len(store._kept) == 1
        for number in range(40):
            ask(f"big{number}", 1024 * 1024)
        assert store._bytes < 17 * 1024 * 1024
        assert ask("big39")
        assert not ask("big0")

    def test_nobody_pushes_out_what_is_kept_for_others(self) -> None:
        """Neither by many answers nor by long ones: who has most loses the oldest."""
        clock = [0.0]
        store = Idempotency(lambda: clock[0])

        def ask(who: str, key: str, size: int = 1) -> bool:
            return store.once(who, key, b"f", lambda: (Answer(200, b"x" * size, ()), True))[1]

        ask("quiet", "first")
        for number in range(MAX_ANSWERS + 10):
            ask("loud", str(number))
        for number in range(40):
            ask("large", str(number), 1024 * 1024)
        assert ask("quiet", "first")
        assert ask("loud", str(MAX_ANSWERS + 9))
        assert ask("large", "39")
        assert not ask("large", "0")
        assert len(store._kept) <= MAX_ANSWERS
        assert store._bytes == sum(kept.size for kept in store._kept.values()) <= 16 * 1024 * 1024
        clock[0] += 600
        assert not ask("quiet", "first")
        assert (len(store._kept), list(store._shares)) == (1, ["quiet"])


class TestBatch:
    def test_each_stands_alone_in_the_order_given(self, site: Site) -> None:
        """With its own status, what it came to or its own error."""
        site.task("done")
        site.operations.complete_task("done")
        operations: list[Any] = [
            {"op": "create", "user_id": "ann", "task_id": "a", "total": 10},
            {"op": "update", "task_id": "a", "advance": 4},
            {"op": "update", "task_id": "a", "percent": 101},
            {"op": "output", "task_id": "a", "text": "line\n"},
            {"op": "update", "task_id": "none", "percent": 1},
            {"op": "update", "task_id": "done", "percent": 1},
            {"op": "create", "user_id": "ann", "task_id": "a"},
            {"op": "sing", "task_id": "a"},
            {"task_id": "a"},
            {"op": "update", "percent": 1},
            {"op": "update", "task_id": "a b"},
            {"op": "update", "task_id": "a", "percent": 50, "if_match": "x.1"},
            {"op": "update", "task_id": "a", "if_match": 7},
            {"op": "cancel", "task_id": "a"},
            {"op": "update", "task_id": "a", "percent": 50, "stop_on_cancel": True},
            {"op": "update", "task_id": "a", "stop_on_cancel": "yes"},
            {"op": "start", "task_id": "a"},
            {"op": "cancel", "task_id": "a", "done": True},
            {"op": "complete", "task_id": "a"},
            {"op": "fail", "task_id": "a"},
        ]
        results = told(site.send("POST", "/batch", {"operations": operations}))["results"]
        codes = [(result["status"], result.get("error", {}).get("code")) for result in results]
        assert codes == [
            (201, None), (200, None), (422, "invalid"), (200, None), (404, "not_found"), (409, "already_finished"),
            (409, "exists"), (422, "invalid"), (422, "invalid"), (422, "invalid"), (422, "invalid"),
            (412, "precondition_failed"), (422, "invalid"), (202, None), (409, "cancel_requested"), (422, "invalid"),
            (200, None), (200, None), (409, "already_finished"), (422, "invalid"),
        ]  # fmt: skip
        assert results[1]["task"]["progress"]["current"] == 4
        assert results[3]["output"]["end"] == 5
        assert results[2]["error"]["field"] == "percent"
        assert results[5]["error"]["status"] == "completed"
        assert results[17]["task"] == site.now().as_dict()

    def test_each_says_whether_the_task_is_watched(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a worker can leave out what nobody would see; where others share the store, only that it is."""
        site.task()

        def watched(op: str) -> Any:
            body = {"operations": [{"op": op, "task_id": "a"}]}
            return told(site.send("POST", "/batch", body))["results"][0].get("watched")

        assert watched("update") is False
        with monkeypatch.context() as patch:
            patch.setattr(type(site.registry), "reads_wait", True)
            assert watched("update") is None
            viewer, _ = site.viewer("ann")
            assert watched("update") is True
        assert watched("update") is True
        site.hub.leave(viewer.session)
        assert watched("update") is False
        site.viewer("ann")
        assert watched("complete") is False

    def test_short_answers(self, site: Site) -> None:
        """As for one."""
        site.task()
        body = {"operations": [{"op": "update", "task_id": "a", "if_match": site.now().etag}]}
        answer = site.send("POST", "/batch", body, headers={"Prefer": "return=minimal"})
        assert set(told(answer)["results"][0]["task"]) == {
            "task_id", "epoch", "version", "status", "output_size", "cancel_requested_at",
        }  # fmt: skip
        assert answer.headers["Preference-Applied"] == "return=minimal"

    def test_the_bound_on_their_number(self, site: Site) -> None:
        """One more, and nothing is done; a form is none."""
        site.task(total=10_000)
        one = {"op": "update", "task_id": "a", "advance": 1}
        assert field(site.send("POST", "/batch", {"operations": [one] * (MAX_OPERATIONS + 1)})) == "operations"
        assert site.now().current == 0
        assert len(told(site.send("POST", "/batch", {"operations": [one] * MAX_OPERATIONS}))["results"]) == 1_000
        assert site.now().current == 1_000
        assert told(site.form("POST", "/batch", "operations=1"))[0] == 415

    def test_the_bound_on_what_is_shown(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """A result is long and asking for it is short: beyond the bound tasks are shown briefly."""
        site.task()
        size = len(site.operations.complete_task("a", "x" * 10_000).encode())
        monkeypatch.setattr(ingest, "MAX_SNAPSHOTS", 3 * size + 1_000)
        answer = site.send("POST", "/batch", {"operations": [{"op": "complete", "task_id": "a"}] * 100})
        assert len(answer.data) < 3 * size + 100 * 250
        shown = [result["task"] for result in told(answer)["results"]]
        assert [task.get("result") is not None for task in shown] == [True] * 3 + [False] * 97
        assert {(task["task_id"], task["status"]) for task in shown} == {("a", "completed")}

    def test_the_bound_on_what_is_shown_is_told(self, site: Site, root: Path) -> None:
        """Where a reader looks: in the document of the API, and in the README."""
        schemas = openapi.document(site.config, "/realtime/v1")["components"]["schemas"]
        most = f"{schema.MAX_SNAPSHOTS // 2**20} MiB"
        assert most in schemas["BatchAnswer"]["properties"]["results"]["description"]
        assert schemas["BatchResult"]["properties"]["task"]["anyOf"][1] == {"$ref": "#/components/schemas/Receipt"}
        [line] = [line for line in (root / "README.md").read_text("utf-8").splitlines() if most in line]
        assert "short ones" in line

    def test_a_store_that_is_away_is_asked_once(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each would wait for it in vain."""
        asked: list[str] = []

        def away(registry: MemoryRegistry, task_id: str, *rest: Any) -> Task:
            asked.append(task_id)
            raise RegistryUnavailable("The store is away.")

        monkeypatch.setattr(MemoryRegistry, "update", away)
        body = {"operations": [{"op": "update", "task_id": str(number)} for number in range(5)]}
        results = told(site.send("POST", "/batch", body))["results"]
        assert [result["status"] for result in results] == [503] * 5
        assert asked == ["0"]

    def test_a_failure_of_one_is_logged_and_not_shown(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The others are done."""

        def broken(registry: MemoryRegistry, *arguments: Any) -> Task:
            raise RuntimeError("a secret of the server")

        monkeypatch.setattr(MemoryRegistry, "start", broken)
        site.task()
        operations = [{"op": "start", "task_id": "a"}, {"op": "update", "task_id": "a", "percent": 4}]
        answer = site.send("POST", "/batch", {"operations": operations})
        assert [result["status"] for result in told(answer)["results"]] == [500, 200]
        assert "secret" not in answer.text
        assert "a secret of the server" in caplog.text


def test_documents_are_made_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask for them, and each takes as long to make as many requests; one for each address of ours."""
    made: list[str] = []
    for module in (openapi, asyncapi):
        make = module.document

        def count(*args: Any, make: Any = make) -> Any:
            made.append(str(args[-1]))
            return make(*args)

        monkeypatch.setattr(module, "document", count)
    for _ in range(3):
        for root in ("", "/app"):
            answer = site.send("GET", "/openapi.json", key=None, SCRIPT_NAME=root)
            assert answer.get_json()["servers"][0]["url"] == f"{root}/realtime/v1"
        assert site.send("GET", "/asyncapi.json", key=None).get_json()["asyncapi"] == "3.0.0"
    assert sorted(made) == ["/app/realtime/v1", "/realtime/v1", "/tasks"]


@pytest.mark.parametrize(("method", "path", "body"), [one for one in ADDRESSES if one[1].startswith("/tasks/a")])
def test_a_task_that_has_become_anothers_meanwhile_is_none(
    method: str, path: str, body: dict[str, Any], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key may have it when it is looked at; when it is changed, its id is another user's."""
    key = site.make_key(*keys.ACTIONS, "user:eve")
    site.task("a", "eve")
    site.operations.fail_task("a", "no")
    get = site.registry.get

    def look(task_id: str) -> Task | None:
        found = get(task_id)
        if found is not None and found.user_id == "eve":
            monkeypatch.setattr(site.registry, "get", get)
            site.operations.remove_task("a")
            site.task("a", "ann")
            monkeypatch.setattr(site.registry, "get", look)
        return found

    monkeypatch.setattr(site.registry, "get", look)
    assert told(site.send(method, path, body, key=key)) == (404, "not_found")
    (task,) = site.all()
    assert (task["user"], task["version"], task["output_size"]) == ("ann", get("a").version, 0)  # type: ignore[union-attr]
    assert (task["status"], task["progress"]["percent"], task["retried_by"]) == ("processing", None, None)
