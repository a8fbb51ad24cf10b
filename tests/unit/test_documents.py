"""The document of the HTTP side, held against an app: its addresses, who may use them, and each bound that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from realtime import Realtime, keys

TOKEN = "the-secret-of-a-scraper"
ROOT = "/realtime/v1"
#: Addresses that are not for workers and pages, or describe the others.
UNDESCRIBED = {f"{ROOT}/{name}" for name in ("healthz", "readyz", "metrics", "openapi.json", "asyncapi.json")}

#: What each request needs, besides what is tried.
NEEDED: dict[str, dict[str, Any]] = {
    "createTask": {"user_id": "ann"},
    "appendOutput": {"text": "x"},
    "failTask": {"error": "no"},
    "batch": {"operations": [{"op": "update", "task_id": "a"}]},
}

#: The least and the most of each field that has bounds: numbers, characters and entries.
BODIES: dict[str, tuple[float | None, float | None]] = {
    "createTask.user_id": (1, 128), "createTask.user_id as a number": (-(2**53), 2**53),
    "createTask.task_id": (1, 128), "createTask.task_id as a number": (-(2**53), 2**53),
    "createTask.parent_id": (1, 128), "createTask.parent_id as a number": (-(2**53), 2**53),
    "createTask.name": (None, 200), "createTask.message": (None, 2_000), "createTask.unit": (None, 40),
    "createTask.total": (0, 2**53), "createTask.weight": (0, 10**9), "createTask.groups": (None, 8),
    "createTask.children": (0, 10_000),
    "updateTask.message": (None, 2_000), "updateTask.unit": (None, 40), "updateTask.percent": (0, 100),
    "updateTask.current": (-(2**53), 2**53), "updateTask.advance": (-(2**53), 2**53), "updateTask.total": (0, 2**53),
    "appendOutput.stream": (1, 128),
    "heartbeat.lease": (1, 86_400), "heartbeat.holder": (1, 64),
    "failTask.error": (None, 2_000), "failTask.code": (None, 64), "failTask.type": (None, 200),
    "retryTask.new_task_id": (1, 128), "retryTask.new_task_id as a number": (-(2**53), 2**53),
    "batch.operations": (1, 1_000),
}  # fmt: skip
PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "task_id": (1, 128), "user_id": (1, 128), "limit": (1, 100), "wait": (0, 25), "stream": (1, 128),
    "holder": (1, 64), "idempotency-key": (1, 255),
}  # fmt: skip


class Site:
    """An app with workers and metrics, what it says of itself, and a key that may do everything."""

    def __init__(self, folder: Path) -> None:
        self.app = Flask("described")
        self.app.config.update(
            SECRET_KEY="only for tests: " + "k" * 32, REALTIME_METRICS=TOKEN, REALTIME_WORKER_KEYS=str(folder / "keys")
        )  # fmt: skip
        self.realtime = Realtime(self.app)
        self.key = keys.create(folder / "keys", keys.ACTIONS)[0]
        self.document = self.app.test_client().get(f"{ROOT}/openapi.json").get_json()

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and description of each."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def operation(self, name: str) -> tuple[str, str]:
        """Its method and path."""
        [found] = [(method, path) for method, path, one in self.operations() if one["operationId"] == name]
        return found

    def send(self, method: str, path: str, body: Any = None, token: str = "", **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token or self.key}", **more.pop("headers", {})}
        more = more if body is None else {"json": body, **more}
        return self.app.test_client().open(f"{ROOT}{path}", method=method, headers=headers, **more)

    def bounds(self, schema: dict[str, Any]) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
        """The kind of value, and its bounds, for each form of a field that has some."""
        for form in schema.get("anyOf", [schema]):
            kind = form.get("type")
            if kind == "string":
                of_pattern = re.fullmatch(r"\^\[[^]]*\]\{(\d+),(\d+)\}\$", form.get("pattern", ""))
                least, most = map(int, of_pattern.groups()) if of_pattern else (None, None)
                found = form.get("minLength", least), form.get("maxLength", most)
            elif kind == "array":
                found = form.get("minItems"), form.get("maxItems")
            else:
                found = form.get("minimum"), form.get("maximum")
            if found != (None, None):
                yield kind, found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_each_address_of_the_app_is_described(site: Site) -> None:
    """With each of its methods; and nothing that there is not."""
    there = set()
    for rule in site.app.url_map.iter_rules():
        if rule.rule.startswith(f"{ROOT}/") and rule.rule not in UNDESCRIBED and not rule.rule.endswith("<path:path>"):
            answer = site.app.test_client().options(rule.rule.replace("<task_id>", "a"))
            path = rule.rule.removeprefix(ROOT).replace("<task_id>", "{task_id}")
            there |= {(method, path) for method in answer.headers["Allow"].split(", ")}
    there = {(method, path) for method, path in there if method not in ("HEAD", "OPTIONS")}
    assert len(there) == 15
    assert {(method, path) for method, path, _ in site.operations()} == there


def test_who_may_use_an_address_is_described(site: Site) -> None:
    """What each token is good for: a worker's key, a viewer's ticket, and what a scraper has."""
    tokens = {"workerKey": site.key, "ticket": site.realtime.ticket("ann"), "metricsToken": TOKEN}
    for method, path, operation in site.operations():
        named = {name for each in operation["security"] for name in each}
        for name, token in tokens.items():
            query = {"user_id": "ann"} if operation["operationId"] == "listTasks" else {}
            answer = site.send(method, path.replace("{task_id}", "none"), token=token, query_string=query)
            assert (answer.status_code != 401) == (name in named), (method, path, name, answer.text)


# Bounds.


def values(kind: str, bounds: tuple[float | None, float | None]) -> tuple[list[Any], list[Any]]:
    """The outermost values that are within bounds, and those next to them that are not."""
    least, most = bounds
    if kind == "string":
        return (
            ["a" * int(most)] if most is not None else [],
            (["a" * int(most + 1)] if most is not None else []) + ([""] if least else []),
        )
    if kind == "array":
        return [], []
    step = 1 if max(abs(least or 0), abs(most or 0)) < 2**53 else 2
    return (
        [bound for bound in bounds if bound is not None],
        [bound + by for bound, by in zip(bounds, (-step, step), strict=True) if bound is not None],
    )


def refused(answer: TestResponse, field: str) -> bool:
    """Whether it is the field that is wrong, and not that a task of this id is there already."""
    if answer.status_code != 422:
        assert answer.status_code in (200, 201, 202, 409), answer.text
        return False
    assert answer.get_json()["error"]["field"].partition("[")[0] == field, answer.text
    return True


def test_the_bounds_of_a_body_are_those_that_are_described(site: Site) -> None:
    """What is at a bound is taken, and what is beyond it is not; no bound is missing."""
    described: dict[str, tuple[float | None, float | None]] = {}
    number = 0
    for method, path, operation in site.operations():
        name = operation["operationId"]
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for field, form in site.document["components"]["schemas"][schema]["properties"].items():
            for kind, bounds in site.bounds(form):
                whole = kind == "integer" and field.endswith("_id")
                described[f"{name}.{field}" + " as a number" * whole] = bounds
                good, bad = values(kind, bounds)
                for value in [*good, *bad]:
                    number += 1
                    task_id = f"task-{number}"
                    site.realtime.create_task(task_id, "ann")
                    if field == "parent_id" and value in good:
                        site.realtime.create_task(value, "ann", exist_ok=True)
                    if name == "retryTask":
                        site.realtime.fail_task(task_id, "no")
                    body = {**NEEDED.get(name, {}), field: value}
                    answer = site.send(method, path.replace("{task_id}", task_id), body)
                    assert refused(answer, field) == (value in bad), (name, field, value, answer.text)
    assert described == BODIES


@pytest.mark.parametrize(
    ("name", "field", "entry"),
    [("createTask", "groups", "g{}"), ("batch", "operations", {"op": "update", "task_id": "a"})],
)
def test_the_bounds_of_a_list_are_those_that_are_described(site: Site, name: str, field: str, entry: Any) -> None:
    """In entries."""
    method, path = site.operation(name)
    least, most = BODIES[f"{name}.{field}"]
    assert most is not None
    for count in (0, int(most), int(most) + 1):
        entries = [entry.format(each) if isinstance(entry, str) else entry for each in range(count)]
        answer = site.send(method, path, {**NEEDED[name], field: entries})
        assert refused(answer, field) == (count > most or count < (least or 0))


def test_the_bounds_of_parameters_are_those_that_are_described(site: Site) -> None:
    """Likewise, in the address and in headers."""
    described = {}
    task = site.realtime.create_task("a", "ann")
    for name, parameter in site.document["components"]["parameters"].items():
        for kind, bounds in site.bounds(parameter["schema"]):
            described[name] = bounds
            good, bad = values(kind, bounds)
            for value in [*good, *bad]:
                text = value if isinstance(value, str) else str(int(value))
                if name == "task_id":
                    continue  # there is no task of another name
                if name in ("user_id", "limit"):
                    answer = site.send("GET", "/tasks", query_string={"user_id": "ann", name: text})
                elif name == "wait":
                    query = {"after": f"{task.epoch}.{task.version - 1}", "wait": text}
                    answer = site.send("GET", "/tasks/a", query_string=query)
                elif name == "stream":
                    answer = site.send("POST", "/tasks/a/output", data="x", content_type="text/plain",
                                       query_string={"stream": text})  # fmt: skip
                elif name == "holder":
                    answer = site.send("PATCH", "/tasks/a", {}, query_string={"holder": text})
                else:
                    answer = site.send("PATCH", "/tasks/a", {}, headers={"Idempotency-Key": text})
                field = "Idempotency-Key" if name == "idempotency-key" else name
                assert refused(answer, field) == (value in bad), (name, value, answer.text)
    assert described == PARAMETERS
