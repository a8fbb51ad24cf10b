"""The documents that describe the API: right by their standards, right about what a real server does."""

from __future__ import annotations

import json
import secrets
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from realtime import keys, protocol
from realtime.transport.asyncapi import COMMANDS, PUSHES
from realtime.transport.openapi import _ALL
from realtime.transport.schema import Page, Receipt, Snapshot
from support import remote
from support.process import StartServer
from support.remote import Remote
from support.tools import missing
from support.viewer import watching

#: Requests of each kind to each address.
EXAMPLES = 12


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of keys, and a key that may do everything."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return path, keys.create(path, keys.ACTIONS)[0]


@pytest.fixture(scope="module")
def server(module_servers: StartServer, key: tuple[Path, str]) -> Remote:
    return remote.start(module_servers, remote.serve("plain:app"), FLASK_REALTIME_WORKER_KEYS=str(key[0]))


def told(server: Remote, key: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """What the API answers."""
    given = {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): text for name, text in headers.items()}}
    status, text = server.request(method, f"/realtime/v1{path}", body, given)
    assert status < 300, text
    return json.loads(text)


def test_openapi_is_valid_and_names_every_address(server: Remote) -> None:
    """By its own standard; and there is an address for each operation, with a worker's key as its lock."""
    document = server.json("GET", "/realtime/v1/openapi.json")
    validate(document)
    assert document["openapi"].startswith("3.1")
    described = {(method, path) for path, item in document["paths"].items() for method in item}
    assert described == {(one.method, one.path) for one in _ALL if not one.metrics}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert {"workerKey": []} in operation["security"]
            status, text = server.request(method.upper(), f"/realtime/v1{path}".replace("{task_id}", "none"), {})
            assert status == 401 if method != "get" and "cancel" not in path else status in (401, 404), text


