"""Tasks in a Redis Cluster: news from the node that has them, slots that move, nodes that are lost and come back."""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from realtime.client import Client
from realtime.errors import RegistryUnavailable
from realtime.protocol import group_room, task_room, user_room
from realtime.registry.redis import RedisRegistry, feed, followers
from realtime.task import NewTask, Task
from support import remote
from support.clusters import Cluster, Node, shared_cluster
from support.listening import Server, wait_for
from support.process import StartServer
from support.stores import started
from support.viewer import Viewer, watching

#: Seconds that the store has to answer, where a test stops it.
SHORT = 0.3


@pytest.fixture
def url() -> str:
    return f"{shared_cluster().url}?prefix=rt-{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def cluster_to_harm() -> Iterator[Cluster]:
    with started(Cluster()) as cluster:
        yield cluster


@pytest.fixture
def harmed(cluster_to_harm: Cluster) -> Cluster:
    """A cluster whose nodes the test may stop, if it starts them again."""
    cluster_to_harm.wait_until_whole()
    return cluster_to_harm


@pytest.fixture
def harmed_url(harmed: Cluster) -> str:
    return f"{harmed.url}?prefix=rt-{secrets.token_hex(8)}"


def new(task_id: str = "a", user_id: str | None = "ada", groups: tuple[str, ...] = ()) -> NewTask:
    return NewTask(task_id, user_id, groups=groups)


def on_each_node(cluster: Cluster, registry: RedisRegistry) -> dict[Node, str]:
    """The id of a task on each node."""
    found: dict[Node, str] = {}
    for number in range(1000):
        found.setdefault(cluster.owner(registry._link.keys.task(f"t{number}")), f"t{number}")
        if len(found) == len(cluster.nodes):
            return found
    raise AssertionError(found)


def subscribers(cluster: Cluster, channel: str) -> int:
    """How many connections follow a channel."""
    with contextlib.closing(cluster.owner(channel).client()) as client:
        found = client.execute_command("PUBSUB SHARDNUMSUB", channel)
    return int(found[0][1])


def told(server: Server) -> list[Task]:
    return [task for task, _ in server.changes]


def heard(server: Server, task: Task) -> bool:
    return task in told(server)


# News.


def test_changes_on_each_node_are_told(server: Server, worker: RedisRegistry) -> None:
    """Creation, updates, output before the end, the end and the removal, once each, to who watches the user, wherever
    the task is; and the hub can read them."""
    server.open(user_room("ada"), group_room("team"))
    ids = list(on_each_node(shared_cluster(), worker).values())
    made = [worker.create(new(task_id, groups=("team",)))[0] for task_id in ids]
    for task_id in ids:
        server.wait_until(partial(server.local.get, task_id))
        channel = worker._link.keys.channel(task_room(task_id))
        wait_for(partial(subscribers, shared_cluster(), channel))
    removed = []
    for task_id in ids:
        made.append(worker.update(task_id, "On"))
        worker.append_output(task_id, "output", b"one ")
        worker.append_output(task_id, "output", b"two")
        made.append(worker.complete(task_id, None))
        removed.append(worker.remove(task_id))
    server.wait_until(lambda: len(server.removed) == len(ids))
    assert sorted(server.changes, key=_order) == sorted(((task, task in made[: len(ids)]) for task in made), key=_order)
    assert server.read == told(server)
    assert {gone.task_id: gone for gone in server.removed} == {gone.task_id: gone for gone in removed}
    for task_id in ids:
        assert [text for text in server.told if text.endswith(task_id)] == [
            f"processing {task_id}", f"processing {task_id}", f"output {task_id}", f"output {task_id}",
            f"completed {task_id}", f"removed {task_id}",
        ]  # fmt: skip


def _order(change: tuple[Task, bool]) -> int:
    return change[0].version


