"""The demo: load, train, detect and forecast real readings; it prints what README shows."""

import re

import mlflow
import pytest

from monitoring.cli.demo import QUANTITIES, STATIONS, run_demo
from serving.predictions.store import PredictionStore
from tests.support.readme_output import excerpt, print_demo, shown_in_readme
from training.kinds import Kind
from training.registry.model_registry import CHAMPION
from training.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def printed_demo(tmp_path_factory):
    """The folder of `safeplan demo` and what it printed, with the defaults."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "demo", print_demo(folder)


@pytest.fixture
def demo(printed_demo, monkeypatch):
    """The workspace of the demo."""
    for name in ("SAFEPLAN_HOME", "SAFEPLAN_DATABASE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAFEPLAN_HOME", str(printed_demo[0]))
    workspace = Workspace(printed_demo[0])
    yield workspace
    workspace.engine.dispose()
    mlflow.set_tracking_uri(None)


def masked(line: str) -> str:
    """A line without its figures: the last digits of a training differ between processors."""
    return " ".join(re.sub(r"[+-]?\d[\d.,]*", "#", line).split())


def test_the_demo_prints_what_the_readme_shows(printed_demo):
    printed, shown = excerpt(printed_demo[1]).splitlines(), shown_in_readme().splitlines()
    sections = [line for line in shown if re.match(r"\d\. ", line)]

    assert len(printed) == len(shown)
    assert [line for line in printed if re.match(r"\d\. ", line)] == sections
    table = shown.index(sections[1])
    assert [masked(line) for line in printed[:table]] == [masked(line) for line in shown[:table]]
    for before, now in zip(shown[table:], printed[table:], strict=True):
        if re.match(r"[A-Z]{3}-[A-Z]+ ", before) and "champion" in before:
            assert masked(now).split()[:6] == masked(before).split()[:6]


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


def test_a_second_run_trains_nothing(demo):
    before = {key: dict(listing.aliases) for key, listing in demo.registry.listings().items()}

    run_demo(demo.home)

    assert {key: dict(listing.aliases) for key, listing in demo.registry.listings().items()} == before
