"""The requests of a long-polling session belong to whoever shook hands: Engine.IO goes by the session's id alone.

An id may be found where addresses are (logs, a proxy). So what a browser adds by itself, cookies and ``Authorization``,
is compared with the request before, in constant time; where it has changed, as it does when the host renews its cookie,
`identify` is asked once, and has to name the same user. It is not seen who has neither: a viewer by a ticket alone, or
by a header of the host's own, goes by the id.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from ..auth import Grant
from .origin import Environ
from .polling import may_poll

log = logging.getLogger("realtime")


class _Owner:
    """Whose a session is, and what its last two different requests brought: one may still be on its way."""

    __slots__ = ("digests", "user_id")

    def __init__(self, user_id: str, digest: bytes) -> None:
        self.user_id = user_id
        self.digests = (digest, digest)


class Belonging:
    """``authorise`` finds what a request may see, ``execute`` runs it where it may block."""

    def __init__(
        self, authorise: Callable[[Environ, str | None], Grant | None], execute: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._authorise = authorise
        self._execute = execute
        self._owners: dict[str, _Owner] = {}

    def note(self, connection: str, environ: Environ, user_id: str | None) -> None:
        """`identify` has named the user of a session that began with this request."""
        if user_id is not None and may_poll(environ):
            self._owners[connection] = _Owner(user_id, _digest(environ))

    def forget(self, connection: str) -> None:
        """The session has ended."""
        self._owners.pop(connection, None)

    def admits(self, environ: Environ) -> bool:
        """Whether a request may be one of its session."""
        if not self._owners:
            return True
        connection = parse_qs(environ.get("QUERY_STRING", "")).get("sid", [""])[0]  # as Engine.IO reads it
        owner = self._owners.get(connection)
        if owner is None:
            return True
        digest = _digest(environ)
        newest, former = owner.digests
        if hmac.compare_digest(digest, newest) or hmac.compare_digest(digest, former):
            return True
        try:
            grant = self._execute(partial(self._authorise, environ, None))
        except Exception as error:  # what `identify` raises: the host's own
            log.debug("A long poll could not be told to be its user's: %s", type(error).__name__)
            return False
        if grant is None or grant.user_id != owner.user_id:
            return False
        owner.digests = digest, newest
        return True


def _digest(environ: Environ) -> bytes:
    brought = environ.get("HTTP_COOKIE", ""), environ.get("HTTP_AUTHORIZATION", "")
    return hashlib.sha256("\n".join(brought).encode(errors="surrogateescape")).digest()
