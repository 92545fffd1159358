"""The demo: load, train, detect and forecast real readings in an empty folder."""

import pytest

from monitoring.cli.demo import QUANTITIES, STATIONS, run_demo
from serving.predictions.store import PredictionStore
from training.kinds import Kind
from training.registry.model_registry import CHAMPION
from training.workspace import Workspace


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The workspace of the demo after a run with a short search."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAFEPLAN_TUNING_TRIALS", "2")
        for name in ("SAFEPLAN_HOME", "SAFEPLAN_DATABASE_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        run_demo(folder / "demo")
        yield Workspace(folder / "demo")


def test_every_sensor_has_a_model_of_each_kind_and_most_are_promoted(demo):
    listings = demo.registry.listings()
    serving = [key for key, listing in listings.items() if CHAMPION in listing.aliases]

    assert len(listings) == 2 * len(STATIONS) * len(QUANTITIES)
    assert len([kind for _, kind in serving if kind is Kind.DETECTOR]) >= 15
    assert len([kind for _, kind in serving if kind is Kind.FORECASTER]) >= 9


def test_december_was_scored_and_the_next_day_forecast_for_every_sensor(demo):
    statistics = PredictionStore(demo.engine).statistics()

    assert statistics.groupby("model_type")["sensor_id"].nunique().to_dict() == {
        "ANOMALY_DETECTOR": 18,
        "FORECASTER": 18,
    }
    scored = statistics[statistics["model_type"] == "ANOMALY_DETECTOR"]
    assert (scored["first"] >= "2013-12-01").all()
    assert scored["anomalies"].sum() > 0


def test_the_impossible_wind_of_february_trains_no_model(demo):
    """1048 mph was really recorded at Newark; the reading is stored and marked as bad."""
    wind = demo.readings.between("EWR-WIND")

    assert wind.loc[wind["value"] > 1000, "data_quality"].tolist() == [1]


def test_a_second_run_trains_nothing(demo, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_TUNING_TRIALS", "2")
    before = {key: dict(listing.aliases) for key, listing in demo.registry.listings().items()}

    run_demo(demo.home)

    assert {key: dict(listing.aliases) for key, listing in demo.registry.listings().items()} == before
