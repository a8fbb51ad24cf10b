"""The way to the server: time limits, the scripts, and whether it still has its memory.

No call takes longer than a time limit of its own, and none is made twice unless that does no harm: a change carries a
nonce by which its script knows it again when the answer to it was lost.
"""

from __future__ import annotations

import re
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib.resources import files
from typing import Any, Final, TypeVar

import redis

from ...errors import RegistryUnavailable
from .address import Address
from .keys import Keys

SCRIPTS: Final = (
    "open", "register", "create", "store", "remove", "settle", "enlist", "unlist", "due", "append", "read", "kin",
    "leave", "followers", "note",
)  # fmt: skip
_T = TypeVar("_T")


class Link:
    """``timeout`` is in seconds, unless the address says it: of one answer, and of making a connection. Nothing is
    opened before the first call."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.timeout = address.timeout
        #: Whether it is a cluster.
        self.sharded = address.sharded
        self.keys = Keys(address.prefix, address.database, sharded=self.sharded)
        #: The run id of the server that the last connection was made to.
        self._run: str | None = None
        #: The epoch, None while it must be asked for; and the last that was known.
        self._epoch: str | None = None
        self._last: str | None = None
        #: When it began, in seconds since 1970; 0: not known, or long ago.
        self.born = 0.0
        #: What the server's clock is ahead of ours, in seconds; and how much less that may be.
        self.offset = self.doubt = 0.0
        #: Called with a new epoch, when there was one before. Must not raise.
        self.on_epoch: Callable[[str], None] | None = None
        if not self.sharded:
            _ = self.scripts  # once, before threads are there; that opens nothing

    @cached_property
    def client(self) -> Any:
        """The client."""
        return self._address.client(self._greet)

    @cached_property
    def scripts(self) -> dict[str, Any]:
        """The scripts by name."""
        return {name: self.client.register_script(_source(name, sharded=self.sharded)) for name in SCRIPTS}

    # Calls.

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script. Raises `RegistryUnavailable`."""
        self.open()
        return self.attempt(lambda: self.scripts[name](keys, args))

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run a script several times on one way there and back. Raises `RegistryUnavailable`."""
        if len(calls) < 2:
            return [self.run(name, *call) for call in calls]
        self.open()
        script = self.scripts[name]

        def attempt() -> list[Any]:
            pipe = self.client.pipeline(transaction=False)
            for keys, args in calls:
                pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            return [
                self._unless_known(answer, partial(script, *call))
                for call, answer in zip(calls, pipe.execute(raise_on_error=False), strict=True)
            ]

        return self.attempt(attempt)

    @staticmethod
    def _unless_known(answer: Any, alone: Callable[[], Any]) -> Any:
        """The answer to a script in a pipeline; where the server did not know the script, it is run ``alone``."""
        if isinstance(answer, redis.exceptions.NoScriptError):
            return alone()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Give commands on one way there and back, in this order; they must do no harm when they are given twice.

        Raises `RegistryUnavailable`.
        """
        self.open()

        def attempt() -> Any:
            pipe = self.client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()

        return self.attempt(attempt)

    def attempt(self, call: Callable[[], _T]) -> _T:
        """Make a call; make it once more if its connection turned out to be dead (the server may be a new one by now).

        Raises `RegistryUnavailable`.
        """
        try:
            try:
                return call()
            except redis.exceptions.TimeoutError:  # the time is over
                raise
            except redis.exceptions.ConnectionError:
                return call()
        except redis.exceptions.ReadOnlyError as error:  # a primary no more: find the one that is
            self.disconnect()
            raise unavailable(error) from error
        except redis.exceptions.RedisError as error:
            raise unavailable(error) from error

    def servers(self) -> list[str]:
        """The names of the servers that news come from."""
        return [""]

    def server_of(self, channel: str) -> str:
        """The name of the server that tells what comes by a channel."""
        return ""

    def learn(self) -> None:
        """Find out anew which servers there are. Raises `RegistryUnavailable`."""

    def heed(self, error: redis.exceptions.MovedError) -> None:
        """A server has said which other one has a slot now."""

    def connection(self, server: str) -> Any:
        """A connection of one's own to a server, not made yet."""
        return own_connection(self.client)

    def close(self) -> None:
        """Close all connections."""
        self.disconnect()

    def disconnect(self) -> None:
        """Close all connections: calls make new ones."""
        self.client.connection_pool.disconnect()

    # Memory.

    @property
    def epoch(self) -> str:
        """The epoch of the store. Raises `RegistryUnavailable` while it is not known."""
        return self.open()

    @property
    def known_epoch(self) -> str | None:
        """The same without asking: None while it is not known."""
        return self._epoch

    @property
    def age(self) -> float:
        """Seconds since the epoch began; many if that is not known. Raises `RegistryUnavailable`."""
        self.open()
        return time.time() + self.offset - self.born

    def open(self) -> str:
        """Find out the epoch, unless it is known, and begin a new one if the server is another than it began on."""
        epoch = self._epoch
        return self.look() if epoch is None else epoch

    def look(self) -> str:
        """Ask for epoch and time. Raises `RegistryUnavailable`."""
        while True:
            answer, asked = self._ask("", True)
            epoch, run = self._take(answer, asked), answer[4].decode()
            if run == self._run:
                return self._note(epoch)
            # Another server has been connected to since, or what a former one said of itself was read late.
            self._run, self._epoch = run, None

    def survey(self) -> str:
        """The same, and see whether a part of the memory is gone, where it has parts. Raises `RegistryUnavailable`."""
        return self.look()

    def _ask(self, runs: str, sure: bool, over: str = "") -> tuple[list[Any], float]:
        """Run the script, see there. Returns its answer, and when it was asked."""
        args, asked = [runs, secrets.token_hex(8), "1" if sure else "", over], time.time()
        return self.attempt(partial(self.scripts["open"], [self.keys.meta], args)), asked

    def _take(self, answer: list[Any], asked: float) -> str:
        epoch, seconds, micros, born = answer[:4]
        self.born = float(born)
        store, now = int(seconds) + int(micros) / 1e6, time.time()
        # No further than is certain: of an answer that took long it is not known when in between it was given.
        self.offset = min(max(self.offset, store - now), store - asked)
        self.doubt = max(0.0, self.offset - (store - now))
        self._epoch = known = str(epoch.decode())
        return known

    def at_least(self) -> float:
        """What the server's time is at least. An answer may have taken all of its time on one of its two ways."""
        return time.time() + self.offset - self.doubt

    def heard(self, epoch: str) -> None:
        """A call has told the epoch that stands in the store. Not whose it is: that only `look` finds out."""
        if epoch != self._epoch:
            self.look()

    def _note(self, epoch: str) -> str:
        former, self._last = self._last, epoch
        if former is not None and former != epoch and self.on_epoch is not None:
            self.on_epoch(epoch)
        return epoch

    def _greet(self, connection: Any) -> None:
        """A connection is made: see which server it is."""
        run = greeted(connection)
        if run != self._run:
            self._run = run
            self._epoch = None  # asked for anew before the next call


