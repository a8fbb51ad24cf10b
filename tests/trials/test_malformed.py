"""Anything may come in on a connection. What is not our protocol ends that connection, or is answered with an error:
never a traceback in the log, never a ghost, and nobody else notices."""

from __future__ import annotations

import http.client
import json
import os
import random
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import websocket

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import watching
from support.wire import Closed, Wire

GUNICORN = [
    "python", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--no-control-socket", "--threads", "40",
    "support.apps.plain:app",
]  # fmt: skip
COMMANDS = {
    "serve": remote.serve("plain:app"),
    "gthread": GUNICORN,
    "gevent": [*GUNICORN, "-k", "gevent"],
    "gevent-websocket": [*GUNICORN, "-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"],
    "eventlet": ["python", "-m", "support.apps.eventlet_host", "wsgi", "{port}"],
}
QUIET = {"PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning", "CONNECT_TIMEOUT": "0.2"}


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, module_servers: StartServer) -> Remote:
    """Each of the libraries that read WebSockets for us."""
    return remote.start(module_servers, COMMANDS[request.param], QUIET)


POLLING = "/socket.io/?EIO=4&transport=polling&user=mallory"

#: Right messages, which are then spoilt.
RIGHT = (
    '40/tasks,{"ticket":"x","epoch":"e","cursors":{"a":1}}',
    "41/tasks,",
    '42/tasks,1["subscribe",{"task_ids":["a","b"],"cursors":{"a":1},"epoch":"e"}]',
    '42/tasks,2["list_tasks",{"limit":10,"before":"e.1"}]',
    '42/tasks,3["cancel_task",{"task_id":"a"}]',
    '42/tasks,4["visibility",{"hidden":true}]',
    '43/tasks,5[{"ok":true}]',
    '451-/tasks,6["subscribe",{"_placeholder":true,"num":0}]',
    "40/other,",
    '42["event"]',
    "2probe", "3", "5", "1", "6",
)  # fmt: skip

#: What somebody has thought of.
WRONG: tuple[str | bytes, ...] = (
    "", "4", "42", "42/tasks", "42/tasks,", "42/tasks,[]", "42/tasks,{}", "42/tasks,null", "42/tasks,[null]",
    "42/tasks,[1]", '42/tasks,["subscribe"]', '42/tasks,["subscribe",null]', '42/tasks,["subscribe",[[[]]]]',
    '42/tasks,["subscribe",{"task_ids":{}}]', '42/tasks,["subscribe",{"task_ids":[1]}]', "42/tasks,NaN",
    '42/tasks,["list_tasks",{"limit":1e999}]', '42/tasks,["list_tasks",{"limit":-1}]', "42/tasks," + "9" * 5000,
    "42/tasks," + "[" * 16_000, '42/tasks,{"a":' * 1000, "44/tasks,", "45/tasks,", "46/tasks,", "47/tasks,",
    "4\u0665/tasks,", "4\u00b2/tasks,", "42/tasks?x=1,[\"list_tasks\",{}]", "42/tasks\u0000,[]",
    '42/tasks,["\\ud800",{}]',
    "499999999999-/tasks,[]", "45999999999999999999-/tasks,[]", "40/tasks,[]", "40/tasks,7", '40/tasks,{"ticket":{}}',
    '40/tasks,{"cursors":{"a":"b"}}', "40/tasks,{", "xyz", "9", "\u0000", "2" * 100, b"", b"\x04", b"4", b"\xff" * 100,
    "42/tasks," + json.dumps(["subscribe", {"task_ids": ["x" * 17_000]}]),
    "42/tasks," + json.dumps(["subscribe", {"task_ids": ["\u00e9" * 9_000]}], ensure_ascii=False),
)  # fmt: skip


def spoilt(choose: random.Random) -> str | bytes:
    """One of the right ones with something wrong in it."""
    text = choose.choice(RIGHT)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(text) + 1)
        match choose.randrange(5):
            case 0:
                text = text[:at] + text[at + 1 :]
            case 1:
                text = text[:at] + chr(choose.choice([0, 34, 44, 45, 47, 91, 93, 0x660, 0x1F600])) + text[at:]
            case 2:
                text = text[:at] + text[:at]
            case 3:
                text = text[:at]
            case 4:
                text = text[:at] + str(choose.randrange(10**9)) + text[at:]
    return text.encode() if choose.random() < 0.05 else text


