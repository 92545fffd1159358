"""Retraining by need: order by weight, reasons, and the CPU budget of a night."""

from datetime import timedelta

import pytest

from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftOrigin, DriftVerdict
from monitoring.retraining.need import assess_need, rank_needs, retrain
from tests.support.workspaces import ingest_readings, parse_time
from training.kinds import Kind
from training.reasons import Reason, ReasonCode, render_all
from training.storage.labels import Label

NOW = parse_time("2026-03-01T02:00")
MONTH = timedelta(days=30)


def check(verdict, *, cost=None, days_ago=1, origin=None):
    return DriftCheck(
        "PT-1",
        "ANOMALY_DETECTOR",
        NOW - timedelta(days=days_ago),
        "1",
        NOW,
        NOW,
        100,
        verdict,
        "the level moved",
        0.01,
        cost=cost,
        origin=origin,
    )


def need(days_old=1, *, drift=None, labels=0, kind=Kind.DETECTOR):
    until = None if days_old is None else NOW - timedelta(days=days_old)
    return assess_need(
        "PT-1", kind, trained_until=until, drift=drift, new_labels=labels, max_age=MONTH, now=NOW
    )


def test_a_recent_model_without_drift_or_verdicts_needs_no_retraining():
    assert need() is None
    assert need(drift=check(DriftVerdict.STEADY)) is None
    assert need(labels=3, kind=Kind.FORECASTER) is None


def test_the_largest_need_comes_first():
    missing = need(None)
    drifted = need(10, drift=check(DriftVerdict.DRIFTED, cost=5.0))
    aged = need(10, drift=check(DriftVerdict.AGED))
    judged = need(10, labels=1)
    old = need(31)

    weights = [drifted.weight, missing.weight, aged.weight, judged.weight, old.weight]
    assert weights == sorted(weights, reverse=True)
    assert render_all(drifted.reasons) == "drift: the level moved"
    assert render_all(old.reasons) == "trained 31 d ago"


def test_drift_of_an_instrument_is_no_reason_to_retrain():
    assert need(10, drift=check(DriftVerdict.DRIFTED, origin=DriftOrigin.INSTRUMENT)) is None
    assert need(10, drift=check(DriftVerdict.DRIFTED, origin=DriftOrigin.PROCESS)) is not None


def test_drift_before_the_newest_training_is_ignored():
    assert need(10, drift=check(DriftVerdict.DRIFTED, days_ago=11)) is None


@pytest.fixture
def trained(workspace, training_stub, monkeypatch):
    """Two sensors, both without models."""
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "-9")
    monkeypatch.setenv("SAFEPLAN_GATE_MAX_RECALL_LOSS", "1")
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_RECALL", "0")
    monkeypatch.setattr("monitoring.retraining.need.os.cpu_count", lambda: 1)
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", seed=1)
    return workspace


def test_a_night_retrains_what_is_needed_and_no_more(trained, training_stub):
    moment = parse_time("2026-01-09T08:00")
    outcomes = retrain(trained, trained.fleet.match(()), now=moment)

    assert len(outcomes) == 4
    assert not any(outcome.failed for outcome in outcomes)
    assert rank_needs(trained, trained.fleet.match(()), now=moment) == []

    label = Label("PT-1", parse_time("2026-01-08T01:00"), parse_time("2026-01-08T02:00"), anomalous=False)
    trained.labels.add([label])
    (result,) = rank_needs(trained, trained.fleet.match(()), now=moment)
    assert (result.sensor_id, result.kind) == ("PT-1", Kind.DETECTOR)
    assert result.reasons == (Reason(ReasonCode.RETRAIN_VERDICTS, {"count": 1}),)


def test_models_beyond_the_budget_of_the_night_wait(trained, training_stub, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_RETRAINING_CPU_BUDGET", "PT0.000001S")

    outcomes = retrain(trained, trained.fleet.match(()), now=parse_time("2026-01-09T08:00"))

    assert [outcome.status for outcome in outcomes] == ["waits for the next night"] * 4
    assert training_stub.tasks == []
