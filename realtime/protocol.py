"""The words on the wire, each defined once. ``static/protocol.js`` is generated from this module.

Socket.IO protocol 5 over Engine.IO protocol 4 (https://socket.io/docs/v4/socket-io-protocol/,
https://socket.io/docs/v4/engine-io-protocol/), namespace ``/tasks``, JSON only. Every push carries a whole
snapshot of one task; every request of a viewer is acknowledged with ``{"ok": true, …}`` or
``{"ok": false, "error": {"code", "message"}}``.

``python -m realtime.protocol`` prints the JavaScript; a test compares it with the file.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import msgspec

from .errors import InvalidValue

PROTOCOL_VERSION: Final = 1
NAMESPACE: Final = "/tasks"

# Server → viewer.
TASK_CREATED: Final = "task_created"
TASK_PROGRESS: Final = "task_progress"
TASK_COMPLETED: Final = "task_completed"
TASK_FAILED: Final = "task_failed"
TASK_CANCELLED: Final = "task_cancelled"
TASK_OUTPUT: Final = "task_output"
TASK_REMOVED: Final = "task_removed"
TASKS_SNAPSHOT: Final = "tasks_snapshot"
#: ``{"state": "live" | "stale"}``: whether the server reaches its task store; ``{"state": "stopping",
#: "reconnect_within": 2.5}``: it goes away, and a viewer connects again after a random part of so many seconds.
SERVER_STATE: Final = "server_state"

# Viewer → server.
SUBSCRIBE: Final = "subscribe"
UNSUBSCRIBE: Final = "unsubscribe"
CANCEL_TASK: Final = "cancel_task"
LIST_TASKS: Final = "list_tasks"
REMOVE_TASK: Final = "remove_task"
VISIBILITY: Final = "visibility"

#: The event that tells a terminal state.
TERMINAL_EVENTS: Final = {"completed": TASK_COMPLETED, "failed": TASK_FAILED, "cancelled": TASK_CANCELLED}

# Bounds, in the unit that the name says; bytes are of UTF-8.
MAX_IDS: Final = 100
MAX_CURSORS: Final = 100
MAX_SNAPSHOT_TASKS: Final = 100
MAX_SNAPSHOT_BYTES: Final = 64 * 1024
MAX_FLUSH_BYTES: Final = 64 * 1024
MAX_CONTROL_BYTES: Final = 256 * 1024
MAX_PUSHED_RESULT_BYTES: Final = 4 * 1024
MAX_MESSAGE_BYTES: Final = 16 * 1024
MAX_POLLED_PACKETS: Final = 10


def user_room(user_id: str) -> str:
    """The room that every session of a user joins at connect."""
    return f"user:{user_id}"


def group_room(group: str) -> str:
    """The room of everyone whose identity carries the group."""
    return f"group:{group}"


def task_room(task_id: str) -> str:
    """The room of those who subscribed to one task."""
    return f"task:{task_id}"


def output_room(task_id: str) -> str:
    """The room of those who asked for the output of one task."""
    return f"output:{task_id}"


#: ``{task_id: version}``: what a viewer shows now.
Cursors = dict[str, int]


class ConnectAuth(msgspec.Struct, frozen=True):
    """The ``auth`` of a CONNECT. All parts may be missing."""

    ticket: str | None = None
    epoch: str | None = None
    cursors: Cursors = {}
    #: Whether it wants the output of its own tasks without asking for each.
    output: bool = True
    protocol: int = PROTOCOL_VERSION


class SubscribeRequest(msgspec.Struct, frozen=True):
    """``subscribe``: watch single tasks. ``outputs`` maps a task id to the offset a viewer has read its output to, or
    to the offsets of several streams by name; a task whose snapshots come anyway need not be among ``task_ids``.
    """

    task_ids: list[str]
    epoch: str | None = None
    cursors: Cursors = {}
    outputs: dict[str, int | dict[str, int]] = {}


class UnsubscribeRequest(msgspec.Struct, frozen=True):
    """``unsubscribe``: watch them no more. ``outputs``: of these, leave only the named streams' output."""

    task_ids: list[str]
    outputs: dict[str, list[str]] = {}


class TaskRequest(msgspec.Struct, frozen=True):
    """``cancel_task`` and ``remove_task``."""

    task_id: str


class ListRequest(msgspec.Struct, frozen=True):
    """``list_tasks``: the tasks visible to me, newest first; ``before`` is the ``next`` of the last page."""

    limit: int = 50
    before: str | None = None


class VisibilityRequest(msgspec.Struct, frozen=True):
    """``visibility``: whether the page is hidden."""

    hidden: bool


_T = TypeVar("_T", bound=msgspec.Struct)


def parse(kind: type[_T], message: Any) -> _T:
    """Read a viewer's message (which may be read already, but for its bounds).

    Raises `InvalidValue` that names the field; never anything else.
    """
    if message is None:
        message = {}
    try:
        request: _T = message if type(message) is kind else msgspec.convert(message, kind, strict=True)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        text, _, path = str(error).partition(" - at ")
        raise InvalidValue(path.strip("`").removeprefix("$.") or "message", text) from None
    for field, bound in (("task_ids", MAX_IDS), ("cursors", MAX_CURSORS), ("outputs", MAX_IDS)):
        value = getattr(request, field, ())
        if len(value) > bound:
            raise InvalidValue(field, f"{len(value)} entries; at most {bound} are taken in one message")
    if request is not message:  # else it has come out of UTF-8
        try:
            msgspec.json.encode(request)  # ids are told back: that must not fail when all else is done
        except UnicodeEncodeError:
            raise InvalidValue("message", "a text has a lone surrogate; UTF-8 cannot carry it") from None
    return request


def javascript() -> str:
    """The text of ``static/protocol.js``."""
    events = {name: globals()[name] for name in _EVENT_NAMES}
    commands = {name: globals()[name] for name in _COMMAND_NAMES}
    limits = {
        "IDS": MAX_IDS,
        "CURSORS": MAX_CURSORS,
        "SNAPSHOT_TASKS": MAX_SNAPSHOT_TASKS,
        "MESSAGE_BYTES": MAX_MESSAGE_BYTES,
    }
    lines = [
        "// Generated from realtime/protocol.py: python -m realtime.protocol > static/protocol.js",
        f"export const PROTOCOL_VERSION = {PROTOCOL_VERSION};",
        f"export const NAMESPACE = {json.dumps(NAMESPACE)};",
    ]
    for name, table in (
        ("EVENTS", events),
        ("COMMANDS", commands),
        ("LIMITS", limits),
        ("TERMINAL_EVENTS", TERMINAL_EVENTS),
    ):
        lines.append(f"export const {name} = Object.freeze({json.dumps(table, indent=2)});")
    return "\n".join(lines) + "\n"


_EVENT_NAMES: tuple[str, ...] = (
    "TASK_CREATED", "TASK_PROGRESS", "TASK_COMPLETED", "TASK_FAILED", "TASK_CANCELLED",
    "TASK_OUTPUT", "TASK_REMOVED", "TASKS_SNAPSHOT", "SERVER_STATE",
)  # fmt: skip
_COMMAND_NAMES: tuple[str, ...] = ("SUBSCRIBE", "UNSUBSCRIBE", "CANCEL_TASK", "LIST_TASKS", "REMOVE_TASK", "VISIBILITY")

if __name__ == "__main__":
    print(javascript(), end="")
