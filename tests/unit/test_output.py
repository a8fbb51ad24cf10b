"""Output: append-only, whole and in order, before the task's end, within a tail that is kept."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import realtime.flush
from realtime.errors import LimitReached, TaskAlreadyFinished, TaskNotFound
from realtime.registry.memory import MemoryRegistry
from realtime.registry.output import MAX_STREAMS, Stream
from realtime.registry.sqlite import SqliteRegistry
from realtime.viewer import Viewer
from support.watching import HandOutbox, House


@given(st.lists(st.text(max_size=20), max_size=30), st.integers(1, 64), st.integers(1, 16))
def test_a_stream_is_read_whole_and_between_characters(texts: list[str], tail: int, most: int) -> None:
    """Read from anywhere in pieces of any size, what is kept comes back as it was written."""
    stream, written = Stream(tail), b""
    for text in texts:
        stream.append(text.encode())
        written += text.encode()
    assert stream.end == len(written)
    kept = written[stream.start :]
    assert len(kept) <= tail
    offset, read = 0, b""
    while offset < stream.end:
        piece = stream.read(offset, stream.end, most)
        assert piece.offset == max(offset, stream.start)
        piece.data.decode()  # raises inside a character
        assert piece.end == piece.offset + len(piece.data) > offset
        read, offset = read + piece.data, piece.end
    assert read == kept


def told(outbox: HandOutbox) -> list[tuple[str, Any]]:
    """Output as stream, offset and text; other events by name."""
    return [
        (payload["stream"], (payload["offset"], payload["text"])) if event == "task_output" else (event, None)
        for event, payload in outbox.take()
    ]


@pytest.fixture
def house() -> House:
    house = House()
    house.operations.create_task("a", "ann")
    return house


def test_pieces_are_joined_and_go_before_the_end(house: House) -> None:
    """However the marks came, all that was written stands before the terminal event."""
    _, outbox = house.viewer("ann")
    house.hub.flush()
    outbox.take()
    house.operations.append_output("a", "one\n")
    house.operations.update_task_progress("a", "more")
    house.operations.append_output("a", "zwei é\n")
    house.operations.complete_task("a")
    house.hub.flush()
    assert told(outbox) == [("output", (0, "one\nzwei é\n")), ("task_completed", None)]


@pytest.mark.parametrize("before", ["", "before "])
def test_an_end_waits_for_output_that_is_not_announced_yet(house: House, before: str) -> None:
    """Another thread ends the task, and a flush comes, while a writer has stored a piece and not told of it."""
    _, outbox = house.viewer("ann")
    if before:
        house.operations.append_output("a", before)
    house.hub.flush()
    seen = told(outbox)
    mark = house.registry.on_output
    assert mark is not None

    def late(*piece: Any) -> None:
        house.operations.complete_task("a")
        for _ in range(2):
            house.hub.flush()
            seen.extend(told(outbox))
        mark(*piece)

    house.registry.on_output = late
    house.operations.append_output("a", "piece")
    house.hub.flush()
    seen += told(outbox)
    assert "".join(piece[1] for what, piece in seen if what == "output") == f"{before}piece"
    assert [what for what, _ in seen][-2:] == ["output", "task_completed"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_pieces_that_are_announced_in_another_order_are_all_told(kind: str, tmp_path: Path) -> None:
    """One writer is held up after its first piece, and one that has written behind it tells of its own first."""
    with contextlib.closing(MemoryRegistry() if kind == "memory" else SqliteRegistry(tmp_path / "tasks")) as registry:
        announce_in_another_order(House(registry=registry))


def announce_in_another_order(house: House) -> None:
    house.operations.create_task("a", "ann")
    _, outbox = house.viewer("ann")
    house.hub.flush()
    told(outbox)
    mark = house.registry.on_output
    assert mark is not None

    def late(*piece: Any) -> None:
        house.registry.on_output = mark
        house.operations.append_output("a", "two ")
        house.hub.flush()
        mark(*piece)

    house.registry.on_output = late
    house.operations.append_output("a", "one ")
    house.operations.append_output("a", "three")
    seen = told(outbox)
    house.hub.flush()
    assert seen + told(outbox) == [("output", (0, "one two ")), ("output", (8, "three"))]


def test_a_new_task_of_the_same_id_writes_from_the_beginning(house: House) -> None:
    """Though between two flushes another one has written, ended and gone."""
    _, outbox = house.viewer("ann")
    house.operations.append_output("a", "of the first")
    house.hub.flush()
    told(outbox)
    house.operations.append_output("a", " and more")
    house.operations.complete_task("a")
    house.operations.remove_task("a")
    house.operations.create_task("a", "ann")
    house.operations.append_output("a", "second")
    house.hub.flush()
    house.hub.flush()
    assert ("output", (0, "second")) in told(outbox)


def test_an_end_waits_for_output_that_found_no_room(house: House) -> None:
    """A flush has bounds; the rest of the output comes with the next ones, and the end last."""
    _, outbox = house.viewer("ann")
    text = "".join(f"line {number}\n" for number in range(20_000))
    house.operations.append_output("a", text)
    house.operations.complete_task("a")
    seen: list[tuple[str, Any]] = []
    for _ in range(20):
        house.hub.flush()
        seen += told(outbox)
    outputs = [piece for what, piece in seen if what == "output"]
    assert "".join(piece[1] for piece in outputs) == text
    assert len(outputs) > 2
    assert seen[-1] == ("task_completed", None)
    assert [what for what, _ in seen].count("task_completed") == 1


def test_output_that_cannot_be_encoded_keeps_nothing_else_from_being_told(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed over, tried once for all viewers, and logged once; ends, other streams and other tasks are told.
    What was before it is told, and what comes after it is when that can be.
    """
    monkeypatch.setattr(realtime.flush, "MAX_PIECE_BYTES", 4)
    outboxes = [house.viewer("ann")[1] for _ in range(2)]
    make, broken = house.hub.make_frame, [True]
    tried: list[bytes] = []

    def fail(event: str, payload: bytes) -> Any:
        if b"bad" in payload and broken[0]:
            tried.append(payload)
            raise RuntimeError("no frame")
        return make(event, payload)

    house.hub.make_frame = fail
    house.operations.create_task("b", "ann")
    house.hub.flush()
    assert [told(outbox) for outbox in outboxes] == [[("task_created", None)] * 2] * 2
    house.operations.append_output("a", "goodbad morebad")
    house.operations.append_output("b", "fine")
    house.hub.flush()
    assert [told(outbox) for outbox in outboxes] == [[("output", (0, "good")), ("output", (0, "fine"))]] * 2
    house.hub.flush()
    assert [told(outbox) for outbox in outboxes] == [[]] * 2
    assert not house.hub.owing()
    assert len(tried) == 2  # once in each flush
    broken[0] = False
    house.operations.append_output("a", "!")
    house.operations.append_output("a", "bad")
    house.hub.flush()
    assert [told(outbox) for outbox in outboxes] == [[("output", (15, "!bad"))]] * 2
    broken[0] = True
    house.operations.append_output("a", "bad")
    house.operations.complete_task("a")
    house.hub.flush()
    assert [told(outbox) for outbox in outboxes] == [[("task_completed", None)]] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "The task a or its output could not be encoded; it is left out."
    ]


