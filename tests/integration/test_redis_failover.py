"""Tasks in a Redis that a sentinel watches, whose primary is lost; and in one that is reached by TLS."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from realtime.errors import RegistryUnavailable
from realtime.protocol import user_room
from realtime.registry.redis import RedisRegistry
from realtime.task import NewTask, Task
from support import remote
from support.clusters import Cluster
from support.listening import Server
from support.ports import free_port
from support.process import StartServer
from support.sentinels import Watched
from support.stores import StoreServer, started
from support.tools import missing
from support.viewer import Viewer, watching


@pytest.fixture
def watched() -> Iterator[Watched]:
    with started(Watched()) as watched:
        yield watched


def test_viewers_end_right_when_another_takes_the_primarys_place(server_process: StartServer, watched: Watched) -> None:
    """The server says that the store is away; then there is another epoch, since writes may be lost, and viewers that
    come back see what the replica had, and what happens from then on."""
    server = remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=watched.url)
    with contextlib.closing(RedisRegistry(watched.url, timeout=2.0)) as worker:
        with watching(server.url, "ada") as viewer:
            before = worker.create(NewTask("a", "ada"))[0]
            worker.update("a", "Reading", percent=25)
            viewer.wait_for_task("a", message="Reading")
            primary = watched.primary
            with contextlib.closing(redis.Redis(port=primary, socket_timeout=20)) as client:
                assert client.wait(1, 10_000) == 1
            watched.kill(primary)
            server.server.wait_for_output("out of reach")
            with pytest.raises(RegistryUnavailable):
                worker.update("a", "Lost")
            watched.let_fail_over()
            viewer.wait_for_event("disconnect")
        assert watched.primary != primary
        again = Viewer(server.url, "ada").connect()
        try:
            assert again.tasks["a"]["progress"]["message"] == "Reading"
            after = worker.update("a", "Still reading")
            again.wait_for_task("a", message="Still reading")
            assert again.tasks["a"]["epoch"] == after.epoch == worker.epoch != before.epoch
            ended = worker.complete("a", b'{"rows":7}')
            again.wait_for_task("a", status="completed")
            assert again.tasks["a"] == ended.as_dict()
        finally:
            again.close()


# A cluster, one node of which has a replica.


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with started(Cluster()) as cluster:
        yield cluster


def test_viewers_end_right_when_a_replica_takes_the_place_of_a_node_with_the_lists(
    server_process: StartServer, cluster: Cluster
) -> None:
    """The replica has not heard of the last writes: neither of the progress of a task on that node nor that there is
    another one on the next. Servers say that the store is away; then there is another epoch, the same for both, and who
    looks sees what is left of each, the task that no list had any more too. The node that comes back changes nothing.
    """
    url = f"{cluster.url}?prefix=rt-{secrets.token_hex(8)}"
    servers = [remote.start(server_process, remote.serve("plain:app"), FLASK_REALTIME_REGISTRY=url) for _ in range(2)]
    with contextlib.closing(RedisRegistry(url, timeout=2.0)) as worker:
        node = cluster.owner(worker._link.keys.meta)
        ids = (f"t{number}" for number in range(1000))
        kept, unlisted = (
            next(one for one in ids if (cluster.owner(worker._link.keys.task(one)) is node) is there)
            for there in (True, False)
        )
        replica = cluster.replicate(node)
        before = worker.create(NewTask(kept, "ada"))[0]
        worker.update(kept, "Reading", percent=25)
        with contextlib.closing(node.client()) as client:
            assert client.wait(1, 9_000) == 1
        node.leave_behind()
        worker.update(kept, "Lost", percent=50)
        worker.create(NewTask(unlisted, "ada"))
        worker.update(unlisted, "Writing")
        with watching(servers[0].url, "ada") as one, watching(servers[1].url, "ada") as two:
            for viewer in one, two:
                viewer.wait_for_task(kept, message="Lost")
                viewer.wait_for_task(unlisted, message="Writing")
            node.kill()
            for viewer in one, two:
                viewer.wait_for_event("server_state", lambda told: told["state"] == "stale")
            with pytest.raises(RegistryUnavailable):
                worker.update(kept, "In vain")
            replica.take_over()
            for viewer in one, two:
                viewer.wait_for_event("disconnect")
        again = [Viewer(server.url, "ada").connect() for server in servers]
        try:
            for viewer in again:
                viewer.wait_for_task(kept, message="Reading", percent=25.0)
                viewer.wait_for_task(unlisted, message="Writing")
            for task_id in kept, unlisted:
                worker.update(task_id, "Still there")
            assert worker.epoch != before.epoch
            node.start()
            cluster.wait_until_whole()
            ended = [worker.complete(task_id, b'{"rows":7}') for task_id in (kept, unlisted)]
            for viewer in again:
                for task in ended:
                    viewer.wait_for_task(task.task_id, status="completed")
                    assert viewer.tasks[task.task_id] == {**task.as_dict(), "epoch": worker.epoch}
                assert viewer.count("disconnect") == 0
            assert {task.task_id for task in worker.list(user_id="ada", groups=(), limit=9)[0]} == {kept, unlisted}
            assert worker.count() == (0, 2)
        finally:
            for viewer in again:
                viewer.close()


# TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two certificates that have signed themselves, ``own`` and ``other``, with their keys beside them."""
    openssl = shutil.which("openssl") or missing("openssl", "sudo apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    found = {}
    for name in ("own", "other"):
        found[name] = folder / f"{name}.crt"
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(folder / f"{name}.key"), "-out", str(found[name]), "-days", "2"]
        command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return found