def greeted(connection: Any) -> str:
    """Begin a connection as redis-py does. Returns the run id of its server."""
    connection.on_connect()
    connection.send_command("INFO", "server", check_health=False)
    for line in connection.read_response().splitlines():
        if line.startswith(b"run_id:"):
            return str(line[7:].decode())
    return "-"


def own_connection(client: Any) -> Any:
    """A connection to a client's server, not made yet, that is none of its pool: that counts those which it makes, and
    never learns that one of them has ended which it did not lend. (100 of them, and it makes no more.)"""
    pool = client.connection_pool
    return pool.connection_class(**pool.connection_kwargs)


def unavailable(error: BaseException) -> RegistryUnavailable:
    """The error that callers are told."""
    why, cause = type(error).__name__, error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = "its TLS certificate is not one that this side trusts: ssl_ca_certs=… in its address names a CA"
        cause = cause.__cause__ or cause.__context__
    # Clients read this too: hosts and ports are in the error that it comes from, for the log.
    return RegistryUnavailable(f"The task store cannot be reached now ({why}).")


def _source(name: str, *, sharded: bool) -> str:
    source = files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
    return re.sub("'(PUBLISH|NUMSUB)'", _of_shards, source) if sharded else source


def _of_shards(command: re.Match[str]) -> str:
    return {"PUBLISH": "'SPUBLISH'", "NUMSUB": "'SHARDNUMSUB'"}[command[1]]
