"""The conflator: what it takes, when it lets go of it, and that the server comes to all that was acknowledged."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime.client.calls import ENDS, Call
from realtime.client.conflator import QUIET, Conflator
from realtime.client.entry import Full
from realtime.errors import (
    InvalidValue,
    LeaseHeld,
    RealtimeError,
    RegistryUnavailable,
    TaskAlreadyFinished,
    TaskNotFound,
)
from realtime.registry import transitions
from realtime.registry.conditional import When
from realtime.registry.memory import MemoryRegistry
from realtime.task import CANCELLED, COMPLETED, FAILED, NewTask, Task, TaskFailure, TaskStatus
from support.clock import Clock

INTERVAL = 0.0625


class Server:
    """A registry behind a conflator, in the place of sender, transport and server."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock(1000.0)  # small enough for sums to be exact
        self.registry = MemoryRegistry(clock=self.clock)
        self.conflator = Conflator(interval=INTERVAL, clock=self.clock, monotonic=self.clock, **settings)
        self.under_way: deque[Call] = deque()
        #: The calls that were made, in order.
        self.made: list[Call] = []

    def collect(self) -> float | None:
        calls, pause = self.conflator.collect()
        self.under_way.extend(calls)
        return pause

    def answer(self) -> Call:
        """Make the next call and take the answer back."""
        call = self.under_way.popleft()
        self.made.append(call)
        self.conflator.answered(call, self.do(call))
        return call

    def do(self, call: Call) -> Any:
        try:
            if call.verb == "create":
                return self.registry.create(call.args[0], exist_ok=call.args[1])[0]
            held = self.registry if call.holder is None else When(self.registry, holder=call.holder)
            return getattr(held, call.verb)(call.task_id, *call.args)
        except RealtimeError as error:
            return error

    def settle(self) -> None:
        """Let time pass until nothing waits any more."""
        for _ in range(100):
            self.clock.go(INTERVAL)
            if self.collect() is None and not self.under_way:
                return
            while self.under_way:
                self.answer()
        raise AssertionError("something always waits")

    def create(self, task_id: str = "t", **more: Any) -> Task:
        call = Call("create", task_id, (NewTask(task_id, **more), False))
        call.claimed = True
        self.conflator.put(call)
        self.collect()
        self.answer()
        task: Task = call.value()
        return task

    def update(self, task_id: str = "t", **given: Any) -> tuple[Task, Call | None]:
        names = ("message", "current", "total", "percent", "advance", "unit", "metadata")
        quiet: list[Call] = []
        update: Any = self.conflator.update  # mypy would not know how many arguments the names make
        task: Task = update(task_id, *(given.get(name) for name in names), quiet)
        return task, quiet[0] if quiet else None

    def end(self, verb: str, task_id: str = "t", *args: Any) -> Call:
        status = {"complete": COMPLETED, "fail": FAILED, "cancel": CANCELLED}[verb]
        call = Call(verb, task_id, args, len(args[0]) if verb == "complete" and args[0] else 0)
        call.claimed = True
        self.conflator.put(
            call, lambda task, now: task if task.finished else transitions.ended(task, now, status)
        )  # fmt: skip
        return call


@pytest.fixture
def server() -> Server:
    return Server()


class Told:
    """A flag that counts how often it was set."""

    def __init__(self) -> None:
        self.times = 0

    def set(self) -> None:
        self.times += 1


# One behaviour each.


def test_an_update_is_applied_to_what_is_known_here(server: Server) -> None:
    """It returns the newest state at once, with all that was said before."""
    server.create(total=100)
    server.update(advance=10)
    task, call = server.update(advance=15, message="Reading")
    assert (task.current, task.percent, task.message, call) == (25, 25.0, "Reading", None)
    assert server.registry.get("t") is not None
    assert server.registry.get("t").current == 0  # type: ignore[union-attr]


def test_many_updates_become_one_call_per_interval(server: Server) -> None:
    """However often a task is updated, it is written at most once per interval."""
    server.create()
    for _ in range(100):
        for _ in range(50):
            server.update(advance=1)
        server.clock.go(0.0078125)
        server.collect()
        while server.under_way:
            server.answer()
    server.settle()
    updates = [call for call in server.made if call.verb == "update"]
    assert 12 <= len(updates) <= 14
    assert server.registry.get("t").current == 5000  # type: ignore[union-attr]


