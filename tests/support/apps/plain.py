"""The app on its own: ``realtime serve support.apps.plain:app``, or any WSGI server."""

from __future__ import annotations

from support.apps.making import make

app = make()
