"""A server goes and another takes its port: viewers come back by themselves and are told the new truth."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.wire import wire

SCRIPT = Path(__file__).with_name("returning_client.mjs")


def lines(client: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert client.stdout is not None
    for line in client.stdout:
        yield json.loads(line)


def next_of(told: Iterator[dict[str, Any]], event: str) -> Any:
    """The payload of the next event of this name."""
    return next(line["payload"] for line in told if line["event"] == event)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")], ids="+".join)
def test_the_official_client_comes_back_to_another_server(
    transports: tuple[str, ...], number: int, server_process: StartServer, node: str, node_modules: Path
) -> None:
    """Stopped or killed, the first server has never told it to stay away; the second's snapshot has another epoch, and
    what happens there is seen to its end."""
    first = remote.start(server_process, remote.serve("plain:app"))
    old = first.create("ada")
    command = [node, str(SCRIPT), first.url, str(node_modules / "socket.io-client"), *transports]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        try:
            told = lines(client)
            before = next_of(told, "tasks_snapshot")
            assert [task["task_id"] for task in before["tasks"]] == [old]
            first.server.send_signal(number)
            first.server.wait()
            assert next_of(told, "disconnect") in ("transport close", "transport error")
            second = Remote(server_process(remote.serve("plain:app"), env=remote.environment(), port=first.server.port))
            after = next_of(told, "tasks_snapshot")
            assert after["epoch"] == second.stats()["epoch"] != before["epoch"]
            assert after["tasks"] == []
            task_id = second.job("steps", "ada")
            end = next_of(told, "task_completed")
            assert (end["task_id"], end["epoch"]) == (task_id, after["epoch"])
            assert client.wait(PATIENCE) == 0
        finally:
            client.kill()


def test_cursors_of_another_epoch_count_for_nothing(server_process: StartServer) -> None:
    """Who returns with what an earlier server has told gets all that there is now, and is told what is gone."""
    server = remote.start(server_process, remote.serve("plain:app"))
    task_id = server.create("ada")
    version = server.call("get_task_status", task_id=task_id)["version"]
    with wire(server.url, "ada") as viewer:
        snapshot = viewer.watch({"epoch": "another", "cursors": {task_id: version + 10**9, "gone": 1}})
    assert [task["task_id"] for task in snapshot["tasks"]] == [task_id]
    assert snapshot["removed"] == ["gone"]
    with wire(server.url, "ada") as viewer:
        again = viewer.watch({"epoch": snapshot["epoch"], "cursors": {task_id: version}})
    assert (again["tasks"], again["removed"]) == ([], [])
