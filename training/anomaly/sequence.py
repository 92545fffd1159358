"""Readings in any form a caller has them, as seconds and finite values in order of time.

Knows arrays, Series, times and the order rows were asked in; knows nothing of models.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.common.arrays import Floats, Ints
from training.common.times import epoch_seconds
from training.errors import DataError

Times = Any  # a DatetimeIndex, a Series or array of times, or None

DEFAULT_STEP = 60.0  # seconds between readings of an array without times


@dataclass(frozen=True)
class ReadingSequence:
    """Finite readings in order of time; the first `before` of them are history."""

    seconds: Floats
    values: Floats
    history_size: int
    input_positions: Ints  # where each reading after the history stands among those asked
    input_size: int
    clocked: bool

    def in_input_order(self, results: Floats) -> Floats:
        """Results of the rows behind the history as the caller's rows stood; NaN for those left out."""
        answer = np.full(self.input_size, np.nan)
        answer[self.input_positions] = results
        return answer

    def finite(self) -> "ReadingSequence":
        """Without infinite values."""
        good = np.isfinite(self.values)
        return replace(
            self,
            seconds=self.seconds[good],
            values=self.values[good],
            input_positions=self.input_positions[good],
        )

    def with_regular_times(self, step: float) -> "ReadingSequence":
        """Times replaced by places: for a model learned from readings without times."""
        return replace(self, seconds=step * np.arange(self.values.size, dtype=np.float64))


def to_sequence(
    data: ArrayLike | pd.Series,
    timestamps: Times = None,
    *,
    step: float = DEFAULT_STEP,
    after: float = -DEFAULT_STEP,
) -> ReadingSequence:
    """Put readings in order of time; rows without times follow each other from `after` at `step`.

    Raises:
        DataError: a table of several columns, or something that is no number.
    """
    values = _column(data)
    given = _seconds(data, timestamps)
    seconds = after + step * np.arange(1, values.size + 1.0) if given is None else given
    if seconds.size != values.size:
        raise ValueError(f"{values.size} values but {seconds.size} timestamps; they must be equal in number.")
    positions = np.flatnonzero(~np.isnan(values) & ~np.isnan(seconds))
    positions = positions[np.argsort(seconds[positions], kind="stable")]
    return ReadingSequence(
        seconds[positions], values[positions], 0, positions, values.size, given is not None
    )


def join_history(
    history: ReadingSequence, requested: ReadingSequence, *, step: float, context: int
) -> ReadingSequence:
    """The readings asked about behind the newest of those before them."""
    if not requested.values.size or not history.values.size:
        return requested
    if history.clocked and not requested.clocked:
        requested = replace(
            requested, seconds=requested.seconds - requested.seconds[0] + history.seconds[-1] + step
        )
    elif not history.clocked:
        history = replace(
            history, seconds=history.seconds - history.seconds[-1] + requested.seconds[0] - step
        )
    earlier = np.flatnonzero(history.seconds < requested.seconds[0])[-context:]
    return replace(
        requested,
        seconds=np.concatenate([history.seconds[earlier], requested.seconds]),
        values=np.concatenate([history.values[earlier], requested.values]),
        history_size=earlier.size,
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
            return epoch_seconds(data.index)
        return None
    return epoch_seconds(pd.DatetimeIndex(timestamps))
