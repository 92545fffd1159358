"""The rule-based fallback serves like any version: in batch, at both servers, alone, replayed and checked."""

import json
import shutil
from collections.abc import Iterator

import httpx
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from monitoring.drift.fleet import check_fleet
from monitoring.retraining.replay import find_versions, replay
from serving.batch import detect_fleet
from serving.fleet_model import FleetModel
from serving.http.app import create_app
from serving.http.tokens import Tokens
from serving.models.champions import Champions
from serving.scoring.fleet_service import FleetService
from tests.serving.conftest import listening
from tests.support.workspaces import TrainingStub, make_readings, parse_time
from training.anomaly.rule_based_detector import RuleBasedDetector
from training.errors import UntrustedModel
from training.kinds import Kind
from training.pipeline import fit_detector
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

LAST = pd.Timestamp("2026-01-09T07:00")  # the newest stored reading
HOUR = pd.Timedelta(hours=1)
FAULT = {"sensor_id": "NEW-1", "timestamp": "2026-01-09T08:00:00Z", "value": 90.0}
ORDINARY = {**FAULT, "value": 24.3}


@pytest.fixture
def fallback_workspace(trained_workspace: Workspace, fitted_models, monkeypatch) -> Workspace:
    """NEW-1 is served by fixed rules because its detector found nothing; PT-1 and TT-1 by ensembles."""
    stub = TrainingStub(fitted_models, grades={"recall_mean": 0.0, "naive_recall_mean": 0.0})
    monkeypatch.setattr(fit_detector, "train_detector", stub.train)
    sensors = trained_workspace.fleet.match(["NEW-1"])
    [outcome] = train_fleet(trained_workspace, sensors, [Kind.DETECTOR], Plan.from_conf(trials=1), jobs=1)
    assert outcome.status == "fallback"
    return trained_workspace


@pytest.fixture
def fallback_client(fallback_workspace: Workspace) -> Iterator[httpx.Client]:
    service = FleetService(fallback_workspace)
    with listening(create_app(service, Tokens())) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client
    service.close()


def check_fault(row: dict) -> None:
    """A jump of 70 is certain, with a reason and the version of the fallback."""
    assert row["error"] is None
    assert row["is_anomaly"]
    assert row["anomaly_score"] > 0.9
    assert row["reason"]
    assert row["detector_version"] == "1"


def test_the_endpoint_scores_with_fixed_rules_beside_ensembles(fallback_client):
    rows = [ORDINARY, {**ORDINARY, "sensor_id": "PT-1"}, FAULT | {"timestamp": "2026-01-09T09:00:00Z"}]

    answer = fallback_client.post("/invocations", json={"dataframe_records": rows})

    ordinary, ensemble, fault = json.loads(answer.content)["predictions"]
    assert (ordinary["is_anomaly"], ensemble["error"]) == (False, None)
    check_fault(fault)


def test_mlflows_server_of_the_fleet_scores_with_fixed_rules(fallback_workspace):
    model = FleetModel()
    model.load_context(None)

    answer = model.predict(None, pd.DataFrame([FAULT]))

    check_fault(answer.to_dict("records")[0] if isinstance(answer, pd.DataFrame) else answer[0])


def test_the_version_is_served_alone(fallback_workspace):
    """`mlflow models serve -m models:/new-1-detector/1` loads it the same way."""
    model = mlflow.pyfunc.load_model("models:/new-1-detector@champion")
    rows = make_readings("NEW-1", 200, seed=2)[["timestamp", "value"]]
    rows["timestamp"] = [f"{time.isoformat()}Z" for time in rows["timestamp"]]
    rows.loc[150, "value"] = 90.0

    scored = model.predict(rows)

    assert scored.loc[150, "anomaly_score"] > 0.9
    assert scored.loc[:149, "is_anomaly"].mean() <= 0.08  # the most that score 0.5, whatever the budget


def test_batch_scores_equal_those_of_the_endpoint(fallback_workspace, fallback_client):
    [row] = json.loads(fallback_client.post("/invocations", json={"dataframe_records": [FAULT]}).content)[
        "predictions"
    ]
    fault = pd.DataFrame({"sensor_id": ["NEW-1"], "timestamp": [LAST + HOUR], "value": [90.0]})
    fallback_workspace.readings.ingest(fault)

    [outcome] = detect_fleet(fallback_workspace, fallback_workspace.fleet.match(["NEW-1"]))

    assert outcome.metrics["score"] == pytest.approx(row["anomaly_score"], abs=1e-12)
    assert outcome.detail["reason"] == row["reason"]


def test_the_version_loads_from_its_checked_copy_and_is_refused_if_altered(fallback_workspace):
    workspace = fallback_workspace
    first = Champions(workspace.registry, workspace.model_cache).detector("NEW-1")
    again = Champions(workspace.registry, workspace.model_cache).detector("NEW-1")
    assert isinstance(first.model, RuleBasedDetector)
    values = pd.Series([20.0, 90.0], index=pd.date_range(LAST + HOUR, periods=2, freq="h"))
    np.testing.assert_array_equal(first.model.score(values), again.model.score(values))

    shutil.rmtree(workspace.model_cache)
    workspace.registry.tag(first.version, model_sha256="0" * 64)
    with pytest.raises(UntrustedModel, match="altered or truncated"):
        Champions(workspace.registry, workspace.model_cache).detector("NEW-1")


def test_it_can_be_replayed_and_checked_for_drift(fallback_workspace):
    workspace = fallback_workspace
    [sensor] = workspace.fleet.match(["NEW-1"])
    later = make_readings("NEW-1", 100, seed=5, start=(LAST + HOUR).to_pydatetime())
    workspace.readings.ingest(later)
    now = parse_time("2026-01-13T12:00")

    [replayed, _] = replay(
        workspace, sensor, find_versions(workspace, sensor), parse_time("2026-01-09T08:00"), now
    )
    outcomes = check_fleet(workspace, [sensor], now=now)

    assert replayed.version == 1
    assert len(replayed.scores) == 100
    [drift] = [outcome for outcome in outcomes if outcome.kind is Kind.DETECTOR]
    assert not drift.failed, drift.error
