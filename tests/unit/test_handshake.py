"""Handshakes that are read at once: exactly those that browsers and clients write, and nothing but those."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.transport.handshake import MAX_REQUEST, Handshakes

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
START = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1"
BROWSER = [
    START, "Host: example.org:8000", "Connection: keep-alive, Upgrade", "Pragma: no-cache", "Cache-Control: no-cache",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Upgrade: websocket",
    "Origin: http://example.org:8000", "Sec-WebSocket-Version: 13", "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: de,en-US;q=0.7,en;q=0.3", "Cookie: session=eyJfaWQiOjF9.aa-b_c; theme=dark",
    f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
]  # fmt: skip


def request(*lines: str, without: str = "", rest: str = "") -> bytes:
    """A browser's handshake with a few more lines, without those that begin with something."""
    kept = [line for line in [*BROWSER, *lines] if not without or not line.startswith(without)]
    return ("\r\n".join(kept) + "\r\n\r\n" + rest).encode("latin-1")


def begun(start: str) -> bytes:
    """A browser's handshake with another first line."""
    return "\r\n".join([start, *BROWSER[1:]]).encode() + b"\r\n\r\n"


def test_a_browsers_handshake_is_read() -> None:
    """All that a request is made of is there."""
    environ = Handshakes("/socket.io/").read(request("X-Empty:"))
    assert environ is not None
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("GET", "/socket.io/")
    assert environ["QUERY_STRING"] == "EIO=4&transport=websocket"
    assert environ["HTTP_COOKIE"] == "session=eyJfaWQiOjF9.aa-b_c; theme=dark"
    assert environ["HTTP_ORIGIN"] == "http://example.org:8000"
    assert environ["HTTP_X_EMPTY"] == ""
    assert ("Upgrade", "websocket") in environ["headers_raw"]
    assert environ["wsgi.input"].read() == b""


@pytest.mark.parametrize(
    "start",
    [
        "GET /socket.io/?EIO=4&transport=websocket&t=PzR4x.1-_ HTTP/1.1",
        "GET /socket.io/?transport=websocket&user=ada&EIO=4 HTTP/1.1",
    ],
)
def test_other_parameters_do_no_harm(start: str) -> None:
    """As long as they say what they say without decoding."""
    assert Handshakes("/socket.io/").read(begun(start)) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request()[:-1],
        request(rest="\x81"),
        request("X-Big: " + "x" * MAX_REQUEST)[:MAX_REQUEST],
        request("Host: other.example"),
        request("X_Under: 1"),
        request("X-Tab: a\tb"),
        request("X-Folded: a\r\n b"),
        request("X-Bare: a\nX-Other: b"),
        request("X-Latin: \xe9"),
        request("X-Space : 1"),
        request(": 1"),
        request("Content-Length: 0"),
        request("Content-Type: text/html"),
        request("Transfer-Encoding: chunked"),
        request("Expect: 100-continue"),
        request(without="Upgrade"),
        request(without="Connection"),
        request("Upgrade: h2c", without="Upgrade"),
        request("Connection: close", without="Connection"),
        request(without="Sec-WebSocket-Key"),
        request("Sec-WebSocket-Key: c2hvcnQ=", without="Sec-WebSocket-Key"),
        request("Sec-WebSocket-Key: ****", without="Sec-WebSocket-Key"),
        request("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"),
        begun(START.replace("GET", "POST")),
        begun(START.replace("1.1", "1.0")),
        begun(START.replace("/socket.io/", "/")),
        begun(START.replace("/socket.io/", "/socket.io/x")),
        begun(START.replace("/socket.io/", "/socketxio/")),
        begun(START.replace("/socket.io/", "http://example.org/socket.io/")),
        begun(START.replace("EIO=4", "EIO=3")),
        begun(START.replace("&transport=websocket", "")),
        begun(START.replace("=websocket", "=polling")),
        begun(START.replace(" HTTP", "&transport=polling HTTP")),
        begun(START.replace(" HTTP", "&sid=abc HTTP")),
        begun(START.replace(" HTTP", "&j=1 HTTP")),
        begun(START.replace(" HTTP", "&user=%61 HTTP")),
        begun(START.replace(" HTTP", "&a+b=1 HTTP")),
    ],
)
def test_whatever_is_unusual_is_left_to_others(data: bytes) -> None:
    """Wrong, rare or only allowed: a parser for HTTP and Engine.IO decide."""
    assert Handshakes("/socket.io/").read(data) is None


@given(st.integers(0, len(request())), st.binary(max_size=3), st.integers(0, 3))
def test_nothing_that_comes_in_raises(place: int, noise: bytes, lost: int) -> None:
    """It is read or not. What is read has the path, and no line that HTTP would see otherwise."""
    whole = request()
    environ = Handshakes("/socket.io/").read(whole[:place] + noise + whole[place + lost :])
    if environ is not None:
        assert environ["PATH_INFO"] == "/socket.io/"
        assert all(value.isascii() and value.isprintable() for _, value in environ["headers_raw"])
