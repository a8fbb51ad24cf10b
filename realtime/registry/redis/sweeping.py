"""Sweeps beside the feed: one may take long, when many workers have died at once, and no news wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ...errors import RegistryUnavailable

_log = logging.getLogger("realtime")


class Sweeping:
    """Each sweep in a thread of its own, one at a time."""

    def __init__(self, sweep: Callable[[], object]) -> None:
        self._sweep = sweep
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin a sweep, unless one is under way. One thread calls this."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="realtime-sweep", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the end of the last one."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._sweep()
        except RegistryUnavailable:
            pass  # the feed finds out, too, and says so
        except Exception:
            _log.exception("Sweeping the task store failed; it is done again.")
