"""Every champion is checked: rows, a run, tags and pages; one sensor's trouble costs the others nothing."""

import json
from datetime import timedelta

import mlflow
import pandas as pd
import pytest

from monitoring.alerts.kinds import AlertType
from monitoring.drift.detection import DriftSettings
from monitoring.drift.fleet import LEASE, check_fleet
from monitoring.drift.recording import EXPERIMENT
from monitoring.drift.result import drift_rows
from monitoring.drift.store import DriftCheckStore, Verdict
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from monitoring.watch.operator_actions import list_alerts
from serving.batch import detect_fleet, forecast_fleet
from tests.plant import readings
from tests.serving.conftest import grown, plant  # noqa: F401 (fixtures)
from training.data.sensors import Sensor
from training.errors import StoreError
from training.kinds import Kind
from training.storage.leases import LeaseTaken, lease

NOW = pd.Timestamp("2026-02-01").to_pydatetime()
LENGTH = 200  # hours that the plant has sent


@pytest.fixture
def sent(plant):  # noqa: F811
    """The plant, 48 hours later: TT-1 as ever, PT-1 thirty higher."""
    for name, seed, shift in (("PT-1", 0, 30.0), ("TT-1", 1, 0.0)):
        later = readings(name, LENGTH + 48, seed=seed)[LENGTH:]
        plant.readings.ingest(later.assign(value=later["value"] + shift))
    return plant


def checked(workspace, *names, **how):
    sensors = workspace.fleet.match(names or ("PT-1", "TT-1"))
    outcomes = check_fleet(workspace, sensors, now=NOW, **how)
    return {(outcome.sensor_id, outcome.kind): outcome for outcome in outcomes}


def test_what_drifted_is_found_and_what_did_not_is_steady(sent):
    found = checked(sent)

    assert {found["PT-1", kind].status for kind in Kind} == {"drifted"}
    assert {found["TT-1", kind].status for kind in Kind} == {"steady"}


def test_the_same_advice_is_given_once_a_sensor(sent):
    rows = drift_rows(check_fleet(sent, sent.fleet.match(["PT-1"]), now=NOW))

    assert [row["verdict"] for row in rows] == ["drifted", "drifted"]
    assert [len(row["advice"]) for row in rows] == [1, 0]


def test_each_check_is_a_row(sent):
    found = checked(sent)

    rows = {(row.sensor_id, row.model_type): row for row in DriftCheckStore(sent.engine).latest()}
    row = rows["PT-1", Kind.DETECTOR.model_type]
    assert len(rows) == len(found) == 4
    assert row.verdict is Verdict.DRIFTED
    assert row.reason.startswith("level moved by +")
    assert row.checked_at == NOW
    assert row.train_end < row.start < row.end <= NOW
    assert {"level", "low", "high", "score"} <= set(row.measures)


def test_the_run_holds_the_numbers_and_the_files(sent, tmp_path):
    found = checked(sent)

    run_id = found["PT-1", Kind.DETECTOR].detail["run_id"]
    run = sent.mlflow.get_run(run_id)
    assert sent.mlflow.get_experiment(run.info.experiment_id).name == EXPERIMENT
    assert run.info.status == "FINISHED"
    assert run.data.metrics["drifted"] == 2
    assert run.data.metrics["steady"] == 2
    told = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/drift.json"))
    assert {one["sensor_id"] for one in told} == {"PT-1", "TT-1"}
    names = {file.path for file in sent.mlflow.list_artifacts(run_id)}
    assert {"fleet.html", "checks.json", "pt-1-detector.html"} <= names
    assert "tt-1-detector.html" not in names


def test_evidently_s_program_is_kept_once_for_all_checks(sent):
    runs = {
        outcome.detail["run_id"]
        for moment in (NOW, NOW + timedelta(days=1))
        for outcome in check_fleet(sent, sent.fleet.match(["PT-1"]), now=moment)
    }

    found = list((sent.home / "mlartifacts").rglob("evidently.js"))
    pages = list((sent.home / "mlartifacts").rglob("pt-1-detector.html"))
    assert len(runs) == len(pages) == 2
    assert {(page.parent / "../../evidently.js").resolve() for page in pages} == set(found)
    assert all(b'src="../../evidently.js"' in page.read_bytes() for page in pages)


def test_the_versions_say_so(sent):
    checked(sent)

    tags = sent.registry.champion("PT-1", Kind.DETECTOR).tags
    assert tags["drift"].startswith("drifted: level moved by")
    assert tags["drift_checked_at"] == "2026-02-01T00:00:00Z"


def test_html_on_demand_is_written_for_every_model(sent, tmp_path):
    checked(sent, html=tmp_path / "pages")

    pages = {path.name for path in (tmp_path / "pages").iterdir()}
    assert {"fleet.html", "evidently.js", "tt-1-forecaster.html", "pt-1-detector.html"} <= pages
    assert (tmp_path / "pages" / "tt-1-detector.html").stat().st_size < 100_000


