"""A private Redis Cluster for tests: three primaries on 127.0.0.1 that share the slots, in a folder of their own, and
replicas where a test wants some."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import redis

from .ports import free_port
from .stores import find_server

SLOTS = 16384
#: Seconds between two looks at servers that start.
_TICK = 0.01


class Node:
    """A server of a cluster. `kill` and `start` may follow each other: it remembers its slots, and no task.

    With a ``certificate``, whose key is beside it, clients and other nodes reach it by TLS at ``tls_port``.
    """

    def __init__(self, program: str, folder: Path, certificate: Path | None = None) -> None:
        self._program = program
        self._folder = folder
        self._certificate = certificate
        self.port = free_port()
        self.tls_port = None if certificate is None else free_port()
        self._bus = free_port()  # else it is the port plus 10000, which may be anybody's
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.tls_port or self.port}"

    def client(self) -> Any:
        return redis.Redis(port=self.port, socket_timeout=10)

    def start(self) -> None:
        """Start the server, and return when it answers. AssertionError if it does not within 60 s."""
        self._folder.mkdir(exist_ok=True)
        command = [self._program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        command += ["--cluster-enabled", "yes", "--cluster-port", str(self._bus), "--cluster-node-timeout", "2000"]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"]
        # A replica takes a place when the test says so: not before, on a machine that is slow.
        command += ["--repl-diskless-sync-delay", "0", "--cluster-replica-no-failover", "yes"]
        if self._certificate is not None:
            own, key = str(self._certificate), str(self._certificate.with_suffix(".key"))
            command += ["--tls-port", str(self.tls_port), "--tls-cluster", "yes", "--tls-auth-clients", "no"]
            command += ["--tls-cert-file", own, "--tls-key-file", key, "--tls-ca-cert-file", own]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with contextlib.closing(self.client()) as client:
            over = time.monotonic() + 60
            while True:
                with contextlib.suppress(redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
                    client.ping()
                    return
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"{command} ended with {self._process.wait(_TICK)}")
                assert time.monotonic() < over, f"{command} does not answer"

    def send_signal(self, number: int) -> None:
        """SIGSTOP pauses it, SIGCONT lets it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the process, in whatever state it is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def follow(self, primary: Node) -> None:
        """Become a replica of a node that it knows, and return when it has all that is there."""
        with contextlib.closing(self.client()) as client, contextlib.closing(primary.client()) as there:
            name = there.execute_command("CLUSTER MYID").decode()
            _wait(lambda: name in str(client.execute_command("CLUSTER NODES")))
            client.execute_command("CLUSTER REPLICATE", name)
            _wait(lambda: client.info("replication").get("master_link_status") == "up")

    def leave_behind(self) -> None:
        """Have no replica hear of it any more: what is written from now on is lost with it."""
        with contextlib.closing(self.client()) as client:
            client.execute_command("ACL SETUSER", "default", "-psync", "-sync")
            client.client_kill_filter(_type="replica")

    def take_over(self) -> None:
        """Take the place of the primary that it follows, and return when it says that all slots are served."""
        with contextlib.closing(self.client()) as client:
            client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
            _wait(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")

    def meet(self, other: Node) -> None:
        """Make it know another node."""
        with contextlib.closing(self.client()) as client:
            client.execute_command("CLUSTER MEET", "127.0.0.1", other.tls_port or other.port, other._bus)


def _wait(condition: Callable[[], object]) -> None:
    over = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < over
        time.sleep(_TICK)


class Cluster:
    """Three nodes, started together, and replicas that may be added."""

    def __init__(self, kind: str = "redis", certificate: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rt-cluster-"))
        program = find_server(kind)
        self.nodes = [Node(program, self.folder / str(number), certificate) for number in range(3)]
        self.replicas: list[Node] = []
        self._program = program
        scheme = "redis" if certificate is None else "rediss"
        self.url = f"{scheme}+cluster://{','.join(node.address for node in self.nodes)}"

    def start(self) -> None:
        """Start it, and return when all nodes say that it is whole. AssertionError if that takes more than 60 s."""
        for node in self.nodes:
            node.start()
        bound = [SLOTS * number // len(self.nodes) for number in range(len(self.nodes) + 1)]
        for number, node in enumerate(self.nodes):
            with contextlib.closing(node.client()) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", bound[number], bound[number + 1] - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number:
                node.meet(self.nodes[0])
        self.wait_until_whole()

    def replicate(self, primary: Node) -> Node:
        """Add a replica of a node, which has all that is there."""
        replica = Node(self._program, self.folder / f"replica-{len(self.replicas)}")
        self.replicas.append(replica)
        replica.start()
        replica.meet(primary)
        replica.follow(primary)
        self.wait_until_whole()
        return replica

    def wait_until_whole(self) -> None:
        """Until every node says that all slots are served, by nodes that it hears. AssertionError after 60 s."""
        over = time.monotonic() + 60
        every = [*self.nodes, *self.replicas]
        for node in every:
            with contextlib.closing(node.client()) as client:
                while True:
                    told = client.execute_command("CLUSTER INFO")
                    if (told["cluster_state"], told["cluster_known_nodes"]) == ("ok", str(len(every))):
                        break
                    assert time.monotonic() < over, told
                    time.sleep(_TICK)

    def owner(self, key: str) -> Node:
        """The node that has the slot of a key, as the first tells."""
        with contextlib.closing(self.nodes[0].client()) as client:
            slot = client.execute_command("CLUSTER KEYSLOT", key)
            for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
                if first <= slot <= last:
                    return next(node for node in (*self.nodes, *self.replicas) if node.port == port)
        raise AssertionError(f"nobody has the slot of {key}")

    def move(self, key: str, target: Node) -> None:
        """Move the slot of a key to another node, with all that is in it."""
        source = self.owner(key)
        with contextlib.closing(source.client()) as there, contextlib.closing(target.client()) as here:
            slot = there.execute_command("CLUSTER KEYSLOT", key)
            this, that = (client.execute_command("CLUSTER MYID") for client in (here, there))
            here.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", that)
            there.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", this)
            while keys := there.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                there.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            for client in (here, there):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", this)

    def remove(self) -> None:
        """End it and leave nothing behind."""
        for node in (*self.nodes, *self.replicas):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared_cluster() -> Cluster:
    """One cluster for all tests of this process that do nothing to it; it ends with the process."""
    cluster = Cluster()
    atexit.register(cluster.remove)
    cluster.start()
    return cluster
