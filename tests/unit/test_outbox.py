"""The outbox: order, bounds, and when a viewer can take another flush. Packets are Engine.IO's own."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from engineio import packet as engineio_packet
from engineio.socket import Socket

from realtime.concurrency import ThreadingConcurrency
from realtime.outbox import Outbox
from realtime.protocol import MAX_CONTROL_BYTES, MAX_POLLED_PACKETS
from support.watching import HandConcurrency


class Empty(Exception):
    """What the engine's queue raises."""


def batch(packets: Iterable[Any]) -> Any:
    """A flush of these packets."""
    return SimpleNamespace(frames=[SimpleNamespace(packet=packet) for packet in packets])


def packet(data: Any) -> Any:
    return engineio_packet.Packet(engineio_packet.MESSAGE, data)


@pytest.fixture
def outbox() -> Outbox:
    """An outbox whose blocking `get` gives up at once."""
    return Outbox(HandConcurrency(), Empty)


def websocket(outbox: Outbox) -> Outbox:
    """The same, now written to by a WebSocket."""
    outbox.connection = SimpleNamespace(upgraded=True)
    return outbox


def take(outbox: Outbox) -> list[Any]:
    """One round of the engine's writer: what it takes before it writes. Empty when there was nothing."""
    try:
        taken = [outbox.get(timeout=25)]
    except Empty:
        return []
    while True:
        try:
            taken.append(outbox.get(block=False))
        except Empty:
            return [None if each is None else each.data for each in taken]


class TestOrder:
    def test_first_in_first_out(self, outbox: Outbox) -> None:
        """Control packets and flushes leave in the order in which they came."""
        outbox.put(packet("answer"))
        outbox.push(batch([packet("a"), packet("b")]))
        outbox.put(packet("ping"))
        assert outbox.qsize() == 4
        assert not outbox.empty()
        assert take(outbox) == ["answer", "a", "b", "ping"]
        assert outbox.empty()
        assert outbox.qsize() == 0

    def test_order_holds_across_threads(self) -> None:
        """Each thread's packets arrive in its order, none twice and none lost, and a waiting writer is woken."""
        outbox = websocket(Outbox(ThreadingConcurrency(), Empty))
        threads, each = 4, 500
        got: list[str] = []

        def write() -> None:
            while len(got) < threads * each:
                got.append(outbox.get(timeout=30).data)

        def send(name: int) -> None:
            for number in range(each):
                outbox.put(packet(f"{name}.{number}"))

        writer = threading.Thread(target=write)
        writer.start()
        senders = [threading.Thread(target=send, args=(name,)) for name in range(threads)]
        for thread in senders:
            thread.start()
        for thread in (*senders, writer):
            thread.join(60)
        assert not writer.is_alive()
        for name in range(threads):
            assert [text for text in got if text.startswith(f"{name}.")] == [f"{name}.{i}" for i in range(each)]
        assert outbox.empty()

    def test_a_flush_is_not_torn_by_another_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The packets of one flush stand together."""
        outbox = websocket(Outbox(ThreadingConcurrency(), Empty))
        begun, stop = threading.Event(), threading.Event()

        def chatter() -> None:
            while not stop.is_set() and outbox.qsize() < 200_000:
                outbox.put(packet(""))
                begun.set()

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        thread = threading.Thread(target=chatter)
        try:
            thread.start()
            assert begun.wait(60)
            outbox.push(batch(packet(f"{number}") for number in range(2_000)))
        finally:
            stop.set()
            thread.join(60)
            sys.setswitchinterval(before)
        data = [text for text in take(outbox) if text is not None]
        start = data.index("0")
        assert data[start : start + 2_000] == [f"{number}" for number in range(2_000)]


class TestEnginesQueue:
    def test_it_raises_the_engines_empty(self, outbox: Outbox) -> None:
        """At once without blocking; after its timeout with."""
        waits: list[float | None] = []

        def wait(timeout: float | None) -> bool:
            waits.append(timeout)
            return False

        concurrency = HandConcurrency()
        concurrency.on_wait = wait
        outbox = Outbox(concurrency, Empty)
        with pytest.raises(Empty):
            outbox.get(block=False)
        assert waits == []
        with pytest.raises(Empty):
            outbox.get(timeout=45)
        assert waits == [45]

    def test_a_flush_wakes_the_writer(self) -> None:
        """A writer that waits takes a flush as it takes any packet."""
        concurrency = HandConcurrency()
        outbox = Outbox(concurrency, Empty)

        def wait(timeout: float | None) -> bool:
            before = concurrency.events[0].sets
            outbox.push(batch([packet("a")]))
            return concurrency.events[0].sets > before

        concurrency.on_wait = wait
        assert outbox.get().data == "a"

    def test_a_packet_that_comes_while_it_waits_is_taken(self) -> None:
        """A wake-up for what somebody else took goes back to waiting."""
        concurrency = HandConcurrency()
        outbox = Outbox(concurrency, Empty)
        arrivals: list[Callable[[], None]] = [lambda: None, lambda: outbox.put(packet("late"))]

        def wait(timeout: float | None) -> bool:
            arrivals.pop(0)()
            return True

        concurrency.on_wait = wait
        assert outbox.get().data == "late"
        assert concurrency.events[0].sets == 1

    def test_none_ends_the_connection(self, outbox: Outbox) -> None:
        """The sentinel passes through, in order, also when the outbox takes nothing else any more."""
        outbox.attach(lambda: None, lambda: None)
        last = "x" * MAX_CONTROL_BYTES
        outbox.put(packet(last))
        outbox.put(packet("too late"))
        outbox.put(None)
        assert take(outbox) == [last, None]

    def test_one_large_message_is_the_hosts_affair(self, outbox: Outbox) -> None:
        """The bound is on what waits: a single emit may be larger, and what comes behind it is then too much."""
        closed: list[bool] = []
        outbox.attach(lambda: None, lambda: closed.append(True))
        outbox.put(packet("x" * 2 * MAX_CONTROL_BYTES))
        assert (closed, outbox.qsize()) == ([], 1)
        outbox.put(packet("x"))
        assert closed == [True]

    def test_it_is_what_the_engine_polls(self, outbox: Outbox) -> None:
        """Engine.IO's own `poll` reads it: a batch, then the end; a sentinel behind packets is left for next time."""
        server = SimpleNamespace(
            create_queue=lambda: outbox, get_queue_empty_exception=lambda: Empty, ping_interval=25, ping_timeout=20
        )
        socket = Socket(server, "sid")
        outbox.put(packet("a"))
        outbox.push(batch([packet("b")]))
        assert [each.data for each in socket.poll()] == ["a", "b"]
        outbox.put(packet("c"))
        outbox.put(None)
        assert [each.data for each in socket.poll()] == ["c"]
        assert socket.poll() == []

    def test_nobody_waits_for_a_viewer_to_read(self, outbox: Outbox) -> None:
        """`join`, which a closing connection calls, returns while packets wait."""
        outbox.put(packet("unread"))
        outbox.task_done()
        outbox.join()
        assert not outbox.empty()

    def test_it_has_all_that_the_engine_calls_on_a_queue(self, outbox: Outbox) -> None:
        """The names are those of the standard library's queue."""
        for name in ("put", "get", "task_done", "join", "empty", "qsize"):
            assert callable(getattr(queue.Queue, name))
            assert callable(getattr(outbox, name))


