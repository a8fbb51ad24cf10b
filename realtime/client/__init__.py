"""Workers in other processes: the lifecycle functions where no viewer is connected. Nothing here loads Flask.

`Client` has the functions of `Realtime`. The modules, from what is said to what is sent: `registry` takes it in the
place of a registry, `conflator` keeps the newest state of each task (`calls` says how several updates become one),
`sender` is the thread that carries it, `transport` the way there: `http` to a server, with the JSON in `wire` and
`snapshots`, or `store` to the Redis that the servers share.
"""

from __future__ import annotations

from .client import Client as Client
