"""The check of all champions: rows, run, tags and pages; errors of one sensor do not affect others."""

import json
from datetime import timedelta

import mlflow
import pandas as pd
import pytest

from monitoring.alerts.kinds import AlertType
from monitoring.drift.compare_frames import DriftSettings
from monitoring.drift.fleet import LEASE_NAME, check_fleet
from monitoring.drift.recording import EXPERIMENT
from monitoring.drift.result import drift_rows
from monitoring.drift.store import DriftCheckStore
from monitoring.drift.verdict import DriftVerdict
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from monitoring.watch.operator_actions import list_alerts
from serving.batch import detect_fleet, forecast_fleet
from tests.serving.conftest import trained_home, trained_workspace  # noqa: F401 (fixtures)
from tests.support.workspaces import make_readings
from training.data.sensors import Sensor
from training.errors import StoreError
from training.kinds import Kind
from training.storage.leases import LeaseTaken, lease

NOW = pd.Timestamp("2026-02-01").to_pydatetime()
LENGTH = 200  # hours of readings before


@pytest.fixture
def drifted_workspace(trained_workspace):  # noqa: F811
    """48 hours later: TT-1 unchanged, PT-1 higher by 30."""
    for name, seed, shift in (("PT-1", 0, 30.0), ("TT-1", 1, 0.0)):
        later = make_readings(name, LENGTH + 48, seed=seed)[LENGTH:]
        trained_workspace.readings.ingest(later.assign(value=later["value"] + shift))
    return trained_workspace


def checked(workspace, *names, **how):
    sensors = workspace.fleet.match(names or ("PT-1", "TT-1"))
    outcomes = check_fleet(workspace, sensors, now=NOW, **how)
    return {(outcome.sensor_id, outcome.kind): outcome for outcome in outcomes}


def test_a_shifted_sensor_has_drifted_and_the_other_is_steady(drifted_workspace):
    by_model = checked(drifted_workspace)

    assert {by_model["PT-1", kind].status for kind in Kind} == {"drifted"}
    assert {by_model["TT-1", kind].status for kind in Kind} == {"steady"}


def test_the_same_advice_is_shown_once_per_sensor(drifted_workspace):
    rows = drift_rows(check_fleet(drifted_workspace, drifted_workspace.fleet.match(["PT-1"]), now=NOW))

    assert [row["verdict"] for row in rows] == ["drifted", "drifted"]
    assert [len(row["advice"]) for row in rows] == [1, 0]


def test_each_check_is_stored_as_a_row(drifted_workspace):
    by_model = checked(drifted_workspace)

    rows = {
        (row.sensor_id, row.model_type): row for row in DriftCheckStore(drifted_workspace.engine).latest()
    }
    row = rows["PT-1", Kind.DETECTOR.model_type]
    assert len(rows) == len(by_model) == 4
    assert row.verdict is DriftVerdict.DRIFTED
    assert row.reason.startswith("level moved by +")
    assert row.checked_at == NOW
    assert row.train_end < row.start < row.end <= NOW
    assert {"level", "low", "high", "score"} <= set(row.measures)


def test_the_run_has_metrics_and_files(drifted_workspace, tmp_path):
    by_model = checked(drifted_workspace)

    run_id = by_model["PT-1", Kind.DETECTOR].detail["run_id"]
    run = drifted_workspace.mlflow.get_run(run_id)
    assert drifted_workspace.mlflow.get_experiment(run.info.experiment_id).name == EXPERIMENT
    assert run.info.status == "FINISHED"
    assert run.data.metrics["drifted"] == 2
    assert run.data.metrics["steady"] == 2
    reported = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/drift.json"))
    assert {one["sensor_id"] for one in reported} == {"PT-1", "TT-1"}
    names = {file.path for file in drifted_workspace.mlflow.list_artifacts(run_id)}
    assert {"fleet.html", "checks.json", "pt-1-detector.html"} <= names
    assert "tt-1-detector.html" not in names


def test_the_script_of_evidently_is_stored_once_for_all_runs(drifted_workspace):
    runs = {
        outcome.detail["run_id"]
        for moment in (NOW, NOW + timedelta(days=1))
        for outcome in check_fleet(drifted_workspace, drifted_workspace.fleet.match(["PT-1"]), now=moment)
    }

    scripts = list((drifted_workspace.home / "mlartifacts").rglob("evidently.js"))
    pages = list((drifted_workspace.home / "mlartifacts").rglob("pt-1-detector.html"))
    assert len(runs) == len(pages) == 2
    assert {(page.parent / "../../evidently.js").resolve() for page in pages} == set(scripts)
    assert all(b'src="../../evidently.js"' in page.read_bytes() for page in pages)


def test_versions_are_tagged_with_verdict_and_reason(drifted_workspace):
    checked(drifted_workspace)

    tags = drifted_workspace.registry.champion("PT-1", Kind.DETECTOR).tags
    assert tags["drift"].startswith("drifted: level moved by")
    assert tags["drift_checked_at"] == "2026-02-01T00:00:00Z"


def test_html_is_written_for_every_model_on_demand(drifted_workspace, tmp_path):
    checked(drifted_workspace, html=tmp_path / "pages")

    pages = {path.name for path in (tmp_path / "pages").iterdir()}
    assert {"fleet.html", "evidently.js", "tt-1-forecaster.html", "pt-1-detector.html"} <= pages
    assert (tmp_path / "pages" / "tt-1-detector.html").stat().st_size < 100_000


