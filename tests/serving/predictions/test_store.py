"""The store of predictions, on SQLite and on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.predictions.rows import to_rows
from serving.predictions.store import PredictionStore
from training.errors import DataError
from training.kinds import Kind
from training.storage.database import open_database

NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 -- naive is UTC
NIGHT = NOON + timedelta(hours=12)
HOUR = timedelta(hours=1)


@pytest.fixture
def predictions(engine) -> PredictionStore:
    return PredictionStore(engine)


def scores(*values: float, sensor="PT-1001", start=NOON, version="1") -> pd.DataFrame:
    """Hourly scored readings; anomalous from 0.5 on."""
    return pd.DataFrame(
        {
            "sensor_id": sensor,
            "timestamp": pd.date_range(start, periods=len(values), freq="h"),
            "value": 20.0,
            "anomaly_score": np.array(values, float),
            "is_anomaly": np.array(values) >= 0.5,
            "threshold": 0.5,
            "severity": "normal",
            "reason": 'level: "far" <above>, NULL',
            "model_version": version,
        }
    )


def forecast(*values: float, sensor="PT-1001", origin=NOON, version="1") -> pd.DataFrame:
    """A forecast in the forecasters' own column names."""
    return pd.DataFrame(
        {
            "sensor_id": sensor,
            "timestamps": pd.date_range(origin + HOUR, periods=len(values), freq="h"),
            "forecasted_values": np.array(values, float),
            "lower_bound": np.array(values) - 1,
            "upper_bound": np.array(values) + 1,
            "trend": 0.0,
            "origin": origin,
            "model_version": version,
        }
    )


def test_stored_columns_come_back_and_the_others_are_empty(predictions):
    stored = scores(0.1, 0.9)
    predictions.save_scores(stored, made_at=NIGHT)

    result = predictions.between("PT-1001")

    pd.testing.assert_frame_equal(
        result[list(stored.columns)], stored, check_dtype=False, check_column_type=False
    )
    assert result["origin"].tolist() == result["timestamp"].tolist()
    assert result["made_at"].tolist() == [NIGHT, NIGHT]
    assert result[["predicted_value", "historical_std"]].isna().all(axis=None)
    assert result.dtypes[["timestamp", "anomaly_score", "is_anomaly"]].astype(str).tolist() == [
        "datetime64[us]",
        "float64",
        "boolean",
    ]


def test_saving_the_same_again_changes_nothing(predictions):
    first = predictions.save_scores(scores(0.1, 0.9), made_at=NOON)
    before = predictions.between("PT-1001")

    again = predictions.save_scores(scores(0.1, 0.9), made_at=NIGHT)

    assert (first, again) == (2, 0)
    pd.testing.assert_frame_equal(predictions.between("PT-1001"), before)


def test_a_corrected_reading_replaces_only_its_own_score(predictions):
    predictions.save_scores(scores(0.1, 0.9), made_at=NOON)

    changed = predictions.save_scores(scores(0.1, 0.2), made_at=NIGHT)

    result = predictions.between("PT-1001")
    assert changed == 1
    assert result["anomaly_score"].tolist() == [0.1, 0.2]
    assert result["made_at"].tolist() == [NOON, NIGHT]


def test_another_version_or_origin_is_another_prediction(predictions):
    predictions.save_scores(scores(0.1, version="1"), made_at=NOON)
    predictions.save_scores(scores(0.7, version="2"), made_at=NOON)
    predictions.save_forecasts(forecast(5, 6, origin=NOON), made_at=NOON)
    predictions.save_forecasts(forecast(7, 8, origin=NOON + HOUR), made_at=NIGHT)

    assert len(predictions.by_sensor("PT-1001", "ANOMALY_DETECTOR")) == 2
    assert predictions.by_sensor("PT-1001", "FORECASTER")["predicted_value"].tolist() == [8, 7, 6, 5]


def test_the_last_of_two_rows_with_the_same_key_is_stored(predictions):
    predictions.save_scores(pd.concat([scores(0.1), scores(0.6)]), made_at=NOON)

    assert predictions.between("PT-1001")["anomaly_score"].tolist() == [0.6]


def test_the_newest_predictions_come_first_up_to_the_limit(predictions):
    predictions.save_scores(scores(*np.linspace(0, 0.4, 30)), made_at=NOON)
    predictions.save_scores(scores(0.3, sensor="TT-1"), made_at=NOON)

    result = predictions.by_sensor("PT-1001", limit=3)

    assert result["timestamp"].tolist() == [NOON + 29 * HOUR, NOON + 28 * HOUR, NOON + 27 * HOUR]


