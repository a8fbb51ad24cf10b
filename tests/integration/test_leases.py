"""Workers that die: their tasks say so, before the eyes of whoever watches them."""

from __future__ import annotations

import signal
import time

from support import remote
from support.process import StartServer
from support.remote import Remote
from support.stores import StoreServer
from support.viewer import watching


def start(server_process: StartServer, registry: str) -> Remote:
    return remote.start(
        server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=registry, FLASK_REALTIME_LEASE="2",
    )  # fmt: skip


def test_a_lease_ends_without_a_viewer(server_process: StartServer) -> None:
    """The first heartbeat has somebody sweep, on a server that nobody has ever looked at."""
    server = start(server_process, "memory://")
    task_id = server.create("ada")
    server.call("heartbeat_task", task_id=task_id, lease=1)
    ended = remote.wait_until(
        lambda: server.call("get_task_status", task_id=task_id), lambda task: task["status"] == "failed"
    )
    assert ended["error"]["code"] == "worker_lost"


def test_a_job_whose_server_is_killed_is_lost(server_process: StartServer, store: StoreServer) -> None:
    """Another server's viewers see it fail, and a silent one stall; a job of that server goes on, though it says
    nothing either."""
    other = start(server_process, store.url)  # the first sweeps: when that one dies, the next takes its time
    dying = start(server_process, store.url)
    with watching(other.url, "ada") as viewer:
        # Of a lease that is this long it is sure that somebody sweeps between its middle and its end.
        silent = other.create("ada")
        other.call("heartbeat_task", task_id=silent, lease=8)
        lost, kept = dying.job("hold", "ada", gate="never"), other.job("hold", "ada", gate="end")
        for job in (lost, kept):
            viewer.wait_for_task(job, message="waiting")
        held = time.monotonic()
        dying.server.send_signal(signal.SIGKILL)
        end = viewer.wait_for_task(lost, status="failed")
        assert (end["error"]["code"], end["error"]["retryable"]) == ("worker_lost", True)
        # The other one has outlived more than its lease, by heartbeats alone.
        remote.wait_until(time.monotonic, lambda now: now > held + 3)
        other.open_gate("end")
        end = viewer.wait_for_task(kept, status="completed")
        assert end["stalled_since"] is None
        viewer.wait_for(lambda: any(payload["stalled_since"] for _, payload in viewer.heard_of(silent)), "stall")


def test_a_store_that_was_away_ends_no_job(server_process: StartServer, store: StoreServer) -> None:
    """For longer than a lease nobody could be heard: that is not the workers' fault."""
    server = start(server_process, store.url)
    with watching(server.url, "ada") as viewer:
        job = server.job("hold", "ada", gate="end")
        viewer.wait_for_task(job, message="waiting")
        store.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        remote.wait_until(time.monotonic, lambda now: now > stopped + 11)
        store.send_signal(signal.SIGCONT)
        server.open_gate("end")
        assert viewer.wait_for_task(job, status="completed")["error"] is None
