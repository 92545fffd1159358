"""Parse timestamps as files write them and convert them to UTC.

Reads ISO 8601, epochs, two unambiguous notations of months, time zones, and the two hours a year that
daylight saving makes ambiguous. Whether a time is plausible is checked in `training.ingest.row_validation`.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.common.arrays import Flags
from training.ingest.load_report import REASON_CODES, RowCodes, RowReason

Times = npt.NDArray[np.datetime64]
MICROSECONDS = pa.timestamp("us")
NUMBER_PATTERN = r"^\d+(\.\d*)?$"
ZONE_PATTERN = r":\d\d([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)$"
COMPACT_PATTERN = r"^(19|20)\d{6}(\d{6})?$"
TIME_START_PATTERN = r"^\d"
# Tried in turn on what is not ISO 8601. Slashes are missing: 3/4/2026 is a day in April or in March.
UNAMBIGUOUS_FORMATS = ("%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M")
# Numbers up to 1e11 are seconds (the year 5138); larger ones milli-, then micro-, then nanoseconds.
EPOCH_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (np.inf, 1e-3))


@dataclass(frozen=True)
class ParsedTimestamps:
    """The times of a column: in UTC (NaT where ambiguous), as written, and each row's reason."""

    utc: Times
    written: Times
    reasons: RowCodes
    without_zone: int


def parse_timestamps(column: pa.Array, *, zone: ZoneInfo, pattern: str | None = None) -> ParsedTimestamps:
    """Convert a column of times to UTC; those without a zone are in `zone`.

    Rows in the hour that daylight saving repeats get the reason REPEATED_HOUR: only their order can resolve
    which of the two hours it is (`resolve_repeated_hours`). `pattern` is a strptime format of the column.
    """
    written, has_zone = _parse_column(column, pattern)
    utc, reasons = localize_times(written, zone)
    utc[has_zone], reasons[has_zone] = written[has_zone], 0
    reasons[np.isnat(written)] = REASON_CODES[RowReason.UNREADABLE_STAMP]
    return ParsedTimestamps(utc, written, reasons, int((~has_zone & ~np.isnat(written)).sum()))


def localize_times(times: Times, zone: ZoneInfo) -> tuple[Times, RowCodes]:
    """Local times in UTC; NaT with a reason for those that daylight saving skips or repeats."""
    reasons = np.zeros(len(times), np.int8)
    if zone.key == "UTC":
        return times.copy(), reasons
    index = pd.DatetimeIndex(times)
    first, second = (_utc(index, zone, summer=np.full(len(times), summer)) for summer in (True, False))
    skipped = np.isnat(first) & ~np.isnat(times)
    repeated = ~skipped & (first != second) & ~np.isnat(times)
    reasons[skipped], reasons[repeated] = (
        REASON_CODES[RowReason.SKIPPED_HOUR],
        REASON_CODES[RowReason.REPEATED_HOUR],
    )
    return np.where(repeated, np.datetime64("NaT"), first), reasons


def resolve_repeated_hours(sensors: npt.NDArray[np.object_], written: Times, zone: ZoneInfo) -> Times:
    """Times in the hour that daylight saving repeats, in UTC by their order; NaT where that fails.

    It succeeds where one sensor's times increase, fail to increase once, and increase again.
    """
    rows = pd.DataFrame({"sensor": sensors, "day": written.astype("datetime64[D]"), "time": written})
    groups = rows.groupby(["sensor", "day"], sort=False)
    steps_back = groups["time"].diff() <= pd.Timedelta(0)
    back_so_far = steps_back.groupby([rows["sensor"], rows["day"]], sort=False).cumsum()
    resolvable = back_so_far.groupby([rows["sensor"], rows["day"]], sort=False).transform("max") == 1
    utc = _utc(pd.DatetimeIndex(written), zone, summer=(back_so_far == 0).to_numpy())
    return np.where(resolvable.to_numpy(), utc, np.datetime64("NaT"))