class TestReadiness:
    @pytest.fixture
    def ready(self, outbox: Outbox) -> list[str]:
        """Grows with each call of the readiness callback."""
        calls: list[str] = []
        websocket(outbox).attach(lambda: calls.append("ready"), lambda: calls.append("overflow"))
        return calls

    def test_a_flush_is_in_flight_until_the_writer_comes_back(self, outbox: Outbox, ready: list[str]) -> None:
        """Taken is not written: only the next blocking `get` says so."""
        before = time.monotonic()
        outbox.push(batch([packet("a"), packet("b")]))
        assert outbox.busy_since is not None
        assert before <= outbox.busy_since <= time.monotonic()
        assert take(outbox) == ["a", "b"]
        assert outbox.busy_since is not None
        assert ready == []
        assert take(outbox) == []
        assert outbox.busy_since is None
        assert ready == ["ready"]

    def test_it_is_told_once_for_each_flush(self, outbox: Outbox, ready: list[str]) -> None:
        """A writer that comes back with nothing in flight wakes nobody."""
        outbox.put(packet("ping"))
        take(outbox)
        take(outbox)
        assert ready == []
        outbox.push(batch([packet("a")]))
        for _ in range(3):
            take(outbox)
        assert ready == ["ready"]

    def test_what_came_behind_the_flush_does_not_hold_it_up(self, outbox: Outbox, ready: list[str]) -> None:
        """A host app that emits without a pause leaves the queue never empty; the flush was written all the same."""
        outbox.push(batch([packet("a")]))
        take(outbox)
        outbox.put(packet("chat"))
        assert take(outbox) == ["chat"]
        assert (outbox.busy_since, ready) == (None, ["ready"])

    def test_part_of_a_flush_is_not_the_flush(self, outbox: Outbox, ready: list[str]) -> None:
        """A long poll takes ten packets; the flush is in flight until the poll after its last one."""
        outbox.connection = None
        for number in range(5):
            outbox.put(packet(f"answer {number}"))
        outbox.push(batch([packet(f"{number}") for number in range(MAX_POLLED_PACKETS)]))
        assert len(take(outbox)) == MAX_POLLED_PACKETS
        assert len(take(outbox)) == 5
        assert ready == []
        take(outbox)
        assert ready == ["ready"]

    def test_a_viewer_that_has_gone_is_not_told(self, outbox: Outbox, ready: list[str]) -> None:
        """The connection lives on for the host's namespaces: no callback, and no bound."""
        outbox.push(batch([packet("a")]))
        take(outbox)
        outbox.detach()
        take(outbox)
        assert outbox.busy_since is None
        outbox.put(packet("x" * (MAX_CONTROL_BYTES + 1)))
        assert len(take(outbox)) == 1
        assert ready == []


