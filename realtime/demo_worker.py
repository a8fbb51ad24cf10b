"""The demo's worker in a process of its own: the program (`main`), and who starts it and looks after it (`start`).

The program is told the id of its task, and in ``REALTIME_URL`` (with ``REALTIME_KEY``) where to report. Its code is
that of any job. What is different is that it can be killed, and then nobody is left to say so: it holds its task by a
lease, and when that is over a server says it in its place.

Only the process that has started it sends it a signal. Until that one has waited for its child, the child's pid is
nobody else's; in any other process a pid that was written down may be that of another program by now. So what asks for
the kill, which may come to another process of the server, is written into the task, and read there by the parent.

At the latest the kernel ends the program, a minute after its start; it leaves by itself when the process that has
started it is gone, however that has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import isqrt
from typing import TYPE_CHECKING, Any, Final

from realtime import Handle, RegistryUnavailable, TaskAlreadyFinished, TaskCancelled
from realtime.client import Client

if TYPE_CHECKING:
    from realtime import Realtime  # a worker needs no Flask

#: Seconds without a sign of life after which the task fails; after half of them it shows as stalled.
LEASE: Final = 6.0
#: Seconds that the program has to say its first word.
START: Final = 20.0
#: Seconds after which it is ended, whatever it does.
LIFE: Final = 60
#: Seconds between two looks of the parent at the task.
LOOK: Final = 0.25
#: In the task's metadata: the task whose process is to be killed. (A task that tries it again has the same metadata.)
KILL: Final = "kill"

UP_TO = 3_000_000
PARTS = 3
BLOCK = 10_000
#: Seconds after each block, so that there is something to watch for half a minute.
PAUSE = 0.3


def start(rt: Realtime, task_id: str, environ: Mapping[str, str], ended: Callable[[], object]) -> None:
    """Start the program for a task, and a thread that looks after it and calls ``ended`` when it is gone.

    ``environ`` says where the program reports. Raises OSError.
    """
    rt.heartbeat_task(task_id, START)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "realtime.demo_worker", task_id], env={**os.environ, **environ},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the server
        )  # fmt: skip
    except BaseException:
        ended()
        raise
    looking = threading.Thread(target=look_after, args=(rt, task_id, process, ended), name="demo-worker", daemon=True)
    looking.start()


def look_after(rt: Realtime, task_id: str, process: subprocess.Popen[bytes], ended: Callable[[], object]) -> None:
    """Wait for the end of the program, and see to it if the task says so."""
    assert process.stdin is not None
    with process.stdin:
        while process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK)
                break
            with suppress(RegistryUnavailable):
                task = rt.get_task_status(task_id)
                if task is None or task.finished:
                    process.stdin.close()  # it has nothing to do any more
                elif task.metadata.get(KILL) == task_id:
                    process.kill()
    ended()


# The program.


def main() -> None:
    signal.alarm(LIFE)
    threading.Thread(target=leave_with_the_server, daemon=True).start()
    with Client(lease=LEASE) as client, suppress(TaskCancelled, TaskAlreadyFinished), client.task(sys.argv[1]) as task:
        task.complete(count_primes(client, task))


def leave_with_the_server() -> None:
    """Nothing is ever written to this end; it is closed when the other one is."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def count_primes(client: Client | Realtime, task: Handle) -> dict[str, Any]:
    """How many there are below `UP_TO`, in parts at the same time, each a task of its own: the sieve of Eratosthenes.

    The percent of the whole follows from the parts; a request to stop it goes to all of them.
    """
    small = primes_of(0, isqrt(UP_TO) + 1, range(2, isqrt(UP_TO) + 1))
    found: list[int] = []

    def count(low: int) -> None:
        # While the server is away the work goes on; the end of a part is kept meanwhile, and this is no reason to fail.
        with suppress(RegistryUnavailable), client.task(parts[low]) as part:
            for start in range(low, low + UP_TO // PARTS, BLOCK):
                found.append(len(primes_of(start, start + BLOCK, small)))
                part.advance(BLOCK)
                task.message(f"{sum(found):,} primes so far, says process {os.getpid()}")
                time.sleep(PAUSE)

    parts = {
        low: client.create_task(
            None, task.snapshot.user_id, name=f"From {low:,}", message=None, total=UP_TO // PARTS, unit="numbers",
            cancellable=True, parent_id=task.task_id,
        ).task_id
        for low in range(0, UP_TO, UP_TO // PARTS)
    }  # fmt: skip
    with ThreadPoolExecutor(PARTS) as pool:
        for _ in pool.map(count, parts):  # raises what a part has raised
            pass
    return {"message": f"{sum(found):,} primes below {UP_TO:,}.", "primes": sum(found)}


def primes_of(low: int, high: int, divisors: Iterable[int]) -> list[int]:
    """The primes from ``low`` to below ``high``; ``divisors`` holds all that are up to the root of ``high``."""
    is_prime = bytearray(b"\1") * (high - low)
    is_prime[: max(0, 2 - low)] = bytes(max(0, 2 - low))
    for divisor in divisors:
        first = max(divisor * divisor, -(-low // divisor) * divisor) - low
        is_prime[first::divisor] = bytes(len(range(first, high - low, divisor)))
    return [low + place for place, flag in enumerate(is_prime) if flag]


if __name__ == "__main__":
    main()
