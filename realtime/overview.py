"""What the servers of one store say of themselves, and what whoever looks after them is shown: shapes, and no more."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_Count = Annotated[int, Meta(ge=0)]
_Measure = Annotated[float, Meta(ge=0)]
_Text = Annotated[str, Meta(max_length=256)]
_Time = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server process. Rates are of its last ten seconds, null before there are any; null is also what it does not
    measure."""

    #: Its own, new with each start.
    id: _Text
    host: _Text
    pid: _Count
    version: _Text
    started_at: _Time
    said_at: _Time
    viewers: _Count
    #: Viewers that have still to be told.
    viewers_behind: _Count | None
    rooms: _Count
    #: Since its start: viewers that were let in; tasks that its flushes found changed; frames and bytes handed over.
    connects: _Count
    changes: _Count
    pushes: _Count
    bytes: _Count | None
    connects_per_second: _Measure | None
    changes_per_second: _Measure | None
    pushes_per_second: _Measure | None
    bytes_per_second: _Measure | None
    #: Seconds.
    flush_p99: _Measure | None
    jobs_running: _Count
    jobs_waiting: _Count
    #: Whether it reaches the task store.
    reachable: bool
    #: Share of one core.
    cpu: _Measure | None
    #: Bytes of memory.
    rss: _Count | None


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """Where their tasks are: the scheme of its address, whether servers share it, and what it holds."""

    kind: _Text
    shared: bool
    reachable: bool
    unfinished: _Count | None
    finished: _Count | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``more``: there are more servers than are named."""

    time: _Time
    store: Store
    servers: list[Server]
    more: bool
