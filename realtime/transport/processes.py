"""Refuses to serve from several processes what only one of them holds."""

from __future__ import annotations

import logging

from ..config import Config
from ..errors import SeveralProcesses
from .origin import Environ

log = logging.getLogger("realtime")

#: Whether the log of this process has it already.
_told = False


def refuse_multiprocess(environ: Environ, config: Config) -> None:
    """Raise `SeveralProcesses` when the server has several worker processes and tasks live in one (``memory://``,
    ``sqlite:///``).

    A viewer would see the tasks of the worker that it happens to be connected to, and nothing of the others: better no
    answer than half of one. ``wsgi.multiprocess`` is the server's own word for it (PEP 3333). The log has it once.
    """
    global _told
    if not environ.get("wsgi.multiprocess") or not config.registry.startswith(("memory:", "sqlite:")):
        return
    error = SeveralProcesses(config.registry.partition(":")[0])
    if not _told:
        _told = True
        log.critical("%s", error)
    raise error
