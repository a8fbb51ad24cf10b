"""How connections begin and end: none stays without a viewer, and nothing of a viewer stays that has gone."""

from __future__ import annotations

import copy
import http.client
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from realtime.transport.polling import MAX_POSTED
from realtime.transport.unwatched import MAX_REFUSALS
from realtime.viewer import MAX_REFUSED
from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import watching
from support.wire import CONNECT, Closed, Wire, wire

GUNICORN = [
    "python", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--no-control-socket", "--threads", "20",
]  # fmt: skip
#: gunicorn leaves the socket of a WebSocket that has ended to the garbage collector.
QUIET = {"PYTHONWARNINGS": "default,ignore:unclosed <socket:ResourceWarning"}

SERVERS = {
    "serve": remote.serve("plain:app"),
    "gthread": [*GUNICORN, "support.apps.plain:app"],
    "gevent": [*GUNICORN, "-k", "gevent", "support.apps.plain:app"],
}


@pytest.fixture(scope="module", params=SERVERS)
def any_server(request: pytest.FixtureRequest, module_servers: StartServer) -> Remote:
    """Ours, and two of others, where viewers live in threads and greenlets of their own."""
    return remote.start(module_servers, SERVERS[request.param], QUIET)


@pytest.fixture(scope="module", params=SERVERS)
def impatient(request: pytest.FixtureRequest, module_servers: StartServer) -> Remote:
    """The same, closing after a moment what nobody watches on."""
    return remote.start(module_servers, SERVERS[request.param], QUIET, CONNECT_TIMEOUT="0.2")


class Poll:
    """A long-polling session, request by request."""

    def __init__(self, server: Remote, **query: str) -> None:
        self._server = server
        self._query = "".join(f"&{name}={value}" for name, value in query.items())
        self._session = ""
        opening = self.get()
        self._session = "&sid=" + json.loads(opening[1:])["sid"]

    def _address(self) -> str:
        return f"/socket.io/?EIO=4&transport=polling{self._query}{self._session}"

    def ask(self, method: str, body: str | None = None, **headers: str) -> int:
        """The status of a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.server.port, timeout=PATIENCE)
        with closing(connection):
            connection.request(method, self._address(), body, {"Content-Type": "text/plain", **headers})
            return connection.getresponse().status

    def of(self, user: str) -> Poll:
        """The same session, in the hands of somebody."""
        stolen = copy.copy(self)
        stolen._query = f"&user={user}"
        return stolen

    def get(self) -> str:
        """What the next poll brings."""
        status, text = self._server.request("GET", self._address())
        assert status == 200, text
        return text

    def post(self, packets: str) -> int:
        """Send packets; the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.server.port, timeout=PATIENCE)
        with closing(connection):
            connection.request("POST", self._address(), packets.encode(), {"Content-Type": "text/plain"})
            return connection.getresponse().status


def nothing_is_left(stats: dict[str, Any]) -> bool:
    return not stats["viewers"] and not stats["rooms"] and not stats["environs"] and "/tasks" not in stats["members"]


def test_a_session_that_ends_while_identify_works_leaves_no_ghost(any_server: Remote) -> None:
    """Long polling: one request asks to watch, and is held up; another ends the session meanwhile."""
    poll = Poll(any_server, user="ada", gate="ended")
    address = poll._address()
    with any_server.in_background("GET", address), ExitStack() as stack:
        connection = stack.enter_context(
            closing(http.client.HTTPConnection("127.0.0.1", any_server.server.port, timeout=PATIENCE))
        )
        connection.request("POST", address, CONNECT.encode(), {"Content-Type": "text/plain"})
        remote.wait_until(lambda: any_server.waiting_at("ended"), lambda waiting: waiting == 1)
        assert poll.post("1") == 200
        any_server.open_gate("ended")
        connection.getresponse().read()
    any_server.wait_for_stats(nothing_is_left)


def test_a_websocket_that_is_cut_while_identify_works_leaves_no_ghost(any_server: Remote) -> None:
    """The network has gone before the answer could be given."""
    with wire(any_server.url, "ada", gate="cut") as viewer:
        viewer.send(CONNECT)
        remote.wait_until(lambda: any_server.waiting_at("cut"), lambda waiting: waiting == 1)
    any_server.open_gate("cut")
    any_server.wait_for_stats(nothing_is_left)


