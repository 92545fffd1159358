"""A fleet whose alerts open, worsen, return and repeat."""

import pytest

from tests.support.monitored_fleet import MonitoredFleet, noisy_values


@pytest.fixture
def alerting_fleet(monitored_fleet, monkeypatch) -> MonitoredFleet:
    """Six changes of three alerts when it is watched; two channels are notified."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    monkeypatch.setenv("SAFEPLAN_CHANNEL_NIGHT", "json://127.0.0.1:1/")
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 10 + [0.9] * 10 + [0.1] * 20 + [0.7] * 20)
    monitored_fleet.score("TT-1", 0, [0.1] * 20 + [0.7] * 20 + [0.1] * 20)
    return monitored_fleet
