"""What a test does in a forked child."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def in_child(call: Callable[[], None]) -> int:
    """Run something in a forked child; its exit code, 0 if it raised nothing."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