def test_a_task_written_at_once_waits_its_interval_all_the_same(server: Server) -> None:
    """What went ahead of its turn is followed after the interval, not at the next tick."""
    server.create()
    server.settle()
    server.clock.go(1)
    server.update(message="first")  # after a quiet time: at once
    server.collect()
    assert server.answer().args[0] == "first"
    server.update(message="second")
    assert server.collect() is not None
    assert not server.under_way
    server.clock.go(INTERVAL)
    server.collect()
    assert server.answer().args[0] == "second"


def test_only_what_is_urgent_goes_between_two_ticks(server: Server) -> None:
    """An end takes along what waits for its task, and nothing of the others."""
    server.create("a")
    server.create("b")
    server.settle()
    server.update("a", message="a")
    server.update("b", message="b")
    server.collect()  # the tick, and both were written just now
    server.clock.go(INTERVAL / 2)
    server.update("a", advance=1)
    server.update("b", advance=1)
    server.under_way.clear()
    server.conflator.write("b", "output", b"last words")
    server.end("complete", "b", None)
    server.collect()
    assert [(call.verb, call.task_id) for call in server.under_way] == [
        ("update", "b"), ("append_output", "b"), ("complete", "b"),
    ]  # fmt: skip


def test_tasks_of_one_interval_go_together(server: Server) -> None:
    """A task that speaks just after another has gone waits for the next turn: requests do not grow with the tasks. The
    sender, which will look again by itself, is not woken for it.
    """
    for task_id in "ab":
        server.create(task_id)
    woken: list[str] = []
    server.clock.go(INTERVAL)
    server.conflator.wake = lambda: woken.append("")
    server.update("a", advance=1)
    assert server.collect() is None
    assert len(server.under_way) == 1
    server.clock.go(INTERVAL / 4)
    server.update("b", advance=1)
    assert server.collect() == INTERVAL * 3 / 4
    assert len(server.under_way) == 1
    assert len(woken) == 2
    server.update("a", advance=1)
    server.clock.go(INTERVAL * 3 / 4)
    assert server.collect() is None
    assert [call.task_id for call in server.under_way] == ["a", "b", "a"]
    assert len(woken) == 2


def test_after_a_quiet_time_an_update_is_worth_a_wait(server: Server) -> None:
    """Then it goes at once, and its call is returned; its answer is what the caller hears of."""
    server.create()
    assert server.update(advance=1)[1] is None  # it was heard of just now
    server.settle()
    server.clock.go(QUIET + 0.01)
    server.registry.request_cancel("t")
    _, call = server.update(advance=1)
    assert call is not None
    assert server.update(advance=1)[1] is None  # an answer is on its way
    server.collect()
    while server.under_way:
        server.answer()
    assert call.value().cancel_requested_at is not None
    assert server.update(advance=1)[0].cancel_requested_at is not None


def test_nobody_waits_for_a_server_that_is_away(server: Server) -> None:
    """Neither while it cannot be reached, nor after one has waited in vain."""
    server.conflator.away = True
    assert server.update("x", advance=1)[1] is None
    server.conflator.away, server.conflator.late = False, True
    assert server.update("y", advance=1)[1] is None
    server.conflator.late = False
    assert server.update("z", advance=1)[1] is not None


def test_an_error_is_raised_by_the_next_call_once(server: Server) -> None:
    """It is told where somebody can act on it; the call after it asks anew."""
    server.create()
    server.registry.complete("t", None)
    server.update(advance=1)
    server.settle()
    with pytest.raises(TaskAlreadyFinished):
        server.update(advance=1)
    _, call = server.update(advance=1)
    assert call is not None  # asked at once


def test_an_error_that_somebody_waits_for_is_theirs(server: Server) -> None:
    """It is not raised a second time."""
    _, call = server.update("nobody", advance=1)
    assert call is not None
    server.collect()
    server.answer()
    with pytest.raises(TaskNotFound):
        call.value()
    assert server.update("nobody", advance=1)[1] is not None


