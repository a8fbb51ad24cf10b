"""What a process remembers of tasks that it has changed in a store: of this memory of it, and not for ever."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from realtime.registry import transitions
from realtime.registry.redis import records as records_module
from realtime.registry.redis.records import Records
from realtime.task import COMPLETED, NewTask, Task


@pytest.fixture
def link() -> Any:
    """All that is asked of a link here."""
    return SimpleNamespace(epoch="e", known_epoch="e")


def task(task_id: str = "a") -> Task:
    return transitions.created(NewTask(task_id, "ada"), epoch="e", now=1.0, version=1, order=1)


def kept(records: Records, task: Task) -> Task:
    """A task of this process that the store has taken in."""
    return records.stored(task, b"nonce", b"%d" % task.version, b"0").task


@pytest.mark.parametrize("epoch", ["f", None], ids=["another", "not known"])
def test_a_record_of_a_memory_that_is_lost_counts_no_more(link: Any, epoch: str | None) -> None:
    """What is made from it would bring back what the store has lost. Where it is not known whether it has, too."""
    records = Records(link)
    made = kept(records, task())
    known = records.last("a")
    assert known is not None
    assert known.task == made
    link.known_epoch = epoch
    assert records.last("a") is None


def test_records_are_not_kept_for_ever(link: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of the newest tasks, and of none that has ended."""
    monkeypatch.setattr(records_module, "_MAX_KNOWN", 3)
    records = Records(link)
    for number in range(6):
        kept(records, task(f"t{number}"))
    assert [number for number in range(6) if records.last(f"t{number}")] == [3, 4, 5]
    kept(records, transitions.ended(task("t4"), 2.0, COMPLETED))
    assert records.last("t4") is None
