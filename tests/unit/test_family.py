"""Parents against a plain model: whatever happens to the parts, in whatever order it is heard of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from realtime.kin import Children, Kin
from realtime.registry import descent, transitions
from realtime.registry.family import Family
from realtime.registry.memory import MemoryRegistry
from realtime.task import FAILED, NewTask, Task, TaskFailure

#: What may happen to a part: a percent, or a word.
WORDS = st.one_of(st.integers(0, 100), st.sampled_from(["complete", "fail", "fail for now", "cancel", "retry"]))
#: Of each part its weight, and what happens to it.
PARTS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.lists(WORDS, max_size=5)), min_size=1, max_size=5)


class Model:
    """One part, and its attempts."""

    def __init__(self, task_id: str, weight: float) -> None:
        self.task_id, self.weight = task_id, weight
        self.percent, self.status, self.awaited = 0.0, "processing", False

    def hear(self, registry: MemoryRegistry, word: Any) -> None:
        if word == "retry":
            if self.status in ("failed", "cancelled"):
                self.task_id = registry.retry(self.task_id)[0].task_id
                self.percent, self.status, self.awaited = 0.0, "pending", False
        elif self.status not in ("pending", "processing"):
            return
        elif word == "complete":
            registry.complete(self.task_id, None)
            self.percent, self.status = 100.0, "completed"
        elif word == "cancel":
            registry.cancel(self.task_id)
            self.status = "cancelled"
        elif isinstance(word, int):
            registry.update(self.task_id, percent=float(word))
            self.percent, self.status = max(self.percent, float(word)), "processing"
        else:
            self.awaited = word == "fail for now"
            registry.fail(self.task_id, TaskFailure(None, "no", "no", self.awaited))
            self.status = "failed"


def expected_end(models: Sequence[Model], announced: int) -> tuple[str, Any]:
    """How a group ends, if it does."""
    counts = {
        word: sum(model.status == word for model in models) for word in ("completed", "failed", "cancelled")
    }  # fmt: skip
    total = max(len(models), announced)
    if sum(counts.values()) < total or any(model.awaited for model in models):
        return "processing", None
    if counts["completed"] == total:
        return "completed", {"completed": total}
    if counts["cancelled"] == total:
        return "cancelled", None
    return "failed", "partly_completed" if counts["completed"] else "children_failed"


@given(PARTS, st.integers(0, 6), st.booleans(), st.randoms(use_true_random=False))
def test_a_parent_is_what_its_parts_come_to(parts: Any, announced: int, is_group: bool, random: Any) -> None:
    """Counts, percent and end are those of a model that adds up anew each time; its percent never goes down."""
    registry = MemoryRegistry()
    announced = max(announced, len(parts)) if is_group else 0
    registry.create(NewTask("p", "ada", kin=Kin(announced=announced if is_group else None)))
    models = []
    for number, (weight, _) in enumerate(parts):
        registry.create(NewTask(str(number), "ada", parent_id="p", kin=Kin(weight)))
        models.append(Model(str(number), weight))
    steps = [(model, word) for model, (_, words) in zip(models, parts, strict=True) for word in words]
    random.shuffle(steps)
    held, ended = 0.0, False
    for model, word in steps:
        if ended and word == "retry":  # which is refused then
            continue
        model.hear(registry, word)
        registry.follow()
        task = registry.get("p")
        assert task is not None
        if ended:
            assert task.finished
            continue
        total = max(len(models), announced)
        weights = sum(each.weight for each in models) + total - len(models)
        if weights:
            held = max(held, sum(each.weight * each.percent for each in models) / weights)
        status, what = expected_end(models, announced) if is_group else ("processing", None)
        assert task.status == status
        assert (task.result if status == "completed" else task.error and task.error.code) == what
        if status != "completed":
            assert abs((task.percent or 0.0) - held) < 1e-5
        counts = {word: sum(each.status == word for each in models) for word in STATES}
        assert task.children == Children(total, counted=True, **counts)
        ended = task.finished


STATES = ("pending", "processing", "completed", "failed", "cancelled")


def versions() -> list[Task]:
    """All records that there were of a part, through two attempts."""
    first = transitions.created(
        NewTask("a", "ada", parent_id="p", kin=Kin(2.0)), epoch="e", now=1.0, version=10, order=1
    )
    moved = transitions.updated(first, 2.0, percent=30.0)
    failed = transitions.ended(moved, 3.0, FAILED, failure=TaskFailure(None, "no", "no", True))
    claimed = transitions.retried(failed, "b")
    follower = NewTask("b", "ada", attempt=2, retry_of="a", parent_id="p", kin=Kin(2.0, origin="a"))
    second = transitions.created(follower, epoch="e", now=4.0, version=5, order=2)  # a version that was lower
    return [first, moved, failed, claimed, second, transitions.updated(second, 5.0, percent=70.0)]


@given(st.lists(st.sampled_from(range(6)), max_size=12))
def test_lines_come_in_any_order_and_as_often_as_they_like(order: list[int]) -> None:
    """The newest attempt counts, by its newest version; nothing counts twice."""
    family, seen = Family(), versions()
    for place in order:
        family.note(seen[place])
    if order:
        newest = Family()
        newest.note(seen[max(order)])
        assert family.sums == newest.sums
        assert len(family.lines) == 1


def test_sums_are_made_anew_after_an_interruption() -> None:
    """A Ctrl-C between a line and what it comes to is made up for."""
    family, seen = Family(), versions()
    family.note(seen[0])
    family.lines["z"] = next(iter(family.lines.values()))._replace(percent=50.0)
    family._exact = False
    assert (family.sums.parts, family.sums.done) == (2, 100.0)


def test_a_percent_is_none_of_the_last_bits() -> None:
    """Sums of weights are not exact; what a page shows is, and is not above 100."""
    parent = transitions.created(NewTask("p", "ada"), epoch="e", now=1.0, version=1, order=1)
    weights = (0.1, 0.2, 0.3, 0.7, 1.1)
    shown = set()
    for done in (100.0, 70.0, 35.0):
        family = Family()
        for number, weight in enumerate(weights):
            part = transitions.created(
                NewTask(str(number), "ada", parent_id="p", kin=Kin(weight)), epoch="e", now=1.0, version=1, order=number
            )
            family.note(transitions.updated(part, 2.0, percent=done))
        assert done == 100.0 or family.sums.done / family.sums.weight != done  # as it is before that
        shown.add(descent.derived(parent, 2.0, family.sums).percent)
    assert shown == {100.0, 70.0, 35.0}


def test_a_parent_that_has_ended_follows_no_more() -> None:
    """What its parts do then is theirs."""
    parent = transitions.created(NewTask("p", "ada"), epoch="e", now=1.0, version=1, order=1)
    family = Family()
    family.note(versions()[1])
    moved = descent.derived(parent, 2.0, family.sums)
    assert (moved.percent, moved.version) == (30.0, 2)
    over = transitions.ended(moved, 3.0, FAILED, failure=TaskFailure(None, "no", "no"))
    family.note(versions()[5])
    assert descent.derived(over, 4.0, family.sums) is over