@pytest.mark.parametrize(
    ("verb", "args"), [("complete", (None,)), ("fail", (TaskFailure(None, "no", "no", None, None),)), ("cancel", ())]
)
def test_an_end_that_is_refused_takes_an_error_that_was_kept_with_it(
    server: Server, verb: str, args: tuple[Any, ...]
) -> None:
    """It was the next call, and has raised; the task is let go of, and not refused once more later."""
    server.create()
    server.registry.remove(server.registry.complete("t", None).task_id)
    server.update(advance=1)
    server.settle()
    call = server.end(verb, "t", *args)
    server.settle()
    with pytest.raises(TaskNotFound):
        call.value()
    assert not server.conflator._entries
    server.registry.create(NewTask("t"))
    server.update(message="another of that name")
    server.settle()
    assert server.registry.get("t").message == "another of that name"  # type: ignore[union-attr]


def test_one_heartbeat_of_a_task_waits_at_a_time(server: Server) -> None:
    """A server that is away does not find hundreds of them; the next follows the answer."""
    server.create()
    for _ in range(3):
        server.conflator.beat("t", 30.0, "me")
        server.clock.go(INTERVAL)
        server.collect()
    assert [(call.verb, call.args) for call in server.under_way] == [("heartbeat", (30.0, "me", False))]
    server.answer()
    server.conflator.beat("t", 30.0, "me")
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    assert [call.verb for call in server.made] == ["create", "heartbeat", "heartbeat"]


def test_a_heartbeat_rides_with_what_waits(server: Server) -> None:
    """It goes out at the next tick, behind the update before it, and nobody is woken for it twice."""
    server.create()
    server.clock.go(INTERVAL)
    server.update(advance=1)
    server.conflator.beat("t", 30.0, "me")
    server.update(advance=1)
    server.collect()
    assert [call.verb for call in server.under_way] == ["update", "heartbeat", "update"]


def test_a_heartbeat_that_is_refused_tells_the_next_call(server: Server) -> None:
    """Whoever was lost hears of it at its next word."""
    server.create()
    server.registry.complete("t", None)
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    with pytest.raises(TaskAlreadyFinished):
        server.update(advance=1)


def test_the_heartbeat_of_a_block_acknowledges_a_request_to_stop(server: Server) -> None:
    """At once, and once, when it is answered with one; a heartbeat that somebody waits for is theirs to answer."""
    server.create()
    server.registry.request_cancel("t")
    asked = Call("heartbeat", "t", (30.0, None, False))
    asked.claimed = True
    server.conflator.put(asked)
    server.settle()
    assert asked.value().cancel_acknowledged_at is None
    server.conflator.beat("t", 30.0, "me")
    server.clock.go(INTERVAL)
    server.collect()
    server.answer()
    assert server.collect() is None  # no time has passed
    assert [call.verb for call in server.under_way] == ["acknowledge_cancel"]
    server.settle()
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    assert [call.verb for call in server.made[1:]] == ["heartbeat", "heartbeat", "acknowledge_cancel", "heartbeat"]
    assert server.registry.get("t").cancel_acknowledged_at is not None  # type: ignore[union-attr]


def test_an_acknowledgement_that_is_refused_is_nobodys_error(server: Server) -> None:
    """By a server that knows none, or of a task that has ended; the next call goes on."""
    server.create()
    server.conflator.put(Call("acknowledge_cancel", "t", ()))
    server.clock.go(INTERVAL)
    server.collect()
    server.conflator.answered(server.under_way.popleft(), InvalidValue("op", "there is no such operation"))
    server.update(message="goes on")
    server.settle()
    assert server.registry.get("t").message == "goes on"  # type: ignore[union-attr]


