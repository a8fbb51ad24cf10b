"""The nonces of changes: by its nonce a change is known again when it is made once more after a lost answer."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator


class Nonces:
    """New ones, unless a thread has said which."""

    def __init__(self) -> None:
        self._given = threading.local()

    @property
    def given(self) -> bytes | None:
        """What this thread has said, None if nothing."""
        return getattr(self._given, "nonce", None)

    def new(self) -> bytes:
        """The nonce of the next change."""
        given = self.given
        return secrets.token_bytes(8) if given is None else given

    @contextlib.contextmanager
    def anew(self) -> Iterator[None]:
        """In the block, whatever this thread changes bears a nonce of its own."""
        given = self.given
        self._given.nonce = None
        try:
            yield
        finally:
            self._given.nonce = given

    @contextlib.contextmanager
    def once(self, nonce: bytes) -> Iterator[None]:
        """In the block, what this thread creates, changes or writes bears ``nonce``: one call to a block.

        The same call may be made in such a block again when its answer was lost: as long as nobody else has changed the
        task since, nothing is changed twice.
        """
        self._given.nonce = nonce
        try:
            yield
        finally:
            self._given.nonce = None
