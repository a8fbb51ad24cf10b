"""The connections that news of a Redis Cluster come by, one step at a time: slots that move as rooms are left."""

from __future__ import annotations

import contextlib
import secrets
import selectors
from collections.abc import Iterator

import pytest

from realtime.protocol import task_room
from realtime.registry.redis.bell import Bell
from realtime.registry.redis.cluster import open_link
from realtime.registry.redis.lines import Lines
from realtime.registry.redis.link import Link
from support.clusters import Node, shared_cluster

LEFT, KEPT = task_room("left"), task_room("kept")


@pytest.fixture
def link() -> Iterator[Link]:
    with contextlib.closing(open_link(f"{shared_cluster().url}?prefix=rt-{secrets.token_hex(8)}", 10.0)) as link:
        link.look()
        yield link


class Listener:
    """Reads the news only when it is told to."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.bell = Bell()
        self.lines = Lines(link, self.bell, 20.0)
        self.lines.settle()
        self.opened: list[str] = []
        self.news: list[bytes] = []

    def hear(self) -> None:
        self.opened += self.lines.hear(self.news.append)

    def hear_until(self, *opened: str, news: int = 0) -> None:
        """Read until these rooms are followed anew and so many news have come. An error if nothing comes for long."""
        with selectors.DefaultSelector() as selector:
            for line in self.lines._lines.values():
                selector.register(line._connection._sock, selectors.EVENT_READ)
            while not (set(opened) <= set(self.opened) and len(self.news) >= news):
                assert selector.select(20), (self.opened, self.news)
                self.hear()
        self.opened.clear()

    def publish(self, *rooms: str) -> None:
        """Tell something by each room's channel, where it is."""
        for room in rooms:
            channel = self._link.keys.channel(room)
            with contextlib.closing(shared_cluster().owner(channel).client()) as client:
                client.execute_command("SPUBLISH", channel, room)

    def close(self) -> None:
        self.lines.close()
        self.bell.close()


@pytest.fixture
def listener(link: Link) -> Iterator[Listener]:
    with contextlib.closing(Listener(link)) as listener:
        listener.lines.follow([LEFT, KEPT])
        listener.hear_until(LEFT, KEPT)
        yield listener


def move(link: Link, room: str) -> None:
    """Move the slot of a room to the node after its own."""
    cluster, channel = shared_cluster(), link.keys.channel(room)
    nodes: list[Node] = cluster.nodes
    cluster.move(channel, nodes[(nodes.index(cluster.owner(channel)) + 1) % len(nodes)])


def test_a_room_that_is_left_when_its_slot_has_moved_takes_no_other_with_it(link: Link, listener: Listener) -> None:
    """Its node answers that another has it. What is followed then is not taken for it, nor given up."""
    move(link, LEFT)
    listener.lines.leave([LEFT])
    listener.lines.follow([KEPT])
    listener.hear_until(KEPT)
    assert not listener.lines.awaited
    assert not listener.lines.torn
    listener.publish(LEFT, KEPT)
    listener.hear_until(news=1)
    assert listener.news == [KEPT.encode()]


@pytest.mark.parametrize("moved", ["before", "after"])
def test_a_room_that_is_left_and_entered_as_its_slot_moves_is_followed(
    link: Link, listener: Listener, moved: str
) -> None:
    """Where it is then, whatever came first."""
    if moved == "before":
        move(link, LEFT)
    listener.lines.leave([LEFT])
    if moved == "after":
        move(link, LEFT)
    listener.lines.follow([LEFT])
    listener.hear_until(LEFT)
    assert not listener.lines.awaited
    listener.publish(LEFT, KEPT)
    listener.hear_until(news=2)
    assert set(listener.news) == {LEFT.encode(), KEPT.encode()}


def test_a_room_that_is_entered_again_at_once_has_missed_nothing(listener: Listener) -> None:
    """That it is left, as it was asked for, says nothing of a slot."""
    listener.lines.leave([LEFT])
    listener.lines.follow([LEFT])
    listener.hear_until(LEFT)
    assert not listener.lines.torn


def test_who_says_that_a_slot_has_moved_is_believed(
    link: Link, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may not have heard of it yet: to ask them again and again leads nowhere."""
    monkeypatch.setattr(link, "learn", lambda: None)
    move(link, LEFT)
    listener.hear_until(LEFT)
    assert listener.lines.torn
    listener.publish(LEFT)
    listener.hear_until(news=1)
