"""The readings store keeps each reading once, and finds it again."""

from datetime import timedelta

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.merging import Outcome
from training.readings import ReadingStore

NOON = pd.Timestamp("2026-03-01 12:00")


def batch(*rows: tuple[str, int, float]) -> pd.DataFrame:
    """Rows of (sensor, minutes after noon, value)."""
    return pd.DataFrame(
        [(sensor, NOON + pd.Timedelta(minutes=minutes), value) for sensor, minutes, value in rows],
        columns=["sensor_id", "timestamp", "value"],
    )


def kept(store: ReadingStore) -> dict[tuple[str, int], float]:
    """What is stored, in the form of `batch`."""
    rows = store.many(store.spans().index)
    minutes = (rows["timestamp"] - NOON) // pd.Timedelta(minutes=1)
    return dict(zip(zip(rows["sensor_id"], minutes, strict=True), rows["value"], strict=True))


def test_a_reading_is_found_again(store):
    merged = store.ingest(batch(("PT-1", 1, 2.5), ("PT-1", 0, 1.5)))

    assert merged.outcomes.tolist() == [Outcome.NEW, Outcome.NEW]
    found = store.between("PT-1")
    assert found["timestamp"].tolist() == [NOON, NOON + timedelta(minutes=1)]
    assert found["value"].tolist() == [1.5, 2.5]
    assert found["data_quality"].tolist() == [0, 0]


def test_loading_again_changes_nothing(store):
    rows = batch(("PT-1", 0, 1.5), ("PT-2", 0, 2.5))
    store.ingest(rows)

    again = store.ingest(rows)

    assert again.outcomes.tolist() == [Outcome.KNOWN, Outcome.KNOWN]
    assert kept(store) == {("PT-1", 0): 1.5, ("PT-2", 0): 2.5}


def test_a_second_opinion_is_refused_and_the_first_stays(store):
    store.ingest(batch(("PT-1", 0, 1.5)))

    merged = store.ingest(batch(("PT-1", 0, 9.0)))

    assert merged.outcomes.tolist() == [Outcome.CONTRADICTED]
    assert merged.compared_with.tolist() == [1.5]
    assert kept(store) == {("PT-1", 0): 1.5}


def test_a_second_opinion_is_a_correction_when_asked_for(store):
    store.ingest(batch(("PT-1", 0, 1.5)))

    merged = store.ingest(batch(("PT-1", 0, 9.0), ("PT-1", 0, 9.0)), replace=True)

    assert merged.outcomes.tolist() == [Outcome.CORRECTED, Outcome.KNOWN]
    assert kept(store) == {("PT-1", 0): 9.0}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["PT-1", "PT-2", "pt-1", "Pé,\"'%s"]),
        st.integers(0, 4),
        st.sampled_from([0.1, -0.0, 1e30]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, cut=st.integers(0, 12), replace=st.booleans())
def test_each_row_meets_what_was_sent_before_it_however_it_is_cut(store, rows, cut, replace):
    """The law of the store, told by a plain dictionary fed row by row."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_readings")
    truth: dict[tuple[str, int], float] = {}
    expected = []
    for sensor, minute, value in rows:
        before = truth.get((sensor, minute))
        if before is None:
            expected.append(Outcome.NEW)
        elif before == value:
            expected.append(Outcome.KNOWN)
        else:
            expected.append(Outcome.CORRECTED if replace else Outcome.CONTRADICTED)
        if before is None or replace:
            truth[sensor, minute] = value

    parts = [store.ingest(batch(*part), replace=replace) for part in (rows[:cut], rows[cut:])]

    assert [*parts[0].outcomes, *parts[1].outcomes] == expected
    assert kept(store) == truth
