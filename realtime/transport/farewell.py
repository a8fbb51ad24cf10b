"""A server that goes away says so: when to come back, and to go elsewhere meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from typing import Final

from ..frames import Batch, Frame
from ..protocol import SERVER_STATE
from ..viewer import Viewer

#: Viewers that may come to the other servers, or to this one's successor, in a second; and seconds at most.
_PER_SECOND: Final = 500
_MOST: Final = 10.0


def say(viewers: Collection[Viewer], make_frame: Callable[[str, bytes], Frame]) -> None:
    """Tell the viewers, as far as they can take it now, within how many seconds to connect again: the more they are,
    the longer, each at a moment of its own. Who does not know the word backs off as after any loss."""
    spread = min(_MOST, len(viewers) / _PER_SECOND)
    payload = {"state": "stopping", "reconnect_within": round(spread, 3)}
    batch = Batch([make_frame(SERVER_STATE, json.dumps(payload).encode())])
    for viewer in viewers:
        if viewer.live and viewer.outbox.busy_since is None:
            with contextlib.suppress(Exception):  # it goes in any case
                viewer.outbox.push(batch)
