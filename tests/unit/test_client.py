"""`Client`: the lifecycle functions from another process, over HTTP, whatever becomes of requests and answers."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest

import realtime
from realtime.client import Client, environment, http
from realtime.client.calls import Call
from realtime.errors import (
    ConfigError,
    InvalidValue,
    KeyInvalid,
    LeaseHeld,
    RealtimeError,
    RegistryUnavailable,
    TaskAlreadyFinished,
    TaskCancelled,
    TaskError,
    TaskExists,
    TaskNotFound,
)
from realtime.extension import Realtime
from realtime.operations import NOBODY, Operations
from realtime.task import Task, TaskStatus
from support import worker_server
from support.tools import ROOT
from support.worker_server import KEY, WorkerServer

#: Seconds after which a wait has failed.
LONG = 20.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer may take its time."""
    monkeypatch.setattr("realtime.client.registry.PATIENCE", LONG)


@pytest.fixture
def server() -> Iterator[WorkerServer]:
    with WorkerServer() as server:
        yield server


@pytest.fixture
def client(server: WorkerServer) -> Iterator[Client]:
    with Client(server.url, KEY, timeout=LONG) as client:
        yield client


def stored(server: WorkerServer, task_id: str) -> Task:
    return server.operations.require(task_id)


def output(server: WorkerServer, task_id: str) -> str:
    piece = server.operations.registry.read_output(task_id, "output", 0, 10**7, 10**7)
    return "" if piece is None else piece.data.decode()


# The functions.


def test_a_life_of_a_task(client: Client, server: WorkerServer) -> None:
    """Created, updated and completed as in the server's own process."""
    made = client.create_task("t", 42, name="Export", total=200, unit="rows", metadata={"a": 1}, groups=("team:7",))
    assert made.as_dict() == stored(server, "t").as_dict()
    assert client.update_task_progress("t", "Reading", current=50).percent == 25.0
    done = client.complete_task("t", {"url": "/x"})
    assert (done.status, done.result, done.message) == (TaskStatus.COMPLETED, {"url": "/x"}, "Reading")
    assert done.as_dict() == stored(server, "t").as_dict()
    assert [operation["op"] for operation in server.done] == ["create", "update", "complete"]


def test_all_functions_of_operations_are_there_and_work(client: Client, server: WorkerServer) -> None:
    """What Realtime takes from Operations, a client has too."""
    for task_id in ("a", "b", "c", "d"):
        client.create_task(task_id, "ada")
    assert client.fail_task("a", TaskError("no", code="gone", details={"n": 1})).error.details == {"n": 1}  # type: ignore[union-attr]
    assert client.cancel_task("b").cancel_requested_at is not None
    assert client.acknowledge_cancel("b").cancel_acknowledged_at is not None
    assert client.cancel_task("b", done=True).status is TaskStatus.CANCELLED
    assert [made.message for made in client.update_many([("c", "one"), ("d", "two")])] == ["one", "two"]  # type: ignore[union-attr]
    assert client.append_output("c", "é\n") == 3
    assert client.heartbeat_task("c", 5).task_id == "c"
    assert stored(server, "c").info.lease == 5
    page = client.list_tasks("ada", limit=3)
    assert [task.task_id for task in page] == ["d", "c", "b"]
    assert [task.task_id for task in client.list_tasks("ada", before=page.next)] == ["a"]
    assert [task.task_id for task in client.list_tasks("ada", finished=True)] == ["b", "a"]
    assert client.remove_task("a").version > 0
    assert client.get_task_status("a") is None
    assert client.get_task_status("c").message == "one"  # type: ignore[union-attr]
    assert client.get_task_status("c", user_id="bob") is None
    assert output(server, "c") == "é\n"


