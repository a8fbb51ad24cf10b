"""The short way in of our server: what is let in there, and what is not, and that nobody can tell."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.wire import CONNECT, wire

REQUEST = (
    b"GET /socket.io/?EIO=4&transport=websocket&user=ada HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Cookie: session=abc; theme=dark\r\nX-Forwarded-For: 10.1.1.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n%b\r\n"
)
#: A client's CONNECT, masked with zeros.
ASK = b"\x81%c\0\0\0\0%b" % (0x80 + len(CONNECT), CONNECT.encode())
#: What only the WSGI server adds, and what differs between two connections.
LONG_WAY = {"eventlet.input", "eventlet.posthooks", "eventlet.set_idle", "realtime.detach"}
OWN = {"wsgi.input", "wsgi.errors", "REMOTE_PORT", "headers_raw", "HTTP_X_ODD", "werkzeug.request"}


@contextlib.contextmanager
def held_up(server: Remote) -> Iterator[None]:
    """Whatever is sent in the block is there when the server accepts the connection, be we as slow as can be."""
    server.server.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.server.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        server.server.send_signal(signal.SIGCONT)


def opened(server: Remote) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server.port), PATIENCE)


def handshake(server: Remote, whole: bytes) -> bytes:
    """Send a handshake in one piece, and CONNECT once it is answered; what comes up to the first snapshot."""
    with held_up(server):
        connection = opened(server)
        connection.sendall(whole)
    return watch(connection)


def watch(connection: socket.socket) -> bytes:
    """What comes up to the first snapshot, of a connection on which a handshake was sent."""
    with connection:
        got = b""
        for until, then in ((b'"maxPayload"', ASK), (b"tasks_snapshot", b"")):
            while until not in got:
                data = connection.recv(65_536)
                assert data, got
                got += data
            connection.sendall(then)
        return got


def shown(server: Remote) -> list[dict[str, Any]]:
    """What `identify` was shown of each handshake."""
    found: list[dict[str, Any]] = server.json("GET", "/shown")
    return found


def test_both_ways_show_a_host_the_same(server_process: StartServer) -> None:
    """A request that goes the long way (here with a tab in it) has the same environ and the same answer."""
    server = remote.start(server_process, remote.serve("handshakes:app"))
    port = server.server.port
    short = handshake(server, REQUEST % (port, b"X-Odd: a b\r\n"))
    long = handshake(server, REQUEST % (port, b"X-Odd: a\tb\r\n"))
    first, second = shown(server)
    assert LONG_WAY.isdisjoint(first)
    assert second.keys() >= LONG_WAY
    assert first.keys() - OWN == second.keys() - LONG_WAY - OWN
    assert [key for key in first.keys() - OWN if first[key] != second[key]] == []
    assert first["headers_raw"][:-1] == second["headers_raw"][:-1]
    head, tail = b'{"sid":"', b'","upgrades"'
    assert short.partition(head)[0] == long.partition(head)[0]
    assert short.partition(tail)[2].partition(b"}")[0] == long.partition(tail)[2].partition(b"}")[0]


def test_a_middleware_sees_every_handshake(server_process: StartServer) -> None:
    """Where a host has one there is no short way: it may know better who asks, or refuse."""
    server = remote.start(server_process, remote.serve("handshakes:app"), WRAPPED="1")
    handshake(server, REQUEST % (server.server.port, b""))
    (environ,) = shown(server)
    assert environ["REMOTE_ADDR"] == "203.0.113.9"
    assert environ.keys() >= LONG_WAY


def test_a_handshake_in_pieces_takes_the_long_way(server_process: StartServer) -> None:
    """It has not all come when its connection is accepted, and is waited for as any request is."""
    server = remote.start(server_process, remote.serve("handshakes:app"))
    whole = REQUEST % (server.server.port, b"")
    with held_up(server):
        half, other = opened(server), opened(server)
        half.sendall(whole[:50])
        other.sendall(whole)  # accepted after it
    watch(other)
    half.sendall(whole[50:])
    assert watch(half).startswith(b"HTTP/1.1 101")
    assert [environ.keys() >= LONG_WAY for environ in shown(server)] == [False, True]


def test_who_finds_no_room_is_told_by_engine_io(server_process: StartServer) -> None:
    """A full server answers a handshake with 401, and nothing of it stays."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_MAX_VIEWERS="1")
    with wire(server.url, "ada"):
        before = server.json("GET", "/stats")
        with held_up(server):
            second = opened(server)
            second.sendall(REQUEST % (server.server.port, b""))
        answer = b""
        with second:
            while b"Too many connections" not in answer:
                data = second.recv(65_536)
                assert data, answer
                answer += data
        assert answer.startswith(b"HTTP/1.1 401")
        server.wait_for_stats(lambda after: all(after[name] == before[name] for name in ("sockets", "environs")))
