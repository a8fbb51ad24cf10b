"""The app of `leaving`, whose signals another thread than the hub's is given."""

from __future__ import annotations

import signal
import threading

from support.apps.leaving import app as app

threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
