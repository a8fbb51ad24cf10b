"""What the installation and the machine give: where the files of the page lie, and how many viewers there can be."""

from __future__ import annotations

from pathlib import Path

from .errors import ConfigError


def most_viewers() -> int:
    """Descriptors are what viewers run out of first."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 10_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - 256, 16)


def folder(name: str) -> Path:
    """``static`` or ``templates``: in the installed package, else beside it in the source tree."""
    package = Path(__file__).parent
    inside = package / name
    if inside.is_dir():
        return inside
    beside = package.parent / name
    if beside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return beside
    raise ConfigError(f"The files of {name}/ are missing from this installation of realtime-progress.")
