"""What may go into a task, and what is said when it may not."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import sys
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import values
from realtime.errors import InvalidType, InvalidValue


class Lazy(str):
    """A text of a kind of its own, as Jinja's ``Markup`` is."""

    __slots__ = ()


class Word(enum.StrEnum):
    TEAM = "team:7"


class Steps(int):
    pass


class Weight(float):
    """A float of a kind of its own, as ``numpy.float64`` is."""


class Index:
    """Counts as an int, as NumPy's integers do."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


# Ids.


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("a", "a"),
        ("A-z_0.9:x", "A-z_0.9:x"),
        ("x" * 128, "x" * 128),
        (42, "42"),
        (Steps(42), "42"),
        (Lazy("a"), "a"),
        (Word.TEAM, "team:7"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_task_ids_are_stored_as_text(given: object, stored: str) -> None:
    """A str, an int or a UUID is taken, and stored as an exact str."""
    assert values.task_id(given) == stored
    assert type(values.task_id(given)) is str


def test_a_task_id_is_made_when_omitted() -> None:
    """It is one that would be taken, and no two are the same."""
    made = {values.task_id(None) for _ in range(1000)}
    assert len(made) == 1000
    assert all(values.task_id(task_id) == task_id and len(task_id) == 24 for task_id in made)


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", "é", "a\n", "a\x00", "²", 10**200])
def test_a_wrong_task_id_is_refused(given: object) -> None:
    """What is not 1 to 128 of the characters is refused, and the message says which may be used."""
    with pytest.raises(InvalidValue, match=r"^task_id: .*128"):
        values.task_id(given)


@pytest.mark.parametrize("given", [True, 1.5, b"a", ["a"], object()])
def test_a_task_id_of_another_type_is_refused(given: object) -> None:
    """The error is a TypeError, and names the type it got."""
    with pytest.raises(
        InvalidType, match=f"^task_id: {type(given).__name__}; an id is a str, an int or a UUID"
    ) as caught:
        values.task_id(given)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("given", "stored"),
    [("ann@example.org", "ann@example.org"), (42, "42"), (Lazy("é ✓"), "é ✓"), (None, None), ("x" * 128, "x" * 128)],
)
def test_user_ids_are_stored_as_text(given: object, stored: str | None) -> None:
    """Any text without control characters, or an int; None stays None."""
    assert values.user_id(given) == stored


@pytest.mark.parametrize("given", ["", "x" * 129, "a\nb", "a\x7f", "a\x85", "\ud800", 10**200])
def test_a_wrong_user_id_is_refused(given: object) -> None:
    """An empty one above all: everybody without an id would be the same user."""
    with pytest.raises(InvalidValue, match=r"^user_id: "):
        values.user_id(given)


@pytest.mark.parametrize("given", [True, 1.5, b"a", UUID(int=1), object()])
def test_a_user_id_of_another_type_is_refused(given: object) -> None:
    """True is not user 1."""
    with pytest.raises(InvalidType, match=r"^user_id: "):
        values.user_id(given)


def test_groups_are_a_tuple_of_ids() -> None:
    """In the order given, the same one once; at most eight, unless more are allowed."""
    assert values.groups(["team:7", 3, "team:7"]) == ("team:7", "3")
    assert values.groups(()) == ()
    assert len(values.groups({str(number) for number in range(8)})) == 8
    with pytest.raises(InvalidValue, match=r"^groups: 9 groups; at most 8 are taken"):
        values.groups([str(number) for number in range(9)])
    assert len(values.groups([str(number) for number in range(99)], most=99)) == 99
    with pytest.raises(InvalidValue, match=r"^groups: 'a b'"):
        values.groups(["a b"])


@pytest.mark.parametrize("given", ["team:7", b"team", 7, None, iter(["a"])])
def test_groups_of_another_type_are_refused(given: object) -> None:
    """A lone text above all, which would be a group for each letter."""
    with pytest.raises(InvalidType, match=r"^groups: .*give a tuple of group ids"):
        values.groups(given)


# Texts.


@pytest.mark.parametrize("given", ["", "Reading page 3", "é✓😀", "a\x00\n\x1b", "x" * 20, Lazy("é"), Word.TEAM])
def test_texts_are_taken_as_they_are(given: str) -> None:
    """Of any characters, stored as an exact str."""
    taken = values.text("message", given, 20)
    assert taken == given
    assert type(taken) is str


def test_a_text_too_long_is_refused() -> None:
    """The bound counts characters, not bytes, and is named."""
    assert values.text("message", "😀" * 5, 5) == "😀" * 5
    with pytest.raises(InvalidValue, match=r"^message: 6 characters; at most 5 are taken"):
        values.text("message", "😀" * 6, 5)


@pytest.mark.parametrize("given", ["\ud800", "a\udfffb", "é\ud83d"])
def test_a_lone_surrogate_is_refused(given: str) -> None:
    """UTF-8 cannot carry half a character; the message says which and where."""
    with pytest.raises(InvalidValue, match=r"^message: has the lone surrogate U\+D[89F]"):
        values.text("message", given, 20)


@pytest.mark.parametrize("given", [None, 5, b"a", ["a"]])
def test_a_text_of_another_type_is_refused(given: object) -> None:
    """Nothing is turned into text unasked."""
    with pytest.raises(InvalidType, match=r"^name: .*a str is needed"):
        values.text("name", given, 20)


def test_a_unit_is_a_short_text_or_none() -> None:
    """At most 40 characters."""
    assert (values.unit(None), values.unit("rows")) == (None, "rows")
    with pytest.raises(InvalidValue, match=r"^unit: 41 characters; at most 40"):
        values.unit("x" * 41)


# Numbers.


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (0, 0),
        (-3, -3),
        (2**53, 2**53),
        (0.5, 0.5),
        (Steps(3), 3),
        (Index(3), 3),
        (Fraction(1, 4), 0.25),
        (Weight(0.25), 0.25),
    ],
)
def test_numbers_are_stored_as_plain_ones(given: object, stored: float) -> None:
    """What counts as an int or is a real number is stored as the int or float that it equals."""
    taken = values.number("current", given)
    assert taken == stored
    assert type(taken) is type(stored)


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(given: float) -> None:
    """JSON has no word for it."""
    with pytest.raises(InvalidValue, match=r"^current: (nan|-?inf); a finite number is needed"):
        values.number("current", given)


@pytest.mark.parametrize("given", [2**53 + 1, -(2**53) - 1, 10**400, 1e16, Index(2**60)])
def test_a_number_too_large_is_refused(given: object) -> None:
    """The bound is where JavaScript stops to count exactly."""
    with pytest.raises(InvalidValue, match=r"^current: a number goes from -2\*\*53 to 2\*\*53"):
        values.number("current", given)


@pytest.mark.parametrize("given", [True, False, "5", None, Decimal(5), 1j, [1]])
def test_a_number_of_another_type_is_refused(given: object) -> None:
    """A bool above all: True is not one step."""
    with pytest.raises(InvalidType, match=r"^current: .*a number is needed"):
        values.number("current", given)


def test_a_percent_goes_from_0_to_100() -> None:
    """0.4 is 0.4 %; it is stored as a float."""
    assert [values.percent(given) for given in (0, 0.4, 100)] == [0.0, 0.4, 100.0]
    assert type(values.percent(40)) is float
    for wrong in (-0.1, 100.1, 101):
        with pytest.raises(InvalidValue, match=r"^percent: .*from 0 to 100"):
            values.percent(wrong)
    with pytest.raises(InvalidType, match=r"^percent: bool"):
        values.percent(True)
    with pytest.raises(InvalidValue, match=r"^percent: nan"):
        values.percent(math.nan)


def test_a_total_is_0_or_more_or_none() -> None:
    """None = not known."""
    assert [values.total(given) for given in (None, 0, 2.5)] == [None, 0, 2.5]
    with pytest.raises(InvalidValue, match=r"^total: -1; a total is 0 or more"):
        values.total(-1)
    with pytest.raises(InvalidType, match=r"^total: bool"):
        values.total(True)


# JSON.


@dataclasses.dataclass
class Row:
    cells: list[Any]


class Point(msgspec.Struct):
    x: Any


class Mark(enum.Enum):
    GOOD = 1
    BAD = math.nan


class Attrs:
    """What attrs makes, as far as msgspec looks."""


Pair = namedtuple("Pair", "left right")

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=80)
@given(json_values)
def test_what_json_knows_is_encoded(value: Any) -> None:
    """Plain values come back from the bytes as they went in."""
    assert json.loads(values.json_value("result", value, 1_000_000)) == value


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, b"null"),
        ((1, 2), b"[1,2]"),
        ({3}, b"[3]"),
        (frozenset(), b"[]"),
        (Pair(1, [2]), b"[1,[2]]"),
        (OrderedDict(a=1), b'{"a":1}'),
        (Row([1]), b'{"cells":[1]}'),
        (Point(Row([])), b'{"x":{"cells":[]}}'),
        (Mark.GOOD, b"1"),
        ({Word.TEAM: Word.TEAM}, b'{"team:7":"team:7"}'),
        ({Lazy("k"): [Lazy("v"), Steps(1)]}, b'{"k":["v",1]}'),
        ([Weight(0.5)], b"[0.5]"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2026-01-02T03:04:05Z"'),
        (date(2026, 1, 2), b'"2026-01-02"'),
        (timedelta(seconds=90), b'"PT90S"'),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.50"), b'"1.50"'),
        (2**64 - 1, b"18446744073709551615"),
        ("\x00é", '"\\u0000é"'.encode()),
    ],
)
def test_what_else_is_encoded(value: object, encoded: bytes) -> None:
    """The kinds that the docstring names, each in its form."""
    assert values.json_value("result", value, 1000) == encoded


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append([value])
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"scores": [1, 2, 3, 1j]}, "result.scores[3]: complex cannot be written as JSON"),
        ({"odd key": {"k": b"x"}}, "result['odd key'].k: bytes cannot be written as JSON"),
        ([object()], "result[0]: object cannot be written as JSON"),
        (iter([1]), "result: list_iterator cannot be written as JSON"),
        (Row, "result: type cannot be written as JSON"),
        (Index(1), f"result: {__name__}.Index cannot be written as JSON"),
        (Row([Index(1)]), f"result.cells[0]: {__name__}.Index cannot be written as JSON"),
        (memoryview(b"x"), "result: memoryview cannot be written as JSON"),
        (ValueError("x"), "result: ValueError cannot be written as JSON"),
        ({"a": {1: 2}}, "result.a: has the key 1, int; the keys of a JSON object are str"),
        ({(1, 2): 3}, "result: has the key (1, 2), tuple; the keys of a JSON object are str"),
        ({None: 3}, "result: has the key None, NoneType; the keys of a JSON object are str"),
    ],
)
def test_what_json_cannot_take_is_named_by_its_path(value: object, message: str) -> None:
    """The error is a TypeError that says where in the value it is, and what."""
    with pytest.raises(InvalidType) as caught:
        values.json_value("result", value, 1000)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [math.nan]}, "result.a[0]: nan is not a JSON number; give None in its place"),
        ([1, -math.inf], "result[1]: -inf is not a JSON number; give None in its place"),
        ([Weight(math.nan)], "result[0]: nan is not a JSON number; give None in its place"),
        (Point(math.inf), "result.x: inf is not a JSON number; give None in its place"),
        (Mark.BAD, "result: nan is not a JSON number; give None in its place"),
        ([2**64], "result[0]: an int of more than 64 bits"),
        ([-(2**63) - 1], "result[0]: an int of more than 64 bits"),
        ([10**5000], "result[0]: an int of more than 64 bits"),
        (["a\ud800"], "result[0]: has the lone surrogate U+D800 at 1; UTF-8 cannot carry it"),
        ({"\udfff": 1}, "result: has the lone surrogate U+DFFF at 0; UTF-8 cannot carry it"),
        (deep(101), "result: more than 100 levels deep"),
        (circle(), "result: more than 100 levels deep"),
    ],
)
def test_what_json_cannot_carry_is_named_by_its_path(value: object, message: str) -> None:
    """Nothing is quietly turned into null, or into a text that nobody can read back."""
    with pytest.raises(InvalidValue) as caught:
        values.json_value("result", value, 1000)
    assert str(caught.value) == message
    assert not isinstance(caught.value, TypeError)


def test_a_hundred_levels_are_taken() -> None:
    """The bound is the last depth that passes."""
    assert values.json_value("result", deep(100), 1000) == b"[" * 100 + b"]" * 100


def test_json_too_large_is_refused() -> None:
    """The bound counts bytes of UTF-8 and is named; just at the bound is taken."""
    assert values.json_value("metadata", "é", 4) == '"é"'.encode()
    with pytest.raises(InvalidValue, match=r"^metadata: 4 bytes as JSON; at most 3 are taken"):
        values.json_value("metadata", "é", 3)


def test_attrs_objects_are_objects_of_their_fields() -> None:
    """What has attrs' mark is looked into by it."""
    field = type("Field", (), {"name": "x"})()
    value = Attrs()
    value.x = [1j]  # type: ignore[attr-defined]
    Attrs.__attrs_attrs__ = (field,)  # type: ignore[attr-defined]
    try:
        with pytest.raises(InvalidType, match=r"^result.x\[0\]: complex"):
            values.json_value("result", value, 1000)
    finally:
        del Attrs.__attrs_attrs__  # type: ignore[attr-defined]


def test_an_error_of_the_value_itself_is_told() -> None:
    """What breaks while it is read, without a part to blame, is still refused with the field's name."""

    class Broken(list[int]):
        def __iter__(self) -> Any:
            return iter(())

    value = Broken([1])
    value.append(1j)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match=r"^result: cannot be written as JSON"):
        values.json_value("result", value, 1000)


def test_a_json_object_is_a_dict_at_its_top() -> None:
    """Lists and texts are none."""
    assert values.json_object("metadata", {"k": [1]}, 1000) == b'{"k":[1]}'
    assert values.json_object("metadata", Point(1), 1000) == b'{"x":1}'
    for wrong in ([1], "x", None, 5):
        with pytest.raises(InvalidType, match=r"^metadata: .*a dict is needed"):
            values.json_object("metadata", wrong, 1000)


def test_a_value_is_checked_at_any_depth_of_the_stack() -> None:
    """A job deep in its own recursion gets the value encoded, or an error of ours."""

    def dig(levels: int) -> bytes:
        return dig(levels - 1) if levels else values.json_value("result", {"a": [1, {"b": None}]}, 1000)

    assert dig(sys.getrecursionlimit() // 2) == b'{"a":[1,{"b":null}]}'