def test_what_is_said_of_a_held_task_is_said_by_its_holder(server: Server) -> None:
    """From the confirmed heartbeat on, even if the task is forgotten meanwhile; until it ends, or is held no more."""
    server.create()
    server.update(message="anybody's")
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    server.update(message="mine")
    server.conflator.write("t", "output", b"mine")
    server.settle()
    server.registry.heartbeat("t", 30.0, "another", True)
    end = server.end("complete", "t", None)
    server.settle()
    assert isinstance(end.answer, LeaseHeld)
    assert not server.conflator._entries
    server.update(message="mine?")
    server.settle()
    assert server.registry.get("t").message == "mine"  # type: ignore[union-attr]
    server.conflator.disown("t")
    server.update(message="anybody's")
    server.settle()
    assert [call.holder for call in server.made] == [None, None, None, "me", "me", "me", "me", None]
    server.registry.heartbeat("t", 30.0, "me", True)
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    server.end("complete", "t", None)
    server.settle()
    assert not server.conflator._holders


def test_a_heartbeat_after_an_end_is_nobodys_error(server: Server) -> None:
    """The heart may beat once more while the end is on its way, before it and behind it; nothing stays of the task."""
    server.create()
    server.clock.go(INTERVAL)
    server.conflator.beat("t", 30.0, "me")
    server.collect()
    server.registry.complete("t", None)  # by another
    end = server.end("complete", "t", None)
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    assert end.value().finished
    assert [call.verb for call in server.made] == ["create", "heartbeat", "complete"]
    assert isinstance(server.made[1].answer, TaskAlreadyFinished)
    assert not server.conflator._entries


def test_a_heartbeat_after_an_end_leaves_nothing_behind(server: Server) -> None:
    """Though whoever has said the end waits for it no more, and another has ended the task otherwise."""
    server.create()
    server.clock.go(INTERVAL)
    server.conflator.beat("t", 30.0, "me")
    server.collect()
    server.registry.fail("t", TaskFailure(None, "no", "no"))
    server.end("complete", "t", None).claimed = False
    server.settle()
    assert [type(call.answer) for call in server.made[1:]] == [TaskAlreadyFinished] * 2
    assert not server.conflator._entries


def test_what_is_given_back_is_said_by_nobody_in_particular(server: Server) -> None:
    """From the answer on: it is another's by then."""
    server.create()
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    server.conflator.put(Call("release", "t", ("me",)))
    server.settle()
    server.registry.heartbeat("t", 30.0, "another")
    server.update(message="anybody's")
    server.settle()
    assert (server.made[-1].verb, server.made[-1].holder) == ("update", None)
    assert server.registry.get("t").message == "anybody's"  # type: ignore[union-attr]


