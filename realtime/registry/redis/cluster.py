"""The way to a Redis Cluster: to the server of each key, and which servers there are.

redis-py knows which server has which slot, follows what it is answered of moves, and asks anew when a connection fails.
What goes one way there and back is parted by server here, since redis-py's own pipeline would try each command once
more after a timeout, one after the other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import redis
from redis.exceptions import AskError, MovedError, NoScriptError, RedisClusterException, TryAgainError

from .address import Address, read_address
from .link import Link, greeted, own_connection, unavailable
from .marks import Marks

_T = TypeVar("_T")


def open_link(url: str, timeout: float) -> Link:
    """The link of an address. Raises `ConfigError`."""
    address = read_address(url, timeout)
    return ClusterLink(address) if address.sharded else Link(address)


class ClusterLink(Link):
    """See the module. The server of a key is found out by the first call, as is everything else."""

    def __init__(self, address: Address) -> None:
        #: The run ids of the servers, by name, as the last connection to each has told.
        self._runs: dict[str, str] = {}
        #: How often the cluster has agreed on something new: on who has which slots, among other things.
        self._agreed = ""
        self._marks = Marks(self)
        self._making = Lock()
        self._made: Any = None
        super().__init__(address)

    @property
    def client(self) -> Any:
        """The client, which is made by the first call since that connects."""
        with self._making:
            if self._made is None:
                self._made = self._address.client(self._greet)
            return self._made

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        if len(calls) < 2:
            return [self.run(name, *call) for call in calls]
        self.open()
        script = self.scripts[name]

        def put(pipe: Any, place: int) -> None:
            keys, args = calls[place]
            pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)

        return self._scatter([keys[0] for keys, _ in calls], put, lambda place: script(*calls[place]))

    def ask(self, *commands: Sequence[Any]) -> list[Any]:
        self.open()
        return self._scatter(
            [str(command[1]) for command in commands],
            lambda pipe, place: pipe.execute_command(*commands[place]),
            lambda place: self.client.execute_command(*commands[place]),
        )

    def _scatter(
        self, keys: Sequence[str], put: Callable[[Any, int], object], alone: Callable[[int], Any]
    ) -> list[Any]:
        """Do something for each key, in their order on each server. ``put`` puts what is done for one into a server's
        pipeline; ``alone`` does it where the server says that it is not, or not all there, or has no such script."""

        def attempt() -> list[Any]:
            manager, places = self.client.nodes_manager, dict[Any, list[int]]()
            for place, key in enumerate(keys):
                places.setdefault(manager.get_node_from_slot(self.client.keyslot(key)), []).append(place)
            answers: list[Any] = [None] * len(keys)
            for node, here in places.items():
                pipe = self.client.get_redis_connection(node).pipeline(transaction=False)
                for place in here:
                    put(pipe, place)
                try:
                    found = pipe.execute(raise_on_error=False)
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    manager.initialize(last_failed_node_name=node.name)
                    raise
                for place, answer in zip(here, found, strict=True):
                    if isinstance(answer, (AskError, TryAgainError, NoScriptError)):  # a MOVED, too
                        answer = alone(place)
                    if isinstance(answer, Exception):
                        raise answer
                    answers[place] = answer
            return answers

        return self.attempt(attempt) if keys else []

    def attempt(self, call: Callable[[], _T]) -> _T:
        try:
            return super().attempt(call)
        except RedisClusterException as error:  # no RedisError: no server can be reached, or one has no slots
            raise unavailable(error) from error

    def disconnect(self) -> None:
        if self._made is not None:
            self._made.disconnect_connection_pools()

    def task_ids(self) -> Iterator[list[str]]:
        """The ids of all tasks and of what is left of removed ones, some at a time. Raises `RegistryUnavailable`."""
        before, after = self.keys.task("\0").split("\0")
        pattern = re.sub(r"([*?[\]\\])", r"\\\1", before) + "*" + after
        for node in self.attempt(self.primaries):
            cursor, scan = 0, self.client.get_redis_connection(node).scan
            while True:
                cursor, found = self.attempt(partial(scan, cursor, match=pattern, count=1000, _type="hash"))
                yield [key.decode().removeprefix(before).removesuffix(after) for key in found]
                if not cursor:
                    break

    # Memory.

    def primaries(self) -> list[Any]:
        """The servers that have slots, as far as is known."""
        found: list[Any] = self.client.get_primaries()
        return found

    def servers(self) -> list[str]:
        return [node.name for node in self.attempt(self.primaries)]

    def server_of(self, channel: str) -> str:
        client = self.client
        node: Any = self.attempt(lambda: client.nodes_manager.get_node_from_slot(client.keyslot(channel)))
        return str(node.name)

    def learn(self) -> None:
        self.attempt(lambda: self.client.nodes_manager.initialize())

    def heed(self, error: MovedError) -> None:
        if error.host:
            self.client.nodes_manager.move_slot(error)
        else:  # who tells no addresses means its own
            self.learn()

    def connection(self, server: str) -> Any:
        node = self.client.get_node(node_name=server)
        return own_connection(self.client.get_redis_connection(node))

    def look(self) -> str:
        self.attempt(self._learn)
        sure = False
        while True:
            runs = self._servers(sure)
            answer, asked = self._ask(runs, sure)
            if not answer:
                sure = True
                continue
            epoch = self._take(answer, asked)
            if runs == self._servers(False):
                return self._note(epoch)
            self._epoch = None  # it was another server that answered

    def survey(self) -> str:
        epoch = self.look()
        if not self._marks.stand():
            # Of several who find that out, the first begins a new one.
            self._take(*self._ask(self._servers(True), True, epoch))
            epoch = self.look()
        return epoch

    def _learn(self) -> None:
        """See whether the cluster has agreed on something new, and find out who has which slots if it has."""
        client = self.client
        told = client.cluster_info(target_nodes=random.choice(self.primaries()))
        agreed = told["cluster_current_epoch"]
        if agreed != self._agreed:
            client.nodes_manager.initialize()
            self._agreed = agreed

    def _servers(self, anew: bool) -> str:
        """The run ids of all that have slots; ``anew`` finds out which these are."""

        def find() -> str:
            if anew:
                self.client.nodes_manager.initialize()
            primaries = self.primaries()
            for node in primaries:
                if anew or node.name not in self._runs:
                    self.client.get_redis_connection(node).ping()
            return " ".join(sorted(self._runs[node.name] for node in primaries))

        return self.attempt(find)

    def _greet(self, connection: Any) -> None:
        run, name = greeted(connection), f"{connection.host}:{connection.port}"
        if run != self._runs.get(name):
            self._runs[name] = run
            self._epoch = None
