"""The hub: who is told what, when, and how often. The tests are the flusher, and nothing waits."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

import realtime.flush
import realtime.hub
import realtime.pacing
import realtime.waiting
from realtime.config import Config
from realtime.errors import LimitReached
from realtime.hub import Hub, Viewer
from realtime.protocol import MAX_FLUSH_BYTES, MAX_POLLED_PACKETS
from realtime.registry.memory import MemoryRegistry
from realtime.task import Task
from support.clock import START, Clock
from support.watching import HandOutbox, House


@pytest.fixture(name="house")
def new_house() -> House:
    return House()


def names(news: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """Event and task id of each packet."""
    return [(event, payload["task_id"]) for event, payload in news]


def version(house: House, task_id: str) -> int:
    """The version of a task as it is now."""
    task = house.registry.get(task_id)
    assert task is not None
    return task.version


class TestParents:
    def test_a_parent_goes_with_its_parts(self, house: House) -> None:
        """In the same flush, however far down they are; and it waits for no other change."""
        house.operations.create_task("p", "ann")
        house.operations.create_task("a", "ann", parent_id="p")
        house.operations.create_task("b", "ann", parent_id="a")
        _, outbox = house.viewer("ann")
        house.hub.flush()
        outbox.take()
        house.operations.update_task_progress("b", 40)
        house.hub.flush()
        news = {payload["task_id"]: payload["progress"]["percent"] for _, payload in outbox.take()}
        assert news == {"p": 40, "a": 40, "b": 40}

    def test_a_part_that_moves_while_marks_are_taken_takes_its_parent_along(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its own mark is taken, and nothing else would wake the flusher for the parent."""
        house.operations.create_task("p", "ann")
        house.operations.create_task("a", "ann", parent_id="p")
        house.operations.create_task("other", "ann")
        _, outbox = house.viewer("ann")
        house.hub.flush()
        outbox.take()

        def late(*args: Any) -> Any:
            house.operations.update_task_progress("a", 40)
            return realtime.flush.Flush(*args)

        with monkeypatch.context() as patch:
            patch.setattr(realtime.hub, "Flush", late)
            house.hub.flush()
        assert [task_id for _, task_id in names(outbox.take())] == ["a"]
        assert house.hub._wanted
        house.hub.flush()
        assert [payload["progress"]["percent"] for _, payload in outbox.take()] == [40]


class TestJoining:
    def test_a_viewer_that_is_not_open_is_told_nothing(self, house: House) -> None:
        """Pushes wait until the CONNECT answer is written."""
        viewer, outbox = house.viewer("ann", live=False)
        house.operations.create_task("a", "ann")
        house.hub.flush()
        assert outbox.take() == []
        house.hub.open(viewer)
        house.hub.flush()
        assert [task_id for _, task_id in names(outbox.take())] == ["a"]

    def test_join_then_read_loses_nothing(self, house: House) -> None:
        """What changes between the join and the end of the first snapshot is told after it, in its newest state."""
        house.operations.create_task("a", "ann")
        house.operations.create_task("b", "ann")
        house.hub.flush()
        viewer, outbox = house.viewer("ann", live=False)
        house.operations.update_task_progress("a", "after the join")
        house.hub.flush()  # the flusher may come in between
        house.operations.update_task_progress("b", "after the read")
        house.hub.open(viewer)
        house.hub.flush()
        news = {payload["task_id"]: payload["progress"]["message"] for _, payload in outbox.take()}
        assert news == {"a": "after the join", "b": "after the read"}

    def test_what_the_first_snapshot_had_no_room_for_follows(self, house: House) -> None:
        """Owed tasks are pushed, though they have not changed."""
        house.operations.create_task("a", "ann")
        house.hub.flush()
        viewer, outbox = house.viewer("ann", live=False)
        house.hub.open(viewer, ["a"])
        house.hub.flush()
        assert names(outbox.take()) == [("task_progress", "a")]

    def test_opening_wakes_the_flusher_for_what_is_owed(self, house: House) -> None:
        """A viewer that is owed something does not wait for the next change of anything."""
        house.operations.create_task("a", "ann")
        house.hub.flush()
        viewer, _ = house.viewer("ann", live=False)
        house.hub._awake = house.hub._wanted = False
        before = house.concurrency.events[0].sets
        house.hub.open(viewer, ["a"])
        assert house.concurrency.events[0].sets == before + 1

    def test_a_viewer_that_left_before_it_was_opened_stays_away(self, house: House) -> None:
        """A connection that died in its own handshake leaves no callback behind."""
        viewer, outbox = house.viewer("ann", live=False)
        house.hub.leave(viewer.session)
        house.hub.open(viewer, ["a"])
        assert (viewer.live, outbox.on_ready, outbox.on_overflow) == (False, None, None)

    @pytest.mark.parametrize(
        ("limits", "setting"),
        [
            ({"per_user": 2, "per_address": 9, "in_all": 9}, "REALTIME_MAX_VIEWERS_PER_USER"),
            ({"per_user": 9, "per_address": 2, "in_all": 9}, "REALTIME_MAX_VIEWERS_PER_ADDRESS"),
            ({"per_user": 9, "per_address": 9, "in_all": 2}, r"REALTIME_MAX_VIEWERS\)"),
        ],
    )
    def test_each_limit_refuses_the_third_and_changes_nothing(
        self, house: House, limits: dict[str, int], setting: str
    ) -> None:
        """Viewers are bounded per user, per address and in all; the refusal names the setting."""
        house.viewer("ann")
        house.viewer("ann")
        rooms = {room: list(members) for room, members in house.hub._rooms.items()}
        third = Viewer("s9", "c9", house.hub.viewers["s1"].grant, "10.0.0.1", HandOutbox())
        with pytest.raises(LimitReached, match=setting):
            house.hub.join(third, **limits)
        assert list(house.hub.viewers) == ["s1", "s2"]
        assert {room: list(members) for room, members in house.hub._rooms.items()} == rooms
        house.hub.join(third, per_user=3, per_address=3, in_all=3)

    def test_other_users_and_addresses_do_not_count(self, house: House) -> None:
        """The bound of one user is not that of another, nor is that of an address."""
        house.viewer("ann", address="10.0.0.1")
        viewer = Viewer("s9", "c9", house.viewer("bob")[0].grant, "10.0.0.2", HandOutbox())
        house.hub.leave("s2")
        house.hub.join(viewer, per_user=1, per_address=1, in_all=9)
        assert "s9" in house.hub.viewers

    def test_viewers_without_a_user_are_not_one_user(self, house: House) -> None:
        """Holders of tickets for one task are bounded by their addresses, not as if they were the same person."""
        grant = house.viewer(task_ids=["a"])[0].grant
        second = Viewer("s9", "c9", grant, "10.0.0.1", HandOutbox())
        house.hub.join(second, per_user=1, per_address=9, in_all=9)
        assert len(house.hub.in_room("task:a")) == 2

    def test_leaving_forgets_everything(self, house: House) -> None:
        """No room, no debt and no callback of a viewer that has left."""
        viewer, outbox = house.viewer("ann", groups=["team"], task_ids=["t"])
        house.hub.enter(viewer, ["a", "b"])
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.update_task_progress("a", "more")
        house.hub.flush()  # the first flush is still in flight: it is behind now
        assert house.hub.leave(viewer.session) is viewer
        assert house.hub._rooms == {}
        assert house.hub.viewers == {}
        assert house.hub._behind == {}
        assert (viewer.live, viewer.dirty, outbox.on_ready) == (False, {}, None)
        assert house.hub.leave(viewer.session) is None

    def test_rooms_are_entered_and_left_one_by_one(self, house: House) -> None:
        """Who unsubscribes is told no more; who has left cannot enter."""
        viewer, outbox = house.viewer("bob", groups=())
        house.operations.create_task("a", "ann", groups=["team"])
        house.hub.flush()
        outsider, silent = house.viewer("eve", task_ids=["a"])
        house.hub.exit(outsider, ["a"])
        house.operations.update_task_progress("a", "more")
        house.hub.flush()
        assert (outbox.take(), silent.take()) == ([], [])
        house.hub.leave(viewer.session)
        house.hub.enter(viewer, ["a"])
        assert house.hub.in_room("task:a") == []

    def test_a_room_is_listed(self, house: House) -> None:
        """`in_room` names the viewers of a room and of no other."""
        ann, _ = house.viewer("ann")
        house.viewer("bob")
        assert house.hub.in_room("user:ann") == [ann]


