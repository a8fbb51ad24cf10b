"""What a WebSocket server must make of the bytes of a client: a model of RFC 6455, read from its sections 5 to 8.

It shares nothing with what it judges, and looks at a whole connection at once. Where one frame breaks several rules the
RFC names no order among them: each of their codes will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

#: Codes of section 7.4.1. ``NO_CODE`` is what an empty close frame means; it is never on the wire.
NORMAL, PROTOCOL_ERROR, NO_CODE, NOT_UTF8, TOO_BIG = 1000, 1002, 1005, 1007, 1009

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KNOWN = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
#: What a control frame may carry, in bytes (section 5.5).
MAX_CONTROL = 125


def mask(data: bytes, key: bytes) -> bytes:
    """Mask or unmask (section 5.3)."""
    repeated = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")


def client_frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, reserved: int = 0, key: bytes | None = b"\0\0\0\0",
    width: int = 0, length: int | None = None,
) -> bytes:  # fmt: skip
    """A frame, right or wrong. ``key`` None leaves it unmasked; ``width`` is 16 or 64 for a length with as many bits
    though fewer would do; ``length`` claims another one than that of ``data``.
    """
    size = len(data) if length is None else length
    first = bytes([fin << 7 | reserved << 4 | opcode])
    masked = 0 if key is None else 0x80
    if width == 64 or size > 0xFFFF:
        header = bytes([masked | 127]) + size.to_bytes(8, "big")
    elif width == 16 or size > 125:
        header = bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        header = bytes([masked | size])
    return first + header + (data if key is None else key + mask(data, key))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """The data of a close frame (section 5.5.1)."""
    return code.to_bytes(2, "big") + reason


@dataclass
class Verdict:
    """What must come of a connection."""

    #: The messages that came whole before it ended, in order.
    messages: list[str | bytes] = field(default_factory=list)
    #: What the pings carried, in order: each is answered.
    pings: list[bytes] = field(default_factory=list)
    #: The codes any of which may end it; none while it is open.
    codes: set[int] = field(default_factory=set)
    #: Whether it may also be open still, since the end of its last frame has not come.
    unsure: bool = False
    #: Whether it stands between two frames, and not within one.
    complete: bool = True


def judge(wire: bytes, limit: int, is_message: Callable[[str], bool] = lambda text: True) -> Verdict:
    """Read all that a client sends. ``limit`` bounds a message, in bytes; ``is_message`` knows the text that the
    protocol above takes.
    """
    verdict = Verdict()
    at = 0
    #: Of the message whose end has not come: whether it is text, and its data.
    open_text: bool | None = None
    message = b""
    while at < len(wire) and not verdict.codes:
        frame = _Frame.read(wire, at)
        if frame is None:
            verdict.complete = False
            break
        verdict.codes |= frame.faults(limit - len(message), open_text is not None)
        if frame.data is None:
            verdict.complete = False
            # What could be a frame to be taken may be read to its end before it is looked at.
            verdict.unsure = frame.length <= limit + MAX_CONTROL
            break
        at = frame.end
        if verdict.codes:
            break
        if frame.opcode == PING:
            verdict.pings.append(frame.data)
        elif frame.opcode == CLOSE:
            verdict.codes.add(int.from_bytes(frame.data[:2], "big") if frame.data else NO_CODE)
        elif frame.opcode != PONG:
            if frame.opcode != CONTINUATION:
                open_text, message = frame.opcode == TEXT, b""
            message += frame.data
            if frame.fin:
                verdict.codes |= _take(verdict.messages, message, text=bool(open_text), is_message=is_message)
                open_text, message = None, b""
    return verdict


def _take(
    messages: list[str | bytes], message: bytes, *, text: bool, is_message: Callable[[str], bool]
) -> set[int]:  # fmt: skip
    """A message is whole. The codes that end the connection if it is none."""
    if not text:
        messages.append(message)
        return set()
    try:
        decoded = message.decode()
    except UnicodeDecodeError:
        return {NOT_UTF8}
    if not is_message(decoded):
        return {PROTOCOL_ERROR}
    messages.append(decoded)
    return set()


@dataclass
class _Frame:
    """A frame as it came (section 5.2). ``data`` is None while its end is missing; ``end`` is where the next begins."""

    fin: bool
    reserved: int
    opcode: int
    masked: bool
    length: int
    data: bytes | None
    end: int

    @classmethod
    def read(cls, wire: bytes, at: int) -> _Frame | None:
        """The frame at a place; None where its first two bytes, which may be wrong already, have not come."""
        if len(wire) < at + 2:
            return None
        first, second = wire[at], wire[at + 1]
        wide = {126: 2, 127: 8}.get(second & 0x7F, 0)
        body = at + 2 + wide
        masked = bool(second & 0x80)
        if len(wire) < body:
            return cls(bool(first & 0x80), first >> 4 & 7, first & 0xF, masked, 0, None, body)
        length = int.from_bytes(wire[at + 2 : body], "big") if wide else second & 0x7F
        start = body + 4 * masked
        end = start + length
        data = None
        if len(wire) >= end:
            data = mask(wire[start:end], wire[body:start]) if masked else wire[start:end]
        return cls(bool(first & 0x80), first >> 4 & 7, first & 0xF, masked, length, data, end)

    def faults(self, room: int, within: bool) -> set[int]:
        """The codes of all rules that it breaks. ``room``: bytes that its message may still have; ``within``: whether a
        message has begun.
        """
        found = set()
        control = self.opcode >= CLOSE
        if (
            self.reserved or not self.masked or self.opcode not in KNOWN or self.length >> 63
            or (control and (not self.fin or self.length > MAX_CONTROL))
            or (not control and within != (self.opcode == CONTINUATION))
        ):  # fmt: skip
            found.add(PROTOCOL_ERROR)
        if self.length > max(room, MAX_CONTROL if control else 0):
            found.add(TOO_BIG)
        if self.opcode == CLOSE and self.data:
            if not _may_be_sent(self.data[:2]):
                found.add(PROTOCOL_ERROR)
            try:
                self.data[2:].decode()
            except UnicodeDecodeError:
                found.add(NOT_UTF8)
        return found


def _may_be_sent(code: bytes) -> bool:
    """Section 7.4, and what IANA's registry has added since (1012 to 1014)."""
    number = int.from_bytes(code, "big")
    return len(code) == 2 and (
        1000 <= number <= 1003 or 1007 <= number <= 1014 or 3000 <= number <= 4999
    )  # fmt: skip


@dataclass
class Answer:
    """What a server has sent. ``code``: of its close frame, None without one; ``rest``: a frame without its end."""

    messages: list[str | bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    code: int | None = None
    rest: bytes = b""


def read_answer(wire: bytes) -> Answer:
    """Read what a server has sent, as far as its frames have come. AssertionError where it breaks a rule, or sends data
    after its close.
    """
    answer, at = Answer(), 0
    while (frame := _Frame.read(wire, at)) is not None and frame.data is not None:
        # A ping is answered also behind one's own close frame (section 5.5.2).
        assert answer.code is None or frame.opcode == PONG, f"{wire[at:]!r} after its close frame"
        assert (frame.masked, frame.reserved, frame.fin) == (False, 0, True)
        if frame.opcode == CLOSE:
            answer.code = int.from_bytes(frame.data[:2], "big") if frame.data else NO_CODE
        elif frame.opcode == PONG:
            answer.pongs.append(frame.data)
        else:
            assert frame.opcode in (TEXT, BINARY)
            answer.messages.append(frame.data.decode() if frame.opcode == TEXT else frame.data)
        at = frame.end
    answer.rest = wire[at:]
    return answer
