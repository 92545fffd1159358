"""Limits at the endpoint: a reading at a limit has the limit's severity and reason, whatever serves."""

import json

import pandas as pd
import pytest

from serving.contract import COLUMNS_OUT, PredictionRequest
from serving.predictions.write_queue import response_rows
from training.common.clock import utc_now
from training.data.sensor_store import save_sensors
from training.data.sensors import Sensor

NEXT = pd.Timestamp("2026-01-09T08:00")
HOUR = pd.Timedelta(hours=1)


@pytest.fixture
def limited(service):
    """The service, with limits on a sensor that has a detector and on one that has none."""
    limits = {"unit": "bar", "low": 0.0, "high": 300.0, "warning_high": 40.0, "critical_high": 95.0}
    sensors = [Sensor(id=name, max_rate=0.5, **limits) for name in ("PT-1", "NEW-1")]
    save_sensors(service.workspace.engine, sensors)
    service.sensor_cache.refresh()
    return service.scorer


def answer(scorer, *rows):
    names, times, values = zip(*rows, strict=True)
    return scorer.answer(PredictionRequest(names, [f"{time.isoformat()}Z" for time in times], values))


@pytest.mark.parametrize(
    ("value", "severity", "reason"),
    [
        (96.0, "critical", "critical high limit of 95 bar reached: 96 bar"),
        (95.0, "critical", "critical high limit of 95 bar reached: 95 bar"),
        (41.0, "warning", "high limit of 40 bar reached: 41 bar"),
        (350.0, "warning", "350 bar is outside the instrument range, which ends at 300 bar"),
    ],
)
def test_a_reading_at_a_limit_has_its_severity_and_reason_without_a_detector(
    limited, value, severity, reason
):
    (row,) = answer(limited, ("NEW-1", NEXT, value)).records()

    assert (row["severity"], row["reason"]) == (severity, reason)
    assert "no detector champion" in row["error"]
    assert list(row) == list(COLUMNS_OUT)


def test_a_reading_inside_its_limits_is_answered_as_before(limited):
    (row,) = answer(limited, ("NEW-1", NEXT, 20.0)).records()

    assert (row["severity"], row["reason"]) == (None, None)


def test_the_reason_of_a_limit_comes_before_that_of_the_score(limited):
    (row,) = answer(limited, ("PT-1", NEXT, 96.0)).records()

    assert row["anomaly_score"] > 0.5
    assert row["severity"] == "critical"
    assert row["reason"].startswith("critical high limit of 95 bar reached: 96 bar; ")


def test_a_change_faster_than_permitted_is_judged_with_the_reading_before(limited):
    """From 20 to 39 in ten minutes, 1.9 bar a minute."""
    rows = answer(
        limited,
        ("NEW-1", NEXT, 20.0),
        ("NEW-1", NEXT + HOUR / 6, 39.0),
        ("NEW-1", NEXT + 2 * HOUR, 20.0),
    ).records()

    assert [row["severity"] for row in rows] == [None, "danger", None]
    assert rows[1]["reason"] == "changes by +1.9 bar a minute, at most 0.5 bar permitted: 39 bar"


def test_a_row_is_judged_as_if_it_were_the_last_one(limited):
    rows = [("PT-1", NEXT + hour * HOUR, value) for hour, value in enumerate((20.0, 41.0, 350.0, 96.0, 20.0))]

    together = [row["severity"] for row in answer(limited, *rows).records()]

    assert together == [answer(limited, *rows[:end]).records()[-1]["severity"] for end in range(1, 6)]


def test_what_is_stored_of_a_score_is_its_own_severity_and_reason(limited):
    """Limits are judged where readings are shown: `safeplan detect` stores the same row."""
    response = answer(limited, ("PT-1", NEXT, 96.0))

    (row,) = response_rows(response, utc_now())

    assert row["severity"] == "certain"
    assert "limit" not in row["reason"]
    assert [reason["code"] for reason in json.loads(row["reason_data"])] != ["limit_upper_crossed"]
