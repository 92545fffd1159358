"""`safeplan-fleet` is registered with exactly the code it needs, and MLflow's own server serves it."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import pytest

from serving.fleet_registration import FLEET_MODEL_NAME, register_fleet_model
from tests.serving.conftest import isolated_workspace
from tests.support.installation import BIN, Installation, free_port, post_json, running_server
from training.registry.model_registry import CHAMPION

pytestmark = pytest.mark.slow

STAMP = "2026-01-09T08:00:00Z"
# The modules that others download and run.
CODE = {
    *(
        "__init__",
        "contract",
        "recent_readings",
        "http/__init__",
        "http/mlflow_adapter",
        "http/process_tuning",
        "http/request_bodies",
    ),
    *(
        f"models/{name}"
        for name in ("__init__", "acceptance", "alias_poller", "champions", "poller", "serving_state")
    ),
    *(
        f"scoring/{name}"
        for name in (
            *("__init__", "fleet_scoring", "fleet_service", "forecasts", "limits"),
            *("naive_fallback", "request_rows", "response"),
        )
    ),
    *(
        f"vectorized/{name}"
        for name in (
            *("__init__", "bad_samples", "batch_scoring", "ensemble_scoring", "packed_detector"),
            *("packed_files", "packed_forest", "packed_lof", "parameter_table", "runtime"),
        )
    ),
}
ROW = {"sensor_id": "PT-1", "timestamp": STAMP, "value": 20.0}


@pytest.fixture(scope="module")
def registered(trained_home, tmp_path_factory):
    """An installation of this module, with the fleet's model in its registry."""
    home = tmp_path_factory.mktemp("registered")
    for name in ("mlflow.db", "safeplan.db"):
        (home / name).write_bytes((trained_home / name).read_bytes())
    with isolated_workspace(home) as workspace:
        register_fleet_model(workspace)
        yield workspace


@pytest.fixture(scope="module")
def artifacts(registered, tmp_path_factory):
    place = tmp_path_factory.mktemp("artifacts")
    return Path(
        mlflow.artifacts.download_artifacts(f"models:/{FLEET_MODEL_NAME}@{CHAMPION}", dst_path=str(place))
    )


@pytest.fixture(scope="module")
def address(registered):
    """The URL of MLflow's server with the fleet's model."""
    port = free_port()
    installation = Installation(
        registered.home, {"MLFLOW_TRACKING_URI": f"sqlite:///{registered.home / 'mlflow.db'}"}
    )
    line = [
        str(BIN / "mlflow"),
        "models",
        "serve",
        "-m",
        f"models:/{FLEET_MODEL_NAME}@{CHAMPION}",
        "-p",
        str(port),
    ]
    url = f"http://127.0.0.1:{port}"
    with running_server(
        [*line, "--env-manager", "local"], installation.environment(), registered.home, f"{url}/ping"
    ):
        yield url


def test_the_same_code_is_registered_once(registered):
    assert register_fleet_model(registered) is None


def test_it_contains_the_serving_code_and_nothing_else(artifacts):
    code = artifacts / "code"
    modules = {path.relative_to(code).as_posix() for path in code.rglob("*.py")}

    ours = {
        path.removeprefix("serving/").removesuffix(".py") for path in modules if path.startswith("serving/")
    }
    assert ours == CODE
    assert {path.split("/")[0] for path in modules} == {"serving", "training"}
    assert (artifacts / "fleet_model.py").exists()
    # Modules that only training uses.
    assert not modules & {
        f"training/{name}.py"
        for name in ("pipeline/fleet", "tuning/study", "pipeline/recording", "evaluation/gate")
    }


def test_it_contains_no_pickle(artifacts):
    described = (artifacts / "MLmodel").read_text(encoding="utf-8")

    assert "model_code_path" in described
    assert not [path for path in artifacts.rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]


def test_mlflows_server_scores_and_forecasts(address):
    rows = post_json(
        f"{address}/invocations",
        {"dataframe_records": [ROW, ROW | {"value": None}, {"sensor_id": "TT-1", "timestamp": STAMP}]},
    )["predictions"]

    assert [row["error"] for row in rows] == [None] * 3
    assert rows[0]["detector_version"] == "1"
    assert rows[1]["forecaster_version"] == "1"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": ""}, {"dataframe_records": [ROW]}, 415),
        ({"Content-Type": "application/json"}, {"dataframe_records": [ROW], "params": {"treshold": 1}}, 400),
        ({"Content-Type": "application/json"}, {"dataframe_records": [ROW | {"unit": "bar"}]}, 400),
        ({"Content-Type": "application/json"}, {"dataframe_records": [ROW] * 10_001}, 413),
    ],
    ids=["no content type", "unknown parameter", "unknown column", "too many rows"],
)
def test_mlflows_server_refuses_the_same_requests(address, headers, body, status):
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), headers, method="POST"
    )

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)

    assert refused.value.code == status
    assert json.loads(refused.value.read())["error"]


def test_mlflows_server_follows_a_promotion_made_through_mlflows_client(address, registered):
    registered.mlflow.set_registered_model_alias("pt-1-detector", CHAMPION, "2")

    seen = set()
    for _ in range(120):
        [row] = post_json(f"{address}/invocations", {"dataframe_records": [ROW]})["predictions"]
        assert row["error"] is None
        seen.add(row["detector_version"])
        if row["detector_version"] == "2":
            break
        time.sleep(0.5)

    assert row["detector_version"] == "2"
    assert seen <= {"1", "2"}
