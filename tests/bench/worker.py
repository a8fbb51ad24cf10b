"""What one worker's client absorbs, beside what one would write oneself.

    python tests/bench/worker.py [seconds]

Starts ``realtime serve`` with an app and a worker key, and has one client (`realtime.client.Client`) update 100 tasks
from one thread as fast as it can. Beside it, in the same run: a dict behind a lock, which tells nobody (what an update
costs at the least), and one HTTP request for each update over a kept connection (what it costs without merging).
Printed are updates per second, of CPU time and of the clock, and how often each task was written.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from realtime import keys
from realtime.client import Client
from support import remote
from support.process import StartServer

TASKS = 100
#: Updates between two looks at the clock.
STRIDE = 1000


def rates(update: Callable[[str, int], object], seconds: float, stride: int = STRIDE) -> tuple[int, float, float]:
    """How many updates were made, and how many a second of this thread's CPU time and of the clock."""
    names = [f"task-{number}" for number in range(TASKS)]
    made = 0
    began, used = time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < seconds:
        for number in range(made, made + stride):
            update(names[number % TASKS], number)
        made += stride
    return made, made / (time.thread_time() - used), made / (time.perf_counter() - began)


def by_dict(seconds: float) -> tuple[int, float, float]:
    """A dict behind a lock."""
    tasks: dict[str, tuple[int, str]] = {}
    lock = threading.Lock()

    def update(task_id: str, current: int) -> None:
        with lock:
            tasks[task_id] = current, "Reading"

    return rates(update, seconds)


def by_request(url: str, key: str, seconds: float) -> tuple[int, float, float]:
    """One request for each update."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def update(task_id: str, current: int) -> None:
        body = json.dumps({"current": current, "message": "Reading"})
        connection.request("PATCH", f"/realtime/v1/tasks/{task_id}", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status

    return rates(update, seconds, 20)


def measure(url: str, key: str, seconds: float) -> None:
    client = Client(url, key)
    for number in range(TASKS):
        client.create_task(f"task-{number}", "ada", total=10**9)
    sent = 0
    perform = client._transport.perform

    def counted(request, timeout):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        nonlocal sent
        sent += len(request.calls)
        return perform(request, timeout)

    client._transport.perform = counted  # type: ignore[method-assign]
    made, cpu, clock = rates(
        lambda task_id, current: client.update_task_progress(task_id, "Reading", current=current), seconds
    )
    assert client.flush()
    last = client.get_task_status(f"task-{(made - 1) % TASKS}")
    assert last is not None
    assert last.current == made - 1, "the newest state is not there"
    _, peer_cpu, peer_clock = by_dict(seconds)
    _, each_cpu, each_clock = by_request(url, key, min(seconds, 3.0))
    client.close()
    print(f"{'':38}{'updates/s of CPU':>18}{'of the clock':>14}")
    for name, first, second in (
        ("realtime.client, 100 tasks", cpu, clock),
        ("a dict behind a lock, tells nobody", peer_cpu, peer_clock),
        ("a request for each update", each_cpu, each_clock),
    ):
        print(f"{name:38}{first:18,.0f}{second:14,.0f}")
    print(f"\n{sent / TASKS / seconds:.1f} states a second written of each task, of {made / TASKS / seconds:,.0f} said")
    print(f"an update costs {peer_cpu / cpu:.1f} times what the dict costs, and 1/{cpu / each_cpu:,.0f} of a request")


def main() -> None:
    """Start the server, print the figures."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        key = keys.create(file, ["create", "report", "read"])[0]
        start = StartServer(Path(folder))
        try:
            server = remote.start(start, remote.serve("plain:app"), {"FLASK_REALTIME_WORKER_KEYS": str(file)})
            measure(server.url, key, seconds)
        finally:
            start.end_all()


if __name__ == "__main__":
    main()