class TestBounds:
    def test_waiting_control_packets_have_256_kib(self, outbox: Outbox) -> None:
        """One byte more closes the viewer, once, and is not kept; nor is what follows."""
        closed: list[int] = []
        outbox.attach(lambda: None, lambda: closed.append(outbox.qsize()))
        half = packet("x" * (MAX_CONTROL_BYTES // 2))
        outbox.put(half)
        outbox.put(half)
        assert closed == []
        outbox.put(packet("x"))
        outbox.put(packet("x"))
        assert closed == [2]
        assert outbox.qsize() == 2

    def test_what_was_taken_counts_no_more(self, outbox: Outbox) -> None:
        """The bound is on what waits, not on what has passed."""
        closed: list[bool] = []
        websocket(outbox).attach(lambda: None, lambda: closed.append(True))
        for _ in range(10):
            outbox.put(packet("x" * (MAX_CONTROL_BYTES // 2)))
            take(outbox)
        outbox.put(packet("x" * MAX_CONTROL_BYTES))
        assert closed == []

    def test_a_flush_counts_for_itself(self, outbox: Outbox) -> None:
        """The hub has bounded it already; acknowledgements have their room beside it, before and after."""
        closed: list[bool] = []
        websocket(outbox).attach(lambda: None, lambda: closed.append(True))
        outbox.push(batch([packet("x" * MAX_CONTROL_BYTES)]))
        outbox.put(packet("x" * MAX_CONTROL_BYTES))
        assert closed == []
        take(outbox)
        outbox.put(packet("x" * MAX_CONTROL_BYTES))
        outbox.put(packet("x"))
        assert closed == [True]

    @pytest.mark.parametrize(
        ("data", "size"), [("é" * 1_000, 2_000), (b"\xff" * 1_000, 1_000), ("\ud800" * 10, 10), ({"an": "object"}, 0)]
    )
    def test_sizes_are_bytes_on_the_wire(self, outbox: Outbox, data: Any, size: int) -> None:
        """Text counts as UTF-8, whatever is in it."""
        closed: list[bool] = []
        outbox.attach(lambda: None, lambda: closed.append(True))
        outbox.put(packet(data))
        outbox.put(packet("x" * (MAX_CONTROL_BYTES - size)))
        assert closed == []
        outbox.put(packet("x"))
        assert closed == [True]

    def test_without_a_viewer_nothing_is_bounded(self, outbox: Outbox) -> None:
        """A connection of the host app's own is the host's affair."""
        for _ in range(3):
            outbox.put(packet("x" * MAX_CONTROL_BYTES))
        assert outbox.qsize() == 3

    def test_a_long_poll_takes_ten_packets(self, outbox: Outbox) -> None:
        """The rest waits for the next poll, in order; a WebSocket takes all."""
        for number in range(25):
            outbox.put(packet(number))
        assert take(outbox) == list(range(10))
        assert take(outbox) == list(range(10, 20))
        websocket(outbox)
        for number in range(25, 50):
            outbox.put(packet(number))
        assert take(outbox) == list(range(20, 50))

    def test_it_is_a_poll_until_the_upgrade_is_complete(self, outbox: Outbox) -> None:
        """A WebSocket that has not been probed to the end does not write yet."""
        assert outbox.polling
        outbox.connection = SimpleNamespace(upgraded=False)
        assert outbox.polling
        outbox.connection.upgraded = True
        assert not outbox.polling


def test_a_long_poll_takes_ten_frames_of_a_flush() -> None:
    """The rest stays dirty: more packets in one answer would end python-socketio's client."""
    outbox = Outbox(HandConcurrency(), Empty)
    many = [packet(f"{number}") for number in range(MAX_POLLED_PACKETS + 5)]
    assert outbox.push(batch(many)) == MAX_POLLED_PACKETS
    assert outbox.qsize() == MAX_POLLED_PACKETS
    socket = websocket(Outbox(HandConcurrency(), Empty))
    assert socket.push(batch(many)) == len(many)
