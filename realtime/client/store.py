"""Tasks in a store that processes share (Redis, Valkey): the client writes them there itself, without a server between.

Every call is one change of the store and bears a nonce of its own, by which it is known again when it is made once more
after a lost answer: an advance counts once, unless another has changed the task in between.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from ..errors import RealtimeError, RegistryUnavailable
from ..registry.base import Registry
from ..registry.conditional import When
from .calls import Call
from .transport import Request, Transport

if TYPE_CHECKING:
    from ..registry.redis import RedisRegistry  # needs redis-py


class _Change(Request):
    """A request that is one call, its nonce, and whether it is the last of those that go together."""

    __slots__ = ("last", "nonce")

    def __init__(self, call: Call) -> None:
        super().__init__((call,))
        self.nonce = secrets.token_bytes(8)
        self.last = False


class StoreTransport(Transport):
    """See the module. ``open`` makes the registry; nothing is connected before the first request."""

    def __init__(self, url: str, open: Callable[[], Registry]) -> None:
        self._open = open
        self._registry = self._opened()  # first: it refuses what cannot be split, without showing it
        parts = urlsplit(url)
        self._name = f"The store at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # without user and password

    def _opened(self) -> Registry:
        registry = self._open()
        cast("RedisRegistry", registry).lazy = True
        return registry

    @property
    def name(self) -> str:
        return self._name

    def requests(self, calls: Sequence[Call]) -> list[Request]:
        changes = [_Change(call) for call in calls]
        if changes:
            changes[-1].last = True
        return list(changes)

    def perform(self, request: Request, timeout: float) -> Sequence[Any]:
        (call,) = request.calls
        assert isinstance(request, _Change)
        try:
            with cast("RedisRegistry", self._registry).nonces.once(request.nonce):
                answers = [self._do(call)]
        except RegistryUnavailable as error:
            raise RegistryUnavailable(f"{self.name} is out of reach: {error}") from error
        except RealtimeError as error:
            answers = [error.with_traceback(None)]
        if request.last:  # parents go with what all their parts have said
            self._registry.follow()
        return answers

    def _do(self, call: Call) -> Any:
        if call.verb == "create":
            new, exist_ok = call.args
            return self._registry.create(new, exist_ok=exist_ok)[0]
        if call.verb == "retry":
            return self._registry.retry(call.task_id, *call.args)[0]
        if call.verb == "list":
            user_id, groups, limit, before, finished = call.args
            return self._registry.list(user_id=user_id, groups=groups, limit=limit, before=before, finished=finished)
        held = self._registry if call.holder is None else When(self._registry, holder=call.holder)
        return getattr(held, call.verb)(call.task_id, *call.args)

    def watched(self, task_id: str) -> bool | None:
        """False if it has ended, or if no server follows it: then nobody looks. Else that is not known: its viewers'
        server knows. Asks the store, once a second at most."""
        try:
            return None if cast("RedisRegistry", self._registry).followers.of(task_id) else False
        except RegistryUnavailable:
            return None

    def leave(self) -> None:
        self._registry = self._opened()

    def close(self) -> None:
        self._registry.close()
        self._registry = self._opened()
