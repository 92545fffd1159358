"""Status of a sensor: the worst of what is known, and normal only where something would have noticed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic
from monitoring.alerts.kinds import AlertState, AlertType, InstrumentProblem, Severity
from monitoring.alerts.sensor_status import (
    Coverage,
    Monitor,
    SensorStatus,
    StatusInputs,
    count_statuses,
    judge_status,
    status_name,
)
from monitoring.i18n.translation import Translator
from tests.support.monitored_fleet import MINUTE, NOON
from training.reasons import Reason, ReasonCode

GOOD_DETECTOR = Coverage(Monitor.DETECTOR, version=3, recall=0.6, min_recall=0.3)
ORDINARY = StatusInputs(
    now=NOON,
    coverage=GOOD_DETECTOR,
    silent_after=10 * MINUTE,
    reading_at=NOON - MINUTE,
    value=20.0,
    step=MINUTE,
    scored_at=NOON - MINUTE,
    score=0.1,
    threshold=0.5,
    average=20.1,
    deviation=0.2,
)


def make_alert(
    kind: AlertType = AlertType.ANOMALY,
    severity: Severity = Severity.DANGER,
    state: AlertState = AlertState.OPEN,
    subject: str = "",
) -> Alert:
    evidence = AlertEvidence(reasons=(Reason(ReasonCode.TEXT, {"text": "because"}),))
    topic = AlertTopic(kind, "PT-1", subject)
    return Alert(topic, severity, state, NOON, NOON, NOON, NOON, evidence, id=1)


def status_of(**changes) -> SensorStatus:
    return judge_status(replace(ORDINARY, **changes)).status


def test_a_watched_sensor_inside_its_band_is_normal():
    condition = judge_status(ORDINARY)

    assert (condition.status, condition.severity, condition.symbol) == (SensorStatus.NORMAL, 0, "✓")


def test_a_low_score_does_not_hide_an_open_alert():
    """A step of +3 °C was shown in green, score 0.209, with its alert open below it."""
    condition = judge_status(replace(ORDINARY, score=0.209, alerts=(make_alert(),)))

    assert (condition.status, condition.severity) == (SensorStatus.ALARM, Severity.DANGER)
    assert condition.reasons == (Reason(ReasonCode.TEXT, {"text": "because"}),)


def test_an_alert_that_has_returned_leaves_the_sensor_normal():
    assert status_of(alerts=(make_alert(state=AlertState.RETURNED),)) is SensorStatus.NORMAL


def test_a_shelved_alert_is_still_an_alarm():
    shelved = replace(make_alert(), shelved_until=NOON + timedelta(hours=1), shelved_by="Ana")

    assert status_of(alerts=(shelved,)) is SensorStatus.ALARM


def test_a_reading_beyond_a_limit_is_an_alarm_without_an_alert():
    reason = Reason(ReasonCode.LIMIT_UPPER_CROSSED, {"value": 192.0, "limit": 95.0})
    condition = judge_status(replace(ORDINARY, value=192.0, limit_severity=4, limit_reason=reason))

    assert (condition.status, condition.severity) == (SensorStatus.ALARM, Severity.CRITICAL)
    assert condition.reasons == (reason,)


def test_the_severity_is_that_of_the_worst_alert():
    alerts = (
        make_alert(severity=Severity.WARNING),
        make_alert(AlertType.FORECAST_WARNING, Severity.CRITICAL),
    )

    assert judge_status(replace(ORDINARY, alerts=alerts)).severity == Severity.CRITICAL


def test_a_reading_outside_the_normal_band_deviates_whatever_its_score():
    """A ramp to the highest value ever was green at +3.7 deviations because its score was 0.299."""
    condition = judge_status(replace(ORDINARY, value=20.1 + 3.7 * 0.2, score=0.299))

    assert condition.status is SensorStatus.DEVIATING
    [reason] = condition.reasons
    assert reason.code is ReasonCode.STATUS_DEVIATES_ABOVE
    assert reason.values["size"] == pytest.approx(3.7)
    assert reason.values["time"] == ORDINARY.reading_at


def test_an_anomalous_score_deviates_before_there_is_an_alert():
    assert status_of(score=0.95) is SensorStatus.DEVIATING


def test_the_threshold_decides_and_not_the_scale_of_scores():
    assert status_of(score=0.55, threshold=0.6) is SensorStatus.NORMAL


def test_drift_deviates():
    assert status_of(alerts=(make_alert(AlertType.DRIFT, Severity.WARNING),)) is SensorStatus.DEVIATING


def test_a_faulty_instrument():
    frozen = make_alert(AlertType.INSTRUMENT, Severity.WARNING, subject=InstrumentProblem.FROZEN)

    assert status_of(alerts=(frozen,)) is SensorStatus.INSTRUMENT_FAULT
    assert status_of(is_good=False) is SensorStatus.INSTRUMENT_FAULT
    assert status_of(value=350.0, high=300.0) is SensorStatus.INSTRUMENT_FAULT


def test_an_alarm_of_the_process_outranks_one_of_the_instrument():
    frozen = make_alert(AlertType.INSTRUMENT, Severity.WARNING, subject=InstrumentProblem.FROZEN)

    assert status_of(alerts=(frozen, make_alert())) is SensorStatus.ALARM


def test_a_silent_sensor_has_no_data():
    silent = make_alert(AlertType.INSTRUMENT, Severity.WARNING, subject=InstrumentProblem.NO_DATA)

    assert status_of(now=NOON + 10 * MINUTE) is SensorStatus.NO_DATA
    assert status_of(alerts=(silent,)) is SensorStatus.NO_DATA
    assert status_of(reading_at=None, value=None) is SensorStatus.NO_DATA


def test_a_detector_below_the_floor_monitors_weakly():
    weak = Coverage(Monitor.DETECTOR, version=2, recall=0.04, min_recall=0.3)
    condition = judge_status(replace(ORDINARY, coverage=weak))

    assert (condition.status, condition.severity) == (SensorStatus.WEAKLY_MONITORED, 1)
    assert condition.reasons == (Reason(ReasonCode.STATUS_WEAK_DETECTOR, {"recall": 0.04, "required": 0.3}),)


def test_fixed_rules_monitor_weakly():
    coverage = Coverage(Monitor.FALLBACK, version=2, recall=0.5, min_recall=0.3)

    assert status_of(coverage=coverage) is SensorStatus.WEAKLY_MONITORED
    assert not coverage.is_monitored


@pytest.mark.parametrize("monitor", [Monitor.LIMITS, Monitor.NOTHING])
def test_without_a_detector_a_sensor_is_not_monitored(monitor):
    unwatched = {"scored_at": None, "score": None, "threshold": None, "average": None, "deviation": None}

    assert status_of(coverage=Coverage(monitor), **unwatched) is SensorStatus.NOT_MONITORED


def test_a_detector_that_does_not_score_monitors_nothing():
    """The detect job may have stopped while readings go on."""
    condition = judge_status(replace(ORDINARY, scored_at=NOON - timedelta(days=2), score=0.9))

    assert condition.status is SensorStatus.NOT_MONITORED
    assert condition.reasons[0].code is ReasonCode.STATUS_UNSCORED_SINCE


def test_an_unreachable_registry_does_not_hide_that_readings_are_scored():
    assert status_of(coverage=Coverage(Monitor.UNKNOWN)) is SensorStatus.NORMAL


def test_counts_name_every_status():
    counts = count_statuses([judge_status(ORDINARY)])

    assert counts[SensorStatus.NORMAL] == 1
    assert set(counts) == set(SensorStatus)


def test_every_status_has_its_own_name_in_each_language():
    names = {
        language: [status_name(Translator(language), s) for s in SensorStatus] for language in ("en", "pt")
    }

    assert [len(set(of_language)) for of_language in names.values()] == [len(SensorStatus)] * 2
    assert set(names["en"]) & set(names["pt"]) == {"normal"}  # the same word


alerts_of_any_kind = st.lists(
    st.builds(
        make_alert,
        st.sampled_from(AlertType),
        st.sampled_from(Severity),
        st.sampled_from(AlertState),
        st.sampled_from(["", *InstrumentProblem]),
    ),
    max_size=4,
)
coverages = st.builds(
    Coverage, st.sampled_from(Monitor), recall=st.none() | st.floats(0, 1), min_recall=st.just(0.3)
)


@given(
    alerts=alerts_of_any_kind,
    coverage=coverages,
    score=st.none() | st.floats(0, 1),
    value=st.none() | st.floats(-1e3, 1e3),
    silence=st.integers(0, 100),
)
def test_normal_means_that_nothing_is_wrong_and_something_would_notice(
    alerts, coverage, score, value, silence
):
    inputs = replace(
        ORDINARY,
        alerts=tuple(alerts),
        coverage=coverage,
        score=score,
        value=value,
        reading_at=NOON - silence * MINUTE,
        scored_at=NOON - silence * MINUTE,
    )
    condition = judge_status(inputs)

    is_open = any(alert.state is AlertState.OPEN for alert in alerts)
    assert (condition.severity == 0) == (condition.status is SensorStatus.NORMAL)
    if condition.status is SensorStatus.NORMAL:
        assert not is_open
        assert coverage.is_monitored
        assert score is None or score < 0.5
        assert silence <= 10
    elif condition.status is not SensorStatus.NORMAL:
        assert condition.reasons