def test_a_viewer_gets_only_what_comes_after_it(house: House) -> None:
    """Live, without asking; and from its own offset on when it asks."""
    house.operations.append_output("a", "before ")
    house.hub.flush()
    viewer, outbox = house.viewer("ann")
    house.operations.append_output("a", "after")
    house.hub.flush()
    assert told(outbox) == [("output", (7, "after"))]
    house.hub.resume(viewer, "a", {"output": 2})
    house.hub.flush()
    assert told(outbox) == [("output", (2, "fore after"))]


def test_a_viewer_behind_the_tail_sees_the_gap() -> None:
    """The first piece begins later than was asked for."""
    house = House(registry=MemoryRegistry(output_tail=16))
    house.operations.create_task("a", "ann")
    viewer, outbox = house.viewer("ann")
    house.operations.append_output("a", "x" * 20 + "y" * 10)
    house.hub.resume(viewer, "a", {"output": 0})
    house.hub.flush()
    assert ("output", (14, "x" * 6 + "y" * 10)) in told(outbox)


def test_a_busy_viewer_gets_it_all_later(house: House) -> None:
    """Output is never conflated: what came while it could take nothing follows in order."""
    _, outbox = house.viewer("ann")
    house.operations.append_output("a", "1")
    house.hub.flush()
    assert outbox.flushes
    for number in range(2, 6):
        house.operations.append_output("a", f"{number}")
        house.hub.flush()
    first = told(outbox)
    house.hub.flush()
    assert [piece for what, piece in first + told(outbox) if what == "output"] == [(0, "1"), (1, "2345")]


