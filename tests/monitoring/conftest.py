"""A plant that is watched, in the test's own folder."""

import pytest

from tests.monitoring.paged import grown, known, page, plant  # noqa: F401 (fixtures)
from tests.watched import Plant


@pytest.fixture
def watched(workspace, tmp_path) -> Plant:
    """Two sensors on platform P-48 and one on P-51, each speaking once a minute."""
    made = Plant(workspace, tmp_path)
    made.describe(
        {
            "PT-1": {"platform": "P-48", "unit": "bar", "low": 0, "high": 400, "critical_high": 30},
            "PT-2": {"platform": "P-48", "unit": "bar"},
            "TT-1": {"platform": "P-51", "unit": "degC"},
        }
    )
    return made
