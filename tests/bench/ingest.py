"""What an update and an encoding cost, and that it does not depend on how many tasks there are.

    python tests/bench/ingest.py

Prints medians in µs of CPU time for one task among 100, 10,000 and 100,000, their ratio to the first, the bytes that a
task takes in memory, and how long a garbage collection is with so many of them; then what it costs with tasks in a file
(of the temporary folder's disk). It decides nothing: on a machine with
other work, look at the smallest numbers of several runs.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import threading
import time
import timeit
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from realtime.registry.base import Update
from realtime.registry.memory import MemoryRegistry
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import NewTask

SIZES = (100, 10_000, 100_000)
LOOP, REPEAT = 20_000, 15
#: Tasks that each thread creates and ends, with tasks in a file.
LIVES = 100


def filled(size: int) -> MemoryRegistry:
    """A registry with so many tasks, of a hundred users and ten groups; half of them have ended."""
    registry = MemoryRegistry(max_tasks=size, max_tasks_per_user=size)
    for number in range(size):
        task_id = f"task-{number}"
        registry.create(NewTask(task_id, f"user-{number % 100}", (f"team:{number % 10}",), "Export", total=1000))
        if number % 2:
            registry.complete(task_id, b'{"rows":1000}')
    registry.create(NewTask("a", "user-7", ("team:7",), "Export", total=1_000_000, unit="rows"))
    # Long enough for a rate, which encoding then has to show.
    for step in range(5):
        registry.update("a", "Reading page 3", step * 977)
        time.sleep(0.06)
    return registry


def microseconds(call: Callable[[], object], loop: int = LOOP) -> float:
    """The median time of a call in CPU time of this thread, without what it costs to call nothing."""
    empty = min(timeit.repeat(lambda: None, timer=time.thread_time, number=loop, repeat=5))
    times = timeit.repeat(call, timer=time.thread_time, number=loop, repeat=REPEAT)
    return (statistics.median(times) - empty) / loop * 1e6


def ends(registry: MemoryRegistry) -> Callable[[], object]:
    """A whole life of a task: created, completed, removed."""

    def life() -> None:
        registry.create(NewTask("b", "user-7", ("team:7",), "Export"))
        registry.complete("b", None)
        registry.remove("b")

    return life


def measure(size: int) -> dict[str, float]:
    registry = filled(size)
    update, task = registry.update, registry.get("a")
    assert task is not None
    many: list[Update] = [("a", None, None, None, 40.0, None, None, None)] * 256
    return {
        "update(message)": microseconds(lambda: update("a", "Reading page 4")),
        "update(percent)": microseconds(lambda: update("a", None, None, None, 40.0)),
        "update(current)": microseconds(lambda: update("a", None, 5000)),
        "update(advance)": microseconds(lambda: update("a", None, None, None, None, 1)),
        "update_many(percent), each": microseconds(lambda: registry.update_many(many), LOOP // 256) / 256,
        "encode_push": microseconds(task.encode_push),
        "get": microseconds(lambda: registry.get("a")),
        "create + complete + remove": microseconds(ends(registry), 1000),
        "list, a page of 50": microseconds(lambda: registry.list(user_id="user-7", groups=("team:7",), limit=50), 300),
    }


def in_a_file(folder: Path) -> None:
    """The same update with tasks in a file, and how many lives of a task several threads store in a second."""
    registry = SqliteRegistry(folder / "tasks.db", max_tasks_per_user=10_000_000)
    registry.create(NewTask("a", "user-7", ("team:7",), "Export", total=1_000_000, unit="rows"))
    update = registry.update
    cost = microseconds(lambda: update("a", None, None, None, 40.0))
    print(f"\nin a file: update(percent) {cost:.3f} µs of this thread")
    for threads in (1, 4, 16, 64):
        together = threading.Barrier(threads + 1)

        def lives(name: str, together: threading.Barrier = together) -> None:
            together.wait()
            for number in range(LIVES):
                registry.create(NewTask(f"{name}-{number}", name))
                registry.complete(f"{name}-{number}", None)
            together.wait()

        for number in range(threads):
            threading.Thread(target=lives, args=(f"{threads}-{number}",), daemon=True).start()
        together.wait()
        began = time.monotonic()
        together.wait()
        took = time.monotonic() - began
        print(f"{threads:3} threads: {threads * LIVES / took:8,.0f} creations and as many ends a second")
    registry.close()


def memory(size: int) -> None:
    tracemalloc.start()
    registry = MemoryRegistry(max_tasks=size, max_tasks_per_user=size)
    for number in range(size):
        registry.create(NewTask(f"task-{number}", f"user-{number % 100}", (), "Export", total=1000))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    began = time.thread_time()
    gc.collect()
    collection = 1000 * (time.thread_time() - began)
    print(f"\n{size:,} tasks: {taken / size:,.0f} bytes each; a full collection {collection:.1f} ms")


def main() -> None:
    """Print the table."""
    results = [measure(size) for size in SIZES]
    print(f"{'µs, median':28}" + "".join(f"{size:>18,}" for size in SIZES))
    for name, first in results[0].items():
        cells = "".join(f"{result[name]:>10.3f} (×{result[name] / first:4.2f})" for result in results)
        print(f"{name:28}{cells}")
    memory(SIZES[-1])
    with tempfile.TemporaryDirectory() as folder:
        in_a_file(Path(folder))


if __name__ == "__main__":
    main()
