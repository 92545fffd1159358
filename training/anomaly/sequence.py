"""Readings in any form a caller has them, as seconds and finite values in order of time.

Knows arrays, Series, times and the order rows were asked in; knows nothing of models.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from training.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Times = Any  # a DatetimeIndex, a Series or array of times, or None

PLAIN_STEP = 60.0  # seconds between readings of an array without times


@dataclass(frozen=True)
class Sequence:
    """Finite readings in order of time; the first `before` of them are history."""

    seconds: Floats
    values: Floats
    before: int
    places: Ints  # where each reading after the history stands among those asked
    asked: int
    clocked: bool

    def in_order_asked(self, results: Floats) -> Floats:
        """Results of the rows behind the history as the caller's rows stood; NaN for those left out."""
        answer = np.full(self.asked, np.nan)
        answer[self.places] = results
        return answer

    def words_in_order_asked(self, words: list[str]) -> list[str]:
        """Likewise for words; empty for those left out."""
        answer = [""] * self.asked
        for place, word in zip(self.places, words, strict=True):
            answer[place] = word
        return answer

    def finite(self) -> "Sequence":
        """Without infinite values."""
        good = np.isfinite(self.values)
        return replace(self, seconds=self.seconds[good], values=self.values[good], places=self.places[good])

    def by_order(self, step: float) -> "Sequence":
        """Times replaced by places: for a model learned from readings without times."""
        return replace(self, seconds=step * np.arange(self.values.size, dtype=np.float64))


def sequence_of(
    data: ArrayLike | pd.Series,
    timestamps: Times = None,
    *,
    step: float = PLAIN_STEP,
    after: float = -PLAIN_STEP,
) -> Sequence:
    """Put readings in order of time; rows without times follow each other from `after` at `step`.

    Raises:
        DataError: a table of several columns, or something that is no number.
    """
    values = _column(data)
    given = _seconds(data, timestamps)
    seconds = after + step * np.arange(1, values.size + 1.0) if given is None else given
    if seconds.size != values.size:
        raise ValueError(f"{values.size} values but {seconds.size} timestamps; they must be equal in number.")
    places = np.flatnonzero(~np.isnan(values) & ~np.isnan(seconds))
    places = places[np.argsort(seconds[places], kind="stable")]
    return Sequence(seconds[places], values[places], 0, places, values.size, given is not None)


def joined(history: Sequence, asked: Sequence, *, step: float, context: int) -> Sequence:
    """The readings asked about behind the newest of those before them."""
    if not asked.values.size or not history.values.size:
        return asked
    if history.clocked and not asked.clocked:
        asked = replace(asked, seconds=asked.seconds - asked.seconds[0] + history.seconds[-1] + step)
    elif not history.clocked:
        history = replace(history, seconds=history.seconds - history.seconds[-1] + asked.seconds[0] - step)
    earlier = np.flatnonzero(history.seconds < asked.seconds[0])[-context:]
    return replace(
        asked,
        seconds=np.concatenate([history.seconds[earlier], asked.seconds]),
        values=np.concatenate([history.values[earlier], asked.values]),
        before=earlier.size,
    )


def _column(data: ArrayLike | pd.Series) -> Floats:
    try:
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Readings must be numbers: {error}. Leave a missing one as NaN.") from error
    if values.size != max(values.shape, default=1):
        raise DataError(
            f"Readings of shape {values.shape} are of several sensors; a detector knows one. Give one column."
        )
    return values.ravel()


def _seconds(data: object, timestamps: Times) -> Floats | None:
    if timestamps is None:
        if isinstance(data, pd.Series) and isinstance(data.index, pd.DatetimeIndex):
            return seconds_of(data.index)
        return None
    return seconds_of(pd.DatetimeIndex(timestamps))


def seconds_of(index: pd.DatetimeIndex) -> Floats:
    """Seconds since the epoch; times without a zone are UTC, missing ones NaN."""
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    seconds = index.to_numpy("datetime64[ns]").view(np.int64) / 1e9
    seconds[index.isna()] = np.nan
    return seconds
