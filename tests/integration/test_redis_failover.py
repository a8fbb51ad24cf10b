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
from support.listening import Server
from support.ports import free_port
from support.process import StartServer
from support.sentinels import Watched
from support.stores import StoreServer
from support.tools import missing
from support.viewer import Viewer, watching


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    try:
        watched.start()
        yield watched
    finally:
        watched.remove()


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
            with contextlib.closing(redis.Redis(port=primary, socket_timeout=10)) as client:
                client.wait(1, 10_000)
            watched.kill(primary)
            server.server.wait_for_output("out of reach")
            with pytest.raises(RegistryUnavailable):
                worker.update("a", "Lost")
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
    store = StoreServer(options=options)
    try:
        store.start()
        with contextlib.closing(store.client()) as client:
            client.config_set("requirepass", "secret")
        yield port
    finally:
        store.remove()


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
