"""Green threads that are used again: most messages of viewers are handled without waiting for anything, and one made
for each would have the system map a stack, and unmap it.

Of eventlet nothing but its hub is used, as it is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: Those that wait for work. They are many only where handlers are slow.
MAX_IDLE: Final = 32


class Greenlets:
    """Runs functions where they may wait."""

    def __init__(self) -> None:
        self._idle: list[Any] = []

    def run(self, function: Callable[[], None], hub: Any) -> None:
        """Run it, up to where it first waits. Only for callbacks of the hub: it is the hub that goes on then.

        ``function`` must not raise.
        """
        if self._idle:
            one = self._idle.pop()
        else:
            one = type(hub.greenlet)(self._work, hub.greenlet)
            one.switch(hub)  # what a greenlet begins with it keeps to its end: no function, which has a viewer
        one.switch(function)

    def _work(self, hub: Any) -> None:
        while True:
            function = hub.switch()
            function()
            del function  # one that waits keeps nobody alive
            if len(self._idle) >= MAX_IDLE:
                return
            self._idle.append(type(hub.greenlet).getcurrent())
