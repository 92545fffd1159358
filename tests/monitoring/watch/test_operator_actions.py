"""Answers: what people do about an alert is kept with what it teaches and whom it tells, or not at all."""

import pytest

from monitoring.alerts.kinds import AlertType, Judgement, State
from monitoring.alerts.maintenance import works
from monitoring.watch.operator_actions import (
    acknowledge,
    as_dict,
    find_alert,
    judge,
    list_alerts,
    shelve,
    unshelve,
)
from tests.watched import moment, wander
from training.errors import ConfigurationError
from training.registry.audit import deeds


@pytest.fixture
def raised(watched):
    """PT-1 is odd from noon on, for half an hour; it is one o'clock."""
    for name in ("PT-1", "PT-2", "TT-1"):
        watched.read(name, 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 30 + [0.1] * 30)
    watched.watch(60)
    return watched


@pytest.fixture
def alert_id(raised):
    (alert,) = raised.alerts()
    return alert.id


def test_an_acknowledged_alert_says_by_whom_and_when(raised, alert_id):
    found = acknowledge(raised.workspace, alert_id, by="Ana", now=moment(61))

    assert (found.acknowledged_by, found.acknowledged_at) == ("Ana", moment(61))
    assert find_alert(raised.workspace, alert_id) == found
    assert raised.told(found)[-1] == ("acknowledged", 61)


def test_every_answer_is_in_the_audit_with_who_and_when(raised, alert_id):
    """Once each, however often it is given; what time alone does is nobody's deed."""
    acknowledge(raised.workspace, alert_id, by="Ana", now=moment(61))
    acknowledge(raised.workspace, alert_id, by="Eva", now=moment(62))
    shelve(raised.workspace, alert_id, moment(90), by="Ana", now=moment(63))
    unshelve(raised.workspace, alert_id, by="Rui", now=moment(64))
    for minute in (65, 66):
        judge(raised.workspace, alert_id, Judgement.FALSE, by="Rui", now=moment(minute), note="a test")
    raised.watch(95)

    found = deeds(raised.workspace.engine, sensor_id="PT-1")[::-1]

    assert [(one.at, one.who, one.action) for one in found] == [
        (moment(61), "Ana", "acknowledged"),
        (moment(63), "Ana", "shelved"),
        (moment(64), "Rui", "unshelved"),
        (moment(65), "Rui", "judged"),
    ]
    assert {one.subject for one in found} == {f"alert {alert_id}"}
    assert found[-1].detail == {"said": "false: a test"}


def test_acknowledging_twice_is_once(raised, alert_id):
    acknowledge(raised.workspace, alert_id, by="Ana", now=moment(61))
    found = acknowledge(raised.workspace, alert_id, by="Rui", now=moment(62))

    assert found.acknowledged_by == "Ana"
    assert [change for change, _ in raised.told(found)].count("acknowledged") == 1


def test_an_acknowledged_alert_that_returned_is_closed_after_an_hour_and_not_listed(raised, alert_id):
    acknowledge(raised.workspace, alert_id, by="Ana", now=moment(61))
    raised.watch(95)

    assert find_alert(raised.workspace, alert_id).state is State.CLOSED
    assert [a.topic.type for a in list_alerts(raised.workspace) if a.topic.type is AlertType.ANOMALY] == []
    assert alert_id in [a.id for a in list_alerts(raised.workspace, alive=False)]


def test_a_closed_alert_can_be_judged_but_no_longer_acknowledged(raised, alert_id):
    acknowledge(raised.workspace, alert_id, by="Ana", now=moment(61))
    raised.watch(95)

    with pytest.raises(ConfigurationError, match="was closed at 2026-03-01 13:35 UTC"):
        acknowledge(raised.workspace, alert_id, by="Ana", now=moment(96))
    assert judge(raised.workspace, alert_id, Judgement.CONFIRM, by="Ana", now=moment(96)).verdict == "confirm"


