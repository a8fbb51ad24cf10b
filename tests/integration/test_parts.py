"""Parts of a job with real servers: viewers see the job move and end, wherever its parts are worked on."""

from __future__ import annotations

from realtime.client import Client
from realtime.config import Config
from realtime.registry import open_registry
from support import remote
from support.process import StartServer
from support.remote import Remote
from support.stores import StoreServer
from support.viewer import watching


def test_a_viewer_sees_the_job_move_and_end(plain: Remote) -> None:
    """Each progress of a part moves it; the last end ends it; a retry is there, and the old attempt says so."""
    with watching(plain.url, "ada") as viewer:
        job = plain.create("ada", name="Album", children=2)
        parts = [plain.create("ada", parent_id=job) for _ in range(2)]
        plain.call("update_task_progress", task_id=parts[0], percent=40)
        viewer.wait_for_task(job, percent=20.0)
        plain.call("update_task_progress", task_id=parts[1], percent=60)
        seen = viewer.wait_for_task(job, percent=50.0)
        assert seen["children"] == {
            "total": 2, "pending": 0, "processing": 2, "completed": 0, "failed": 0, "cancelled": 0,
        }  # fmt: skip
        plain.call("complete_task", task_id=parts[0])
        plain.call("fail_task", task_id=parts[1], error="busy", retryable=True)
        viewer.wait_for_task(job, current=2, status="processing")
        again = plain.call("retry_task", task_id=parts[1])["task_id"]
        viewer.wait_for_task(again, status="pending", attempt=2, retry_of=parts[1])
        viewer.wait_for_task(parts[1], status="failed", retried_by=again)
        plain.call("complete_task", task_id=again)
        viewer.wait_for_task(job, status="completed", result={"completed": 2})
        names = [name for name, payload in viewer.heard_of(job)]
    assert names[0] in ("task_created", "tasks_snapshot")
    assert names[-1] == "task_completed"


def test_cancel_on_the_page_reaches_the_parts(plain: Remote) -> None:
    """All that have not ended; the job ends with them."""
    with watching(plain.url, "bob") as viewer:
        job = plain.create("bob", children=2)
        parts = [plain.create("bob", parent_id=job), plain.create("bob", parent_id=job, status="pending")]
        viewer.wait_for_task(parts[1], status="pending")
        assert viewer.ask("cancel_task", task_id=job)["ok"]
        viewer.wait_for_task(parts[1], status="cancelled")
        viewer.wait_for(lambda: viewer.tasks[parts[0]]["cancel_requested_at"], "request")
        plain.call("cancel_task", task_id=parts[0], done=True)
        viewer.wait_for_task(job, status="cancelled")


def test_parts_of_workers_elsewhere(server_process: StartServer, store: StoreServer) -> None:
    """They write to the store, merged, and the job follows: its viewer sees each stretch, and the end."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=store.url)
    with watching(server.url, "ada") as viewer, Client(store.url) as one, Client(store.url) as other:
        job = one.create_task("job", "ada", children=2)
        parts = [client.create_task(None, "ada", parent_id=job.task_id).task_id for client in (one, other)]
        for percent in range(41):
            one.update_task_progress(parts[0], percent)
        viewer.wait_for_task("job", percent=20.0)
        other.fail_task(parts[1], "busy", retryable=True)
        again = other.retry_task(parts[1])
        assert (again.attempt, again.parent_id) == (2, "job")
        viewer.wait_for_task(again.task_id, status="pending")
        one.complete_task(parts[0])
        other.complete_task(again.task_id)
        viewer.wait_for_task("job", status="completed", result={"completed": 2})


def test_the_sweep_of_a_server_sees_to_what_a_worker_left_undone(
    server_process: StartServer, store: StoreServer
) -> None:
    """One that was killed between the end of its part and what follows from it: the job ends all the same."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=store.url)
    server.call("create_task", user_id="ada", task_id="job", children=1)
    server.call("create_task", user_id="ada", task_id="part", parent_id="job")
    registry = open_registry(Config.from_mapping({"REALTIME_REGISTRY": store.url}, {}))
    registry._followed = lambda old, new: None  # type: ignore[method-assign]  # it is killed here
    registry.complete("part", None)
    registry.close()
    assert server.call("get_task_status", task_id="job")["status"] == "processing"
    with watching(server.url, "ada") as viewer:  # from now on the server sweeps
        viewer.wait_for_task("job", status="completed")
