"""A monitored fleet in the folder of the test."""

import functools
from collections.abc import Iterator

import pytest
from streamlit.components.v2 import manifest_scanner

from tests.support.dashboard_app import dashboard_workspace, page, trained_home, trained_workspace  # noqa: F401 (fixtures)
from tests.support.monitored_fleet import MonitoredFleet


@pytest.fixture(scope="session", autouse=True)
def _packages_scanned_once() -> Iterator[None]:
    """AppTest searches all installed packages for components at each run, 0.6 s for the same result."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


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
