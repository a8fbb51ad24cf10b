"""What is peculiar to the registry in memory: its cost, its lock, interruptions, forks."""

from __future__ import annotations

import _thread
import gc
import linecache
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from realtime.config import Config
from realtime.errors import ConfigError, NotTheServer, TaskNotFound
from realtime.registry import floors, forks, memory, open_registry
from realtime.registry.memory import MemoryRegistry
from realtime.task import NewTask, Task, TaskFailure, TaskStatus
from support.clock import START, Clock, Interrupting
from support.forks import in_child
from support.registries import Told


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> MemoryRegistry:
    return MemoryRegistry(clock=clock)


def seen_by(registry: MemoryRegistry, user_id: str = "ada") -> list[str]:
    return [task.task_id for task in registry.list(user_id=user_id, groups=(), limit=999)[0]]


def test_it_is_opened_with_the_bounds_of_the_configuration() -> None:
    """``memory://`` is the registry in memory; a name that is not known is an error which tells the one that is."""
    registry = open_registry(Config(retention=10.0, max_tasks=3, max_tasks_per_user=2))
    for task_id in "abc":
        registry.create(NewTask(task_id, "ada"))
        registry.complete(task_id, None)
    assert isinstance(registry, MemoryRegistry)
    assert seen_by(registry) == ["c", "b"]
    assert len(registry.expire(time.time() + 11)) == 2
    with pytest.raises(
        ConfigError, match="begins with 'nowhere'; it may be memory://, sqlite:///path, or an address that"
    ):
        open_registry(Config(registry="nowhere://"))


