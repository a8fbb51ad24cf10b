"""The cases of Autobahn's test suite, the measure of WebSocket servers, against our push sockets."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import kosoku

from support import remote
from support.process import StartServer

#: permessage-deflate is not negotiated (12 and 13 try it with many settings).
COMPRESSION = ("12.*", "13.*")
#: A close frame between the fragments of a message: answered with 1002 and not with 1000, since ``websockets`` takes
#: the message that then never ends for an error. The closing itself goes as it should.
CLOSED_WITHIN_A_MESSAGE = "7.1.5"
CASES = 301


def test_autobahns_cases_end_as_they_should(server_process: StartServer) -> None:
    """Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, large messages; no traceback in the log."""
    server = remote.start(server_process, remote.serve("echo:app"))
    address = f"{server.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"

    async def run_cases(cases: list[str] | None, without: tuple[str, ...]) -> list[str]:
        results = await kosoku.run_fuzzingclient(address, cases, without, concurrency=4)
        return [result.case_id for result in results]

    def run(cases: list[str] | None, without: tuple[str, ...]) -> list[str]:
        # On a thread of its own: the browser's tests leave a running loop on this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(run_cases(cases, without))).result()

    ended = run(None, (*COMPRESSION, CLOSED_WITHIN_A_MESSAGE))
    assert len(ended) == CASES - 1
    try:
        run([CLOSED_WITHIN_A_MESSAGE], ())
    except kosoku.FailureError as failure:
        codes = [(result.remote_close_code, result.was_clean) for result in failure.results]
        assert codes == [(1002, True)]
    # All descriptors, sessions and environs are let go.
    server.wait_for_stats(lambda stats: not stats["sockets"] and not stats["environs"])
