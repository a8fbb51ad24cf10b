"""The README's sections on several processes and on workers in any language, followed line by line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.metadata import metadata
from pathlib import Path

from realtime.client import Client
from support import remote
from support.process import StartServer
from support.remote import PATIENCE
from support.tools import ROOT, missing
from support.viewer import watching

FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = (ROOT / "README.md").read_text("utf-8")


def section(name: str) -> str:
    return README.partition(f"## {name}\n")[2].partition("\n## ")[0]


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
    workers = section("Workers in any language")
    prepare, report, run = FENCE.findall(workers)
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

    # What stands in the text: one task for each way to end or to go on, and the batch.
    said = dict(re.findall(r"`…/(\w+)(.*?)`", workers))
    assert list(said) == ["fail", "cancel", "acknowledge_cancel", "heartbeat"]
    [batch] = re.findall(r'`(\{"operations".*?\})`', workers)
    lines = [f"api={server.url}/realtime/v1"]
    for verb, data in said.items():
        lines.append(f"curl -f -H @studio.auth $api/tasks -d user_id=ada -d task_id={verb}")
        lines.append(f"curl -f -H @studio.auth $api/tasks/{verb}/{verb} {data or '-X POST'}")
    lines.append("curl -f -H @studio.auth $api/tasks -d user_id=ada -d task_id=film-8")
    lines.append(f"curl -f -H @studio.auth $api/batch --json '{batch.replace('film-7', 'film-8')}'")
    shell("\n".join(lines), tmp_path)

    key = (tmp_path / "studio.auth").read_text().split()[-1]
    assert (tmp_path / "studio.auth").stat().st_mode & 0o077 == 0
    with Client(server.url, key) as client:
        film = client.require("film-7")
        assert (film.user_id, film.name, film.current, film.message) == ("ada", "Transcode", 4, "Scene 3")
        assert (film.result, film.output_size) == ({"message": "8 scenes."}, 20)
        assert client.require("film-8").progress.percent == 40
        assert [str(client.require(verb).status) for verb in said] == [
            "failed",
            "cancelled",
            "processing",
            "processing",
        ]
    shell(f"FLASK_REALTIME_WORKER_KEYS=keys.json {program} keys create --name all --scope read > all.key", tmp_path)
    with Client(server.url, (tmp_path / "all.key").read_text().strip()) as client:
        [count] = [task for task in client.list_tasks("ada") if task.name == "Count"]
        assert (count.status, count.output_size, count.result) == ("completed", 24, {"exit_code": 0})


def test_several_processes_serve_the_readers_app(server_process: StartServer, tmp_path: Path) -> None:
    """The extra that it names is there, and the command serves the README's first app in two processes."""
    install, serve = FENCE.findall(section("Several processes"))[0].splitlines()
    assert install == '.venv/bin/pip install ".[workers]"'
    assert "workers" in (metadata("realtime-progress").get_all("Provides-Extra") or [])
    code = re.search(r"^```python\n(# app\.py\n.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert code is not None
    (tmp_path / "app.py").write_text(code[1], "utf-8")
    program, *command = serve.split()
    assert program == ".venv/bin/realtime"
    server = server_process(remote.realtime(*command, "--port", "{port}"), cwd=tmp_path, ready=None)
    server.wait_for_output(r"runs at .*/  \(2 processes and a Valkey that they share; Ctrl-C stops them\)$", timeout=60)
    with watching(server.url, "ada") as viewer:
        assert remote.Remote(server).request("GET", "/")[0] == 200
        viewer.wait_for(lambda: any(task["name"] == "Export" for task in viewer.tasks.values()), "export")
