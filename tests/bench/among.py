"""What an update of one task costs among many: ``python among.py 100 10000 …`` prints CPU microseconds, as JSON.

The sizes are those of one registry as it fills. Each figure is the smallest of many loops, which other work on the
machine disturbs least.
"""

from __future__ import annotations

import json
import sys
import time
import timeit

from flask import Flask

from realtime import NOBODY, Realtime

LOOP, REPEAT = 10_000, 25


def main(sizes: list[int]) -> None:
    """Measure."""
    rt = Realtime(Flask(__name__))
    rt.create_task("watched", NOBODY, name="Export")
    update, made, found = rt.update_task_progress, 1, []
    for size in sizes:
        for number in range(made, size):
            rt.create_task(f"t{number}", f"user-{number % 1000}", name="Export")
        made = max(made, size)
        loops = timeit.repeat(
            lambda: update("watched", "Reading page 4"), timer=time.thread_time, number=LOOP, repeat=REPEAT
        )
        found.append(min(loops) / LOOP * 1e6)
    print(json.dumps(found))


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
