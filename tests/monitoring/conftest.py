"""A monitored fleet in the folder of the test."""

import pytest

from tests.support.dashboard_app import dashboard_workspace, page, trained_home, trained_workspace  # noqa: F401 (fixtures)
from tests.support.monitored_fleet import MonitoredFleet


@pytest.fixture
def monitored_fleet(workspace, tmp_path) -> MonitoredFleet:
    """Two sensors on platform P-48 and one on P-51, each with a reading per minute."""
    fleet = MonitoredFleet(workspace, tmp_path)
    fleet.describe(
        {
            "PT-1": {"platform": "P-48", "unit": "bar", "low": 0, "high": 400, "critical_high": 30},
            "PT-2": {"platform": "P-48", "unit": "bar"},
            "TT-1": {"platform": "P-51", "unit": "degC"},
        }
    )
    return fleet
