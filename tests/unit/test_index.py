"""The ordered set behind the pages."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.registry import index
from realtime.registry.index import Index


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four, so that a few dozen numbers fill many."""
    monkeypatch.setattr(index, "_CHUNK", 4)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=120),
    st.none() | st.integers(-1, 45),
    st.integers(0, 50),
)
def test_it_is_an_ordered_set(steps: list[tuple[bool, int]], bound: int | None, limit: int) -> None:
    """Whatever is added and removed, in whatever order: each number is there once, and a page is the highest ones."""
    numbers, model = Index(), set[int]()
    for adding, number in steps:
        if adding:
            numbers.add(number)
            model.add(number)
        else:
            numbers.discard(number)
            model.discard(number)
        assert bool(numbers) == bool(model)
    ordered = sorted(model)
    below = ordered if bound is None else ordered[: bisect_left(ordered, bound)]
    assert numbers.below(bound, limit) == below[::-1][:limit]


def test_no_chunk_is_empty_or_too_long() -> None:
    """Growing numbers, as creation makes them, leave full chunks behind; in the middle a full one is halved."""
    numbers = Index()
    for number in range(0, 40, 2):
        numbers.add(number)
    assert {len(chunk) for chunk in numbers._chunks} == {4}
    for number in range(1, 40, 2):
        numbers.add(number)
    assert {len(chunk) for chunk in numbers._chunks} <= {1, 2, 3, 4}
    for number in range(40):
        numbers.discard(number)
    assert numbers._chunks == []
