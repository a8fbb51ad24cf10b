"""The leases of tasks in the store, by the store's clock. See `registry.leases`.

A sorted set holds when the next sign of life of each is due: so a sweep asks for those alone of which nothing was heard
for long, and an update costs nothing, since the task's record tells of it. One process sweeps at a time; when it is
gone, another does a few seconds later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Final

from ...task import Task
from ..leases import DEAF_AFTER, STALLED_AFTER, Silence
from .link import Link

#: Milliseconds that a sweeper's turn lasts. It takes the next one before that.
_TURN: Final = 2500
#: Tasks looked at in a sweep; the others come in the next.
_MOST: Final = 1000


class StoredLeases:
    """``now`` is the store's time, in seconds since 1970. Every method may raise `RegistryUnavailable`."""

    def __init__(self, link: Link, now: Callable[[], float]) -> None:
        self._link = link
        self._now = now
        self._me = secrets.token_hex(8).encode()

    def take_turn(self) -> bool:
        """Whether this process is the one that sweeps now."""
        keys = self._link.keys
        _, now = self._link.ask(("SET", keys.sweeper, self._me, "NX", "PX", _TURN), ("GET", keys.sweeper))
        if now != self._me:
            return False
        wall = self._now()
        last, *_ = self._link.ask(
            ("HGET", keys.sweeps, "last"), ("HSET", keys.sweeps, "last", wall), ("PEXPIRE", keys.sweeper, _TURN)
        )
        if last is None or wall - float(last) > DEAF_AFTER:
            self._link.ask(("HSET", keys.sweeps, "deaf_until", wall))
        return True

    def hear(self, task_id: str, lease: float) -> None:
        """A sign of life now."""
        due = self._now() + lease * STALLED_AFTER
        self._link.ask(("ZADD", self._link.keys.leases, due, _member(task_id, lease)))

    def restore(self, tasks: Collection[Task]) -> None:
        """Await a sign of life of each leased task of which none is awaited: what was noted of it was lost."""
        now = self._now()
        due = [
            (now + lease * STALLED_AFTER, _member(task.task_id, lease))
            for task in tasks
            if (lease := task.info.lease) is not None and not task.finished
        ]
        if due:
            self._link.ask(*(("ZADD", self._link.keys.leases, "NX", at, member) for at, member in due))

    def silences(self, read: Callable[[Collection[str]], dict[str, Task]]) -> list[Silence]:
        """Who is silent; ``read`` reads tasks."""
        keys, now = self._link.keys, self._now()
        due, deaf_until = self._link.ask(
            ("ZRANGEBYSCORE", keys.leases, "-inf", now, "WITHSCORES", "LIMIT", 0, _MOST),
            ("HGET", keys.sweeps, "deaf_until"),
        )
        found: list[Silence] = []
        if not due:
            return found
        held = {}
        for member, score in zip(due[::2], due[1::2], strict=True):
            lease, _, task_id = member.decode().partition(" ")
            held[member] = task_id, float(lease), float(score) - float(lease) * STALLED_AFTER
        tasks = read([task_id for task_id, _, _ in held.values()])
        commands: list[tuple[object, ...]] = []
        for member, (task_id, lease, heard) in held.items():
            task = tasks.get(task_id)
            if task is None or task.finished or task.info.lease != lease:
                commands.append(("ZREM", keys.leases, member))
                continue
            stalled = task.info.stalled
            # Of one that shows as stalled, the score says when its lease is over: till then it stands before nobody.
            heard = max(heard if stalled is None else stalled, task.updated, float(deaf_until or 0))
            patience = lease * STALLED_AFTER if stalled is None else lease
            if now - heard > patience:
                found.append(Silence(task_id, lease, now - heard, heard))
            else:
                # Not above a heartbeat that has come meanwhile.
                commands.append(("ZADD", keys.leases, "GT", heard + patience, member))
        if commands:
            self._link.ask(*commands)
        return found


def _member(task_id: str, lease: float) -> str:
    """What stands for a lease, to the last digit."""
    return f"{float(lease)!r} {task_id}"
