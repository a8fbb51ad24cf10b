"""The public API: what ``realtime`` exports, and that importing it has no effect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import realtime
from support.tools import ROOT

#: Looks at a process before and after ``import realtime``. What that stands on is loaded before the first look: some of
#: it sets warning filters.
LOOK = """
import json, logging, select, signal, socket, sys, threading, time, warnings
import flask_socketio

def look():
    return (threading.active_count(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), socket.socket,
            time.sleep, select.select, list(logging.getLogger().handlers), list(warnings.filters))

before = look()
import realtime
print(json.dumps({"unchanged": before == look(), "loaded": [name for name in sys.modules if "." not in name]}))
"""


def test_every_export_exists_and_is_listed_once() -> None:
    """``__all__`` holds no name twice, and each name is there."""
    assert [name for name, times in Counter(realtime.__all__).items() if times > 1] == []
    assert [name for name in realtime.__all__ if not hasattr(realtime, name)] == []


def test_every_export_has_a_docstring() -> None:
    """What a user can import says what it is."""
    things = {name: getattr(realtime, name) for name in realtime.__all__ if name != "__version__"}
    assert [name for name, thing in things.items() if callable(thing) and not thing.__doc__] == []


def test_the_lifecycle_functions_are_exported() -> None:
    """The functions that a user's code calls most come from ``realtime`` itself."""
    words = {
        "Realtime",
        "Identity",
        "Task",
        "TaskStatus",
        "TaskCancelled",
        "TaskError",
        "append_output",
        "cancel_task",
        "complete_task",
        "create_task",
        "fail_task",
        "get_task_status",
        "list_tasks",
        "remove_task",
        "update_many",
        "update_task_progress",
    }
    assert words - set(realtime.__all__) == set()


def test_importing_has_no_effect() -> None:
    """``import realtime`` starts no thread, touches no signal, patches nothing and does not load eventlet or gevent."""
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    assert seen["unchanged"]
    assert {"eventlet", "gevent"} & set(seen["loaded"]) == set()


def test_the_public_api_fits_on_one_screen() -> None:
    """A reader of ``realtime/__init__.py`` sees all of it at once."""
    source = Path(realtime.__file__).read_text("utf-8")
    assert len(source.splitlines()) <= 100