def test_a_list_is_read_page_by_page(client: Client, server: WorkerServer) -> None:
    """The server's pages are short; what is left out of them does not count."""
    for number in range(9):
        client.create_task(f"t{number}", "ada")
        if number % 2:
            client.complete_task(f"t{number}")
    server.page = 2
    assert len(client.list_tasks("ada")) == 9
    first = client.list_tasks("ada", limit=3, finished=False)
    assert [task.task_id for task in first] == ["t8", "t6", "t4"]
    assert [task.task_id for task in client.list_tasks("ada", finished=False, before=first.next)] == ["t2", "t0"]
    assert [task.task_id for task in client.list_tasks("ada", finished=True)] == ["t7", "t5", "t3", "t1"]
    with pytest.raises(InvalidValue, match="groups"):
        client.list_tasks("ada", groups=["team:7"])


def test_a_client_has_the_methods_of_a_realtime_for_workers() -> None:
    """With the same parameters; and what needs a server of pages it has not."""
    for name in ("task", "progress", "track"):
        ours = inspect.signature(getattr(Client, name)).parameters
        assert list(ours) == list(inspect.signature(getattr(Realtime, name)).parameters)
    shared = {name for name in vars(Operations) if not name.startswith("_")}
    assert all(hasattr(Client, name) for name in shared)


def test_errors_are_those_of_the_registry(client: Client) -> None:
    """The same classes with the same attributes, from the server or found here."""
    client.create_task("t", "ada")
    with pytest.raises(TaskExists):
        client.create_task("t", "ada")
    with pytest.raises(InvalidValue, match="user_id"):
        client.create_task("u")
    with pytest.raises(InvalidValue, match=r"result\.x"):
        client.complete_task("t", {"x": float("nan")})
    client.complete_task("t")
    with pytest.raises(TaskAlreadyFinished, match="completed"):
        client.fail_task("t", "no")
    with pytest.raises(TaskAlreadyFinished) as finished:
        client.update_task_progress("t", 5)
    assert finished.value.status == "completed"
    with pytest.raises(TaskNotFound):
        client.update_task_progress("nobody", 5)
    with pytest.raises(TaskNotFound):
        client.append_output("nobody", "x")
    with pytest.raises(TaskNotFound):
        client.task("nobody")
    assert client.complete_task("t").status is TaskStatus.COMPLETED  # the same end again
    assert client.create_task("v", NOBODY).user_id is None


def test_exist_ok_returns_the_task_that_is_there(client: Client) -> None:
    """A worker that is started twice goes on with its task."""
    client.create_task("t", "ada", message="first")
    assert client.create_task("t", "ada", message="second", exist_ok=True).message == "first"


# A handle.


def test_a_block_and_its_output(client: Client, server: WorkerServer) -> None:
    """`progress` and the handle are those of the server's process."""
    with client.progress(user_id="ada", name="Export", total=3, task_id="t") as task:
        for number in task.track(range(3)):
            print(f"line {number}", file=task.stdout)
    assert stored(server, "t").status is TaskStatus.COMPLETED
    assert stored(server, "t").current == 3
    assert output(server, "t") == "line 0\nline 1\nline 2\n"
    with pytest.raises(ZeroDivisionError), client.task(client.create_task("u", "ada").task_id):
        raise ZeroDivisionError("by zero")
    assert stored(server, "u").error.message == "by zero"  # type: ignore[union-attr]
    assert list(client.track([1, 2], user_id="ada", task_id="v")) == [1, 2]
    assert stored(server, "v").status is TaskStatus.COMPLETED


def test_output_before_an_end_arrives_before_it(server: WorkerServer) -> None:
    """In one request, as it was said."""
    with Client(server.url, KEY, timeout=LONG, interval=10.0) as client:
        client.create_task("t", "ada")
        for number in range(100):
            client.append_output("t", f"{number}\n")
        client.update_task_progress("t", "last words")
        client.complete_task("t")
    assert output(server, "t") == "".join(f"{number}\n" for number in range(100))
    assert [operation["op"] for operation in server.done if operation["op"] != "output"] == [
        "create", "update", "complete",
    ]  # fmt: skip
    assert len(server.of("output")) < 20


