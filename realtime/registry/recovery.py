"""What becomes of the tasks in a file when a new process opens it."""

from __future__ import annotations

import msgspec

from ..errors import RegistryUnavailable
from ..task import FAILED, Task
from .descent import derived
from .floors import Floors
from .leases import WORKER_LOST
from .memory import MemoryRegistry
from .output import Stream
from .taskfile import Statement, TaskFile, updated
from .transitions import ended


def recover(file: TaskFile, memory: MemoryRegistry, now: float, tail: int) -> tuple[list[Task], int]:
    """Bring the tasks of a file to memory, which is new. Returns those that end now, and the number of the last end.

    Who worked on what is unfinished went away with the last process. Those tasks fail, in the file first. (A worker
    elsewhere has a lease, which begins anew: it could not be heard meanwhile. A group lives as long as one of its
    parts.) Raises `ConfigError`, `RegistryUnavailable`.
    """
    memory.epoch, memory._floors = file.epoch, Floors(file.floor)
    outputs: dict[int, dict[str, Stream]] = {}
    for order, name, start, data in file.output():
        stream = outputs.setdefault(order, {}).setdefault(name, Stream(tail))
        stream.resume(start)
        stream.append(data)
    tasks: list[Task] = []
    unfinished: list[Task] = []
    last_end = 0
    for task, number in file.tasks():
        (tasks if task.finished else unfinished).append(task)
        last_end = max(last_end, number or 0)
    kept: list[Task] = []
    lost: list[Task] = []
    parents = memory._parents
    there = {task.task_id: task for task in (*tasks, *unfinished)}
    for task in tasks:
        parents.add(task, there)
    # Parts are younger than their parents: they come first, so that a parent knows how they have ended.
    for task in sorted(unfinished, key=_order, reverse=True):
        # Progress that was seen and is not in the file had versions, too: the clock is past them.
        version = max(task.version, int(now * 1e6) - 1)
        size = sum(stream.end for stream in outputs.get(task.info.order, {}).values())
        known = msgspec.structs.replace(task, version=version, output_size=size, output_more=0)
        known = derived(known, now, parents.sums(task.task_id))
        if not known.finished and task.info.lease is None and not _lives(known):
            known = ended(known, now, FAILED, failure=WORKER_LOST)
        elif not known.finished:
            known = msgspec.structs.replace(known, version=version + 1)
            if task.info.lease is not None:
                memory._leases.hear(task.task_id, task.info.lease)
        (lost if known.finished else kept).append(known)
        parents.add(known, there)
    kept.sort(key=_order)
    lost.sort(key=_order)
    statements: list[Statement] = [("DELETE FROM output WHERE ord NOT IN (SELECT ord FROM tasks)", ())]
    statements += [updated(task) for task in kept]
    statements += [updated(task, last_end + number) for number, task in enumerate(lost, 1)]
    try:
        file.write(statements, durable=True)
    except Exception as error:
        raise RegistryUnavailable(f"The file of tasks {file.path} cannot be written: {error}.") from error
    for task in tasks + kept + lost:
        memory._tasks[task.task_id] = task
        if task.info.order in outputs:
            memory._outputs[task.task_id] = outputs[task.info.order]
        memory._catalogue.follow(task, task)
        memory._last_order = max(memory._last_order, task.info.order)
    return lost, last_end + len(lost)


def _lives(task: Task) -> bool:
    """Whether it is a group of which a part goes on, on a worker elsewhere: it needs none itself."""
    return task.info.kin.announced is not None and task.children is not None and task.children.unfinished > 0


def _order(task: Task) -> int:
    return task.info.order
