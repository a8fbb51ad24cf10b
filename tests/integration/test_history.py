"""Servers are killed, connections to the store are cut and answers lost, in the middle of whatever is done: what was
acknowledged to writers is there afterwards, as the registry promises, and three viewers end with the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.process import StartServer
from support.trial import Trial, redis_trial

#: Servers start one after the other, on a busy machine each takes its time, and there may be many trials.
pytestmark = pytest.mark.timeout(3600)

#: How often a server is killed in a trial.
KILLS = 5


def test_what_was_acknowledged_survives_in_redis(server_process: StartServer, request: pytest.FixtureRequest) -> None:
    """Every change that was answered by one of three servers is there, once, whichever of them is killed."""
    for seed in range(request.config.getoption("history_trials")):
        with redis_trial(server_process, seed) as trial:
            trial.run(KILLS)


def test_what_was_acknowledged_survives_in_a_file(
    server_process: StartServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Every creation and every end is; what was unfinished when its server was killed has failed."""
    for seed in range(request.config.getoption("history_trials")):
        trial = Trial(server_process, f"sqlite:///{tmp_path / f'{seed}.db'}", None, seed)
        trial.run(KILLS)
        trial.servers[0].server.stop()


@pytest.mark.parametrize(
    ("safety", "fault"), [("catchup", "does not end with what is so"), ("nonce", "was advanced")]
)  # fmt: skip
def test_a_trial_finds_that_a_safety_is_off(safety: str, fault: str, server_process: StartServer) -> None:
    """Without catching up a viewer ends with less; a change that is sent again, and not known again, counts twice."""
    with redis_trial(server_process, 2, settle=5.0, servers=1, SWITCHED_OFF=safety) as trial:
        with pytest.raises(AssertionError, match=fault):
            trial.run(0)
        trial.close()