def test_shelving_always_ends(raised, alert_id):
    with pytest.raises(ConfigurationError, match="at most 12 h from now on"):
        shelve(raised.workspace, alert_id, moment(61 + 13 * 60), by="Ana", now=moment(61))
    with pytest.raises(ConfigurationError, match="cannot be shelved until"):
        shelve(raised.workspace, alert_id, moment(60), by="Ana", now=moment(61))

    shelve(raised.workspace, alert_id, moment(90), by="Ana", now=moment(61))
    raised.watch(90)

    assert find_alert(raised.workspace, alert_id).shelved_until is None
    assert raised.told(find_alert(raised.workspace, alert_id))[-2:] == [("shelved", 61), ("unshelved", 90)]


def test_what_is_taken_off_the_shelf_early_is_told_again(raised, alert_id):
    shelve(raised.workspace, alert_id, moment(90), by="Ana", now=moment(61))

    assert unshelve(raised.workspace, alert_id, by="Rui", now=moment(62)).shelved_until is None
    with pytest.raises(ConfigurationError, match="not shelved"):
        unshelve(raised.workspace, alert_id, by="Rui", now=moment(63))


@pytest.mark.parametrize(("verdict", "anomalous"), [(Judgement.CONFIRM, True), (Judgement.FALSE, False)])
def test_a_verdict_becomes_a_label_of_the_odd_readings(raised, alert_id, verdict, anomalous):
    judge(raised.workspace, alert_id, verdict, by="Ana", now=moment(61))

    (label,) = raised.workspace.labels.of("PT-1")
    assert (label.start, label.end, label.anomalous) == (moment(0), moment(29), anomalous)
    assert label.source == f"alert {alert_id}"


def test_who_changes_a_verdict_changes_the_label(raised, alert_id):
    judge(raised.workspace, alert_id, Judgement.CONFIRM, by="Ana", now=moment(61))
    judge(raised.workspace, alert_id, Judgement.MAINTENANCE, by="Ana", now=moment(62), note="new gasket")
    (work,) = works(raised.workspace)
    judge(raised.workspace, alert_id, Judgement.FALSE, by="Rui", now=moment(63))

    assert (work.sensor_id, work.start, work.reason) == ("PT-1", moment(0), "new gasket")
    assert work.end > moment(29)
    assert [label.anomalous for label in raised.workspace.labels.of("PT-1")] == [False]
    assert works(raised.workspace) == []


def test_the_label_grows_with_an_episode_that_goes_on(raised, alert_id):
    judge(raised.workspace, alert_id, Judgement.CONFIRM, by="Ana", now=moment(61))
    raised.read("PT-1", 60, wander(20, seed=8))
    raised.score("PT-1", 60, [0.7] * 20)
    raised.watch(80)

    assert [label.end for label in raised.workspace.labels.of("PT-1")] == [moment(79)]


def test_who_judges_has_seen_it(raised, alert_id):
    found = judge(raised.workspace, alert_id, Judgement.FALSE, by="Ana", now=moment(61))

    assert found.acknowledged_by == "Ana"
    assert found.waiting_since is None


def test_an_alert_that_does_not_exist_is_named(raised):
    with pytest.raises(ConfigurationError, match="no alert 999"):
        acknowledge(raised.workspace, 999, by="Ana", now=moment(61))


def test_alerts_are_listed_the_worst_first(raised):
    raised.score("PT-2", 60, [0.7] * 10)
    raised.score("TT-1", 60, [0.9] * 10)
    raised.watch(70)

    listed = [a.topic.sensor_id for a in list_alerts(raised.workspace, kinds=[AlertType.ANOMALY])]

    assert listed == ["TT-1", "PT-2", "PT-1"]
    assert [a.topic.sensor_id for a in list_alerts(raised.workspace, ["PT-2"], limit=1)] == ["PT-2"]


def test_an_alert_as_json_is_flat_and_says_utc(raised, alert_id):
    said = as_dict(find_alert(raised.workspace, alert_id))

    assert said["sensor_id"] == "PT-1"
    assert said["began_at"] == "2026-03-01T12:00:00Z"
    assert (said["score"], said["reason"], said["verdict"]) == (0.7, "odd", None)
    assert not {"topic", "evidence"} & set(said)
