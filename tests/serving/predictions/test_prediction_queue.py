"""Answers that are kept: none is lost while the database is away, none stands in the others' way."""

import json
import threading
import time

import pytest

from serving.contract import PredictionRequest
from serving.predictions.store import PredictionStore
from serving.predictions.write_queue import PredictionQueue, PredictionQueueSettings
from training.errors import StoreError

STAMP = "2026-01-09T08:00:00Z"
MOMENT = 1_767_945_600.0


def score(minute=0, **changes):
    """A row as it waits."""
    return {
        "timestamp": MOMENT + 60 * minute,
        "made_at": int(MOMENT),
        "sensor_id": "PT-1",
        "value": 20.0,
        "anomaly_score": 0.1,
        "is_anomaly": False,
        "severity": "normal",
        "threshold": 0.5,
        "historical_average": 20.0,
        "historical_std": 1.0,
        "reason": "",
        "model_version": "1",
    } | changes


class FakeDatabase:
    """A store that can be away."""

    def __init__(self, engine):
        self.store = PredictionStore(engine)
        self.away = False
        self.asked = threading.Event()

    def __call__(self):
        self.asked.set()
        if self.away:
            raise StoreError("connection refused")
        return self.store


@pytest.fixture
def database(engine):
    return FakeDatabase(engine)


@pytest.fixture
def make_queue(database, tmp_path):
    made = []

    def make(**settings):
        keeper = PredictionQueue(
            database,
            PredictionQueueSettings(keep=True, every=0.02, **settings),
            leftover=tmp_path / "kept" / "predictions",
        )
        made.append(keeper)
        return keeper

    yield make
    for one in made:
        one.close()


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def test_while_the_database_is_away_rows_wait_and_none_is_lost(make_queue, database, caplog):
    keeper = make_queue()
    database.away = True
    keeper.start()
    for minute in range(300):
        keeper.add([score(minute)])
    until(database.asked.is_set)
    assert keeper.counts["kept"] == 0

    database.away = False
    until(lambda: keeper.counts["waiting"] == 0)

    assert len(database.store.by_sensor("PT-1", limit=None)) == 300
    assert keeper.counts == {"waiting": 0, "kept": 300, "lost": 0}
    assert [record.message for record in caplog.records] == [
        "predictions wait for the database: connection refused"
    ]


def test_what_waits_is_bounded_and_what_is_lost_is_counted(make_queue, database, caplog):
    keeper = make_queue(most_waiting=10)
    database.away = True

    keeper.add([score(minute) for minute in range(8)])
    keeper.add([score(minute) for minute in range(8, 16)])

    assert keeper.counts == {"waiting": 10, "kept": 0, "lost": 6}
    assert "predictions are lost: 10 wait already" in caplog.text


def test_what_still_waits_at_the_end_is_written_at_the_next_start(make_queue, database, tmp_path):
    first = make_queue()
    database.away = True
    first.start()
    first.add([score(minute) for minute in range(5)])
    first.close()
    assert len(list((tmp_path / "kept").glob("*.jsonl"))) == 1

    database.away = False
    make_queue().start()
    until(lambda: not list((tmp_path / "kept").glob("*")))

    assert len(database.store.by_sensor("PT-1")) == 5


def test_two_workers_that_find_the_same_leftovers_keep_them_once(make_queue, database):
    first = make_queue()
    database.away = True
    first.start()
    first.add([score(minute) for minute in range(5)])
    first.close()

    database.away = False
    both = [make_queue(), make_queue()]
    for keeper in both:
        keeper.start()
    until(lambda: sum(keeper.saved for keeper in both) >= 5)
    for keeper in both:
        keeper.close()

    assert len(database.store.by_sensor("PT-1")) == 5


@pytest.mark.parametrize(
    "poison",
    [{"timestamp": 1e13}, {"made_at": int(1e13)}, {"reason": "\x00"}, {"value": {"a": 1}}],
    ids=["after the year 9999", "made after it", "no text", "no number"],
)
def test_a_row_that_no_table_takes_is_lost_alone(make_queue, database, poison):
    keeper = make_queue()

    keeper.add([score(minute, **(poison if minute == 7 else {})) for minute in range(20)])
    keeper.start()
    keeper.close()

    kept = set(database.store.by_sensor("PT-1", limit=None)["timestamp"].astype("int64") // 10**6)
    assert {MOMENT + 60 * minute for minute in range(20) if minute != 7} <= kept
    assert keeper.counts["waiting"] == 0
    assert keeper.saved + keeper.lost == 20


def test_a_fault_of_ours_loses_nothing(make_queue, database, monkeypatch, caplog):
    keeper = make_queue()
    failed = threading.Event()

    def fail(*_):
        failed.set()
        raise AttributeError("our own fault")

    with monkeypatch.context() as patch:
        patch.setattr("serving.predictions.write_queue.write_predictions", fail)
        keeper.add([score()])
        keeper.start()
        assert failed.wait(10)

    until(lambda: keeper.counts["kept"] == 1)
    assert "our own fault" in caplog.text


def test_rows_with_an_error_are_nobodys_prediction(service, trained_workspace, tmp_path):
    store = PredictionStore(trained_workspace.engine)
    keeper = PredictionQueue(lambda: store, PredictionQueueSettings(keep=True), leftover=tmp_path / "left")

    keeper.take(
        service.scorer.answer(
            PredictionRequest(["PT-1", "PT-1", "nobody"], [STAMP, "soon", STAMP], [20.0] * 3)
        )
    )

    assert keeper.counts["waiting"] == 1


def test_a_leftover_file_holds_one_row_a_line(make_queue, database, tmp_path):
    keeper = make_queue()
    database.away = True
    keeper.start()
    keeper.add([score(minute) for minute in range(3)])
    keeper.close()

    [path] = (tmp_path / "kept").iterdir()

    assert [json.loads(line) for line in path.read_text().splitlines()] == [score(n) for n in range(3)]
