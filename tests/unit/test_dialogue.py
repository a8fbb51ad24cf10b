"""The reading half of a push socket: whatever comes in, whole messages or the right close code come out."""

from __future__ import annotations

import os
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from realtime.transport.dialogue import Dialogue
from support.frame_strategies import Conversation, conversations, cut
from support.rfc6455 import judge, read_answer

LIMIT = 1_000


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True, extensions=[])


def close_code(dialogue: Dialogue) -> int | None:
    """The code of the close frame that is to be written, and that nothing follows it."""
    answer, ended = dialogue.outgoing()
    if not answer:
        return None
    assert ended
    assert answer[0] == 0x88
    return int.from_bytes(answer[2:4], "big")


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), max_size=20), st.integers(1, 40))
def test_messages_come_whole_however_they_are_cut(sizes: list[int], step: int) -> None:
    """In fragments, with control frames between them, in pieces of any size from the network."""
    wire, sent = b"", []
    for size in sizes:
        text = "4" + "é" * size
        data = text.encode()
        if len(data) > LIMIT:
            continue
        middle = len(data) // 2
        wire += frame(Opcode.TEXT, data[:middle], fin=False) + frame(Opcode.PING, b"p")
        wire += frame(Opcode.CONT, data[middle:])
        sent.append(text)
    dialogue, received = Dialogue(LIMIT), []
    for start in range(0, len(wire), step):
        received += dialogue.receive(wire[start : start + step])
    assert received == sent
    answer, ended = dialogue.outgoing()
    assert not ended
    assert answer.count(b"\x8a\x01p") == len(sent)


@settings(deadline=None, max_examples=300)
@given(conversations(LIMIT), st.lists(st.integers(1, 700), max_size=4))
def test_all_ends_as_rfc_6455_says(wire: Conversation, places: list[int]) -> None:
    """The same messages, pongs and close code as the model's, wherever the network cuts the bytes."""
    verdict = judge(wire, LIMIT, lambda text: text[:1] in tuple("123456"))
    dialogue = Dialogue(LIMIT)
    messages: list[str | bytes] = []
    said, over = b"", False
    for piece in cut(wire, places):
        messages += dialogue.receive(piece)
        answer, ended = dialogue.outgoing()
        assert not (over and answer), "something follows the end"
        said, over = said + answer, over or ended
    answered = read_answer(said)
    assert messages == verdict.messages
    assert answered.pongs == verdict.pings
    assert (answered.messages, answered.rest) == ([], b"")
    if answered.code is None:
        assert not verdict.codes or verdict.unsure
        assert not over
    else:
        assert answered.code in verdict.codes
        assert over


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_nothing_that_comes_in_raises(noise: bytes) -> None:
    """Garbage ends in silence or in a close frame with one of the codes that say what was wrong."""
    dialogue = Dialogue(LIMIT)
    for message in dialogue.receive(noise):
        assert isinstance(message, bytes) or message[0] in "123456"
    answer, ended = dialogue.outgoing()
    if ended and answer[:1] == b"\x88" and len(answer) >= 4:
        assert int.from_bytes(answer[2:4], "big") in {1000, 1001, 1002, 1003, 1007, 1009, 1011, *range(3000, 5000)}
    dialogue.receive(os.urandom(64))  # what comes afterwards is thrown away


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.TEXT, b"4\xff\xfe"), 1007),
        (frame(Opcode.TEXT, b"xyz"), 1002),
        (frame(Opcode.TEXT, b""), 1002),
        (frame(Opcode.TEXT, b"4" + b"x" * LIMIT), 1009),
        (frame(Opcode.TEXT, b"4" + b"x" * 600, fin=False) + frame(Opcode.CONT, b"x" * 600), 1009),
        (b"\x81\x02hi", 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
        (frame(Opcode.CONT, b"4"), 1002),
        (frame(Opcode.CLOSE, (1000).to_bytes(2, "big")), 1000),
    ],
    ids=[
        "not utf-8",
        "not engine.io",
        "empty",
        "long",
        "long in fragments",
        "unmasked",
        "compressed",
        "astray",
        "close",
    ],
)
def test_the_right_code_ends_it(data: bytes, code: int) -> None:
    """RFC 6455 section 7.4.1; the limit is one of the message, not of its frames."""
    dialogue = Dialogue(LIMIT)
    assert dialogue.receive(data) == []
    assert close_code(dialogue) == code


def test_what_follows_a_wrong_message_is_not_answered() -> None:
    """The network may bring both at once; the code is that of what came first."""
    dialogue = Dialogue(LIMIT)
    behind = frame(Opcode.PING, b"p") + frame(Opcode.TEXT, b"4\xff") + frame(Opcode.CLOSE, b"\x03\xe8")
    assert dialogue.receive(frame(Opcode.TEXT, b"3") + frame(Opcode.TEXT, b"xyz") + behind) == ["3"]
    assert close_code(dialogue) == 1002


