"""Times inside the platform: naive UTC datetimes, seconds since 1970, and their text in tags and JSON.

Pure; the clock is read in `clock`. Parsing what files and people write is
`training.ingest.timestamp_parsing`.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.common.arrays import Floats


def to_naive_utc(time: datetime) -> datetime:
    """A time of any zone as naive UTC; one without a zone is UTC already."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def to_seconds(time: datetime) -> float:
    """Seconds since 1970 of a naive UTC time, to the microsecond.

    >>> to_seconds(datetime(2026, 1, 1))
    1767225600.0
    """
    return time.replace(tzinfo=UTC).timestamp()


def to_datetime(seconds: float) -> datetime:
    """Seconds since 1970, rounded to whole seconds, as a naive UTC time.

    >>> to_datetime(1_767_225_600.0)
    datetime.datetime(2026, 1, 1, 0, 0)
    """
    return datetime.fromtimestamp(round(seconds), UTC).replace(tzinfo=None)


def epoch_seconds(times: Any) -> Floats:
    """Times (an index, a column or an array; naive is UTC) as seconds since 1970; missing ones as NaN."""
    index = pd.DatetimeIndex(times)
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    # Microseconds since 1970 fit into a float without rounding, nanoseconds do not: equal times stay equal.
    seconds = index.to_numpy("datetime64[us]").view(np.int64) / 1e6
    seconds[index.isna()] = np.nan
    return seconds


def to_times(seconds: NDArray[np.floating[Any]]) -> pd.DatetimeIndex:
    """Seconds since 1970 as naive UTC times, to the microsecond."""
    return pd.DatetimeIndex(np.rint(seconds * 1e6).astype("datetime64[us]"))


def iso(time: datetime) -> str:
    """A naive UTC time as ISO 8601 with its zone.

    >>> iso(datetime(2026, 1, 1, 6))
    '2026-01-01T06:00:00Z'
    """
    return f"{pd.Timestamp(time).isoformat()}Z"


def read_iso(text: str) -> datetime:
    """The inverse of `iso`."""
    return datetime.fromisoformat(text.removesuffix("Z"))
