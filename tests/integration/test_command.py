"""``realtime run``: commands as tasks of a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime import keys
from realtime.client import Client
from realtime.command import FAILED, NOT_FOUND, NOT_RUN
from realtime.task import Task
from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote, wait_until
from support.viewer import watching


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return path, keys.create(path, ["create", "report", "read", "control"])[0]


@pytest.fixture(scope="module")
def server(module_servers: StartServer, key: tuple[Path, str]) -> Remote:
    return remote.start(module_servers, remote.serve("plain:app"), FLASK_REALTIME_WORKER_KEYS=str(key[0]))


@pytest.fixture
def client(server: Remote, key: tuple[Path, str]) -> Iterator[Client]:
    with Client(server.url, key[1]) as made:
        yield made


class Run:
    """A ``realtime run`` under way."""

    def __init__(self, server: Remote, key: str, task_id: str, *command: str, options: tuple[str, ...] = ()) -> None:
        self.task_id = task_id
        arguments = ["run", "--url", server.url, "--user", "ada", "--task-id", task_id, *options, "--", *command]
        assert key not in arguments
        self.process = subprocess.Popen(
            remote.realtime(*arguments),
            env={**os.environ, "PYTHONWARNINGS": "ignore", "REALTIME_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and error output."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


def found(client: Client, task_id: str) -> Task:
    """The task as it is."""
    task = client.get_task_status(task_id)
    assert task is not None
    return task


def runs(pid: int) -> bool:
    """Whether a process is there, and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may go between the opening of the file and the reading
        return False


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_that_ends_well(server: Remote, key: tuple[Path, str], client: Client) -> None:
    """Its output goes where it would have gone, and to those who watch; it completes."""
    code = "import sys\nsys.stdout.buffer.write('é out\\n'.encode() + b'\\xff\\n')\nsys.stderr.write('err\\n')\n"
    with watching(server.url, "ada") as viewer:
        ended = Run(server, key[1], "well", *python(code), options=("--name", "Transcode")).end()
        viewer.wait_for_task("well", status="completed")
    assert ended == (0, "é out\n\udcff\n", "err\n")
    task = found(client, "well")
    assert (task.name, task.user_id, task.result, task.output_size) == ("Transcode", "ada", {"exit_code": 0}, 15)


@pytest.mark.parametrize(
    ("command", "code", "says", "word"),
    [
        (python("raise SystemExit(3)"), 3, "Exit code 3.", "exit_code"),
        (python("import os; os.kill(os.getpid(), 9)"), 137, "Ended by SIGKILL.", "signal"),
        (["/no/such/command"], NOT_FOUND, "/no/such/command: No such file or directory", "not_run"),
        (["/"], NOT_RUN, "/: Permission denied", "not_run"),
    ],
)
def test_a_command_that_ends_badly(
    server: Remote, key: tuple[Path, str], client: Client, command: list[str], code: int, says: str, word: str
) -> None:
    """The exit code is passed on, and the page is told the reason."""
    task_id = f"bad-{code}"
    assert Run(server, key[1], task_id, *command).end()[0] == code
    error = found(client, task_id).error
    assert error is not None
    assert (error.message, error.code) == (says, word)


STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: {});\n"
    "print('up', flush=True)\nwhile True: signal.pause()"
)


@pytest.mark.parametrize(
    ("reaction", "grace", "code", "status"),
    [
        ("sys.exit(7)", "60", 7, "cancelled"),
        ("sys.exit(0)", "60", 0, "completed"),
        ("None", "0", 137, "cancelled"),
    ],
    ids=["stops", "has done it", "does not listen"],
)
def test_cancel(
    server: Remote, key: tuple[Path, str], client: Client, reaction: str, grace: str, code: int, status: str
) -> None:
    """A request to stop is a SIGTERM, and a SIGKILL when the grace is over; what is done all the same is done."""
    task_id = f"cancel-{code}"
    run = Run(server, key[1], task_id, *python(STUBBORN.format(reaction)), options=("--grace", grace))
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "up\n"
    client.cancel_task(task_id)
    assert run.end()[0] == code
    assert found(client, task_id).status == status
    assert found(client, task_id).cancel_acknowledged_at is not None


def test_signals_are_passed_on_to_all_that_it_has_started(
    server: Remote, key: tuple[Path, str], client: Client
) -> None:
    """A shell, and what the shell waits for."""
    inner = f'{sys.executable} -c "import os, time; print(os.getpid(), flush=True); time.sleep(600)"'
    run = Run(server, key[1], "signal", "sh", "-c", f"{inner}; exit 9")
    assert run.process.stdout is not None
    started = int(run.process.stdout.readline())
    run.process.send_signal(signal.SIGTERM)
    assert run.end()[0] == 128 + signal.SIGTERM
    wait_until(lambda: runs(started), lambda it_runs: not it_runs)
    error = found(client, "signal").error
    assert error is not None
    assert (error.code, error.details) == ("signal", {"signal": "SIGTERM"})


def test_the_command_can_report_its_own_progress(server: Remote, key: tuple[Path, str], client: Client) -> None:
    """It is told which task it is."""
    code = (
        "import os, urllib.request as u\n"
        "e = os.environ\n"
        "path = f\"{e['REALTIME_URL']}/realtime/v1/tasks/{e['REALTIME_TASK_ID']}\"\n"
        "h = {'Authorization': f\"Bearer {e['REALTIME_KEY']}\"}\n"
        "u.urlopen(u.Request(path, b'current=4&total=8&message=half', h, method='PATCH'))\n"
    )
    assert Run(server, key[1], "own", *python(code)).end() == (0, "", "")
    task = found(client, "own")
    assert (task.current, task.message) == (4, "half")


def test_a_task_that_cannot_be_made_is_not_run(server: Remote, key: tuple[Path, str], tmp_path: Path) -> None:
    """With a bad key, or a user that is none; the reason is one sentence."""
    mark = tmp_path / "ran"
    for bad in ("rt_00000000_" + "A" * 43, "none"):
        code, out, err = Run(server, bad, "not", "touch", str(mark)).end()
        assert (code, out) == (FAILED, "")
        assert err.startswith("realtime run: ")
        assert "Traceback" not in err
        assert bad not in err
    assert not mark.exists()
