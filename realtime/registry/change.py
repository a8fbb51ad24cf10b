"""A durable change of one task, from its staging to its announcement."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..errors import RegistryUnavailable, TaskNotFound
from .journal import Entry
from .taskfile import Statement


class Staging:
    """What the changes of one registry share. ``lock`` is the registry's."""

    def __init__(self, lock: AbstractContextManager[Any], where: str) -> None:
        self.lock = lock
        #: Where changes are stored, for errors.
        self.where = where
        #: Task id → the change that is on its way to disk.
        self.changes: dict[str, Change] = {}
        #: Why changes that nobody waited for were not stored, for the log.
        self.complaints: MutableSequence[str] = []


class Change(Entry):
    """Staged when it is made, under the lock. ``apply`` stores it in memory, under the lock too, once it is on disk;
    ``tell`` announces it, without.
    """

    __slots__ = ("_alone", "_apply", "_settled", "_staging", "_task_id", "_tell")

    def __init__(
        self, staging: Staging, task_id: str, statements: Sequence[Statement], apply: Callable[[], bool],
        tell: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(statements)
        self._staging = staging
        self._task_id = task_id
        #: Returns False if the task has left meanwhile.
        self._apply = apply
        self._tell = tell
        #: Nobody waits for it.
        self._alone = self._settled = False
        staging.changes[task_id] = self

    def settle(self) -> None:
        staging = self._staging
        with staging.lock:
            alone = self._alone
            if alone and self.error is not None:  # before anybody can see that nothing waits any more
                self._complain(self.error)
            staging.changes.pop(self._task_id, None)
            if self.error is None and not self._apply():
                self.error = TaskNotFound(self._task_id)
                if alone:
                    self._complain(self.error)
            self._settled = True
        if alone and self.error is None:
            self._tell()

    def _complain(self, error: Exception) -> None:
        self._staging.complaints.append(f"A change of the task {self._task_id} was not stored: {error}")

    def finish_here(self, may_wait: bool) -> bool:
        """Wait for it and tell it; returns whether that was done. Without ``may_wait`` the journal's thread tells it.

        Raises if it was not stored.
        """
        if not may_wait:
            if self._leave():
                return False
        else:
            try:
                self.wait()
            except BaseException:  # Ctrl-C: it may be stored all the same
                if not self._leave() and self.error is None:
                    self._tell()
                raise
        if isinstance(self.error, RegistryUnavailable | TaskNotFound):
            raise self.error
        if self.error is not None:
            raise RegistryUnavailable(
                f"The change could not be stored in {self._staging.where}: {self.error}. "
                "Nothing has changed; try again."
            ) from self.error
        self._tell()
        return True

    def _leave(self) -> bool:
        """Have the journal's thread tell it, unless it has been by already."""
        with self._staging.lock:
            self._alone = not self._settled
            return self._alone
