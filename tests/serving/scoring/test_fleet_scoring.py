"""Answers of one process: grouped by sensor, scored with the right history, in the order of the request."""

import numpy as np
import pandas as pd
import pytest

from serving import recent_readings
from serving.contract import COLUMNS_OUT, PredictionRequest
from serving.recent_readings import RecentReadings, RecentSettings
from serving.scoring import fleet_scoring
from serving.scoring.fleet_scoring import RequestScorer
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.detector import AnomalyDetector
from training.errors import StoreError
from training.kinds import Kind
from training.reasons import ReasonCode, render_all
from training.registry.version_files import fetch_files

FIRST = pd.Timestamp("2026-01-01T00:00")  # readings are hourly, the last one at 2026-01-09T07:00
NEXT = pd.Timestamp("2026-01-09T08:00")
HOUR = pd.Timedelta(hours=1)


def request_of(*rows, horizon=0):
    sensor_ids, times, values = zip(*rows, strict=True)
    return PredictionRequest(sensor_ids, [f"{time.isoformat()}Z" for time in times], values, horizon)


def answer(scorer, *rows, horizon=0):
    return scorer.answer(request_of(*rows, horizon=horizon)).records()


def stored_rows(workspace, sensor_id, count):
    frame = workspace.readings.latest(sensor_id, count)
    return [(sensor_id, row.timestamp, row.value) for row in frame.itertuples()]


def scores_of(rows):
    assert [row["error"] for row in rows] == [None] * len(rows)
    return [row["anomaly_score"] for row in rows]


@pytest.fixture
def small_memory(service, trained_workspace):
    """A scorer with the same champions and 64 readings of each sensor in memory."""
    recent = RecentReadings(lambda: trained_workspace.readings, RecentSettings(context=64))
    yield RequestScorer(service.champions, recent)
    recent.close()


def test_rows_of_several_sensors_come_back_in_the_order_of_the_request(service):
    request = [("TT-1", NEXT, 20.0), ("PT-1", NEXT, None), ("PT-1", NEXT - HOUR, 21.0), ("TT-1", NEXT, None)]

    rows = answer(service.scorer, *request, horizon=2)

    assert [row["sensor_id"] for row in rows] == [
        "TT-1",
        "PT-1",
        "PT-1",
        "TT-1",
        "TT-1",
        "TT-1",
        "PT-1",
        "PT-1",
    ]
    assert [row["value"] for row in rows[:4]] == [20.0, None, 21.0, None]
    assert all(list(row) == list(COLUMNS_OUT) for row in rows)


def test_a_sensors_score_does_not_depend_on_the_other_sensors_of_the_request(service):
    together = answer(service.scorer, ("PT-1", NEXT, 25.0), ("TT-1", NEXT, 15.0))

    assert together == [
        *answer(service.scorer, ("PT-1", NEXT, 25.0)),
        *answer(service.scorer, ("TT-1", NEXT, 15.0)),
    ]


def test_a_period_scored_at_once_has_the_scores_of_its_readings_one_by_one(service, trained_workspace):
    rows = stored_rows(trained_workspace, "PT-1", 6)

    assert scores_of(answer(service.scorer, *rows)) == pytest.approx(
        [scores_of(answer(service.scorer, row))[0] for row in rows], abs=1e-12
    )


def test_a_repeated_row_is_scored_once_and_answered_twice(service):
    rows = answer(service.scorer, ("PT-1", NEXT, 20.0), ("PT-1", NEXT + HOUR, 21.0), ("PT-1", NEXT, 20.0))

    assert rows[0] == rows[2]
    assert rows[0]["timestamp"] != rows[1]["timestamp"]


def test_posted_readings_are_the_history_of_later_ones(service):
    """Twelve posted steps upwards change what the thirteenth means."""
    posted = [("PT-1", NEXT + hour * HOUR, 30.0) for hour in range(13)]

    alone, after_others = answer(service.scorer, posted[-1])[0], answer(service.scorer, *posted)[-1]

    assert after_others["historical_average"] > alone["historical_average"]


def test_a_posted_value_replaces_the_stored_one_of_its_time(service, trained_workspace):
    *before, (_, time, value) = stored_rows(trained_workspace, "PT-1", 2)

    replaced = answer(service.scorer, ("PT-1", time, value + 0.5), ("PT-1", NEXT, value))[1]
    stored = answer(service.scorer, *before, ("PT-1", NEXT, value))[1]

    assert replaced["historical_average"] > stored["historical_average"]


def test_readings_older_than_the_memory_are_scored_with_their_stored_history(small_memory, service):
    """Five days back the 64 readings in memory have not begun."""
    old = ("PT-1", FIRST + 80 * HOUR, 20.0)

    assert scores_of(answer(small_memory, old)) == pytest.approx(
        scores_of(answer(service.scorer, old)), abs=1e-12
    )


def test_too_many_stored_readings_between_posted_ones_are_an_error_of_that_sensor(small_memory, monkeypatch):
    monkeypatch.setattr(recent_readings, "MAX_READINGS_BETWEEN", 50)

    first, last, other = answer(
        small_memory, ("PT-1", FIRST, 20.0), ("PT-1", NEXT, 20.0), ("TT-1", NEXT, 20.0)
    )

    assert "more than 50 readings are stored" in first["error"]
    assert first["error"] == last["error"]
    assert other["error"] is None


