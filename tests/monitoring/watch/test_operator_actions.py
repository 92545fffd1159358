"""Operator actions are stored with their label, notifications and audit entries, or not at all."""

import pytest

from monitoring.alerts.actions import verdict_and_note
from monitoring.alerts.kinds import AlertState, AlertType, AlertVerdict
from monitoring.alerts.maintenance import list_maintenance
from monitoring.watch.operator_actions import (
    acknowledge,
    alert_history,
    alert_to_dict,
    find_alert,
    list_alerts,
    set_verdict,
    shelve,
    unshelve,
)
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.errors import ConfigurationError
from training.registry.audit import entries


@pytest.fixture
def raised_alert(monitored_fleet):
    """PT-1 is anomalous for half an hour from noon on; it is one o'clock."""
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 30 + [0.1] * 30)
    monitored_fleet.watch(60)
    return monitored_fleet


@pytest.fixture
def alert_id(raised_alert):
    (alert,) = raised_alert.alerts()
    return alert.id


def test_an_acknowledgement_has_its_user_and_time(raised_alert, alert_id):
    result = acknowledge(raised_alert.workspace, alert_id, by="Ana", now=minutes_after_noon(61))

    assert (result.acknowledged_by, result.acknowledged_at) == ("Ana", minutes_after_noon(61))
    assert find_alert(raised_alert.workspace, alert_id) == result
    assert raised_alert.alert_history(result)[-1] == ("acknowledged", 61)


def test_every_action_is_in_the_audit_with_its_user_and_time(raised_alert, alert_id):
    """Once each, however often it is repeated; changes by time alone are not in the audit."""
    acknowledge(raised_alert.workspace, alert_id, by="Ana", now=minutes_after_noon(61))
    acknowledge(raised_alert.workspace, alert_id, by="Eva", now=minutes_after_noon(62))
    shelve(raised_alert.workspace, alert_id, minutes_after_noon(90), by="Ana", now=minutes_after_noon(63))
    unshelve(raised_alert.workspace, alert_id, by="Rui", now=minutes_after_noon(64))
    for minute in (65, 66):
        set_verdict(
            raised_alert.workspace,
            alert_id,
            AlertVerdict.FALSE,
            by="Rui",
            now=minutes_after_noon(minute),
            note="a test",
        )
    raised_alert.watch(95)

    result = entries(raised_alert.workspace.engine, sensor_id="PT-1")[::-1]

    assert [(entry.at, entry.who, entry.action) for entry in result] == [
        (minutes_after_noon(61), "Ana", "acknowledged"),
        (minutes_after_noon(63), "Ana", "shelved"),
        (minutes_after_noon(64), "Rui", "unshelved"),
        (minutes_after_noon(65), "Rui", "judged"),
    ]
    assert {entry.subject for entry in result} == {f"alert {alert_id}"}
    assert result[-1].detail == {"said": "false: a test"}  # quoted: a stored name


def test_a_second_acknowledgement_changes_nothing(raised_alert, alert_id):
    acknowledge(raised_alert.workspace, alert_id, by="Ana", now=minutes_after_noon(61))
    result = acknowledge(raised_alert.workspace, alert_id, by="Rui", now=minutes_after_noon(62))

    assert result.acknowledged_by == "Ana"
    assert [change for change, _ in raised_alert.alert_history(result)].count("acknowledged") == 1


def test_an_acknowledged_alert_that_returned_is_closed_after_an_hour_and_not_listed(raised_alert, alert_id):
    acknowledge(raised_alert.workspace, alert_id, by="Ana", now=minutes_after_noon(61))
    raised_alert.watch(95)

    assert find_alert(raised_alert.workspace, alert_id).state is AlertState.CLOSED
    assert [
        a.topic.type for a in list_alerts(raised_alert.workspace) if a.topic.type is AlertType.ANOMALY
    ] == []
    assert alert_id in [a.id for a in list_alerts(raised_alert.workspace, alive=False)]


def test_a_closed_alert_can_be_judged_but_no_longer_acknowledged(raised_alert, alert_id):
    acknowledge(raised_alert.workspace, alert_id, by="Ana", now=minutes_after_noon(61))
    raised_alert.watch(95)

    with pytest.raises(ConfigurationError, match="was closed at 2026-03-01 13:35 UTC"):
        acknowledge(raised_alert.workspace, alert_id, by="Ana", now=minutes_after_noon(96))
    assert (
        set_verdict(
            raised_alert.workspace, alert_id, AlertVerdict.CONFIRM, by="Ana", now=minutes_after_noon(96)
        ).verdict
        == "confirm"
    )


def test_shelving_always_ends(raised_alert, alert_id):
    with pytest.raises(ConfigurationError, match="the latest end is 2026-03-02 01:01 UTC, 12 h from now"):
        shelve(
            raised_alert.workspace,
            alert_id,
            minutes_after_noon(61 + 13 * 60),
            by="Ana",
            now=minutes_after_noon(61),
        )
    with pytest.raises(ConfigurationError, match="cannot be shelved until"):
        shelve(raised_alert.workspace, alert_id, minutes_after_noon(60), by="Ana", now=minutes_after_noon(61))

    shelve(raised_alert.workspace, alert_id, minutes_after_noon(90), by="Ana", now=minutes_after_noon(61))
    raised_alert.watch(90)

    assert find_alert(raised_alert.workspace, alert_id).shelved_until is None
    assert raised_alert.alert_history(find_alert(raised_alert.workspace, alert_id))[-2:] == [
        ("shelved", 61),
        ("unshelved", 90),
    ]


