"""Random operations: one after the other against a plain model, and from several threads with their history checked."""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from realtime.errors import InvalidValue, TaskAlreadyFinished, TaskExists, TaskNotFound
from realtime.registry.base import Registry, Removed
from realtime.registry.leases import WORKER_LOST
from realtime.registry.sqlite import SqliteRegistry
from realtime.task import NewTask, Task, TaskFailure, TaskStatus
from support.clock import Clock
from support.registries import OPENERS, Told

RETENTION, MAX_TASKS, MAX_TASKS_PER_USER = 100.0, 5, 3
THREADS = 4
FAILURE = TaskFailure("ValueError", "no", "failed", None, b"{}")

task_ids = st.sampled_from("abcdefgh")
users = st.sampled_from(["ada", "grace", None])
group_sets = st.sets(st.sampled_from(["x", "y"])).map(sorted).map(tuple)
counts = st.integers(-5, 50) | st.floats(0, 50, allow_nan=False)
totals = st.integers(0, 60)


class Model:
    """A task as the semantics describe it, in the plainest words."""

    def __init__(self, new: NewTask, task: Task, now: float) -> None:
        self.new, self.version = new, task.version
        self.status: str = new.status
        self.message, self.unit, self.metadata = new.message, new.unit, json.loads(new.metadata or b"{}")
        self.total = new.total
        self.current: float | None = None if new.total is None else 0
        self.percent: float | None = 0.0 if new.total else None
        self.created = self.updated = now
        self.started = now if new.status == "processing" else None
        self.ended: float | None = None
        #: When it was asked to stop, since when it is silent, when its retention is over.
        self.asked: float | None = None
        self.silent: float | None = None
        self.over = 0.0
        self.result: Any = None
        self.failure: TaskFailure | None = None

    def touch(self, now: float) -> None:
        self.version += 1
        self.updated = max(now, self.updated)
        self.silent = None

    def update(self, now: float, **given: Any) -> None:
        self.touch(now)
        if self.status == "pending":
            self.status, self.started = "processing", self.updated
        for name in ("message", "unit", "metadata", "current", "total"):
            if given.get(name) is not None:
                setattr(self, name, given[name])
        if self.total is not None and self.current is None:
            self.current = 0
        if given.get("advance") is not None:
            self.current = (self.current or 0) + given["advance"]
        told = given.get("percent")
        if told is None and {"current", "total", "advance"} & {name for name in given if given[name] is not None}:
            if self.total and self.current is not None:
                told = min(100.0, max(0.0, 100.0 * self.current / self.total))
            elif self.total == 0 and not self.percent:
                self.percent = None
        if told is not None:
            self.percent = max(told, self.percent or 0.0)

    def end(self, now: float, status: str, result: Any = None) -> None:
        self.touch(now)
        self.status, self.result = status, result
        self.failure = FAILURE if status == "failed" else None
        self.ended, self.over = self.updated, self.updated + RETENTION
        if status == "completed":
            self.percent = 100.0

    def seen_by(self, user: str | None, groups: tuple[str, ...]) -> bool:
        return (user is not None and self.new.user_id == user) or bool(set(groups) & set(self.new.groups))


