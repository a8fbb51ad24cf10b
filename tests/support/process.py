"""Real servers as processes of their own: started, waited for, read and stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .ports import free_port

#: What a warning looks like in a log. eventlet's own deprecation is known.
_WARNING = re.compile(r"^\S+:\d+: (?!EventletDeprecationWarning)\w*Warning: .*", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last)"
#: Seconds that a process may take to start, to say something or to end: on a busy machine each is ten times as long.
PATIENCE = 60.0
#: Seconds between two looks at something that only a look can tell.
_TICK = 0.02


class ServerProcess:
    """One server process on 127.0.0.1, the head of a process group of its own.

    ``command`` may hold ``{port}``; standard output and error go to one file, ``log``. Times out in seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        port: int | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.command = [part.replace("{port}", str(self.port)) for part in command]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                # Unbuffered, so that the log is whole however the process ends; warnings are shown, and fail the test.
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default", **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.poll()

    def output(self) -> str:
        """What the process has written so far."""
        return self.log.read_text("utf-8", "replace")

    def wait_until_ready(self, path: str = "/realtime/v1/healthz", timeout: float = PATIENCE) -> None:
        """Return when ``path`` is answered, with a status below 500. AssertionError if it never is."""
        self._wait(lambda: self._answers(path), f"answer GET {path}", timeout)

    def wait_for_output(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """The first place where the output matches the regular expression. AssertionError if it never does."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.output(), re.MULTILINE)
            found.extend([match] if match else [])
            return match is not None

        self._wait(look, f"write {pattern!r}", timeout)
        return found[0]

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself, not to its children."""
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code, once the process has ended. AssertionError if it does not."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._said()}\n\ndid not end within {timeout} s") from None

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Ask the process to end and wait until it has; its exit code. AssertionError if it does not end."""
        if self.returncode is None:
            self.send_signal(number)
        return self.wait(timeout)

    def kill(self) -> None:
        """End the process and all it started, whatever they are doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def problems(self) -> list[str]:
        """What the log shows and a healthy server does not write: tracebacks and warnings."""
        text = self.output()
        traceback = [text[text.index(_TRACEBACK) :]] if _TRACEBACK in text else []
        return [*traceback, *_WARNING.findall(text)]

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _wait(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            # A wait for its end is a pause that a process which fails at its start cuts short.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_TICK)
                if condition():  # it may have done it just before it ended
                    return
                raise AssertionError(f"{self._said()}\n\nended with {code} and did not {what}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._said()}\n\ndid not {what} within {timeout} s")

    def _said(self) -> str:
        return f"{' '.join(self.command)}\n{self.output()}"


class StartServer:
    """Starts server processes: what the fixture ``server_process`` is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Each with whether its log may hold tracebacks and warnings.
        self.started: list[tuple[ServerProcess, bool]] = []

    def __call__(
        self,
        command: Sequence[str],
        *,
        ready: str | None = "/realtime/v1/healthz",
        port: int | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        noisy: bool = False,
        timeout: float = PATIENCE,
    ) -> ServerProcess:
        """Start ``command`` and return when it answers. AssertionError with its log if it does not in time.

        ``{port}`` in the command stands for the port (by default a free one), ``python`` as its first word for this
        Python. ``ready`` is the path asked for until it is answered; None for a process that the test waits for itself.
        A traceback or a warning in the log fails the test, unless it is ``noisy`` on purpose.
        """
        words = [sys.executable, *command[1:]] if command[0] == "python" else command
        log = self._folder / f"server-{len(self.started)}.log"
        server = ServerProcess(words, log=log, port=port, cwd=cwd or self._folder, env=env)
        self.started.append((server, noisy))
        if ready is not None:
            server.wait_until_ready(ready, timeout)
        return server

    def end_all(self) -> None:
        """Let each server that still runs end by itself (it reports its coverage then), and kill what remains."""
        for server, _ in self.started:
            with contextlib.suppress(AssertionError):  # a test about stopping calls stop() itself
                server.stop(timeout=5)
            server.kill()
