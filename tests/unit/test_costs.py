"""What a flush costs, by counting: system calls, encodes and bytes, with push sockets on real descriptors."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.auth import Grant
from realtime.frames import Batch
from realtime.hub import Viewer
from realtime.transport import descriptor, websocket
from realtime.transport.websocket import PushSocket
from support.watching import House

#: As many bytes as one read of a peer may take.
PLENTY = 1 << 20


class Crowd(House):
    """Viewers behind push sockets; their peers are the other ends of socket pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[socket.socket] = []
        self._sockets: list[PushSocket] = []
        self._keeper: Any = SimpleNamespace(
            concurrency=self.concurrency, empty=LookupError, max_message=16_384, took_over=None, alive={}, closing={}
        )

    def connect(self, count: int, user_id: str, *groups: str) -> list[Viewer]:
        viewers = []
        for _ in range(count):
            ours, peer = socket.socketpair()
            ours.setblocking(False)
            self.peers.append(peer)
            push = PushSocket(self._keeper, SimpleNamespace(connected=False), ours.detach())
            self._sockets.append(push)
            name = f"p{len(self._sockets)}"
            viewer = Viewer(name, name, Grant(user_id, groups), "10.0.0.1", push)
            self.hub.join(viewer, per_user=1_000, per_address=1_000, in_all=1_000)
            self.hub.open(viewer)
            viewers.append(viewer)
        return viewers

    def close(self) -> None:
        for push in self._sockets:
            push._release()
        for peer in self.peers:
            peer.close()


@pytest.fixture(name="crowd")
def new_crowd() -> Iterator[Crowd]:
    with contextlib.closing(Crowd()) as crowd:
        yield crowd


@pytest.fixture(name="sent")
def count_sends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes]]:
    """Descriptor and buffer of each ``send`` that is made."""
    sent: list[tuple[int, bytes]] = []
    real: Callable[[int, bytes, int, int], int] = descriptor.send

    def send(fd: int, data: bytes, size: int, flags: int) -> int:
        sent.append((fd, data))
        return real(fd, data, size, flags)

    monkeypatch.setattr(websocket, "send", send)
    return sent


@pytest.mark.parametrize("viewers", [1, 10, 200])
@pytest.mark.parametrize("tasks", [1, 20])
def test_a_flush_is_one_send_per_viewer_and_one_encode_per_task(
    viewers: int, tasks: int, crowd: Crowd, sent: list[tuple[int, bytes]]
) -> None:
    """However many updates came before it, and however many watch; all are given the very same buffer."""
    crowd.connect(viewers, "ann")
    for number in range(tasks):
        crowd.operations.create_task(f"t{number}", "ann")
    crowd.hub.flush()
    for round_ in range(1, 4):
        sent.clear()
        encodes, frames = crowd.hub.encodes, crowd.hub.pushes
        for step in range(5):
            for number in range(tasks):
                crowd.operations.update_task_progress(f"t{number}", f"step {round_}.{step}")
        crowd.hub.flush()
        assert len(sent) == viewers
        assert len({fd for fd, _ in sent}) == viewers
        assert len({id(data) for _, data in sent}) == 1
        assert (crowd.hub.encodes - encodes, crowd.hub.pushes - frames) == (tasks, tasks * viewers)
    sent.clear()
    crowd.hub.flush()
    assert sent == []


def test_the_bytes_of_a_flush_are_those_of_its_frames(
    crowd: Crowd, sent: list[tuple[int, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written twice, or in between: each peer reads the frames of its own tasks, and nothing else."""
    batches: list[Batch] = []
    real = PushSocket.push

    def push(self: PushSocket, batch: Batch) -> int:
        batches.append(batch)
        return real(self, batch)

    monkeypatch.setattr(PushSocket, "push", push)
    crowd.connect(3, "ann")
    crowd.connect(2, "bob")
    for number in range(4):
        crowd.operations.create_task(f"a{number}", "ann")
    crowd.operations.create_task("b", "bob")
    crowd.hub.flush()
    assert len(sent) == len(batches) == 5
    for peer, batch in zip(crowd.peers, batches, strict=True):
        read = peer.recv(PLENTY)
        assert len(read) == sum(len(frame.websocket) for frame in batch.frames)
        assert read == batch.joined
    assert [len(batch.frames) for batch in batches] == [4, 4, 4, 1, 1]
    assert len({id(batch) for batch in batches}) == 2  # one for each set of dirty tasks


def test_viewers_of_one_task_beside_others_are_no_more_encodes(crowd: Crowd, sent: list[tuple[int, bytes]]) -> None:
    """Viewers with different sets of dirty tasks share the encodes of what they have in common."""
    crowd.connect(2, "ann")
    crowd.connect(1, "ann", "team")
    crowd.operations.create_task("shared", "ann")
    crowd.operations.create_task("own", "bob", groups=["team"])
    crowd.hub.flush()
    assert crowd.hub.encodes == 2
    assert len({fd for fd, _ in sent}) == len(sent) == 3
    assert len({id(data) for _, data in sent}) == 2