def test_the_costliest_comes_first(drifted_workspace):
    sensors = drifted_workspace.fleet.match(["PT-1", "TT-1"])

    outcomes = check_fleet(drifted_workspace, sensors, now=NOW)

    costs = [outcome.metrics["cost"] for outcome in outcomes if outcome.status == "drifted"]
    assert costs == sorted(costs, reverse=True)
    assert outcomes[0].sensor_id == "PT-1"
    assert costs[0] > 0


def test_a_sensor_that_lags_behind_the_others_has_no_data(drifted_workspace):
    later = make_readings("TT-1", LENGTH + 90, seed=1)[LENGTH + 48 :]
    drifted_workspace.readings.ingest(later)

    by_model = checked(drifted_workspace)

    outcome = by_model["PT-1", Kind.DETECTOR]
    assert outcome.status == "silent"
    assert outcome.detail["reason"].startswith("no data for 42 h: the last reading is from ")


def test_a_sensor_without_a_champion_has_no_model(drifted_workspace):
    assert checked(drifted_workspace, "NEW-1")["NEW-1", None].status == "no model"


def test_a_sensor_that_cannot_be_loaded_does_not_affect_the_others(drifted_workspace):
    champion = drifted_workspace.registry.champion("PT-1", Kind.DETECTOR)
    drifted_workspace.registry.tag(champion, train_start="the day before yesterday")

    by_model = checked(drifted_workspace)

    assert by_model["PT-1", Kind.DETECTOR].status == "failed"
    assert by_model["TT-1", Kind.DETECTOR].status == "steady"


def test_a_version_without_a_training_window_fails_with_an_advice(drifted_workspace):
    version = drifted_workspace.registry.champion("PT-1", Kind.DETECTOR)
    drifted_workspace.mlflow.delete_model_version_tag(version.name, str(version.number), "train_start")

    by_model = checked(drifted_workspace)

    assert by_model["PT-1", Kind.DETECTOR].status == "failed"
    assert "Train it again: safeplan train PT-1 --fresh" in by_model["PT-1", Kind.DETECTOR].error
    assert by_model["TT-1", Kind.DETECTOR].status == "steady"


def test_the_run_fails_if_the_database_fails(drifted_workspace, monkeypatch):
    def gone(*_):
        raise StoreError("the database is away")

    monkeypatch.setattr(DriftCheckStore, "save", gone)
    with pytest.raises(StoreError):
        checked(drifted_workspace)

    experiment = drifted_workspace.mlflow.get_experiment_by_name(EXPERIMENT)
    [run] = drifted_workspace.mlflow.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_a_second_check_at_the_same_time_is_refused_and_stores_nothing(drifted_workspace):
    with (
        lease(drifted_workspace.engine, LEASE_NAME),
        pytest.raises(LeaseTaken, match="drift check is being done"),
    ):
        checked(drifted_workspace)

    assert DriftCheckStore(drifted_workspace.engine).history() == []
    assert len(checked(drifted_workspace)) == 4


def test_no_readings_since_training_are_never_steady(trained_workspace):  # noqa: F811
    by_model = checked(trained_workspace)

    assert {outcome.status for outcome in by_model.values()} <= {"silent", "withheld"}


def test_stored_predictions_are_compared_with_later_readings(drifted_workspace):
    sensors = drifted_workspace.fleet.match(["TT-1"])
    detect_fleet(drifted_workspace, sensors)
    forecast_fleet(drifted_workspace, sensors, horizon=6)
    later = make_readings("TT-1", LENGTH + 60, seed=1)[LENGTH + 48 :]
    drifted_workspace.readings.ingest(later)

    by_model = checked(drifted_workspace, "TT-1")

    accuracy = by_model["TT-1", Kind.FORECASTER].metrics
    assert accuracy["forecasts"] == 6
    assert accuracy["mae"] < 5
    assert set(accuracy["by_horizon"]) == {"1", "2-6"}
    assert by_model["TT-1", Kind.DETECTOR].metrics["alarm_budget_per_day"] == 1.0


def test_an_old_model_is_stale(drifted_workspace):
    settings = DriftSettings(stale_after=timedelta(hours=12))

    assert checked(drifted_workspace, settings=settings)["TT-1", Kind.DETECTOR].metrics["stale"]


def test_a_drift_together_with_neighbours_is_attributed_to_the_process(drifted_workspace, monkeypatch):
    sensors = [Sensor(id=name, platform="P-48") for name in ("PT-1", "TT-1")]
    later = make_readings("TT-1", LENGTH + 48, seed=1)[LENGTH:]
    drifted_workspace.readings.ingest(later.assign(value=later["value"] + 30.0), replace=True)

    outcomes = check_fleet(drifted_workspace, sensors, now=NOW)

    reported = {outcome.sensor_id: outcome.detail for outcome in outcomes if outcome.kind is Kind.DETECTOR}
    assert reported["PT-1"]["origin"] == "process"
    assert reported["PT-1"]["reason"].endswith("; TT-1 of P-48 moved as well")


def test_checking_again_at_the_same_time_keeps_one_row(drifted_workspace):
    checked(drifted_workspace)
    checked(drifted_workspace)

    assert len(DriftCheckStore(drifted_workspace.engine).history()) == 4


def test_the_daily_job_checks_every_champion_and_raises_an_alert(drifted_workspace):
    result = run_job(JobName.DRIFT, drifted_workspace, now=NOW)

    assert not result.failed
    assert result.detail.startswith("2 drifted, 2 steady")
    rows = DriftCheckStore(drifted_workspace.engine).latest()
    assert {row.sensor_id for row in rows} == {"PT-1", "TT-1"}
    alerts = [alert for alert in list_alerts(drifted_workspace) if alert.topic.type is AlertType.DRIFT]
    assert [alert.topic.sensor_id for alert in alerts] == ["PT-1"]
