"""The store of readings: each is stored once, and found by sensor and time range."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.data.merging import MergeOutcome
from training.data.readings import ReadingStore
from training.errors import DataError
from training.storage import bulk_insert

NOON = pd.Timestamp("2026-03-01 12:00")


def batch(*rows: tuple[str, int, float], quality: list[int] | None = None) -> pd.DataFrame:
    """Rows of (sensor, minutes after noon, value)."""
    frame = pd.DataFrame(
        [(sensor, NOON + pd.Timedelta(minutes=minutes), value) for sensor, minutes, value in rows],
        columns=["sensor_id", "timestamp", "value"],
    )
    return frame if quality is None else frame.assign(data_quality=quality)


def contents(store: ReadingStore) -> dict[tuple[str, int], float]:
    """The stored readings in the form of `batch`."""
    rows = store.many(store.spans().index)
    minutes = (rows["timestamp"] - NOON) // pd.Timedelta(minutes=1)
    return dict(zip(zip(rows["sensor_id"], minutes, strict=True), rows["value"], strict=True))


def after(minutes: int) -> datetime:
    return NOON.to_pydatetime() + timedelta(minutes=minutes)


def test_a_stored_reading_is_read_unchanged(store):
    merged = store.ingest(batch(("PT-1", 1, 2.5), ("PT-1", 0, 1.5)))

    assert merged.outcomes.tolist() == [MergeOutcome.NEW, MergeOutcome.NEW]
    result = store.between("PT-1")
    assert result["timestamp"].tolist() == [NOON, NOON + timedelta(minutes=1)]
    assert result["value"].tolist() == [1.5, 2.5]
    assert result["data_quality"].tolist() == [0, 0]


def test_storing_a_batch_again_changes_nothing(store):
    rows = batch(("PT-1", 0, 1.5), ("PT-2", 0, 2.5))
    store.ingest(rows)

    again = store.ingest(rows)

    assert again.outcomes.tolist() == [MergeOutcome.KNOWN, MergeOutcome.KNOWN]
    assert contents(store) == {("PT-1", 0): 1.5, ("PT-2", 0): 2.5}


def test_a_contradicting_value_is_refused_and_the_first_stays(store):
    store.ingest(batch(("PT-1", 0, 1.5)))

    merged = store.ingest(batch(("PT-1", 0, 9.0)))

    assert merged.outcomes.tolist() == [MergeOutcome.CONTRADICTED]
    assert merged.compared_with.tolist() == [1.5]
    assert contents(store) == {("PT-1", 0): 1.5}


def test_a_contradicting_value_is_a_correction_with_replace(store):
    store.ingest(batch(("PT-1", 0, 1.5)))

    merged = store.ingest(batch(("PT-1", 0, 9.0), ("PT-1", 0, 9.0)), replace=True)

    assert merged.outcomes.tolist() == [MergeOutcome.CORRECTED, MergeOutcome.KNOWN]
    assert contents(store) == {("PT-1", 0): 9.0}


def test_a_change_of_quality_alone_is_a_correction_only_with_replace(store):
    store.ingest(batch(("PT-1", 0, 1.5), quality=[0]))

    assert store.ingest(batch(("PT-1", 0, 1.5), quality=[1])).outcomes == [MergeOutcome.KNOWN]
    assert store.between("PT-1")["data_quality"].tolist() == [0]
    assert store.ingest(batch(("PT-1", 0, 1.5), quality=[1]), replace=True).outcomes == [
        MergeOutcome.CORRECTED
    ]
    assert store.between("PT-1")["data_quality"].tolist() == [1]


SENSORS = ["PT-1", "PT-2", "pt-1", "Pé,\"'%s"]
ROWS = st.lists(
    st.tuples(st.sampled_from(SENSORS), st.integers(0, 4), st.sampled_from([0.1, -0.0, 1e30])), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, cut=st.integers(0, 12), replace=st.booleans())
def test_the_outcome_of_a_row_does_not_depend_on_how_rows_are_split_into_batches(store, rows, cut, replace):
    """The model is a plain dictionary, filled row by row."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_readings")
    model: dict[tuple[str, int], float] = {}
    expected = []
    for sensor, minute, value in rows:
        before = model.get((sensor, minute))
        if before is None:
            expected.append(MergeOutcome.NEW)
        elif before == value:
            expected.append(MergeOutcome.KNOWN)
        else:
            expected.append(MergeOutcome.CORRECTED if replace else MergeOutcome.CONTRADICTED)
        if before is None or replace:
            model[sensor, minute] = value

    parts = [store.ingest(batch(*part), replace=replace) for part in (rows[:cut], rows[cut:])]

    assert [*parts[0].outcomes, *parts[1].outcomes] == expected
    assert contents(store) == model


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    microseconds=st.integers(0, 4_000_000_000_000_000),
)
def test_numbers_and_times_are_read_back_to_the_last_digit(store, values, microseconds):
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_readings")
    times = np.datetime64(microseconds, "us") + np.arange(len(values)).astype("timedelta64[us]")

    store.ingest(pd.DataFrame({"sensor_id": "PT-1", "timestamp": times, "value": values}))

    result = store.between("PT-1")
    assert result["value"].tolist() == values
    assert (result["timestamp"].to_numpy() == times).all()


