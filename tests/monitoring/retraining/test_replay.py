"""Replay of the past: identical scores, alerts, confirmed events found; promotion after a replay."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitoring.cli.schedule_commands import replay as command
from monitoring.retraining import challenger_promotion, need
from monitoring.retraining.challenger_promotion import decide_promotion
from monitoring.retraining.need import PENDING_PROMOTION_TAG, assess_need, rank_needs, retrain
from monitoring.retraining.replay import find_versions, replay
from serving.batch import detect_fleet
from serving.predictions.store import PredictionStore
from tests.support.workspaces import ingest_readings, make_readings, parse_time
from training.errors import ConfigurationError, DataError
from training.kinds import Kind, Promotion
from training.pipeline.fleet import train_fleet
from training.reasons import ReasonCode, load_reasons, render_all
from training.registry.audit import entries
from training.registry.model_registry import CHALLENGER, CHAMPION
from training.storage.labels import Label

START, FAULT, END = parse_time("2026-01-09T08:00"), parse_time("2026-01-10T06:00"), parse_time("2026-01-12")
NOW = END


@pytest.fixture
def faulty_workspace(workspace, plan, training_stub):
    """PT-1, trained until START, with readings 30 too high for eight hours since."""
    ingest_readings(workspace)
    train_fleet(workspace, workspace.fleet.match(), [Kind.DETECTOR], plan, jobs=1)
    later = make_readings(rows=64, start=START, seed=5)
    first = int((FAULT - START) / timedelta(hours=1))
    later.loc[first : first + 7, "value"] += 30
    workspace.readings.ingest(later)
    return workspace


def sensor(workspace):
    return workspace.fleet.sensor("PT-1")


def replayed(workspace, start=START, end=END):
    return replay(workspace, sensor(workspace), find_versions(workspace, sensor(workspace)), start, end)


def confirm(workspace, *, anomalous=True, first=FAULT, hours=7):
    workspace.labels.add([Label("PT-1", first, first + timedelta(hours=hours), anomalous)])


def second(workspace, plan):
    """A challenger of the same readings."""
    waiting = replace(plan, promotion=Promotion.MANUAL)
    sensors = workspace.fleet.match()
    (outcome,) = train_fleet(workspace, sensors, [Kind.DETECTOR], waiting, jobs=1, fresh=True)
    return outcome


def test_replayed_scores_are_identical_to_stored_ones(faulty_workspace):
    detect_fleet(faulty_workspace, faulty_workspace.fleet.match(), since=START)
    stored = PredictionStore(faulty_workspace.engine).scores("PT-1", START, END)

    (result,) = replayed(faulty_workspace)

    assert result.scored_live == len(stored) == 64
    assert result.max_score_difference == 0
    assert np.array_equal(result.scores["anomaly_score"], stored["anomaly_score"])


def test_a_replay_has_the_alerts_and_the_confirmed_events_they_find(faulty_workspace):
    (plain,) = replayed(faulty_workspace)
    quiet = plain.scores.set_index("timestamp")["anomaly_score"][:FAULT].idxmin().to_pydatetime()
    confirm(faulty_workspace)
    confirm(faulty_workspace, first=quiet, hours=0)

    (result,) = replayed(faulty_workspace)

    assert max(alert.severity for alert in result.alerts) == 3
    assert result.alert_count >= len(result.alerts) > 0
    assert [label.start for label in result.caught] == [FAULT]
    assert (result.summary()["confirmed"], result.summary()["caught"]) == (2, 1)
    assert result.as_dict()["missed"] == [{"start": quiet, "end": quiet}]


def test_a_replay_stores_nothing(faulty_workspace):
    replayed(faulty_workspace)

    assert PredictionStore(faulty_workspace.engine).by_sensor("PT-1").empty


def test_a_period_without_readings_and_a_forecaster_are_refused(faulty_workspace, plan, training_stub):
    with pytest.raises(DataError, match="no good reading from 2027-01-01"):
        replayed(faulty_workspace, parse_time("2027-01-01"), parse_time("2027-01-02"))
    train_fleet(faulty_workspace, faulty_workspace.fleet.match(), [Kind.FORECASTER], plan, jobs=1)
    forecaster = faulty_workspace.registry.champion("PT-1", Kind.FORECASTER)
    with pytest.raises(ConfigurationError, match="is a forecaster; only detectors can be replayed"):
        replay(faulty_workspace, sensor(faulty_workspace), [forecaster], START, END)


def test_the_command_prints_every_version(faulty_workspace, plan, capsys):
    second(faulty_workspace, plan)

    command("PT-1", start=START, end=END, versions=[1, 2], as_json=True)

    result = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["readings"]) for one in result["versions"]] == [(1, 64), (2, 64)]
    assert len(result["versions"][0]["scores"]) == 64
    command("PT-1", start=START, end=END, versions=None, as_json=False)
    assert "champion" in capsys.readouterr().out


def test_a_challenger_that_is_as_good_is_promoted(faulty_workspace, plan):
    second(faulty_workspace, plan)

    outcome = decide_promotion(
        faulty_workspace, sensor(faulty_workspace), mode=Promotion.MANAGED, past=timedelta(days=3), now=NOW
    )

    champion = faulty_workspace.registry.champion("PT-1", Kind.DETECTOR)
    assert (outcome.status, champion.number) == ("promoted", 2)
    assert champion.tags["replay"].startswith("as good as the champion: version 2 raises ")
    assert render_all(load_reasons(champion.tags["replay_reasons"])) == champion.tags["replay"]
    assert entries(faulty_workspace.engine)[0].who.endswith("by gate and replay")
    assert (
        decide_promotion(
            faulty_workspace,
            sensor(faulty_workspace),
            mode=Promotion.MANAGED,
            past=timedelta(days=3),
            now=NOW,
        )
        is None
    )


def test_in_manual_mode_the_challenger_waits_with_its_replay(faulty_workspace, plan):
    second(faulty_workspace, plan)

    outcome = decide_promotion(
        faulty_workspace, sensor(faulty_workspace), mode=Promotion.MANUAL, past=timedelta(days=3), now=NOW
    )

    assert (outcome.status, outcome.alias) == ("waiting", CHALLENGER)
    assert "as good" in faulty_workspace.registry.find("PT-1", Kind.DETECTOR, CHALLENGER).tags["replay"]


@pytest.mark.parametrize("anomalous", [True, False])
def test_a_challenger_that_misses_a_confirmed_or_repeats_a_dismissed_event_waits(
    faulty_workspace, plan, monkeypatch, anomalous
):
    """The version without alerts is the challenger if the event was confirmed, else the champion."""
    second(faulty_workspace, plan)
    confirm(faulty_workspace, anomalous=anomalous)
    muted = "2" if anomalous else "1"
    real = challenger_promotion.replay

    def without_alerts(workspace, sensor, versions, start, end):
        result = real(workspace, sensor, versions, start, end)
        return [
            one
            if str(one.version) != muted
            else one.__class__(**{**vars(one), "alerts": (), "caught": (), "raised": ()})
            for one in result
        ]

    monkeypatch.setattr(challenger_promotion, "replay", without_alerts)
    outcome = decide_promotion(
        faulty_workspace, sensor(faulty_workspace), mode=Promotion.MANAGED, past=timedelta(days=3), now=NOW
    )

    assert outcome.status == "waiting"
    assert outcome.detail["replay"].startswith("worse than the champion: ")
    assert faulty_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1


@pytest.fixture
def nightly_workspace(faulty_workspace, monkeypatch):
    """The same, with a gate that passes everything and training in this process."""
    monkeypatch.setenv("SAFEPLAN_GATE_MAX_RECALL_LOSS", "1")
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_RECALL", "0")
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "-9")
    monkeypatch.setattr("monitoring.retraining.need.os.cpu_count", lambda: 1)
    return faulty_workspace


@pytest.mark.usefixtures("nightly_workspace")
def test_retraining_replays_before_it_promotes(faulty_workspace):
    confirm(faulty_workspace)

    outcomes = {one.kind: one for one in retrain(faulty_workspace, faulty_workspace.fleet.match(()), now=NOW)}

    assert outcomes[Kind.DETECTOR].detail["replay"].startswith("as good")
    assert faulty_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 2
    assert faulty_workspace.registry.models_with_tag(PENDING_PROMOTION_TAG) == []
    assert rank_needs(faulty_workspace, faulty_workspace.fleet.match(()), now=NOW) == []


@pytest.mark.usefixtures("nightly_workspace")
def test_an_interrupted_replay_is_done_the_next_night(faulty_workspace, monkeypatch):
    confirm(faulty_workspace)
    monkeypatch.setattr(challenger_promotion, "replay", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        retrain(faulty_workspace, faulty_workspace.fleet.match(()), now=NOW)
    assert faulty_workspace.registry.aliases("pt-1-detector") == {CHAMPION: 1, CHALLENGER: 2}
    monkeypatch.setattr(challenger_promotion, "replay", replay)

    retrain(faulty_workspace, faulty_workspace.fleet.match(()), now=NOW + timedelta(days=1))

    assert faulty_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 2


def test_forecast_errors_above_those_of_the_training_are_a_reason(faulty_workspace, plan, training_stub):
    train_fleet(faulty_workspace, faulty_workspace.fleet.match(), [Kind.FORECASTER], plan, jobs=1)
    champion = faulty_workspace.registry.champion("PT-1", Kind.FORECASTER)
    error = faulty_workspace.tracker.metrics(champion.run_id)["mae"]
    trained_until = parse_time(champion.tags["train_end"].removesuffix("Z"))
    later = make_readings(rows=40, start=trained_until + timedelta(hours=1), seed=6)
    faulty_workspace.readings.ingest(later)
    frame = later.assign(
        origin=trained_until + timedelta(minutes=1),
        predicted_value=later["value"] + 3 * error,
        model_version=str(champion.number),
    ).drop(columns="value")
    PredictionStore(faulty_workspace.engine).save_forecasts(frame, made_at=trained_until)

    result = rank_needs(
        faulty_workspace, faulty_workspace.fleet.match(()), now=trained_until + timedelta(hours=41)
    )

    (forecaster,) = (need for need in result if need.kind is Kind.FORECASTER)
    assert [one.code for one in forecaster.reasons] == [ReasonCode.RETRAIN_ERROR]
    assert forecaster.reasons[0].values["factor"] == pytest.approx(3)


def test_a_larger_error_growth_has_a_larger_weight():
    weights = [
        assess_need(
            "PT-1",
            Kind.FORECASTER,
            trained_until=NOW,
            drift=None,
            new_labels=0,
            max_age=timedelta(days=30),
            now=NOW,
            error_growth=growth,
        )
        for growth in (1.4, 1.6, 4.0)
    ]

    assert weights[0] is None
    assert weights[1].weight < weights[2].weight
    assert weights[2].weight > need.DRIFT_WEIGHT