class TestTelling:
    def test_one_encoding_for_all_viewers_and_rooms(self, house: House) -> None:
        """A task is encoded once in a flush, whatever the number of viewers, and each viewer gets one copy."""
        outboxes = [house.viewer("ann")[1] for _ in range(5)]
        outboxes += [house.viewer("bob", groups=["red", "blue"])[1] for _ in range(5)]
        everywhere, outbox = house.viewer("ann", groups=["red", "blue"], task_ids=["a"])
        house.hub.enter(everywhere, ["a"])
        house.operations.create_task("a", "ann", groups=["red", "blue"])
        house.hub.flush()
        assert house.hub.encodes == 1
        assert (house.hub.pushes, house.hub.flushes) == (11, 1)
        for each in (*outboxes, outbox):
            assert names(each.take()) == [("task_created", "a")]
        house.operations.update_task_progress("a", "more")
        house.hub.flush()
        assert house.hub.encodes == 2

    def test_a_flush_is_one_hand_over_to_each_viewer(self, house: House) -> None:
        """All of a viewer's dirty tasks go together."""
        _, outbox = house.viewer("ann")
        for task_id in "abc":
            house.operations.create_task(task_id, "ann")
        house.hub.flush()
        assert [len(flush) for flush in outbox.flushes] == [3]
        assert (house.hub.pushes, house.hub.flushes) == (3, 1)

    def test_tasks_of_others_are_not_told(self, house: House) -> None:
        """Only owner, group members and ticket holders hear of a task."""
        seen = {
            "owner": house.viewer("ann"),
            "member": house.viewer("bob", groups=["team"]),
            "ticket": house.viewer(task_ids=["a"]),
            "stranger": house.viewer("eve", groups=["other"], task_ids=["b"]),
        }
        house.operations.create_task("a", "ann", groups=["team"])
        house.hub.flush()
        assert {who for who, (_, outbox) in seen.items() if outbox.take()} == {"owner", "member", "ticket"}

    def test_between_two_flushes_only_the_newest_state_waits(self, house: House) -> None:
        """A hundred updates make one packet."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        outbox.take()
        for step in range(100):
            house.operations.update_task_progress("a", percent=step)
        house.hub.flush()
        [(event, payload)] = outbox.take()
        assert (event, payload["version"]) == ("task_progress", version(house, "a"))

    def test_a_busy_viewer_keeps_ids_and_gets_the_newest_later(self, house: House) -> None:
        """While a flush is in flight nothing is encoded for the viewer; then it gets one packet of each task."""
        viewer, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        for step in range(3):
            house.operations.update_task_progress("a", percent=step)
            house.hub.flush()
        assert (house.hub.encodes, viewer.dirty, len(outbox.flushes)) == (1, {"a": None}, 1)
        assert names(outbox.take()) == [("task_created", "a")]
        house.hub.flush()
        [(_, payload)] = outbox.take()
        assert payload["version"] == version(house, "a")
        assert (viewer.dirty, house.hub._behind) == ({}, {})

    def test_a_slow_viewer_does_not_hold_up_another(self, house: House) -> None:
        """Each viewer is written to as it can take it."""
        house.viewer("ann")
        _, quick = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        quick.take()
        house.operations.update_task_progress("a", "more")
        house.hub.flush()
        assert names(quick.take()) == [("task_progress", "a")]

    @pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
    def test_the_event_is_named_after_what_happened(self, house: House, status: str) -> None:
        """First created, then progress, then the end by its own name."""
        _, outbox = house.viewer("ann")
        ends: dict[str, Callable[[], Task]] = {
            "completed": lambda: house.operations.complete_task("a"),
            "failed": lambda: house.operations.fail_task("a", "no"),
            "cancelled": lambda: house.operations.cancel_task("a", done=True),
        }
        changes: list[Callable[[], Task]] = [
            lambda: house.operations.create_task("a", "ann"),
            lambda: house.operations.update_task_progress("a", 1),
            ends[status],
        ]
        events = []
        for change in changes:
            change()
            house.hub.flush()
            events += [event for event, _ in outbox.take()]
        assert events == ["task_created", "task_progress", f"task_{status}"]

    def test_a_task_that_was_changed_at_once_is_still_created(self, house: House) -> None:
        """The first version that a room is told of is `task_created`, also when an update came before the flush."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.update_task_progress("a", "more")
        house.hub.flush()
        assert names(outbox.take()) == [("task_created", "a")]

    def test_an_end_has_its_own_name_even_when_it_is_all_there_is(self, house: House) -> None:
        """Created and completed between two flushes: the viewer hears of the end."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a", {"rows": 3})
        house.hub.flush()
        [(event, payload)] = outbox.take()
        assert (event, payload["result"]) == ("task_completed", {"rows": 3})

    def test_nothing_is_noted_before_anybody_came(self) -> None:
        """Without a viewer or a waiter the hub keeps no marks: nobody would take them away."""
        registry = MemoryRegistry()
        house = House(registry=registry)
        idle = Hub(registry, house.concurrency, flush_interval=0.05, viewer_timeout=30.0)
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.operations.remove_task("a")
        assert (idle._dirty, idle._removed) == ({}, {})

    def test_of_many_updates_between_two_flushes_the_hub_is_told_of_one(self, house: House) -> None:
        """The others find the task noted. After the flush has taken it, the next one is told of again."""
        _, outbox = house.viewer("ann")
        told: list[int] = []
        mark = house.registry.on_change
        assert mark is not None

        def count(task: Task, created: bool) -> None:
            told.append(task.version - first)
            mark(task, created)

        first = house.operations.create_task("a", "ann").version
        house.hub.flush()
        outbox.take()
        house.registry.on_change = count
        for _ in range(2):
            for number in range(5):
                house.operations.update_task_progress("a", f"step {number}")
            house.operations.update_many([("a", "step 5"), ("a", "step 6")])
            house.hub.flush()
            [(_, payload)] = outbox.take()
            assert payload["progress"]["message"] == "step 6"
        house.operations.update_task_progress("a", "the last")
        house.operations.complete_task("a")
        assert told == [1, 8, 15, 16]

    def test_a_failing_flush_keeps_what_was_dirty(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """While tasks cannot be read nothing is told, and then all of it is; nobody's news are lost."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")

        def fail(*_: Any) -> Any:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(realtime.flush.Flush, "give", fail)
            with pytest.raises(RuntimeError):
                house.hub.flush()
        house.hub.flush()
        assert [task_id for _, task_id in names(outbox.take())] == ["a"]

    def test_a_task_that_cannot_be_encoded_keeps_nobody_elses_from_being_told(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is left out and logged once with its id; its next change is told if that can be encoded."""
        _, ann = house.viewer("ann")
        _, bob = house.viewer("bob")
        make = house.hub.make_frame

        def fail(event: str, payload: bytes) -> Any:
            if b'"broken"' in payload:
                raise RuntimeError("no frame")
            return make(event, payload)

        house.hub.make_frame = fail
        house.operations.create_task("broken", "ann")
        house.operations.create_task("a", "ann")
        house.operations.create_task("b", "bob")
        house.hub.flush()
        assert [task_id for _, task_id in names(ann.take())] == ["a"]
        assert [task_id for _, task_id in names(bob.take())] == ["b"]
        assert not house.hub.owing()
        house.operations.update_task_progress("broken", "again")
        house.hub.flush()
        assert ann.take() == []
        assert [record.getMessage() for record in caplog.records] == [
            "The task broken or its output could not be encoded; it is left out."
        ]
        assert caplog.records[0].exc_info
        tried: list[str] = []

        def note(event: str, payload: bytes) -> Any:
            tried.append(event)
            return fail(event, payload)

        house.hub.make_frame = note
        house.viewer("ann")
        house.operations.update_task_progress("broken", "and again")
        house.hub.flush()
        assert tried == ["task_progress"]  # once for both viewers
        house.hub.make_frame = make
        house.operations.complete_task("broken")
        house.hub.flush()
        assert names(ann.take()) == [("task_completed", "broken")]

    def test_a_viewer_that_cannot_be_closed_keeps_no_other_open(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each of those that take nothing is closed, whatever closing the one before it raises."""
        stuck = []
        for _ in range(3):
            viewer, outbox = house.viewer("ann")
            outbox.busy_since = time.monotonic() - 60.0
            stuck.append(viewer)
        closed: list[Viewer] = []

        def close(viewer: Viewer, reason: str) -> None:
            closed.append(viewer)
            raise OSError("its connection")

        house.hub.close_viewer = close
        house.operations.create_task("a", "ann")
        assert house.hub.flush()
        assert closed == stuck
        assert len([record for record in caplog.records if record.exc_info]) == 3


class TestBounds:
    def test_a_flush_has_at_most_64_kib_and_the_oldest_go_first(self, house: House) -> None:
        """The rest waits in order; all of it arrives."""
        _, outbox = house.viewer("ann")
        ids = [f"t{number:02d}" for number in range(30)]
        for task_id in ids:
            house.operations.create_task(task_id, "ann", metadata={"fill": "x" * 10_000})
        house.operations.create_task("tiny", "ann")  # would fit into the first flush, but it is not its turn
        ids.append("tiny")
        house.hub.flush()
        house.operations.update_task_progress(ids[-1], "no reason to jump the queue")
        arrived: list[str] = []
        while outbox.flushes:
            arrived += [task_id for _, task_id in names(outbox.take())]
            if len(arrived) < len(ids):
                house.hub.flush()
        assert arrived == ids
        assert max(outbox.sizes) <= MAX_FLUSH_BYTES
        assert min(outbox.sizes[:-1]) > MAX_FLUSH_BYTES - 11_000

    def test_the_frame_around_a_payload_is_counted(self, house: House) -> None:
        """Small payloads do not add up to a bigger flush by their envelopes."""
        _, outbox = house.viewer("ann")
        for number in range(200):
            house.operations.create_task(f"t{number}", "ann", message=None)
        house.hub.flush()
        count = len(outbox.flushes[0])
        assert count < 200
        assert outbox.sizes[0] <= MAX_FLUSH_BYTES

    def test_a_packet_of_more_than_64_kib_goes_alone(self, house: House) -> None:
        """What exceeds the bound by itself still arrives."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("small", "ann")
        house.operations.create_task("big", "ann", metadata={"fill": "x" * 15_000})
        real = Task.encode_push

        def bloated(task: Task) -> bytes:
            text = real(task)
            return text if task.task_id == "small" else text[:-1] + b',"more":"' + b"x" * MAX_FLUSH_BYTES + b'"}'

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Task, "encode_push", bloated)
            house.hub.flush()
            assert names(outbox.take()) == [("task_created", "small")]
            house.hub.flush()
            assert names(outbox.take()) == [("task_progress", "big")]

    def test_a_long_poll_gets_ten_packets(self, house: House) -> None:
        """More in one response would disconnect python-socketio's client; a WebSocket gets all at once."""
        _, outbox = house.viewer("ann")
        _, websocket = house.viewer("ann")
        outbox.polling = True
        for number in range(25):
            house.operations.create_task(f"t{number}", "ann")
        counts = []
        for _ in range(3):
            house.hub.flush()
            counts.append(len(outbox.take()))
        assert counts == [MAX_POLLED_PACKETS, MAX_POLLED_PACKETS, 5]
        assert [len(flush) for flush in websocket.flushes] == [25]

    def test_a_hidden_page_is_told_of_ends_only(self, house: House) -> None:
        """It gets what it missed, in its newest state, when it is seen again."""
        viewer, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.create_task("b", "ann")
        house.hub.flush()
        outbox.take()
        house.hub.hide(viewer, True)
        house.operations.update_task_progress("a", "unseen")
        house.operations.update_task_progress("a", "unseen too")
        house.operations.complete_task("b")
        house.hub.flush()
        assert names(outbox.take()) == [("task_completed", "b")]
        house.hub.flush()
        assert outbox.take() == []
        house.hub._awake = house.hub._wanted = False
        before = house.concurrency.events[0].sets
        house.hub.hide(viewer, False)
        assert house.concurrency.events[0].sets == before + 1
        house.hub.flush()
        [(_, payload)] = outbox.take()
        assert payload["progress"]["message"] == "unseen too"

    def test_a_hidden_page_hears_of_a_removal(self, house: House) -> None:
        """A removal is an end too, and a new task of somebody else under the id does not change that."""
        viewer, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.hub.flush()
        outbox.take()
        house.hub.hide(viewer, True)
        house.operations.remove_task("a")
        house.operations.create_task("a", "eve")
        house.hub.flush()
        assert names(outbox.take()) == [("task_removed", "a")]


class TestRemoval:
    def test_it_is_announced_to_everyone_who_saw_the_task(self, house: House) -> None:
        """Owner, group members and subscribers are told, with a version above all that the task had."""
        outboxes = [
            house.viewer("ann")[1], house.viewer("bob", groups=["team"])[1], house.viewer(task_ids=["a"])[1]
        ]  # fmt: skip
        house.operations.create_task("a", "ann", groups=["team"])
        last = house.operations.complete_task("a").version
        house.hub.flush()
        for outbox in outboxes:
            outbox.take()
        house.hub._awake = house.hub._wanted = False
        before = house.concurrency.events[0].sets
        house.operations.remove_task("a")
        assert house.concurrency.events[0].sets == before + 1
        house.hub.flush()
        for outbox in outboxes:
            assert outbox.take() == [
                ("task_removed", {"task_id": "a", "epoch": house.registry.epoch, "version": last + 1})
            ]

    def test_a_removal_takes_the_place_of_what_a_slow_viewer_is_owed(self, house: House) -> None:
        """There is no snapshot any more; that it is gone is told."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.complete_task("a")
        house.hub.flush()
        house.operations.remove_task("a")
        house.hub.flush()
        outbox.take()
        house.hub.flush()
        assert names(outbox.take()) == [("task_removed", "a")]

    def test_a_task_made_and_removed_between_two_flushes_is_told_as_removed(self, house: House) -> None:
        """Whoever saw its answer to a request hears that it is gone."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.operations.remove_task("a")
        house.hub.flush()
        assert names(outbox.take()) == [("task_removed", "a")]

    @pytest.mark.parametrize("flush_between", [False, True])
    def test_an_id_that_comes_back_is_told_with_a_higher_version(self, house: House, flush_between: bool) -> None:
        """Re-creation after removal: the owner ends with the new task, however the flushes fall."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.hub.flush()
        last = outbox.take()[-1][1]["version"]
        removed = house.operations.remove_task("a")
        if flush_between:
            house.hub.flush()
            [(event, payload)] = outbox.take()
            assert (event, payload["version"]) == ("task_removed", removed.version)
            last = payload["version"]
        house.operations.create_task("a", "ann")
        house.hub.flush()
        [(event, payload)] = outbox.take()
        assert (event, payload["status"]) == ("task_created", "processing")
        assert payload["version"] > last

    def test_an_announcement_that_comes_late_takes_nothing_back(self, house: House) -> None:
        """Announcements may come in another order than the changes: the newest state is what is told."""
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.registry.on_remove = None
        removed = house.operations.remove_task("a")
        house.operations.create_task("a", "ann", message="again")
        house.hub.flush()
        outbox.take()
        house.hub.mark_removed(removed)
        house.hub.flush()
        assert [payload["progress"]["message"] for _, payload in outbox.take()] == ["again"]

    @pytest.mark.parametrize("busy", [False, True])
    def test_an_id_that_comes_back_as_another_users_is_not_shown(self, house: House, busy: bool) -> None:
        """The old owner, group and subscriber hear of the removal only; the new owner sees the new task."""
        old = [house.viewer("ann"), house.viewer("bob", groups=["team"])]
        house.hub.enter(old[0][0], ["a"])
        new = house.viewer("eve")
        house.operations.create_task("a", "ann", groups=["team"])
        house.hub.flush()
        if not busy:
            for _, outbox in old:
                outbox.take()
        house.operations.complete_task("a")
        house.operations.remove_task("a")
        house.operations.create_task("a", "eve", message="private")
        house.hub.flush()
        for _, outbox in old:
            outbox.take() if busy else None
        house.operations.update_task_progress("a", "private")
        house.hub.flush()
        for _, outbox in old:
            assert names(outbox.take()) == [("task_removed", "a")]
        assert [payload["user"] for _, payload in new[1].take()] == ["eve"]

    def test_an_id_reborn_in_mid_flush_is_not_shown_to_its_former_owner(self) -> None:
        """The flusher reads a task once for the rooms and once to encode it: in between it may become another's."""
        reads = itertools.count()

        class Turning(MemoryRegistry):
            def get(self, task_id: str) -> Task | None:
                if armed and next(reads) == 1:
                    armed.clear()
                    self.remove("a")
                    house.operations.create_task("a", "eve", message="private")
                return super().get(task_id)

        armed: list[bool] = []
        house = House(registry=Turning())
        _, ann = house.viewer("ann")
        _, eve = house.viewer("eve")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        ann.take()
        house.operations.complete_task("a")
        armed.append(True)
        house.hub.flush()
        assert armed == []
        house.hub.flush()
        assert [payload.get("user") for _, payload in ann.take()] == [None]
        assert [payload["user"] for _, payload in eve.take()] == ["eve"]

    def test_a_removal_in_mid_flush_is_told(self) -> None:
        """The flusher has just read the task when it goes: what it read does not take the removal's place."""

        class Vanishing(MemoryRegistry):
            def get(self, task_id: str) -> Task | None:
                found = super().get(task_id)
                if armed:
                    armed.clear()
                    self.remove(task_id)
                return found

        armed: list[bool] = []
        house = House(registry=Vanishing())
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        armed.append(True)
        house.hub.flush()
        house.hub.flush()
        assert names(outbox.take())[-1] == ("task_removed", "a")

    def test_what_is_owed_does_not_take_the_place_of_a_removal(self, house: House) -> None:
        """A snapshot that had no room for a task is owed it; if it is gone meanwhile, that is what there is to tell."""
        viewer, outbox = house.viewer("ann", live=False)
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.operations.remove_task("a")
        house.hub.flush()
        house.hub.open(viewer, ["a"])
        house.hub.flush()
        assert names(outbox.take()) == [("task_removed", "a")]

    def test_subscribers_leave_the_room_of_a_removed_task_and_ticket_holders_stay(self, house: House) -> None:
        """A subscription is to the task that was; a ticket is to the id, and may precede its task."""
        subscriber, _ = house.viewer("ann")
        house.hub.enter(subscriber, ["a"])
        holder, outbox = house.viewer(task_ids=["a"])
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.operations.remove_task("a")
        house.hub.flush()
        assert house.hub.in_room("task:a") == [holder]
        outbox.take()
        house.operations.create_task("a", "eve")
        house.hub.flush()
        assert names(outbox.take()) == [("task_created", "a")]


class TestEnds:
    def small(self) -> tuple[House, Clock]:
        """A house that keeps one finished task, for ten seconds of the clock."""
        clock = Clock()
        config = Config(retention=10.0, max_tasks=1)
        registry = MemoryRegistry(retention=config.retention, max_tasks=config.max_tasks, clock=clock)
        return House(config, registry), clock

    def test_an_end_that_a_busy_viewer_is_owed_is_not_evicted(self) -> None:
        """Neither retention nor a bound takes a finished task away before the viewer has heard of it."""
        house, clock = self.small()
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.complete_task("a")
        house.hub.flush()
        clock.go(1_000)
        house.registry.expire()
        for task_id in ("x", "y"):
            house.operations.create_task(task_id, "eve")
            house.operations.complete_task(task_id)
        house.hub.flush()
        outbox.take()
        house.hub.flush()
        assert names(outbox.take()) == [("task_completed", "a")]
        clock.go(1_000)
        house.registry.expire()
        assert house.registry.get("a") is None

    def test_a_marked_task_is_owed_before_the_flusher_has_looked(self) -> None:
        """The mark itself holds the task."""
        house, _ = self.small()
        house.viewer("ann")
        house.operations.create_task("a", "ann")
        assert house.hub.owes("a")
        house.hub.flush()
        assert not house.hub.owes("a")

    def test_a_task_is_owed_throughout_a_flush(self) -> None:
        """An eviction by another thread in the middle of a flush finds the task owed at every step."""
        owed: list[bool] = []

        class Looking(MemoryRegistry):
            def get(self, task_id: str) -> Task | None:
                owed.append(self.pinned(task_id))  # as an eviction asks
                return super().get(task_id)

        house = House(registry=Looking())
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.operations.complete_task("a")  # the viewer is busy: it goes through the set of those behind
        house.hub.flush()
        outbox.take()
        owed.clear()
        house.hub.flush()
        assert owed
        assert all(owed)
        owed.clear()
        outbox.take()
        house.operations.create_task("b", "ann")
        house.hub.flush()
        assert len(owed) >= 2
        assert all(owed)

    def test_it_knows_whether_anything_is_still_to_be_told(self, house: House) -> None:
        """What a stopping server waits for: marks, and viewers behind; not what a hidden page passes over."""
        viewer, outbox = house.viewer("ann")
        assert not house.hub.owing()
        house.operations.create_task("a", "ann")
        assert house.hub.owing()
        house.hub.flush()
        assert not house.hub.owing()
        house.operations.update_task_progress("a", "more")
        house.hub.flush()
        assert house.hub.owing()
        viewer.hidden = True
        assert not house.hub.owing()
        house.hub.hide(viewer, False)
        outbox.take()
        house.hub.flush()
        assert not house.hub.owing()

    def test_nobody_is_owed_what_nobody_sees(self) -> None:
        """Tasks without a viewer leave as if there were no hub."""
        house, _ = self.small()
        house.viewer("ann")
        house.operations.create_task("a", "eve")
        house.hub.flush()
        assert not house.hub.owes("a")

    def test_a_viewer_that_takes_nothing_is_closed_after_its_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is owed something and its flush has been in flight for too long; not a moment before."""
        house, _ = self.small()
        now = 1_000.0
        monkeypatch.setattr(realtime.hub, "time", SimpleNamespace(monotonic=lambda: now, thread_time=lambda: 0.0))
        closed: list[tuple[Viewer, str]] = []
        house.hub.close_viewer = lambda viewer, reason: closed.append((viewer, reason))
        viewer, outbox = house.viewer("ann")
        house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.hub.viewers["s2"].outbox.take()  # type: ignore[attr-defined]
        outbox.busy_since = now
        house.operations.update_task_progress("a", "more")
        now += 30.0
        house.hub.flush()
        assert closed == []
        now += 0.1
        house.hub.flush()
        assert closed == [(viewer, "takes nothing")]


class TestReadiness:
    def test_a_viewer_that_has_taken_its_flush_wakes_the_flusher_if_it_is_owed_more(self, house: House) -> None:
        """And only then: a written flush alone is no reason to look again."""
        _, outbox = house.viewer("ann")
        event = house.concurrency.events[0]
        house.operations.create_task("a", "ann")
        house.hub._awake = house.hub._wanted = False  # as the flusher does before it flushes
        house.hub.flush()
        before = event.sets
        outbox.written()
        assert event.sets == before
        house.operations.update_task_progress("a", "more")
        house.hub._awake = house.hub._wanted = False
        house.hub.flush()
        outbox.take()
        house.operations.update_task_progress("a", "more")
        house.hub._awake = house.hub._wanted = False
        outbox.busy_since = time.monotonic()
        house.hub.flush()
        before = event.sets
        outbox.written()
        assert event.sets == before + 1

    def test_a_viewer_that_is_ready_in_mid_flush_is_not_forgotten(self, house: House) -> None:
        """The flusher passes over a busy viewer whose writer comes back a moment later: it is woken again."""
        _, first = house.viewer("ann")
        house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        house.hub.viewers["s2"].outbox.take()  # type: ignore[attr-defined]
        house.operations.update_task_progress("a", "more")
        house.hub._awake = house.hub._wanted = False
        event = house.concurrency.events[0]
        make = house.hub.make_frame

        def in_between(name: str, payload: bytes) -> Any:
            first.written()  # the flusher has passed it by, and makes the second viewer's packet
            return make(name, payload)

        house.hub.make_frame = in_between
        before = event.sets
        house.hub.flush()
        assert event.sets == before + 1

    def test_a_viewer_that_cannot_be_told_does_not_starve_the_others(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is closed, the log says so once, and those after it in the same flush are told."""
        closed: list[tuple[Viewer, str]] = []
        house.hub.close_viewer = lambda viewer, reason: closed.append((viewer, reason))
        broken, door = house.viewer("ann")
        _, outbox = house.viewer("ann")

        def fail(batch: object) -> int:
            raise OSError("broken")

        monkeypatch.setattr(door, "push", fail)
        house.operations.create_task("a", "ann")
        house.hub.flush()
        assert names(outbox.take()) == [("task_created", "a")]
        house.operations.update_task_progress("a", "more")
        house.hub.flush()
        assert names(outbox.take()) == [("task_progress", "a")]
        assert closed == [(broken, "could not be told")]
        assert [record.getMessage() for record in caplog.records] == [
            "Viewers could not be told in a flush and are closed."
        ]

    def test_an_overflowing_viewer_is_closed_beside(self, house: House) -> None:
        """Whoever put the packet that was too much does not run the viewer's disconnect handlers."""
        closed: list[Viewer] = []
        house.hub.close_viewer = lambda viewer, reason: closed.append(viewer)
        viewer, outbox = house.viewer("ann")
        assert outbox.on_overflow is not None
        outbox.on_overflow()
        assert closed == []
        [(_, close)] = [spawned for spawned in house.concurrency.spawned if spawned[0] == "realtime-close"]
        close()
        assert closed == [viewer]


class Loop:
    """Runs the hub's flusher on a clock of its own. Each wait does the next step of a script, then the hub stops."""

    def __init__(self, house: House, patch: pytest.MonkeyPatch) -> None:
        self.now = START
        self.house = house
        self.waits: list[float | None] = []
        #: When packets were handed over, in seconds since the start.
        self.pushed: list[float] = []
        self.script: list[Callable[[], None]] = []
        #: CPU seconds that this thread has taken; each encoding is to take ``cost`` of them.
        self.spent = self.cost = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, thread_time=lambda: self.spent)
        patch.setattr(realtime.hub, "time", clock)
        patch.setattr(realtime.pacing, "time", clock)
        house.concurrency.on_wait = self._wait
        make = house.hub.make_frame

        def note(event: str, payload: bytes) -> Any:
            self.pushed.append(round(self.now - START, 6))
            self.spent += self.cost
            return make(event, payload)

        house.hub.make_frame = note

    def _wait(self, timeout: float | None) -> bool:
        self.waits.append(None if timeout is None else round(timeout, 6))
        if self.script:
            self.script.pop(0)()
        else:
            self.house.hub.stop()
        return True

    def at(self, seconds: float, *actions: Callable[[], Any]) -> None:
        """The next step: it is ``seconds`` after the start, and this is done."""

        def step() -> None:
            self.now = START + seconds
            for action in actions:
                action()

        self.script.append(step)

    def run(self) -> None:
        [flusher] = [function for name, function in self.house.concurrency.spawned if name == "realtime-flusher"]
        flusher()