def test_a_detector_that_cannot_be_packed_gives_the_same_scores(service, trained_workspace, monkeypatch):
    packed = service.champions.detector("PT-1")
    files = fetch_files(packed.version, trained_workspace.model_cache)
    unpacked = type(packed)(packed.version, AnomalyDetector.load(files), packed.since)
    rows = [*stored_rows(trained_workspace, "PT-1", 5), ("PT-1", NEXT, 400.0)]
    expected = scores_of(answer(service.scorer, *rows))

    monkeypatch.setattr(service.champions, "detector", lambda _: unpacked)

    assert isinstance(packed.model, PackedDetector)
    assert scores_of(answer(service.scorer, *rows)) == pytest.approx(expected, abs=1e-6)


def test_a_sensor_without_a_detector_is_still_forecast(service):
    scored, forecast = answer(service.scorer, ("NEW-1", NEXT, 20.0), ("NEW-1", NEXT + HOUR, None))

    assert "no detector champion" in scored["error"]
    assert forecast["error"] is None
    assert forecast["lower"] <= forecast["expected"] <= forecast["upper"]


def test_an_unknown_sensor_with_a_horizon_gets_one_row_with_an_error(service):
    rows = answer(service.scorer, ("NOBODY", NEXT, None), horizon=24)

    assert len(rows) == 2
    assert all("no good reading to forecast from" in row["error"] for row in rows)
    assert rows[1]["timestamp"] is None


def test_steps_ahead_start_after_the_newest_posted_reading(service):
    response = service.scorer.answer(request_of(("PT-1", NEXT + 5 * HOUR, 20.0), horizon=3))

    assert response.origins["PT-1"] == (NEXT + 5 * HOUR).timestamp()
    assert response.seconds[1:] == [(NEXT + hours * HOUR).timestamp() for hours in (6, 7, 8)]


def test_a_time_before_the_newest_reading_needs_a_forecaster(service):
    past = FIRST + 100 * HOUR

    with_forecaster, without = answer(service.scorer, ("PT-1", past, None), ("NEW-1", past, None))

    assert with_forecaster["expected"] is not None
    assert "before the newest reading" in without["error"]


def test_every_sensor_is_answered_where_the_scoring_of_one_fails(service, monkeypatch, caplog):
    usual = fleet_scoring.RequestScorer._build_case

    def broken(self, group, model, tail):
        case, places = usual(self, group, model, tail)
        return (case._replace(model=None) if group.sensor_id == "TT-1" else case), places

    monkeypatch.setattr(fleet_scoring.RequestScorer, "_build_case", broken)

    good, failed = answer(service.scorer, ("PT-1", NEXT, 20.0), ("TT-1", NEXT, 20.0))

    assert good["error"] is None
    assert "could not be scored" in failed["error"]
    assert "AttributeError" in failed["error"]


def test_the_reason_column_is_the_text_of_the_rows_reasons(service):
    response = service.scorer.answer(
        request_of(("PT-1", NEXT, 400.0), ("PT-1", NEXT + HOUR, None), horizon=2)
    )

    assert len(response.reasons) == len(response.seconds) == 4
    assert response.reasons[0]
    assert [render_all(reasons) for reasons in response.reasons] == response.columns["reason"]


def test_without_the_store_each_row_has_the_reason_how_it_was_answered(service, monkeypatch):
    answer(service.scorer, ("PT-1", NEXT, 20.0))

    def refuse():
        raise StoreError("connection refused")

    monkeypatch.setattr(service.recent, "open_store", refuse)
    response = service.scorer.answer(
        request_of(("PT-1", NEXT, 20.0), ("PT-1", NEXT + HOUR, None), ("TT-1", NEXT, 20.0), horizon=1)
    )

    assert [note.code for note in response.notes] == [ReasonCode.SERVING_STORE_UNREACHABLE]
    assert [reasons[-1].code for reasons in response.reasons] == [
        ReasonCode.SERVING_SCORED_FROM_MEMORY,
        ReasonCode.SERVING_FORECAST_FROM_MEMORY,
        ReasonCode.SERVING_SCORED_FROM_REQUEST,
        ReasonCode.SERVING_FORECAST_FROM_MEMORY,
        ReasonCode.SERVING_FORECAST_FROM_MEMORY,
    ]


def test_a_champion_is_taken_once_for_all_rows_of_a_sensor(service, monkeypatch):
    """Two rows of one answer must not come from two versions."""
    taken = []
    usual = service.champions.detector
    monkeypatch.setattr(service.champions, "detector", lambda name: taken.append(name) or usual(name))

    rows = answer(service.scorer, *[("PT-1", NEXT + hour * HOUR, 20.0 + hour) for hour in range(10)])

    assert taken == ["PT-1"]
    assert {row["detector_version"] for row in rows} == {"1"}


def test_thousands_of_rows_have_the_scores_of_small_requests(service):
    values = 20 + 5 * np.sin(np.arange(2_000) / 4)
    rows = [("PT-1", NEXT + hour * HOUR, float(value)) for hour, value in enumerate(values)]

    whole = scores_of(answer(service.scorer, *rows))

    assert whole[:100] == pytest.approx(scores_of(answer(service.scorer, *rows[:100])), abs=1e-12)


def test_kinds_are_loaded_only_for_rows_that_need_them(service):
    answer(service.scorer, ("PT-1", NEXT, 20.0))
    assert set(service.champions.loaded()) == {("PT-1", Kind.DETECTOR)}

    answer(service.scorer, ("TT-1", NEXT, None))
    assert set(service.champions.loaded()) == {("PT-1", Kind.DETECTOR), ("TT-1", Kind.FORECASTER)}
