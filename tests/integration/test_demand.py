"""Whether a task is watched, on real servers: what its job sees, and what the app's listener is told."""

from __future__ import annotations

import sys

import pytest

from support import remote
from support.process import StartServer
from support.remote import Remote, wait_until
from support.viewer import watching


def follow(server: Remote, app: str) -> None:
    """One task: nobody, a viewer, hidden, seen again, gone; and another that ends while it is watched."""
    server.json("POST", "/listen")
    task = server.create("ada")

    def told(task_id: str, watched: bool, *turns: bool) -> None:
        wanted = {"watched": watched, "told": [[turn, app] for turn in turns]}
        wait_until(lambda: server.json("GET", f"/told/{task_id}"), lambda seen: seen == wanted)

    told(task, False)
    with watching(server.url, "grace"), watching(server.url, "ada") as viewer:
        told(task, True, True)
        assert viewer.ask("visibility", hidden=True)["ok"]
        told(task, False, True, False)
        assert viewer.ask("visibility", hidden=False)["ok"]
        told(task, True, True, False, True)
        ended = server.create("ada")
        told(ended, True, True)
        server.call("complete_task", task_id=ended)
        told(ended, False, True, False)
    told(task, False, True, False, True, False)


def test_a_job_knows_whether_it_is_watched(server_process: StartServer) -> None:
    """Under our own server the listener runs on a thread of its own, in the app's context."""
    follow(remote.start(server_process, remote.serve("plain:app")), "watched")


@pytest.mark.parametrize("host", ["eventlet_host", "gevent_host"])
def test_under_a_patched_host(server_process: StartServer, host: str) -> None:
    """There the listener is called by a green thread."""
    how = ["run", "{port}"] if host == "eventlet_host" else ["{port}"]
    follow(remote.start(server_process, [sys.executable, "-m", f"support.apps.{host}", *how]), "watched")
