"""The browser's side: its unit tests under Node.js, and its types."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.tools import ROOT

STATIC = ROOT / "static"
PATIENCE = 280  # seconds: on a loaded machine the compiler alone takes minutes
TEST_FILES = sorted((ROOT / "tests" / "unit" / "js").glob("*.test.mjs"))

pytestmark = pytest.mark.timeout(PATIENCE + 20)


def run(command: list[str], cwd: Path) -> None:
    """Run a tool; fail with what it wrote, and nothing else, when it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=PATIENCE
    )
    if done.returncode:
        pytest.fail(done.stdout.decode("utf-8", "replace"), pytrace=False)


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.name)
def test_javascript(file: Path, node: str) -> None:
    """Every test in the file passes under ``node --test``."""
    run([node, "--test", "--test-reporter=spec", str(file)], cwd=ROOT)


def test_types_agree_with_the_code(node: str, node_modules: Path) -> None:
    """``tsc`` finds the scripts and their declarations in agreement."""
    run([node, str(node_modules / "typescript" / "bin" / "tsc"), "-p", "tsconfig.json"], cwd=STATIC)
