"""The AsyncAPI 3 document of what viewers hear and ask for over Socket.IO (https://www.asyncapi.com/docs/reference)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from .. import protocol
from ..protocol import (
    ConnectAuth,
    ListRequest,
    SubscribeRequest,
    TaskRequest,
    UnsubscribeRequest,
    VisibilityRequest,
)
from .schema import Acknowledgement, ServerStateChange, Snapshot, TaskOutput, TaskRemoved, TasksSnapshot

#: What each event of the server carries.
PUSHES: Final[dict[str, type[msgspec.Struct]]] = {
    protocol.TASK_CREATED: Snapshot,
    protocol.TASK_PROGRESS: Snapshot,
    protocol.TASK_COMPLETED: Snapshot,
    protocol.TASK_FAILED: Snapshot,
    protocol.TASK_CANCELLED: Snapshot,
    protocol.TASK_OUTPUT: TaskOutput,
    protocol.TASK_REMOVED: TaskRemoved,
    protocol.TASKS_SNAPSHOT: TasksSnapshot,
    protocol.SERVER_STATE: ServerStateChange,
}
#: What each command of a viewer carries.
COMMANDS: Final[dict[str, type[msgspec.Struct]]] = {
    protocol.SUBSCRIBE: SubscribeRequest,
    protocol.UNSUBSCRIBE: UnsubscribeRequest,
    protocol.CANCEL_TASK: TaskRequest,
    protocol.LIST_TASKS: ListRequest,
    protocol.REMOVE_TASK: TaskRequest,
    protocol.VISIBILITY: VisibilityRequest,
}


def document(namespace: str) -> dict[str, Any]:
    """The document; ``namespace`` is the Socket.IO namespace that viewers connect to."""
    carried: dict[str, type[msgspec.Struct]] = {
        **PUSHES, **COMMANDS, "connect": ConnectAuth, "acknowledgement": Acknowledgement,
    }  # fmt: skip
    _, schemas = msgspec.json.schema_components(
        list(dict.fromkeys(carried.values())), ref_template="#/components/schemas/{name}"
    )
    messages = {
        name: {
            "name": name,
            "title": kind.__name__,
            "summary": " ".join((kind.__doc__ or "").split()),
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        }
        for name, kind in carried.items()
    }
    channel = {
        "address": namespace,
        "title": "The Socket.IO namespace of viewers",
        "description": "Socket.IO 5 over Engine.IO 4. CONNECT carries `connect` as its `auth`; each command is "
        "acknowledged.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }
    operations = {_camel("hear", name): _operation("send", name) for name in PUSHES}
    operations |= {_camel("ask", name): _operation("receive", name) for name in COMMANDS}
    operations["connect"] = {
        "action": "receive", "channel": _CHANNEL, "summary": "Say who one is, and what one shows already.",
        "messages": [{"$ref": "#/channels/tasks/messages/connect"}],
    }  # fmt: skip
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "realtime",
            "version": str(protocol.PROTOCOL_VERSION),
            "description": "Live progress of long tasks: whole, versioned snapshots, of which only the newest waits.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {"tasks": channel},
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


_CHANNEL: Final = {"$ref": "#/channels/tasks"}


def _operation(action: str, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "action": action,
        "channel": _CHANNEL,
        "messages": [{"$ref": f"#/channels/tasks/messages/{name}"}],
    }
    if action == "receive":
        made["reply"] = {"channel": _CHANNEL, "messages": [{"$ref": "#/channels/tasks/messages/acknowledgement"}]}
    return made


def _camel(verb: str, name: str) -> str:
    return verb + re.sub(r"(?:^|_)(.)", lambda match: match[1].upper(), name)
