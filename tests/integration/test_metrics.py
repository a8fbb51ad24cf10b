"""Metrics of a real server: what a scraper reads while viewers come, are refused, watch and go."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from socketio.exceptions import ConnectionError as Rejected

from support import remote
from support.process import StartServer
from support.remote import Remote, wait_until
from support.viewer import watching
from support.wire import wire

TOKEN = "the-secret-of-a-scraper"


def scrape(server: Remote) -> dict[tuple[str, ...], float]:
    """Name and labels of each sample, and its value."""
    status, text = server.request("GET", "/realtime/v1/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scraper_sees_what_happens_and_a_viewer_does_not(server_process: StartServer) -> None:
    """Under our own server; each number is that of what the test has done."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_METRICS=TOKEN)
    with watching(server.url, "ada") as viewer:
        with pytest.raises(Rejected), watching(server.url, ""):
            pass
        task_id = server.create("ada")
        viewer.wait_for_task(task_id)
        waiting = server.job("hold", "ada", gate="metrics")
        viewer.wait_for_task(waiting, message="waiting")
        # A flush counts when it is over, which a viewer does not wait for.
        found = wait_until(
            lambda: scrape(server),
            lambda now: 0 < now["realtime_flushes_total",] == now["realtime_flush_duration_seconds_count",],
        )
        assert (found["realtime_viewers",], found["realtime_viewers_connected_total",]) == (1, 1)
        assert found["realtime_viewers_refused_total", "unauthenticated"] == 1
        assert found["realtime_rooms",] > 0
        assert (found["realtime_tasks", "unfinished"], found["realtime_jobs", "running"]) == (2, 1)
        assert found["realtime_change_to_write_seconds_count",] > 0
        assert found["realtime_flush_bytes_sum",] > 100
        assert server.request("GET", "/realtime/v1/metrics?user=ada")[0] == 401
        server.open_gate("metrics")
        viewer.wait_for_task(waiting, status="completed")
    wait_until(
        lambda: scrape(server),
        lambda found: (found["realtime_viewers",], found["realtime_viewers_disconnected_total",]) == (0, 1),
    )
    assert TOKEN not in server.server.output()


def test_a_viewer_that_takes_nothing_is_counted_as_slow(server_process: StartServer) -> None:
    """It is closed after its timeout, and the reason stands in the metrics."""
    server = remote.start(
        server_process, remote.serve("plain:app"), FLASK_REALTIME_METRICS=TOKEN, FLASK_REALTIME_VIEWER_TIMEOUT="0.5"
    )
    with wire(server.url, "ada", receive_buffer=4096) as deaf:
        deaf.watch()  # before there is much to take, or it might be slow already
        tasks = [server.create("ada", metadata={"filler": "x" * 10_000}) for _ in range(20)]
        rounds = 0
        while not scrape(server)["realtime_viewers_closed_total", "slow"]:
            rounds += 1
            assert rounds < 2_000
            for task_id in tasks:
                server.call("update_task_progress", task_id=task_id, message=f"round {rounds}")
    assert scrape(server)["realtime_viewers_closed_total", "error"] == 0
