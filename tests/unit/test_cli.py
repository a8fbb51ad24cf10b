"""What the commands show of what others say."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from realtime import cli
from realtime.command import FAILED
from realtime.errors import RealtimeError


def test_a_server_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers a worker, its words are shown as words, on a line that begins with the program's name."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise RealtimeError("refused\x1b[2J\r\x9b1mnothing \u202eis wrong")

    monkeypatch.setattr(cli, "Client", refuse)
    done = CliRunner().invoke(cli.main, ["run", "--url", "http://h", "--user", "ada", "--", "true"])
    assert done.exit_code == FAILED
    assert done.output == "realtime run: refused?[2J??1mnothing ?is wrong\n"
