"""An app whose server says ``leaving`` when it is about to end, and goes no further."""

from __future__ import annotations

from support.apps.making import LONG, make

app = make()
_realtime = app.extensions["realtime"]


def _leave() -> None:
    print("leaving", flush=True)
    _realtime.concurrency.event().wait(LONG)  # green: what comes meanwhile is heard


_realtime.runner.leave = _leave
