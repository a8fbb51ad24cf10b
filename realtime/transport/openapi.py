"""The OpenAPI 3.1 document of the HTTP side (https://spec.openapis.org/oas/v3.1.1.html), made of the types that check
what comes in and describe what goes out.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from ..config import Config
from ..overview import Overview
from ..values import MAX_ID
from .requests import (
    FORM,
    JSON,
    OPERATIONS,
    TEXT,
    AcknowledgeCancelRequest,
    BatchRequest,
    CancelRequest,
    CompleteRequest,
    CreateRequest,
    FailRequest,
    HeartbeatRequest,
    OutputRequest,
    RetryRequest,
    StartRequest,
    UpdateRequest,
)  # fmt: skip
from .schema import MAX_SNAPSHOTS, BatchAnswer, Page, Receipt, Refusal, Snapshot, Written

_Schema = dict[str, Any]
_REFERENCE: Final = "#/components/schemas/{name}"


class _Operation(NamedTuple):
    method: str
    path: str
    name: str
    summary: str
    #: The body, and what a good answer holds, by its status; None: nothing.
    body: type[msgspec.Struct] | None
    answers: dict[int, type[msgspec.Struct] | None]
    #: Statuses of its errors, besides those of all.
    errors: tuple[int, ...]
    #: Names of `_PARAMETERS`.
    parameters: tuple[str, ...] = ()
    #: What opens it: a worker key, or also what viewers have; or nothing but the token of REALTIME_METRICS.
    viewers: bool = False
    metrics: bool = False


_ONE: Final = ("if-match", "idempotency-key", "prefer", "holder")
_STOPPABLE: Final = (*_ONE, "stop_on_cancel")

_ALL: Final = (
    _Operation("post", "/tasks", "createTask", "Create a task", CreateRequest, {201: Snapshot, 200: Snapshot},
               (409, 411, 413, 415, 429), ("idempotency-key", "prefer")),
    _Operation("get", "/tasks", "listTasks", "A user's tasks, the newest first", None, {200: Page},
               (), ("user_id", "limit", "before"), viewers=True),
    _Operation("get", "/tasks/{task_id}", "readTask", "A task as it is, or once it is newer", None,
               {200: Snapshot, 304: None}, (404, 429), ("after", "wait"), viewers=True),
    _Operation("patch", "/tasks/{task_id}", "updateTask", "Say how far a task is", UpdateRequest, {200: Snapshot},
               (404, 409, 411, 412, 413, 415), _STOPPABLE),
    _Operation("delete", "/tasks/{task_id}", "removeTask", "Take a finished task out", None, {204: None},
               (404,), viewers=True),
    _Operation("post", "/tasks/{task_id}/start", "startTask", "A pending task is being worked on", StartRequest,
               {200: Snapshot}, (404, 409, 411, 412, 413, 415), _STOPPABLE),
    _Operation("post", "/tasks/{task_id}/output", "appendOutput", "Append to what a task writes", OutputRequest,
               {200: Written}, (404, 409, 411, 412, 413, 415, 429), (*_STOPPABLE, "stream")),
    _Operation("post", "/tasks/{task_id}/heartbeat", "heartbeat", "The task's worker is alive", HeartbeatRequest,
               {200: Snapshot}, (404, 409, 411, 412, 413, 415), _STOPPABLE),
    _Operation("post", "/tasks/{task_id}/complete", "completeTask", "End a task well", CompleteRequest,
               {200: Snapshot}, (404, 409, 411, 412, 413, 415), _ONE),
    _Operation("post", "/tasks/{task_id}/fail", "failTask", "End a task badly", FailRequest, {200: Snapshot},
               (404, 409, 411, 412, 413, 415), _ONE),
    _Operation("post", "/tasks/{task_id}/cancel", "cancelTask", "Ask a task to stop; or say that it has",
               CancelRequest, {202: Snapshot, 200: Snapshot}, (404, 409, 411, 412, 413, 415), _ONE, viewers=True),
    _Operation("post", "/tasks/{task_id}/acknowledge_cancel", "acknowledgeCancel",
               "The worker knows that the task was asked to stop", AcknowledgeCancelRequest, {200: Snapshot},
               (404, 409, 411, 412, 413, 415), _ONE),
    _Operation("post", "/tasks/{task_id}/retry", "retryTask", "Try a task again that has failed or was cancelled",
               RetryRequest, {201: Snapshot, 200: Snapshot}, (404, 409, 411, 413, 415, 429),
               ("idempotency-key", "prefer")),
    _Operation("post", "/batch", "batch", "Several operations, each on its own", BatchRequest, {200: BatchAnswer},
               (409, 411, 413, 415), ("idempotency-key", "prefer")),
    _Operation("get", "/servers", "listServers", "How each server stands", None, {200: Overview}, (), metrics=True),
)  # fmt: skip

_ERRORS: Final = {
    400: "The request cannot be read.",
    401: "No key, or one that is not good.",
    403: "The key has not the scope that this needs; or a page of another origin asks.",
    404: "No such task, or not one that the key reaches.",
    409: "The id is taken, the task has ended, it was asked to stop (`cancel_requested`), another worker holds it "
    "(`lease_held`), or the first request with this Idempotency-Key is under way.",
    411: "The body has no Content-Length.",
    412: "The task is at another version.",
    413: "The body is too long.",
    415: "The body is of another Content-Type.",
    422: "A field is wrong; `field` names it. Or the Idempotency-Key came with another request.",
    429: "A bound is reached; `message` names it.",
    500: "The server failed.",
    503: "The task store cannot be reached now; try again.",
}
_ALWAYS: Final = (400, 401, 403, 422, 500, 503)


def document(config: Config, server: str) -> dict[str, Any]:
    """The document. ``server`` is where the API is: a path on the host that the document comes from."""
    offered = [operation for operation in _ALL if config.metrics is not None or not operation.metrics]
    kinds = [kind for operation in offered for kind in (operation.body, *operation.answers.values()) if kind]
    kinds += [Refusal, Receipt, *OPERATIONS.values()]
    _, components = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REFERENCE)
    schemas = dict(components)
    _bound(schemas, config)
    schemas["BatchRequest"]["properties"]["operations"]["items"] = {
        "description": f"What to do (`op`: {', '.join(OPERATIONS)}), the `task_id`, and what it takes by itself; also "
        "`if_match`, `stop_on_cancel` and `holder`. A wrong one is told in its result.",
        "type": "object",
        "examples": [{"op": "update", "task_id": "a", "percent": 40}],
    }
    schemas["BatchResult"]["properties"]["task"] = {"anyOf": [_ref("Snapshot"), _ref("Receipt")]}
    schemas["BatchAnswer"]["properties"]["results"]["description"] = (
        f"Of each task its snapshot, up to {MAX_SNAPSHOTS >> 20} MiB of them in one answer; then, and with "
        "`Prefer: return=minimal`, a receipt: read the task for the rest."
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in offered:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "realtime",
            "version": "1",
            "summary": "Live progress of long tasks: what workers report, and who waits reads.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": _PARAMETERS,
            "responses": {
                f"Error{status}": {"description": text, "content": {JSON: {"schema": _ref("Refusal")}}}
                for status, text in _ERRORS.items()
            },
            "securitySchemes": {
                "workerKey": {
                    "type": "http", "scheme": "bearer",
                    "description": "A worker key, of `realtime keys create`: `rt_…`.",
                },
                "ticket": {"type": "http", "scheme": "bearer", "description": "A signed ticket, of `rt.ticket(…)`."},
                "metricsToken": {"type": "http", "scheme": "bearer", "description": "What REALTIME_METRICS is set to."},
            },
        },
    }  # fmt: skip


def _described(operation: _Operation) -> dict[str, Any]:
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters]
    if "{task_id}" in operation.path:
        parameters.insert(0, {"$ref": "#/components/parameters/task_id"})
    responses: dict[str, Any] = {}
    for status, kind in operation.answers.items():
        responses[str(status)] = _answer(status, kind, "prefer" in operation.parameters)
    for status in sorted({*_ALWAYS, *operation.errors}):
        responses[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{name: []} for name in _keys(operation)],
        "parameters": parameters,
        "responses": responses,
    }
    if operation.body is not None:
        described["requestBody"] = {"content": _contents(operation.body), "required": bool(_needed(operation.body))}
    return described


def _keys(operation: _Operation) -> list[str]:
    if operation.metrics:
        return ["metricsToken"]
    return ["workerKey", "ticket"] if operation.viewers else ["workerKey"]


def _answer(status: int, kind: type[msgspec.Struct] | None, short: bool) -> dict[str, Any]:
    texts = {200: "As it is now.", 201: "Made.", 202: "Asked.", 204: "Gone.", 304: "No newer one."}
    answer: dict[str, Any] = {"description": texts[status]}
    if kind is not None:
        schema = _ref(kind.__name__)
        if kind is Snapshot:
            tag = {"description": '`"<epoch>.<version>"`', "schema": {"type": "string"}}
            answer["headers"] = {"ETag": tag}
            schema = {"anyOf": [schema, _ref("Receipt")]} if short else schema
        answer["content"] = {JSON: {"schema": schema}}
    if status == 201:
        answer["headers"]["Location"] = {"description": "The task's address.", "schema": {"type": "string"}}
    return answer


def _contents(kind: type[msgspec.Struct]) -> dict[str, Any]:
    schema = _ref(kind.__name__)
    contents: dict[str, Any] = {JSON: {"schema": schema}}
    if kind is not BatchRequest:
        objects = {"metadata", "details", "result"} & set(kind.__struct_fields__)
        contents[FORM] = {"schema": schema}
        if objects:
            contents[FORM]["encoding"] = {name: {"contentType": JSON} for name in sorted(objects)}
    if kind is OutputRequest:
        contents[TEXT] = {"schema": {"type": "string"}}
    return contents


def _needed(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind) if field.required]


def _bound(schemas: dict[str, _Schema], config: Config) -> None:
    """Write in what the settings bound."""
    for kind, name, most in (
        ("CreateRequest", "name", config.max_name),
        ("CreateRequest", "message", config.max_message),
        ("UpdateRequest", "message", config.max_message),
        ("FailRequest", "error", config.max_message),
    ):
        field = schemas[kind]["properties"][name]
        for schema in field.get("anyOf", [field]):
            if schema.get("type") == "string":
                schema["maxLength"] = most
    for schema in schemas["CreateRequest"]["properties"]["user_id"]["anyOf"]:
        if schema.get("type") == "string":
            schema["pattern"] = r"^[^\u0000-\u001f\u007f-\u009f]*$"


def _ref(name: str) -> _Schema:
    return {"$ref": _REFERENCE.format(name=name)}


def _parameter(place: str, name: str, description: str, schema: _Schema, *, required: bool = False) -> _Schema:
    return {"in": place, "name": name, "description": description, "schema": schema, "required": required}


_PARAMETERS: Final = {
    "task_id": _parameter(
        "path", "task_id", "The id of the task.",
        {"type": "string", "pattern": rf"^[A-Za-z0-9._:-]{{1,{MAX_ID}}}$"}, required=True,
    ),
    "user_id": _parameter(
        "query", "user_id", "Whose tasks; a worker must say it.",
        {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"},
    ),
    "limit": _parameter("query", "limit", "Tasks on a page.", {"type": "integer", "minimum": 1, "maximum": 100}),
    "before": _parameter("query", "before", "The `next` of the page before.", {"type": "string"}),
    "after": _parameter(
        "query", "after", "Answer once the task is newer than this, 304 if it is not in time.",
        {"type": "string", "pattern": r"^[^.]+\.[0-9]{1,19}$"},
    ),
    "wait": _parameter("query", "wait", "Seconds.", {"type": "number", "minimum": 0, "maximum": 25}),
    "stream": _parameter(
        "query", "stream", "The stream, where the body is the text itself.",
        {"type": "string", "pattern": rf"^[A-Za-z0-9._:-]{{1,{MAX_ID}}}$"},
    ),
    "stop_on_cancel": _parameter(
        "query", "stop_on_cancel", "409 once somebody has asked the task to stop.",
        {"enum": ["0", "1", "true", "false"]},
    ),
    "holder": _parameter(
        "query", "holder", "409 (`lease_held`) if another holds the task by its lease.",
        {"type": "string", "minLength": 1, "maxLength": 64},
    ),
    "if-match": _parameter(
        "header", "If-Match", "Only if the task is at this version (its ETag); `*`: any.", {"type": "string"}
    ),
    "idempotency-key": _parameter(
        "header", "Idempotency-Key", "Made once, however often it is sent within two minutes.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
    ),
    "prefer": _parameter("header", "Prefer", "`return=minimal` for a short answer.", {"type": "string"}),
}  # fmt: skip