def test_an_end_that_is_refused_when_nobody_waits_is_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no next call that could raise it."""
    server.create()
    server.registry.fail("t", TaskFailure(None, "no", "no"))
    server.end("complete", "t", None).claimed = False
    server.settle()
    assert "What was said of the task t was refused" in caplog.text
    caplog.clear()
    server.create("u")
    server.registry.fail("u", TaskFailure(None, "no", "no"))
    assert isinstance(server.end("complete", "u", None), Call)
    server.settle()
    assert caplog.text == ""


def test_a_server_that_knows_no_heartbeats_is_no_error_of_the_next_call(server: Server) -> None:
    """A task is reported to it as before."""
    server.create()
    server.conflator.beat("t", 30.0, "me")
    server.clock.go(INTERVAL)
    server.collect()
    server.conflator.answered(server.under_way.popleft(), InvalidValue("op", "there is no such operation"))
    server.update(message="goes on")
    server.settle()
    assert server.registry.get("t").message == "goes on"  # type: ignore[union-attr]


def test_there_may_be_no_room_for_a_heartbeat() -> None:
    """Of a task that is not known here; of those that wait there is."""
    server = Server(max_tasks=1)
    server.create()
    server.update(message="waits")
    with pytest.raises(Full):
        server.conflator.beat("u", 30.0, "me")
    server.conflator.beat("t", 30.0, "me")
    server.settle()
    assert server.made[-1].verb == "heartbeat"


def test_the_record_follows_the_answers_with_what_still_waits(server: Server) -> None:
    """What others did to the task shows, and so does what was said here since."""
    server.create(total=100)
    server.clock.go(INTERVAL)
    server.update(advance=10)
    server.collect()
    server.update(advance=1)
    server.registry.update("t", advance=50)
    server.answer()
    assert server.update()[0].current == 61


def test_nothing_follows_an_end_said_here(server: Server) -> None:
    """Not even while the server has not heard of the end."""
    server.create()
    server.end("complete", "t", b"1")
    with pytest.raises(TaskAlreadyFinished):
        server.update(advance=1)
    with pytest.raises(TaskAlreadyFinished):
        server.conflator.write("t", "output", b"late")


def test_an_end_that_the_server_refuses_leaves_the_task_as_the_server_has_it(server: Server) -> None:
    """Here it is not known any more, and asked for at the next call."""
    server.create()
    server.registry.cancel("t")
    call = server.end("complete", "t", b"1")
    server.settle()
    with pytest.raises(TaskAlreadyFinished):
        call.value()
    assert server.conflator.known("t") == (None, False)


def test_the_end_of_a_stream_is_what_the_server_has_and_what_waits(server: Server) -> None:
    """Others may write to it, too."""
    server.create()
    assert server.conflator.write("t", "output", b"12345")[0] == 5
    server.clock.go(INTERVAL)
    server.collect()
    assert server.conflator.write("t", "output", b"678")[0] == 8
    server.registry.append_output("t", "output", b"another")
    server.answer()
    assert server.conflator.write("t", "output", b"9")[0] == 16
    server.settle()
    piece = server.registry.read_output("t", "output", 0, 99, 99)
    assert piece is not None
    assert piece.data == b"another123456789"


def test_no_more_waits_than_the_bounds_allow() -> None:
    """What is beyond them is refused and changes nothing; there is room again once something is answered."""
    server = Server(max_tasks=2, max_bytes=10)
    server.create("a")
    server.create("b")
    server.conflator.write("a", "output", b"12345678")
    with pytest.raises(Full):
        server.conflator.write("b", "output", b"123")
    with pytest.raises(Full):
        server.end("complete", "b", b"123")
    server.update("b", message="waits")
    with pytest.raises(Full):
        server.update("c", message="one too many")
    told = Told()
    server.conflator.crowd(told)
    server.settle()
    assert told.times == 1
    assert server.conflator.write("b", "output", b"123")[0] == 3
    server.settle()
    assert server.update("c", message="room")[1] is not None
    assert [call.task_id for call in server.made if call.args[:1] == ("waits",)] == ["b"]


def test_a_fork_leaves_to_the_parent_what_is_the_parents(server: Server) -> None:
    """The child knows the task, and sends nothing that was said before."""
    server.create(name="Export")
    server.update(advance=1)
    server.conflator.write("t", "output", b"the parent's")
    server.conflator.ask(Call("get", "t", ()))
    server.conflator.begin()
    server.clock.go(1)
    server.collect()
    assert not server.under_way
    assert server.conflator.known("t")[0].name == "Export"  # type: ignore[union-attr]
    server.update(advance=5)
    server.settle()
    assert server.registry.get("t").current == 5  # type: ignore[union-attr]


def test_a_lease_is_the_parents_after_a_fork(server: Server) -> None:
    """What the child says, it says as nobody in particular: nor would it know when the lease is over."""
    server.create()
    server.conflator.beat("t", 30.0, "h")
    server.settle()
    server.update(advance=1)
    server.settle()
    assert server.made[-1].holder == "h"
    server.conflator.begin()
    server.update(advance=1)
    server.collect()
    assert server.under_way[-1].holder is None


def test_no_heartbeat_follows_an_end_said_here(server: Server) -> None:
    """It would be refused."""
    server.create()
    server.settle()
    server.conflator.put(Call("complete", "t", (None,)), lambda task, now: transitions.ended(task, now, COMPLETED))
    server.conflator.beat("t", 30.0, "h")
    server.settle()
    assert server.made[-1].verb == "complete"


def test_a_refusal_is_raised_at_the_next_output_too(server: Server) -> None:
    """Whatever is said next of the task."""
    server.create()
    server.settle()
    server.registry.cancel("t")
    server.update(advance=1)
    server.settle()
    with pytest.raises(TaskAlreadyFinished):
        server.conflator.write("t", "output", b"text")


def test_what_nobody_has_spoken_of_is_let_go_of(server: Server) -> None:
    """So that a worker that lives for ever does not hold every task it ever had."""
    server.create()
    server.settle()
    server.conflator.tidy()
    assert server.conflator.known("t")[0] is not None
    server.clock.go(61)
    server.update("u", advance=1)
    server.conflator.tidy()
    assert server.conflator.known("t") == (None, False)
    server.settle()
    assert server.made[-1].task_id == "u"


def test_an_error_is_kept_for_a_while(server: Server) -> None:
    """For the next call of its task, longer than what is known of others; not for ever, nor in the way of others."""
    server.conflator._max_tasks = 2
    for task_id in "ab":
        server.create(task_id)
        server.clock.go(INTERVAL)
        server.update(task_id, advance=1)
        server.registry.cancel(task_id)
        server.settle()
    server.clock.go(61)
    server.conflator.tidy()
    with pytest.raises(TaskAlreadyFinished):
        server.update("a", advance=1)
    server.update("c", advance=1)
    server.settle()
    server.update("d", advance=1)
    server.settle()
    server.clock.go(121)
    server.conflator.tidy()
    assert not server.conflator._entries


def test_ended_tasks_are_let_go_of_at_once(server: Server) -> None:
    """They have nothing more to say."""
    for number in range(50):
        server.create(f"t{number}")
        server.end("complete", f"t{number}", None)
        server.settle()
    assert not server.conflator._entries


def test_all_that_was_said_is_what_a_flush_waits_for(server: Server) -> None:
    """What waits goes now, and what is under way counts."""
    assert server.conflator.outstanding() == []
    server.create()
    server.clock.go(INTERVAL)
    server.update(message="under way")
    server.collect()
    server.update(message="waits")
    server.conflator.write("t", "output", b"too")
    last = server.conflator.outstanding()
    assert [call.verb for call in last] == ["update", "append_output"]
    server.collect()
    while server.under_way:
        server.answer()
    assert all(call.answered for call in last)
    assert server.conflator.outstanding() == []


def test_what_is_read_is_read_after_what_was_said(server: Server) -> None:
    """Also where that has still time: whoever asks sees their own last word."""
    server.create()
    server.clock.go(INTERVAL)
    server.update(message="one")
    server.collect()
    server.update(message="two")
    call = Call("get", "t", ())
    server.conflator.ask(call)
    server.collect()
    while server.under_way:
        server.answer()
    assert call.value().message == "two"


def test_a_finalizer_that_runs_inside_the_lock_is_known_as_one(server: Server) -> None:
    """It must not wait for what needs the lock."""
    assert not server.conflator.held_here()
    with server.conflator._lock:
        assert server.conflator.held_here()


def test_a_wrong_sum_changes_nothing(server: Server) -> None:
    """And leaves the lock free."""
    server.create()
    server.update(current=2**53)
    with pytest.raises(InvalidValue):
        server.update(advance=1)
    assert server.update()[0].current == 2**53
    assert not server.conflator.held_here()


# Any order of things.


class Worker(RuleBasedStateMachine):
    """A worker, its server and what lies between. The model holds what the worker was promised."""

    tasks = st.sampled_from(("a", "b", "c"))

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(max_bytes=60)
        self.promised: dict[str, dict[str, Any]] = {}
        #: When each task's updates were collected, without those that go at once.
        self.collected: dict[str, float] = {}
        self.urgent: set[str] = set()
        for task_id in ("a", "b", "c"):
            self.server.create(task_id, total=10**6)
            self.promised[task_id] = {"current": 0, "message": "Starting...", "output": b"", "end": None, "open": True}

    def take(self, task_id: str, function: Any) -> bool:
        """Whether it was taken. What is refused must not have changed anything."""
        promised = self.promised[task_id]
        try:
            function()
        except TaskAlreadyFinished:
            assert not promised["open"] or promised["end"] is not None
            return False
        except Full:
            return False
        # After an end that the server knows of, nothing is known here: the answer to what is said then will tell.
        assert promised["end"] is None or promised["call"].answered
        return promised["end"] is None

    @rule(task_id=tasks, steps=st.integers(0, 9))
    def advances(self, task_id: str, steps: int) -> None:
        def advance() -> None:
            task, call = self.server.update(task_id, advance=steps)
            self.note_urgent(task_id, call)
            if self.promised[task_id]["open"] and self.promised[task_id]["end"] is None:
                assert task.current == self.promised[task_id]["current"] + steps

        if self.take(task_id, advance):
            self.promised[task_id]["current"] += steps

    @rule(task_id=tasks, message=st.text(max_size=3))
    def says(self, task_id: str, message: str) -> None:
        if self.take(task_id, lambda: self.note_urgent(task_id, self.server.update(task_id, message=message)[1])):
            self.promised[task_id]["message"] = message

    @rule(task_id=tasks, current=st.integers(0, 99))
    def counts(self, task_id: str, current: int) -> None:
        if self.take(task_id, lambda: self.note_urgent(task_id, self.server.update(task_id, current=current)[1])):
            self.promised[task_id]["current"] = current

    @rule(task_id=tasks, text=st.text("abé", min_size=1, max_size=15))
    def writes(self, task_id: str, text: str) -> None:
        data = text.encode()

        def write() -> None:
            self.note_urgent(task_id, self.server.conflator.write(task_id, "output", data)[1])

        if self.take(task_id, write):
            self.promised[task_id]["output"] += data

    @rule(task_id=tasks, verb=st.sampled_from(sorted(ENDS)))
    def ends(self, task_id: str, verb: str) -> None:
        promised = self.promised[task_id]
        args: tuple[Any, ...] = {"complete": (b"1",), "fail": (TaskFailure(None, "no", "failed"),), "cancel": ()}[verb]
        with contextlib.suppress(Full):
            call = self.server.end(verb, task_id, *args)
            self.urgent.add(task_id)
            if promised["end"] is None:
                promised["call"] = call
                promised["end"] = {"complete": COMPLETED, "fail": FAILED, "cancel": CANCELLED}[verb]

    @rule(seconds=st.sampled_from((0.0078125, 0.0625, 0.75)))
    def time_passes(self, seconds: float) -> None:
        self.server.clock.go(seconds)

    @rule()
    def collects(self) -> None:
        before = len(self.server.under_way)
        self.server.collect()
        now = self.server.clock.now
        for task_id in {call.task_id for call in list(self.server.under_way)[before:]}:
            if task_id not in self.urgent and self.promised[task_id]["end"] is None:
                assert now - self.collected.get(task_id, 0.0) >= INTERVAL, "more than one write per interval"
            self.collected[task_id] = now
        self.urgent.clear()

    @precondition(lambda self: self.server.under_way)
    @rule()
    def is_answered(self) -> None:
        self.server.answer()

    @rule()
    def is_away(self) -> None:
        self.server.conflator.away = not self.server.conflator.away

    @rule(task_id=tasks)
    def is_cancelled_by_others(self, task_id: str) -> None:
        with contextlib.suppress(TaskAlreadyFinished):
            self.server.registry.cancel(task_id)
            self.promised[task_id]["open"] = False

    def note_urgent(self, task_id: str, call: Call | None) -> None:
        if call is not None:
            call.claimed = False  # nobody waits in this model: errors are for the next call
            self.urgent.add(task_id)

    @invariant()
    def nothing_is_held_beyond_the_bound(self) -> None:
        assert 0 <= self.server.conflator._size <= 60

    def teardown(self) -> None:
        self.server.settle()
        assert self.server.conflator._size == 0
        for task_id, promised in self.promised.items():
            task = self.server.registry.get(task_id)
            assert task is not None
            output = self.server.registry.read_output(task_id, "output", 0, 10**6, 10**6)
            written = b"" if output is None else output.data
            if not promised["open"]:
                assert task.status in (CANCELLED, promised["end"])
                assert promised["output"].startswith(written)
                continue
            assert (task.current, task.message) == (promised["current"], promised["message"])
            assert written == promised["output"]
            assert task.status is (promised["end"] or TaskStatus.PROCESSING)


TestWorker = Worker.TestCase
TestWorker.settings = settings(stateful_step_count=30, max_examples=40, deadline=None)


def test_full_is_a_registry_that_is_unavailable() -> None:
    """So that whoever handles the one handles the other."""
    assert issubclass(Full, RegistryUnavailable)
