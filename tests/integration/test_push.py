"""The push sockets of our own server, spoken to without any client's library."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote, wait_until
from support.viewer import watching
from support.wire import wire

HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
KEY = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@contextlib.contextmanager
def asked(plain: Remote, query: str, headers: dict[str, str]) -> Iterator[tuple[int, bytes]]:
    """Status and body of what the server answers; the connection stays open as long as this lasts."""
    connection = http.client.HTTPConnection("127.0.0.1", plain.server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", f"/socket.io/?EIO=4&user=ada&{query}", headers=headers)
        with connection.getresponse() as answer:
            yield answer.status, b"" if answer.status == 101 else answer.read()


def test_a_session_is_upgraded_by_one_socket_at_a_time(plain: Remote) -> None:
    """Sessions are counted, attempts to upgrade them are not: a second one meanwhile gets no descriptor."""
    with asked(plain, "transport=polling", {}) as (status, body):
        assert status == 200
    query = f"transport=websocket&sid={json.loads(body[1:])['sid']}"
    with asked(plain, query, HANDSHAKE) as (status, body):
        assert (status, body[:11]) == (426, b"A WebSocket")
    with asked(plain, query, HANDSHAKE | KEY) as (first, _), asked(plain, query, HANDSHAKE | KEY) as (second, _):
        assert (first, second) == (101, 409)


def test_a_handshake_that_is_none_leaves_no_session(plain: Remote) -> None:
    """It is refused, and what Engine.IO made for it is let go at once."""
    before = plain.json("GET", "/stats")
    for _ in range(5):
        with asked(plain, "transport=websocket", HANDSHAKE) as (status, _):
            assert status == 426
    after = plain.json("GET", "/stats")
    assert after["sockets"] <= before["sockets"]
    assert after["environs"] <= before["environs"]


def test_no_http_follows_a_handshake(server_process: StartServer) -> None:
    """What a middleware answers after the WebSocket has been taken over is dropped: browsers would find no frame in it
    and fall back to long polling.
    """
    server = remote.start(server_process, remote.serve("talkative:app"), noisy=True)
    with wire(server.url, "ada") as viewer:
        viewer.watch()
        assert viewer.ask("list_tasks", {"limit": 1})["ok"]
    server.server.wait_for_output("answered the handshake all the same")


def test_a_slow_viewer_has_little_on_its_way(plain: Remote) -> None:
    """Its picture is as old as what waits before it: of what it has no room for, the kernel takes one frame."""
    task = plain.create("slow", metadata={"filler": "x" * 500})
    with wire(plain.url, "slow", receive_buffer=4096) as slow, watching(plain.url, "slow") as healthy:
        slow.watch()
        for number in range(60):
            plain.call("update_task_progress", task_id=task, message=f"round {number}")
            healthy.wait_for_task(task, message=f"round {number}")
        before = 0
        while slow.receive_event("task_progress")[1]["progress"]["message"] != "round 59":
            before += len(slow.frames[-1])
    assert 0 < before < 16_000


def test_what_cannot_be_sent_stops_nothing_else(server_process: StartServer) -> None:
    """A host emits half a surrogate pair from a view: that event is lost, and said to be; all goes on."""
    server = remote.start(server_process, remote.serve("untidy:app"), noisy=True)
    with watching(server.url, "ada") as viewer:
        server.emit("note", data="\ud800", namespace="/tasks", to="user:ada")
        server.server.wait_for_output("What a thread asked of the hub failed")
        server.emit("note", data="whole", namespace="/tasks", to="user:ada")
        viewer.wait_for_event("note", lambda payload: payload == "whole")
        viewer.wait_for_task(server.create("ada"))


def test_a_request_to_stop_many_parts_holds_nobody_up(server_process: StartServer) -> None:
    """It goes to up to ten thousand tasks: on another thread than the one that tells all viewers."""
    server = remote.start(server_process, remote.serve("families:app"))
    with wire(server.url, "ada") as viewer, watching(server.url, "ada") as other:
        viewer.watch()
        parent = server.create("ada")
        part = server.create("ada", parent_id=parent)
        viewer.send(f'42/tasks,1["cancel_task",{{"task_id":"{parent}"}}]')
        wait_until(lambda: server.waiting_at("parts"), bool)
        other.wait_for_task(server.create("ada"))
        server.open_gate("parts")
        wait_until(lambda: server.call("get_task_status", task_id=part)["cancel_requested_at"], bool)
