"""An app that tells what `identify` was shown of each handshake. With ``WRAPPED`` in the environment a middleware
stands before it that knows better where requests come from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import flask

from support.apps.making import make

app = make()
shown: list[dict[str, Any]] = []


@app.extensions["realtime"].identify  # type: ignore[untyped-decorator]
def identify(request: flask.Request) -> str | None:
    """``?user=ada`` is who asks."""
    shown.append(dict(request.environ))
    return request.args.get("user")


@app.get("/shown")
def show() -> flask.Response:
    """The environs, without what JSON cannot take."""
    plain = (str, int, bool, list, tuple)
    return flask.jsonify([
        {key: value if isinstance(value, plain) else type(value).__name__ for key, value in environ.items()}
        for environ in shown
    ])  # fmt: skip


if "WRAPPED" in os.environ:
    inner = app.wsgi_app

    def behind(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """What a middleware for proxies does."""
        return inner({**environ, "REMOTE_ADDR": "203.0.113.9"}, start_response)

    app.wsgi_app = behind  # type: ignore[method-assign]
