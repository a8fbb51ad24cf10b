"""What viewers may ask: rights, bounds of the answers, and join before read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from realtime.auth import Grant
from realtime.config import Config
from realtime.errors import Forbidden, InvalidValue, LimitReached, RealtimeError, TaskAlreadyFinished, TaskNotFound
from realtime.hub import Viewer
from realtime.protocol import MAX_SNAPSHOT_BYTES, MAX_SNAPSHOT_TASKS, ConnectAuth
from realtime.registry.memory import MemoryRegistry
from realtime.task import NewTask, Task
from realtime.transport import commands as commands_module
from realtime.transport.commands import MAX_ROOMS, Commands
from support.watching import House


class Desk(House):
    """A house with somebody who answers."""

    def __init__(self, config: Config | None = None, registry: MemoryRegistry | None = None) -> None:
        super().__init__(config, registry)
        self.commands = Commands(self.operations, self.hub)

    def ask(self, viewer: Viewer, event: str, message: Any = None) -> Any:
        """The acknowledgement, as it is on the wire."""
        return json.loads(msgspec.json.encode(self.commands.answer(viewer, event, message)))

    def snapshot(self, grant: Grant, auth: ConnectAuth | None = None) -> tuple[Any, list[str]]:
        """The first snapshot, as it is on the wire, and what is owed."""
        found, owed = self.commands.snapshot(grant, auth or ConnectAuth())
        return json.loads(msgspec.json.encode(found)), owed

    def version(self, task_id: str) -> int:
        task = self.registry.get(task_id)
        assert task is not None
        return task.version


def ids(tasks: list[dict[str, Any]]) -> list[str]:
    return [task["task_id"] for task in tasks]


@pytest.fixture(name="desk")
def new_desk() -> Desk:
    return Desk()


#: A viewer of user ann, and what it is told.
ANN = Grant("ann")


class TestRights:
    EVENTS = ("cancel_task", "remove_task")

    @pytest.fixture
    def viewers(self, desk: Desk) -> dict[str, Viewer]:
        """A finished task ``done`` and a running one ``a`` of ann's, and viewers of all kinds."""
        desk.operations.create_task("a", "ann", groups=["team"])
        desk.operations.create_task("done", "ann", groups=["team"])
        desk.operations.complete_task("done")
        return {
            "owner": desk.viewer("ann")[0],
            "member": desk.viewer("bob", groups=["team"])[0],
            "ticket": desk.viewer(task_ids=["a", "done"])[0],
            "stranger": desk.viewer("eve")[0],
        }

    @pytest.mark.parametrize(("event", "task_id"), [("cancel_task", "a"), ("remove_task", "done")])
    @pytest.mark.parametrize("who", ["member", "ticket"])
    def test_those_who_only_see_a_task_may_not_change_it(
        self, desk: Desk, viewers: dict[str, Viewer], who: str, event: str, task_id: str
    ) -> None:
        """The owner alone cancels and removes; the others are told so, since they see it anyway."""
        before = desk.version(task_id)
        with pytest.raises(Forbidden):
            desk.ask(viewers[who], event, {"task_id": task_id})
        assert desk.version(task_id) == before

    @pytest.mark.parametrize("event", EVENTS)
    @pytest.mark.parametrize("task_id", ["a", "done"])
    def test_someone_elses_task_and_none_answer_the_same(
        self, desk: Desk, viewers: dict[str, Viewer], event: str, task_id: str
    ) -> None:
        """To the word, but for the id that was asked for."""
        texts = set()
        for asked in (task_id, "no-such-task"):
            with pytest.raises(TaskNotFound) as caught:
                desk.ask(viewers["stranger"], event, {"task_id": asked})
            texts.add((str(caught.value), caught.value.code))
        assert texts == {("No such task, or not one you may see.", "not_found")}

    def test_the_owner_cancels(self, desk: Desk, viewers: dict[str, Viewer]) -> None:
        """The answer is the snapshot; asking again changes nothing."""
        answer = desk.ask(viewers["owner"], "cancel_task", {"task_id": "a"})
        assert answer["ok"] is True
        assert answer["task"]["cancel_requested_at"] is not None
        assert desk.ask(viewers["owner"], "cancel_task", {"task_id": "a"}) == answer

    def test_what_has_ended_cannot_be_cancelled(self, desk: Desk, viewers: dict[str, Viewer]) -> None:
        """It is told as such."""
        with pytest.raises(TaskAlreadyFinished):
            desk.ask(viewers["owner"], "cancel_task", {"task_id": "done"})

    def test_the_owner_removes_what_has_ended(self, desk: Desk, viewers: dict[str, Viewer]) -> None:
        """With the version of the removal; what runs stays."""
        before = desk.version("done")
        answer = desk.ask(viewers["owner"], "remove_task", {"task_id": "done"})
        assert answer == {"ok": True, "task_id": "done", "version": before + 1}
        assert desk.registry.get("done") is None
        with pytest.raises(InvalidValue, match="processing"):
            desk.ask(viewers["owner"], "remove_task", {"task_id": "a"})
        assert desk.registry.get("a") is not None

    @pytest.mark.parametrize("task_id", [None, 7, "", ["a"]])
    def test_an_id_that_is_none_is_not_found(self, desk: Desk, task_id: Any) -> None:
        """`visible` takes whatever a request brings."""
        with pytest.raises(TaskNotFound):
            desk.commands.visible(ANN, task_id)

    def test_it_answers_for_the_registry_it_was_made_with(self, desk: Desk) -> None:
        """One extension object may act for another app later; the commands of this app go on in this one."""
        desk.operations.create_task("a", "ann")
        viewer, _ = desk.viewer("ann")
        desk.operations.registry = MemoryRegistry()
        assert desk.ask(viewer, "cancel_task", {"task_id": "a"})["ok"]
        desk.registry.cancel("a")
        assert desk.ask(viewer, "remove_task", {"task_id": "a"})["ok"]


