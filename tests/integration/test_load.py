"""What stands in the way of pushes, and what a server owes when it stops."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import signal
import socket
import threading
import time

import pytest

from support import remote
from support.history import History
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import Event, watching
from support.wire import wire


def test_slow_views_stop_no_push(plain: Remote) -> None:
    """Ten views wait; meanwhile a task is made, moves and ends before the eyes of its viewer."""
    with watching(plain.url, "ada") as viewer, plain.in_background("GET", "/slow/views", times=10):
        remote.wait_until(lambda: plain.waiting_at("views"), lambda waiting: waiting == 10)
        viewer.wait_for_task(plain.job("steps", "ada"), status="completed")
        assert plain.waiting_at("views") == 10
        plain.open_gate("views")


def test_a_job_that_computes_stops_no_push(plain: Remote) -> None:
    """It never waits and never lets go of the processor by itself; others move and end all the same."""
    with watching(plain.url, "ada") as viewer:
        busy = plain.job("compute", "ada", gate="computed")
        viewer.wait_for_task(busy, message="computing")
        for _ in range(3):
            viewer.wait_for_task(plain.job("steps", "ada"), status="completed")
        assert viewer.tasks[busy]["status"] == "processing"
        plain.open_gate("computed")
        viewer.wait_for_task(busy, status="completed")


@pytest.mark.timeout(300)
def test_a_million_updates_are_a_frame_per_flush(plain: Remote) -> None:
    """A native thread updates one task a million times: each viewer ends right, with one frame a flush at most."""
    task_id = plain.create("ada", total=1_000_000)
    with watching(plain.url, "ada") as first, watching(plain.url, "ada") as second:
        # Under coverage, on a busy machine, it takes its time.
        done = json.loads(plain.request("POST", f"/flood/{task_id}?times=1000000", patience=240)[1])
        plain.call("complete_task", task_id=task_id)
        for viewer in (first, second):
            end = viewer.wait_for_task(task_id, status="completed")
            assert end["progress"]["current"] == 1_000_000
            assert viewer.count("task_progress") <= done["flushes"] + 2
        # At most one flush per interval (0.02 s here), and the one that a quiet time allows at once.
        assert done["flushes"] <= done["seconds"] / 0.02 + 2


def test_a_viewer_that_never_reads_costs_little_and_is_closed(server_process: StartServer) -> None:
    """Its news stay a set of ids; after `REALTIME_VIEWER_TIMEOUT` it is closed, and nothing of it stays."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_VIEWER_TIMEOUT="2")
    with wire(server.url, "ada", receive_buffer=4096) as deaf, watching(server.url, "ada") as healthy:
        deaf.watch()  # before there is much to take, or it might be slow already
        tasks = [server.create("ada", metadata={"filler": "x" * 10_000}) for _ in range(20)]
        before = server.stats()["memory"]
        round_ = 0
        while server.stats()["viewers"] == 2:
            round_ += 1
            assert round_ < 2_000
            for task_id in tasks:
                server.call("update_task_progress", task_id=task_id, message=f"round {round_}")
        assert server.stats()["memory"] - before < 20_000_000
        healthy.wait_for_task(tasks[-1], message=f"round {round_}")
    server.wait_for_stats(lambda stats: not stats["viewers"] and not stats["sockets"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_stopped_server_says_so_and_leaves(number: int, server_process: StartServer) -> None:
    """Jobs and waits under way: the task fails with ``server_stopped``, viewers get 1001, the exit code is 0."""
    server = remote.start(server_process, remote.serve("plain:app"))
    with wire(server.url, "ada") as viewer:
        viewer.watch()
        job = server.job("hold", "ada", gate="never")
        while viewer.receive_event()[1]["progress"]["message"] != "waiting":
            pass
        task = server.call("get_task_status", task_id=job)
        path = f"/realtime/v1/tasks/{job}?user=ada&after={task['epoch']}.{task['version']}"
        waiter = threading.Thread(target=lambda: server.request("GET", path), daemon=True)
        waiter.start()
        server.wait_for_stats(lambda stats: stats["waiting"] == 1)
        server.server.send_signal(number)
        event, end = viewer.receive_event("task_failed")
        assert (event, end["error"]["code"]) == ("task_failed", "server_stopped")
        # One viewer may come back at once; a thousand would be told to take two seconds over it.
        assert viewer.receive_event("server_state")[1] == {"state": "stopping", "reconnect_within": 0.002}
        assert viewer.receive_until_closed() == 1001
        assert server.server.wait() == 0
        waiter.join(PATIENCE)
        assert not waiter.is_alive()


def test_what_was_asked_before_the_stop_is_answered(server_process: StartServer) -> None:
    """A request that a view is still at work on when SIGTERM comes gets its answer, not a connection that breaks."""
    server = remote.start(server_process, remote.serve("plain:app"), ANSWER_TIME="60")
    other = http.client.HTTPConnection("127.0.0.1", server.server.port, timeout=PATIENCE)
    with contextlib.closing(other), server.in_background("GET", "/slow/last") as answers:
        remote.wait_until(lambda: server.waiting_at("last"), lambda waiting: waiting == 1)
        other.request("GET", "/gate/last")
        other.getresponse().read()
        server.server.send_signal(signal.SIGTERM)
        remote.wait_until(lambda: can_connect(server.server.port), lambda can: not can)
        # All else has been said and done long before this.
        until = time.monotonic() + 0.5
        remote.wait_until(time.monotonic, lambda now: now > until)
        other.request("POST", "/gate/last")
        assert other.getresponse().status == 200
    assert [status for status, _ in answers] == [200]
    assert server.server.wait() == 0


def test_what_is_asked_too_late_is_not_begun(server_process: StartServer) -> None:
    """When all has been answered and the process is about to end, a worker's next request may still come: half done it
    could be neither told nor made again. The connection ends with the answer, as with each one since the signal."""
    server = remote.start(server_process, remote.serve("leaving:app"), ANSWER_TIME="60")
    first, second = [http.client.HTTPConnection("127.0.0.1", server.server.port, timeout=PATIENCE) for _ in range(2)]

    def ask(connection: http.client.HTTPConnection, method: str) -> tuple[int, bool]:
        """The status, and whether the connection ends."""
        connection.request(method, "/gate/last")
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.will_close

    with (
        contextlib.closing(first), contextlib.closing(second), server.in_background("GET", "/slow/last") as answers,
    ):  # fmt: skip
        remote.wait_until(lambda: server.waiting_at("last"), lambda waiting: waiting == 1)
        assert [ask(connection, "GET") for connection in (first, second)] == [(200, False)] * 2
        server.server.send_signal(signal.SIGTERM)
        remote.wait_until(lambda: can_connect(server.server.port), lambda can: not can)
        assert ask(first, "POST") == (200, True)  # now all is answered
        server.server.wait_for_output("^leaving$")
        assert ask(second, "GET") == (503, True)
    assert [status for status, _ in answers] == [200]
    server.server.send_signal(signal.SIGTERM)
    assert server.server.wait() == 0


def test_a_signal_that_comes_while_nothing_happens_is_heard(server_process: StartServer) -> None:
    """Nothing else wakes the hub's thread, and it is another one that was given the signal."""
    server = remote.start(server_process, remote.serve("deaf:app"))
    server.server.send_signal(signal.SIGTERM)
    server.server.wait_for_output("^leaving$")
    server.server.send_signal(signal.SIGTERM)
    assert server.server.wait() == 0


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_bodies_pass_the_bridge(plain: Remote) -> None:
    """A large upload arrives whole, a large answer too, and a stream comes piece by piece."""
    data = bytes(range(256)) * 20_000
    connection = http.client.HTTPConnection("127.0.0.1", plain.server.port, timeout=PATIENCE)
    connection.request("POST", "/upload", data)
    assert json.loads(connection.getresponse().read()) == {
        "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    connection.request("GET", "/large/3000000")
    assert len(connection.getresponse().read()) == 3_000_000 // 65536 * 65536
    connection.request("GET", "/stream/pieces")
    answer = connection.getresponse()
    assert answer.readline() == b"first\n"
    remote.wait_until(lambda: plain.waiting_at("pieces"), lambda waiting: waiting == 1)
    plain.open_gate("pieces")
    assert answer.read() == b"second\n"
    connection.close()


def test_a_taken_port_is_said_with_a_free_one(plain: Remote, server_process: StartServer) -> None:
    """One sentence, exit code 1, no traceback."""
    command = remote.serve("plain:app")
    second = server_process(
        command, env=remote.environment(), ready=None, port=plain.server.port
    )  # fmt: skip
    assert second.wait() == 1
    found = second.wait_for_output(rf"Port {plain.server.port} of 127\.0\.0\.1 is taken.* Port (\d+) is free")
    assert int(found[1]) > plain.server.port


def test_histories_agree(plain: Remote) -> None:
    """Threads change many tasks while viewers come, go and return: what was acknowledged is what each ends with."""
    history = History()
    users = ("ada", "grace")
    tasks = {plain.create(user): user for user in users for _ in range(4)}

    def change(task_id: str) -> None:
        for step in range(15):
            history.acknowledged(plain.call("update_task_progress", task_id=task_id, percent=step * 6, where="thread"))
        end = ("complete_task", {}) if hash(task_id) % 2 else ("fail_task", {"error": "no more"})
        history.acknowledged(plain.call(end[0], task_id=task_id, **end[1]))

    threads = [threading.Thread(target=change, args=(task_id,), daemon=True) for task_id in tasks]
    with watching(plain.url, "ada") as ada, watching(plain.url, "grace") as grace:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with watching(plain.url, "ada") as passing:
                assert passing.ask("list_tasks", limit=100)["ok"]
                history.saw("passing ada", passing.events)
        for viewer, user in ((ada, "ada"), (grace, "grace")):
            for task_id, owner in tasks.items():
                if owner == user:
                    viewer.wait_for_task(task_id, status=history.final(task_id)["status"])
            history.saw(user, viewer.events)
    history.check(complete={"ada": [t for t, u in tasks.items() if u == "ada"],
                            "grace": [t for t, u in tasks.items() if u == "grace"]})  # fmt: skip


def text_of(events: list[Event]) -> str:
    """All output that came."""
    return "".join(payload["text"] for event, payload in events if event == "task_output")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_output_arrives_whole_in_order_and_before_the_end(transport: str, plain: Remote) -> None:
    """What a job prints, as its viewer reads it; a second viewer that comes late gets the same from the beginning."""
    expected = "".join(f"line {number} é\n" for number in range(6_000))
    with watching(plain.url, "ada", transport) as viewer, watching(plain.url, "grace", transport) as stranger:
        task_id = plain.job("write", "ada", lines=6_000)
        viewer.wait_for_task(task_id, status="completed")
        events = [(event, payload) for event, payload in viewer.events if payload and payload.get("task_id") == task_id]
        assert events[-1][0] == "task_completed"
        pieces = [payload for event, payload in events if event == "task_output"]
        assert "".join(piece["text"] for piece in pieces) == expected
        assert [piece["offset"] for piece in pieces[1:]] == [piece["end"] for piece in pieces[:-1]]
        with watching(plain.url, "ada", transport) as late:
            late.ask("subscribe", task_ids=[task_id], outputs={task_id: 0}, epoch=pieces[0]["epoch"])
            late.wait_for(
                lambda: (
                    "".join(payload["text"] for event, payload in late.events if event == "task_output") == expected
                ),
                "output",
            )
        assert not stranger.count("task_output")
