"""An app in which a request to stop waits at the gate ``parts`` before it goes to the parts of a task."""

from __future__ import annotations

from support.apps.making import gates, make

app = make()
_registry = app.extensions["realtime"].registry
_ask = _registry._ask_parts


def _ask_parts(parent_id: str) -> None:
    gates["parts"].pass_through()
    _ask(parent_id)


_registry._ask_parts = _ask_parts
