"""Bodies that come slowly: what counts is the time that is spent waiting for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from werkzeug.exceptions import RequestTimeout

from realtime.slow_bodies import RATE, SlowBody


class Sender(io.BytesIO):
    """Each read takes ``pause`` seconds, unless it is given up before."""

    now = 0.0
    pause = 0.0
    allowed = 0.0

    def read1(self, size: int | None = -1) -> bytes:
        return self._came(super().read1(size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._came(super().readline(size))

    def _came(self, data: bytes) -> bytes:
        self.now += min(self.pause, self.allowed)
        if self.pause > self.allowed:
            raise TimeoutError
        return data

    @contextmanager
    def timeout(self, left: float) -> Iterator[None]:
        self.allowed = left
        with suppress(TimeoutError):
            yield


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Sender:
    sender = Sender(b"line\n" * 100_000)
    monkeypatch.setattr("realtime.slow_bodies.time", SimpleNamespace(monotonic=lambda: sender.now))
    return sender


def test_what_comes_is_what_is_read(sender: Sender) -> None:
    """By pieces, by lines, to its end."""
    body = SlowBody(sender, 20.0, sender.timeout, lambda: None)
    assert body.read(200_000) == b"line\n" * 40_000
    assert (body.readline(), body.readline(3), body.readline(9)) == (b"line\n", b"lin", b"e\n")
    assert body.readlines(11) == [b"line\n", b"line\n", b"l"]
    assert len(body.read(10**9)) == 500_000 - 200_000 - 10 - 11
    assert body.read(1) == body.readline() == b""
    assert body.readlines(5) == []


def test_who_sends_too_slowly_is_given_up_once_its_time_is_over(sender: Sender) -> None:
    """After as many seconds of waiting, and no other ones; and no read gives it new time."""
    late: list[float] = []
    body = SlowBody(sender, 20.0, sender.timeout, lambda: late.append(sender.now))
    sender.pause = 1.0
    for _ in range(10):
        body.read(1)
        sender.now += 100.0  # the view computes
    for _ in range(10):
        body.readline(1)
    with pytest.raises(RequestTimeout):
        body.readline(1)
    assert late == [pytest.approx(10 * 100.0 + 20.0, abs=0.1)]
    sender.pause = 0.0
    with pytest.raises(RequestTimeout):
        body.read(1)


def test_who_sends_fast_enough_may_send_for_ever(sender: Sender) -> None:
    """A slow line is no attack."""
    body = SlowBody(sender, 20.0, sender.timeout, lambda: None)
    sender.pause = 9.0
    for _ in range(90):
        assert len(body.read(int(10 * RATE))) == int(10 * RATE)
    assert sender.now == 90 * 9.0