def test_a_viewer_may_decline(house: House) -> None:
    """Then it gets only the output that it asked for, not that of every task it watches; and only as long."""
    viewer, outbox = house.viewer("ann")
    viewer.declines = True
    house.hub.enter(viewer, ["a"])
    house.hub.flush()
    outbox.take()
    house.operations.append_output("a", "unheard")
    house.hub.flush()
    assert told(outbox) == []
    house.hub.resume(viewer, "a", {"output": 7})
    house.operations.append_output("a", " heard")
    house.operations.append_output("a", "another stream", stream="stderr")
    house.hub.flush()
    assert told(outbox) == [("output", (7, " heard"))]
    house.operations.append_output("a", "too late")
    house.hub.exit(viewer, [], [("a", ["output"])])
    house.hub.flush()
    assert told(outbox) == []
    assert (viewer.follows, "output:a" in viewer.rooms, "task:a" in viewer.rooms) == (None, False, True)


def test_output_is_asked_for_without_the_task(house: House) -> None:
    """Who hears of a task anyway needs no other room of it; leaving the task ends its output too."""
    viewer, outbox = house.viewer("ann")
    viewer.declines = True
    house.hub.resume(viewer, "a", {"output": 0, "stderr": 0})
    house.operations.append_output("a", "é", stream="stderr")
    house.hub.flush()
    assert told(outbox)[0] == ("stderr", (0, "é"))
    house.hub.exit(viewer, ["a"])
    house.operations.append_output("a", "unheard", stream="stderr")
    house.hub.flush()
    assert told(outbox) == []


def test_what_is_made_anew_under_an_id_has_to_be_asked_for_anew(house: House) -> None:
    """Offsets of the former life mean nothing in the new one."""
    viewer, outbox = house.viewer("ann")
    viewer.declines = True
    house.hub.resume(viewer, "a", {"output": 0})
    house.operations.complete_task("a")
    house.operations.remove_task("a")
    house.operations.create_task("a", "ann")
    house.operations.append_output("a", "new life")
    house.hub.flush()
    assert [what for what, _ in told(outbox) if what == "output"] == []
    assert viewer.follows is None
    house.hub.resume(viewer, "a", {"output": 0})
    house.hub.flush()
    assert told(outbox) == [("output", (0, "new life"))]


def test_strangers_see_none_of_it(house: House) -> None:
    """Whoever may not view the task is told nothing, even when they ask."""
    viewer, outbox = house.viewer("bob")
    house.operations.append_output("a", "secret")
    house.hub.resume(viewer, "a", {"output": 0})
    house.hub.flush()
    assert told(outbox) == []


def test_output_does_not_move_the_version(house: House) -> None:
    """Its size shows in the next version; one version is one text."""
    before = house.registry.get("a")
    house.operations.append_output("a", "éé")
    after = house.registry.get("a")
    assert before is not None
    assert after is not None
    assert (after.version, after.encode()) == (before.version, before.encode())
    assert house.operations.update_task_progress("a", "x").output_size == 4
    assert house.operations.complete_task("a").output_size == 4


def test_bounds_and_ends(house: House) -> None:
    """No output after the end, nor for a task that is none; streams are counted; a removed task's output is gone."""
    with pytest.raises(TaskNotFound):
        house.operations.append_output("none", "x")
    for number in range(MAX_STREAMS):
        house.operations.append_output("a", "x", stream=f"s{number}")
    with pytest.raises(LimitReached):
        house.operations.append_output("a", "x", stream="more")
    house.operations.complete_task("a")
    with pytest.raises(TaskAlreadyFinished):
        house.operations.append_output("a", "x", stream="s0")
    house.operations.remove_task("a")
    assert house.registry.output_ends("a") == {}


def test_what_is_written_in_mid_flush_is_told_once(house: House) -> None:
    """While the flusher makes one viewer's frames, the job writes on: nothing is told twice."""
    _, outbox = house.viewer("ann")
    make = house.hub.make_frame

    def in_between(event: str, payload: bytes) -> Any:
        if event == "task_output" and len(payload) < 150:
            house.operations.append_output("a", "x" * 100)
        return make(event, payload)

    house.hub.make_frame = in_between
    for letter in "ab":
        house.operations.append_output("a", letter)
    read = ""
    for _ in range(4):
        house.hub.flush()
        read += "".join(piece[1] for what, piece in told(outbox) if what == "output")
    assert read == "ab" + "x" * 100


