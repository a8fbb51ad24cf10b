"""Programs that some tests need. Where one is missing a test skips on a desk, saying how to get it, and fails in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def missing(what: str, how: str) -> NoReturn:
    """Skip the test, saying how to install ``what``; where ``CI`` is set, fail it, so that nothing is passed over."""
    text = f"{what} is missing; install it: {how}"
    if os.environ.get("CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def find_node() -> str:
    """The path of Node.js, 20 or newer on the machines that ``tests/run`` prepares."""
    return shutil.which("node") or missing("Node.js", "./tests/run does")


def find_node_modules() -> Path:
    """The folder with what ``static/package-lock.json`` pins: socket.io-client for Node.js, the TypeScript compiler."""
    folder = ROOT / "static" / "node_modules"
    return folder if folder.is_dir() else missing("static/node_modules", "./tests/run does, or: cd static && npm ci")


def find_chromium() -> str:
    """The path of a Chromium: ``CHROMIUM``, as ``tests/run`` sets it, else the one on the path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    return found or missing("Chromium", "sudo apt-get install chromium")
