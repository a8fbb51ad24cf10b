"""What users install: the wheel and the sdist, built from this tree, and the demo of an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

from support.process import StartServer
from support.tools import ROOT

pytestmark = pytest.mark.timeout(400)  # packages are fetched, however slow the network

CLIENT = "realtime/static/vendor/socket.io.esm.min.js"


def run(command: list[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said
    return said


def build(kind: str, tree: Path, into: Path, env: Mapping[str, str] | None = None) -> Path:
    """Build a ``wheel`` or an ``sdist`` of the tree with the hatchling of this environment."""
    run([sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", into, tree], tree, env)
    (built,) = into.iterdir()
    return built


def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a new environment with the wheel and what it requires, at the versions tested here."""
    home = tmp_path_factory.mktemp("installed")
    versions = home / "constraints.txt"
    ours = {(found.name, found.version) for found in distributions() if found.name != "realtime-progress"}
    versions.write_text("".join(f"{name}=={version}\n" for name, version in sorted(ours)))
    venv.create(home / "venv", with_pip=True)
    programs = home / "venv" / "bin"
    run([programs / "python", "-m", "pip", "install", "-q", "--constraint", versions, wheel], home)
    return programs


def test_the_wheel_holds_package_pages_and_client(wheel: Path) -> None:
    """All that a server serves is inside; what only npm, tsc or the tests need is not."""
    held = names(wheel)
    sources = {f"realtime/{path.relative_to(ROOT / 'realtime')}" for path in (ROOT / "realtime").rglob("*.py")}
    sources |= {f"realtime/{path.relative_to(ROOT / 'realtime')}" for path in (ROOT / "realtime").rglob("*.lua")}
    scripts = {f"realtime/static/{path.name}" for path in (ROOT / "static").glob("*.*s")}
    templates = ROOT / "templates"
    pages = {f"realtime/templates/{path.relative_to(templates)}" for path in templates.rglob("*.html")}
    assert sources | scripts | pages | {CLIENT, "realtime/py.typed"} <= held
    assert {name.split("/")[0] for name in held} == {"realtime"}
    unwanted = ("node_modules", "package.json", "package-lock.json", "tsconfig.json", ".npmrc", "__pycache__")
    assert [name for name in held if any(part in unwanted for part in name.split("/"))] == []


def test_a_wheel_of_the_sdist_is_the_same_and_needs_no_npm(wheel: Path, tmp_path: Path) -> None:
    """The sdist carries the browser's Socket.IO client, so that nothing is fetched when it is installed."""
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    unpacked, empty = tmp_path / "unpacked", tmp_path / "empty"
    unpacked.mkdir()
    empty.mkdir()
    run(["tar", "-xzf", sdist], unpacked)
    (tree,) = unpacked.iterdir()
    again = build("wheel", tree, tmp_path / "again", {**os.environ, "PATH": str(empty)})
    assert names(again) == names(wheel)


def test_the_installed_demo_runs(installed: Path, server_process: StartServer) -> None:
    """``realtime demo`` of a wheel in a clean environment serves its page, its scripts and the Socket.IO client."""
    server = server_process([str(installed / "realtime"), "demo", "--port", "{port}"])
    page = get(server.url + "/")
    assert 'name="realtime"' in page
    assert "io" in get(f"{server.url}/realtime/static/vendor/socket.io.esm.min.js")
    assert "connect" in get(f"{server.url}/realtime/static/realtime.js")
    assert server.stop() == 0


def test_the_commands_are_installed(installed: Path, tmp_path: Path) -> None:
    """Both ``realtime`` and ``flask realtime`` offer the commands."""
    ours = run([installed / "realtime", "--help"], tmp_path)
    flasks = run([installed / "flask", "realtime", "--help"], tmp_path)
    for word in ("demo", "serve", "ticket"):
        assert word in ours
        assert word in flasks


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode("utf-8")
