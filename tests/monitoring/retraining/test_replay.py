"""The past told again: the same scores to the last digit, the alerts, and the events each had caught."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitoring.cli.schedule_commands import replay as command
from monitoring.retraining import challenger_promotion, need
from monitoring.retraining.challenger_promotion import settle
from monitoring.retraining.need import SETTLING, need_of, needs_of, retrain
from monitoring.retraining.replay import replay, versions_named
from serving.batch import detect_fleet
from serving.predictions.store import PredictionStore
from tests.plant import at, readings, send
from training.errors import ConfigurationError, DataError
from training.kinds import Kind, Promotion
from training.pipeline.fleet import train_fleet
from training.registry.audit import deeds
from training.registry.model_registry import CHALLENGER, CHAMPION
from training.storage.labels import Label

START, FAULT, END = at("2026-01-09T08:00"), at("2026-01-10T06:00"), at("2026-01-12")
NOW = END


@pytest.fixture
def past(workspace, plan, learning):
    """PT-1, trained until START, with thirty units too much for eight hours of what came since."""
    send(workspace)
    train_fleet(workspace, workspace.fleet.match(), [Kind.DETECTOR], plan, jobs=1)
    came = readings(rows=64, start=START, seed=5)
    first = int((FAULT - START) / timedelta(hours=1))
    came.loc[first : first + 7, "value"] += 30
    workspace.readings.ingest(came)
    return workspace


def sensor(workspace):
    return workspace.fleet.sensor("PT-1")


def told(workspace, start=START, end=END):
    return replay(workspace, sensor(workspace), versions_named(workspace, sensor(workspace)), start, end)


def confirm(workspace, *, anomalous=True, first=FAULT, hours=7):
    workspace.labels.add([Label("PT-1", first, first + timedelta(hours=hours), anomalous)])


def second(workspace, plan):
    """A challenger of the same readings."""
    waiting = replace(plan, promotion=Promotion.MANUAL)
    sensors = workspace.fleet.match()
    (outcome,) = train_fleet(workspace, sensors, [Kind.DETECTOR], waiting, jobs=1, fresh=True)
    return outcome


def test_scores_are_those_that_were_stored(past):
    detect_fleet(past, past.fleet.match(), since=START)
    stored = PredictionStore(past.engine).scores("PT-1", START, END)

    (found,) = told(past)

    assert found.stored == len(stored) == 64
    assert found.apart == 0
    assert np.array_equal(found.scores["anomaly_score"], stored["anomaly_score"])


def test_alerts_that_would_have_been_raised_and_events_that_would_have_been_caught(past):
    (plain,) = told(past)
    quiet = plain.scores.set_index("timestamp")["anomaly_score"][:FAULT].idxmin().to_pydatetime()
    confirm(past)
    confirm(past, first=quiet, hours=0)

    (found,) = told(past)

    assert max(alert.severity for alert in found.alerts) == 3
    assert found.calls >= len(found.alerts) > 0
    assert [label.start for label in found.caught] == [FAULT]
    assert (found.summary()["confirmed"], found.summary()["caught"]) == (2, 1)
    assert found.as_dict()["missed"] == [{"start": quiet, "end": quiet}]


def test_nothing_is_kept_of_a_replay(past):
    told(past)

    assert PredictionStore(past.engine).by_sensor("PT-1").empty


def test_a_stretch_without_readings_and_a_forecaster_are_refused(past, plan, learning):
    with pytest.raises(DataError, match="no good reading from 2027-01-01"):
        told(past, at("2027-01-01"), at("2027-01-02"))
    train_fleet(past, past.fleet.match(), [Kind.FORECASTER], plan, jobs=1)
    forecaster = past.registry.champion("PT-1", Kind.FORECASTER)
    with pytest.raises(ConfigurationError, match="is a forecaster"):
        replay(past, sensor(past), [forecaster], START, END)


def test_the_command_prints_every_version(past, plan, capsys):
    second(past, plan)

    command("PT-1", start=START, end=END, versions=[1, 2], as_json=True)

    found = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["readings"]) for one in found["versions"]] == [(1, 64), (2, 64)]
    assert len(found["versions"][0]["scores"]) == 64
    command("PT-1", start=START, end=END, versions=None, as_json=False)
    assert "champion" in capsys.readouterr().out


def test_a_challenger_that_is_as_good_follows_the_champion(past, plan):
    second(past, plan)

    outcome = settle(past, sensor(past), mode=Promotion.MANAGED, past=timedelta(days=3), now=NOW)

    champion = past.registry.champion("PT-1", Kind.DETECTOR)
    assert (outcome.status, champion.number) == ("promoted", 2)
    assert champion.tags["replay"].startswith("as good: version 2 would have called ")
    assert deeds(past.engine)[0].who.endswith("by gate and replay")
    assert settle(past, sensor(past), mode=Promotion.MANAGED, past=timedelta(days=3), now=NOW) is None


def test_in_manual_mode_it_waits_with_what_the_replay_said(past, plan):
    second(past, plan)

    outcome = settle(past, sensor(past), mode=Promotion.MANUAL, past=timedelta(days=3), now=NOW)

    assert (outcome.status, outcome.alias) == ("waiting", CHALLENGER)
    assert "as good" in past.registry.find("PT-1", Kind.DETECTOR, CHALLENGER).tags["replay"]


@pytest.mark.parametrize("anomalous", [True, False])
def test_one_that_misses_what_was_confirmed_or_raises_what_was_false_waits(
    past, plan, monkeypatch, anomalous
):
    """The deaf version is the champion where the alarm was false, the challenger where it was right."""
    second(past, plan)
    confirm(past, anomalous=anomalous)
    deaf = "2" if anomalous else "1"
    real = challenger_promotion.replay

    def half_deaf(workspace, sensor, versions, start, end):
        found = real(workspace, sensor, versions, start, end)
        return [
            one
            if str(one.version) != deaf
            else one.__class__(**{**vars(one), "alerts": (), "caught": (), "raised": ()})
            for one in found
        ]

    monkeypatch.setattr(challenger_promotion, "replay", half_deaf)
    outcome = settle(past, sensor(past), mode=Promotion.MANAGED, past=timedelta(days=3), now=NOW)

    assert outcome.status == "waiting"
    assert outcome.detail["replay"].startswith("worse: ")
    assert past.registry.champion("PT-1", Kind.DETECTOR).number == 1


@pytest.fixture
def night(past, monkeypatch):
    """The same, with a gate that lets all pass and learning in this process."""
    monkeypatch.setenv("SAFEPLAN_GATE_MAX_RECALL_LOSS", "1")
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "-9")
    monkeypatch.setattr("monitoring.retraining.need.os.cpu_count", lambda: 1)
    return past


@pytest.mark.usefixtures("night")
def test_the_night_replays_before_it_promotes(past):
    confirm(past)

    outcomes = {one.kind: one for one in retrain(past, past.fleet.match(()), now=NOW)}

    assert outcomes[Kind.DETECTOR].detail["replay"].startswith("as good")
    assert past.registry.champion("PT-1", Kind.DETECTOR).number == 2
    assert past.registry.noted(SETTLING) == []
    assert needs_of(past, past.fleet.match(()), now=NOW) == []


@pytest.mark.usefixtures("night")
def test_a_replay_that_was_cut_off_is_done_the_next_night(past, monkeypatch):
    confirm(past)
    monkeypatch.setattr(challenger_promotion, "replay", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        retrain(past, past.fleet.match(()), now=NOW)
    assert past.registry.aliases("pt-1-detector") == {CHAMPION: 1, CHALLENGER: 2}
    monkeypatch.setattr(challenger_promotion, "replay", replay)

    retrain(past, past.fleet.match(()), now=NOW + timedelta(days=1))

    assert past.registry.champion("PT-1", Kind.DETECTOR).number == 2


def test_forecasts_that_miss_by_more_than_was_promised_are_a_reason(past, plan, learning):
    train_fleet(past, past.fleet.match(), [Kind.FORECASTER], plan, jobs=1)
    champion = past.registry.champion("PT-1", Kind.FORECASTER)
    promised = past.tracker.metrics(champion.run_id)["mae"]
    learned = at(champion.tags["train_end"].removesuffix("Z"))
    came = readings(rows=40, start=learned + timedelta(hours=1), seed=6)
    past.readings.ingest(came)
    frame = came.assign(
        origin=learned + timedelta(minutes=1),
        predicted_value=came["value"] + 3 * promised,
        model_version=str(champion.number),
    ).drop(columns="value")
    PredictionStore(past.engine).save_forecasts(frame, made_at=learned)

    found = needs_of(past, past.fleet.match(()), now=learned + timedelta(hours=41))

    (forecaster,) = (need for need in found if need.kind is Kind.FORECASTER)
    assert forecaster.reasons == ("forecast error 3.0 times that of its training",)


def test_the_worse_a_forecaster_became_the_sooner_it_is_learned():
    weights = [
        need_of(
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
    assert weights[2].weight > need.DRIFTED
