"""Timestamps are converted to UTC, or refused with a reason."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.ingest.load_report import REASONS, RowReason
from training.ingest.timestamp_parsing import parse_timestamps, resolve_repeated_hours

UTC = ZoneInfo("UTC")
OSLO = ZoneInfo("Europe/Oslo")
BRAZIL = ZoneInfo("America/Sao_Paulo")


def read(*texts: str | None, zone: ZoneInfo = UTC, pattern: str | None = None) -> list[str | RowReason]:
    """For each text a time in UTC, or the reason for which it is refused."""
    stamps = parse_timestamps(pa.array(texts, pa.string()), zone=zone, pattern=pattern)
    return [
        REASONS[code] or str(time).removesuffix(".000000")
        for time, code in zip(stamps.utc, stamps.reasons, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01 12:00:00", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00", "2026-03-01T12:00:00"),
        ("2026-03-01", "2026-03-01T00:00:00"),
        (" 2026-03-01 12:00:00.5 ", "2026-03-01T12:00:00.500000"),
        ("2026-03-01 12:00:00.123456789", "2026-03-01T12:00:00.123456"),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00"),
        ("2026-03-01 12:00:00 UTC", "2026-03-01T12:00:00"),
        ("2026-03-01 12:00:00+02:00", "2026-03-01T10:00:00"),
        ("2026-03-01 12:00:00.5-0330", "2026-03-01T15:30:00.500000"),
        ("20260301", "2026-03-01T00:00:00"),
        ("20260301120000", "2026-03-01T12:00:00"),
        ("1772366400", "2026-03-01T12:00:00"),
        ("1772366400.25", "2026-03-01T12:00:00.250000"),
        ("1772366400000", "2026-03-01T12:00:00"),
        ("1772366400000000", "2026-03-01T12:00:00"),
        ("1772366400000000000", "2026-03-01T12:00:00"),
        ("01-Mar-2026 12:00:00", "2026-03-01T12:00:00"),
        ("01.03.2026 12:00", "2026-03-01T12:00:00"),
    ],
)
def test_a_timestamp_is_parsed_alone_and_in_a_mixed_column(text, expected):
    assert read(text) == [expected]
    assert read("2026-01-01 00:00", text, "2026-01-01T00:00:00+01:00", "?")[1] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        "now",
        "today",
        "03/04/2026 10:00",
        "2026-02-30",
        "24:00",
        "9" * 30,
        "1e3",
        "2026-13-01T00:00Z",
    ],
)
def test_invalid_and_ambiguous_timestamps_are_refused(text):
    assert read(text, "2026-03-01") == [RowReason.UNREADABLE_STAMP, "2026-03-01T00:00:00"]


def test_a_pattern_resolves_ambiguous_dates():
    assert read("03/04/2026 10:00", "x", pattern="%d/%m/%Y %H:%M") == [
        "2026-04-03T10:00:00",
        RowReason.UNREADABLE_STAMP,
    ]


def test_a_pattern_may_contain_a_time_zone():
    assert read("03/04/2026 10:00 +0100", pattern="%d/%m/%Y %H:%M %z", zone=BRAZIL) == ["2026-04-03T09:00:00"]


def test_the_given_time_zone_applies_only_to_times_without_one():
    assert read("2026-03-01 09:00", "2026-03-01 09:00:00Z", zone=BRAZIL) == [
        "2026-03-01T12:00:00",
        "2026-03-01T09:00:00",
    ]


def test_times_without_a_zone_are_counted():
    assert parse_timestamps(pa.array(["2026-03-01", "2026-03-01T00:00:00Z", "?"]), zone=UTC).without_zone == 1


def test_columns_of_times_and_numbers_are_converted():
    naive = datetime(2026, 3, 1, 12)  # noqa: DTZ001
    for column, expected in [
        (pa.array([naive], pa.timestamp("ns")), "2026-03-01T11:00:00"),
        (pa.array([naive], pa.timestamp("ms", "UTC")), "2026-03-01T12:00:00"),
        (pa.array([date(2026, 3, 1)]), "2026-02-28T23:00:00"),
        (pa.array([1772366400]), "2026-03-01T12:00:00"),
        (pa.array([1772366400.5]), "2026-03-01T12:00:00.500000"),
    ]:
        assert str(parse_timestamps(column, zone=OSLO).utc[0]).removesuffix(".000000") == expected


@given(st.datetimes(datetime(1971, 1, 2), datetime(2100, 1, 1), timezones=st.just(OSLO)))  # noqa: DTZ001
def test_a_local_time_is_converted_by_its_zone_or_refused(moment):
    stamps = parse_timestamps(pa.array([moment.replace(tzinfo=None)]), zone=OSLO)
    truth = np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")

    assert stamps.utc[0] == truth or REASONS[stamps.reasons[0]] in {
        RowReason.SKIPPED_HOUR,
        RowReason.REPEATED_HOUR,
    }


def test_only_the_skipped_hour_is_refused():
    assert read("2026-03-29 01:59:59", "2026-03-29 02:00", "2026-03-29 03:00", zone=OSLO) == [
        "2026-03-29T00:59:59",
        RowReason.SKIPPED_HOUR,
        "2026-03-29T01:00:00",
    ]


def test_only_the_repeated_hour_waits_for_its_order():
    assert read("2026-10-25 01:59:59", "2026-10-25 02:00", "2026-10-25 03:00", zone=OSLO) == [
        "2026-10-24T23:59:59",
        RowReason.REPEATED_HOUR,
        "2026-10-25T02:00:00",
    ]


def resolve(*times: str, sensors: list[str] | None = None) -> list[str]:
    written = np.array([f"2026-10-25T{time}" for time in times], "datetime64[us]")
    result = resolve_repeated_hours(np.array(sensors or ["PT-1"] * len(times), object), written, OSLO)
    return [str(time)[11:16] for time in result]


def test_times_that_step_back_once_are_resolved():
    assert resolve("02:00", "02:30", "02:00", "02:30") == ["00:00", "00:30", "01:00", "01:30"]


def test_a_repeated_time_is_in_the_second_hour():
    assert resolve("02:00", "02:00") == ["00:00", "01:00"]


@pytest.mark.parametrize(
    "times", [["02:00"], ["02:00", "02:30"], ["02:00", "02:30", "02:00", "02:30", "02:10"]]
)
def test_times_that_do_not_step_back_exactly_once_are_not_resolved(times):
    assert set(resolve(*times)) == {""}


def test_each_sensor_is_resolved_by_its_own_order():
    assert resolve("02:10", "02:20", "02:10", "02:30", sensors=["A", "B", "A", "B"]) == [
        "00:10",
        "",
        "01:10",
        "",
    ]