def frames(choose: random.Random) -> Iterator[bytes]:
    """Frames that break RFC 6455, one rule each."""
    mask = b"\x00\x00\x00\x00"
    yield b"\x81\x02" + b"42"  # not masked
    yield b"\xf1\x82" + mask + b"42"  # reserved bits
    yield b"\x83\x80" + mask  # an opcode that there is not
    yield b"\x80\x82" + mask + b"42"  # goes on with nothing
    yield b"\x01\x81" + mask + b"4" + b"\x81\x81" + mask + b"2"  # a message within a message
    yield b"\x09\x80" + mask  # a control frame in pieces
    yield b"\x89\xfe" + struct.pack("!H", 200) + mask + b"x" * 200  # a control frame that is too long
    yield b"\x81\x84" + mask + b"4\xff\xfe2"  # not UTF-8
    yield b"\x81\xff" + struct.pack("!Q", 1 << 40) + mask  # more than there is memory
    yield b"\x81\xff" + struct.pack("!Q", 1 << 63) + mask  # a length with its highest bit
    yield b"\x88\x81" + mask + b"\x03"  # half a close code
    yield b"\x88\x82" + mask + b"\x03\xed"  # a close code that nobody may send
    yield b"\x88\x84" + mask + b"\x03\xe8\xff\xff"  # a reason that is not UTF-8
    yield os.urandom(choose.randint(2, 400))
    yield b"GET / HTTP/1.1\r\n\r\n"
    yield b"\x81\x82" + mask[:2]  # and no more


def mallory(url: str) -> Wire:
    """A viewer that will send what it should not.

    On a busy machine one may ask only after the short time in which it must have; then the next one may be quicker.
    """
    over = time.monotonic() + PATIENCE
    while True:
        viewer: Wire | None = None
        try:
            viewer = Wire(url, "mallory")
            viewer.watch()
            return viewer
        except (Closed, OSError, websocket.WebSocketException):
            if viewer is not None:
                viewer.close()
            if time.monotonic() > over:
                raise


def test_what_is_not_our_protocol_ends_one_connection_at_most(server: Remote) -> None:
    """Each message on a connection of its own, to which a right request follows."""
    choose = random.Random(1)
    messages = [*WRONG, *(spoilt(choose) for _ in range(150))]
    with watching(server.url, "grace") as other:
        for message in messages:
            viewer = mallory(server.url)
            answer_or_end(viewer, message)
            viewer.close()
        other.wait_for_task(server.create("grace"))
        server.wait_for_stats(lambda stats: stats["viewers"] == 1 and stats["environs"] == 1)


def test_what_is_not_engine_io_ends_a_long_poll(server: Remote) -> None:
    """Posted, each in a session of its own."""
    many = b"\x1e".join([b"3"] * 8_000)
    posts = (b"", b"x", b"4" + b"[" * 16_000, b"\xff\xfe", b"\x1e", b"9", b"bx", b"d", b"d=", many)
    with watching(server.url, "grace") as other:
        for body in posts:
            session = json.loads(server.request("GET", POLLING)[1][1:])["sid"]
            connection = http.client.HTTPConnection("127.0.0.1", server.server.port, timeout=PATIENCE)
            with closing(connection):
                connection.request("POST", f"{POLLING}&sid={session}", body, {"Content-Type": "text/plain"})
                assert connection.getresponse().status in (200, 400)
        other.wait_for_task(server.create("grace"))
        server.wait_for_stats(lambda stats: stats["viewers"] == 1 and stats["environs"] == 1)


def test_what_is_not_websocket_ends_one_connection(server: Remote) -> None:
    """Bytes behind the upgrade that RFC 6455 does not know."""
    with watching(server.url, "grace") as other:
        for data in frames(random.Random(2)):
            viewer = mallory(server.url)
            assert viewer.socket.sock is not None
            viewer.socket.sock.sendall(data)
            viewer.close()
        other.wait_for_task(server.create("grace"))
        server.wait_for_stats(lambda stats: stats["viewers"] == 1 and stats["environs"] == 1)


def answer_or_end(viewer: Wire, message: str | bytes) -> Any:
    """Send it and a right request behind it; the answer to that, or the code the connection was closed with."""
    try:
        viewer.send(message)
        return viewer.ask("list_tasks", {"limit": 1}, id=77)
    except Closed as closed:
        return closed.code
    except OSError:  # it was closed before the request could be sent
        return None
    except TimeoutError:
        raise AssertionError(f"neither answered nor closed after {message!r}") from None
