"""A mark on each server of a cluster, by which it turns out that one has lost its memory and is the same server still.

Who flushes one server alone takes its tasks out of the store, and the epoch, which another may have, knows nothing of
that. So each server is given a small thing to remember for us, in a slot of its own; which ones there are stands beside
the epoch. One that is missing was lost, and much else with it. A mark moves with its slot; a server without one is
given another, and of two on one server one is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .link import Link

#: Names that are tried for a server. One with hardly any slot, which is about to join or to leave, has none maybe.
_MOST: Final = 4096


class Marks:
    """See the module. Methods raise `RegistryUnavailable`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def stand(self) -> bool:
        """Whether all are there; if so, see to it that each server has one."""
        (found,) = self._link.ask(("HGET", self._link.keys.meta, "marks"))
        noted = [int(number) for number in (found or b"").split()]
        if not all(self._link.ask(*(("EXISTS", self._key(number)) for number in noted))):
            return False
        needed = self._needed(noted)
        if needed != set(noted):
            self._link.ask(*(("SET", self._key(number), "") for number in needed.difference(noted)))
            self._link.ask(("HSET", self._link.keys.meta, "marks", " ".join(map(str, sorted(needed)))))
        return True

    def _needed(self, noted: Iterable[int]) -> set[int]:
        """One for each server, those that are noted first."""
        needed: dict[str, int] = {}
        for number in noted:
            needed.setdefault(self._link.server_of(self._key(number)), number)
        missing = set(self._link.servers()).difference(needed)
        for number in range(_MOST if missing else 0):
            server = self._link.server_of(self._key(number))
            if server in missing:
                missing.remove(server)
                needed[server] = number
                if not missing:
                    break
        return set(needed.values())

    def _key(self, number: int) -> str:
        return self._link.keys.note(f"mark/{number}")
