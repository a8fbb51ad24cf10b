"""Who is watched, and what listeners are told of it. The tests are the flusher and the worker, and nothing waits."""

from __future__ import annotations

import random
import threading
from types import SimpleNamespace
from typing import Any

import flask
import pytest

import realtime.demand
import realtime.waiting
from realtime import Realtime, Task, TaskStatus
from realtime.errors import RegistryUnavailable
from realtime.handle import Handle
from realtime.hub import Hub, Viewer
from realtime.waiting import LINGER
from support.watching import HandEvent, House

#: Seconds after which a thread that does not come is given up.
PATIENCE = 30.0


class Desk(House):
    """A house with a listener of which the test is the worker."""

    def __init__(self) -> None:
        super().__init__()
        self.hub.demand._working = True  # so that none is started
        self.calls: list[tuple[str, bool]] = []
        self.hub.demand.listeners.append(lambda task, watched: self.calls.append((task.task_id, watched)))

    def watched(self, task_id: str) -> bool:
        """As the handle says."""
        return Handle(self.operations, task_id).watched

    def turns(self) -> list[tuple[str, bool]]:
        """Flush, tell, and take what the listener was called with."""
        self.hub.flush()
        self.hub.demand.tell()
        calls, self.calls = self.calls, []
        return calls


def sweep(hub: Hub) -> None:
    """As the flusher does about once a second."""
    for callback in hub.on_sweep:
        callback()


@pytest.fixture(name="desk")
def new_desk() -> Desk:
    return Desk()