def test_a_control_frame_finds_room_in_a_long_message() -> None:
    """The limit is one of the message; a ping between its fragments is no part of it."""
    dialogue = Dialogue(LIMIT)
    almost = frame(Opcode.TEXT, b"4" * (LIMIT - 1), fin=False)
    assert dialogue.receive(almost + frame(Opcode.PING, b"p" * 125)) == []
    assert dialogue.outgoing() == (b"\x8a\x7d" + b"p" * 125, False)
    assert dialogue.receive(frame(Opcode.CONT, b"4")) == ["4" * LIMIT]
    assert dialogue.receive(almost + frame(Opcode.CONT, b"44")) == []
    assert close_code(dialogue) == 1009


def test_a_close_may_come_between_fragments() -> None:
    """The message never ends then; the closing handshake does."""
    dialogue = Dialogue(LIMIT)
    assert dialogue.receive(frame(Opcode.TEXT, b"4", fin=False) + frame(Opcode.CLOSE, b"\x03\xe9")) == []
    assert close_code(dialogue) == 1001


def test_empty_fragments_cost_nothing() -> None:
    """Of a message that never ends nothing is kept but its bytes, and of those there is a limit."""
    dialogue = Dialogue(LIMIT)
    dialogue.receive(frame(Opcode.TEXT, b"4", fin=False))
    piece = frame(Opcode.CONT, b"", fin=False) * 1_000
    dialogue.receive(piece)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            assert dialogue.receive(piece) == []
        assert tracemalloc.get_traced_memory()[0] - before < 40_000
    finally:
        tracemalloc.stop()
    assert dialogue.receive(frame(Opcode.CONT, b"2")) == ["42"]


def test_a_close_of_ours_is_sent_once() -> None:
    """And the peer's answer ends the connection."""
    dialogue = Dialogue(LIMIT)
    dialogue.close(1001)
    dialogue.close(1000)
    answer: tuple[bytes, Any] = dialogue.outgoing()
    assert answer == (b"\x88\x02\x03\xe9", False)
    assert dialogue.receive(frame(Opcode.CLOSE, (1001).to_bytes(2, "big"))) == []
    assert dialogue.outgoing()[1]


_MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.CONT]),
        st.one_of(st.text(max_size=200).map(lambda text: ("4" + text).encode()), st.binary(max_size=150)),
        st.booleans(),
    ),
    max_size=6,
)


@given(_MESSAGES, st.integers(1, 2_000), st.integers(0, 3))
def test_what_most_clients_send_is_read_as_the_rest_is(
    sent: list[tuple[Opcode, bytes, bool]], step: int, spoiled: int
) -> None:
    """Whether `websockets` reads a connection from its first byte on, or what is unusual only, is not to be seen."""
    frames = [frame(opcode, data[:120] if opcode is Opcode.PING else data) for opcode, data, _ in sent]
    wire = bytearray(b"".join(frames))
    if spoiled and wire:
        wire[spoiled % len(wire)] ^= 1 << spoiled
    usual, careful = Dialogue(LIMIT), Dialogue(LIMIT)
    careful._made()
    for start in range(0, len(wire), step):
        piece = bytes(wire[start : start + step])
        assert usual.receive(piece) == careful.receive(piece)
        assert usual.outgoing() == careful.outgoing()


@pytest.mark.parametrize("size", [1, 125, 126, 127, 128, LIMIT])
def test_a_text_in_one_piece_needs_no_protocol(size: int) -> None:
    """None is made, which would stay as long as the viewer does."""
    dialogue, text = Dialogue(LIMIT), "4" + "x" * (size - 1)
    assert dialogue.receive(frame(Opcode.TEXT, text.encode()) * 2) == [text, text]
    assert dialogue.outgoing() == (b"", False)
    assert dialogue._careful is None


@pytest.mark.parametrize(
    "header", [b"\x81\xfe\x00\x05", b"\x81\xff" + (5).to_bytes(8, "big")], ids=["two bytes", "eight"]
)
def test_a_length_that_is_written_too_long_ends_it_or_not_alike(header: bytes) -> None:
    """RFC 6455 section 5.2 asks for the shortest form; what is made of another one is left to `websockets`."""
    usual, careful = Dialogue(LIMIT), Dialogue(LIMIT)
    careful._made()
    data = header + b"\0\0\0\0" + b"4abcd"
    assert usual.receive(data) == careful.receive(data)
    assert usual.outgoing() == careful.outgoing()
    assert usual._careful is not None