class TestRequests:
    @pytest.mark.parametrize(
        ("event", "message", "field"),
        [
            ("nonsense", {}, "event"),
            ("subscribe", None, "message"),
            ("subscribe", {"task_ids": "a"}, "task_ids"),
            ("subscribe", {"task_ids": ["a"] * 101}, "task_ids"),
            ("subscribe", {"task_ids": [], "cursors": {f"t{i}": 1 for i in range(101)}}, "cursors"),
            ("subscribe", {"task_ids": [], "cursors": {"a": "1"}}, "cursors"),
            ("unsubscribe", {"task_ids": [1]}, "task_ids"),
            ("cancel_task", {}, "message"),
            ("cancel_task", ["a"], "message"),
            ("list_tasks", {"limit": 0}, "limit"),
            ("list_tasks", {"limit": 101}, "limit"),
            ("list_tasks", {"limit": 2.5}, "limit"),
            ("list_tasks", {"before": "nonsense"}, "before"),
            ("visibility", {"hidden": 1}, "hidden"),
        ],
    )
    def test_a_wrong_message_is_told_by_its_field(self, desk: Desk, event: str, message: Any, field: str) -> None:
        """And nothing is done."""
        viewer, _ = desk.viewer("ann")
        rooms = set(viewer.rooms)
        with pytest.raises(InvalidValue) as caught:
            desk.ask(viewer, event, message)
        assert caught.value.field.startswith(field)
        assert viewer.rooms == rooms

    @pytest.mark.parametrize("limit", [True, "5", None, 0, 101])
    def test_a_limit_is_a_whole_number(self, desk: Desk, limit: Any) -> None:
        """HTTP brings its own."""
        with pytest.raises(InvalidValue, match="limit: a whole number from 1 to 100"):
            desk.commands.list(ANN, limit, None)

    def test_a_long_event_name_is_not_repeated_in_full(self, desk: Desk) -> None:
        """A refusal is short, whatever was asked."""
        viewer, _ = desk.viewer("ann")
        with pytest.raises(InvalidValue) as caught:
            desk.ask(viewer, "x" * 10_000)
        assert len(str(caught.value)) < 300

    def test_visibility(self, desk: Desk) -> None:
        """A page says when it is hidden and when it is seen."""
        viewer, _ = desk.viewer("ann")
        assert desk.ask(viewer, "visibility", {"hidden": True}) == {"ok": True}
        assert viewer.hidden
        desk.ask(viewer, "visibility", {"hidden": False})
        assert not viewer.hidden