def test_what_is_written_between_two_looks_is_told_once(house: House) -> None:
    """The end that the flusher has seen holds for the whole flush, however late it comes to a viewer."""
    _, outbox = house.viewer("ann")
    real = house.hub._spread_output

    def late(task_id: str, stream: str, start: int) -> None:
        real(task_id, stream, start)
        if start == 0:
            house.operations.append_output("a", "second")

    house.hub._spread_output = late  # type: ignore[method-assign]
    house.operations.append_output("a", "first ")
    read = ""
    for _ in range(3):
        house.hub.flush()
        read += "".join(piece[1] for what, piece in told(outbox) if what == "output")
    assert read == "first second"


def test_an_end_that_comes_in_mid_flush_waits_for_its_output(house: House) -> None:
    """The job writes and ends after the flusher has looked for output, before it looks at the task."""
    _, outbox = house.viewer("ann")
    house.hub.flush()
    outbox.take()
    make = house.hub.make_frame

    def in_between(event: str, payload: bytes) -> Any:
        if event == "task_output" and b"first" in payload:
            house.operations.append_output("a", "last words")
            house.operations.complete_task("a")
        return make(event, payload)

    house.hub.make_frame = in_between
    house.operations.append_output("a", "first ")
    house.operations.update_task_progress("a", "working")
    seen: list[tuple[str, Any]] = []
    for _ in range(3):
        house.hub.flush()
        seen += told(outbox)
    assert "".join(piece[1] for what, piece in seen if what == "output") == "first last words"
    assert [what for what, _ in seen] == ["output", "output", "task_completed"]


def test_a_first_write_in_mid_flush_reaches_everybody(house: House) -> None:
    """One viewer asks for a stream that is written for the first time just now: the others are told of it too."""
    asks, _ = house.viewer("ann")
    _, outbox = house.viewer("ann")
    house.hub.flush()
    outbox.take()
    real = house.registry.output_ends

    def output_ends(task_id: str) -> dict[str, int]:
        house.registry.output_ends = real  # type: ignore[method-assign]
        house.operations.append_output("a", "first")
        return real(task_id)

    asks.outbox.busy_since = None
    house.hub.resume(asks, "a", {"output": -1})
    house.registry.output_ends = output_ends  # type: ignore[method-assign]
    for _ in range(2):
        house.hub.flush()
    assert told(outbox) == [("output", (0, "first"))]


def test_what_is_owed_may_be_told_while_one_asks(house: House) -> None:
    """In other threads the flusher goes on: it takes a viewer's last output away between two looks."""

    class Served:
        owed = Viewer.owed

        def __init__(self) -> None:
            self.dirty: dict[str, None] = {}
            self.looks = [{("b", "output"): 0}]

        @property
        def outputs(self) -> dict[tuple[str, str], int] | None:
            return self.looks.pop() if self.looks else None

    house.hub._behind[Served()] = None  # type: ignore[index]
    house.hub._dirty.clear()
    assert not house.hub.owes("a")


def test_a_reused_id_begins_anew(house: House) -> None:
    """A viewer that was behind with the output of the first task gets the second one's from its beginning."""
    _, outbox = house.viewer("ann")
    house.hub.flush()
    outbox.take()
    house.operations.append_output("a", "first")
    house.hub.flush()
    house.operations.append_output("a", " and more")
    house.hub.flush()  # busy: the offset 5 is remembered
    house.operations.complete_task("a")
    house.operations.remove_task("a")
    house.operations.create_task("a", "ann")
    house.operations.append_output("a", "a second life")
    house.hub.flush()
    outbox.take()
    house.hub.flush()
    assert ("output", (0, "a second life")) in told(outbox)


def test_a_stream_goes_on_at_an_offset() -> None:
    """What was before a gap is gone; where there is none, it stays."""
    stream = Stream(100)
    stream.resume(7)
    stream.append(b"one")
    stream.resume(10)
    stream.append(b"two")
    assert (stream.start, stream.read(0, 99, 99).data) == (7, b"onetwo")
    stream.resume(50)
    stream.append(b"three")
    assert (stream.start, stream.end, stream.read(0, 99, 99).data) == (50, 55, b"three")
