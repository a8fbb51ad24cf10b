"""`renewal`: viewers of a former epoch are told nothing more, and are closed, whatever comes in between."""

from __future__ import annotations

import logging

import pytest

from realtime.hub import Viewer
from realtime.renewal import renew_viewers
from support.watching import House


class Renewed(House):
    """A house whose viewers have had a snapshot of its first epoch; notes who is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[str] = []
        self.broken: set[str] = set()
        renew_viewers(self.registry, self.hub, self.concurrency)
        self.hub.close_viewer = self._close

    def _close(self, viewer: Viewer, reason: str) -> None:
        if viewer.session in self.broken:
            raise OSError("it is gone")
        self.closed.append(viewer.session)

    def shown(self) -> Viewer:
        viewer, _ = self.viewer("ada")
        viewer.epoch = self.registry.epoch
        return viewer

    def begin_anew(self) -> None:
        """The memory is lost; nobody is told yet."""
        self.registry.epoch = "another"

    def run(self) -> None:
        """Let what was spawned run."""
        while self.concurrency.spawned:
            name, function = self.concurrency.spawned.pop(0)
            if name == "realtime-renewal":
                function()


@pytest.fixture
def house() -> Renewed:
    return Renewed()


def test_a_viewer_of_a_former_epoch_is_told_nothing_more_and_closed(house: Renewed) -> None:
    """At once: its pushes would be of another epoch than its snapshot."""
    viewer = house.shown()
    house.begin_anew()
    assert house.registry.on_epoch is not None
    house.registry.on_epoch("another")
    assert not viewer.live
    house.run()
    assert house.closed == [viewer.session]


def test_who_was_passed_over_is_found_by_the_next_look(house: Renewed) -> None:
    """A snapshot of the former epoch may arrive when all others have been closed."""
    viewer = house.shown()
    house.begin_anew()
    for look in house.hub.on_sweep:
        look()
    house.run()
    assert house.closed == [viewer.session]


def test_who_is_of_the_epoch_or_waits_for_a_snapshot_stays(house: Renewed) -> None:
    """It would come back to what it has."""
    waiting, _ = house.viewer("ada")
    house.begin_anew()
    shown = house.shown()
    for look in house.hub.on_sweep:
        look()
    house.run()
    assert house.closed == []
    assert shown.live
    assert waiting.live


def test_who_has_missed_too_much_comes_anew(house: Renewed) -> None:
    """Though the epoch is the same: it comes back with what it has, and is told what is there no more. Who waits for a
    snapshot has missed nothing.
    """
    viewer, (waiting, _) = house.shown(), house.viewer("ada")
    assert house.registry.on_epoch is not None
    house.registry.on_epoch("")
    assert not viewer.live
    house.run()
    assert house.closed == [viewer.session]
    assert waiting.live


def test_one_that_cannot_be_closed_keeps_nobody_else(house: Renewed, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""
    first, second = house.shown(), house.shown()
    house.broken.add(first.session)
    house.begin_anew()
    assert house.registry.on_epoch is not None
    with caplog.at_level(logging.ERROR, "realtime"):
        house.registry.on_epoch("another")
        house.run()
    assert house.closed == [second.session]
    assert "could not be closed" in caplog.text