@pytest.fixture(scope="module")
def encrypted(certificates: dict[str, Path]) -> Iterator[int]:
    """The port of a server that is reached by TLS alone, but for its socket, and wants a password."""
    own, port = certificates["own"], free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(own), "--tls-key-file", str(own.with_suffix(".key"))]
    with started(StoreServer(options=options)) as store:
        with contextlib.closing(store.client()) as client:
            client.config_set("requirepass", "secret")
        yield port


def tls_url(port: int, certificate: Path | None) -> str:
    trusted = "" if certificate is None else f"&ssl_ca_certs={certificate}"
    return f"rediss://:secret@127.0.0.1:{port}?prefix=rt-{secrets.token_hex(8)}{trusted}"


def test_tasks_are_reached_by_tls(encrypted: int, certificates: dict[str, Path]) -> None:
    """Both ways: what is changed, and the news of it."""
    url = tls_url(encrypted, certificates["own"])
    with (
        contextlib.closing(Server(url, timeout=10.0)) as server,
        contextlib.closing(RedisRegistry(url, timeout=10.0)) as worker,
    ):
        server.open(user_room("ada"))
        for task in worker.create(NewTask("a", "ada"))[0], worker.update("a", "On"), worker.complete("a", None):
            server.wait_until(partial(heard, server, task))


def test_tasks_of_a_cluster_are_reached_by_tls(certificates: dict[str, Path]) -> None:
    """On each node, by the addresses that the nodes name; what is changed, and the news of it."""
    cluster = Cluster(certificate=certificates["own"])
    try:
        cluster.start()
        url = f"{cluster.url}?prefix=rt-{secrets.token_hex(8)}"
        with (
            contextlib.closing(Server(f"{url}&ssl_ca_certs={certificates['own']}", timeout=10.0)) as server,
            contextlib.closing(RedisRegistry(f"{url}&ssl_ca_certs={certificates['own']}", timeout=10.0)) as worker,
        ):
            server.open(user_room("ada"))
            nodes = set()
            for number in range(12):
                made = worker.create(NewTask(f"t{number}", "ada"))[0]
                server.wait_until(partial(heard, server, made))
                server.wait_until(partial(heard, server, worker.complete(made.task_id, None)))
                nodes.add(cluster.owner(worker._link.keys.task(made.task_id)))
            assert nodes == set(cluster.nodes)
            assert set(worker._link.servers()) == {node.address for node in cluster.nodes}
        with (
            contextlib.closing(RedisRegistry(f"{url}&ssl_ca_certs={certificates['other']}", timeout=10.0)) as distrusts,
            pytest.raises(RegistryUnavailable, match=r"certificate.*ssl_ca_certs"),
        ):
            distrusts.create(NewTask("a", "ada"))
    finally:
        cluster.remove()


def heard(server: Server, task: Task) -> bool:
    return any(task == told for told, _ in server.changes)


@pytest.mark.parametrize("trusted", ["other", None])
def test_a_certificate_that_is_not_trusted_is_named_as_the_cause(
    encrypted: int, certificates: dict[str, Path], trusted: str | None
) -> None:
    """With what to do, and without password, host and port."""
    url = tls_url(encrypted, None if trusted is None else certificates[trusted])
    with (
        contextlib.closing(RedisRegistry(url, timeout=10.0)) as worker,
        pytest.raises(RegistryUnavailable, match=r"certificate.*ssl_ca_certs") as caught,
    ):
        worker.create(NewTask("a", "ada"))
    shown = str(caught.value)
    assert not any(part in shown for part in ("secret", "127.0.0.1", str(encrypted)))
