"""The cache of newest readings sees every write and does not query where nothing was written."""

import pytest

from serving import recent_readings
from serving.recent_readings import RecentReadings, RecentSettings
from tests.support.workspaces import ingest_readings, make_readings
from training.data.readings import ReadingStore
from training.storage.database import open_database


@pytest.fixture
def queries(monkeypatch):
    """The number of sensors in each query for newest times."""
    queries, real = [], recent_readings.newest_times

    def count_and_query(engine, sensor_ids):
        queries.append(len(sensor_ids))
        return real(engine, sensor_ids)

    monkeypatch.setattr(recent_readings, "newest_times", count_and_query)
    return queries


@pytest.fixture
def tails(workspace):
    ingest_readings(workspace, "PT-1", 50)
    ingest_readings(workspace, "PT-2", 50)
    made = RecentReadings(lambda: workspace.readings, RecentSettings(sensors=2))
    yield made
    made.close()


def lengths(tails, *names):
    result = tails.get_tails(names).tails
    return {name: len(result[name].seconds) for name in names if name in result}


def test_nothing_is_queried_again_where_nothing_was_written(tails, queries):
    both = lengths(tails, "PT-1", "PT-2")

    assert both == lengths(tails, "PT-1", "PT-2") == {"PT-1": 50, "PT-2": 50}
    assert lengths(tails, "PT-2") == {"PT-2": 50}
    assert queries == [2]


def test_writes_of_another_process_are_seen_by_the_next_request(workspace, tails, queries):
    lengths(tails, "PT-1", "PT-2")
    other = ReadingStore(open_database(workspace.engine.url.render_as_string(hide_password=False)))
    other.ingest(make_readings("PT-1", 60))

    assert lengths(tails, "PT-2") == {"PT-2": 50}
    assert lengths(tails, "PT-1", "PT-2") == {"PT-1": 60, "PT-2": 50}
    other.engine.dispose()


def test_writes_of_this_process_are_seen_by_the_next_request(workspace, tails):
    lengths(tails, "PT-1")
    ingest_readings(workspace, "PT-1", 70)

    assert lengths(tails, "PT-1") == {"PT-1": 70}


def test_an_evicted_sensor_is_read_again(workspace, tails):
    ingest_readings(workspace, "PT-3", 30)
    for names in (("PT-1", "PT-2"), ("PT-3",), ("PT-1", "PT-2")):
        assert set(lengths(tails, *names)) == set(names)


def test_an_unknown_name_is_not_cached(tails, queries):
    assert lengths(tails, "NOBODY") == lengths(tails, "NOBODY") == {}
    assert queries == [1, 1]
