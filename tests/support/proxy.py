"""A network between a client and a server on this machine that a test can break: see `Proxy`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

#: Bytes taken at a time.
_PIECE = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Carries bytes from a port of 127.0.0.1 to ``target``, a port there or the path of a Unix socket, and back.

    `cut`: nothing goes through any more, and nobody is told. Connections stay open, new ones are taken in. `heal` ends
    all of them: what went into them is lost. While `lose` says so, a share of what the server answers is thrown away
    when the request has been carried there, and its connection ended.
    """

    def __init__(self, target: int | Path, seed: int = 0) -> None:
        self._target = target
        self._choose = random.Random(seed)
        self._share = 0.0
        self._is_cut = False
        #: Answers that were thrown away.
        self.lost = 0
        self.port = 0
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        listening = threading.Event()
        self._listening = listening.set
        self._thread.start()
        assert listening.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def lose(self, share: float) -> None:
        """Throw away this share of the answers, from 0 to 1."""
        self._share = share

    def cut(self) -> None:
        self._is_cut = True

    def heal(self) -> None:
        """Let everything through that begins from now on."""
        healed = threading.Event()
        self._loop.call_soon_threadsafe(self._heal, healed.set)
        assert healed.wait(10)

    # On the loop's thread.

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._listening()
        await self._over.wait()
        server.close()
        self._end_all()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _heal(self, healed: Callable[[], None]) -> None:
        self._end_all()
        self._is_cut = False
        healed()

    def _end_all(self) -> None:
        for connection in self._open:
            connection.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._carry((reader, writer)))
        self._open.add(connection)
        connection.add_done_callback(self._open.discard)

    async def _carry(self, client: Streams) -> None:
        server: Streams | None = None
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                server = await self._connect()
                pumps = [
                    asyncio.ensure_future(self._pump(client[0], server[1], False)),
                    asyncio.ensure_future(self._pump(server[0], client[1], True)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for _, writer in filter(None, (client, server)):
                writer.transport.abort()

    async def _connect(self) -> Streams:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while data := await reader.read(_PIECE):
            if self._is_cut:
                continue
            if answers and self._choose.random() < self._share:
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()
