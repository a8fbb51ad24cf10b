"""The app `plain` on a store whose answers are lost now and then, though what was asked for is done.

``SWITCHED_OFF`` in the environment takes one safety away, for tests of what finds that out: ``catchup``, by which a
server learns what it missed; ``nonce``, by which a script knows a change again that is sent once more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import redis

from realtime.registry.redis import catchup, link

#: How many of a hundred answers are lost. Each is asked for once more, and that one comes.
LOST = 20

_attempt = link.Link.attempt
_source = link._source


def _lossy(self: link.Link, call: Callable[[], Any]) -> Any:
    lost = False

    def losing() -> Any:
        nonlocal lost
        answer = call()
        if not lost and random.randrange(100) < LOST:
            lost = True
            raise redis.exceptions.ConnectionError("The answer is lost.")
        return answer

    return _attempt(self, losing)


def _forgetful(name: str, *, sharded: bool) -> str:
    return _source(name, sharded=sharded).replace("there[5] == ARGV[2]", "false")


link.Link.attempt = _lossy  # type: ignore[method-assign]
match os.environ.get("SWITCHED_OFF"):
    case "catchup":
        catchup.CatchUp.read = lambda *_: catchup.Missed([], [], [])  # type: ignore[method-assign]
    case "nonce":
        link._source = _forgetful

from .plain import app as app  # noqa: E402  # it opens its registry
