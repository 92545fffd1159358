"""Trained models survive restarts and deleted caches."""

import shutil

import pandas as pd
import pytest

from tests.support.installation import (
    BIN,
    copy_installation,
    free_port,
    post_json,
    run_process,
    running_server,
)
from training.anomaly.detector import AnomalyDetector
from training.artifacts.model_files import MODEL_FOLDER
from training.forecasting.forecaster import Forecaster

pytestmark = pytest.mark.slow


def files_of(installation, kind):
    """The registered files of PT-1's only version."""
    pattern = f"safeplan-{kind}s/models/*/artifacts/data/{MODEL_FOLDER}"
    (result,) = (installation.home / "mlartifacts").glob(pattern)
    return result


def test_after_a_restart_without_caches_nothing_is_trained_again(trained, tmp_path):
    """The real console script, without the cache, with settings that make training impossible."""
    restarted = copy_installation(trained, tmp_path / "restarted")
    shutil.rmtree(restarted.home / ".safeplan", ignore_errors=True)
    environment = restarted.environment(SAFEPLAN_WINDOW_DETECTOR_MINIMUM="99999")

    detected = run_process([str(BIN / "safeplan"), "detect", "--json"], environment, tmp_path)
    forecast = restarted.run("forecast", "--horizon", "5", SAFEPLAN_WINDOW_FORECASTER_MINIMUM="99999")

    assert detected.code == 0, detected.stderr
    assert detected.of("PT-1", "detector")["version"] == 1
    assert forecast.of("PT-1", "forecaster")["metrics"]["steps"] == 5
    assert forecast.of("PT-1", "forecaster")["version"] == 1


@pytest.fixture
def serving(trained, tmp_path):
    """A function that runs `mlflow models serve` for one registered model; the server and its port."""

    def serve(model):
        port = free_port()
        command = [str(BIN / "mlflow"), "models", "serve", "-m", f"models:/{model}@champion"]
        command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        tracking = f"sqlite:///{trained.home / 'mlflow.db'}"
        environment = trained.environment(MLFLOW_TRACKING_URI=tracking)
        return running_server(command, environment, tmp_path, f"http://127.0.0.1:{port}/ping"), port

    return serve


def test_a_registered_detector_is_served_alone(trained, serving):
    times = pd.date_range("2026-01-18", periods=6, freq="h")
    values = [20.0, 21.3, 22.5, 99.0, 24.3, 24.8]
    expected = AnomalyDetector.load(files_of(trained, "detector")).detect(pd.Series(values, index=times))
    server, port = serving("pt-1-detector")

    with server:
        rows = {"timestamp": [f"{t.isoformat()}Z" for t in times], "value": values}
        response = post_json(
            f"http://127.0.0.1:{port}/invocations",
            {"dataframe_records": pd.DataFrame(rows).to_dict("records")},
        )

    scores = [row["anomaly_score"] for row in response["predictions"]]
    assert scores == pytest.approx(expected["anomaly_score"].tolist(), abs=1e-9)
    assert [row["is_anomaly"] for row in response["predictions"]] == expected["is_anomaly"].tolist()
    assert response["predictions"][3]["is_anomaly"]


def test_a_registered_forecaster_is_served_alone(trained, serving):
    expected = Forecaster.load(files_of(trained, "forecaster")).forecast(3)
    server, port = serving("pt-1-forecaster")

    with server:
        request = {"dataframe_records": [{"timestamp": "2026-01-18T00:00:00Z"}], "params": {"horizon": 3}}
        response = post_json(f"http://127.0.0.1:{port}/invocations", request)

    ahead = pd.DataFrame(response["predictions"])
    assert len(ahead) == 4
    assert ahead["timestamp"][1:].tolist() == [f"{t.isoformat()}Z" for t in expected["timestamps"]]
    assert ahead["expected"][1:].tolist() == pytest.approx(expected["forecasted_values"].tolist())
    assert ahead["lower"][1:].tolist() == pytest.approx(expected["lower_bound"].tolist())
