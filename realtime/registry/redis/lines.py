"""The connections that news come by: one to a server, or one to each server of a cluster that has slots.

A room is followed on the server that has its channel. Where that changes, because slots move or another server takes
over, the room is followed anew on the one that has it then; what was told in between is lost, which is said (`torn`).
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import redis
from redis.exceptions import MovedError

from .bell import Bell
from .link import Link

#: Commands sent, and answers read, at once.
_BATCH: Final = 1000
#: How often in a row servers may say that another has a channel.
_MAX_MOVES: Final = 20


class _Leave(frozenset[str]):
    """Channels that are to be left, among what a server was told."""


#: A question for a sign of life, among what a server was told.
_ASK: Final = None


class Line:
    """One connection. ``timeout`` in seconds: without a sign of life for as long, it is given up."""

    def __init__(self, connection: Any, timeout: float, *, sharded: bool) -> None:
        self._connection = connection
        self._timeout = timeout
        self._verb = "S" * sharded
        self._heard = time.monotonic()
        #: Signs of life that were asked for: when, by our clock and by the store's.
        self._asked: deque[tuple[float, float]] = deque()
        #: By the store's clock: up to when everything is here. 0: not known.
        self.whole = 0.0
        #: What the server was told and has not answered, in this order: channels to follow, and others to leave. As a
        #: slot moves it says of each channel in it that it is left, asked or not; afterwards, that another server has
        #: it, whatever it is asked. So a question comes after what is to be left: only its answer tells these apart.
        self._told: deque[str | _Leave | None] = deque()
        #: Answers that name the server that has a slot now; for who reads them.
        self.moved: list[MovedError] = []

    def connect(self) -> Any:
        """Make the connection. Returns what to select on."""
        self._connection.connect()
        return self._connection._sock

    def follow(self, channels: Iterable[str]) -> None:
        """Ask to be told what comes by these channels."""
        self._told.extend(self._send(f"{self._verb}SUBSCRIBE", channels))

    def leave(self, channels: Iterable[str], wall: float) -> None:
        """Ask not to be told any more; ``wall`` is the store's time."""
        names = self._send(f"{self._verb}UNSUBSCRIBE", channels)
        if self._verb:
            self._told.append(_Leave(names))
            self.ask(wall)

    @property
    def awaited(self) -> bool:
        """Whether there are channels that are not followed yet."""
        return any(isinstance(told, str) for told in self._told)

    def _send(self, verb: str, channels: Iterable[str]) -> list[str]:
        # In a cluster one command is for channels of one slot. Each is answered alone in any case.
        names, most = list(channels), 1 if self._verb else _BATCH
        commands = [(verb, *names[start : start + most]) for start in range(0, len(names), most)]
        for start in range(0, len(commands), _BATCH):
            packed = self._connection.pack_commands(commands[start : start + _BATCH])
            self._connection.send_packed_command(packed, check_health=False)
        return names

    def ask(self, wall: float) -> None:
        """Ask for a sign of life; ``wall`` is the store's time. Raises redis-py's TimeoutError if none comes."""
        self._asked.append((time.monotonic(), wall))
        self._connection.send_command("PING", check_health=False)
        self._told.append(_ASK)
        self.check()

    def check(self) -> None:
        """Raises redis-py's TimeoutError if no sign of life has come for long."""
        if self._asked and time.monotonic() - max(self._asked[0][0], self._heard) > self._timeout:
            raise redis.exceptions.TimeoutError("no sign of life")

    def hear(self, most: int) -> tuple[list[bytes], list[str], list[str], bool]:
        """What has come, ``most`` answers of it: news, channels followed from now on, channels that are not followed
        any more or not here, and whether there may be more."""
        news: list[bytes] = []
        opened: list[str] = []
        closed: list[str] = []
        for _ in range(most):
            if not self._connection.can_read(0):
                return news, opened, closed, False
            self._heard = time.monotonic()
            try:
                answer = self._connection.read_response(timeout=self._timeout)
            except MovedError as error:
                if isinstance(channel := self._told[0], str):
                    self._told.popleft()
                    closed.append(channel)
                    self.moved.append(error)
                continue
            # As long as it follows no room, a PING is answered as any command is: with the one word.
            kind, *rest = answer if isinstance(answer, list) else [answer.lower()]
            if kind in (b"message", b"smessage"):
                news.append(rest[1])
            elif kind in (b"subscribe", b"ssubscribe"):
                opened.append(rest[0].decode())
                self._answered(opened[-1])
            elif kind == b"sunsubscribe":  # its slot has moved, unless it was asked for
                channel, told = rest[0].decode(), self._told[0] if self._told else _ASK
                if not (isinstance(told, _Leave) and channel in told):
                    closed.append(channel)
            elif kind == b"pong" and self._asked:
                self._answered(_ASK)
                self.whole = self._asked.popleft()[1]
        return news, opened, closed, True

    def _answered(self, told: str | None) -> None:
        """This was answered, and so is all that there was to leave before."""
        while self._told.popleft() != told:
            pass

    def close(self) -> None:
        """Never raises."""
        with contextlib.suppress(Exception):
            self._connection.disconnect()


