"""The README's section on workers in any language, followed line by line in a shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from realtime.client import Client
from support import remote
from support.process import StartServer
from support.remote import PATIENCE
from support.tools import ROOT, missing

FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shell(script: str, folder: Path, **environ: str) -> None:
    """Run lines of the README; the first that fails is an error."""
    ended = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env={**os.environ, "PYTHONWARNINGS": "ignore", **environ},
        capture_output=True, text=True, timeout=PATIENCE * 2, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def test_each_line_does_what_it_says(server_process: StartServer, tmp_path: Path) -> None:
    """A key is made, a server reads it, curl reports a task from its start to its end, and a command is one."""
    if shutil.which("curl") is None:
        missing("curl", "sudo apt-get install curl")
    section = (ROOT / "README.md").read_text("utf-8").partition("## Workers in any language\n")[2].partition("\n## ")[0]
    prepare, report, run = FENCE.findall(section)
    program = remote.realtime()[0]
    *keys, serve = prepare.strip().splitlines()
    assert serve == ".venv/bin/realtime serve app:app"
    shell("\n".join(keys).replace(".venv/bin/realtime", program), tmp_path)
    server = remote.start(
        server_process, remote.serve("plain:app"), FLASK_REALTIME_WORKER_KEYS=str(tmp_path / "keys.json")
    )
    assert "http://127.0.0.1:5000" in report
    assert "http://127.0.0.1:5000" in run
    shell(report.replace("http://127.0.0.1:5000", server.url), tmp_path)
    shell(run.replace("http://127.0.0.1:5000", server.url).replace(".venv/bin/realtime", program), tmp_path)

    key = (tmp_path / "studio.auth").read_text().split()[-1]
    assert (tmp_path / "studio.auth").stat().st_mode & 0o077 == 0
    with Client(server.url, key) as client:
        film = client.require("film-7")
        assert (film.user_id, film.name, film.current, film.message) == ("ada", "Transcode", 4, "Scene 3")
        assert (film.result, film.output_size) == ({"message": "8 scenes."}, 20)
    shell(f"FLASK_REALTIME_WORKER_KEYS=keys.json {program} keys create --name all --scope read > all.key", tmp_path)
    with Client(server.url, (tmp_path / "all.key").read_text().strip()) as client:
        [count] = [task for task in client.list_tasks("ada") if task.name == "Count"]
        assert (count.status, count.output_size, count.result) == ("completed", 24, {"exit_code": 0})
