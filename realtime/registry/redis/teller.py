"""Whom a feed tells."""

from __future__ import annotations

from collections.abc import Callable

from ...task import Task
from ..base import Removed


class Teller:
    """Whom the feed tells what, the announcements of a registry; and ``sweep``, which it has done in time."""

    def __init__(
        self, change: Callable[[Task, bool], None], output: Callable[[Task, str, int], None],
        removed: Callable[[Removed], None], pinned: Callable[[str], bool], epoch: Callable[[str], None],
        reachable: Callable[[bool], None], sweep: Callable[[], object],
    ) -> None:  # fmt: skip
        self.change = change
        self.output = output
        self.removed = removed
        self.pinned = pinned
        self.epoch = epoch
        self.reachable = reachable
        self.sweep = sweep
