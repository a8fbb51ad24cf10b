"""The commands, as a shell runs them: `realtime` and the same under `flask realtime`."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import remote
from support.process import StartServer
from support.remote import PATIENCE, Remote
from support.viewer import watching

FLASK = [sys.executable, "-m", "flask", "--app", "support.apps.plain:app"]


def run(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environ = {**os.environ, "PYTHONWARNINGS": "ignore", **remote.environment(), **more}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    "command",
    [remote.realtime("ticket", "support.apps.plain:app"), [*FLASK, "realtime", "ticket"]],
    ids=["realtime", "flask"],
)
def test_a_ticket_lets_its_holder_in(command: list[str], plain: Remote) -> None:
    """For a user; and for one task, which its holder then sees and no other."""
    seen, hidden = plain.create("ada"), plain.create("ada")
    ticket = run([*command, "--user", "ada"]).stdout.strip()
    with watching(plain.url, None, auth={"ticket": ticket}) as viewer:
        assert {seen, hidden} <= set(viewer.tasks)
    ticket = run([*command, "--task", seen]).stdout.strip()
    with watching(plain.url, None, auth={"ticket": ticket}) as viewer:
        assert set(viewer.tasks) == {seen}


def test_flask_serves_it_too(server_process: StartServer) -> None:
    """``flask realtime serve`` is our server, unpatched."""
    command = ["python", *FLASK[1:], "realtime", "serve", "--port", "{port}"]
    server = remote.start(server_process, command)
    assert (server.stats()["mode"], server.stats()["patched"]) == ("eventlet", None)
    with watching(server.url, "ada") as viewer:
        viewer.wait_for_task(server.job("steps", "ada"), status="completed")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (remote.realtime("serve", "no_such_module:app"), "no_such_module"),
        (remote.realtime("ticket", "support.apps.plain:app"), "user_id or a task_id"),
        (remote.realtime("serve", "support.apps.plain:app", "--host", "203.0.113.1"), "Cannot listen on 203.0.113.1"),
        (remote.realtime("ticket", "flask:Flask"), "A valid Flask application was not obtained"),
    ],
    ids=["module", "nobody", "host", "no app"],
)
def test_a_mistake_is_one_sentence(command: list[str], says: str) -> None:
    """No traceback, and an exit code that says that it failed."""
    ended = run(command)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert says in ended.stderr


def test_a_missing_secret_prints_the_line_to_paste(tmp_path: Path) -> None:
    """The line is ready: with it the ticket is made."""
    app = "from flask import Flask\nfrom realtime import Realtime\napp = Flask(__name__)\n{}rt = Realtime(app)\n"
    (tmp_path / "bare.py").write_text(app.format(""))
    environ = {
        **os.environ,
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    command = remote.realtime("ticket", "bare:app", "--user", "ada")

    def ticket() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    refused = ticket()
    assert refused.returncode == 1
    line = next(line.strip() for line in refused.stderr.splitlines() if line.strip().startswith("SECRET_KEY = "))
    (tmp_path / "bare.py").write_text(app.format(f"{line}\napp.config.from_mapping(SECRET_KEY=SECRET_KEY)\n"))
    assert ticket().stdout.count(".") == 2


def test_the_reloader_brings_viewers_back(server_process: StartServer, tmp_path: Path) -> None:
    """``flask run --debug`` loads the app anew when a file changes; whoever connects then sees the new one."""
    source = tmp_path / "changing.py"
    source.write_text("from support.apps.making import make\napp = make()\nmark = 1\n")
    command = ["python", "-m", "flask", "--app", "changing:app", "run", "--debug", "--port", "{port}"]
    start = server_process(
        command, env={"PYTHONPATH": os.pathsep.join([str(tmp_path), remote.environment()["PYTHONPATH"]])}, noisy=True
    )
    server = Remote(start)
    with watching(server.url, "ada") as viewer:
        viewer.wait_for_task(server.job("steps", "ada"), status="completed")
        before = server.stats()["epoch"]
    source.write_text("from support.apps.making import make\napp = make()\nmark = 2\n")

    def epoch() -> str:
        try:
            return str(server.stats()["epoch"])
        except (OSError, ValueError, AssertionError, http.client.HTTPException):
            return str(before)

    remote.wait_until(epoch, lambda now: bool(now != before))
    with watching(server.url, "ada") as viewer:
        viewer.wait_for_task(server.job("steps", "ada"), status="completed")


def test_nothing_is_said_of_eventlet_at_each_start() -> None:
    """The README has said it once; whoever runs our server need not read it each time."""
    loaded = subprocess.run(
        [sys.executable, "-W", "default", "-c", "import realtime.cli, realtime.serving"], capture_output=True, text=True
    )
    assert (loaded.returncode, loaded.stderr) == (0, "")