def test_the_bounds_are_those_of_the_settings(server_process: StartServer) -> None:
    """Not those of a default."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_MAX_NAME="77")
    schemas = server.json("GET", "/realtime/v1/openapi.json")["components"]["schemas"]
    [name] = [kind for kind in schemas["CreateRequest"]["properties"]["name"]["anyOf"] if kind["type"] == "string"]
    assert name["maxLength"] == 77


def test_asyncapi_is_valid_and_names_every_event(server: Remote, node_modules: Path) -> None:
    """By the schema that its makers publish; each word of the protocol is a message."""
    found = node_modules / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
    schema = json.loads((found if found.is_file() else missing(str(found), "cd static && npm ci")).read_text("utf-8"))
    document = server.json("GET", "/realtime/v1/asyncapi.json")
    kind = jsonschema.validators.validator_for(schema)
    assert [error.message for error in kind(schema).iter_errors(document)] == []
    broken = {**document, "operations": {"hear": {"action": "shout"}}}
    assert list(kind(schema).iter_errors(broken))
    assert set(PUSHES) == {getattr(protocol, name) for name in protocol._EVENT_NAMES}
    assert set(COMMANDS) == {getattr(protocol, name) for name in protocol._COMMAND_NAMES}
    assert set(document["channels"]["tasks"]["messages"]) == {*PUSHES, *COMMANDS, "connect", "acknowledgement"}


def test_what_goes_out_is_what_is_described(server: Remote, key: tuple[Path, str]) -> None:
    """Snapshots of tasks in each state, read strictly; and what a viewer is pushed."""

    def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
        return told(server, key[1], method, path, body, **headers)

    with watching(server.url, "documents") as viewer:
        for end, body in (("complete", {"result": {"rows": 1}}), ("fail", {"error": "no", "details": {"k": 1}})):
            made = ask("POST", "/tasks", {"user_id": "documents", "total": 7, "metadata": {"k": 1}, "name": "Export"})
            path = f"/tasks/{made['task_id']}"
            shown = [made, ask("PATCH", path, {"current": 3, "message": "x"}), ask("POST", f"{path}/cancel")]
            shown += [ask("POST", f"{path}/{end}", body), ask("GET", path)]
            for snapshot in shown:
                msgspec.convert(snapshot, Snapshot, strict=True)
            viewer.wait_for_task(made["task_id"], status=f"{end}ed".replace("eed", "ed"))
            short = ask("POST", f"{path}/{end}", body, Prefer="return=minimal")
            msgspec.convert(short, Receipt, strict=True)
        msgspec.convert(ask("GET", "/tasks?user_id=documents"), Page, strict=True)
        for task in viewer.tasks.values():
            msgspec.convert(task, Snapshot, strict=True)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_a_real_server_does_as_described(server: Remote, key: tuple[Path, str], mode: GenerationMode) -> None:
    """Whatever comes, right or wrong: an answer that the document names, in its shape; and never a failure."""
    schema = schemathesis.openapi.from_dict(server.json("GET", "/realtime/v1/openapi.json"))
    schema.config.update(base_url=f"{server.url}/realtime/v1")
    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
        response_headers_conformance,
    ]  # fmt: skip
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if "task_id" in (case.path_parameters or {}):
                case.path_parameters["task_id"] = told(server, key[1], "POST", "/tasks", {"user_id": "fuzz"})["task_id"]
            headers = {"Authorization": f"Bearer {key[1]}", "Idempotency-Key": secrets.token_hex(8)}
            answer = case.call(headers=headers)
            statuses[answer.status_code] += 1
            wrong = case.meta.components.get(ParameterLocation.BODY)
            if wrong is not None and wrong.mode is GenerationMode.NEGATIVE and case.media_type == "application/json":
                assert 400 <= answer.status_code < 500, (case.body, answer.text)
            try:
                case.validate_response(answer, checks=checks)
            except FailureGroup as failures:
                raise AssertionError([str(failure) for failure in failures.exceptions]) from None

        ask()
    wanted = {GenerationMode.POSITIVE: {200, 201, 202}, GenerationMode.NEGATIVE: {400, 422}}[mode]
    assert wanted <= set(statuses), statuses


def test_what_a_viewer_hears_is_what_is_described(server_process: StartServer) -> None:
    """Each event of the protocol, in the shape that the AsyncAPI document has for it; and each answer."""
    server = remote.start(server_process, remote.serve("plain:app"))
    document = server.json("GET", "/realtime/v1/asyncapi.json")
    with watching(server.url, "ada") as viewer:
        ends: list[tuple[str, dict[str, Any]]] = [
            ("complete_task", {}), ("fail_task", {"error": "no"}), ("cancel_task", {"done": True})
        ]  # fmt: skip
        for number, (end, more) in enumerate(ends):
            task_id = f"t{number}"
            server.call("create_task", task_id=task_id, user_id="ada", total=3)
            viewer.wait_for_task(task_id, status="processing")
            server.call("update_task_progress", task_id=task_id, current=1)
            viewer.wait_for_task(task_id, current=1)
            server.call("append_output", task_id=task_id, text="half way\n")
            server.call(end, task_id=task_id, **more)
        viewer.wait_for_event("task_cancelled")
        answers = [
            viewer.ask("subscribe", task_ids=["t0"]), viewer.ask("list_tasks", limit=2),
            viewer.ask("list_tasks", limit=0), viewer.ask("remove_task", task_id="t0"),
            viewer.ask("cancel_task", task_id="none"),
        ]  # fmt: skip
        assert [answer["ok"] for answer in answers] == [True, True, False, True, False]
        viewer.wait_for_event("task_removed")
        server.server.send_signal(signal.SIGTERM)
        viewer.wait_for_event("server_state")
    heard = [(event, payload) for event, payload in viewer.events if event != "disconnect"]
    assert {event for event, _ in heard} == set(PUSHES)
    for event, payload in [*heard, *(("acknowledgement", answer) for answer in answers)]:
        shape = document["components"]["messages"][event]["payload"]
        jsonschema.validate(payload, {**shape, "components": document["components"]})
    for state in ("live", "stale"):
        shape = document["components"]["messages"]["server_state"]["payload"]
        jsonschema.validate({"state": state}, {**shape, "components": document["components"]})