def test_the_costliest_comes_first(sent):
    sensors = sent.fleet.match(["PT-1", "TT-1"])

    outcomes = check_fleet(sent, sensors, now=NOW)

    costs = [outcome.metrics["cost"] for outcome in outcomes if outcome.status == "drifted"]
    assert costs == sorted(costs, reverse=True)
    assert outcomes[0].sensor_id == "PT-1"
    assert costs[0] > 0


def test_a_sensor_that_the_others_left_behind_is_silent(sent):
    later = readings("TT-1", LENGTH + 90, seed=1)[LENGTH + 48 :]
    sent.readings.ingest(later)

    found = checked(sent)

    outcome = found["PT-1", Kind.DETECTOR]
    assert outcome.status == "silent"
    assert outcome.detail["reason"].startswith("silent for 42 h")


def test_a_sensor_without_a_champion_has_no_model(sent):
    assert checked(sent, "NEW-1")["NEW-1", None].status == "no model"


def test_what_cannot_be_loaded_fails_alone(sent):
    champion = sent.registry.champion("PT-1", Kind.DETECTOR)
    sent.registry.tag(champion, train_start="the day before yesterday")

    found = checked(sent)

    assert found["PT-1", Kind.DETECTOR].status == "failed"
    assert found["TT-1", Kind.DETECTOR].status == "steady"


def test_a_version_that_does_not_tell_its_window_fails_with_what_to_do(sent):
    version = sent.registry.champion("PT-1", Kind.DETECTOR)
    sent.mlflow.delete_model_version_tag(version.name, str(version.number), "train_start")

    found = checked(sent)

    assert found["PT-1", Kind.DETECTOR].status == "failed"
    assert "Train it anew: safeplan train PT-1 --fresh" in found["PT-1", Kind.DETECTOR].error
    assert found["TT-1", Kind.DETECTOR].status == "steady"


def test_a_database_that_goes_away_leaves_no_run_that_seems_to_have_succeeded(sent, monkeypatch):
    def gone(*_):
        raise StoreError("the database is away")

    monkeypatch.setattr(DriftCheckStore, "save", gone)
    with pytest.raises(StoreError):
        checked(sent)

    experiment = sent.mlflow.get_experiment_by_name(EXPERIMENT)
    [run] = sent.mlflow.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_of_two_checks_at_once_the_second_is_told_so_and_nothing_is_half_kept(sent):
    with lease(sent.engine, LEASE), pytest.raises(LeaseTaken, match="drift check is being done"):
        checked(sent)

    assert DriftCheckStore(sent.engine).history() == []
    assert len(checked(sent)) == 4


def test_nothing_since_training_is_withheld_or_silent_never_steady(plant):  # noqa: F811
    found = checked(plant)

    assert {outcome.status for outcome in found.values()} <= {"silent", "withheld"}


def test_stored_predictions_are_held_against_what_happened(sent):
    sensors = sent.fleet.match(["TT-1"])
    detect_fleet(sent, sensors)
    forecast_fleet(sent, sensors, horizon=6)
    later = readings("TT-1", LENGTH + 60, seed=1)[LENGTH + 48 :]
    sent.readings.ingest(later)

    found = checked(sent, "TT-1")

    accuracy = found["TT-1", Kind.FORECASTER].metrics
    assert accuracy["forecasts"] == 6
    assert accuracy["mae"] < 5
    assert set(accuracy["by_horizon"]) == {"1", "2-6"}
    assert found["TT-1", Kind.DETECTOR].metrics["alarm_budget_per_day"] == 1.0


def test_an_old_model_is_stale(sent):
    settings = DriftSettings(stale_after=timedelta(hours=12))

    assert checked(sent, settings=settings)["TT-1", Kind.DETECTOR].metrics["stale"]


def test_neighbours_that_moved_as_well_tell_of_the_process(sent, monkeypatch):
    sensors = [Sensor(id=name, platform="P-48") for name in ("PT-1", "TT-1")]
    later = readings("TT-1", LENGTH + 48, seed=1)[LENGTH:]
    sent.readings.ingest(later.assign(value=later["value"] + 30.0), replace=True)

    outcomes = check_fleet(sent, sensors, now=NOW)

    told = {outcome.sensor_id: outcome.detail for outcome in outcomes if outcome.kind is Kind.DETECTOR}
    assert told["PT-1"]["origin"] == "process"
    assert told["PT-1"]["reason"].endswith("so did TT-1 of P-48")


def test_checking_again_at_the_same_moment_keeps_one_row(sent):
    checked(sent)
    checked(sent)

    assert len(DriftCheckStore(sent.engine).history()) == 4


def test_the_daily_job_checks_what_is_served_and_raises_an_alert(sent):
    result = run_job(JobName.DRIFT, sent, now=NOW)

    assert not result.failed
    assert result.detail.startswith("2 drifted, 2 steady")
    rows = DriftCheckStore(sent.engine).latest()
    assert {row.sensor_id for row in rows} == {"PT-1", "TT-1"}
    alerts = [alert for alert in list_alerts(sent) if alert.topic.type is AlertType.DRIFT]
    assert [alert.topic.sensor_id for alert in alerts] == ["PT-1"]
