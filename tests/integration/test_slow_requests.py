"""Requests that come byte by byte: they hold a connection for so long and no longer, and never a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from support import raw, remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import watching


@pytest.fixture(scope="module")
def strict(module_servers: StartServer) -> Remote:
    """A server that gives a request a second, and has two threads for them."""
    return remote.start(
        module_servers, remote.serve("plain:app"), REQUEST_TIMEOUT="1", FLASK_REALTIME_REQUEST_THREADS="2"
    )


@contextlib.contextmanager
def trickling(connection: socket.socket, data: bytes) -> Iterator[None]:
    """Send a byte now and then, so that no wait for the next one is long."""
    over = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            for byte in data * 1_000:
                if over.wait(0.02):
                    return
                connection.sendall(bytes([byte]))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    yield
    over.set()
    sender.join(PATIENCE)


def is_ended(connection: socket.socket) -> bool:
    """Whether the server ends the connection, with or without a word."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65_536):
            pass
    return True


STARTS = {
    "a line": b"GET /socket.io/",
    "a header": b"GET /socket.io/?EIO=4&transport=websocket&user=ada HTTP/1.1\r\nX-Long: ",
    "a body of Engine.IO": b"POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nContent-Length: 10000\r\n\r\n",
    "a body": b"POST /upload HTTP/1.1\r\nContent-Length: 10000\r\n\r\n",
}


@pytest.mark.parametrize("what", STARTS)
def test_a_request_that_comes_byte_by_byte_is_ended(what: str, strict: Remote) -> None:
    """However short the waits between its bytes; who watches notices nothing."""
    with watching(strict.url, "ada") as viewer, raw.connect(strict) as connection:
        connection.sendall(STARTS[what])
        with trickling(connection, b"x"):
            assert is_ended(connection)
        viewer.wait_for_task(strict.create("ada"))


HEAD = b"POST /upload HTTP/1.1\r\nHost: x\r\n"
BODIES = {
    "a short one": HEAD + b"Content-Length: 10000\r\n\r\n",
    "a long one": HEAD + b"Content-Length: 100000\r\n\r\n",
    "one that waits to be asked for": HEAD + b"Content-Length: 10000\r\nExpect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_comes_byte_by_byte_is_given_up(what: str, strict: Remote) -> None:
    """With 408, and the connection with it; whoever reads it, and however it is announced."""
    with raw.connect(strict) as connection:
        connection.sendall(BODIES[what])
        answer = b""
        with trickling(connection, b"x"), contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                answer += data
        said, _, more = answer.partition(b"\r\n")
        if b" 100 " in said:
            said = more.partition(b"HTTP/1.1 ")[2].partition(b"\r\n")[0]
        assert b"408 " in said.upper(), answer
        assert b"connection: close" in answer.lower()
    assert strict.request("GET", "/nothing")[0] == 204


@pytest.mark.parametrize("how", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n"])
def test_the_rest_of_a_body_that_nobody_reads_is_given_up_too(how: bytes, strict: Remote) -> None:
    """It has been answered, and holds its connection no longer than others."""
    with raw.connect(strict) as connection:
        connection.sendall(b"POST /upload-nothing HTTP/1.1\r\nHost: x\r\n" + how)
        with trickling(connection, b"x"):
            assert is_ended(connection)


def test_who_connects_and_asks_for_nothing_is_ended(strict: Remote) -> None:
    """Such a connection costs a descriptor, and anybody can make them."""
    with raw.connect(strict) as connection:
        assert is_ended(connection)


def test_a_slow_body_holds_no_thread(strict: Remote) -> None:
    """More slow senders than threads; all others are answered meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(raw.connect(strict))
            connection.sendall(b"POST /upload HTTP/1.1\r\nContent-Length: 10000\r\n\r\nx")
        assert strict.request("GET", "/nothing")[0] == 204


def test_a_connection_may_rest_between_requests(strict: Remote) -> None:
    """Longer than a request may take: its time begins with the request's first byte."""
    with raw.connect(strict) as connection, raw.connect(strict) as other:
        for resting in (False, True):
            if resting:  # the other is ended for taking too long meanwhile
                other.sendall(b"GET /")
                assert is_ended(other)
            connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 204")
