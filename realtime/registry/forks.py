"""What becomes of a store in this process's memory when the process is forked."""

from __future__ import annotations

import logging
import os
import weakref
from typing import NoReturn, Protocol

from ..errors import NotTheServer

_log = logging.getLogger("realtime")


class Forkable(Protocol):
    """Has itself told when it finds itself in a forked child."""

    def after_fork(self) -> None:
        """Called in the child, before any of its code."""


class Refusal:
    """What stands in the place of the lock in a forked child; ``where`` is the store."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> NoReturn:
        raise NotTheServer(
            f"This process was forked from the one that holds the tasks of {self._where}, and no viewer is connected "
            "to it. Run the job on a thread of the server, set REALTIME_REGISTRY to a store that processes share, or "
            "report as a worker: with REALTIME_URL set, through the functions of `realtime` or a Client, not through "
            "the methods of a Realtime."
        )

    def __exit__(self, *_: object) -> None: ...

    def acquire(self) -> NoReturn:
        self.__enter__()

    def release(self) -> NoReturn:
        """As of any lock that is not held."""
        raise RuntimeError("a lock that was left behind by a fork is not held")


_guarded: weakref.WeakSet[Forkable] | None = None


def guard(store: Forkable) -> None:
    """Tell the store in every forked child. A hook can never be taken back, so there is one for all stores."""
    global _guarded
    if _guarded is None:
        _guarded = weakref.WeakSet()
        os.register_at_fork(after_in_child=_after_fork)
    _guarded.add(store)


def _after_fork() -> None:
    for store in _guarded or ():
        try:
            store.after_fork()
        except Exception:  # the others must hear of it all the same
            _log.exception("A store in memory could not be told of a fork.")