class Lines:
    """All lines, and the bell that wakes who waits for them. Whatever fails raises an error of redis-py, an OSError or
    `RegistryUnavailable`: then all of them are given up."""

    def __init__(self, link: Link, bell: Bell, timeout: float) -> None:
        self._link = link
        self._bell = bell
        self._timeout = timeout
        self._lines: dict[str, Line] = {}
        #: The server that follows each room, by name.
        self._homes: dict[str, str] = {}
        self._moves = 0
        self._busy = False
        #: Whether something may have been lost of rooms that are followed anew since.
        self.torn = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(bell, selectors.EVENT_READ)

    def settle(self) -> None:
        """Have one line to each server."""
        servers = self._link.servers()
        for name in servers:
            if name not in self._lines:
                line = self._lines[name] = Line(
                    self._link.connection(name), self._timeout, sharded=self._link.sharded
                )  # fmt: skip
                self._selector.register(line.connect(), selectors.EVENT_READ)
        for name in set(self._lines) - set(servers):
            line = self._lines.pop(name)
            self._selector.unregister(line.connect())
            line.close()
            self._move([room for room, home in self._homes.items() if home == name])

    def follow(self, rooms: Iterable[str]) -> None:
        """Follow rooms from now on, each as soon as `hear` says so."""
        for name, channels in self._by_server(rooms).items():
            self._lines[name].follow(channels)

    def leave(self, rooms: Iterable[str]) -> None:
        """Do not follow these rooms any more."""
        found: dict[str, list[str]] = {}
        for room in rooms:
            home = self._homes.pop(room, None)
            if home in self._lines:
                found.setdefault(home, []).append(self._link.keys.channel(room))
        for home, channels in found.items():
            self._lines[home].leave(channels, self._wall())

    @property
    def awaited(self) -> bool:
        """Whether there are rooms that are not followed yet."""
        return any(line.awaited for line in self._lines.values())

    @property
    def whole(self) -> float:
        """By the store's clock: up to when everything is here. 0: not known."""
        return min((line.whole for line in self._lines.values()), default=0.0)

    def hear(self, read: Callable[[bytes], None]) -> list[str]:
        """Read the news that have come, but not for ever. Returns rooms that are followed from now on."""
        found: list[str] = []
        lost: list[str] = []
        moved: list[MovedError] = []
        self._busy = False
        for name, line in self._lines.items():
            news, opened, closed, more = line.hear(_BATCH)
            self._busy = self._busy or more
            for data in news:
                read(data)
            found += map(self._link.keys.room, opened)
            lost += [room for room in map(self._link.keys.room, closed) if self._homes.get(room) == name]
            moved += line.moved
            line.moved.clear()
        if lost:
            if len(moved) < len(lost):  # some servers say where it is, others only that it is not there any more
                self._link.learn()
            for error in moved:  # last: who was asked may not have heard of it yet
                self._link.heed(error)
            self._move(lost)
        elif not self.awaited:
            self._moves = 0
        return [room for room in found if room in self._homes]

    def ask(self) -> None:
        """Ask each server for a sign of life."""
        for line in self._lines.values():
            line.ask(self._wall())

    def check(self) -> None:
        """Give up if a server gives none."""
        for line in self._lines.values():
            line.check()

    def wait(self, seconds: float) -> None:
        """Wait until something comes, or the bell rings."""
        ready = self._selector.select(0 if self._busy else max(0.0, seconds))
        if any(key.fileobj is self._bell for key, _ in ready):
            self._bell.still()  # before what it rang for is looked at

    def close(self) -> None:
        self._selector.close()
        for line in self._lines.values():
            line.close()

    def _wall(self) -> float:
        """The time of the store, at least."""
        return self._link.at_least()

    def _move(self, rooms: list[str]) -> None:
        """Follow rooms anew, where they are now."""
        self._moves += 1
        if self._moves > _MAX_MOVES:
            raise redis.exceptions.ConnectionError("no server says that it has the channel")
        self.torn = self.torn or bool(rooms)
        self.follow(rooms)

    def _by_server(self, rooms: Iterable[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for room in rooms:
            channel = self._link.keys.channel(room)
            name = self._homes[room] = self._link.server_of(channel)
            found.setdefault(name, []).append(channel)
        if not found.keys() <= self._lines.keys():
            self.settle()
        return found
