"""Viewers come and go in every way there is, beside running updates: nothing of them stays."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import raw, remote
from support.process import StartServer
from support.raw import BYE, Raw, text
from support.remote import Remote
from support.viewer import watching

CONNECT, ACCEPTED, REFUSED = text("40/tasks,"), b'40/tasks,{"sid"', b"44/tasks,"
POLLING = "/socket.io/?EIO=4&transport=polling&user=ada"
ROUNDS = 12


@pytest.fixture
def server(server_process: StartServer) -> Remote:
    """Impatient with those that say nothing, though not so that one that is slow were taken for one."""
    return remote.start(server_process, remote.serve("plain:app"), CONNECT_TIMEOUT="3", PING_SECONDS="2")


def watch(server: Remote) -> Raw:
    """A viewer that is let in."""
    viewer = Raw(server, "transport=websocket&user=ada")
    viewer.send(CONNECT)
    viewer.wait_for(ACCEPTED)
    return viewer


def poll(server: Remote, also: str = "") -> str:
    """The id of a new session of long polling; ``also`` stands in the query that begins it."""
    session: str = json.loads(server.request("GET", POLLING + also)[1][1:])["sid"]
    return session


def probe(server: Remote, session: str) -> Raw:
    """A session's attempt to become a WebSocket, in its middle."""
    attempt = Raw(server, f"transport=websocket&user=ada&sid={session}")
    attempt.send(text("2probe"))
    attempt.wait_for(b"3probe")
    return attempt


def closes(server: Remote) -> None:
    """The closing handshake."""
    viewer = watch(server)
    viewer.send(BYE)
    assert viewer.read_to_the_end().code == 1000


def closes_in_a_hurry(server: Remote) -> None:
    """It asks to watch and closes, all in one piece."""
    viewer = Raw(server, "transport=websocket&user=ada")
    viewer.send(CONNECT + text('42/tasks,1["list_tasks",{"limit":1}]') + BYE)
    assert viewer.read_to_the_end().code == 1000


def says_goodbye(server: Remote) -> None:
    """Socket.IO's goodbye, Engine.IO's and then WebSocket's, as the official client does."""
    viewer = watch(server)
    viewer.send(text("41/tasks,") + text("1") + BYE)
    assert viewer.read_to_the_end().code == 1000


def hangs_up(server: Remote) -> None:
    """FIN, without a close frame."""
    watch(server).socket.close()


def is_cut_off(server: Remote) -> None:
    """RST."""
    watch(server).reset()


def ends_half(server: Remote) -> None:
    """It sends no more, and would read on."""
    viewer = watch(server)
    viewer.socket.shutdown(socket.SHUT_WR)
    viewer.read_to_the_end()


def breaks_the_rules(server: Remote) -> None:
    """A frame that is none."""
    viewer = watch(server)
    viewer.send(b"\xff\xff\xff\xff")
    assert viewer.read_to_the_end().code == 1002


def is_nobody(server: Remote) -> None:
    """A ticket that is none, and then the connection is dropped."""
    viewer = Raw(server, "transport=websocket")
    viewer.send(text('40/tasks,{"ticket":"forged"}'))
    viewer.wait_for(REFUSED)
    viewer.reset()


def leaves_in_the_handshake(server: Remote) -> None:
    """Half a request."""
    connection = raw.connect(server)
    connection.sendall(raw.handshake(server)[:100])
    connection.close()


def leaves_before_the_answer(server: Remote) -> None:
    """A whole request, and nobody there when it is answered."""
    connection = raw.connect(server)
    connection.sendall(raw.handshake(server))
    raw.reset(connection)


def upgrades(server: Remote) -> None:
    """Long polling that becomes a WebSocket, watches and closes."""
    viewer = probe(server, poll(server))
    viewer.send(text("5"), CONNECT)
    viewer.wait_for(ACCEPTED)
    viewer.send(BYE)
    assert viewer.read_to_the_end().code == 1000


def upgrades_by_half(server: Remote) -> None:
    """The attempt is cut off in its middle; the session never polls again."""
    probe(server, poll(server)).reset()


def polls_no_more(server: Remote, also: str = "") -> None:
    """A session of long polling that watches, and is never heard of again."""
    path = f"{POLLING}&sid={poll(server, also)}"
    connection = raw.connect(server)
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server.port}\r\nContent-Length: 9\r\n\r\n40/tasks,".encode()
    )
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    connection.close()


def polls_in_disguise(server: Remote) -> None:
    """Such a session whose query looks like that of a WebSocket."""
    polls_no_more(server, "&x=transport=websocket")
    polls_no_more(server, "&transport=websocket")


#: Each leaves at once.
ENDS = (
    closes, closes_in_a_hurry, says_goodbye, hangs_up, is_cut_off, ends_half, breaks_the_rules, is_nobody,
    leaves_in_the_handshake, leaves_before_the_answer, upgrades, upgrades_by_half, polls_no_more,
    polls_in_disguise,
)  # fmt: skip


def silent(server: Remote) -> list[Raw]:
    """A viewer that answers no ping, one that never asks to watch, and an upgrade that never goes on: they stay until
    the server has enough of them.
    """
    return [watch(server), Raw(server, "transport=websocket&user=ada"), probe(server, poll(server))]


@pytest.fixture
def updates(server: Remote) -> Iterator[Callable[[], int]]:
    """A task of ada's moves all the time; what stops it and says how far it has come. The task is called ``moving``."""
    task = server.create("ada", task_id="moving")
    stop = threading.Event()
    done = [0]

    def update() -> None:
        while not stop.wait(0.01):
            done[0] += 1
            server.call("update_task_progress", task_id=task, current=done[0])

    def end() -> int:
        stop.set()
        thread.join(remote.PATIENCE)
        return done[0]

    thread = threading.Thread(target=update, daemon=True)
    thread.start()
    yield end
    end()


def held(server: Remote) -> tuple[dict[str, Any], dict[str, int]]:
    """What a server holds for its connections, and how many objects of the classes that they are made of."""
    names = ("viewers", "rooms", "sockets", "environs", "members", "behind")
    stats = server.stats()
    return {name: stats[name] for name in names}, {
        "descriptors": stats["descriptors"], **server.json("GET", "/objects"),
    }  # fmt: skip


def nothing_more(now: tuple[dict[str, Any], dict[str, int]], before: tuple[dict[str, Any], dict[str, int]]) -> bool:
    """Whether a server holds no more than before. The connection of this very question may be among the objects, and
    one that a greenlet has just been done with: what leaks shows once for each of the rounds.
    """
    few = ROUNDS // 4
    return now[0] == before[0] and all(number <= before[1][name] + few for name, number in now[1].items())


def test_nothing_stays_of_viewers_that_come_and_go(server: Remote, updates: Callable[[], int]) -> None:
    """Whatever way they go: afterwards the server holds what it held before, and who stayed has missed nothing."""
    with watching(server.url, "ada") as stays:
        for end in ENDS:  # once, for all that is made at a first use
            end(server)
        still = remote.wait_until(
            lambda: held(server),
            lambda now: now[0]["viewers"] == now[0]["sockets"] == now[0]["environs"] == 1 and not now[0]["behind"],
        )
        patient: list[Raw] = []
        for number in range(ROUNDS):
            patient += silent(server) if number % 3 == 0 else []
            for end in ENDS:
                end(server)
        for viewer in patient:
            viewer.read_to_the_end()
        remote.wait_until(lambda: held(server), lambda now: nothing_more(now, still))
        stays.wait_for_task("moving", current=updates())