def test_each_registry_has_an_epoch_of_its_own() -> None:
    """Two that know nothing of each other never pass for one that remembers."""
    assert len({MemoryRegistry().epoch for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "change",
    [
        lambda registry: registry.create(NewTask("b", "ada")),
        lambda registry: registry.update("a", "On", current=1, advance=1),
        lambda registry: registry.start("a"),
        lambda registry: registry.complete("a", None),
        lambda registry: registry.request_cancel("a"),
    ],
)
def test_a_change_asks_the_clock_once(
    registry: MemoryRegistry, clock: Clock, change: Callable[[MemoryRegistry], object]
) -> None:
    """All times of a change are of one moment, and a call to the clock is a part of its cost."""
    registry.create(NewTask("a", "ada"))
    before = clock.calls
    change(registry)
    assert clock.calls == before + 1


def test_a_change_does_not_look_at_other_tasks() -> None:
    """An update runs the same steps of Python among two thousand tasks as among two; so does an end."""

    def steps(others: int) -> tuple[int, int]:
        registry = MemoryRegistry(max_tasks_per_user=5000)
        for number in range(others):
            registry.create(NewTask(f"t{number}", "ada", ("team",)))
            if number % 2:
                registry.complete(f"t{number}", None)
        registry.create(NewTask("a", "ada", ("team",)))
        return (
            lines_run(lambda: registry.update("a", "On", percent=5.0)),
            lines_run(lambda: registry.complete("a", None)),
        )

    few, many = steps(2), steps(2000)
    assert few[0] == many[0]
    assert abs(few[1] - many[1]) <= 8, "a chunk more or less to split is all that may differ"


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs."""
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    gc.disable()  # finalizers of what other tests have left are no lines of this call
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return lines


def test_removed_ids_are_remembered_within_bounds(registry: MemoryRegistry) -> None:
    """Tens of thousands of removed ids leave no more than a fixed number of entries behind."""
    for number in range(3 * floors._MAX_FLOORS):
        registry.create(NewTask(f"t{number}", "ada"))
        registry.cancel(f"t{number}")
        registry.remove(f"t{number}")
    assert len(registry._floors._ahead) <= floors._MAX_FLOORS


def test_an_empty_registry_keeps_nothing(registry: MemoryRegistry) -> None:
    """When all tasks have left, so have the entries of their users and groups."""
    for number in range(30):
        registry.create(NewTask(f"t{number}", f"user{number % 7}", (f"group{number % 5}",)))
        registry.complete(f"t{number}", None)
    registry.expire(START + 1e6)
    catalogue = registry._catalogue
    kept = (registry._tasks, catalogue.ids, catalogue.unfinished, catalogue._pages, catalogue._shelves, registry._news)
    assert [len(part) for part in kept] == [0] * len(kept)


def test_closing_ends_the_announcements(registry: MemoryRegistry) -> None:
    """Nobody is told anything by what has been closed."""
    told = Told(registry)
    registry.close()
    registry.create(NewTask("a", "ada"))
    assert told.changes == []


# A finalizer in the middle of a change. The clock stands for the garbage collector: it is called with the lock held.


@pytest.fixture
def collector() -> Interrupting:
    return Interrupting()


@pytest.fixture
def interrupted(collector: Interrupting) -> MemoryRegistry:
    """A registry with two tasks whose clock is `collector`."""
    registry = MemoryRegistry(clock=collector)
    for task_id in "ab":
        registry.create(NewTask(task_id, "ada"))
    return registry


def test_a_finalizer_that_ends_another_task_does_not_wedge(
    interrupted: MemoryRegistry, collector: Interrupting
) -> None:
    """Both changes are made, and pages and eviction know of both."""
    collector.what = lambda: interrupted.fail("b", TaskFailure(None, "abandoned", "abandoned"))
    assert interrupted.complete("a", None).status == "completed"
    assert interrupted.unfinished() == []
    assert len(interrupted.expire(START + 1e6)) == 2


def test_a_finalizer_that_changes_the_same_task_is_not_overwritten(
    interrupted: MemoryRegistry, collector: Interrupting
) -> None:
    """The interrupted change is made anew on top of it: no step is lost and no version comes twice."""
    told = Told(interrupted)
    collector.what = lambda: interrupted.update("a", advance=1)
    assert interrupted.update("a", advance=1).progress.current == 2
    collector.what = lambda: interrupted.update("a", advance=1)
    assert interrupted.complete("a", None).progress.current == 3
    versions = [task.version for task, _ in told.changes]
    assert versions == list(range(versions[0], versions[0] + 4))


def test_a_finalizer_that_ends_the_same_task_wins(interrupted: MemoryRegistry, collector: Interrupting) -> None:
    """The end that was stored first stands; the interrupted one learns of it, as from another thread."""
    collector.what = lambda: interrupted.complete("a", b"1")
    assert interrupted.complete("a", b"2").result == 1
    collector.what = lambda: (interrupted.complete("b", None), interrupted.remove("b"))
    with pytest.raises(TaskNotFound):
        interrupted.update("b", "On")


def test_a_finalizer_that_creates_and_lists_finds_its_way(interrupted: MemoryRegistry, collector: Interrupting) -> None:
    """In the middle of a creation the registry is whole for whoever interrupts it."""
    lists: list[list[str]] = []

    def finalizer() -> None:
        interrupted.create(NewTask("d", "ada"))
        interrupted.complete("d", None)
        lists.append(seen_by(interrupted))

    collector.what = finalizer
    interrupted.create(NewTask("c", "ada"))
    assert lists == [["d", "b", "a"]]
    assert set(seen_by(interrupted)) == {"a", "b", "c", "d"}


def test_changes_in_the_middle_of_settling_are_settled(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a finalizer creates, ends and removes while the indexes are being changed is left to that change, in order;
    and who lists meanwhile gets what is there."""
    follow = registry._catalogue.follow
    meanwhile: list[list[str] | None] = []

    def interrupting(known: Task, task: Task | None) -> None:
        if not meanwhile:
            meanwhile.append(None)
            for task_id in "xyz":
                registry.create(NewTask(task_id, "ada"))
            registry.complete("x", None)
            registry.complete("y", None)
            registry.remove("y")
            registry.create(NewTask("y", "ada"))
            meanwhile.append(seen_by(registry))
        follow(known, task)

    monkeypatch.setattr(registry._catalogue, "follow", interrupting)
    registry.create(NewTask("a", "ada"))
    assert meanwhile == [None, []]
    assert set(seen_by(registry)) == {"a", "x", "y", "z"}
    assert [task.task_id for task in registry.unfinished()] == ["a", "z", "y"]
    registry.complete("z", None)
    assert {removed.task_id for removed in registry.expire(START + 1e6)} == {"x", "z"}


def test_the_garbage_collector_may_end_a_task_at_any_step(registry: MemoryRegistry) -> None:
    """A generator in a reference cycle ends its task when it is collected, wherever the registry is at that moment."""

    def work(task_id: str) -> Iterator[None]:
        holder: list[object] = []
        registry.create(NewTask(task_id, "ada"))
        try:
            holder.append(holder)
            yield
        finally:
            registry.fail(task_id, TaskFailure(None, "abandoned", "abandoned"))

    def abandon(task_id: str) -> None:
        cycle: list[object] = [work(task_id)]
        next(cycle[0])  # type: ignore[call-overload]
        cycle.append(cycle)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(300):
            abandon(f"t{number}")
            registry.create(NewTask(f"u{number}", "ada"))
            registry.complete(f"u{number}", None)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert registry.unfinished() == []
    assert len(seen_by(registry)) == 600


# An exception from outside in the middle of a change.


class Interruption(BaseException):
    """Stands for KeyboardInterrupt."""


def is_free(registry: MemoryRegistry) -> bool:
    """Whether another thread gets the lock."""
    thread = threading.Thread(target=registry.unfinished, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


#: Between the step before these and theirs the interpreter does not look for signals; a line tracer does.
UNINTERRUPTED = {"break", "self._release()", "with self._lock:", "self._settling = False"}
if sys.version_info >= (3, 12):
    # What a tracer raises in a comprehension, which is no function of its own since then, may pass over the end of the
    # ``with`` around it. A signal's error does not: 65,000 of them left no lock held.
    UNINTERRUPTED.add("removed = [self._drop(task, now) for task in tasks if self._tasks.get(task.task_id) is task]")


def interrupt_at(line: int, call: Callable[[], object]) -> bool:
    """Raise `Interruption` before the n-th line that a call runs in the registry's files; whether it got that far."""
    here = str(Path(memory.__file__).parent)
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(here):
            return None
        code = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and code not in UNINTERRUPTED:
            count += 1
            if count == line:
                raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize(
    "call",
    [
        lambda registry: registry.create(NewTask("new", "ada", ("team",))),
        lambda registry: registry.update("open", "On", advance=1),
        lambda registry: registry.complete("open", b"1"),
        lambda registry: registry.request_cancel("waits"),
        lambda registry: registry.remove("done"),
        lambda registry: registry.expire(START + 1e6),
        lambda registry: registry.list(user_id="ada", groups=("team",), limit=5),
    ],
)
def test_an_interruption_leaves_the_registry_whole(call: Callable[[MemoryRegistry], object]) -> None:
    """Wherever Ctrl-C strikes, the lock is free afterwards, the change is made or not, and the next call finds pages,
    unfinished tasks and retention in keeping with what is stored."""
    line = 0
    while True:
        line += 1
        registry = MemoryRegistry(clock=Clock())
        for task_id in ("open", "done"):
            registry.create(NewTask(task_id, "ada", ("team",)))
        registry.create(NewTask("waits", "ada", ("team",), status=TaskStatus.PENDING))
        registry.complete("done", None)
        reached = interrupt_at(line, lambda registry=registry: call(registry))  # type: ignore[misc]

        assert is_free(registry), f"the lock is held after line {line}"

        stored = {task.task_id: task for task in registry._tasks.values()}
        assert set(seen_by(registry)) == set(stored)
        open_ids = {task_id for task_id, task in stored.items() if not task.finished}
        assert {task.task_id for task in registry.unfinished()} == open_ids
        for task_id in open_ids:
            registry.complete(task_id, None)
        registry.expire(START + 1e6)
        assert registry._tasks == {}
        assert registry._catalogue.ids == {}
        if not reached:
            assert line > 5
            break


CTRL_C = """
import signal, sys, threading
from realtime.registry.memory import MemoryRegistry
from realtime.task import NewTask

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
registry = MemoryRegistry()
registry.create(NewTask("a", "ada"))
interrupted = 0
for number in range(1500):
    try:
        signal.setitimer(signal.ITIMER_REAL, 20e-6 + (number % 50) * 1e-6)
        for step in range(2000):
            registry.update("a", "On", advance=1)
            registry.create(NewTask(f"{number}-{step}", "ada"))
            registry.complete(f"{number}-{step}", None)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
thread = threading.Thread(target=registry.update, args=("a", "Still on"), daemon=True)
thread.start()
thread.join(20)
print(interrupted, registry.get("a").message)
"""


def test_ctrl_c_leaves_the_lock_free(root: Path) -> None:
    """Real signals at more than a thousand moments of a hot loop, and of ends: another thread can always go on.

    In a process of its own, and not under a tracer, which would be where most of them strike.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", CTRL_C]
    done = subprocess.run(command, cwd=root, env=bare, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    interrupted, message = done.stdout.strip().split(" ", 1)
    assert int(interrupted) > 1000
    assert message == "Still on"


# Forks.


def test_a_forked_child_is_told_that_it_is_not_the_server(registry: MemoryRegistry) -> None:
    """Every change there raises, and says what to do; the parent goes on as before."""
    registry.create(NewTask("a", "ada"))
    registry.create(NewTask("done", "ada"))
    registry.complete("done", None)
    changes: list[Callable[[], object]] = [
        lambda: registry.create(NewTask("b", "ada")),
        lambda: registry.update("a", "On"),
        lambda: registry.start("a"),
        lambda: registry.complete("a", None),
        lambda: registry.fail("a", TaskFailure(None, "no", "failed")),
        lambda: registry.request_cancel("a"),
        lambda: registry.cancel("a"),
        lambda: registry.remove("done"),
        lambda: registry.expire(),
    ]

    def child() -> None:
        for change in changes:
            with pytest.raises(NotTheServer, match=r"REALTIME_REGISTRY.*REALTIME_URL"):
                change()
        task = registry.get("a")
        assert task is not None
        assert task.status == "processing"

    assert in_child(child) == 0
    assert registry.update("a", "On").progress.message == "On"


def test_one_that_cannot_be_told_of_a_fork_keeps_nobody_else(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each store of the process is told, whatever becomes of another."""

    class Broken:
        def after_fork(self) -> None:
            raise OSError("no")

    monkeypatch.setattr(forks, "_guarded", [Broken(), registry])
    registry.create(NewTask("a", "ada"))

    def child() -> None:
        with pytest.raises(NotTheServer):
            registry.update("a", "On")

    assert in_child(child) == 0


def test_a_fork_while_another_thread_holds_the_lock_does_not_wedge_the_child(registry: MemoryRegistry) -> None:
    """The child neither waits for a thread that it does not have, nor trips over what was half done."""
    registry.create(NewTask("a", "ada"))
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with registry._lock:
            held.set()
            let_go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)

    def child() -> None:
        with pytest.raises(NotTheServer):
            registry.update("a", "On")
        registry.adopt()
        registry.create(NewTask("a", "ada"))

    try:
        assert in_child(child) == 0
    finally:
        let_go.set()
        thread.join()


def test_a_child_that_viewers_come_to_begins_anew(registry: MemoryRegistry) -> None:
    """A server that loads the app and then forks: adopted, the registry is empty, has an epoch of its own, and takes
    tasks; adopting once more keeps them."""
    registry.create(NewTask("a", "ada"))
    told, epoch = Told(registry), registry.epoch

    def child() -> None:
        registry.adopt()
        assert registry.epoch != epoch
        assert registry.get("a") is None
        task, _ = registry.create(NewTask("a", "ada"))
        assert task.epoch == registry.epoch
        registry.adopt()
        assert registry.list(user_id="ada", groups=(), limit=5)[0] == [task]
        assert len(told.changes) == 1

    assert in_child(child) == 0
    registry.adopt()
    assert (registry.epoch, seen_by(registry)) == (epoch, ["a"])


def test_a_registry_that_nobody_holds_goes(registry: MemoryRegistry) -> None:
    """That every fork must tell it does not keep it alive: a test suite makes many apps."""
    other = weakref.ref(MemoryRegistry())
    gc.collect()
    assert other() is None
    assert forks._guarded is not None
    assert registry in forks._guarded


def test_the_lock_is_a_native_one() -> None:
    """Taken before anything could have been patched, and one for each registry."""
    locks = [MemoryRegistry()._lock, MemoryRegistry()._lock]
    assert [type(lock) for lock in locks] == [_thread.RLock] * 2
    assert locks[0] is not locks[1]


def test_of_parents_that_are_gone_nothing_is_kept() -> None:
    """Though their parts go on."""
    registry = MemoryRegistry()
    for number in range(3):
        parent, part = f"p{number}", f"a{number}"
        registry.create(NewTask(parent, "ada"))
        registry.create(NewTask(part, "ada", parent_id=parent))
        registry.complete(parent, None)
        registry.remove(parent)
        registry.update(part, percent=50.0)
        registry.complete(part, None)
    assert registry._parents._families == {}
    assert not registry._moved


def test_the_lock_is_not_held_for_all_parts_that_have_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could change a task meanwhile."""
    registry = MemoryRegistry()
    registry.create(NewTask("p", "ada"))
    for number in range(600):
        registry.create(NewTask(f"a{number}", "ada", parent_id="p"))
    for number in range(600):
        registry.update(f"a{number}", percent=50.0)
    noted: list[int] = []
    note = registry._parents.note

    def count(tasks: Any, moved: Any = None) -> bool:
        noted.append(len(moved))
        return note(tasks, moved)

    monkeypatch.setattr(registry._parents, "note", count)
    registry.follow()
    assert noted == [256, 256, 88]
    parent = registry.get("p")
    assert parent is not None
    assert parent.percent == 50.0
