"""What may go into a task: ids, texts, numbers, JSON. Each function returns the value as it is stored, or raises
`InvalidValue` or `InvalidType` (also a ``TypeError``) that names the field and the bound. Pure; nothing is changed.

Texts are ``str``, of any characters that UTF-8 can carry: control characters and NUL too, since JSON escapes them and
the page shows user text as text; but no lone surrogates. Numbers are finite and between -2**53 and 2**53, up to where
JavaScript counts exactly; a bool is not a number.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import numbers
import operator
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final, SupportsIndex
from uuid import UUID

import msgspec

from .errors import InvalidType, InvalidValue
from .kin import MAX_CHILDREN, MAX_WEIGHT
from .progress import MAX_NUMBER

#: Characters of a task, group or user id.
MAX_ID: Final = 128
#: Groups of one task.
MAX_GROUPS: Final = 8
#: Characters of a unit.
MAX_UNIT: Final = 40
#: Levels of lists and objects in a JSON value.
MAX_DEPTH: Final = 100

_ID: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_ID}}}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: What may be given as the id of a task; a `str` of it is stored.
TaskId = str | int | UUID


def task_id(value: object, field: str = "task_id") -> str:
    """An id of ASCII letters, digits and ``._:-``, at most 128 of them; None makes one of 144 random bits."""
    if value is None:
        return secrets.token_urlsafe(18)
    return _id(value, field)


def known_id(value: TaskId) -> str:
    """The id of a task that is there already, as far as it is text: no task has a wrong one. None is refused."""
    if value is None:  # `task_id` would make a new one
        raise InvalidType("task_id", "None; the id of a task is needed")
    return value if type(value) is str else task_id(value)


def holder(value: object) -> str:
    """Who holds a lease: 1 to 64 characters."""
    name = text("holder", value, 64)
    if not name:
        raise InvalidValue("holder", "it is empty; 1 to 64 characters are needed")
    return name


def is_task_id(text: str) -> bool:
    """Whether a task can have that id."""
    return _ID.fullmatch(text) is not None


def groups(value: object, field: str = "groups", most: int = MAX_GROUPS) -> tuple[str, ...]:
    """Group ids, each as a task id, the same one once; a task has at most 8."""
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        raise InvalidType(field, f"{_name(value)}; give a tuple of group ids, as in ('team:7',)")
    found = tuple(dict.fromkeys(_id(group, field) for group in value))
    if len(found) > most:
        raise InvalidValue(field, f"{len(found)} groups; at most {most} are taken")
    return found


def _id(value: object, field: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise InvalidType(field, f"{_name(value)}; an id is a str, an int or a UUID")
    text = _plain(value) if isinstance(value, str) else _digits(value, field) if isinstance(value, int) else str(value)
    if _ID.fullmatch(text) is None:
        shown = ascii(text) if len(text) <= MAX_ID else f"{len(text)} characters"
        raise InvalidValue(field, f"{shown}; an id has 1 to {MAX_ID} of the characters A-Z a-z 0-9 . _ : -")
    return text


def user_id(value: object, field: str = "user_id") -> str | None:
    """A user id: 1 to 128 characters, none of them a control character; an int as its digits. None stays None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidType(field, f"{_name(value)}; a user id is a str or an int (for other kinds, give str(…) of it)")
    text = _plain(value) if isinstance(value, str) else _digits(value, field)
    if not 1 <= len(text) <= MAX_ID:
        raise InvalidValue(field, f"{len(text)} characters; a user id has 1 to {MAX_ID}")
    if _CONTROL.search(text):
        raise InvalidValue(field, f"{text!a}; a user id has no control characters")
    _encodable(field, text)
    return text


def text(field: str, value: object, max_chars: int) -> str:
    """A text of at most ``max_chars`` characters (code points)."""
    if not isinstance(value, str):
        raise InvalidType(field, f"{_name(value)}; a str is needed")
    if len(value) > max_chars:
        raise InvalidValue(field, f"{len(value)} characters; at most {max_chars} are taken")
    if not value.isascii():
        _encodable(field, value)
    return value if type(value) is str else _plain(value)


def unit(value: object, field: str = "unit") -> str | None:
    """What is counted: a text of at most 40 characters, or None."""
    return None if value is None else text(field, value, MAX_UNIT)


def number(field: str, value: object) -> int | float:
    """A finite number from -2**53 to 2**53.

    What counts as an int (``__index__``) or is a real number is taken as the ``int`` or ``float`` that it equals:
    NumPy's scalars, ``Fraction``. ``Decimal``, text and bool are not.
    """
    plain: int | float
    if type(value) is int or type(value) is float:
        plain = value
    elif isinstance(value, bool):
        raise InvalidType(field, "bool; a number is needed")
    elif isinstance(value, SupportsIndex):
        plain = operator.index(value)
    elif isinstance(value, numbers.Real):
        plain = float(value)
    else:
        raise InvalidType(field, f"{_name(value)}; a number is needed")
    if not -MAX_NUMBER <= plain <= MAX_NUMBER:  # NaN is not between anything.
        if isinstance(plain, float) and not math.isfinite(plain):
            raise InvalidValue(field, f"{plain}; a finite number is needed")
        raise InvalidValue(field, "a number goes from -2**53 to 2**53, as far as JavaScript counts exactly")
    return plain


def percent(value: object, field: str = "percent") -> float:
    """A percent, 0–100: 0.4 is 0.4 %."""
    plain = number(field, value)
    if not 0 <= plain <= 100:
        raise InvalidValue(field, f"{plain}; a percent goes from 0 to 100")
    return float(plain)


