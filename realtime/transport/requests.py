"""What workers send over HTTP: the types that check it, and that the OpenAPI document is made of.

Bodies are JSON objects, or forms, so that ``curl -d percent=40`` works. What is a type's affair is checked here; what a
setting bounds (names, messages, results) by the lifecycle functions, as everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Meta, UnsetType
from werkzeug.exceptions import BadRequest, LengthRequired, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Request

from ..errors import InvalidValue
from ..kin import MAX_CHILDREN, MAX_WEIGHT
from ..progress import MAX_NUMBER
from ..values import MAX_GROUPS, MAX_ID, MAX_UNIT

#: Bytes of a body; more where results may be longer.
MAX_BODY: Final = 1024 * 1024
#: Operations in one batch.
MAX_OPERATIONS: Final = 1_000
#: Fields of a form.
MAX_FIELDS: Final = 200

Id = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9._:-]{{1,{MAX_ID}}}$")]
UserIdText = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
_Finite = Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)
_Positive = Meta(ge=0, le=MAX_NUMBER)
_Lease = Meta(ge=1, le=86_400)
_Percent = Meta(ge=0, le=100)
_Weight = Meta(ge=0, le=MAX_WEIGHT)
# Whole numbers stay whole.
Number = Annotated[int, _Finite] | Annotated[float, _Finite]
Total = Annotated[int, _Positive] | Annotated[float, _Positive]
Lease = Annotated[int, _Lease] | Annotated[float, _Lease]
Holder = Annotated[str, Meta(min_length=1, max_length=64)]
Percent = Annotated[int, _Percent] | Annotated[float, _Percent]
Weight = Annotated[int, _Weight] | Annotated[float, _Weight]
Unit = Annotated[str, Meta(max_length=MAX_UNIT)]
#: The one field of which null says something else than leaving it out.
Message = Annotated[str, Meta(description="Left out: `Starting...`; null: none.")]


class CreateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new task. ``user_id`` must be given: null for a task without an owner."""

    user_id: UserIdText | Whole | None
    task_id: Id | Whole | None = None
    name: str | None = None
    status: Literal["pending", "processing"] | None = None
    message: Message | UnsetType | None = UNSET
    total: Total | None = None
    unit: Unit | None = None
    metadata: dict[str, Any] | None = None
    cancellable: bool | None = None
    groups: Annotated[list[Id], Meta(max_length=MAX_GROUPS)] | None = None
    #: An unfinished task of this id and owner is answered instead of a 409.
    exist_ok: bool | None = None
    #: The unfinished task of the same owner that it is a part of, and how much it counts there (1).
    parent_id: Id | Whole | None = None
    weight: Weight | None = None
    #: How many parts it is to have itself; it ends with them.
    children: Annotated[int, Meta(ge=0, le=MAX_CHILDREN)] | None = None


class RetryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another attempt at a task that has failed or was cancelled, as a new task."""

    new_task_id: Id | Whole | None = None


class UpdateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a task is; what is left out stays. A pending task starts by it."""

    message: str | None = None
    percent: Percent | None = None
    current: Number | None = None
    total: Total | None = None
    #: As many more than before.
    advance: Number | None = None
    unit: Unit | None = None
    metadata: dict[str, Any] | None = None


class StartRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pending task is being worked on now."""


class OutputRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of what a task writes, appended to one of its streams."""

    text: str
    stream: Id | None = None


class HeartbeatRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The task's worker is alive, and is heard of again within ``lease`` seconds; else the task fails.

    ``holder`` says which worker that is: while its lease runs, others are refused with 409 ``lease_held``, unless with
    ``takeover``. With ``release`` it gives the task back, and its lease ends.
    """

    lease: Lease | None = None
    holder: Holder | None = None
    takeover: bool | None = None
    release: bool | None = None


class CompleteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The task has ended well."""

    result: Any = None


class FailRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The task has ended badly. ``error`` is what the user reads."""

    error: str
    code: Annotated[str, Meta(max_length=64)] | None = None
    type: Annotated[str, Meta(max_length=200)] | None = None
    retryable: bool | None = None
    details: dict[str, Any] | None = None


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask the task to stop; with ``done``, the worker's answer: it has stopped."""

    done: bool | None = None


class AcknowledgeCancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The worker has heard of the request to stop, and will answer it."""


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several operations, done in this order; each stands alone."""

    operations: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MAX_OPERATIONS)]


#: What may be asked for a task, by the name that it has in a batch.
OPERATIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "create": CreateRequest,
    "update": UpdateRequest,
    "start": StartRequest,
    "output": OutputRequest,
    "heartbeat": HeartbeatRequest,
    "complete": CompleteRequest,
    "fail": FailRequest,
    "cancel": CancelRequest,
    "acknowledge_cancel": AcknowledgeCancelRequest,
    "retry": RetryRequest,
}

_T = TypeVar("_T", bound=msgspec.Struct)

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
TEXT: Final = "text/plain"
#: Fields of a form that are read as JSON, as numbers and as true or false; all others are text.
_OBJECTS: Final = frozenset(("metadata", "details"))
_NUMBERS: Final = frozenset(("percent", "current", "total", "advance", "lease", "weight", "children"))
_FLAGS: Final = frozenset(("cancellable", "exist_ok", "retryable", "done", "takeover", "release"))


def body(request: Request, kind: type[_T], max_bytes: int, *, forms: bool = True) -> _T:
    """The body of a request. Raises `InvalidValue` naming the field, and werkzeug's errors for what cannot be read."""
    media = request.mimetype
    content = content_of(request, max_bytes)
    if media == FORM and forms:
        return convert(_form(request, content), kind)
    if media == TEXT and kind is OutputRequest:
        given: dict[str, Any] = {"text": _text(content)}
        if "stream" in request.args:
            given["stream"] = request.args["stream"]
        return convert(given, kind)
    if not content:  # whatever type it is said to be: some servers name one where there is none
        return convert({}, kind)
    if media == JSON or (media.startswith("application/") and media.endswith("+json")):
        return convert(_loads(content), kind)
    kinds = [JSON, *([FORM] if forms else []), *([TEXT] if kind is OutputRequest else [])]
    raise UnsupportedMediaType(f"The Content-Type may be {' or '.join(kinds)}.")


def content_of(request: Request, max_bytes: int) -> bytes:
    """The body as bytes, at most so many of them."""
    if request.content_length is None and request.headers.get("Transfer-Encoding"):
        raise LengthRequired("A body without a Content-Length is not taken.")
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge(f"The body has {request.content_length} bytes; at most {max_bytes} are taken.")
    return request.get_data(cache=True)


def convert(given: Any, kind: type[_T]) -> _T:
    """The values as their type has them. Raises `InvalidValue` that names the field; never anything else."""
    if not isinstance(given, dict):
        raise InvalidValue("body", "an object is needed")
    for name in given:
        if name not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__) or "none"
            raise InvalidValue(f"{name!s:.80}", f"is no field here; there is {known}")
    try:
        return msgspec.convert(given, kind, strict=True)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        text, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$").removeprefix(".")
        if not field and "required field" in text:
            field = text.split("`")[1] if "`" in text else ""
        raise InvalidValue(field or "body", text) from None


def _loads(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None


def _form(request: Request, content: bytes) -> dict[str, Any]:
    pairs: Iterable[tuple[str, str]]
    if not content and "form" in request.__dict__:  # a handler of the host app has read it already
        pairs = request.form.items(multi=True)
    else:
        try:
            pairs = parse_qsl(_text(content), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
        except ValueError as error:
            raise BadRequest(f"The body is not a form: {error}.") from None
    given: dict[str, Any] = {}
    for name, text in pairs:
        if name == "groups":
            given.setdefault(name, []).append(text)
        elif name in given:
            raise InvalidValue(f"{name:.80}", "is given twice")
        else:
            given[name] = _of_text(name, text)
    return given


def _of_text(name: str, text: str) -> Any:
    """The value that a field of a form stands for. What cannot be read stays text, and its type says what is wrong."""
    if name in _FLAGS:
        return {"true": True, "1": True, "false": False, "0": False, "": None}.get(text.lower(), text)
    if name in _NUMBERS:
        return _number(text)
    if name in _OBJECTS or name == "result":
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return text
    return text


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _number(text: str) -> Any:
    if not text:
        return None
    try:
        return int(text) if text.lstrip("+-").isdigit() and len(text) < 20 else _finite(float(text))
    except ValueError:
        return text


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError
    return value