class RegistryMachine(RuleBasedStateMachine):
    """Does the same to a registry and to a model, and compares after each step all that can be asked."""

    open: Callable[..., Registry]

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.registry = self.open(
            clock=self.clock, retention=RETENTION, max_tasks=MAX_TASKS, max_tasks_per_user=MAX_TASKS_PER_USER
        )
        self.told = Told(self.registry)
        #: In the order of creation, and of the ends.
        self.tasks: dict[str, Model] = {}
        self.ends: list[str] = []
        #: Id → the highest version of it so far, removals included.
        self.highest: dict[str, int] = {}
        #: What the registry has to tell: how many changes, and which removals.
        self.changes = 0
        self.gone: list[tuple[str, int]] = []
        self.went_back = False

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()

    # What the model does.

    def drop(self, task_id: str) -> None:
        self.highest[task_id] = self.tasks.pop(task_id).version + 1
        self.ends.remove(task_id)
        self.gone.append((task_id, self.highest[task_id]))

    def make_room(self, user: str | None) -> None:
        while len(self.ends) > MAX_TASKS:
            self.drop(self.ends[0])
        own = [task_id for task_id in self.ends if self.tasks[task_id].new.user_id == user]
        if user is not None and len(own) > MAX_TASKS_PER_USER:
            self.drop(own[0])

    def change(self, task_id: str, call: Callable[[], Task], change: Callable[[Model], bool]) -> None:
        """Make a change in both. ``change`` says whether there was something to change."""
        model = self.tasks.get(task_id)
        if model is None:
            with pytest.raises(TaskNotFound):
                call()
            return
        task = call()
        if change(model):
            self.changes += 1
            self.highest[task_id] = model.version
        assert (task.task_id, task.version) == (task_id, model.version)
        self.same(task, model)
        if model.ended is not None and task_id not in self.ends:
            self.ends.append(task_id)
            self.make_room(model.new.user_id)

    def refused(self, task_id: str, call: Callable[[], Task], allowed: str | None = None) -> bool:
        """Whether the task has ended, not as ``allowed``; then ``call`` raises."""
        model = self.tasks.get(task_id)
        if model is None or model.ended is None or model.status == allowed:
            return False
        with pytest.raises(TaskAlreadyFinished):
            call()
        return True

    # What can happen.

    @rule(
        task_id=task_ids,
        user=users,
        groups=group_sets,
        status=st.sampled_from([TaskStatus.PENDING, TaskStatus.PROCESSING]),
        total=st.none() | totals,
        exist_ok=st.booleans(),
    )
    def create(
        self,
        task_id: str,
        user: str | None,
        groups: tuple[str, ...],
        status: TaskStatus,
        total: int | None,
        exist_ok: bool,
    ) -> None:
        new = NewTask(task_id, user, groups, "Name", status, total=total)
        there = self.tasks.get(task_id)
        if there is None:
            task, is_new = self.registry.create(new, exist_ok=exist_ok)
            assert is_new
            micros, floor = int(self.clock.now * 1e6), self.highest.get(task_id, 0) + 1
            assert task.version >= max(micros, floor)
            assert self.went_back or task.version == max(micros, floor)
            self.tasks[task_id] = Model(new, task, self.clock.now)
            self.highest[task_id] = task.version
            self.changes += 1
        elif exist_ok and there.new.user_id == user and there.ended is None:
            task, is_new = self.registry.create(new, exist_ok=True)
            assert not is_new
            self.same(task, there)
        else:
            with pytest.raises(TaskExists):
                self.registry.create(new, exist_ok=exist_ok)

    @rule(
        task_id=task_ids,
        message=st.none() | st.text(max_size=5),
        current=st.none() | counts,
        total=st.none() | totals,
        percent=st.none() | st.floats(0, 100),
        advance=st.none() | counts,
        unit=st.none() | st.sampled_from(["rows", "bytes"]),
        metadata=st.none() | st.dictionaries(st.sampled_from("kl"), st.integers(0, 9)),
    )
    def update(self, task_id: str, metadata: dict[str, int] | None, **given: Any) -> None:
        encoded = None if metadata is None else json.dumps(metadata).encode()

        def call() -> Task:
            return self.registry.update(task_id, metadata=encoded, **given)

        def change(model: Model) -> bool:
            model.update(self.clock.now, metadata=metadata, **given)
            return True

        if not self.refused(task_id, call):
            self.change(task_id, call, change)

    @rule(task_id=task_ids)
    def start(self, task_id: str) -> None:
        def change(model: Model) -> bool:
            if model.status == "processing":
                return False
            model.update(self.clock.now)
            return True

        if not self.refused(task_id, lambda: self.registry.start(task_id)):
            self.change(task_id, lambda: self.registry.start(task_id), change)

    @rule(task_id=task_ids, how=st.sampled_from(["completed", "failed", "cancelled"]), number=st.integers(0, 3))
    def end(self, task_id: str, how: str, number: int) -> None:
        def call() -> Task:
            if how == "completed":
                return self.registry.complete(task_id, b"%d" % number)
            return self.registry.fail(task_id, FAILURE) if how == "failed" else self.registry.cancel(task_id)

        def change(model: Model) -> bool:
            if model.ended is not None:
                return False
            model.end(self.clock.now, how, number if how == "completed" else None)
            return True

        if not self.refused(task_id, call, allowed=how):
            self.change(task_id, call, change)

    @rule(task_id=task_ids)
    def request_cancel(self, task_id: str) -> None:
        def change(model: Model) -> bool:
            if model.ended is not None or model.asked is not None:
                return False
            if model.status == "pending":
                model.end(self.clock.now, "cancelled")
            else:
                model.version += 1
                model.asked = max(self.clock.now, model.updated)
            return True

        if not self.refused(task_id, lambda: self.registry.request_cancel(task_id), allowed="cancelled"):
            self.change(task_id, lambda: self.registry.request_cancel(task_id), change)

    @rule(task_id=task_ids)
    def stall(self, task_id: str) -> None:
        def change(model: Model) -> bool:
            if model.status != "processing" or model.silent is not None:
                return False
            model.version += 1
            model.silent = self.clock.now
            return True

        self.change(task_id, lambda: self.registry.stall(task_id, self.clock.now), change)

    @rule(task_id=task_ids)
    def remove(self, task_id: str) -> None:
        model = self.tasks.get(task_id)
        if model is None or model.ended is None:
            with pytest.raises(TaskNotFound if model is None else InvalidValue):
                self.registry.remove(task_id)
        else:
            self.drop(task_id)
            assert self.registry.remove(task_id).version == self.highest[task_id]

    @rule(seconds=st.sampled_from([0.001, 0.2, 10.0, 60.0]) | st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.clock.go(seconds)

    @rule(seconds=st.floats(0.001, 500))
    def step_back(self, seconds: float) -> None:
        self.clock.go(-seconds)
        self.went_back = True

    @rule()
    def expire(self) -> None:
        due = self.drop_the_due()
        assert [removed.task_id for removed in self.registry.expire()] == due

    def drop_the_due(self) -> list[str]:
        due: list[str] = []
        for task_id in self.ends:
            model = self.tasks[task_id]
            if model.over > self.clock.now + RETENTION:  # It ended by a clock that was ahead.
                model.over = self.clock.now + RETENTION
            elif model.over > self.clock.now:
                break
            else:
                due.append(task_id)
        for task_id in due:
            self.drop(task_id)
        return due

    # What must be so after each of these.

    def same(self, task: Task, model: Model) -> None:
        new, progress = model.new, task.progress
        assert (task.user_id, task.groups, task.name) == (new.user_id, new.groups, new.name)
        assert (task.version, task.status, task.finished) == (model.version, model.status, model.ended is not None)
        assert (progress.message, progress.unit, task.metadata) == (model.message, model.unit, model.metadata)
        assert (progress.current, progress.total, progress.percent) == (model.current, model.total, model.percent)
        assert (task.info.created, task.info.started) == (model.created, model.started)
        assert (task.updated, task.completed) == (model.updated, model.ended)
        assert (task.cancel_requested, task.info.stalled) == (model.asked, model.silent)
        assert (task.result, task.error) == (model.result, model.failure)
        assert task.epoch == self.registry.epoch

    @invariant()
    def every_task_is_as_in_the_model(self) -> None:
        for task_id in "abcdefgh":
            task, model = self.registry.get(task_id), self.tasks.get(task_id)
            assert (task is None) == (model is None)
            if task is not None and model is not None:
                self.same(task, model)
                assert json.loads(task.encode()) == task.as_dict()

    @invariant()
    def every_list_is_as_in_the_model(self) -> None:
        for user, groups in (("ada", ()), ("grace", ("x",)), (None, ("x", "y"))):
            for finished in (None, True, False):
                expected = [
                    task_id
                    for task_id, model in reversed(self.tasks.items())
                    if model.seen_by(user, groups) and finished in (None, model.ended is not None)
                ]
                found, before = [], None
                while True:
                    page, before = self.registry.list(
                        user_id=user, groups=groups, limit=2, before=before, finished=finished
                    )
                    found += [task.task_id for task in page]
                    if before is None:
                        break
                assert found == expected
        expected = [task_id for task_id, model in self.tasks.items() if model.ended is None]
        assert [task.task_id for task in self.registry.unfinished()] == expected

    @invariant()
    def everything_was_told_once(self) -> None:
        assert len(self.told.changes) == self.changes
        assert [(removed.task_id, removed.version) for removed in self.told.removed] == self.gone


@pytest.mark.parametrize("kind", sorted(OPENERS))
def test_a_registry_does_what_the_model_does(kind: str, tmp_path: Path) -> None:
    """Whatever happens in whatever order, a registry holds, lists, announces and lets go of what the model does."""

    class Machine(RegistryMachine):
        open = staticmethod(lambda **given: OPENERS[kind](tmp_path, **given))

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_a_file_remembers_what_the_model_does(tmp_path: Path) -> None:
    """The same with a registry in a file that is closed and opened again at any time: what has ended is as it was, what
    has not has lost its worker, pages and bounds go on, and no version comes twice."""
    paths = (tmp_path / f"{number}.db" for number in itertools.count())

    class Machine(RegistryMachine):
        @staticmethod
        def open(**given: Any) -> Registry:
            return SqliteRegistry(next(paths), **given)

        @rule()
        def restart(self) -> None:
            registry = self.registry
            assert isinstance(registry, SqliteRegistry)
            epoch = registry.epoch
            registry.close()
            self.everything_was_told_once()
            self.registry = SqliteRegistry(registry._path, **registry._settings)
            self.told = Told(self.registry)
            self.gone, self.changes = [], 0
            for task_id, model in self.tasks.items():
                if model.ended is not None:
                    model.over = model.ended + RETENTION
                    continue
                model.version = max(model.version, int(self.clock.now * 1e6) - 1)
                model.end(self.clock.now, "failed")
                model.failure = WORKER_LOST
                self.highest[task_id] = model.version
                self.changes += 1
                self.ends.append(task_id)
            for user in ("ada", "grace", None):
                for _ in range(len(self.ends)):  # it makes room for one
                    self.make_room(user)
            self.drop_the_due()
            self.went_back = True  # one number stands for all removed ids
            assert self.registry.epoch == epoch
            # Those of several users leave in no order among each other.
            self.told.removed.sort(key=lambda gone: (gone.task_id, gone.version))
            self.gone.sort()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


# Several threads.


class History:
    """What several threads did to a registry, as each of them and the listeners saw it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.told = Told(registry)
        self.together = threading.Barrier(THREADS)
        #: For each thread, what was returned to it, in its order: a snapshot, or what was removed.
        self.returned: list[list[Task | Removed]] = []
        #: For each thread, how many steps of each task (id, order) were acknowledged.
        self.steps: list[Counter[tuple[str, int]]] = []

    def work(self, seed: int, operations: int) -> None:
        """A thread's share: random operations on a few ids, each result noted as it is returned."""
        self.together.wait()
        chance, registry = random.Random(seed), self.registry
        returned: list[Task | Removed] = []
        steps = Counter[tuple[str, int]]()
        self.returned.append(returned)
        self.steps.append(steps)
        for _ in range(operations):
            task_id = chance.choice("abc")
            which = chance.random()
            try:
                if which < 0.2:
                    returned.append(registry.create(NewTask(task_id, "ada"), exist_ok=chance.random() < 0.5)[0])
                elif which < 0.7:
                    task = registry.update(task_id, metadata=b'{"by":%d}' % seed, advance=1)
                    returned.append(task)
                    steps[task_id, task.info.order] += 1
                elif which < 0.75:
                    returned.append(registry.request_cancel(task_id))
                elif which < 0.8:
                    returned.append(registry.complete(task_id, b"%d" % seed))
                elif which < 0.85:
                    returned.append(registry.fail(task_id, FAILURE))
                elif which < 0.9:
                    returned.append(registry.cancel(task_id))
                elif which < 0.96:
                    returned.append(registry.remove(task_id))
                elif (known := registry.get(task_id)) is not None:
                    returned.append(known)
            except (TaskNotFound, TaskExists, TaskAlreadyFinished, InvalidValue):
                pass


def yielding_clock() -> float:
    """Lets another thread go on, in the middle of a change."""
    time.sleep(0)
    return time.time()


@pytest.mark.parametrize("kind", sorted(OPENERS))
@pytest.mark.parametrize("seed", range(4))
def test_threads_share_one_history(kind: str, seed: int, tmp_path: Path) -> None:
    """However threads come between each other: versions strictly increase and each is one state, ends never change,
    one end wins, no acknowledged step is lost, and each change is told once."""
    history = History(OPENERS[kind](tmp_path, clock=yielding_clock))
    threads = [threading.Thread(target=history.work, args=(10 * seed + number, 1500)) for number in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(2e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    check(history)
    history.registry.close()


def check(history: History) -> None:
    """Raise for the first thing in a history that cannot be."""
    told = [task for task, _ in history.told.changes]
    by_version: dict[tuple[str, int], Task] = {}
    lives: dict[tuple[str, int], list[Task]] = defaultdict(list)
    for task in told:
        assert (task.task_id, task.version) not in by_version, "a version was given, or told, twice"
        by_version[task.task_id, task.version] = task
        lives[task.task_id, task.info.order].append(task)

    for thread in history.returned:
        last: dict[str, int] = defaultdict(int)
        for seen in thread:
            assert seen.version >= last[seen.task_id], "a thread saw a task go back"
            last[seen.task_id] = seen.version
            if isinstance(seen, Task):
                assert seen == by_version[seen.task_id, seen.version], "one version was two states"
    removed = {(gone.task_id, gone.version): gone for gone in history.told.removed}
    assert len(removed) == len(history.told.removed)
    returned_removals = [seen for thread in history.returned for seen in thread if isinstance(seen, Removed)]
    assert sorted((gone.task_id, gone.version) for gone in returned_removals) == sorted(removed)

    acknowledged = sum(history.steps, Counter())
    for (task_id, _), life in lives.items():
        life.sort(key=lambda task: task.version)
        first, final = life[0], life[-1]
        assert [created for task, created in history.told.changes if task is first] == [True]
        assert [task.version for task in life] == list(range(first.version, first.version + len(life)))
        assert not any(task.finished for task in life[:-1]), "something followed an end"
        assert (final.progress.current or 0) == acknowledged[final.task_id, final.info.order], "a step was lost"
        after = [version for other, version in removed if other == task_id and version > final.version]
        stored = history.registry.get(task_id)
        if stored is not None and stored.info.order == final.info.order:
            assert stored == final, "what was acknowledged is not what is stored"
        else:
            assert final.finished, "an unfinished task has left"
            assert min(after) == final.version + 1
    for task_id in "abc":
        births = sorted(life[0].version for (other, _), life in lives.items() if other == task_id)
        deaths = sorted(version for other, version in removed if other == task_id)
        assert all(death < birth for death, birth in zip(deaths, births[1:], strict=False)), "a new life began below"
        assert len(births) - len(deaths) == (history.registry.get(task_id) is not None)
    assert any(len(life) > 3 for life in lives.values()), "the threads did not get to work"
    assert removed
