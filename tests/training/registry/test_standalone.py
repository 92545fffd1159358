"""One version served alone: input and output columns, in the order of the request."""

import pandas as pd
import pytest

from tests.support.workspaces import make_series, parse_time
from training.anomaly.detector import AnomalyDetector
from training.errors import DataError
from training.kinds import Kind
from training.registry.signatures import SIGNATURES, example_rows
from training.registry.standalone import StandaloneDetector, StandaloneForecaster, _load_pyfunc, as_utc


@pytest.fixture(scope="session")
def detector(fitted_models):
    return _load_pyfunc(str(fitted_models[Kind.DETECTOR][0]))


@pytest.fixture(scope="session")
def forecaster(fitted_models):
    return _load_pyfunc(str(fitted_models[Kind.FORECASTER][0]))


def rows(values, start="2026-01-09T08:00"):
    times = pd.date_range(start, periods=len(values), freq="h")
    return pd.DataFrame({"timestamp": [f"{t.isoformat()}Z" for t in times], "value": values})


def test_the_kind_is_recognised_by_the_files(detector, forecaster):
    assert isinstance(detector, StandaloneDetector)
    assert isinstance(forecaster, StandaloneForecaster)


@pytest.mark.parametrize("kind", list(Kind))
def test_results_have_the_columns_and_types_of_the_signature(detector, forecaster, kind):
    model = detector if kind is Kind.DETECTOR else forecaster

    result = model.predict(example_rows(kind, parse_time("2026-01-09T08:00"), 20.0))

    expected = {"string": "O", "double": "f", "boolean": "b"}
    for column in SIGNATURES[kind].outputs.inputs:
        dtype = result[column.name].dtype
        assert (dtype.kind if dtype.kind in "fb" else "O") == expected[column.type.name]
    assert len(result) == 1


def test_rows_in_any_order_get_their_own_score(detector):
    requested = rows([20.0, 21.0, 300.0, 22.0])
    shuffled = requested.iloc[[2, 0, 3, 1]].reset_index(drop=True)

    in_order, mixed = detector.predict(requested), detector.predict(shuffled)

    assert mixed["timestamp"].tolist() == shuffled["timestamp"].tolist()
    assert mixed["value"].tolist() == shuffled["value"].tolist()
    merged = in_order.merge(mixed, on="timestamp", suffixes=("", "_mixed"))
    assert merged["anomaly_score"].tolist() == pytest.approx(merged["anomaly_score_mixed"].tolist())


def test_two_rows_with_one_timestamp_are_both_scored(detector):
    twice = pd.concat([rows([20.0]), rows([300.0])], ignore_index=True)

    result = detector.predict(twice)

    assert len(result) == 2
    assert result["value"].tolist() == [20.0, 300.0]


def test_a_missing_value_has_no_score_and_affects_no_other(detector):
    result = detector.predict(rows([20.0, float("nan"), 21.0]))

    assert result["anomaly_score"].isna().tolist() == [False, True, False]
    assert not result["is_anomaly"][1]


def test_forecasts_at_requested_times_come_first_then_the_horizon(forecaster):
    requested = pd.DataFrame({"timestamp": ["2026-01-10T00:00:00+02:00", "2026-01-09T08:00:00Z"]})

    result = forecaster.predict(requested, {"horizon": 3})

    assert result["timestamp"].tolist()[:2] == ["2026-01-09T22:00:00Z", "2026-01-09T08:00:00Z"]
    assert result["timestamp"].tolist()[2:] == [f"2026-01-09T{hour:02d}:00:00Z" for hour in (8, 9, 10)]
    assert (result["lower"] <= result["expected"]).all()
    assert (result["expected"] <= result["upper"]).all()
    assert result["expected"][1] == pytest.approx(result["expected"][2])


@pytest.mark.parametrize(
    "stamp", ["2026-01-31T23:00:00Z", "2026-01-31T23:00:00", "2026-02-01T01:00:00+02:00", "2026-01-31 23:00"]
)
def test_timestamps_of_any_zone_become_utc(stamp):
    assert as_utc(pd.Series([stamp]))[0] == pd.Timestamp("2026-01-31T23:00")


@pytest.mark.parametrize("stamp", ["yesterday", "31/01/2026", ""])
def test_an_invalid_timestamp_is_refused_with_an_example(stamp):
    with pytest.raises(DataError, match="2026-01-31T23:00:00Z"):
        as_utc(pd.Series([stamp]))


def test_a_detector_served_alone_scores_like_the_library(detector, fitted_models):
    library = AnomalyDetector.load(fitted_models[Kind.DETECTOR][0])
    readings = make_series(24, seed=9, start="2026-01-10")

    result = detector.predict(rows(readings.to_list(), "2026-01-10"))

    assert result["anomaly_score"].tolist() == pytest.approx(library.score(readings).tolist())