def total(value: object, field: str = "total") -> int | float | None:
    """A number of steps, 0 or more; None = not known."""
    if value is None:
        return None
    plain = number(field, value)
    if plain < 0:
        raise InvalidValue(field, f"{plain}; a total is 0 or more")
    return plain


def json_value(field: str, value: Any, max_bytes: int) -> bytes:
    """The value as JSON in UTF-8, at most ``max_bytes`` long.

    Taken: None, bool, int (64 bits; beyond 2**53 JavaScript rounds), finite float, str, and subclasses of the last
    three; dict with str keys; list, tuple, set, frozenset (a list); dataclass, attrs and msgspec objects (an object of
    their fields); datetime, date, time (RFC 3339), timedelta (ISO 8601), UUID and Decimal (a text); Enum (its value).
    All else raises `InvalidType` with its path (``result.scores[3]: numpy.float32 …``): bytes too, as there is no one
    right text for them. NaN, infinity, lone surrogates, more than 100 levels, and too many bytes raise `InvalidValue`.
    """
    try:
        encoded = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        _inspect(field, value, 0)
        raise InvalidValue(field, f"cannot be written as JSON: {error}") from error
    if len(encoded) > max_bytes:
        raise InvalidValue(field, f"{len(encoded)} bytes as JSON; at most {max_bytes} are taken")
    _inspect(field, value, 0)
    return encoded


def json_object(field: str, value: Any, max_bytes: int) -> bytes:
    """The same for what must be a JSON object at its top: a dict, or an object with fields."""
    encoded = json_value(field, value, max_bytes)
    if not encoded.startswith(b"{"):
        raise InvalidType(field, f"{_name(value)}; a dict is needed")
    return encoded


def _hook(value: object) -> object:
    """For what msgspec does not know: subclasses of the plain types, as what they are at heart."""
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(_name(value))


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_hook)
#: What the encoder turns into text by itself.
_TEXTUAL: Final = (date, time, timedelta, UUID, Decimal)


def _inspect(path: str, value: Any, depth: int) -> None:
    """Raise for the first part that JSON cannot carry, or only as something else (NaN as null, 1 as "1")."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, enum.Enum):
        _inspect(path, value.value, depth)
    elif isinstance(value, str):
        _encodable(path, value)
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise InvalidValue(path, "an int of more than 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue(path, f"{float(value)} is not a JSON number; give None in its place")
    elif not isinstance(value, _TEXTUAL):
        parts = _parts(path, value)
        if parts is None:
            raise InvalidType(path, f"{_name(value)} cannot be written as JSON")
        if depth == MAX_DEPTH:
            raise InvalidValue(path.partition(".")[0].partition("[")[0], f"more than {MAX_DEPTH} levels deep")
        for part, inner in parts:
            _inspect(part, inner, depth + 1)


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]] | None:
    """The parts of a value with their paths, None if it is nothing that has parts in JSON."""
    if isinstance(value, dict):
        return ((_member(path, key), inner) for key, inner in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ((f"{path}[{place}]", inner) for place, inner in enumerate(value))
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    elif dataclasses.is_dataclass(value):
        names = tuple(field.name for field in dataclasses.fields(value))
    elif hasattr(value, "__attrs_attrs__"):
        names = tuple(field.name for field in value.__attrs_attrs__)
    else:
        return None
    return ((f"{path}.{name}", getattr(value, name)) for name in names if hasattr(value, name))


def _member(path: str, key: object) -> str:
    if not isinstance(key, str):
        raise InvalidType(path, f"has the key {ascii(key)[:80]}, {_name(key)}; the keys of a JSON object are str")
    _encodable(path, key)
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{key[:80]!r}]"


def _encodable(field: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        found = f"has the lone surrogate U+{ord(value[error.start]):04X} at {error.start}"
        raise InvalidValue(field, f"{found}; UTF-8 cannot carry it") from None


def _plain(value: str) -> str:
    """The exact ``str`` that a subclass (``Markup``, an enum's member) holds."""
    return str.__str__(value)


def _digits(value: int, field: str) -> str:
    # Python refuses to write out thousands of digits, in words of its own.
    if abs(value) >= 10**MAX_ID:
        raise InvalidValue(field, f"an int of more than {MAX_ID} digits")
    return int.__repr__(value)


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def weight(value: object, field: str = "weight") -> float:
    """How much a task counts in its parent: 0 to 10**9."""
    weighs = float(number(field, value))
    if not 0.0 <= weighs <= MAX_WEIGHT:
        raise InvalidValue(field, f"{value!r}; it may be 0 to {MAX_WEIGHT:g}")
    return weighs


def children(value: object, field: str = "children") -> int | None:
    """How many parts a task is to have: a whole number from 0 to 10,000, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise InvalidType(field, f"{_name(value)}; a whole number is needed")
    if not 0 <= (count := operator.index(value)) <= MAX_CHILDREN:
        raise InvalidValue(field, f"{count:.6g}; it may be 0 to {MAX_CHILDREN}")
    return count


def mapping(field: str, value: object) -> dict[str, Any]:
    """A mapping of any kind, as a dict for `json_value`."""
    if not isinstance(value, Mapping):
        raise InvalidType(field, f"an object (a dict), not {type(value).__name__}")
    return dict(value)


def printable(text: str) -> str:
    """A text of others for a terminal, without what moves a cursor there, or turns letters round."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