def test_a_request_to_stop_reaches_the_job_at_its_next_word(client: Client, server: WorkerServer) -> None:
    """In a stream of updates from the answers, after a quiet time from the answer to that update itself."""

    def streaming() -> None:
        with client.progress(user_id="ada", task_id="t") as task:
            server.operations.cancel_task("t")
            pause = threading.Event()
            for _ in range(2000):
                task.update("working")
                pause.wait(0.005)

    def quiet() -> None:
        with client.progress(user_id="ada", task_id="u") as task:
            client._conflator._entries["u"].heard = float("-inf")  # as after a quiet time
            server.operations.cancel_task("u")
            task.update("first word")

    for job, task_id in ((streaming, "t"), (quiet, "u")):
        with pytest.raises(TaskCancelled):
            job()
        assert stored(server, task_id).status is TaskStatus.CANCELLED
        said = [operation["op"] for operation in server.done if operation["task_id"] == task_id]
        assert said[-2:] == ["acknowledge_cancel", "cancel"]
        assert stored(server, task_id).cancel_acknowledged_at is not None


def test_a_job_that_only_looks_hears_of_a_request_to_stop(client: Client, server: WorkerServer) -> None:
    """What is known here is good for half a second; then the server is asked."""
    with client.progress(user_id="ada", task_id="t") as task:
        assert not task.cancelled
        server.operations.cancel_task("t")
        client._conflator._entries["t"].heard = float("-inf")
        assert task.cancelled
        task.cancel()


def test_a_block_is_held_from_its_first_line_on(client: Client, server: WorkerServer) -> None:
    """A worker that is killed there is lost: the server has answered the first heartbeat."""
    with client.progress(user_id="ada", task_id="t"):
        assert [(beat["task_id"], beat["lease"]) for beat in server.of("heartbeat")] == [("t", 30.0)]
    for _ in client.track([1], user_id="ada", task_id="u"):
        assert server.of("heartbeat")[-1]["task_id"] == "u"


def test_what_a_block_holds_no_other_worker_enters(client: Client, server: WorkerServer) -> None:
    """A second one that got the same task is refused; one that takes it over fences the first one out of its block."""
    with Client(server.url, KEY, timeout=LONG) as other:
        with client.progress(user_id="ada", task_id="t") as task:
            with pytest.raises(LeaseHeld), other.task("t"):
                pytest.fail("the block was entered")
            task.update("mine")
            client.flush()
            with other.task("t", takeover=True) as taken:
                taken.update("theirs")
                other.flush()
                with contextlib.suppress(LeaseHeld):  # at the latest by the answer to it
                    task.update("mine?")
                client.flush()
                with pytest.raises(LeaseHeld):
                    task.complete("mine?")
                assert stored(server, "t").message == "theirs"
                with contextlib.suppress(LeaseHeld):
                    task.write("mine?")
                client.flush()
                with pytest.raises(LeaseHeld):
                    task.update("mine?")
        assert stored(server, "t").status is TaskStatus.COMPLETED
    assert stored(server, "t").result is None
    assert output(server, "t") == ""


def test_a_block_that_is_passed_through_gives_its_task_back(client: Client, server: WorkerServer) -> None:
    """Whoever goes on with it may enter at once, however long it took."""
    task_id = client.create_task("t", "ada").task_id
    with contextlib.suppress(ZeroDivisionError), client.task(task_id, passthrough=(ZeroDivisionError,)):
        assert stored(server, "t").info.lease == 30.0
        raise ZeroDivisionError
    assert (stored(server, "t").info.lease, stored(server, "t").info.holder) == (None, None)
    client.update_task_progress("t", "between")
    with Client(server.url, KEY, timeout=LONG) as other, other.task(task_id):
        pass
    assert stored(server, "t").status is TaskStatus.COMPLETED