def _utc(index: pd.DatetimeIndex, zone: ZoneInfo, *, summer: Flags) -> Times:
    aware = index.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
    return aware.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")


def _parse_column(column: pa.Array, pattern: str | None) -> tuple[Times, Flags]:
    """The times of a column as written, and which of them have a zone (those are in UTC)."""
    kind = column.type
    if pa.types.is_string(kind):
        return _parse_texts(pc.utf8_trim_whitespace(column).fill_null(""), pattern)
    zoned = pa.types.is_integer(kind) or pa.types.is_floating(kind) or getattr(kind, "tz", None) is not None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        times = _epochs(column)
    elif pa.types.is_timestamp(kind):
        times = _numpy(column.cast(pa.timestamp("us", kind.tz), safe=False))
    elif pa.types.is_date(kind):
        times = _numpy(column.cast(MICROSECONDS))
    else:
        times = np.full(len(column), "NaT", "datetime64[us]")
    return times, np.full(len(column), zoned)


def _parse_texts(texts: pa.Array, pattern: str | None) -> tuple[Times, Flags]:
    if pattern is not None:
        has_zone = "%z" in pattern
        return _parse_format(texts.to_pandas(), pattern, utc=has_zone), np.full(len(texts), has_zone)
    for unit, zoned in ((MICROSECONDS, False), (pa.timestamp("us", "UTC"), True)):
        try:
            return _numpy(texts.cast(unit)), np.full(len(texts), zoned)
        except pa.ArrowInvalid:
            continue
    return _parse_mixed(texts)


def _parse_mixed(texts: pa.Array) -> tuple[Times, Flags]:
    def where(expression: str) -> Flags:
        matches: Flags = pc.match_substring_regex(texts, expression).to_numpy(zero_copy_only=False)
        return matches

    compact = where(COMPACT_PATTERN)
    epoch = where(NUMBER_PATTERN) & ~compact
    zoned = where(ZONE_PATTERN)
    plain = where(TIME_START_PATTERN) & ~compact & ~epoch & ~zoned
    times = np.full(len(texts), "NaT", "datetime64[us]")
    strings = texts.to_pandas()
    times[epoch] = _epochs(texts.filter(pa.array(epoch)).cast(pa.float64()))
    times[zoned] = _parse_format(
        strings[zoned].str.replace("(UTC|GMT)$", "Z", regex=True), "ISO8601", utc=True
    )
    times[plain] = _parse_format(strings[plain], "ISO8601")
    times[compact] = _parse_format(strings[compact].str.ljust(14, "0"), "%Y%m%d%H%M%S")
    for pattern in UNAMBIGUOUS_FORMATS:
        rest = plain & np.isnat(times)
        if not rest.any():
            break
        times[rest] = _parse_format(strings[rest], pattern)
    return times, epoch | zoned


def _parse_format(texts: pd.Series, pattern: str, *, utc: bool = False) -> Times:
    parsed = pd.to_datetime(texts, format=pattern, errors="coerce", utc=utc)
    if utc:
        parsed = parsed.dt.tz_localize(None)
    return parsed.to_numpy().astype("datetime64[us]")


def _epochs(column: pa.Array) -> Times:
    numbers = np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), float)
    limits = [limit for limit, _ in EPOCH_UNITS]
    factor = np.array([factor for _, factor in EPOCH_UNITS])[
        np.searchsorted(limits[:-1], np.abs(np.nan_to_num(numbers)), side="right")
    ]
    micro = numbers * factor
    readable = np.isfinite(micro) & (np.abs(micro) < 1e17)  # up to the year 5138
    whole = np.where(readable, np.round(np.where(readable, micro, 0)), 0).astype(np.int64)
    return np.where(readable, whole.astype("datetime64[us]"), np.datetime64("NaT", "us"))


def _numpy(column: pa.Array) -> Times:
    return np.array(column.to_numpy(zero_copy_only=False), "datetime64[us]")
