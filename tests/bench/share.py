"""A share of a core for each of some processes, by the kernel's control groups.

What several do with so much each can be compared with what one does, also where whoever reads wants the cores as well.
(https://docs.kernel.org/scheduler/sched-bwc.html, https://docs.kernel.org/admin-guide/cgroup-v2.html)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
#: Microseconds in which a process has its share.
_PERIOD: Final = 10_000
_MEMBERS: Final = "cgroup.procs"


@contextlib.contextmanager
def share_of_core(pids: Sequence[int], share: float) -> Iterator[bool]:
    """Give each process no more than ``share`` of a core during the block. Yields whether that can be done here."""
    with contextlib.ExitStack() as stack:
        try:
            for pid in pids:
                stack.enter_context(_bounded(pid, int(share * _PERIOD)))
        except OSError:
            stack.close()
            yield False
        else:
            yield True


@contextlib.contextmanager
def _bounded(pid: int, quota: int) -> Iterator[None]:
    root = _GROUPS / "cpu" if (_GROUPS / "cpu").is_dir() else _GROUPS
    group = root / f"realtime-bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        if root is _GROUPS:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(f"{_PERIOD}")
            (group / "cpu.cfs_quota_us").write_text(f"{quota}")
        (group / _MEMBERS).write_text(f"{pid}")
        yield
    finally:
        with contextlib.suppress(OSError):  # it may have ended
            (root / _MEMBERS).write_text(f"{pid}")
        group.rmdir()
