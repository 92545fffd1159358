"""Stored answers: none is lost while the database is unreachable, and a bad row does not block others."""

import json
import threading
import time

import pytest

from serving.contract import PredictionRequest
from serving.predictions.store import PredictionStore
from serving.predictions.write_queue import PredictionQueue, PredictionQueueSettings
from training.errors import StoreError
from training.reasons import load_reasons, render_all

STAMP = "2026-01-09T08:00:00Z"
MOMENT = 1_767_945_600.0


def score(minute=0, **changes):
    """A waiting row."""
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
    """A store that can be unreachable."""

    def __init__(self, engine):
        self.store = PredictionStore(engine)
        self.unreachable = False
        self.asked = threading.Event()

    def __call__(self):
        self.asked.set()
        if self.unreachable:
            raise StoreError("connection refused")
        return self.store


@pytest.fixture
def database(engine):
    return FakeDatabase(engine)


@pytest.fixture
def make_queue(database, tmp_path):
    made = []

    def make(**settings):
        queue = PredictionQueue(
            database,
            PredictionQueueSettings(keep=True, every=0.02, **settings),
            leftover=tmp_path / "kept" / "predictions",
        )
        made.append(queue)
        return queue

    yield make
    for one in made:
        one.close()


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the condition was not met in 10 s")


def test_rows_wait_while_the_database_is_unreachable_and_none_is_lost(make_queue, database, caplog):
    queue = make_queue()
    database.unreachable = True
    queue.start()
    for minute in range(300):
        queue.add([score(minute)])
    until(database.asked.is_set)
    assert queue.counts["kept"] == 0

    database.unreachable = False
    until(lambda: queue.counts["waiting"] == 0)

    assert len(database.store.by_sensor("PT-1", limit=None)) == 300
    assert queue.counts == {"waiting": 0, "kept": 300, "lost": 0}
    assert [record.message for record in caplog.records] == [
        "predictions wait for the database: connection refused"
    ]


def test_the_queue_is_bounded_and_lost_rows_are_counted(make_queue, database, caplog):
    queue = make_queue(most_waiting=10)
    database.unreachable = True

    queue.add([score(minute) for minute in range(8)])
    queue.add([score(minute) for minute in range(8, 16)])

    assert queue.counts == {"waiting": 10, "kept": 0, "lost": 6}
    assert "predictions are lost: 10 already wait" in caplog.text


def test_rows_that_wait_at_the_end_are_written_at_the_next_start(make_queue, database, tmp_path):
    first = make_queue()
    database.unreachable = True
    first.start()
    first.add([score(minute) for minute in range(5)])
    first.close()
    assert len(list((tmp_path / "kept").glob("*.jsonl"))) == 1

    database.unreachable = False
    make_queue().start()
    until(lambda: not list((tmp_path / "kept").glob("*")))

    assert len(database.store.by_sensor("PT-1")) == 5


def test_two_workers_with_the_same_leftovers_store_them_once(make_queue, database):
    first = make_queue()
    database.unreachable = True
    first.start()
    first.add([score(minute) for minute in range(5)])
    first.close()

    database.unreachable = False
    both = [make_queue(), make_queue()]
    for queue in both:
        queue.start()
    until(lambda: sum(queue.saved for queue in both) >= 5)
    for queue in both:
        queue.close()

    assert len(database.store.by_sensor("PT-1")) == 5


@pytest.mark.parametrize(
    "poison",
    [{"timestamp": 1e13}, {"made_at": int(1e13)}, {"reason": "\x00"}, {"value": {"a": 1}}],
    ids=["after the year 9999", "made after it", "no text", "no number"],
)
def test_a_row_that_the_table_cannot_hold_is_lost_alone(make_queue, database, poison):
    queue = make_queue()

    queue.add([score(minute, **(poison if minute == 7 else {})) for minute in range(20)])
    queue.start()
    queue.close()

    kept = set(database.store.by_sensor("PT-1", limit=None)["timestamp"].astype("int64") // 10**6)
    assert {MOMENT + 60 * minute for minute in range(20) if minute != 7} <= kept
    assert queue.counts["waiting"] == 0
    assert queue.saved + queue.lost == 20


def test_an_internal_error_loses_nothing(make_queue, database, monkeypatch, caplog):
    queue = make_queue()
    failed = threading.Event()

    def fail(*_):
        failed.set()
        raise AttributeError("our own fault")

    with monkeypatch.context() as patch:
        patch.setattr("serving.predictions.write_queue.write_predictions", fail)
        queue.add([score()])
        queue.start()
        assert failed.wait(10)

    until(lambda: queue.counts["kept"] == 1)
    assert "our own fault" in caplog.text


def test_rows_with_an_error_are_not_stored(service, trained_workspace, tmp_path):
    store = PredictionStore(trained_workspace.engine)
    queue = PredictionQueue(lambda: store, PredictionQueueSettings(keep=True), leftover=tmp_path / "left")

    queue.take(
        service.scorer.answer(
            PredictionRequest(["PT-1", "PT-1", "nobody"], [STAMP, "soon", STAMP], [20.0] * 3)
        )
    )

    assert queue.counts["waiting"] == 1


def test_a_leftover_file_has_one_row_per_line(make_queue, database, tmp_path):
    queue = make_queue()
    database.unreachable = True
    queue.start()
    queue.add([score(minute) for minute in range(3)])
    queue.close()

    [path] = (tmp_path / "kept").iterdir()

    assert [json.loads(line) for line in path.read_text().splitlines()] == [score(n) for n in range(3)]


def test_the_reason_of_a_score_is_stored_as_text_and_as_data(service, trained_workspace, tmp_path):
    store = PredictionStore(trained_workspace.engine)
    queue = PredictionQueue(lambda: store, PredictionQueueSettings(keep=True), leftover=tmp_path / "left")
    response = service.scorer.answer(PredictionRequest(["PT-1", "TT-1"], [STAMP] * 2, [400.0, 24.5]))

    queue.take(response)
    queue.start()
    queue.close()

    [anomalous] = store.by_sensor("PT-1").itertuples()
    [normal] = store.by_sensor("TT-1").itertuples()
    assert load_reasons(anomalous.reason_data) == response.reasons[0]
    assert render_all(load_reasons(anomalous.reason_data)) == anomalous.reason != ""
    assert (normal.reason, normal.reason_data) == ("", None)
