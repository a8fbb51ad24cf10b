"""Imports go down only. What each module imports is read from its source, type-only imports and late ones included."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "realtime"

#: A module may import modules of lower layers and its siblings. A folder's layer is that of all its modules.
LAYERS = {
    0: ("errors", "config", "concurrency", "pool", "installation"),
    1: ("task", "failure", "kin", "progress", "values", "protocol", "auth", "keys", "overview"),
    2: ("registry",),
    3: (
        "hub", "outbox", "viewer", "frames", "flush", "rooms", "renewal", "stalls", "metrics", "pacing", "demand",
        "waiting", "presence",
    ),
    4: (
        "transport", "batch", "reasons", "operations", "supervision", "blocks", "heart", "handle", "wsgi_call",
        "slow_bodies",
    ),
    5: ("extension", "current", "lifecycle", "runner", "client", "__init__"),
    6: (
        "demo", "demo_jobs", "demo_worker", "cli", "keys_cli", "top_cli", "top", "command", "serving", "workers",
        "valkey", "integrations", "__main__",
    ),
    # Doubles for tests: may use everything, and nothing uses them.
    7: ("testing",),
}  # fmt: skip
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}

#: The only modules that name eventlet, so that it can be replaced.
EVENTLET = {"concurrency.py", "serving.py", "transport/websocket.py"}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """``realtime.registry.memory`` for its file; ``realtime.registry`` for that of the folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def layer(module: str) -> int:
    """The layer of a module of ours. KeyError for one without: it needs a line above, and one in the architecture."""
    parts = module.split(".")
    return LAYER_OF[parts[1] if len(parts) > 1 else "__init__"]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a file imports: ``from .registry import base`` is ``realtime.registry.base``."""
    here = module_name(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    for found in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(found, ast.Import):
            yield from ((found.lineno, alias.name) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            above = package[: len(package) - found.level + 1] if found.level else []
            source = ".".join([*above, *([found.module] if found.module else [])])
            for alias in found.names:
                whole = f"{source}.{alias.name}"
                yield found.lineno, whole if whole in MODULES else source


def own_imports(path: Path) -> list[tuple[int, str]]:
    return [(line, name) for line, name in imports(path) if name.split(".")[0] == "realtime"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """No line of a module imports from a layer above its own."""
    module = module_name(path)
    upward = [
        f"{path.name}:{line} imports {name} (layer {layer(name)}) from layer {layer(module)}"
        for line, name in own_imports(path)
        if layer(name) > layer(module)
    ]
    assert upward == []


def test_siblings_do_not_import_each_other_in_a_circle() -> None:
    """Within a layer the imports have a direction too."""
    graph = {module_name(path): {name for _, name in own_imports(path)} - {module_name(path)} for path in FILES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])), pytrace=False)


def test_eventlet_is_named_in_three_modules_only() -> None:
    """Nothing else imports eventlet, so that it can be replaced there."""
    naming = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(name.split(".")[0] == "eventlet" for _, name in imports(path))
    }
    assert naming <= EVENTLET


def test_the_reader_sees_upward_late_and_relative_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself notices an import in a function, one behind ``TYPE_CHECKING`` and each relative form."""
    package = tmp_path / "realtime"
    (package / "registry").mkdir(parents=True)
    source = package / "registry" / "memory.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from ..extension import Realtime\n"
        "def late():\n"
        "    from .. import lifecycle\n"
        "    from . import base\n"
        "    import realtime.cli\n"
        "    import eventlet.hubs\n"
    )
    monkeypatch.setattr(f"{__name__}.PACKAGE", package)
    monkeypatch.setattr(f"{__name__}.MODULES", {"realtime.lifecycle", "realtime.registry.base"})
    assert sorted(imports(source)) == [
        (1, "typing"),
        (3, "realtime.extension"),
        (5, "realtime.lifecycle"),
        (6, "realtime.registry.base"),
        (7, "realtime.cli"),
        (8, "eventlet.hubs"),
    ]
