"""Connections to a real server, spoken to in frames right and wrong: each ends as RFC 6455 says, with nothing left."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from realtime.protocol import MAX_MESSAGE_BYTES
from support import remote
from support.frame_strategies import Conversation, conversations, cut
from support.process import StartServer
from support.raw import BYE, Raw, text
from support.remote import Remote
from support.rfc6455 import (
    BINARY,
    CONTINUATION,
    NORMAL,
    PING,
    TEXT,
    client_frame,
    judge,
)  # fmt: skip

#: Codes that the protocols above WebSocket close with: a binary message, and what is not Socket.IO or not allowed.
UNSUPPORTED, POLICY = 1003, 1008


def ends_with(server: Remote, *pieces: bytes) -> int | None:
    """The code that a connection is closed with on which this comes."""
    raw = Raw(server)
    raw.send(*pieces)
    return raw.read_to_the_end().code


@pytest.fixture(scope="module")
def watched(module_servers: StartServer) -> Iterator[Remote]:
    """A server that holds as little at the end as at the beginning."""
    server = remote.start(module_servers, remote.serve("plain:app"))
    before = server.stats()
    yield server
    after = server.wait_for_stats(lambda stats: stats["descriptors"] <= before["descriptors"])
    held = ("viewers", "rooms", "sockets", "environs", "members", "behind")
    assert {name: after[name] for name in held} == {name: before[name] for name in held}


def codes_of(wire: bytes, *, bye: bool) -> set[int]:
    """The codes any of which may end a connection on which this comes, after a right request to watch."""
    verdict = judge(wire, MAX_MESSAGE_BYTES, lambda text: text[:1] in tuple("123456"))
    codes = set(verdict.codes)
    for message in verdict.messages:
        if isinstance(message, bytes):
            codes.add(UNSUPPORTED)
        elif message[0] == "1":
            codes.add(NORMAL)
        elif message[0] == "4" and message != '42/tasks,["x"]':
            codes |= {UNSUPPORTED, POLICY}
    if bye and (not verdict.codes or verdict.unsure):
        codes.add(NORMAL)
    return codes


@settings(
    deadline=None, max_examples=250, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(conversations(MAX_MESSAGE_BYTES), st.lists(st.integers(1, 20_000), max_size=3), st.booleans())
def test_connections_end_as_rfc_6455_says(
    watched: Remote, wire: Conversation, places: list[int], watching: bool
) -> None:
    """With the model's close code, wherever the bytes are cut; some of them while they watch."""
    raw = Raw(watched)
    if watching:
        raw.send(text("40/tasks,"))
    complete = judge(wire, MAX_MESSAGE_BYTES).complete
    raw.send(*cut(wire, places))
    if complete:
        raw.send(BYE)
    else:
        raw.socket.shutdown(socket.SHUT_WR)
    code = raw.read_to_the_end().code
    codes = codes_of(wire, bye=complete)
    assert code in codes or (code is None and not complete), codes


def event(size: int) -> bytes:
    """A right message of so many bytes, on which nothing is answered."""
    start, end = b'42/tasks,["x","', b'"]'
    return start + b"x" * (size - len(start) - len(end)) + end


def fragments(data: bytes, size: int, between: bytes = b"") -> bytes:
    """A message in fragments of so many bytes."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return between.join(
        client_frame(CONTINUATION if number else TEXT, part, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    )


LONGEST, TOO_LONG = event(MAX_MESSAGE_BYTES), event(MAX_MESSAGE_BYTES + 1)
ENDS = {
    "the longest message": (client_frame(TEXT, LONGEST), NORMAL),
    "the longest, in fragments": (fragments(LONGEST, 1_000), NORMAL),
    "the longest, with pings between": (fragments(LONGEST, 5_461, client_frame(PING, b"x" * 125)), NORMAL),
    "a byte more": (client_frame(TEXT, TOO_LONG), 1009),
    "a byte more in the last fragment": (fragments(TOO_LONG, MAX_MESSAGE_BYTES), 1009),
    "much more in fragments that never end": (client_frame(TEXT, b"4" * 9_000, fin=False)
        + client_frame(CONTINUATION, b"4" * 9_000, fin=False), 1009),
    "a length with all its bits": (client_frame(TEXT, length=(1 << 64) - 1), 1009),
    "binary": (client_frame(BINARY, b"\x00\xff"), UNSUPPORTED),
    "no Engine.IO": (client_frame(TEXT, b"xyz"), 1002),
    "no Socket.IO": (client_frame(TEXT, b"4xyz"), UNSUPPORTED),
    "no JSON": (client_frame(TEXT, b"42/tasks,{"), POLICY),
    "an attachment to come": (client_frame(TEXT, b'451-/tasks,["x",{"_placeholder":true,"num":0}]'), UNSUPPORTED),
    "nested without end": (client_frame(TEXT, b"42/tasks," + b"[" * 16_000), POLICY),
    "an id without end": (client_frame(TEXT, b"42/tasks," + b"9" * 5_000 + b'["x"]'), POLICY),
    "an end of Engine.IO": (client_frame(TEXT, b"1"), NORMAL),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDS)
def test_a_viewer_is_closed_with_the_code_that_says_why(what: str, watched: Remote) -> None:
    """Each behind a right request to watch; the limit is one of the message, and who keeps it is let go as it asks."""
    wire, code = ENDS[what]
    assert ends_with(watched, text("40/tasks,"), wire, *([BYE] if code == NORMAL else [])) == code
