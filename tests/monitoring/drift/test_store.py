"""The store of drift checks: one row per model and time, the latest of each model, round trip."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.drift.verdict import DriftVerdict
from training.kinds import Kind
from training.reasons import Reason, ReasonCode

NOON = datetime.fromisoformat("2026-03-01T12:00")
DAY = timedelta(days=1)
CHECK = DriftCheck(
    sensor_id="PT-1",
    model_type=Kind.DETECTOR.model_type,
    checked_at=NOON,
    model_version="3",
    train_start=NOON - 30 * DAY,
    train_end=NOON - 2 * DAY,
    start=NOON - 2 * DAY,
    end=NOON,
    readings=48,
    verdict=DriftVerdict.DRIFTED,
    kind="level",
    origin="instrument",
    since=NOON - DAY,
    p_value=0.002,
    false_alarm_rate=0.01,
    cost=1.5,
    reason="level moved by 2.1 bar",
    advice="recalibrate",
    measures={"value": {"distance": 2.5, "threshold": 1.5}},
    quality={"mae": {"1": 0.5}},
    run_id="abc",
    reasons=(Reason(ReasonCode.DRIFT_LEVEL, {"change": 2.1, "size": 1.9, "unit": "bar"}),),
)


@pytest.fixture
def checks(engine):
    return DriftCheckStore(engine)


def test_a_check_is_read_as_it_was_saved(checks):
    checks.save([CHECK])

    assert checks.latest() == [CHECK]


def test_a_row_of_0_1_0_has_its_text_and_no_reasons(checks):
    checks.save([replace(CHECK, reasons=())])

    [check] = checks.latest()

    assert (check.reason, check.reasons) == (CHECK.reason, ())


def test_a_check_of_the_same_time_replaces_the_first(checks):
    checks.save([CHECK])
    checks.save([replace(CHECK, verdict=DriftVerdict.STEADY, kind=None)])

    assert [check.verdict for check in checks.history()] == [DriftVerdict.STEADY]


def test_the_latest_is_one_check_per_model(checks):
    older, forecaster = (
        replace(CHECK, checked_at=NOON - DAY),
        replace(CHECK, model_type=Kind.FORECASTER.model_type),
    )
    other = replace(CHECK, sensor_id="PT-2", checked_at=NOON - 3 * DAY)
    checks.save([older, CHECK, forecaster, other])

    assert checks.latest() == [CHECK, forecaster, other]


def test_the_latest_can_be_limited_to_sensors(checks):
    checks.save([CHECK, replace(CHECK, sensor_id="PT-2")])

    assert [check.sensor_id for check in checks.latest(["PT-2", "PT-9"])] == ["PT-2"]


def test_history_is_newest_first_and_can_be_filtered(checks):
    made = [replace(CHECK, checked_at=NOON - days * DAY) for days in range(4)]
    checks.save([*made, replace(CHECK, sensor_id="PT-2"), replace(CHECK, model_type="FORECASTER")])

    result = checks.history("PT-1", Kind.DETECTOR, since=NOON - 2 * DAY)
    assert result == made[:3]
    assert checks.history("PT-1", Kind.DETECTOR, limit=1) == made[:1]


def test_a_thousand_checks_are_saved_at_once(checks):
    made = [replace(CHECK, sensor_id=f"PT-{number}") for number in range(1_001)]

    assert checks.save(made) == 1_001
    assert checks.save(made) == 1_001
    assert len(checks.latest()) == 1_001


def test_saving_no_checks_saves_nothing(checks):
    assert checks.save([]) == 0


def test_old_checks_can_be_deleted(checks):
    checks.save([CHECK, replace(CHECK, checked_at=NOON - 9 * DAY)])

    assert checks.delete_before(NOON - DAY) == 1
    assert checks.history() == [CHECK]
