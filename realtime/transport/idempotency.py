"""Requests that come twice are made once: the answers to requests that bore an ``Idempotency-Key``.

A worker that has not heard the answer cannot know whether its change was made. It asks again with the same key, and
is given the answer of the first time. Kept are answers that tell of a change; a request that was refused has changed
nothing, and is made anew. What is kept is bounded in number, bytes and time; beyond that who has most kept loses the
oldest of it, so that nobody can push out what others may have to ask for again. Where several servers share a store
they share the answers too (`SharedIdempotency`), for a shorter time, and each has a bound of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec

from ..concurrency import native_lock
from ..errors import IdempotencyKeyInUse, IdempotencyKeyReused, InvalidValue, RegistryUnavailable
from ..registry.notes import Notes

#: Answers kept, their bytes, and for how many seconds.
MAX_ANSWERS: Final = 10_000
MAX_BYTES: Final = 16 * 1024 * 1024
KEPT: Final = 600.0

#: Seconds that a shared store keeps an answer, and that a request is taken to be under way there: its server may die.
#: And bytes of the answers that it keeps for one who asks.
SHARED: Final = 120.0
SHARED_BYTES: Final = 64 * 1024 * 1024
UNDER_WAY: Final = 30.0

_TEXT: Final = re.compile(r"[!-~]{1,255}")


class Answer(NamedTuple):
    """What is given again."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


class _Kept(NamedTuple):
    fingerprint: bytes
    since: float
    answer: Answer
    size: int


class Memory(Protocol):
    """Remembers answers."""

    def once(
        self, who: str, key: str, fingerprint: bytes, ask: Callable[[], tuple[Answer, bool]]
    ) -> tuple[Answer, bool]:
        """The answer to a request, and whether it is one of before. ``ask`` makes it, and says whether to keep it.

        ``who`` and ``key`` name the request, ``fingerprint`` is all that it consists of. Raises `IdempotencyKeyReused`,
        `IdempotencyKeyInUse`, `InvalidValue` for a text that is no key, and what ``ask`` raises.
        """


class Idempotency:
    """The memory of one process. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = native_lock()
        #: By who asked and with which key: what requests under way consist of, and what was answered.
        self._under_way: dict[tuple[str, str], bytes] = {}
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._bytes = 0
        #: Of each who has some: the keys, the oldest first, and the bytes.
        self._shares: dict[str, _Share] = {}

    def once(
        self, who: str, key: str, fingerprint: bytes, ask: Callable[[], tuple[Answer, bool]]
    ) -> tuple[Answer, bool]:
        """See `Memory`."""
        key = _key(key)
        place = who, key
        with self._lock:
            self._forget()
            kept = self._kept.get(place)
            known = self._under_way.get(place) if kept is None else kept.fingerprint
            if known is None:
                self._under_way[place] = fingerprint
        if known is not None:
            if known != fingerprint:
                raise IdempotencyKeyReused
            if kept is None:
                raise IdempotencyKeyInUse
            return kept.answer, True
        keep = False
        try:
            answer, keep = ask()
        finally:
            with self._lock:
                del self._under_way[place]
                if keep:
                    made = _Kept(fingerprint, self._clock(), answer, len(answer.body) + len(who) + len(key) + 512)
                    self._kept[place] = made
                    self._bytes += made.size
                    share = self._shares.setdefault(who, _Share())
                    share.keys[key] = None
                    share.bytes += made.size
                    self._forget()
        return answer, False

    def _forget(self) -> None:
        """Let go of what is too old or beyond the bounds. Called with the lock held."""
        before = self._clock() - KEPT
        while self._kept and next(iter(self._kept.values())).since <= before:
            self._let_go(next(iter(self._kept)))
        while len(self._kept) > MAX_ANSWERS or self._bytes > MAX_BYTES:
            many = len(self._kept) > MAX_ANSWERS
            who = max(self._shares, key=lambda who: len(self._shares[who].keys) if many else self._shares[who].bytes)
            self._let_go((who, next(iter(self._shares[who].keys))))

    def _let_go(self, place: tuple[str, str]) -> None:
        who, key = place
        size, share = self._kept.pop(place).size, self._shares[who]
        self._bytes -= size
        share.bytes -= size
        del share.keys[key]
        if not share.keys:
            del self._shares[who]


class _Share:
    """What is kept for one."""

    __slots__ = ("bytes", "keys")

    def __init__(self) -> None:
        self.keys: OrderedDict[str, None] = OrderedDict()
        self.bytes = 0


class SharedIdempotency:
    """The memory of the servers of one store. A store that is away lets nothing with a key through."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def once(
        self, who: str, key: str, fingerprint: bytes, ask: Callable[[], tuple[Answer, bool]]
    ) -> tuple[Answer, bool]:
        """See `Memory`. Raises `RegistryUnavailable` besides."""
        name = hashlib.sha256(_key(key).encode()).hexdigest()
        claim = msgspec.msgpack.encode(_Note(fingerprint, secrets.token_bytes(8)))
        found = self._notes.claim(who, name, claim, UNDER_WAY)
        if found != claim:
            known = _NOTES.decode(found)
            if known.fingerprint != fingerprint:
                raise IdempotencyKeyReused
            if known.answer is None:
                raise IdempotencyKeyInUse
            return known.answer, True
        keep = False
        try:
            answer, keep = ask()
        finally:
            # What was made is made: whoever asks again while the store is away is told that it is under way.
            with contextlib.suppress(RegistryUnavailable):
                if keep:
                    note = msgspec.msgpack.encode(_Note(fingerprint, b"", answer))
                    self._notes.write(who, name, note, SHARED, SHARED_BYTES)
                else:
                    self._notes.drop(who, name)
        return answer, False


class _Note(msgspec.Struct, frozen=True, array_like=True):
    fingerprint: bytes
    #: Tells the claims of two that ask the same at once.
    nonce: bytes
    answer: Answer | None = None


_NOTES: Final = msgspec.msgpack.Decoder(_Note)


def _key(text: str) -> str:
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = text[1:-1]
    if _TEXT.fullmatch(text) is None:
        raise InvalidValue("Idempotency-Key", "1 to 255 visible ASCII characters are needed")
    return text
