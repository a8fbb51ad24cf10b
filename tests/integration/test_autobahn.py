"""The cases of Autobahn's test suite, the measure of WebSocket servers, against our push sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from support import remote
from support.process import StartServer
from support.tools import ROOT

#: permessage-deflate is not negotiated (12 and 13 try it with many settings).
COMPRESSION = ("12.*", "13.*")
CASES = 301


def test_autobahns_cases_end_as_they_should(server_process: StartServer) -> None:
    """Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, large messages; no traceback in the log."""
    server = remote.start(server_process, remote.serve("echo:app"))
    address = f"{server.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"

    def run(*words: str) -> tuple[int, list[Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "support.autobahn", address, *words],
            cwd=ROOT / "tests", capture_output=True, text=True, check=True, timeout=100,
        )  # fmt: skip
        well, others = json.loads(done.stdout)
        return well, others

    assert run("--", *COMPRESSION) == (CASES, [])
    # All descriptors, sessions and environs are let go.
    server.wait_for_stats(lambda stats: not stats["sockets"] and not stats["environs"])
