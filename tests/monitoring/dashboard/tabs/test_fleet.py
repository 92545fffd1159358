"""Concerns of the overview in words."""

from monitoring.dashboard.fleet_view import Concern, ConcernTopic
from monitoring.dashboard.tabs.fleet import concern_text
from monitoring.i18n.translation import Translator
from training.data.sensors import Sensor
from training.kinds import Kind
from training.reasons import Reason, ReasonCode

SENSOR = Sensor(id="PT-1", unit="bar")


def test_the_figures_of_the_gate_have_no_unit():
    skill = Reason(ReasonCode.GATE_SKILL, {"skill": -0.14})
    concern = Concern(1, ConcernTopic.DECISION, "PT-1", reasons=(skill,), kind=Kind.FORECASTER)

    text = concern_text(Translator(), concern, SENSOR)

    assert "skill -0.14 over" in text
    assert "bar" not in text


def test_a_reading_has_the_unit_of_its_sensor():
    level = Reason(ReasonCode.LEVEL_ABOVE, {"value": 30.0, "size": 9.0, "normal": 20.0})
    concern = Concern(2, ConcernTopic.ANOMALY, "PT-1", reasons=(level,))

    assert "value 30 bar" in concern_text(Translator(), concern, SENSOR)


def test_a_reason_stored_by_an_older_version_is_shown_as_it_is():
    concern = Concern(2, ConcernTopic.ANOMALY, "PT-1", text="level 30 is far above the usual 20")

    assert concern_text(Translator("pt"), concern, SENSOR) == "level 30 is far above the usual 20"