def test_shelving_can_end_early(raised_alert, alert_id):
    shelve(raised_alert.workspace, alert_id, minutes_after_noon(90), by="Ana", now=minutes_after_noon(61))

    assert (
        unshelve(raised_alert.workspace, alert_id, by="Rui", now=minutes_after_noon(62)).shelved_until is None
    )
    with pytest.raises(ConfigurationError, match="not shelved"):
        unshelve(raised_alert.workspace, alert_id, by="Rui", now=minutes_after_noon(63))


@pytest.mark.parametrize(
    ("verdict", "anomalous"), [(AlertVerdict.CONFIRM, True), (AlertVerdict.FALSE, False)]
)
def test_a_verdict_becomes_a_label_of_the_anomalous_readings(raised_alert, alert_id, verdict, anomalous):
    set_verdict(raised_alert.workspace, alert_id, verdict, by="Ana", now=minutes_after_noon(61))

    (label,) = raised_alert.workspace.labels.of("PT-1")
    assert (label.start, label.end, label.anomalous) == (
        minutes_after_noon(0),
        minutes_after_noon(29),
        anomalous,
    )
    assert label.source == f"alert {alert_id}"


def test_a_changed_verdict_changes_the_label(raised_alert, alert_id):
    set_verdict(raised_alert.workspace, alert_id, AlertVerdict.CONFIRM, by="Ana", now=minutes_after_noon(61))
    set_verdict(
        raised_alert.workspace,
        alert_id,
        AlertVerdict.MAINTENANCE,
        by="Ana",
        now=minutes_after_noon(62),
        note="new gasket",
    )
    (work,) = list_maintenance(raised_alert.workspace)
    set_verdict(raised_alert.workspace, alert_id, AlertVerdict.FALSE, by="Rui", now=minutes_after_noon(63))

    assert (work.sensor_id, work.start, work.reason) == ("PT-1", minutes_after_noon(0), "new gasket")
    assert work.end > minutes_after_noon(29)
    assert [label.anomalous for label in raised_alert.workspace.labels.of("PT-1")] == [False]
    assert list_maintenance(raised_alert.workspace) == []


def test_the_label_grows_with_an_episode_that_continues(raised_alert, alert_id):
    set_verdict(raised_alert.workspace, alert_id, AlertVerdict.CONFIRM, by="Ana", now=minutes_after_noon(61))
    raised_alert.read("PT-1", 60, noisy_values(20, seed=8))
    raised_alert.score("PT-1", 60, [0.7] * 20)
    raised_alert.watch(80)

    assert [label.end for label in raised_alert.workspace.labels.of("PT-1")] == [minutes_after_noon(79)]


def test_a_verdict_acknowledges_the_alert(raised_alert, alert_id):
    result = set_verdict(
        raised_alert.workspace, alert_id, AlertVerdict.FALSE, by="Ana", now=minutes_after_noon(61)
    )

    assert result.acknowledged_by == "Ana"
    assert result.waiting_since is None


def test_an_unknown_alert_is_named(raised_alert):
    with pytest.raises(ConfigurationError, match="no alert 999"):
        acknowledge(raised_alert.workspace, 999, by="Ana", now=minutes_after_noon(61))


def test_alerts_are_listed_by_severity(raised_alert):
    raised_alert.score("PT-2", 60, [0.7] * 10)
    raised_alert.score("TT-1", 60, [0.9] * 10)
    raised_alert.watch(70)

    listed = [a.topic.sensor_id for a in list_alerts(raised_alert.workspace, kinds=[AlertType.ANOMALY])]

    assert listed == ["TT-1", "PT-2", "PT-1"]
    assert [a.topic.sensor_id for a in list_alerts(raised_alert.workspace, ["PT-2"], limit=1)] == ["PT-2"]


def test_an_alert_as_json_is_flat_and_in_utc(raised_alert, alert_id):
    content = alert_to_dict(find_alert(raised_alert.workspace, alert_id))

    assert content["sensor_id"] == "PT-1"
    assert content["began_at"] == "2026-03-01T12:00:00Z"
    assert (content["score"], content["reason"], content["verdict"]) == (0.7, "unusual", None)
    assert not {"topic", "evidence"} & set(content)


@pytest.mark.parametrize("note", [None, "valve 3: closed"])
def test_the_event_of_a_verdict_has_the_verdict_and_its_note(raised_alert, alert_id, note):
    set_verdict(
        raised_alert.workspace, alert_id, AlertVerdict.FALSE, by="Ana", now=minutes_after_noon(61), note=note
    )

    event = alert_history(raised_alert.workspace, alert_id)[-1]

    assert verdict_and_note(event) == (AlertVerdict.FALSE, note or "")
