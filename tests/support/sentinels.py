"""A primary with a replica on 127.0.0.1, and a sentinel that puts the one in the other's place."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from .ports import free_port
from .stores import find_server

#: Seconds between two looks at servers that start.
_TICK = 0.01


class Watched:
    """Two servers and one sentinel, which takes the primary to be down when it may: see `let_fail_over`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rt-sentinel-"))
        self._program = find_server("redis")
        self.ports = [free_port(), free_port()]
        self._port = free_port()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.url = f"redis+sentinel://127.0.0.1:{self._port}/main"

    def start(self) -> None:
        """Start all, and return when the sentinel knows the replica. AssertionError if that takes more than 60 s."""
        primary, replica = self.ports
        limits = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        self._start(primary, *limits)
        self._start(replica, *limits, "--replicaof", "127.0.0.1", str(primary))
        # The sentinel asks at once who there is, and then for ten seconds not again.
        with contextlib.closing(redis.Redis(port=replica, socket_timeout=10)) as client:
            self._wait(lambda: client.info("replication").get("master_link_status") == "up")
        told = self.folder / "sentinel.conf"
        told.write_text(
            f"sentinel monitor main 127.0.0.1 {primary} 1\n"
            "sentinel down-after-milliseconds main 3600000\n"
            "sentinel failover-timeout main 3000\n"
        )
        self._start(self._port, config=told)
        self._wait(lambda: self._replicas() == 1)

    def _start(self, port: int, *options: str, config: Path | None = None) -> None:
        command = [self._program, *([str(config), "--sentinel"] if config is not None else [])]
        command += ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.folder), "--loglevel", "warning"]
        self._processes[port] = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self._wait(lambda: _answers(port))

    def _sentinel(self) -> Any:
        return redis.Redis(port=self._port, socket_timeout=10)

    def _replicas(self) -> int:
        with contextlib.closing(self._sentinel()) as sentinel:
            return int(sentinel.execute_command("SENTINEL MASTER", "main")["num-slaves"])

    @staticmethod
    def _wait(condition: Any) -> None:
        over = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < over
            time.sleep(_TICK)

    @property
    def primary(self) -> int:
        """The port of the primary that the sentinel names."""
        with contextlib.closing(self._sentinel()) as sentinel:
            _, port = sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "main")
        return int(port)

    def let_fail_over(self) -> None:
        """Have the sentinel take a primary to be down after half a second. Until then none is, however slow it is."""
        with contextlib.closing(self._sentinel()) as sentinel:
            sentinel.execute_command("SENTINEL SET", "main", "down-after-milliseconds", 500)

    def kill(self, port: int) -> None:
        """End a server at once."""
        process = self._processes.pop(port)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def remove(self) -> None:
        """End all and leave nothing behind."""
        for port in list(self._processes):
            self.kill(port)
        shutil.rmtree(self.folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with contextlib.closing(redis.Redis(port=port, socket_timeout=10)) as client:
        try:
            return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False
