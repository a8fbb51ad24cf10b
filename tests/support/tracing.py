"""Coverage that follows green threads, without asking native threads for theirs."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any


def spare_native_threads() -> None:
    """Where coverage measures this process, let it look for green threads in the main thread only: none are elsewhere.

    That question alone makes greenlet keep a state for the native thread that asks. When the thread has ended, the
    main thread lets go of it in a pending call, and with it, by a weak reference, of what coverage noted. If another
    thread ends just then, Python 3.11 never comes back: a traced function that begins within a pending call looks for
    more of them again and again until there is none, and there can be none before it returns. No time-out gets through
    to it either; it stopped whole runs.
    """
    collector = sys.modules.get("coverage.collector")
    if collector is None or hasattr(collector.Collector, "spares_native_threads"):
        return
    start = collector.Collector._start_tracer

    def start_tracer(self: Any) -> Any:
        tracer = start(self)
        # Not `threading.get_ident`, which is a green thread's where the host has patched it.
        if getattr(tracer, "concur_id_func", None) is not None and threading.get_native_id() != os.getpid():
            tracer.concur_id_func = None
        return tracer

    collector.Collector._start_tracer = start_tracer
    collector.Collector.spares_native_threads = True
