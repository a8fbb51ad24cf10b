"""The rules that the tree itself keeps."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.tools import ROOT

#: Where packages are fetched from is a setting of the machine. In parts, since this file is read too.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("jsdelivr", "net"),
        ("unpkg", "com"),
    )
)
TOP_LEVEL = {"pyproject.toml", "realtime", "static", "templates", "tests", "README.md", "LICENSE"}
MAX_LINES = 400


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files that git tracks or would: what a commit of everything would hold."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_top_level_holds_only_what_belongs_there(tracked: list[Path]) -> None:
    """Beside package, static, templates and tests there are the project file, the README, the licence and dot-files."""
    names = {path.relative_to(ROOT).parts[0] for path in tracked}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_the_constants_of_the_browser_are_those_of_the_server() -> None:
    """``static/protocol.js`` is what ``python -m realtime.protocol`` writes."""
    command = [sys.executable, "-m", "realtime.protocol"]
    written = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=True).stdout
    assert (ROOT / "static" / "protocol.js").read_bytes() == written


def test_modules_hold_one_idea_each(tracked: list[Path]) -> None:
    """No module of the package or of the page is longer than 400 lines."""
    modules = [
        path
        for path in tracked
        if path.suffix in {".py", ".js"} and path.relative_to(ROOT).parts[0] in {"realtime", "static"}
    ]
    assert modules
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in modules}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_file_names_a_package_registry(tracked: list[Path]) -> None:
    """Where packages come from is for the machine to say, in the lock files too."""
    naming = {
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked
        for host in REGISTRIES
        if host.encode() in path.read_bytes()
    }
    assert naming == set()


def test_no_third_party_code_is_committed(tracked: list[Path]) -> None:
    """What others wrote is fetched by the build, never kept here."""
    foreign = re.compile(r"(^|/)(node_modules|vendor)/|\.min\.(js|css)$")
    assert [name for path in tracked if foreign.search(name := path.relative_to(ROOT).as_posix())] == []


def test_the_lock_satisfies_the_project() -> None:
    """Each dependency, the tests' included, is pinned in the lock at a version the project allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]
    lock = (ROOT / "tests" / "requirements.lock").read_text("utf-8")
    pinned = {canonicalize_name(name): Version(at) for name, at in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)}
    unmet = [
        str(requirement)
        for requirement in wanted
        if (at := pinned.get(canonicalize_name(requirement.name))) is None or not requirement.specifier.contains(at)
    ]
    assert unmet == []


def test_these_tests_run_what_the_lock_pins() -> None:
    """The environment of this run holds the versions of the stack whose seams the package builds on."""
    lock = (ROOT / "tests" / "requirements.lock").read_text("utf-8")
    stack = ("eventlet", "flask-socketio", "python-engineio", "python-socketio")
    assert {name: version(name) for name in stack} == {
        name: match[1] for name in stack if (match := re.search(rf"^{name}==(\S+)", lock, re.MULTILINE))
    }
