"""What is measured: realtime, and what a user would pick in its place. Each runs on 127.0.0.1 and ends by its pid."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from bench.machine import HERE, Lines, Program, children_of, compiled, free_port, on_core, output_of

PEERS: Final = HERE / "peers"


@dataclass(frozen=True)
class Setup:
    """What a server is to be made ready for."""

    groups: int = 1
    #: Bytes of a piece of output; 0: snapshots of tasks.
    piece: int = 0
    core: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    #: Tasks and users beside, of which nothing is published.
    idle: int = 0
    #: Processes that serve, where ours may be several; they share a store, which ``settings`` name.
    workers: int = 1


@dataclass(frozen=True)
class Order:
    """What is to be published: ``rate`` a second in all, to the groups in turn (0: as fast as it can be called)."""

    groups: int
    rate: float
    seconds: float
    finals: bool = False
    piece: int = 0
    #: The number of the first piece.
    first: int = 0


@dataclass(frozen=True)
class Published:
    """How it went: how many, in how many seconds, with how many CPU seconds of the publisher (0: not known)."""

    sent: int
    seconds: float
    cpu: float = 0.0


class Server(ABC):
    """A system that runs. Used as a context manager."""

    #: The arguments of the load client that make its viewers this system's.
    viewers: tuple[str, ...]
    #: Its processes, the publisher included.
    pids: tuple[int, ...]

    def __init__(self) -> None:
        self.port = free_port()
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="realtime-bench-")))

    def run(self, command: list[str], core: int | None, env: dict[str, str] | None = None) -> Program:
        """Start a program that listens on this server's port."""
        program = Program(command, self.port, core=core, folder=self.folder, env=env)
        self._stack.callback(program.close)
        self.pids = (program.pid,)
        return program

    @abstractmethod
    def publish(self, order: Order) -> None:
        """Begin to publish."""

    @abstractmethod
    def published(self, timeout: float) -> Published | None:
        """What came of it; None if it is not through in time."""

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class System(ABC):
    """One column of the table."""

    key: ClassVar[str]
    title: ClassVar[str]

    def missing(self) -> str | None:
        """The command that installs it, if it is not there."""
        return None

    @abstractmethod
    def version(self) -> str:
        """What exactly is measured."""

    @abstractmethod
    def start(self, setup: Setup) -> Server:
        """Start it."""


# Apps with a publisher inside: they are asked over HTTP.


