"""An app behind a middleware that answers every request, WebSocket handshakes too, once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.apps.making import make

app = make()
inner = app.wsgi_app


def talk(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """What the app answers, and for a WebSocket a few bytes that belong nowhere."""
    yield from inner(environ, start_response)
    if "HTTP_UPGRADE" in environ:
        yield b"<!-- served by a talkative middleware -->"


app.wsgi_app = talk  # type: ignore[method-assign]