class TestFlusher:
    @pytest.fixture
    def loop(self, house: House, monkeypatch: pytest.MonkeyPatch) -> Loop:
        house.hub.flush()
        return Loop(house, monkeypatch)

    @pytest.fixture
    def outbox(self, house: House) -> HandOutbox:
        _, outbox = house.viewer("ann")
        house.operations.create_task("a", "ann")
        house.hub.flush()
        outbox.take()
        house.hub._awake = house.hub._urgent = False
        return outbox

    def update(self, house: House, outbox: HandOutbox) -> Callable[[], None]:
        def change() -> None:
            outbox.take()
            house.operations.update_task_progress("a", "more")

        return change

    def test_the_first_change_after_a_quiet_time_leaves_at_once(
        self, house: House, outbox: HandOutbox, loop: Loop
    ) -> None:
        """Leading edge: no wait stands between the change and its push."""
        loop.at(5.0, self.update(house, outbox))
        loop.run()
        assert loop.pushed[0] == 5.0
        assert loop.waits == [1.0, 1.0]

    def test_a_look_that_found_nothing_does_not_delay_the_next_change(
        self, house: House, outbox: HandOutbox, loop: Loop
    ) -> None:
        """The flusher looks about once a second anyway; a change right after that leaves at once."""
        loop.at(5.0)
        loop.at(5.001, self.update(house, outbox))
        loop.run()
        assert loop.pushed[0] == 5.001
        assert loop.waits == [1.0, 1.0, 1.0]

    def test_every_quiet_time_ends_with_a_wake_up(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """The flusher that sleeps again is woken again."""
        sets: list[int] = []
        for seconds in (5.0, 6.0, 7.0):
            loop.at(seconds, self.update(house, outbox), lambda: sets.append(house.concurrency.events[0].sets))
        loop.run()
        assert [later - earlier for earlier, later in itertools.pairwise(sets)] == [1, 1]

    def test_then_there_is_one_flush_per_interval(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """A change within the interval waits for its end, together with those that follow."""
        change = self.update(house, outbox)
        loop.at(5.0, change)
        loop.at(5.01, change)
        loop.at(5.03, change)  # a wake-up before the tick
        loop.at(5.05)
        loop.at(5.06, change)
        loop.at(5.10)
        loop.run()
        assert loop.pushed == [5.0, 5.05, 5.10]
        assert loop.waits[1:4] == [1.0, 0.04, 0.02]

    def test_flushes_that_cost_much_come_less_often(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """Half a core is theirs, and the rest is left for updates, requests and connects; an end comes at once
        all the same."""
        loop.cost = 0.05
        change = self.update(house, outbox)
        loop.at(5.0, change)
        loop.at(5.05, change)
        loop.at(5.10)
        loop.at(5.11, change)
        loop.at(5.12, lambda: house.operations.complete_task("a"))
        loop.run()
        assert loop.pushed == [5.0, 5.10, 5.12]
        assert loop.waits[1:3] == [1.0, 0.05]

    def test_flushes_with_output_come_as_often_as_ever(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """All of it has to be told: less often would be more at a time."""
        loop.cost = 0.05
        write = lambda: (outbox.take(), house.operations.append_output("a", "line\n"))  # noqa: E731
        loop.at(5.0, write)
        loop.at(5.01, write)
        loop.at(5.05)
        loop.run()
        assert loop.pushed == [5.0, 5.05]

    def test_an_end_does_not_wait_for_the_tick(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """A terminal state wakes the flusher now."""
        loop.at(5.0, self.update(house, outbox))
        loop.at(5.01, self.update(house, outbox))
        loop.at(5.02, lambda: house.operations.complete_task("a"))
        loop.run()
        assert loop.pushed[:2] == [5.0, 5.02]
        assert outbox.flushes[-1][0][0] == "task_completed"

    def test_after_an_end_the_tick_holds_again(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """One end does not make all that follows urgent."""
        house.operations.create_task("b", "ann")
        house.hub.flush()
        loop.at(5.0, outbox.take, lambda: house.operations.complete_task("b"))
        loop.at(5.01, self.update(house, outbox))
        loop.at(5.05)
        loop.run()
        assert loop.pushed[-2:] == [5.0, 5.05]

    def test_what_a_slow_viewer_was_owed_counts_as_a_flush(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """A flush without a change of its own is followed by a full interval too."""
        outbox.busy_since = START
        loop.at(5.0, lambda: house.operations.update_task_progress("a", "more"))
        loop.at(6.0, outbox.take)
        loop.at(6.01, self.update(house, outbox))
        loop.at(6.05)
        loop.run()
        assert loop.pushed == [6.0, 6.05]

    def test_marks_of_a_hot_loop_raise_the_event_once(self, house: House, outbox: HandOutbox) -> None:
        """While the flusher is awake, an update costs no wake-up; an end does."""
        event = house.concurrency.events[0]
        before = event.sets
        for _ in range(10):
            house.operations.update_task_progress("a", "more")
        assert event.sets == before + 1
        house.operations.complete_task("a")
        assert event.sets == before + 2

    def test_busy_viewers_do_not_make_it_spin(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """Changes that nobody can take now still cost one look per interval."""
        outbox.busy_since = START

        def change() -> None:
            house.operations.update_task_progress("a", "more")

        loop.at(5.0, change)
        loop.at(5.01, change)
        loop.at(5.05)
        loop.run()
        assert loop.waits[:3] == [1.0, 1.0, 0.04]

    def test_about_once_a_second_it_sweeps(self, house: House, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        """Retention and the transport's own sweep run while anybody watches, busy or not."""
        swept: list[float] = []
        house.hub.on_sweep.append(lambda: swept.append(round(loop.now - START, 6)))
        expired: list[float] = []
        monkeypatch.setattr(house.registry, "expire", lambda: expired.append(loop.now))
        for tenths in range(50, 75, 5):
            loop.at(tenths / 10)
        loop.run()
        assert swept == [5.0, 6.0, 7.0]
        assert len(expired) == 3

    def test_it_survives_a_failure(
        self, house: House, outbox: HandOutbox, loop: Loop, caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """A flush that raises is logged, and the next one goes on."""
        failures = [RuntimeError("no flush")]
        give = realtime.flush.Flush.give

        def fail_once(flush: realtime.flush.Flush, viewer: Viewer) -> None:
            if failures:
                raise failures.pop()
            give(flush, viewer)

        monkeypatch.setattr(realtime.flush.Flush, "give", fail_once)
        loop.at(5.0, self.update(house, outbox))
        loop.at(6.0)
        loop.run()
        assert [record.message for record in caplog.records] == ["A flush failed; the next one goes on."]
        assert [event for flush in outbox.flushes for event, _ in flush] == ["task_progress"]

    def test_the_last_changes_leave_when_it_is_stopped(self, house: House, outbox: HandOutbox, loop: Loop) -> None:
        """What changes between the last look and the stop is told: jobs that were failed by it, for one."""
        house.hub.on_sweep += [self.update(house, outbox), house.hub.stop]
        loop.at(5.0)
        loop.run()
        assert (loop.script, loop.pushed) == ([], [5.0])

    def test_starting_says_that_this_process_serves_viewers(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A registry that was loaded before a fork is told in the child, before its first viewer is."""
        adopted: list[bool] = []
        monkeypatch.setattr(house.registry, "adopt", lambda: adopted.append(True))
        hub = Hub(house.registry, house.concurrency, flush_interval=0.05, viewer_timeout=30.0)
        hub.start()
        hub.start()
        assert adopted == [True]

    def test_it_starts_once_and_not_again_after_a_stop(self, house: House) -> None:
        """A request that comes in while the server stops starts nothing."""
        house.viewer("ann")
        house.hub.start()
        house.hub.stop()
        house.hub.start()
        assert [name for name, _ in house.concurrency.spawned] == ["realtime-flusher"]
        assert house.concurrency.attached == 1


class TestWaiting:
    def test_it_does_not_wait_for_what_is_there(self, house: House) -> None:
        """The condition is asked before the first wait, and after the waiter is known: no change falls in between."""
        house.concurrency.on_wait = lambda timeout: pytest.fail("it waited")
        known: list[bool] = []

        def unless() -> bool:
            known.append("a" in house.hub.waiting.events)
            return True

        house.hub.wait("a", 25.0, unless)
        assert known == [True]

    def test_a_change_ends_it(self, house: House) -> None:
        """The flusher wakes whoever waits for the task, and nobody else."""
        house.operations.create_task("a", "ann")
        house.operations.create_task("b", "ann")
        house.hub.flush()
        before = version(house, "a")
        others = itertools.count()

        def change(timeout: float | None) -> bool:
            house.operations.update_task_progress("b", "not this one")
            house.hub.flush()
            waiter = house.concurrency.events[-1]
            assert waiter.sets == 0
            house.operations.update_task_progress("a", "more")
            house.hub.flush()
            assert waiter.sets == 1
            next(others)
            return True

        house.concurrency.on_wait = change
        house.hub.wait("a", 25.0, lambda: version(house, "a") > before)
        assert next(others) == 1

    def test_a_removal_ends_it(self, house: House) -> None:
        """Whoever waits for a task hears that it is gone."""
        house.operations.create_task("a", "ann")
        house.operations.complete_task("a")
        house.hub.flush()

        def remove(timeout: float | None) -> bool:
            house.operations.remove_task("a")
            house.hub.flush()
            return house.concurrency.events[-1].sets > 0

        house.concurrency.on_wait = remove
        house.hub.wait("a", 25.0, lambda: house.registry.get("a") is None)
        assert house.concurrency.events[-1].sets == 1

    def test_old_news_do_not_end_it(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wake-up that does not make the condition true goes back to waiting, for the rest of the time."""
        now = START
        monkeypatch.setattr(realtime.waiting, "time", SimpleNamespace(monotonic=lambda: now))
        waits: list[float | None] = []

        def woken(timeout: float | None) -> bool:
            nonlocal now
            waits.append(timeout)
            now += 10.0
            return True

        house.concurrency.on_wait = woken
        house.hub.wait("a", 25.0, lambda: False)
        assert waits == [25.0, 15.0, 5.0]

    def test_a_waiter_leaves_nothing_behind(self, house: House) -> None:
        """Not after a timeout, and not after an error; another waiter of the task stays."""

        def fail() -> bool:
            assert len(house.hub.waiting.events["a"]) == 2
            raise RuntimeError

        def second(timeout: float | None) -> bool:
            with pytest.raises(RuntimeError):
                house.hub.wait("a", 25.0, fail)
            assert len(house.hub.waiting.events["a"]) == 1
            done.append(True)
            return True

        done: list[bool] = []
        house.concurrency.on_wait = second
        house.hub.wait("a", 25.0, lambda: bool(done))
        assert house.hub.waiting.events == {}

    def test_stopping_ends_all_waits(self, house: House) -> None:
        """A server that goes away does not keep anybody for 25 seconds; later waits do not begin."""

        def stop(timeout: float | None) -> bool:
            house.hub.stop()
            return house.concurrency.events[-1].sets > 0

        house.concurrency.on_wait = stop
        house.hub.wait("a", 25.0, lambda: False)
        assert house.concurrency.events[-1].sets == 1
        house.concurrency.on_wait = lambda timeout: pytest.fail("it waited")
        house.hub.wait("a", 25.0, lambda: False)

    def test_it_starts_the_flusher(self) -> None:
        """A wait may come before any viewer: changes are noted from then on."""
        registry = MemoryRegistry()
        house = House(registry=registry)
        house.concurrency.spawned.clear()
        hub = Hub(registry, house.concurrency, flush_interval=0.05, viewer_timeout=30.0)
        hub.wait("a", 0.0, lambda: False)
        assert [name for name, _ in house.concurrency.spawned] == ["realtime-flusher"]
        house.operations.create_task("a", "ann")
        assert hub.owes("a")


class TestWatching:
    def test_the_registry_learns_which_rooms_are_watched(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Once when the first viewer is in and once when the last is out; of addresses it learns nothing."""
        said: list[str] = []
        monkeypatch.setattr(house.registry, "watch", lambda room: said.append(f"+{room}"))
        monkeypatch.setattr(house.registry, "unwatch", lambda room: said.append(f"-{room}"))
        viewers = [house.viewer("ann")[0] for _ in range(2)]
        house.hub.enter(viewers[0], ["a"])
        house.hub.enter(viewers[1], ["a"])
        house.hub.exit(viewers[0], ["a"])
        house.hub.leave(viewers[0].session)
        assert said == ["+user:ann", "+task:a"]
        house.hub.leave(viewers[1].session)
        assert sorted(said[2:]) == ["-task:a", "-user:ann"]

    def test_a_wait_watches_its_task(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """As long as it lasts."""
        said: list[str] = []
        monkeypatch.setattr(house.registry, "watch", lambda room: said.append(f"+{room}"))
        monkeypatch.setattr(house.registry, "unwatch", lambda room: said.append(f"-{room}"))
        house.hub.wait("a", 1.0, lambda: said == ["+task:a"])
        assert said == ["+task:a", "-task:a"]