def test_who_asks_twice_is_refused_the_second_time(any_server: Remote) -> None:
    """One connection is one viewer, also while the first request is still being looked at."""
    with wire(any_server.url, "ada") as viewer:
        viewer.watch()
        assert viewer.ask_in_vain()["data"]["code"] == "limit"
        assert any_server.stats()["viewers"] == 1
        assert viewer.ask("list_tasks", {"limit": 1})["ok"]
    poll = Poll(any_server, user="ada", gate="twice")
    address = poll._address()
    with closing(http.client.HTTPConnection("127.0.0.1", any_server.server.port, timeout=PATIENCE)) as first:
        first.request("POST", address, CONNECT.encode(), {"Content-Type": "text/plain"})
        remote.wait_until(lambda: any_server.waiting_at("twice"), lambda waiting: waiting == 1)
        assert poll.post(CONNECT) == 200
        any_server.open_gate("twice")
        assert first.getresponse().status == 200
    answers = poll.get()
    while '40/tasks,{"sid"' not in answers or "44/tasks," not in answers:
        answers += poll.get()
    assert answers.count('40/tasks,{"sid"') == answers.count("44/tasks,") == 1
    assert poll.post("1") == 200
    any_server.wait_for_stats(nothing_is_left)


def test_who_leaves_the_namespace_can_come_back(any_server: Remote) -> None:
    """A client that wants a new snapshot leaves and enters. Our own server has let go of the handshake by then: it
    closes the connection, and every client makes a new one."""
    with wire(any_server.url, "ada") as viewer:
        viewer.watch()
        viewer.send("41/tasks,")
        if Path(any_server.server.command[0]).name == "realtime":
            viewer.send(CONNECT)
            assert viewer.receive_until_closed() == 1012
        else:
            assert viewer.watch()["user_id"] == "ada"
            task_id = any_server.create("ada")
            assert viewer.receive_event()[1]["task_id"] == task_id
            assert any_server.stats()["viewers"] == 1
    any_server.wait_for_stats(nothing_is_left)


def test_requests_of_one_viewer_are_answered_in_order(any_server: Remote) -> None:
    """One after another, each after what it has done."""
    with wire(any_server.url, "ada") as viewer:
        viewer.watch()
        tasks = [any_server.create("bob", groups=[f"g{number}"]) for number in range(3)]
        for number in range(60):
            command = ("subscribe", "unsubscribe", "list_tasks")[number % 3]
            message = {"limit": 1} if command == "list_tasks" else {"task_ids": [tasks[number % 3]]}
            viewer.send(f"42/tasks,{number}{json.dumps([command, message])}")
        answers = [viewer.receive() for _ in range(60)]
        assert [str(answer).split("[")[0] for answer in answers] == [f"43/tasks,{number}" for number in range(60)]


def silent(viewer: Wire, ticket: str) -> None:
    """Say nothing."""


def elsewhere(viewer: Wire, ticket: str) -> None:
    """Ask for a namespace that there is not."""
    viewer.send("40/elsewhere,")
    assert str(viewer.receive()).startswith("44/elsewhere,")


def refused(viewer: Wire, ticket: str) -> None:
    """Ask without being anybody."""
    assert viewer.ask_in_vain()["data"]["code"] == "unauthenticated"


def left(viewer: Wire, ticket: str) -> None:
    """Watch, and leave."""
    viewer.watch({"ticket": ticket})
    viewer.send("41/tasks,")


def in_time(server: Remote, user: str | None, act: Callable[[Wire], object]) -> Wire:
    """A connection on which this was done before an impatient server closed it, which on a busy machine it may be."""
    for _ in range(50):
        with suppress(Closed):
            connection = Wire(server.url, user)
            try:
                act(connection)
                return connection
            except BaseException:
                connection.close()
                raise
    raise AssertionError("there was never the time")


@pytest.mark.parametrize("how", [silent, elsewhere, refused, left])
def test_a_connection_that_nobody_watches_on_is_closed(how: Any, impatient: Remote) -> None:
    """It costs as much as a viewer, and anybody can make it."""
    ticket = impatient.ticket(user="ada")
    with (
        closing(in_time(impatient, "bob", Wire.watch)) as other,
        closing(in_time(impatient, None, lambda viewer: how(viewer, ticket))) as viewer,
    ):
        assert viewer.receive_until_closed() == 1008
        impatient.wait_for_stats(lambda stats: stats["sockets"] == stats["viewers"] == 1)
        task_id = impatient.create("bob")
        assert other.receive_event()[1]["task_id"] == task_id