def test_a_worker_says_who_it_is(client: Client, server: WorkerServer) -> None:
    """By itself, where it has no block: what it says of the task from then on is said as that one."""
    client.create_task("t", "ada")
    client.heartbeat_task("t", holder="me")
    server.operations.heartbeat_task("t", holder="another", takeover=True)
    client.update_task_progress("t", "mine?")
    client.flush()
    with pytest.raises(LeaseHeld):
        client.update_task_progress("t", "mine?")
    with pytest.raises(LeaseHeld):
        client.heartbeat_task("t", holder="me")
    assert client.heartbeat_task("t", holder="me", takeover=True).task_id == "t"
    client.complete_task("t")
    for wrong in ("", "x" * 65, 7):
        with pytest.raises(InvalidValue, match="holder"):
            client.heartbeat_task("t", holder=wrong)  # type: ignore[arg-type]


def test_without_a_lease_nothing_is_held(server: WorkerServer) -> None:
    """The task of a killed worker stays as it is, as before there were leases."""
    with Client(server.url, KEY, timeout=LONG, lease=None) as client, client.progress(user_id="ada", task_id="t"):
        pass
    assert not server.of("heartbeat")
    assert stored(server, "t").status is TaskStatus.COMPLETED


def test_a_server_that_knows_no_heartbeats_has_its_tasks_all_the_same(
    client: Client, server: WorkerServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An older one. The log has one line of it, whatever the number of tasks, and no traceback."""

    def refuse(operations: Operations, task_id: str, given: dict[str, Any]) -> Task:
        raise InvalidValue("op", "is not one of create, update")

    monkeypatch.setitem(worker_server._FUNCTIONS, "heartbeat", refuse)
    for task_id in ("t", "u"):
        with client.progress(user_id="ada", task_id=task_id) as task:
            task.update("working")
        assert stored(server, task_id).status is TaskStatus.COMPLETED
    assert len(server.of("heartbeat")) == 2
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "op: is not one of" in record.getMessage()


def test_watched_is_what_the_server_said_last(client: Client, server: WorkerServer) -> None:
    """And None while it has said nothing."""
    client.create_task("t", "ada")
    assert client.watched("t") is None
    assert client.task("t").watched  # not to leave anything out in vain
    for watched in (False, True):
        server.watched = watched
        client.update_task_progress("t", "x")
        client.flush()
        assert client.watched("t") is watched
        assert client.task("t").watched is watched
    client.complete_task("t")
    assert not client.task("t").watched


# What goes wrong.


def test_a_lost_answer_changes_nothing_twice(client: Client, server: WorkerServer) -> None:
    """The request is made again with its key: an advance counts once, output is there once, the end is confirmed."""
    client.create_task("t", "ada", total=100)
    server.faults.extend(["lose", "lose", "drop", "lose"])
    client.update_task_progress("t", advance=7)
    client.append_output("t", "once\n")
    client.flush(LONG)
    server.faults.extend(["lose", "drop"])
    assert client.complete_task("t", 1).status is TaskStatus.COMPLETED
    assert stored(server, "t").current == 7
    assert output(server, "t") == "once\n"
    assert len(server.of("complete")) == 1
    keys = [sent.headers["Idempotency-Key"] for sent in server.batches()]
    assert len(set(keys)) < len(keys)


def test_a_request_that_is_still_under_way_is_asked_for_again(client: Client, server: WorkerServer) -> None:
    """Its answer was lost before it was made: the server knows the key, and will have the answer soon."""
    server.faults.append((409, "idempotency_key_in_use"))
    assert client.create_task("t", "ada").task_id == "t"
    first, second = server.batches()
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert len(server.of("create")) == 1


def test_what_could_not_be_stored_now_is_asked_for_again_alone(
    client: Client, server: WorkerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several calls of a request one was made and one was not: made again is that one, as another request."""
    for task_id in "ab":
        client.create_task(task_id, "ada")
    do = server._do
    refused: list[Any] = []

    def away(operation: dict[str, Any]) -> dict[str, Any]:
        if operation["task_id"] == "b" and not refused:
            refused.append(operation)
            return {"status": 503, "error": {"code": "unavailable", "message": "away"}}
        return do(operation)

    monkeypatch.setattr(server, "_do", away)
    client.update_many([("a", {"advance": 1}), ("b", {"advance": 1})])
    assert client.flush(LONG)
    assert refused
    assert [(each["task_id"], each["advance"]) for each in server.of("update")] == [("a", 1), ("b", 1)]


def test_a_server_that_goes_away_and_comes_back_loses_nothing(client: Client, server: WorkerServer) -> None:
    """The job goes on in between; the newest state and all the output arrive."""
    client.create_task("t", "ada", total=1000)
    server.stop()
    for number in range(1000):
        client.update_task_progress("t", advance=1)
        client.append_output("t", f"{number}\n")
    assert not client.flush(0.05)
    server.start()
    assert client.complete_task("t").current == 1000
    assert output(server, "t") == "".join(f"{number}\n" for number in range(1000))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_says_later_is_asked_later(client: Client, server: WorkerServer, status: int) -> None:
    """It is no error for the worker."""
    server.faults.append(status)
    assert client.create_task("t", "ada").task_id == "t"
    assert len(server.requests) == 2


def test_a_connection_is_kept_and_opened_again(
    client: Client, server: WorkerServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One connection for all requests; one that the server has closed is no outage."""
    for number in range(5):
        client.create_task(f"t{number}", "ada")
    assert server.connections == 1
    server.faults.append("drop")
    client.create_task("u", "ada")
    assert server.connections == 2
    assert client._sender.problem is None
    assert caplog.text == ""


def test_what_a_server_sends_is_bounded(server: WorkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered, which may come without end, and for how many tasks it is known who looks."""
    monkeypatch.setattr(http, "_MAX_WATCHED", 2)
    server.watched = True
    with Client(server.url, KEY, timeout=LONG) as client:
        for number in range(5):
            client.create_task(f"t{number}", "ada")
        assert list(client._transport._watched) == ["t4"]  # type: ignore[attr-defined]
    monkeypatch.setattr(http, "MAX_ANSWER", 100)
    transport = http.HttpTransport(server.url, KEY)
    with pytest.raises(RegistryUnavailable, match="more than 100 bytes"):
        transport.perform(transport.requests([Call("get", "t0", ())])[0], LONG)
    transport.close()


def test_no_answer_in_time_is_an_error_that_names_the_server(server: WorkerServer) -> None:
    """Nothing waits for ever, and an end is sent all the same once the server is back."""
    client = Client(server.url, KEY, timeout=1.5)
    server.operations.create_task("t", "ada")  # nobody waits for that
    hang = threading.Event()
    server.faults.append(hang)
    with pytest.raises(RegistryUnavailable, match=f"127.0.0.1:{server.port}.*The end is kept"):
        client.complete_task("t")
    hang.set()
    assert client.flush(LONG)
    client.close()
    assert stored(server, "t").status is TaskStatus.COMPLETED


def test_a_wrong_key_is_told_at_once(server: WorkerServer) -> None:
    """It will not get better by trying."""
    with Client(server.url, "rt_00000000_" + "w" * 43) as client, pytest.raises(KeyInvalid):
        client.create_task("t", "ada")
    assert len(server.requests) == 1


def test_an_address_where_no_app_is_says_so(server: WorkerServer) -> None:
    """Rather than that there is no such task."""
    with (
        Client(f"{server.url}/elsewhere", KEY) as client,
        pytest.raises(RealtimeError, match=r"takes nothing from workers"),
    ):
        client.create_task("t", "ada")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("", KEY), ("app.example.com", KEY), ("ftp://app.example.com", KEY), ("http://", KEY), ("http://a:b", KEY),
        ("http://user:secret@app.example.com", KEY), ("http://app.example.com?x=1", KEY),
        ("http://app.example.com", None), ("http://app.example.com", "short"), ("http://app.example.com", "line\n" * 9),
    ],
)  # fmt: skip
def test_what_is_no_address_or_key_is_refused(url: str, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a message without the secret."""
    monkeypatch.delenv("REALTIME_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"REALTIME_(URL|KEY)") as refused:
        Client(url, key)
    assert "secret" not in str(refused.value)
    assert "line" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"timeout": 0}, {"timeout": 1e9}, {"interval": -1}, {"interval": 11},
        {"lease": 0.5}, {"lease": 86_401}, {"lease": float("nan")},
    ],
)  # fmt: skip
def test_settings_have_bounds(given: dict[str, Any]) -> None:
    """Each is named."""
    with pytest.raises(InvalidValue, match=next(iter(given))):
        Client("http://127.0.0.1:1", KEY, **given)


@pytest.mark.parametrize("lease", [1, 86_400])
def test_a_lease_of_its_bounds_is_taken(server: WorkerServer, lease: float) -> None:
    """And said to the server as it was given."""
    with Client(server.url, KEY, timeout=LONG, lease=lease) as client, client.progress(user_id="ada"):
        assert server.of("heartbeat")[0]["lease"] == lease


def test_the_key_is_in_no_text(client: Client) -> None:
    """Not even in what a debugger shows."""
    assert KEY not in repr(client)
    assert "127.0.0.1" in repr(client)


def test_certificates_are_verified() -> None:
    """By the system's authorities, unless a context is given."""
    transport = Client("https://app.example.com", KEY)._transport
    context = transport._connect(1.0)._context  # type: ignore[attr-defined]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


# Processes.


def run(code: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, *(options or ("-W", "error")), "-c", code]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path, **environ}, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has forked, which would be left behind
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_a_worker_loads_no_flask() -> None:
    """Neither by the client nor by the functions of the package."""
    done = run(
        "import sys, realtime.client\n"
        "from realtime import update_task_progress\n"
        "realtime.client.Client('http://127.0.0.1:1', 'k' * 20)\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'flask', 'flask_socketio', 'eventlet', 'gevent', 'socketio', 'engineio', 'werkzeug'}))"
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_end_of_a_process_waits_for_what_is_not_sent(server: WorkerServer) -> None:
    """A script may end right after its last word."""
    client = Client(server.url, KEY)
    client.create_task("t", "ada")
    done = run(
        "from realtime import append_output, update_task_progress\n"
        "for number in range(1000): update_task_progress('t', advance=1)\n"
        "append_output('t', 'last words')",
        REALTIME_URL=server.url, REALTIME_KEY=KEY,
    )  # fmt: skip
    assert done.stderr == ""
    assert stored(server, "t").current == 1000
    assert output(server, "t") == "last words"
    client.close()


@pytest.mark.parametrize("waits", ["", "client.update_task_progress('u', advance=1)"])
def test_a_closed_client_holds_up_no_exit(waits: str) -> None:
    """What it could not send in its time is not waited for once more, nor complained of."""
    done = run(
        "import logging\n"
        "from realtime.client import Client, sender\n"
        "from realtime.errors import RegistryUnavailable\n"
        "logging.getLogger('realtime').addHandler(logging.NullHandler())\n"
        "sender.LAST_FLUSH = 1e6\n"
        "client = Client('http://127.0.0.1:1', 'k' * 40, timeout=0.1)\n"
        "try:\n"
        "    client.complete_task('t')\n"
        "except RegistryUnavailable:\n"
        f"    {waits or 'pass'}\n"
        "client.close(0)\n"
        "print(client.flush(1e6))"
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


FORKS = """
import multiprocessing, os, sys
from realtime.client import Client

def work(client, number):
    for _ in range(500):
        client.update_task_progress("t", advance=1)
    client.append_output("t", f"child {number}\\n")

if __name__ == "__main__":
    client = Client(timeout=20)
    client.create_task("t", "ada")
    for _ in range(500):
        client.update_task_progress("t", advance=1)  # some of them wait while the others fork
    client.append_output("t", "parent\\n")
    children = []
    for number in range(3):
        pid = os.fork()
        if not pid:
            work(client, number)
            sys.exit(0)
        children.append(pid)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(client, number)) for number in (3, 4)]
    for process in processes:
        process.start()
    work(client, "none")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    for process in processes:
        process.join(30)
    print(codes, [process.exitcode for process in processes])
"""


def test_forked_workers_lose_and_double_nothing(server: WorkerServer) -> None:
    """Each child has a connection and a thread of its own; what the parent had not sent, the parent sends."""
    done = run(FORKS, REALTIME_URL=server.url, REALTIME_KEY=KEY)
    assert done.stdout == "[0, 0, 0] [0, 0]\n", done.stderr
    assert stored(server, "t").current == 500 + 500 * 6
    lines = output(server, "t").splitlines()
    assert sorted(lines) == sorted(["parent", "child none", *(f"child {number}" for number in range(5))])
    assert server.connections >= 6


FORK_IN_AN_ANSWER = """
import os, signal, socket, sys, threading, time
from realtime.client import Client

def answer_half():
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 100\\r\\n\\r\\n{")
    connections.append(connection)

def reads_the_body():
    threads = {thread.ident for thread in threading.enumerate() if thread.name == "realtime-client"}
    names = []
    for ident in threads:
        frame = sys._current_frames().get(ident)
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
    return {"readinto", "read1"} <= set(names)  # inside the buffer, whose lock is held

listener, connections = socket.create_server(("127.0.0.1", 0)), []
threading.Thread(target=answer_half, daemon=True).start()
client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "k" * 40, timeout=60)
threading.Thread(target=client.get_task_status, args=("t",), daemon=True).start()
signal.alarm(20)
while not reads_the_body():
    time.sleep(0.001)
inode = os.fstat(client._transport._connection.sock.fileno()).st_ino
pid = os.fork()
if not pid:
    kept = [one for one in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{one}")
            and os.stat(f"/proc/self/fd/{one}").st_ino == inode]
    print("kept:", kept, flush=True)
    client.flush(0)
    listener.close()
    connections[0].close()
    sys.exit(0)
signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
print("child:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
os._exit(0)
"""


def test_a_worker_may_fork_in_the_middle_of_an_answer() -> None:
    """The parent's thread reads it, inside a buffer's lock: the child must not wait for that, and has no such thread.
    Nor does it keep the connection open.
    """
    done = run(FORK_IN_AN_ANSWER)
    assert (done.stdout, done.stderr) == ("kept: []\nchild: 0\n", "")


def test_a_killed_worker_leaves_what_it_was_told_is_there(server: WorkerServer, tmp_path: Path) -> None:
    """What a call has confirmed survives `kill -9` of the worker right after it."""
    done = run(
        "import os, signal\n"
        "from realtime.client import Client\n"
        "client = Client()\n"
        "for number in range(20):\n"
        "    client.create_task(f't{number}', 'ada')\n"
        "    client.update_task_progress(f't{number}', advance=1)\n"
        "    client.complete_task(f't{number}', number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
        REALTIME_URL=server.url, REALTIME_KEY=KEY,
    )  # fmt: skip
    assert done.returncode == -9
    assert [stored(server, f"t{number}").result for number in range(20)] == list(range(20))


GREEN = """
{patch}
import threading
from realtime.client import Client

def work():
    for _ in range(500):
        client.update_task_progress("t", advance=1)
        client.append_output("t", "x")

with Client() as client:
    client.create_task("t", "ada")
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(client.complete_task("t").current)
"""


@pytest.mark.parametrize(
    "patch", ["from gevent import monkey; monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"]
)
def test_green_workers(server: WorkerServer, patch: str) -> None:
    """Celery's gevent and eventlet pools patch the process: threads, locks and the connection are green then."""
    done = run(GREEN.format(patch=patch), "-W", "ignore", REALTIME_URL=server.url, REALTIME_KEY=KEY)
    assert (done.stdout.strip(), done.stderr) == ("1500", "")
    assert output(server, "t") == "x" * 1500


# The functions of the package.


@pytest.fixture
def worker(server: WorkerServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerServer]:
    """This process is a worker of the server."""
    monkeypatch.setenv("REALTIME_URL", server.url)
    monkeypatch.setenv("REALTIME_KEY", KEY)
    environment.forget()
    yield server
    environment.forget()


def test_with_an_address_set_the_functions_are_a_workers(worker: WorkerServer) -> None:
    """Also in an app context, which Celery's recipe for Flask pushes around each task."""
    app = flask.Flask("celery")
    app.config["SECRET_KEY"] = "k" * 32
    rt = Realtime(app)
    with app.app_context():
        realtime.create_task("t", user_id=42)
        realtime.update_task_progress("t", "Reading", percent=40)
        realtime.complete_task("t")
    assert stored(worker, "t").status is TaskStatus.COMPLETED
    assert rt.get_task_status("t") is None


def test_a_worker_that_calls_a_method_of_realtime_is_told_that_nobody_sees_it(
    worker: WorkerServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and only where the method does not reach the server: ``rt.progress`` in a Celery task looks right."""
    rt = Realtime(flask.Flask("celery"))
    with rt.progress(user_id=42), rt.progress(user_id=42):
        pass
    [told] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "REALTIME_URL is set" in told
    caplog.clear()
    monkeypatch.setattr("realtime.client.environment.server_mode", lambda: "eventlet")
    served = Realtime(flask.Flask("served"))
    monkeypatch.undo()
    alone = Realtime(flask.Flask("alone"))
    for each in (served, alone):
        each.create_task(user_id=42)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_our_own_server_is_no_worker(worker: WorkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may share its environment with the workers."""
    monkeypatch.setattr("realtime.client.environment.server_mode", lambda: "eventlet")
    assert environment.client() is None


def test_without_an_address_the_functions_are_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the variables are read once."""
    monkeypatch.setenv("REALTIME_URL", "")
    environment.forget()
    assert environment.client() is None
    monkeypatch.setenv("REALTIME_URL", "http://127.0.0.1:1")
    assert environment.client() is None
    environment.forget()


FORK_IN_A_LOOK = """
import os, signal, sys, threading
from realtime.client import environment

class Client:
    def __init__(self):
        if threading.current_thread() is not threading.main_thread():
            looking.set()
            go_on.wait()

looking, go_on = threading.Event(), threading.Event()
environment.Client = Client
found = []
thread = threading.Thread(target=lambda: found.append(environment.client()))
thread.start()
looking.wait()
pid = os.fork()
if not pid:
    mine = environment.client()
    os._exit(0 if isinstance(mine, Client) and environment.client() is mine else 1)
signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
signal.alarm(20)
print("child:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.alarm(0)
mine = environment.client()
go_on.set()
thread.join()
print("one for all:", found == [mine], environment.client() is mine)
"""


def test_a_worker_may_fork_while_another_thread_makes_the_first_client() -> None:
    """The child has no such thread, and makes its own; of the parent's threads the first one's is everybody's."""
    done = run(FORK_IN_A_LOOK, REALTIME_URL="http://127.0.0.1:1", REALTIME_KEY=KEY)
    assert (done.stdout, done.stderr) == ("child: 0\none for all: True True\n", "")


def test_a_finalizer_may_ask_while_the_first_client_is_made(
    worker: WorkerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector runs it in the middle, on the same thread; both are given the one client."""
    asked: list[Client | None] = []

    def make() -> Client:
        monkeypatch.setattr(environment, "Client", Client)
        asked.append(environment.client())
        return Client()

    monkeypatch.setattr(environment, "Client", make)
    made = environment.client()
    assert made is not None
    assert asked == [made]


def test_a_task_that_is_not_here_may_live_in_another_process() -> None:
    """The message says so, and what to do."""
    app = flask.Flask("lone")
    app.config["SECRET_KEY"] = "k" * 32
    rt = Realtime(app)
    with pytest.raises(TaskNotFound, match=r"another process.*REALTIME_URL"):
        rt.update_task_progress("t", 40)
    with contextlib.suppress(TaskNotFound):
        rt.require("t")
