"""This machine: where programs are compiled to, which core they run on, how they are started and ended, what it is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
_FLAGS: Final = ("-O2", "-std=gnu11")


class Missing(Exception):
    """Something that is needed is not on this machine; the text says how to get it."""


def cache() -> Path:
    """Where what was compiled is kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "realtime-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compiled(name: str, *sources: Path) -> Path:
    """The program that the C files make, compiled unless these very files have been already. Raises `Missing`."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise Missing("gcc is missing: apt-get install gcc libc6-dev")
    units = [source for source in sources if source.suffix == ".c"]
    text = b"".join(source.read_bytes() for source in sources) + " ".join(_FLAGS).encode()
    program = cache() / f"{name}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not program.exists():
        made = program.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *_FLAGS, "-o", str(made), *map(str, units), "-lm"], check=True)
        made.replace(program)
    return program


def on_core(core: int | None) -> list[str]:
    """What to put before a command so that it runs on one core; None: on any."""
    return [] if core is None else ["taskset", "-c", str(core)]


def can_pin() -> bool:
    """Whether server and client can have a core each."""
    return shutil.which("taskset") is not None and {SERVER_CORE, CLIENT_CORE} <= os.sched_getaffinity(0)


def raise_descriptor_limit() -> int:
    """Let this process and what it starts open as many files as they may. Returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A program that listens on 127.0.0.1, in a folder of its own. Starting waits until it does; closing ends it."""

    def __init__(
        self, command: Sequence[str], port: int, *, core: int | None, folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the program
        self._process = subprocess.Popen(
            [*on_core(core), *command], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd=folder,
            env={**os.environ, **(env or {})}, start_new_session=True,
        )  # fmt: skip
        self.pid = self._process.pid
        over = time.monotonic() + 30
        while not _listens(port):
            if self._process.poll() is not None or time.monotonic() > over:
                words = self.last_words()
                self.close()
                raise RuntimeError(f"{command[0]} does not listen on port {port}:\n{words}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """The end of what it wrote."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def descriptors(self) -> int:
        """How many files it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def close(self) -> None:
        """End it, kindly first."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._log.close()


class Lines:
    """Lines from a pipe, with patience that ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def next(self, timeout: float) -> str | None:
        """The next line, or None if there is none within ``timeout`` seconds. Raises `EOFError`."""
        over = time.monotonic() + timeout
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, over - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._descriptor, 65536)
            if not data:
                raise EOFError
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children_of(pid: int, number: int) -> tuple[int, ...]:
    """The processes that a process has started, once there are so many. RuntimeError if that takes 30 s."""
    over = time.monotonic() + 30
    while time.monotonic() < over:
        found = tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        if len(found) >= number:
            return found
        time.sleep(0.05)
    raise RuntimeError(f"the process {pid} has not started {number} others")


def output_of(*command: str) -> str:
    """What a command says, on either stream; empty where it is missing or fails to answer."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return (done.stdout + done.stderr).strip()
    return ""


def description() -> str:
    """This machine in a line, and how busy it is now."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    busy, _, _ = os.getloadavg()
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {sys.version.split()[0]}; load average before it began {busy:.1f}"
    )