def test_a_task_that_is_over_at_once_is_told_whole(server: Server, worker: RedisRegistry) -> None:
    """However fast it is: that it is new, all that it has written, then its end."""
    server.open(user_room("ada"))
    ids = [f"t{number}" for number in range(20)]
    ended = []
    for task_id in ids:
        worker.create(new(task_id))
        worker.append_output(task_id, "output", b"text")
        ended.append(worker.complete(task_id, None))
    server.wait_until(lambda: {task.task_id for task in told(server) if task.finished} == set(ids))
    # Each once; which first, of tasks on three nodes, is nobody's to say.
    assert sorted((task for task in told(server) if task.finished), key=lambda task: task.version) == ended
    for task_id in ids:
        assert [text for text in server.told if text.endswith(f" {task_id}")][-2:] == [
            f"output {task_id}", f"completed {task_id}",
        ]  # fmt: skip
        assert next(created for task, created in server.changes if task.task_id == task_id)
        assert (task_id, "output", 0) in server.written
        assert server.text(task_id) == "text"


def test_a_server_receives_nothing_that_nobody_watches(server: Server, worker: RedisRegistry) -> None:
    """Not of other users, of nobody, of other groups, nor of single tasks, on any node."""
    server.open(user_room("ada"))
    ids = on_each_node(shared_cluster(), worker).values()
    for number, (task_id, (user_id, groups)) in enumerate(
        zip(ids, (("grace", ()), (None, ()), ("joan", ("team",))), strict=True)
    ):
        worker.create(new(task_id, user_id, groups))
        worker.update(task_id, f"On {number}")
        worker.complete(task_id, None)
    worker.create(new("own"))
    server.wait_until(lambda: server.changes)
    assert [task.task_id for task, _ in server.changes] == ["own"]
    assert server.feed.received <= 1  # its creation, unless that was read
    assert set(server.feed.mirror._tasks) == {"own"}


def test_a_task_is_left_when_it_has_ended(server: Server, worker: RedisRegistry) -> None:
    """Its channel is followed no more, unless it is watched for itself; its removal is told all the same."""
    server.open(user_room("ada"), task_room("kept"))
    channels = {task_id: worker._link.keys.channel(task_room(task_id)) for task_id in ("kept", "left")}
    for task_id, channel in channels.items():
        worker.create(new(task_id))
        wait_for(partial(subscribers, shared_cluster(), channel))
        worker.complete(task_id, None)
    wait_for(lambda: subscribers(shared_cluster(), channels["left"]) == 0)
    assert subscribers(shared_cluster(), channels["kept"]) == 1
    removed = [worker.remove(task_id) for task_id in channels]
    server.wait_until(lambda: server.removed == removed)