class AppServer(Server):
    """An app with ``/start`` and ``/stats``."""

    program: Program

    def ask(self, path: str, timeout: float = 60.0) -> str:
        """The body of the answer to a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
            if response.status != 200:
                raise RuntimeError(f"{path}: {response.status} {body[:200]}")
            return body
        finally:
            connection.close()

    def publish(self, order: Order) -> None:
        self.ask(
            f"/start?groups={order.groups}&rate={order.rate}&seconds={order.seconds}&finals={int(order.finals)}"
            f"&piece={order.piece}&first={order.first}"
        )

    def published(self, timeout: float) -> Published | None:
        over = time.monotonic() + timeout
        while (rest := over - time.monotonic()) > 0:
            # One that is drowning does not answer.
            with contextlib.suppress(OSError, http.client.HTTPException):
                told = json.loads(self.ask("/stats", max(rest, 0.1)))
                if told["done"]:
                    return Published(int(told["sent"]), float(told["seconds"]), float(told["cpu"]))
            time.sleep(0.1)
        return None


class RealtimeServer(AppServer):
    """`server.py` under ``realtime serve``, with authenticated viewers."""

    def __init__(self, source: Path, setup: Setup) -> None:
        super().__init__()
        # -c would look for modules in the folder it is started from, which is empty.
        command = [sys.executable, "-c", "from realtime.cli import main; main()", "serve", f"{HERE / 'server.py'}:app"]
        env = {"PYTHONPATH": str(source), "PYTHONWARNINGS": "ignore", **setup.settings}
        with contextlib.ExitStack() as guard:
            guard.push(self)
            command += ["--port", str(self.port)]
            if setup.workers > 1:
                command += ["--workers", str(setup.workers)]
            self.program = self.run(command, setup.core, env)
            if setup.workers > 1:
                self.pids = children_of(self.program.pid, setup.workers)
            tickets = self.folder / "tickets"
            tickets.write_text(self.ask("/prepare?shared=1" if setup.piece else f"/prepare?tasks={setup.groups}"))
            if setup.idle:
                (self.folder / "idle").write_text(self.ask(f"/prepare?idle=1&tasks={setup.idle}"))
            guard.pop_all()
        joining = (
            "--dialect", "socketio", "--namespace", "/tasks", "--auth", '{"ticket":"@v"}', "--deflate",
            "--ready", '"tasks_snapshot"', "--version-key", '"version":', "--stamp-key", '"message":"t:',
        )  # fmt: skip
        end = ("--output", "--piece", str(setup.piece)) if setup.piece else ("--final-mark", '"status":"completed"')
        self.viewers = (*joining, *end, "--values", str(tickets))
        #: Viewers of whom nothing is published.
        self.idle_viewers = (*joining, "--values", str(self.folder / "idle"))


class Realtime(System):
    """What this is all about."""

    key, title = "realtime", "realtime"

    def __init__(self, source: Path) -> None:
        self.source = source

    def version(self) -> str:
        described = output_of("git", "-C", str(self.source), "describe", "--always", "--dirty", "--exclude", "*")
        parts = ("eventlet", "flask-socketio", "python-socketio", "python-engineio", "websockets", "msgspec")
        return f"realtime {described or 'unknown'} ({', '.join(f'{part} {_package(part)}' for part in parts)})"

    def start(self, setup: Setup) -> RealtimeServer:
        return RealtimeServer(self.source, setup)


def _socketio_viewers(setup: Setup) -> tuple[str, ...]:
    """Viewers of an app that lets a client join a room by an event of its own, acknowledged."""
    return (
        "--dialect", "socketio", "--send", '420["subscribe",{"task_id":"t@g"}]', "--ready", "430[",
        *_payload(setup),
    )  # fmt: skip


def _payload(setup: Setup) -> tuple[str, ...]:
    if setup.piece:
        return ("--piece", str(setup.piece), "--version-key", "#", "--stamp-key", "@")
    return ("--version-key", '"v":', "--stamp-key", '"t":', "--final-mark", '"status":"complete"')


class PeerApp(AppServer):
    """An app of ``peers/``."""

    def __init__(self, command: list[str], setup: Setup, viewers: tuple[str, ...], env: dict[str, str]) -> None:
        super().__init__()
        self.viewers = viewers
        with contextlib.ExitStack() as guard:
            guard.push(self)
            self.program = self.run([*command, str(self.port)], setup.core, env)
            guard.pop_all()


class Plain(System):
    """Flask-SocketIO as people write it today. Its viewers offer no permessage-deflate, which would slow it down."""

    key, title = "plain", "Flask-SocketIO"

    def version(self) -> str:
        return f"Flask-SocketIO {_package('flask-socketio')} on eventlet {_package('eventlet')}"

    def start(self, setup: Setup) -> Server:
        command = [sys.executable, str(PEERS / "plain.py")]
        return PeerApp(command, setup, _socketio_viewers(setup), {"PYTHONWARNINGS": "ignore"})


class Node(System):
    """Node.js and socket.io, as npm has it."""

    key, title = "node", "Node socket.io"

    def missing(self) -> str | None:
        if shutil.which("node") is None or shutil.which("npm") is None:
            return "apt-get install nodejs npm"
        if not (PEERS / "node_modules" / "socket.io").is_dir():
            return "npm ci --ignore-scripts --prefix tests/bench/peers"
        return None

    def version(self) -> str:
        package = json.loads((PEERS / "node_modules" / "socket.io" / "package.json").read_text())
        return f"socket.io {package['version']} on Node {output_of('node', '--version')}"

    def start(self, setup: Setup) -> Server:
        viewers = (*_socketio_viewers(setup), "--deflate")
        return PeerApp(["node", str(PEERS / "node.js")], setup, viewers, {"NODE_ENV": "production"})


# Brokers: a program of ours publishes to them (peers/publish.c), on the core of the broker.


class BrokerServer(Server):
    """A broker and its publisher."""

    _publisher: subprocess.Popen[bytes]
    _answers: Lines

    def attach(self, kind: str, port: int, setup: Setup) -> None:
        """Start the publisher."""
        command = [*on_core(setup.core), str(compiled("publish", PEERS / "publish.c")), kind, str(port)]
        self._publisher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stack.callback(self._end)
        assert self._publisher.stdout is not None
        self._answers = Lines(self._publisher.stdout.fileno())
        self.pids = (*self.pids, self._publisher.pid)

    def _end(self) -> None:
        self._publisher.terminate()
        self._publisher.wait(5)
        for stream in (self._publisher.stdin, self._publisher.stdout):
            if stream is not None:
                stream.close()

    def publish(self, order: Order) -> None:
        assert self._publisher.stdin is not None
        self._publisher.stdin.write(
            f"{order.groups} {order.rate} {order.seconds} {int(order.finals)} {order.piece} {order.first}\n".encode()
        )
        self._publisher.stdin.flush()

    def published(self, timeout: float) -> Published | None:
        line = self._answers.next(timeout)
        if line is None:
            return None
        sent, seconds = line.split()
        return Published(int(sent), float(seconds))


class Nchan(System):
    """nginx with nchan."""

    key, title = "nchan", "nginx nchan"
    _MODULES: Final = (
        Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
        Path("/usr/lib64/nginx/modules/ngx_nchan_module.so"),
    )

    def _module(self) -> Path | None:
        return next((path for path in self._MODULES if path.exists()), None)

    def missing(self) -> str | None:
        found = _nginx() is not None and self._module() is not None
        return None if found else "apt-get install nginx libnginx-mod-nchan"

    def version(self) -> str:
        nginx = output_of(_nginx() or "nginx", "-v").rpartition("/")[2]
        nchan = output_of("dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan")
        return f"nchan {nchan} in nginx {nginx}"

    def start(self, setup: Setup) -> Server:
        server = BrokerServer()
        with contextlib.ExitStack() as guard:
            guard.push(server)
            text = (PEERS / "nchan.conf").read_text()
            text = text.replace("@PORT@", str(server.port)).replace("@MODULE@", str(self._module()))
            (server.folder / "nginx.conf").write_text(text)
            server.run([_nginx() or "nginx", "-p", str(server.folder), "-c", "nginx.conf"], setup.core)
            server.attach("nchan", server.port, setup)
            guard.pop_all()
        server.viewers = ("--dialect", "text", "--path", "/sub?id=t@g", "--deflate", *_payload(setup))
        return server


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nats(System):
    """NATS over WebSocket."""

    key, title = "nats", "NATS WebSocket"

    def missing(self) -> str | None:
        return None if _nats() is not None else "apt-get install nats-server"

    def version(self) -> str:
        return output_of(_nats() or "nats-server", "--version").replace(": v", " ")

    def start(self, setup: Setup) -> Server:
        server, publish = BrokerServer(), free_port()
        with contextlib.ExitStack() as guard:
            guard.push(server)
            text = (PEERS / "nats.conf").read_text()
            text = text.replace("@PORT@", str(server.port)).replace("@PUBLISH@", str(publish))
            (server.folder / "nats.conf").write_text(text)
            server.run([_nats() or "nats-server", "-c", "nats.conf"], setup.core)
            server.attach("nats", publish, setup)
            guard.pop_all()
        server.viewers = ("--dialect", "nats", "--send", "t@g", "--deflate", *_payload(setup))
        return server


def _nats() -> str | None:
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def all_peers() -> list[System]:
    """The peers, in the order of the table."""
    return [Plain(), Node(), Nchan(), Nats()]