class TestWatched:
    @pytest.mark.parametrize("door", ["user", "group", "ticket", "subscription"])
    def test_a_viewer_by_any_room_watches(self, desk: Desk, door: str) -> None:
        """Its owner, a member of its groups, the holder of a ticket, and whoever asked for this task; nobody else."""
        desk.operations.create_task("a", "ann", groups=["team"])
        assert not desk.watched("a")
        desk.viewer("bob")
        assert not desk.watched("a")
        if door == "user":
            viewer, _ = desk.viewer("ann")
        elif door == "group":
            viewer, _ = desk.viewer("cleo", groups=["team"])
        elif door == "ticket":
            viewer, _ = desk.viewer(task_ids=["a"])
        else:
            viewer, _ = desk.viewer("dan")
            desk.hub.enter(viewer, ["a"])
        assert desk.watched("a")
        assert desk.operations.watched("a")
        desk.hub.leave(viewer.session)
        assert not desk.watched("a")

    def test_only_a_viewer_that_is_told_and_on_the_screen_watches(self, desk: Desk) -> None:
        """Not before its CONNECT answer, not while it is hidden; once more when it is seen again."""
        desk.operations.create_task("a", "ann")
        viewer, _ = desk.viewer("ann", live=False)
        assert not desk.watched("a")
        desk.hub.hide(viewer, True)
        desk.hub.open(viewer)
        assert not desk.watched("a")
        desk.hub.hide(viewer, False)
        assert desk.watched("a")
        desk.hub.hide(viewer, False)  # said twice, counted once
        desk.hub.hide(viewer, True)
        assert not desk.watched("a")
        desk.hub.hide(viewer, False)
        desk.hub.leave(viewer.session)
        assert not viewer.looks
        desk.hub.hide(viewer, False)  # too late
        assert not desk.watched("a")
        assert desk.hub._rooms.seen == {}

    def test_a_viewer_that_cannot_be_told_does_not_watch(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """As soon as its push has failed, though it is not closed yet."""
        desk.operations.create_task("a", "ann")
        _, outbox = desk.viewer("ann")
        assert desk.watched("a")

        def fail(batch: Any) -> int:
            raise OSError

        monkeypatch.setattr(outbox, "push", fail)
        desk.operations.update_task_progress("a", "more")
        desk.hub.flush()
        assert not desk.watched("a")

    def test_an_ended_or_removed_task_is_not_watched(self, desk: Desk) -> None:
        """Whoever looks at it."""
        desk.viewer("ann")
        desk.operations.create_task("a", "ann")
        assert desk.watched("a")
        desk.operations.complete_task("a")
        assert not desk.watched("a")
        desk.operations.remove_task("a")
        assert not desk.watched("a")

    def test_a_block_does_not_take_anothers_viewers_for_its_own(self, desk: Desk) -> None:
        """Its task has ended and gone, and a new one has its id."""
        desk.viewer("ann")
        desk.operations.create_task("a", "bob")
        with Handle(desk.operations, "a") as handle:
            desk.operations.complete_task("a")
            desk.operations.remove_task("a")
            desk.operations.create_task("a", "ann")
            assert desk.watched("a")
            assert not handle.watched

    def test_where_others_share_the_store_nobody_here_may_be_somebody_there(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then it is not known, and a job leaves nothing out. Listeners hear of this process's viewers."""
        monkeypatch.setattr(type(desk.registry), "reads_wait", True)
        desk.operations.create_task("a", "ann")
        assert desk.operations.watched("a") is None
        assert desk.watched("a")
        assert desk.turns() == []
        viewer, _ = desk.viewer("ann")
        assert desk.operations.watched("a") is True
        assert desk.turns() == [("a", True)]
        desk.hub.leave(viewer.session)
        assert desk.turns() == [("a", False)]
        desk.operations.complete_task("a")
        assert not desk.watched("a")

    def test_a_poller_watches_while_it_waits_and_a_little_longer(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between two polls it does not flicker; one that does not come back is forgotten."""
        now = [1000.0]
        monkeypatch.setattr(realtime.waiting, "time", SimpleNamespace(monotonic=lambda: now[0]))
        desk.operations.create_task("a", "ann")
        assert desk.turns() == []
        during: list[bool] = []

        def unless() -> bool:
            during.append(desk.watched("a"))
            return True

        desk.hub.wait("a", 25.0, unless)
        assert during == [True]
        assert desk.turns() == [("a", True)]
        now[0] += LINGER - 0.1
        desk.hub.wait("a", 25.0, unless)  # it comes back in time
        now[0] += LINGER - 0.1
        sweep(desk.hub)
        assert desk.watched("a")
        assert desk.turns() == []
        now[0] += 0.2
        assert not desk.watched("a")
        sweep(desk.hub)
        assert desk.turns() == [("a", False)]
        assert desk.hub.waiting._until == {}

    def test_pollers_of_a_removed_task_do_not_watch_the_next_of_its_id(self, desk: Desk) -> None:
        """It may be somebody else's."""
        desk.operations.create_task("a", "ann")
        desk.hub.wait("a", 25.0, lambda: True)
        desk.operations.complete_task("a")
        desk.operations.remove_task("a")
        desk.hub.flush()
        desk.operations.create_task("a", "bob")
        assert not desk.watched("a")


class TestListeners:
    def test_turns_are_told_once_each(self, desk: Desk) -> None:
        """First look, second look, one goes, both go."""
        desk.operations.create_task("a", "ann")
        desk.operations.create_task("b", "bob")
        assert desk.turns() == []
        first, _ = desk.viewer("ann")
        second, _ = desk.viewer("ann")
        assert desk.turns() == [("a", True)]
        desk.hub.hide(first, True)
        assert desk.turns() == []
        desk.hub.leave(second.session)
        assert desk.turns() == [("a", False)]

    def test_new_and_ended_tasks_of_a_watched_room(self, desk: Desk) -> None:
        """A task is watched from its creation, and by its end nobody watches it, with the snapshot of the end."""
        seen: list[TaskStatus] = []
        desk.hub.demand.listeners.append(lambda task, watched: seen.append(task.status))
        desk.viewer("ann")
        desk.operations.create_task("a", "ann")
        assert desk.turns() == [("a", True)]
        desk.operations.update_task_progress("a", "more")
        assert desk.turns() == []
        desk.operations.complete_task("a")
        assert desk.turns() == [("a", False)]
        desk.operations.remove_task("a")
        assert desk.turns() == []
        assert seen == [TaskStatus.PROCESSING, TaskStatus.COMPLETED]

    def test_a_new_task_of_the_same_id_is_another_one(self, desk: Desk) -> None:
        """The end of the first is told before the second, though the worker has seen neither end nor removal."""
        desk.viewer("ann")
        desk.operations.create_task("a", "ann", name="first")
        assert desk.turns() == [("a", True)]
        names: list[tuple[str | None, bool]] = []
        desk.hub.demand.listeners[0] = lambda task, watched: names.append((task.info.name, watched))
        desk.operations.complete_task("a")
        desk.operations.remove_task("a")
        desk.operations.create_task("a", "ann", name="second")
        desk.turns()
        assert names == [("first", False), ("second", True)]

    def test_a_task_that_came_and_went_between_two_looks_is_not_told(self, desk: Desk) -> None:
        """Nobody was told that it is watched, so nobody is told that it is not."""
        desk.viewer("ann")
        desk.operations.create_task("a", "ann")
        desk.operations.complete_task("a")
        assert desk.turns() == []

    def test_all_tasks_of_a_room_turn(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many pages of them there are; those that have ended do not."""
        monkeypatch.setattr(realtime.demand, "_PAGE", 3)
        for number in range(8):
            desk.operations.create_task(f"t{number}", "ann")
        desk.operations.complete_task("t4")
        desk.turns()
        desk.viewer("ann")
        assert sorted(desk.turns()) == [(f"t{number}", True) for number in range(8) if number != 4]

    def test_a_late_listener_is_told_what_is_watched(self, desk: Desk) -> None:
        """And the others are not told again."""
        desk.operations.create_task("a", "ann")
        desk.operations.create_task("b", "bob")
        desk.viewer("ann")
        assert desk.turns() == [("a", True)]
        late: list[tuple[str, bool]] = []
        desk.hub.demand.listeners.append(lambda task, watched: late.append((task.task_id, watched)))
        desk.hub.demand.renew()
        assert desk.turns() == []
        assert late == [("a", True)]

    def test_a_failing_listener_stops_nobody(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """What it raises, even SystemExit, is logged with the task's id; the next listener and task are told."""

        def fail(task: Task, watched: bool) -> None:
            raise SystemExit if task.task_id == "a" else LookupError

        desk.hub.demand.listeners.insert(0, fail)
        desk.viewer("ann")
        desk.operations.create_task("a", "ann")
        desk.operations.create_task("b", "ann")
        assert sorted(desk.turns()) == [("a", True), ("b", True)]
        assert sorted(record.getMessage() for record in caplog.records) == [
            f"A listener of on_watch failed for the task {task_id}." for task_id in ("a", "b")
        ]

    def test_what_could_not_be_read_is_told_later(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store that is away for a moment loses no turn."""
        desk.operations.create_task("a", "ann")
        desk.turns()
        desk.viewer("ann")

        def fail(**_: Any) -> Any:
            raise RegistryUnavailable("away")

        with monkeypatch.context() as patch:
            patch.setattr(desk.registry, "list", fail)
            assert desk.turns() == []
        event = desk.hub.demand._event
        assert event is not None
        event.clear()
        sweep(desk.hub)
        assert event.wait(0.0)
        assert desk.turns() == [("a", True)]
        event.clear()
        sweep(desk.hub)
        assert not event.wait(0.0)

    def test_a_turn_during_a_look_is_not_lost(self, desk: Desk) -> None:
        """A note is taken before the state is read: what turns after that is noted again."""
        desk.operations.create_task("a", "ann")
        desk.turns()
        viewer, _ = desk.viewer("ann")
        desk.hub.demand.listeners.append(
            lambda task, watched: desk.hub.hide(viewer, True) if watched else None,
        )
        assert desk.turns() == [("a", True)]
        assert desk.turns() == [("a", False)]

    def test_when_the_hub_stops_nothing_is_watched(self, desk: Desk) -> None:
        """Nobody will be told of it any more. An end that the hub has not heard of is told too."""
        desk.viewer("ann")
        for name in ("a", "b"):
            desk.operations.create_task(name, "ann")
        assert sorted(desk.turns()) == [("a", True), ("b", True)]
        desk.hub.stop()
        assert not desk.watched("a")
        desk.operations.complete_task("b")
        desk.hub._run()
        desk.hub.demand.tell()
        assert sorted(desk.calls) == [("a", False), ("b", False)]

    def test_without_listeners_nothing_is_noted_and_nothing_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No note, no thread, no event set."""
        started: list[Any] = []
        monkeypatch.setattr(threading, "Thread", lambda **how: started.append(how))
        house = House()
        house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.complete_task("a")
        house.hub.flush()
        assert house.hub.demand._noted == {}
        assert started == []


class TestWorker:
    def test_a_native_thread_tells_it(self) -> None:
        """In a process that is not patched; it ends with the hub, having told what was noted."""
        app = flask.Flask("watched")
        rt = Realtime()
        news = threading.Condition()
        calls: list[tuple[str, bool, str, str]] = []

        @rt.on_watch
        def note(task: Task, watched: bool) -> None:
            with news:
                calls.append((task.task_id, watched, flask.current_app.name, threading.current_thread().name))
                news.notify_all()

        app.config["SECRET_KEY"] = "k" * 32
        rt.init_app(app)
        assert rt.hub.demand._event is None
        assert not [thread for thread in threading.enumerate() if thread.name == "realtime-watch"]
        try:
            rt.create_task("a", "ann")
            rt.hub.wait("a", 0.0, lambda: True)
            with news:
                assert news.wait_for(lambda: len(calls) == 1, PATIENCE)
            rt.complete_task("a")
            with news:
                assert news.wait_for(lambda: len(calls) == 2, PATIENCE)
            rt.create_task("b", "ann")
            rt.hub.wait("b", 0.0, lambda: True)
            with news:
                assert news.wait_for(lambda: len(calls) == 3, PATIENCE)
        finally:
            rt.stop()
        assert calls == [  # `stop` has waited for the last one
            (task_id, watched, "watched", "realtime-watch") for task_id in ("a", "b") for watched in (True, False)
        ]
        assert rt.hub.demand.over
        for thread in threading.enumerate():
            if thread.name == "realtime-watch":
                thread.join(PATIENCE)
                assert not thread.is_alive()

    def test_without_a_thread_it_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A system that has no thread left for it keeps nobody from joining; a later sweep finds one."""
        house = House()
        house.operations.create_task("a", "ann")
        told = threading.Event()
        house.hub.demand.listeners.append(lambda task, watched: told.set())

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            house.hub.demand.renew()
        assert [record.getMessage() for record in caplog.records] == [
            "The worker of on_watch could not be started; it is tried again."
        ]
        house.viewer("ann")
        sweep(house.hub)
        assert told.wait(PATIENCE)
        house.hub.demand.stop()

    def test_in_a_patched_process_it_is_a_green_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """There native threads are none: the worker is spawned as the flusher is, with an event of its kind."""
        monkeypatch.setattr(realtime.demand, "patched_mode", lambda: "eventlet")
        house = House()
        assert isinstance(house.hub.demand._event, HandEvent)
        assert [name for name, _ in house.concurrency.spawned] == ["realtime-flusher"]
        calls: list[bool] = []
        house.hub.demand.listeners.append(lambda task, watched: calls.append(watched))
        house.hub.demand.renew()
        house.hub.demand.renew()  # one worker for all listeners
        assert [name for name, _ in house.concurrency.spawned] == ["realtime-flusher", "realtime-watch"]
        house.operations.create_task("a", "ann")
        house.viewer("ann")
        house.hub.demand.stop()
        house.concurrency.spawned[1][1]()
        assert calls == [True]


class Model:
    """Who watches what, said as plainly as can be."""

    def __init__(self) -> None:
        self.viewers: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, tuple[str, tuple[str, ...]]] = {}

    def watched(self, task_id: str) -> bool:
        if task_id not in self.tasks:
            return False
        owner, groups = self.tasks[task_id]
        return any(
            viewer["live"]
            and not viewer["hidden"]
            and (viewer["user"] == owner or task_id in viewer["entered"] or set(groups) & set(viewer["groups"]))
            for viewer in self.viewers.values()
        )


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_agree_with_the_model(seed: int) -> None:
    """Viewers come, open, hide, enter, exit and leave; tasks come and end. After each step ``watched`` is what the
    model says, each listener's calls alternate, and the last of them says how it is.
    """
    chance = random.Random(seed)
    desk, model = Desk(), Model()
    viewers: dict[str, Viewer] = {}
    told: dict[str, bool] = {}
    users, groups, ids = ["ann", "bob"], ["red", "blue"], [f"t{number}" for number in range(6)]

    def step() -> None:
        action = chance.choice(["join", "open", "hide", "hide", "enter", "exit", "leave", "create", "create", "end"])
        session = chance.choice(sorted(viewers)) if viewers else None
        task_id = chance.choice(ids)
        if action == "join" and len(viewers) < 5:
            user, some = chance.choice(users), chance.sample(groups, chance.randrange(2))
            viewer, _ = desk.viewer(user, groups=some, live=False)
            viewers[viewer.session] = viewer
            model.viewers[viewer.session] = {
                "user": user, "groups": some, "entered": set(), "live": False, "hidden": False,
            }  # fmt: skip
        elif action == "create" and task_id not in model.tasks:
            if desk.registry.get(task_id) is not None:
                desk.operations.remove_task(task_id)
                desk.hub.flush()
                for seen in model.viewers.values():  # a removal takes them out of the task's room
                    seen["entered"].discard(task_id)
            model.tasks[task_id] = (chance.choice(users), tuple(chance.sample(groups, chance.randrange(2))))
            desk.operations.create_task(task_id, model.tasks[task_id][0], groups=model.tasks[task_id][1])
        elif action == "end" and task_id in model.tasks:
            del model.tasks[task_id]
            desk.operations.complete_task(task_id)
        elif session is not None:
            viewer, seen = viewers[session], model.viewers[session]
            if action == "open":
                desk.hub.open(viewer)
                seen["live"] = True
            elif action == "hide":
                seen["hidden"] = chance.random() < 0.5
                desk.hub.hide(viewer, seen["hidden"])
            elif action == "enter":
                desk.hub.enter(viewer, [task_id])
                seen["entered"].add(task_id)
            elif action == "exit":
                desk.hub.exit(viewer, [task_id])
                seen["entered"].discard(task_id)
            elif action == "leave":
                desk.hub.leave(session)
                del viewers[session], model.viewers[session]

    for _ in range(300):
        step()
        assert {task_id: desk.watched(task_id) for task_id in ids} == {
            task_id: model.watched(task_id) for task_id in ids
        }
        if chance.random() < 0.5:
            for task_id, watched in desk.turns():
                assert told.get(task_id, False) != watched
                told[task_id] = watched
            assert {task_id: told.get(task_id, False) for task_id in ids} == {
                task_id: model.watched(task_id) for task_id in ids
            }
    for viewer in list(viewers.values()):
        desk.hub.leave(viewer.session)
    assert desk.hub._rooms.seen == {}
