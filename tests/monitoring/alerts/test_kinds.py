"""Kinds of alerts: enums from the table to the reader, with a name in every language."""

import pytest

from monitoring.alerts.kinds import (
    AlertChange,
    AlertState,
    AlertType,
    AlertVerdict,
    InstrumentProblem,
    Severity,
    problem_name,
    severity_name,
    state_name,
    type_name,
    verdict_name,
)
from monitoring.i18n.translation import ENGLISH, Translator, available_languages
from monitoring.notify.message import change_name
from monitoring.watch.operator_actions import alert_history, set_verdict
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.storage.alert_verdicts import CONFIRMED, FALSE

NAMES = [
    (type_name, AlertType),
    (severity_name, Severity),
    (state_name, AlertState),
    (change_name, AlertChange),
    (verdict_name, AlertVerdict),
    (problem_name, InstrumentProblem),
]


@pytest.mark.parametrize(("name", "members"), NAMES)
def test_every_member_has_its_own_name_in_every_language(name, members):
    for language in available_languages():
        names = [name(Translator(language), member) for member in members]
        assert len(set(names)) == len(members)
        if language != ENGLISH:
            english = [name(Translator(), member) for member in members]
            assert set(names).isdisjoint(english)


def test_stored_alerts_and_changes_have_enums(monitored_fleet):
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 60)
    monitored_fleet.watch(60, "PT-1")
    (raised,) = monitored_fleet.alerts("PT-1")

    set_verdict(
        monitored_fleet.workspace, raised.id, AlertVerdict.CONFIRM, by="Ana", now=minutes_after_noon(61)
    )

    (alert,) = monitored_fleet.alerts("PT-1")
    assert alert.topic.type is AlertType.ANOMALY
    assert alert.severity is Severity.WARNING
    assert alert.state is AlertState.OPEN
    assert alert.verdict is AlertVerdict.CONFIRM
    changes = [event.change for event in alert_history(monitored_fleet.workspace, alert.id)]
    assert changes[0] is AlertChange.OPENED
    assert changes[-1] is AlertChange.JUDGED


def test_training_counts_the_stored_values_of_verdicts():
    assert AlertVerdict(CONFIRMED) is AlertVerdict.CONFIRM
    assert AlertVerdict(FALSE) is AlertVerdict.FALSE