def test_times_with_a_zone_are_converted(store):
    noon_in_brazil = pd.Series(pd.to_datetime(["2026-03-01 09:00-03:00"]))

    store.ingest(pd.DataFrame({"sensor_id": ["PT-1"], "timestamp": noon_in_brazil, "value": [1.0]}))

    assert store.between("PT-1")["timestamp"].tolist() == [NOON]
    assert len(store.between("PT-1", datetime(2026, 3, 1, 12, tzinfo=UTC))) == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (batch(("PT-1", 0, 1.0)).drop(columns="value"), "missing: value"),
        (batch(("PT-1", 0, float("nan"))), "1 readings"),
        (batch(("PT-1", 0, float("inf"))), "1 readings"),
    ],
)
def test_a_batch_with_an_invalid_row_is_refused_as_a_whole(sqlite_engine, frame, message):
    with pytest.raises(DataError, match=message):
        ReadingStore(sqlite_engine).ingest(frame)


def test_an_empty_batch_is_valid(store):
    assert store.ingest(batch()).outcomes.tolist() == []


@pytest.fixture
def filled(store) -> ReadingStore:
    """PT-1 has readings at minutes 0 to 5, that of minute 3 of bad quality; TT-1 has one."""
    store.ingest(batch(*(("PT-1", m, 10.0 + m) for m in range(6)), quality=[0, 0, 0, 1, 0, 0]))
    store.ingest(batch(("TT-1", 60, -1.0)))
    return store


def test_a_time_range_includes_its_start_and_excludes_its_end(filled):
    assert filled.between("PT-1", after(1), after(3))["value"].tolist() == [11.0, 12.0]
    assert filled.between("PT-1", end=after(1))["value"].tolist() == [10.0]


def test_readings_can_be_filtered_by_quality(filled):
    assert filled.between("PT-1", after(2), quality=0)["value"].tolist() == [12.0, 14.0, 15.0]
    assert filled.between("PT-1", quality=1)["value"].tolist() == [13.0]


def test_the_latest_readings_are_in_order_of_time(filled):
    assert filled.latest("PT-1", 3)["value"].tolist() == [13.0, 14.0, 15.0]
    assert filled.latest("PT-1", 3, quality=0)["value"].tolist() == [12.0, 14.0, 15.0]
    assert filled.latest("PT-1")["value"].tolist() == [15.0]


def test_an_unknown_sensor_has_no_readings_but_all_columns(filled):
    result = filled.latest("XX-1", 3)

    assert result.empty
    assert result.dtypes.astype(str).to_dict() == {
        "timestamp": "datetime64[us]",
        "value": "float64",
        "data_quality": "int64",
    }


def test_the_readings_of_several_sensors_are_read_at_once(filled):
    result = filled.many(["TT-1", "PT-1"], after(5))

    assert result[["sensor_id", "value"]].to_numpy().tolist() == [["PT-1", 15.0], ["TT-1", -1.0]]


def test_spans_give_the_extent_of_each_sensor(filled):
    spans = filled.spans()

    assert spans.loc["PT-1"].to_list() == [NOON, NOON + timedelta(minutes=5), 6, 5]
    assert spans.loc["TT-1", "readings"] == 1


def test_last_times_are_those_of_the_newest_readings(filled):
    assert filled.last_times().to_dict() == {
        "PT-1": NOON + timedelta(minutes=5),
        "TT-1": NOON + timedelta(minutes=60),
    }


def test_the_newest_reading_of_each_sensor_has_its_value(filled):
    newest = filled.newest()

    assert newest["timestamp"].to_dict() == filled.last_times().to_dict()
    assert newest.loc["PT-1", "value"] == 15.0
    assert newest.loc["PT-1", "data_quality"] == 0
    assert filled.last_time("PT-1") == NOON + timedelta(minutes=5)


def test_sensors_with_enough_good_readings_are_found_without_counting_them_all(filled):
    """PT-1 has five good readings and a bad one, TT-1 has one."""
    assert filled.sensors_with_good(1) == {"PT-1", "TT-1"}
    assert filled.sensors_with_good(5) == {"PT-1"}
    assert filled.sensors_with_good(6) == set()


def test_an_empty_store_has_no_spans_and_no_last_times(store):
    assert store.spans().empty
    assert store.last_times().empty
    assert store.newest().empty
    assert store.last_time("PT-1") is None
    assert store.sensors_with_good(1) == set()


def test_statistics_are_of_the_good_readings(filled):
    result = filled.statistics("PT-1")

    good = np.array([10.0, 11.0, 12.0, 14.0, 15.0])
    assert (result.count, result.good, result.low, result.high) == (6, 5, 10.0, 15.0)
    assert result.mean == pytest.approx(good.mean())
    assert result.std == pytest.approx(good.std())


def test_a_deviation_much_smaller_than_the_mean_is_exact(store):
    store.ingest(batch(("PT-1", 0, 3.85968e12), ("PT-1", 1, 3.85968e12 + 2)))

    assert store.statistics("PT-1").std == pytest.approx(1.0)


def test_statistics_without_readings_are_nan(store):
    result = store.statistics("PT-1")

    assert (result.count, result.good) == (0, 0)
    assert np.isnan([result.mean, result.std, result.low, result.high]).all()


def test_a_result_of_several_batches_is_complete(store, monkeypatch):
    """Batches are made small here; a real one has a thousand rows."""
    monkeypatch.setattr(bulk_insert, "FETCH_BATCH_ROWS", 7)
    monkeypatch.setattr(bulk_insert, "PARSE_BATCH_BYTES", 100)
    store.ingest(batch(*(("PT-1", m, float(m)) for m in range(50))))

    assert store.between("PT-1")["value"].tolist() == [float(m) for m in range(50)]
