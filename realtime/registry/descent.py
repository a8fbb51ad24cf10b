"""What a parent's record becomes when its parts have moved: a pure function, as those of `transitions`.

Percent is the mean of the parts' percents by weight; one that was announced and is not there yet weighs 1 and counts 0,
one that has failed or was cancelled counts as far as it had come. As everywhere, it never goes down. A group, whose
parts were announced, ends with them: see `_end`.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ..progress import SAMPLE_INTERVAL, sampled
from ..task import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING, Task, TaskFailure, TaskStatus
from .family import Sums
from .transitions import UNIT, changed_info, ended, following

#: How a group ends of which some have, or none has, completed.
PARTLY_COMPLETED = "partly_completed"
CHILDREN_FAILED = "children_failed"


def derived(task: Task, now: float, sums: Sums) -> Task:
    """The record of a parent whose parts come to ``sums``; the same one if that is no news, or if it has ended."""
    announced, known = task.info.kin.announced, task.children
    if task.finished or (known is None and not sums.parts):
        return task
    # A total that is not the number of its parts is the parent's own, and current too.
    if known is None:
        counted = task.total is None and task.current is None
    else:
        counted = known.counted and task.total == known.total
    children = sums.children(announced, counted)
    missing = children.total - sums.parts
    percent, weights = task.percent, sums.weight + missing
    if weights > 0:  # else all weigh nothing
        mean = min(100.0, round(sums.done / weights, 6))  # the sums are not exact to the last bit
        percent = mean if percent is None or mean > percent else percent
    changes: dict[str, Any] = {"children": children, "percent": percent, "updated": max(now, task.updated)}
    if counted:
        changes["current"], changes["total"] = children.ended, children.total
        if task.pace is None or not 0.0 <= now - task.pace.at < SAMPLE_INTERVAL or task.pace.in_percent:
            changes["pace"] = sampled(task.pace, now, children.ended, False)
    begins = task.status is PENDING and sums.parts > sums.pending
    if begins:
        changes["status"] = PROCESSING
    if begins or (counted and task.info.unit is None) or task.info.stalled is not None:
        changes["info"] = changed_info(
            task, unit=UNIT if counted and task.info.unit is None else None,
            started=changes["updated"] if begins and task.info.started is None else None,
        )  # fmt: skip
    end = None if announced is None else _end(sums, children.total, task.cancel_requested is not None)
    if end is None and not begins and children == known and percent == task.percent:
        return task
    moved = following(task, **changes)
    if end is None:
        return moved
    status, result, failure = end
    return ended(replace(moved, version=task.version), now, status, result, failure)


def _end(sums: Sums, total: int, asked: bool) -> tuple[TaskStatus, bytes | None, TaskFailure | None] | None:
    """How a group has ended, its result or its failure; None if it has not.

    It waits for those that are not there yet, and for another attempt at what failed and may be retried; but not once
    it was asked to stop.
    """
    if sums.pending or sums.processing or (not asked and (sums.parts < total or sums.awaited)):
        return None
    if sums.completed == total:
        return COMPLETED, b'{"completed":%d}' % total, None
    if not sums.failed and (asked or sums.cancelled == total):
        return CANCELLED, None, None
    others = [f"{count} {word}" for count, word in ((sums.failed, "failed"), (sums.cancelled, "cancelled")) if count]
    code = PARTLY_COMPLETED if sums.completed else CHILDREN_FAILED
    return FAILED, None, TaskFailure(None, f"{sums.completed} of {total} completed; {', '.join(others)}.", code)