def test_who_asks_in_vain_does_not_stay(any_server: Remote) -> None:
    """Each request may ask the host's user database: after a few the connection is closed. Others notice nothing."""
    with watching(any_server.url, "bob") as other, wire(any_server.url) as viewer:
        for _ in range(MAX_REFUSALS):
            assert viewer.ask_in_vain({"ticket": "forged"})["data"]["code"] == "ticket_invalid"
        viewer.send(CONNECT)
        assert viewer.receive_until_closed() == 1008
        other.wait_for_task(any_server.create("bob"))


def test_who_goes_on_asking_beyond_the_rate_is_closed(any_server: Remote) -> None:
    """Each refusal costs an answer: after so many of them the connection ends. Others notice nothing."""
    with watching(any_server.url, "bob") as other, wire(any_server.url, "ada") as viewer:
        viewer.watch()
        refused, code = 0, None
        try:
            while refused <= MAX_REFUSED:
                # Many at once: one after the other may be less than the rate where each takes its time. But not in the
                # end: a connection that ends while something is on its way to it loses what was answered.
                many = 20 if refused < MAX_REFUSED - 20 else 1
                for _ in range(many):
                    viewer.send('42/tasks,1["visibility",{"hidden":false}]')
                for _ in range(many):
                    refused += '"ok":false' in str(viewer.receive())
        except Closed as closed:
            code = closed.code
        assert (refused, code) == (MAX_REFUSED - 1, 1008)
        other.wait_for_task(any_server.create("bob"))
        any_server.wait_for_stats(lambda stats: stats["viewers"] == 1)


def test_a_long_poll_that_goes_on_asking_is_closed(plain: Remote) -> None:
    """Its session ends: what it asks with next is refused."""
    poll = Poll(plain, user="ada")
    many = "\x1e".join(['42/tasks,["visibility",{"hidden":false}]'] * MAX_POSTED)
    assert poll.post(CONNECT) == 200
    posts = 0
    while poll.post(many) == 200:  # as often as it takes: what it may ask grows with the time
        posts += 1
        assert posts < 100
    assert posts >= MAX_REFUSED // MAX_POSTED
    assert poll.post(many) == 400
    plain.wait_for_stats(nothing_is_left)


def test_a_long_poll_belongs_to_its_user(any_server: Remote) -> None:
    """Whoever has its id and other cookies is nobody it knows, however it is asked; the session itself lives on. The
    user's own cookie may be renewed."""
    poll = Poll(any_server, user="ada")
    assert poll.ask("POST", CONNECT, Cookie="session=1") == 200
    while "tasks_snapshot" not in poll.get():
        pass
    thief = poll.of("mallory")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    asked = '42/tasks,1["list_tasks",{"limit":1}]'
    assert [thief.ask("POST", asked, Cookie="session=2"), thief.ask("GET", Cookie="session=2")] == [400, 400]
    assert thief.ask("GET", Authorization="Bearer x", **upgrade) == 400
    assert poll.ask("POST", asked, Cookie="session=3") == 200
    assert "43/tasks,1[" in poll.get()
    assert poll.ask("POST", "1", Cookie="session=3") == 200
    any_server.wait_for_stats(nothing_is_left)


def test_a_long_poll_posts_as_much_as_comes_together(plain: Remote) -> None:
    """Official clients send all that waits in one request, however many packets that are."""
    poll = Poll(plain, user="ada")
    requests = [f'42/tasks,{number}["list_tasks",{{"limit":1}}]' for number in range(60)]
    assert poll.post("\x1e".join([CONNECT, *requests])) == 200
    answers = ""
    while "43/tasks,59[" not in answers:
        answers += poll.get()
    assert answers.count('[{"ok":true') == 60
    assert poll.post("1") == 200


def test_a_silent_long_poll_is_closed_too(impatient: Remote) -> None:
    """Its open request is answered, and its next one is refused."""
    poll = Poll(impatient, user="ada")
    while impatient.request("GET", poll._address())[0] != 200:  # it came too late to be open when the time was over
        poll = Poll(impatient, user="ada")
    assert impatient.request("GET", poll._address())[0] == 400
    impatient.wait_for_stats(lambda stats: not stats["environs"])