class TestSubscribing:
    def test_output_is_asked_for_and_given_back(self, desk: Desk) -> None:
        """By stream, also of a task whose snapshots come anyway; what one may not see is denied."""
        desk.operations.create_task("mine", "ann")
        desk.operations.create_task("theirs", "eve")
        viewer, _ = desk.viewer("ann")
        message = {"task_ids": [], "outputs": {"mine": {"output": 0, "log": 3}, "theirs": 0}}
        assert desk.ask(viewer, "subscribe", message)["denied"] == ["theirs"]
        assert viewer.follows == {"mine": {"output", "log"}}
        assert "task:mine" not in viewer.rooms
        desk.ask(viewer, "unsubscribe", {"task_ids": [], "outputs": {"mine": ["log"]}})
        assert viewer.follows == {"mine": {"output"}}
        desk.ask(viewer, "unsubscribe", {"task_ids": ["mine"]})
        assert viewer.follows is None

    def test_streams_are_bounded(self, desk: Desk) -> None:
        """A viewer asks for no more streams than a task may have."""
        desk.operations.create_task("mine", "ann")
        viewer, _ = desk.viewer("ann")
        with pytest.raises(InvalidValue, match="outputs: more streams than the 8"):
            desk.ask(viewer, "subscribe", {"task_ids": [], "outputs": {"mine": {f"s{i}": 0 for i in range(9)}}})
        assert viewer.follows is None

    def test_streams_are_bounded_over_all_requests(self, desk: Desk) -> None:
        """Names that a viewer thinks of, request by request, fill neither its memory nor the flusher's."""
        desk.operations.create_task("mine", "ann")
        viewer, _ = desk.viewer("ann")
        for number in range(8):
            desk.ask(viewer, "subscribe", {"task_ids": [], "outputs": {"mine": {f"s{number}": 0}}})
            desk.hub.flush()
        with pytest.raises(InvalidValue, match="outputs: more streams than the 8"):
            desk.ask(viewer, "subscribe", {"task_ids": [], "outputs": {"mine": {"s8": 0}}})
        for number in range(20):
            desk.ask(viewer, "unsubscribe", {"task_ids": ["mine"]})
            desk.ask(viewer, "subscribe", {"task_ids": [], "outputs": {"mine": {f"t{number}": 0}}})
            desk.hub.flush()
        assert viewer.follows == {"mine": {"t19"}}
        assert not any(desk.hub._told._ends.values())

    def test_the_answer_holds_the_tasks_and_names_the_denied(self, desk: Desk) -> None:
        """What one may not see is denied like what is not there; an id given twice is answered once."""
        desk.operations.create_task("mine", "ann")
        desk.operations.create_task("ours", "bob", groups=["team"])
        desk.operations.create_task("theirs", "eve")
        viewer, _ = desk.viewer("ann", groups=["team"])
        answer = desk.ask(viewer, "subscribe", {"task_ids": ["mine", "theirs", "ours", "none", "mine", "none"]})
        assert ids(answer["tasks"]) == ["mine", "ours"]
        assert answer["denied"] == ["theirs", "none"]
        assert (answer["ok"], answer["epoch"]) == (True, desk.registry.epoch)
        assert {"task:mine", "task:ours"} <= viewer.rooms
        assert not {"task:theirs", "task:none"} & viewer.rooms

    def test_a_ticket_may_precede_its_task(self, desk: Desk) -> None:
        """Its holder is in the room, sees nothing yet, and is told when the task is made."""
        viewer, outbox = desk.viewer(task_ids=["soon"])
        answer = desk.ask(viewer, "subscribe", {"task_ids": ["soon"]})
        assert (answer["tasks"], answer["denied"]) == ([], [])
        desk.operations.create_task("soon", "ann")
        desk.hub.flush()
        assert [payload["task_id"] for _, payload in outbox.take()] == ["soon"]

    def test_join_then_read(self) -> None:
        """A change right after the read is pushed: the viewer was in the room before."""
        changes: list[Callable[[], Any]] = []

        def joined() -> bool:
            return "task:a" in desk.hub._rooms

        class Changing(MemoryRegistry):
            def get(self, task_id: str) -> Task | None:
                found = super().get(task_id)
                if changes and joined():
                    changes.pop()()
                return found

        desk = Desk(registry=Changing())
        desk.operations.create_task("a", "eve", groups=["team"])
        desk.hub.flush()
        viewer, outbox = desk.viewer("ann", groups=["team"])
        desk.hub.exit(viewer, ["a"])
        for room in list(viewer.rooms):  # so that only the subscription can bring it
            desk.hub._rooms.exit(viewer, room)
        changes.append(lambda: desk.operations.update_task_progress("a", "after the read"))
        [read] = desk.ask(viewer, "subscribe", {"task_ids": ["a"]})["tasks"]
        assert changes == []
        desk.hub.flush()
        [(_, payload)] = outbox.take()
        assert payload["version"] == read["version"] + 1

    def test_an_id_reborn_as_anothers_between_the_check_and_the_read_is_not_shown(self) -> None:
        """The right is asked of the task that is answered with."""
        armed: list[bool] = []

        class Turning(MemoryRegistry):
            def get(self, task_id: str) -> Task | None:
                found = super().get(task_id)
                if armed:
                    armed.pop()
                    self.remove("a")
                    self.create(NewTask("a", "eve"))
                return found

        desk = Desk(registry=Turning())
        desk.operations.create_task("a", "ann")
        desk.operations.complete_task("a")
        viewer, _ = desk.viewer("ann")
        armed.append(True)
        assert desk.ask(viewer, "subscribe", {"task_ids": ["a"]})["tasks"] == []

    def test_what_equals_its_cursor_is_left_out(self, desk: Desk) -> None:
        """The viewer has it; a cursor of another epoch says nothing."""
        desk.operations.create_task("a", "ann")
        viewer, _ = desk.viewer("ann")
        current = {"task_ids": ["a"], "cursors": {"a": desk.version("a")}, "epoch": desk.registry.epoch}
        assert desk.ask(viewer, "subscribe", current)["tasks"] == []
        assert ids(desk.ask(viewer, "subscribe", {**current, "epoch": "other"})["tasks"]) == ["a"]
        desk.operations.update_task_progress("a", "more")
        assert ids(desk.ask(viewer, "subscribe", current)["tasks"]) == ["a"]

    def test_what_finds_no_room_in_the_answer_follows(self, desk: Desk) -> None:
        """An answer has 64 KiB of tasks; the others are pushed, and none is lost."""
        asked = [f"t{number}" for number in range(20)]
        for task_id in asked:
            desk.operations.create_task(task_id, "ann", metadata={"fill": "x" * 10_000})
        desk.hub.flush()
        viewer, outbox = desk.viewer("ann")
        answer = desk.ask(viewer, "subscribe", {"task_ids": asked})
        assert 50_000 < len(json.dumps(answer["tasks"])) < MAX_SNAPSHOT_BYTES + 2_000
        got = ids(answer["tasks"])
        for _ in range(5):
            desk.hub.flush()
            got += [payload["task_id"] for _, payload in outbox.take()]
        assert got == asked

    def test_unsubscribing_leaves_the_room(self, desk: Desk) -> None:
        """And is no error for what was never joined."""
        desk.operations.create_task("a", "ann")
        viewer, _ = desk.viewer("ann")
        desk.ask(viewer, "subscribe", {"task_ids": ["a"]})
        assert desk.ask(viewer, "unsubscribe", {"task_ids": ["a", "b"]}) == {"ok": True}
        assert "task:a" not in viewer.rooms

    def test_rooms_are_bounded_and_those_it_is_in_count_once(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A viewer at the bound may renew what it has; more is refused as a whole."""
        viewer, _ = desk.viewer("ann")
        monkeypatch.setattr(commands_module, "MAX_ROOMS", len(viewer.rooms) + 3)
        for task_id in "abcd":
            desk.operations.create_task(task_id, "ann")
        desk.ask(viewer, "subscribe", {"task_ids": list("abc")})
        assert ids(desk.ask(viewer, "subscribe", {"task_ids": list("abc")})["tasks"]) == list("abc")
        with pytest.raises(LimitReached):
            desk.ask(viewer, "subscribe", {"task_ids": list("abcd")})
        assert "task:d" not in viewer.rooms
        assert MAX_ROOMS == 2_000


class TestFirstSnapshot:
    def test_its_shape(self, desk: Desk) -> None:
        """As the wire has it, for somebody who sees nothing yet."""
        found, owed = desk.snapshot(ANN)
        assert owed == []
        assert found.pop("server_time").endswith("Z")
        assert found == {
            "epoch": desk.registry.epoch, "user_id": "ann", "tasks": [], "removed": [], "has_more": False
        }  # fmt: skip

    def test_unfinished_tasks_come_first_then_the_newest(self, desk: Desk) -> None:
        """Own, of one's groups, and of one's tickets; each once."""
        for number in range(3):
            desk.operations.create_task(f"done{number}", "ann", groups=["team"])
            desk.operations.complete_task(f"done{number}")
            desk.operations.create_task(f"run{number}", "ann", groups=["team"])
        desk.operations.create_task("ours", "bob", groups=["team"])
        desk.operations.create_task("ticket", "eve")
        desk.operations.create_task("foreign", "eve")
        found, owed = desk.snapshot(Grant("ann", ("team",), frozenset({"ticket", "run0", "none"})))
        assert sorted(ids(found["tasks"])[:2]) == ["run0", "ticket"]
        assert ids(found["tasks"])[2:] == ["ours", "run2", "run1", "done2", "done1", "done0"]
        assert (found["has_more"], owed) == (False, [])

    def test_it_holds_at_most_a_hundred_and_says_that_there_are_more(self, desk: Desk) -> None:
        """A client pages for the rest."""
        for number in range(MAX_SNAPSHOT_TASKS):
            desk.operations.create_task(f"t{number}", "ann")
        found, _ = desk.snapshot(ANN)
        assert (len(found["tasks"]), found["has_more"]) == (100, False)
        desk.operations.create_task("one-more", "ann")
        found, owed = desk.snapshot(ANN)
        assert (len(found["tasks"]), found["has_more"], owed) == (100, True, [])
        assert ids(found["tasks"])[0] == "one-more"

    def test_finished_ones_beyond_the_hundred_count_as_more(self, desk: Desk) -> None:
        """Also when all the room went to unfinished tasks."""
        desk.operations.create_task("done", "ann")
        desk.operations.complete_task("done")
        for number in range(MAX_SNAPSHOT_TASKS):
            desk.operations.create_task(f"t{number}", "ann")
        assert desk.snapshot(ANN)[0]["has_more"] is True

    def test_it_holds_at_most_64_kib_and_small_ones_fill_the_rest(self, desk: Desk) -> None:
        """After one that finds no room, a smaller one may."""
        desk.operations.create_task("small", "ann")
        for number in range(10):
            desk.operations.create_task(f"big{number}", "ann", metadata={"fill": "x" * 12_000})
        found, _ = desk.snapshot(ANN)
        assert len(json.dumps(found["tasks"])) < MAX_SNAPSHOT_BYTES + 2_000
        assert "small" in ids(found["tasks"])
        assert found["has_more"] is True

    def test_a_reconnect_gets_what_differs_from_its_cursors(self, desk: Desk) -> None:
        """Current ones are left out, old ones are there, and what is gone or no longer visible is named."""
        for task_id in ("same", "changed", "gone"):
            desk.operations.create_task(task_id, "ann")
        desk.operations.create_task("foreign", "eve")
        cursors = {task_id: desk.version(task_id) for task_id in ("same", "changed", "gone", "foreign")}
        desk.operations.update_task_progress("changed", "more")
        desk.operations.complete_task("gone")
        desk.operations.remove_task("gone")
        desk.operations.create_task("new", "ann")
        found, owed = desk.snapshot(ANN, ConnectAuth(epoch=desk.registry.epoch, cursors=cursors))
        assert sorted(ids(found["tasks"])) == ["changed", "new"]
        assert sorted(found["removed"]) == ["foreign", "gone"]
        assert owed == []

    def test_cursors_of_another_epoch_spare_nothing(self, desk: Desk) -> None:
        """Their versions mean something else."""
        desk.operations.create_task("a", "ann")
        found, owed = desk.snapshot(ANN, ConnectAuth(epoch="other", cursors={"a": desk.version("a"), "b": 1}))
        assert (ids(found["tasks"]), found["removed"], owed) == (["a"], ["b"], [])

    def test_a_cursor_that_finds_no_room_is_owed(self, desk: Desk) -> None:
        """The client knows the task, so it must hear what became of it; a current one is not owed."""
        for task_id in ("old", "current"):
            desk.operations.create_task(task_id, "ann")
        cursors = {"old": desk.version("old"), "current": desk.version("current")}
        desk.operations.update_task_progress("old", "more")
        for number in range(MAX_SNAPSHOT_TASKS):
            desk.operations.create_task(f"t{number}", "ann")
        found, owed = desk.snapshot(ANN, ConnectAuth(epoch=desk.registry.epoch, cursors=cursors))
        assert "old" not in ids(found["tasks"])
        assert owed == ["old"]

    def test_a_tickets_task_that_finds_no_room_is_owed(self, desk: Desk) -> None:
        """No page would ever list it."""
        held = [f"t{number}" for number in range(9)]
        for task_id in held:
            desk.operations.create_task(task_id, "eve", metadata={"fill": "x" * 12_000})
        found, owed = desk.snapshot(Grant(None, (), frozenset(held)))
        assert owed
        assert sorted(ids(found["tasks"]) + owed) == held
        assert found["user_id"] is None

    def test_long_results_are_left_out(self, desk: Desk) -> None:
        """HTTP has them."""
        desk.operations.create_task("a", "ann")
        desk.operations.complete_task("a", "x" * 5_000)
        [task] = desk.snapshot(ANN)[0]["tasks"]
        assert (task["result"], task["result_omitted"]) == (None, True)


class TestPages:
    def pages(self, desk: Desk, grant: Grant, limit: int, between: Callable[[], Any] = lambda: None) -> list[list[str]]:
        """The ids of all pages, one after another."""
        found: list[list[str]] = []
        before: str | None = None
        while not found or before is not None:
            page = json.loads(msgspec.json.encode(desk.commands.list(grant, limit, before)))
            found.append(ids(page["tasks"]))
            before = page["next"]
            between()
        return found

    def test_newest_first_to_the_end(self, desk: Desk) -> None:
        """Each once, whatever the page size; tasks of others not at all."""
        for number in range(7):
            desk.operations.create_task(f"t{number}", "ann", groups=["team"])
            desk.operations.create_task(f"x{number}", "eve")
        newest = [f"t{number}" for number in reversed(range(7))]
        assert self.pages(desk, Grant("ann", ("team",)), 3) == [newest[:3], newest[3:6], newest[6:]]
        assert self.pages(desk, Grant("ann"), 7) == [newest]
        assert self.pages(desk, Grant("bob"), 7) == [[]]
        assert self.pages(desk, Grant("bob", ("team",)), 100) == [newest]

    def test_the_bytes_end_a_page_early_and_its_cursor_goes_on_there(self, desk: Desk) -> None:
        """64 KiB a page; no task is lost between two pages, and none comes twice."""
        for number in range(20):
            desk.operations.create_task(f"t{number:02d}", "ann", metadata={"fill": "x" * 10_000})
        pages = self.pages(desk, ANN, 100)
        assert [len(page) for page in pages] == [6, 6, 6, 2]
        assert [task_id for page in pages for task_id in page] == [f"t{number:02d}" for number in reversed(range(20))]

    @pytest.mark.parametrize("change", ["removal", "creation"])
    def test_a_change_while_a_page_is_cut_loses_nothing(self, change: str) -> None:
        """The cursor belongs to what is on the page, though the registry is asked more than once for it."""
        changes: list[Callable[[], Any]] = []

        class Changing(MemoryRegistry):
            def list(self, **arguments: Any) -> Any:
                found = super().list(**arguments)
                if changes and arguments["before"] is None:
                    changes.pop()()
                return found

        desk = Desk(registry=Changing())
        for number in range(10):
            desk.operations.create_task(f"t{number}", "ann", metadata={"fill": "x" * 12_000})
        desk.operations.complete_task("t9")
        if change == "removal":
            changes.append(lambda: desk.operations.remove_task("t9"))
        else:
            changes.append(lambda: desk.operations.create_task("t10", "ann", metadata={"fill": "x" * 12_000}))
        listed = [task_id for page in self.pages(desk, ANN, 100) for task_id in page]
        assert changes == []
        assert [task_id for task_id in listed if task_id < "t9" and task_id != "t10"] == [
            f"t{number}" for number in reversed(range(9))
        ]

    def test_a_page_holds_one_task_however_big(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Paging always goes on."""
        monkeypatch.setattr(commands_module, "MAX_SNAPSHOT_BYTES", 10)
        for task_id in "abc":
            desk.operations.create_task(task_id, "ann")
        assert self.pages(desk, ANN, 100) == [["c"], ["b"], ["a"]]

    def test_the_command_pages_too(self, desk: Desk) -> None:
        """`list_tasks` answers with the epoch, the tasks and the cursor of the next page."""
        for task_id in "abc":
            desk.operations.create_task(task_id, "ann")
        viewer, _ = desk.viewer("ann")
        first = desk.ask(viewer, "list_tasks", {"limit": 2})
        assert (first["ok"], first["epoch"], ids(first["tasks"])) == (True, desk.registry.epoch, ["c", "b"])
        second = desk.ask(viewer, "list_tasks", {"limit": 2, "before": first["next"]})
        assert (ids(second["tasks"]), second["next"]) == (["a"], None)
        assert len(desk.ask(viewer, "list_tasks")["tasks"]) == 3

    def test_whatever_is_asked_is_answered_or_refused(self, desk: Desk) -> None:
        """No message raises anything but a `RealtimeError`."""
        viewer = desk.viewer("ann")[0]
        deep: Any = []
        for _ in range(10_000):
            deep = [deep]
        messages: list[Any] = [
            [], "x", 7, {"task_ids": deep}, {"task_id": deep}, {"limit": 2**70}, {"hidden": deep}, {"before": "\ud800"},
            {"task_ids": ["\ud800"]}, {"task_id": "\ud800"},
        ]  # fmt: skip
        for event in ("subscribe", "list_tasks", "cancel_task", "visibility", "remove_task", "unsubscribe", ""):
            for message in messages:
                with contextlib.suppress(RealtimeError):
                    assert desk.commands.answer(viewer, event, message)["ok"]
