"""Run cases of Autobahn's test suite: ``python -m support.autobahn ADDRESS 1.* 2.* -- 2.10`` (without those after --).

In a process of its own: the suite is native code. Prints, as JSON, how many cases ended as they should, and of each
other one its id, the server's close code and whether the closing was clean.
"""

from __future__ import annotations

import asyncio
import json
import sys

import kosoku


async def run(
    address: str, cases: list[str] | None, without: list[str]
) -> tuple[int, list[tuple[str, int | None, bool]]]:
    """How many were well, and what of the others."""
    try:
        results = await kosoku.run_fuzzingclient(address, cases, without, concurrency=4)
    except kosoku.FailureError as failure:
        return 0, [(result.case_id, result.remote_close_code, result.was_clean) for result in failure.results]
    return len(results), []


if __name__ == "__main__":
    address, *words = sys.argv[1:]
    cut = words.index("--")
    print(json.dumps(asyncio.run(run(address, words[:cut] or None, words[cut + 1 :]))))
