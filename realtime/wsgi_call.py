"""A call into the user's WSGI app, made on a native thread: what goes in, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .concurrency import EventletConcurrency
from .transport.origin import Environ


class Input:
    """``wsgi.input`` for a native thread: the bytes are read by a green thread of the hub."""

    def __init__(self, stream: Any, concurrency: EventletConcurrency) -> None:
        self._stream = stream
        self._run = concurrency.run_on_hub

    def read(self, size: int = -1) -> bytes:
        return bytes(self._run(lambda: self._stream.read(None if size < 0 else size)))

    def readline(self, size: int = -1) -> bytes:
        return bytes(self._run(lambda: self._stream.readline(None if size < 0 else size)))

    def readlines(self, hint: int = -1) -> list[bytes]:
        return list(self._run(lambda: self._stream.readlines(None if hint < 0 else hint)))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


def ask(app: Any, environ: Environ) -> Answer:
    """Call the app. RuntimeError where it was left by what is no error (`TaskCancelled`, SystemExit)."""
    try:
        return Answer(app, environ)
    except Exception:
        raise
    except BaseException as left:  # it must not end the server
        raise RuntimeError(f"The app was left by {type(left).__name__}.") from left


class Answer:
    """What the app answers; made, read and closed on native threads. ``whole`` is the body if it came in one piece."""

    def __init__(self, app: Any, environ: Environ) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self._written: list[bytes] = []
        self._body = app(environ, self._start)
        self._chunks = iter(self._body)
        self.whole: bytes | None = None
        try:
            # An app may call start_response as late as with its first chunk.
            first = next(self._chunks, b"")
            length = next((value for name, value in self.headers if name.lower() == "content-length"), None)
            if self._written or length is None or int(length) != len(first):
                self._written.append(first)
            else:
                self.whole = first
                self.close()
        except BaseException:
            self.close()
            raise

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        self.status, self.headers = status, headers
        return self._written.append

    def next(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        if self._written:
            return self._written.pop(0)
        return next(self._chunks, None)

    def close(self) -> None:
        """Let the app know that nobody reads on."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