def test_a_task_that_comes_as_its_room_is_left_is_not_followed(
    server: Server, worker: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room says that a task is about to come; before the server has read that, its last viewer has gone."""
    monkeypatch.setattr(feed, "_LINGER", 0.0)
    busy, go_on = threading.Event(), threading.Event()
    met: set[str] = set()
    meet = server.feed._meet

    def note(rooms: list[str], since: float) -> None:
        meet(rooms, since)
        met.update(rooms)

    def hold_up(task: Task, created: bool) -> None:
        busy.set()
        assert go_on.wait(20)

    server.open(user_room("ada"))
    server.on_change = hold_up
    monkeypatch.setattr(server.feed, "_meet", note)
    worker.create(new("first"))
    assert busy.wait(20)
    server.unwatch(user_room("ada"))
    ids = list(on_each_node(shared_cluster(), worker).values())
    channels = [worker._link.keys.channel(task_room(task_id)) for task_id in ids]
    for task_id in ids:
        worker.create(new(task_id))
    go_on.set()
    wait_for(lambda: met.issuperset(map(task_room, ids)))
    wait_for(lambda: [subscribers(shared_cluster(), channel) for channel in channels] == [0] * 3)


def test_what_was_there_before_a_room_is_watched_is_read_and_followed(server: Server, worker: RedisRegistry) -> None:
    """On each node; and what it writes from then on, but nothing of what it wrote before."""
    ids = list(on_each_node(shared_cluster(), worker).values())
    for task_id in ids:
        worker.create(new(task_id))
        worker.append_output(task_id, "output", b"before ")
    server.open(user_room("ada"))
    assert {(task.task_id, created) for task, created in server.changes} == {(task_id, False) for task_id in ids}
    for task_id in ids:
        worker.append_output(task_id, "output", b"after")
        server.wait_until(partial(server.written.__contains__, (task_id, "output", 7)))
        assert server.text(task_id) == "before after"
    assert server.written == [(task_id, "output", 7) for task_id in ids]


# Who looks.


@pytest.mark.parametrize("room", [user_room("ada"), group_room("team"), "task"])
def test_a_client_learns_whether_a_server_follows_its_task(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    """On each node: nobody does, then a server that watches its user, its group, or the task, then nobody again."""
    monkeypatch.setattr(followers, "_GOOD", 0.0)
    monkeypatch.setattr(followers, "_YOUNG", 0.0)
    monkeypatch.setattr(feed, "_LINGER", 0.0)
    ids = list(on_each_node(shared_cluster(), server).values())
    with contextlib.closing(Client(url)) as client:
        for task_id in ids:
            client.create_task(task_id, "ada", groups=("team",))
            client.create_task(f"{task_id}.ended", "ada", groups=("team",))
            client.complete_task(f"{task_id}.ended")
        assert [client.watched(task_id) for task_id in ids] == [False] * 3
        rooms = [task_room(task_id) for task_id in ids] if room == "task" else [room]
        server.open(*rooms)
        assert [client.watched(task_id) for task_id in ids] == [None] * 3
        assert [client.watched(f"{task_id}.ended") for task_id in ids] == [False] * 3
        client.create_task("others", "grace")
        assert client.watched("others") is False
        for one in rooms:
            server.unwatch(one)
        for task_id in ids:
            client.complete_task(task_id)
            client.create_task(f"{task_id}.next", "ada", groups=("team",))
        wait_for(lambda: [client.watched(f"{task_id}.next") for task_id in ids] == [False] * 3)


@pytest.mark.parametrize("room", [user_room("ada"), group_room("team"), task_room("a")])
def test_who_follows_a_slot_that_has_moved_is_known(
    opened: contextlib.ExitStack, url: str, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    """Who listens to any of the task's rooms is found on the node that has it, by who has asked the former one, too."""
    monkeypatch.setattr(followers, "_GOOD", 0.0)
    monkeypatch.setattr(followers, "_YOUNG", 0.0)
    cluster = shared_cluster()
    client = opened.enter_context(contextlib.closing(Client(url)))
    client.create_task("a", "ada", groups=("team",))
    assert client.watched("a") is False
    with contextlib.closing(RedisRegistry(url)) as named:
        channel = named._link.keys.channel(room)
    first = cluster.owner(channel)
    for node in first, *(other for other in cluster.nodes if other is not first):
        if node is not first:
            cluster.move(channel, node)
        with contextlib.closing(node.client()) as direct, contextlib.closing(direct.pubsub()) as listener:
            listener.ssubscribe(channel)
            wait_for(lambda: subscribers(cluster, channel) == 1)
            assert client.watched("a") is None
        wait_for(lambda: subscribers(cluster, channel) == 0)
        assert client.watched("a") is False


# Slots that move.


@pytest.mark.parametrize("what", ["task", "lists"])
def test_a_slot_that_moves_is_followed(server: Server, worker: RedisRegistry, what: str) -> None:
    """To another node and to a third, while it is watched: no change is lost, nothing is out of reach, and the memory
    is the same."""
    cluster = shared_cluster()
    server.open(user_room("ada"))
    worker.create(new())
    key = worker._link.keys.task("a") if what == "task" else worker._link.keys.meta
    first = cluster.owner(key)
    for target in [node for node in cluster.nodes if node is not first]:
        cluster.move(key, target)
        for task in worker.update("a", secrets.token_hex(4)), worker.create(new(secrets.token_hex(4)))[0]:
            server.wait_until(partial(heard, server, task))
    assert (server.reaches, server.epochs) == ([], [])


# Nodes that are lost.


def test_a_node_that_does_not_answer_is_unavailable_in_time(
    opened: contextlib.ExitStack, harmed: Cluster, harmed_url: str
) -> None:
    """What it has cannot be reached, which is said in time; once it goes on, what was missed follows."""
    server = opened.enter_context(contextlib.closing(Server(harmed_url, timeout=SHORT)))
    worker = opened.enter_context(contextlib.closing(RedisRegistry(harmed_url, timeout=10.0)))
    hasty = opened.enter_context(contextlib.closing(RedisRegistry(harmed_url, timeout=SHORT)))
    server.open(user_room("ada"))
    worker.create(new())
    server.wait_until(lambda: server.changes)
    with contextlib.suppress(RegistryUnavailable):  # it is connected, unless the machine is too slow for it
        hasty.get("a")
    node = harmed.owner(worker._link.keys.task("a"))
    node.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(RegistryUnavailable):
            hasty.update("a", "On")
        server.wait_until(lambda: server.reaches[-1:] == [False])
    finally:
        node.send_signal(signal.SIGCONT)
    server.wait_until(lambda: server.reaches[-1:] == [True])
    harmed.wait_until_whole()
    assert server.epochs == []
    version = worker.update("a", "Back").version
    server.wait_until(lambda: server.changes[-1][0].version == version)


@pytest.mark.parametrize("what", ["task", "lists"])
def test_a_node_that_was_started_anew_has_lost_its_memory(
    opened: contextlib.ExitStack, harmed: Cluster, harmed_url: str, what: str
) -> None:
    """That is another epoch, for everybody the same; what other nodes have goes on under it."""
    server = opened.enter_context(contextlib.closing(Server(harmed_url, timeout=5.0)))
    worker = opened.enter_context(contextlib.closing(RedisRegistry(harmed_url, timeout=5.0)))
    server.open(user_room("ada"))
    keys = worker._link.keys
    ids = on_each_node(harmed, worker)
    before = [worker.create(new(task_id))[0] for task_id in ids.values()]
    server.wait_until(lambda: len(told(server)) == len(before))
    node = harmed.owner(keys.meta)
    if what == "task":
        node = next(other for other in ids if other is not node)
    node.kill()
    server.wait_until(lambda: server.reaches[-1:] == [False])
    node.start()
    harmed.wait_until_whole()
    server.wait_until(lambda: server.epochs and server.reaches[-1])
    assert server.epochs == [server.epoch] == [server.local.epoch]
    assert server.epoch != before[0].epoch
    lost = ids.pop(node)
    assert worker.get(lost) is None
    assert worker.epoch == server.epoch
    for task_id in ids.values():
        task = worker.update(task_id, "Still here")
        server.wait_until(partial(heard, server, task))
    # Who comes now finds them, too, though their lists may be among what was lost.
    wait_for(lambda: {task.task_id for task in worker.unfinished()} == set(ids.values()))
    late = opened.enter_context(contextlib.closing(Server(harmed_url, timeout=5.0)))
    late.open(user_room("ada"))
    assert {task.task_id for task in told(late)} == set(ids.values())
    again = worker.create(new(lost))[0]
    server.wait_until(partial(heard, server, again))
    assert again.version > max(task.version for task in before)


def marked(cluster: Cluster, registry: RedisRegistry) -> set[Node]:
    """The nodes that have a mark which is noted."""
    link = registry._link
    (noted,) = link.ask(("HGET", link.keys.meta, "marks"))
    marks = [link.keys.note(f"mark/{number}") for number in (noted or b"").decode().split()]
    return {cluster.owner(mark) for mark in marks if link.ask(("EXISTS", mark)) == [1]}


def test_a_node_that_was_flushed_has_lost_its_memory(
    opened: contextlib.ExitStack, harmed: Cluster, harmed_url: str
) -> None:
    """It is the same node, and it has not the lists: that is another epoch all the same, one for all servers."""
    servers = [opened.enter_context(contextlib.closing(Server(harmed_url, timeout=5.0))) for _ in range(2)]
    worker = opened.enter_context(contextlib.closing(RedisRegistry(harmed_url, timeout=5.0)))
    for server in servers:
        server.open(user_room("ada"))
    ids = on_each_node(harmed, worker)
    before = [worker.create(new(task_id))[0] for task_id in ids.values()]
    for server in servers:
        server.wait_until(lambda server=server: len(told(server)) == len(before))  # type: ignore[misc]
    wait_for(lambda: marked(harmed, worker) == set(harmed.nodes))
    lists = harmed.owner(worker._link.keys.meta)
    for times, node in enumerate([node for node in harmed.nodes if node is not lists], 1):
        with contextlib.closing(node.client()) as direct:
            direct.flushall()
        lost = ids.pop(node)
        for server in servers:
            server.wait_until(lambda server=server: len(server.epochs) == times)  # type: ignore[misc]  # noqa: B023
        wait_for(lambda: marked(harmed, worker) == set(harmed.nodes))
        worker.check()  # it keeps no feed, and has lost no connection
        assert worker.get(lost) is None
        for task_id in ids.values():
            task = worker.update(task_id, f"Still here {times}")
            for server in servers:
                server.wait_until(partial(heard, server, task))
    for server in servers:
        assert server.epochs[-1:] == [worker.epoch] == [server.local.epoch]
    assert servers[0].epochs == servers[1].epochs
    assert before[0].epoch not in servers[0].epochs


def test_a_mark_that_moves_is_there_and_another_takes_its_place(server: Server, worker: RedisRegistry) -> None:
    """Nothing is lost where a slot moves, and no node is without a mark for long."""
    cluster = shared_cluster()
    server.open(user_room("ada"))
    wait_for(lambda: marked(cluster, worker) == set(cluster.nodes))
    keys = worker._link.keys
    noted = worker._link.ask(("HGET", keys.meta, "marks"))
    key = keys.note(f"mark/{int(noted[0].split()[0])}")
    first = cluster.owner(key)
    cluster.move(key, next(node for node in cluster.nodes if node is not first))
    wait_for(lambda: worker._link.ask(("HGET", keys.meta, "marks")) != noted)
    assert marked(cluster, worker) == set(cluster.nodes)
    task = worker.create(new())[0]
    server.wait_until(partial(heard, server, task))
    assert (server.reaches, server.epochs) == ([], [])


def test_viewers_of_two_servers_end_right_when_a_node_is_started_anew(
    server_process: StartServer, harmed: Cluster, harmed_url: str
) -> None:
    """What a worker does is seen on both; then their connections end, and they show what is left of the tasks."""
    servers = [
        remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=harmed_url) for _ in range(2)
    ]
    with contextlib.closing(RedisRegistry(harmed_url, timeout=10.0)) as worker:
        ids = on_each_node(harmed, worker)
        with watching(servers[0].url, "ada") as one, watching(servers[1].url, "ada") as two:
            for task_id in ids.values():
                worker.create(new(task_id))
                worker.update(task_id, "Reading", percent=25)
                for viewer in (one, two):
                    viewer.wait_for_task(task_id, message="Reading", percent=25.0)
            node = next(other for other in ids if other is not harmed.owner(worker._link.keys.meta))
            node.kill()
            for one_server in servers:
                one_server.server.wait_for_output("out of reach")
            node.start()
            harmed.wait_until_whole()
            for viewer in (one, two):
                viewer.wait_for_event("disconnect")
        lost = ids.pop(node)
        again = [Viewer(one_server.url, "ada").connect() for one_server in servers]
        try:
            for viewer in again:
                assert set(viewer.tasks) == set(ids.values())
            for task_id in ids.values():
                worker.complete(task_id, None)
            worker.create(new(lost))
            for viewer in again:
                for task_id in ids.values():
                    viewer.wait_for_task(task_id, status="completed")
                viewer.wait_for_task(lost, status="processing")
        finally:
            for viewer in again:
                viewer.close()