def test_a_range_includes_its_start_and_excludes_its_end(predictions):
    predictions.save_scores(scores(*np.linspace(0, 0.4, 10)), made_at=NOON)

    result = predictions.between("PT-1001", NOON + 2 * HOUR, NOON + 4 * HOUR)

    assert result["timestamp"].tolist() == [NOON + 2 * HOUR, NOON + 3 * HOUR]


def test_recent_returns_all_sensors_from_a_time_on(predictions):
    predictions.save_scores(scores(0.1, 0.2), made_at=NOON)
    predictions.save_scores(scores(0.3, 0.4, sensor="TT-1"), made_at=NOON)

    result = predictions.recent(NOON + HOUR)

    assert result["anomaly_score"].tolist() == [0.2, 0.4]


def test_anomalies_returns_the_anomalous_readings(predictions):
    predictions.save_scores(scores(0.1, 0.9, 0.7), made_at=NOON)
    predictions.save_scores(scores(0.8, sensor="TT-1"), made_at=NOON)
    predictions.save_forecasts(forecast(5), made_at=NOON)

    assert predictions.anomalies()["anomaly_score"].tolist() == [0.7, 0.9, 0.8]
    assert predictions.anomalies(since=NOON + 2 * HOUR)["anomaly_score"].tolist() == [0.7]
    assert predictions.anomalies(sensor_id="TT-1")["anomaly_score"].tolist() == [0.8]


def test_statistics_are_by_sensor_and_model_type(predictions):
    predictions.save_scores(scores(0.1, 0.9), made_at=NOON)
    predictions.save_forecasts(forecast(5, 6, 7), made_at=NIGHT)
    predictions.save_scores(scores(0.3, sensor="TT-1"), made_at=NOON)

    result = predictions.statistics().set_index(["sensor_id", "model_type"])

    scored, forecasts = result.loc["PT-1001", "ANOMALY_DETECTOR"], result.loc["PT-1001", "FORECASTER"]
    assert (scored["predictions"], scored["anomalies"], scored["max_score"]) == (2, 1, 0.9)
    assert scored["mean_score"] == pytest.approx(0.5)
    assert (forecasts["predictions"], forecasts["anomalies"], forecasts["made_at"]) == (3, 0, NIGHT)
    assert (scored["first"], forecasts["last"]) == (NOON, NOON + 3 * HOUR)
    assert len(predictions.statistics("TT-1")) == 1


def test_last_scored_has_each_sensor_and_ignores_forecasts(predictions):
    predictions.save_scores(scores(0.1, 0.2), made_at=NOON)
    predictions.save_scores(scores(0.1, sensor="TT-1"), made_at=NOON)
    predictions.save_forecasts(forecast(1, 2, 3, sensor="FT-9"), made_at=NOON)
    predictions.save_forecasts(forecast(1, 2, 3), made_at=NOON)

    assert predictions.last_scored() == {"PT-1001": NOON + HOUR, "TT-1": NOON}


def test_the_newest_score_of_each_sensor_is_the_one_stored_last(predictions):
    predictions.save_scores(scores(0.1, 0.2), made_at=NOON)
    predictions.save_scores(scores(0.1, 0.7, version="2"), made_at=NIGHT)
    predictions.save_scores(scores(0.3, sensor="TT-1"), made_at=NOON)
    predictions.save_forecasts(forecast(1, 2, 3, sensor="FT-9"), made_at=NOON)

    newest = predictions.newest_scores().set_index("sensor_id")

    assert newest["anomaly_score"].to_dict() == {"PT-1001": 0.7, "TT-1": 0.3}
    assert newest["timestamp"].to_dict() == {"PT-1001": NOON + HOUR, "TT-1": NOON}
    assert newest.loc["PT-1001", "model_version"] == "2"


