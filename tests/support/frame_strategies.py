"""What clients of WebSockets send, right and wrong, for Hypothesis."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise

from hypothesis import strategies as st

from .rfc6455 import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload

KEYS = st.sampled_from([b"\0\0\0\0", b"\x12\x34\x56\x78", b"\xff\x00\xff\x01"])
#: Not UTF-8, some of it only where the next fragment does not go on as it should.
BAD_TEXT = (b"4\xff", b"4\xc3", b"4\xe2\x82", b"4\xed\xa0\x80", b"4\xf4\x90\x80\x80", b"4\xc0\xaf", b"4\x80")
GOOD_TEXT = tuple(text.encode() for text in ("3", "4", "4é", "4€🚀", '42/tasks,["x"]', "2probe", "5", "1", "6"))
NO_PACKET = (b"", b"xyz", b"0", b"7", b"\xd9\xa4", b"\0")
#: Codes at the edges of what may be sent, and within.
CODES = (0, 1, 999, *range(1000, 1017), 1100, 2999, 3000, 4999, 5000, 65535)
REASONS = (b"", b"bye", "€".encode(), b"\xff", b"\xe2\x82", b"x" * 123, b"x" * 124)


class Conversation(bytes):
    """All that one client sends. Long runs of one byte are shown short."""

    def __repr__(self) -> str:
        return repr(re.sub(rb"(.)\1{20,}", lambda run: b"<%b * %d>" % (run[1], len(run[0])), self, flags=re.DOTALL))


def sizes(limit: int) -> st.SearchStrategy[int]:
    """Lengths at the edges: of the three forms that a length has, and of the limit."""
    return st.sampled_from([0, 1, 2, 125, 126, 127, limit - 1, limit, limit + 1, limit + 125, limit + 126])


def data(limit: int) -> st.SearchStrategy[bytes]:
    """What a message holds."""
    long = sizes(limit).map(lambda size: b"4" * size)
    return st.one_of(
        st.sampled_from(GOOD_TEXT * 3 + BAD_TEXT + NO_PACKET[:2]), st.sampled_from(GOOD_TEXT), long
    )  # fmt: skip


def _control(opcode: int) -> st.SearchStrategy[bytes]:
    return st.builds(
        client_frame, st.just(opcode), st.sampled_from([b"", b"p", b"x" * 125]), key=KEYS
    )  # fmt: skip


INTERLEAVED = st.lists(st.one_of(_control(PING), _control(PONG)), max_size=2).map(b"".join)


@st.composite
def messages(draw: st.DrawFn, limit: int) -> bytes:
    """A message in one to four fragments, with pings and pongs between them."""
    whole = draw(data(limit))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    edges = [0, *cuts, len(whole)]
    kind = draw(st.sampled_from([TEXT, TEXT, TEXT, BINARY]))
    wire = b""
    for number, (start, end) in enumerate(pairwise(edges)):
        wire += draw(INTERLEAVED) if number else b""
        wire += client_frame(
            CONTINUATION if number else kind, whole[start:end], fin=end == len(whole) and number == len(cuts),
            key=draw(KEYS), width=draw(st.sampled_from([0, 0, 0, 16, 64])),
        )  # fmt: skip
    return wire


def closes() -> st.SearchStrategy[bytes]:
    """Close frames, right and wrong."""
    payloads = st.one_of(
        st.sampled_from([b"", b"\x03", close_payload(1000)]),
        st.builds(close_payload, st.sampled_from(CODES), st.sampled_from(REASONS)),
    )
    return st.builds(client_frame, st.just(CLOSE), payloads, key=KEYS)


def faults(limit: int) -> st.SearchStrategy[bytes]:
    """Frames of any kind: most of them break a rule or several."""
    small = st.sampled_from([b"", b"4", b"x" * 125])
    return st.one_of(
        st.builds(
            client_frame, st.integers(0, 15), small, fin=st.booleans(), reserved=st.integers(0, 7),
            key=st.one_of(st.none(), KEYS), width=st.sampled_from([0, 16, 64]),
        ),
        st.builds(client_frame, st.sampled_from([PING, PONG, CLOSE]), sizes(limit).map(lambda size: b"x" * size)),
        st.builds(
            partial(client_frame, data=b"4"), st.sampled_from([TEXT, BINARY, CONTINUATION, PING]),
            length=st.sampled_from([2, 130, limit, limit + 1, 1 << 40, 1 << 63, (1 << 64) - 1]),
        ),
        st.binary(max_size=12),
    )  # fmt: skip


def conversations(limit: int) -> st.SearchStrategy[Conversation]:
    """A few messages, and perhaps an end. ``limit`` is that of the server for a message, in bytes."""
    right = st.lists(st.one_of(messages(limit), messages(limit), _control(PING)), max_size=4).map(b"".join)
    last = st.one_of(st.just(b""), closes(), faults(limit))
    after = st.sampled_from([b"", *map(client_frame, (TEXT, PING, CLOSE))])
    return st.tuples(right, last, after).map(lambda parts: Conversation(b"".join(parts)))


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in pieces; ``places`` are the lengths of the pieces, again and again."""
    pieces: list[bytes] = []
    at = 0
    while at < len(wire):
        step = places[len(pieces) % len(places)] if places else len(wire)
        pieces.append(wire[at : at + step])
        at += step
    return pieces
