"""What was written down in English is told in the reader's words; everything that is written, is known."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring.alerts.alert import AlertEvidence
from monitoring.alerts.instrument_baseline import ConstantRun, InstrumentHabit
from monitoring.alerts.rules import ForecastRules, InstrumentRules
from monitoring.drift.kinds import ADVICE, AGED_ADVICE
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from monitoring.watch.forecast_conditions import HIGH, LOW, StoredForecast, crossing_conditions
from monitoring.watch.instrument_conditions import (
    Reading,
    bad_quality_conditions,
    frozen_conditions,
    no_data_conditions,
    range_conditions,
)
from tests.support.workspaces import make_readings, parse_time
from training.anomaly.detector import AnomalyDetector
from training.data.sensors import Sensor
from training.evaluation.gate import GateSettings, evaluate_gate
from training.kinds import Kind
from training.quality.assessment import QualitySettings, assess_readings

NOON = parse_time("2026-03-01T12:00")
HOUR = timedelta(hours=1)
PT1 = Sensor(id="PT-1", unit="m3/h", low=0, high=1200.5, critical_low=1, critical_high=1100)


def words(text):
    """As it is read in Portuguese, with ordinary blanks."""
    return translate_reason(Translator("pt", "America/Sao_Paulo"), text).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "level 1,020.5 is over 100 robust sd above the usual 12",
            "1.020,5 está mais de 100 desvios habituais acima do habitual, 12",
        ),
        ("-0.5 m3/h is beyond the range, which ends at 0", "-0,5 m3/h está além da faixa, que termina em 0"),
        (
            "nothing came since 2026-03-01 12:00 UTC; it speaks every 1.5 h",
            "nada chega desde 01/03/2026 09:00; de hábito chega uma leitura a cada 1,5 h",
        ),
        (
            "12 alerts at once (a flood is 10 in 10 min); the first was PT-1.5 at 2026-03-01 12:00 UTC: "
            "8 bar came marked as bad",
            "12 alertas de uma vez; o primeiro foi PT-1.5 em 01/03/2026 09:00: "
            "8 bar chegou marcado como ruim",
        ),
        (
            "level moved by +2.5 bar (3.1 sd); so did PT-2, PT-3 of P-48 "
            "Look at the process; retrain once this is the new normal.",
            "o nível mudou +2,5 bar (3,1 desvios habituais); o mesmo fizeram PT-2, PT-3 de P-48 "
            "Observe o processo; treine de novo quando este for o novo normal.",
        ),
        ("what nobody has foreseen 1.5", "what nobody has foreseen 1.5"),
        ("", ""),
    ],
)
def test_a_sentence_is_told_with_the_numbers_and_the_clock_of_its_reader(written, reported):
    assert words(written) == reported


def test_a_reader_of_english_meets_no_robust_sd():
    reported = translate_reason(Translator("en"), "the last 8 readings scatter 3.4 robust sd less than usual")

    assert reported == "the last 8 readings scatter less than usual, by 3.4 usual deviations"


def unknown(texts):
    """Those that stay as they were written."""
    return [text for text in texts if text and words(text) == text]


def test_whatever_a_detector_writes_is_known():
    """A course with every sort of fault in it, judged by what learned it without."""
    learned = make_readings(rows=600).set_index("timestamp")["value"]
    odd = make_readings(rows=400, start=parse_time("2026-02-01"), seed=3)["value"].to_numpy().copy()
    rng = np.random.default_rng(0)
    odd[30:60] = odd[30]
    odd[80] += 400
    odd[120:150] += np.linspace(0, 9, 30)
    odd[180:220] += rng.normal(0, 4, 40)
    odd[240:280] = 20 + rng.normal(0, 0.1, 40)
    odd[300:] -= 6
    series = pd.Series(odd, index=pd.date_range("2026-02-01", periods=len(odd), freq="h"))

    said = set(AnomalyDetector().fit(learned).detect(series, history=learned)["reason"])

    assert len({text.split()[0] for text in said if text}) > 3
    assert unknown(said) == []


def reasons(signs):
    return [sign.evidence.reason for sign in signs if sign.evidence != AlertEvidence()]


def test_whatever_signs_say_is_known():
    habit = InstrumentHabit(NOON.date(), HOUR, still=2, size=10.0, least=0.0, most=90.0)
    standing = ConstantRun(12.25, NOON - 40 * HOUR, 41)
    stands = [Reading(NOON, 12.25, good=True)]
    ahead = StoredForecast(NOON, 20.0, [NOON + HOUR], [1150.0], [1140.0], [1160.0], "1")
    below = replace(ahead, expected=[-9.0], lower=[-12.0], upper=[-5.0])
    beyond = (replace(ahead, value=1150.5), replace(ahead, value=0.5))
    said = [
        *reasons(frozen_conditions(stands, [standing], [habit], {}, PT1, InstrumentRules())),
        *reasons(range_conditions([Reading(NOON, 1500.5, good=True)], PT1, InstrumentRules())),
        *reasons(bad_quality_conditions([Reading(NOON, 5.0, good=False)], PT1)),
        *reasons(no_data_conditions(NOON, [], HOUR, InstrumentRules(), now=NOON + 9 * HOUR)),
        *reasons(crossing_conditions([ahead, beyond[0]], PT1, HIGH, ForecastRules(), width=0.95)),
        *reasons(crossing_conditions([below, beyond[1]], PT1, LOW, ForecastRules(), width=0.95)),
    ]

    assert len(said) == 8
    assert unknown(said) == []


def test_whatever_the_gate_says_is_known():
    forecaster = {"skill": 0.2, "coverage": 0.93, "mae": 1.25}
    detector = {
        "false_alarms_per_day": 0.4, "alarm_budget_per_day": 1.0, "judged_days": 10, "recall_mean": 0.9,
        "naive_recall_mean": 0.5, "verdicts_confirmed": 2, "verdicts_confirmed_caught": 2,
        "verdicts_false": 3, "verdicts_false_raised": 1, "alarms_confirmed": 2, "alarms_false": 3,
    }  # fmt: skip
    without = {name: value for name, value in detector.items() if not name.startswith("alarms_")}
    verdicts = [
        evaluate_gate(kind, mine, champion, GateSettings())
        for kind, mine, champion in (
            (Kind.FORECASTER, forecaster, None),
            (Kind.FORECASTER, forecaster, forecaster),
            (Kind.FORECASTER, {**forecaster, "skill": -0.1}, None),
            (Kind.DETECTOR, detector, None),
            (Kind.DETECTOR, detector, detector),
            (Kind.DETECTOR, without, without),
        )
    ]

    assert unknown(reason for verdict in verdicts for reason in verdict.reasons) == []
    assert words(str(verdicts[0])).startswith("aprovado: ganho +0,200 sobre a previsão ingênua; 93 %")


def test_whatever_is_found_wrong_with_readings_is_known():
    frame = make_readings(rows=500).assign(data_quality=0)
    frame.loc[100:160, "value"] = 17.0
    frame.loc[200, "value"] = 900.0
    frame.loc[250:255, "data_quality"] = 1
    frame = frame.drop(index=range(300, 340))

    said = assess_readings(frame, Sensor(id="PT-1", unit="bar", high=100.0), QualitySettings()).reasons

    assert len(said) >= 4
    assert unknown(said) == []


def test_advice_is_known():
    assert unknown([*ADVICE.values(), AGED_ADVICE]) == []
