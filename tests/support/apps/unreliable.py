"""The app `plain` on a store whose answers are lost now and then, though what was asked for is done.

``SWITCHED_OFF`` in the environment takes one safety away, for tests of what finds that out: ``catchup``, by which a
server learns what it missed; ``nonce``, by which a script knows a change again that is sent once more;
``idempotency``, by which a server knows a worker's request again; ``fencing``, by which a worker that was lost can
change its task no more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import redis
from msgspec.structs import replace

from realtime.registry.redis import catchup, link
from realtime.registry.redis.registry import RedisRegistry
from realtime.task import PROCESSING, Task
from realtime.transport.idempotency import SharedIdempotency

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


def _raised(task: Task) -> Task:
    if task.error is None or task.error.code != "worker_lost":
        return task
    return replace(task, status=PROCESSING, finished=False, completed=None, error=None)


_change = RedisRegistry._change


def _unfenced(self: RedisRegistry, task_id: str, change: Callable[[Task, float], Task]) -> Task:
    return _change(self, task_id, lambda task, now: change(_raised(task), now))


link.Link.attempt = _lossy  # type: ignore[method-assign]
match os.environ.get("SWITCHED_OFF"):
    case "catchup":
        catchup.CatchUp.read = lambda *_: catchup.Missed([], [], [])  # type: ignore[method-assign]
    case "nonce":
        link._source = _forgetful
    case "idempotency":
        SharedIdempotency.once = lambda self, who, key, fingerprint, ask: (ask()[0], False)  # type: ignore[method-assign]
    case "fencing":
        RedisRegistry._change = _unfenced  # type: ignore[method-assign]

from .plain import app as app  # noqa: E402  # it opens its registry
