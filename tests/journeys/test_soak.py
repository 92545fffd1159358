"""Three minutes of the soak test on SQLite; `python -m tests.soak --postgres URL` is an hour on servers."""

import pytest

from tests.soak.__main__ import run_soak
from tests.soak.evaluation import evaluate_soak, read_notes

pytestmark = pytest.mark.slow


@pytest.mark.fault(
    "three minutes of endpoint, scheduler and dashboard with new readings and a fault every 15 s",
    "memory, handles, threads and temporary files do not grow; nothing is lost",
)
def test_three_minutes_of_faults_lose_nothing_and_leak_nothing(tmp_path, record_losses):
    verdict = evaluate_soak(read_notes(run_soak(3, 15, 6, None, tmp_path)))

    assert verdict.wrong == []
    assert len(verdict.faults) >= 5
    assert verdict.answers["200"] > 20
    assert verdict.pages["drawn"] >= 2
    record_losses(lost=verdict.accounts["lost"], doubled=verdict.accounts["doubled"])
