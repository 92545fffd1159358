"""Three minutes of the soak on SQLite; an hour with servers is `python -m tests.soak --postgres URL`."""

import pytest

from tests.soak.__main__ import run_soak
from tests.soak.evaluation import evaluate_soak, read_notes

pytestmark = pytest.mark.slow


@pytest.mark.fault(
    "three minutes of endpoint, scheduler and page with readings arriving, a fault every 15 s",
    "memory, handles, threads and temporary files stay; everything is made up for",
)
def test_three_minutes_of_faults_leave_nothing_behind(tmp_path, record_losses):
    verdict = evaluate_soak(read_notes(run_soak(3, 15, 6, None, tmp_path)))

    assert verdict.wrong == []
    assert len(verdict.faults) >= 5
    assert verdict.answers["200"] > 20
    assert verdict.pages["drawn"] >= 2
    record_losses(lost=verdict.accounts["lost"], doubled=verdict.accounts["doubled"])
