"""The store of three servers is away in one way or another while all write and look: what was acknowledged is there
afterwards, as far as a store can promise that, and three viewers end with the truth."""

from __future__ import annotations

import signal
import threading

import pytest

from support.process import StartServer
from support.proxy import Proxy
from support.remote import wait_until
from support.stores import StoreServer
from support.trial import Trial, redis_trial

#: Outages last as long as they have to, and servers start one after the other.
pytestmark = pytest.mark.timeout(600)

#: Changes that are answered after an outage, while the same writers go on.
AFTER = 30


def last(seconds: float) -> None:
    """Let an outage last: it is its length that the test is about."""
    threading.Event().wait(seconds)


@pytest.fixture
def store() -> StoreServer:
    return StoreServer(durable=True)


def test_what_was_acknowledged_survives_outages_of_the_store(
    server_process: StartServer, store: StoreServer, request: pytest.FixtureRequest
) -> None:
    """It stops for a while, is cut off from the servers, who are not told, and, with several trials, is killed and
    started again. All the time answers are lost on the way to the servers, two in a row too: of such a change they know
    nothing."""
    whole = request.config.getoption("history_trials") > 1
    with Proxy(store.socket) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        with redis_trial(server_process, 0, store, url, "plain:app", 1.0) as trial:
            trial.history.catches_up = True

            def look() -> None:
                proxy.lose(0.0)  # a look is no change, and may be answered by an error
                trial.look()
                proxy.lose(0.02)

            proxy.lose(0.02)
            with trial.written():
                store.send_signal(signal.SIGSTOP)
                last(30.0 if whole else 3.0)
                store.send_signal(signal.SIGCONT)
                trial.wait_for_answers(AFTER)
            look()
            with trial.written():
                proxy.cut()
                last(90.0 if whole else 4.0)
                proxy.heal()
                trial.wait_for_answers(AFTER)
            look()
            for _ in range(3 if whole else 0):
                with trial.written():
                    store.kill()
                    store.start()
                    trial.wait_for_answers(AFTER)
                look()
            assert proxy.lost > 0
            proxy.lose(0.0)
            trial.finish()


def test_viewers_end_with_what_is_after_a_store_was_emptied(
    server_process: StartServer, request: pytest.FixtureRequest
) -> None:
    """What was acknowledged in a memory that is gone may be gone; nothing else is, and no page shows it for ever."""
    for seed in range(request.config.getoption("history_trials")):
        store = StoreServer()
        with redis_trial(server_process, seed, store, app="plain:app") as trial:
            trial.forgetful = trial.history.catches_up = True
            with trial.written():
                empty(trial, store)
                trial.wait_for_answers(AFTER)
            trial.look()
            trial.finish()


def empty(trial: Trial, store: StoreServer) -> None:
    """Have the store lose its memory, and wait until all servers know it."""
    (before,) = epochs(trial)
    client = store.client()
    client.flushall()
    client.close()
    wait_until(lambda: epochs(trial), lambda now: len(now) == 1 and before not in now)


def epochs(trial: Trial) -> set[str]:
    return {server.stats()["epoch"] for server in trial.servers}