def test_scores_returns_the_last_score_of_each_reading(predictions):
    predictions.save_scores(scores(0.1, 0.2, 0.3), made_at=NOON)
    predictions.save_scores(scores(0.9, start=NOON + HOUR, version="2"), made_at=NIGHT)
    predictions.save_scores(scores(0.3, sensor="TT-1"), made_at=NOON)
    predictions.save_forecasts(forecast(1, 2, 3), made_at=NOON)

    result = predictions.scores("PT-1001", NOON, NOON + 2 * HOUR)

    assert result["timestamp"].tolist() == [NOON, NOON + HOUR]
    assert result["anomaly_score"].tolist() == [0.1, 0.9]
    assert result["is_anomaly"].tolist() == [False, True]
    assert result["threshold"].tolist() == [0.5, 0.5]
    assert predictions.scores("PT-9", NOON).empty


def test_an_empty_store_returns_empty_results(predictions):
    assert predictions.save_scores(scores(), made_at=NOON) == 0
    assert predictions.last_scored() == {}
    for frame in (
        predictions.by_sensor("PT-1001"),
        predictions.recent(NOON),
        predictions.anomalies(),
        predictions.statistics(),
        predictions.newest_scores(),
    ):
        assert len(frame) == 0
    assert predictions.delete_before(NIGHT) == 0


def test_delete_before_returns_the_number_of_deleted_predictions(predictions):
    predictions.save_scores(scores(0.1, 0.2, 0.3), made_at=NOON)

    deleted = predictions.delete_before(NOON + 2 * HOUR)

    assert deleted == 2
    assert predictions.between("PT-1001")["anomaly_score"].tolist() == [0.3]


def test_times_with_a_zone_are_stored_in_utc(predictions):
    rio = timezone(timedelta(hours=-3))
    stored = scores(0.1).assign(timestamp=pd.DatetimeIndex([NOON]).tz_localize(UTC).tz_convert(rio))

    predictions.save_scores(stored, made_at=NOON.replace(tzinfo=UTC).astimezone(rio))

    result = predictions.between("PT-1001")
    assert (result["timestamp"].tolist(), result["made_at"].tolist()) == ([NOON], [NOON])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (scores(0.1).drop(columns="timestamp"), "need timestamp"),
        (scores(0.1).assign(sensor_id=None), "need sensor_id"),
        (forecast(1.0).drop(columns="origin"), "need origin"),
        (scores(0.1).assign(anomaly_scroe=1), "no column anomaly_scroe"),
    ],
    ids=["no time", "no sensor", "no origin", "unknown column"],
)
def test_a_batch_without_keys_or_with_unknown_columns_is_refused_as_a_whole(sqlite_engine, frame, message):
    predictions = PredictionStore(sqlite_engine)
    save = predictions.save_forecasts if "timestamps" in frame else predictions.save_scores

    with pytest.raises(DataError, match=message):
        save(pd.concat([frame, frame]), made_at=NOON)

    assert len(predictions.recent(NOON - 1000 * HOUR)) == 0


NUMBERS = st.floats(allow_infinity=False) | st.just(0.1 + 0.2) | st.just(5e-324)


@given(values=st.lists(NUMBERS, min_size=1, max_size=8), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_number_comes_back_exactly_in_any_order_of_rows(predictions, values, seed):
    predictions.delete_before(NIGHT + 1000 * HOUR)
    stored = scores(*np.zeros(len(values))).assign(value=values)

    predictions.save_scores(stored.sample(frac=1, random_state=seed), made_at=NOON)

    np.testing.assert_array_equal(predictions.between("PT-1001")["value"], values)
    assert predictions.save_scores(stored, made_at=NIGHT) == 0


def test_rows_are_written_in_the_same_order_for_any_order_of_input():
    """Writers that lock the same rows in different orders would deadlock."""
    stored = pd.concat([scores(*np.zeros(5), sensor="TT-1"), scores(*np.zeros(5))])

    keys = [
        [(row["sensor_id"], row["timestamp"]) for row in to_rows(frame, Kind.DETECTOR, NOON)]
        for frame in (stored, stored.iloc[::-1])
    ]

    assert keys[0] == keys[1] == sorted(keys[0])


def test_concurrent_writers_lose_nothing(database_url):
    """The same rows in opposite orders from four connections."""
    stored = scores(*np.linspace(0, 0.9, 4_000))
    engines = [open_database(database_url) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        changed = list(
            pool.map(
                lambda turn: PredictionStore(engines[turn]).save_scores(
                    stored.iloc[:: 1 if turn % 2 else -1], made_at=NOON
                ),
                range(4),
            )
        )

    result = PredictionStore(engines[0]).between("PT-1001")
    for engine in engines:
        engine.dispose()
    assert sum(changed) == len(result) == 4_000