@pytest.fixture
def stuck(server_process: StartServer) -> Iterator[tuple[Remote, Wire]]:
    """A server with a viewer, ada, that reads nothing any more and is behind with her tasks."""
    server = remote.start(server_process, remote.serve("plain:app"))
    with wire(server.url, "ada", receive_buffer=4096) as deaf:
        deaf.watch()
        tasks = [server.create("ada", metadata={"filler": "x" * 10_000}) for _ in range(10)]
        rounds = 0
        while not server.stats()["behind"]:
            rounds += 1
            assert rounds < 1_000
            for task_id in tasks:
                server.call("update_task_progress", task_id=task_id, message=f"round {rounds}")
        yield server, deaf


def test_a_stuck_viewer_does_not_keep_the_others_from_their_goodbye(stuck: tuple[Remote, Wire]) -> None:
    """All others hear how their tasks ended and get 1001, those who poll too; the process ends in time."""
    server, _ = stuck
    with ExitStack() as stack:
        viewers = [stack.enter_context(wire(server.url, "bob")) for _ in range(3)]
        for viewer in viewers:
            viewer.watch()
        polling = stack.enter_context(watching(server.url, "bob", "polling"))
        job = server.job("hold", "bob", gate="never")
        polling.wait_for_task(job, message="waiting")
        server.server.send_signal(signal.SIGTERM)
        for viewer in viewers:
            assert viewer.receive_event("task_failed")[1]["error"]["code"] == "server_stopped"
            assert viewer.receive_until_closed() == 1001
        assert polling.wait_for_task(job, status="failed")["error"]["code"] == "server_stopped"
        assert server.server.wait() == 0


def test_a_second_signal_waits_for_nothing(server_process: StartServer) -> None:
    """Whoever is impatient is obeyed: a view that would be waited for is not."""
    server = remote.start(server_process, remote.serve("plain:app"), ANSWER_TIME="1000")
    server.job("hold", "ada", gate="never")
    with closing(http.client.HTTPConnection("127.0.0.1", server.server.port, timeout=PATIENCE)) as asking:
        asking.request("GET", "/slow/never")
        remote.wait_until(lambda: server.waiting_at("never"), lambda waiting: waiting == 2)
        server.server.send_signal(signal.SIGINT)
        server.server.send_signal(signal.SIGTERM)
        assert server.server.wait() == 0


def test_running_out_of_descriptors_does_not_end_the_server(server_process: StartServer) -> None:
    """It says so once, waits, and goes on when connections have ended; who was connected goes on all the time."""
    command = ["sh", "-c", 'ulimit -n 96 && exec "$@"', "sh", *remote.serve("plain:app")]
    server = remote.start(server_process, command)
    with watching(server.url, "ada") as viewer:
        task_id = server.create("ada")
        with ExitStack() as crowd:
            for _ in range(120):
                crowd.enter_context(socket.create_connection(("127.0.0.1", server.server.port), timeout=PATIENCE))
            server.server.wait_for_output("No more connections can be accepted now")
            assert viewer.ask("subscribe", task_ids=[task_id])["tasks"]
        viewer.wait_for_task(server.job("steps", "ada"), status="completed")
    assert server.server.output().count("No more connections") == 1


def test_answers_without_a_body_keep_the_connection(any_server: Remote) -> None:
    """204 and 304, then the next request on the same connection."""
    task_id = any_server.create("ada")
    connection = http.client.HTTPConnection("127.0.0.1", any_server.server.port, timeout=PATIENCE)

    def ask(path: str, **headers: str) -> tuple[int, str, bytes]:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["ETag"], answer.read()

    path = f"/realtime/v1/tasks/{task_id}?user=ada"
    with closing(connection):
        for _ in range(2):
            assert ask("/nothing")[0] == 204
            _, etag, _ = ask(path)
            assert ask(path, **{"If-None-Match": etag})[0] == 304
            assert json.loads(ask(path)[2])["task_id"] == task_id


def test_a_user_is_logged_out_everywhere(any_server: Remote) -> None:
    """``rt.disconnect`` sends all viewers of one user away, and nobody else."""
    with ExitStack() as stack:
        tabs = [stack.enter_context(watching(any_server.url, "ada", how)) for how in ("websocket", "polling")]
        other = stack.enter_context(watching(any_server.url, "bob"))
        assert any_server.json("POST", "/logout/ada") == 2
        for tab in tabs:
            tab.wait_for_event("disconnect")
        other.wait_for_task(any_server.create("bob"))
        any_server.wait_for_stats(lambda stats: stats["viewers"] == 1)
