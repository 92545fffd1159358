"""Convert readings (arrays or Series, with or without times) to seconds and values in order of time."""

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
    """Readings without missing values, in order of time; the first `history_size` of them are history."""

    seconds: Floats
    values: Floats
    history_size: int
    input_positions: Ints  # the position in the caller's data of each reading after the history
    input_size: int
    clocked: bool

    def in_input_order(self, results: Floats) -> Floats:
        """Results of the rows after the history in the order of the caller's data; NaN for those left out."""
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
        """With times at a constant step, for a model fitted to readings without times."""
        return replace(self, seconds=step * np.arange(self.values.size, dtype=np.float64))


def to_sequence(
    data: ArrayLike | pd.Series,
    timestamps: Times = None,
    *,
    step: float = DEFAULT_STEP,
    after: float = -DEFAULT_STEP,
) -> ReadingSequence:
    """Sort readings by time; those without times follow each other from `after` at `step` seconds.

    Raises:
        DataError: the data has several columns, or contains something that is not a number.
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
    """The requested readings after the newest of those before them."""
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
        raise DataError(f"readings must be numbers: {error}. Use NaN for a missing one.") from error
    if values.size != max(values.shape, default=1):
        raise DataError(
            f"readings of shape {values.shape} have several columns: a detector is of one sensor. Give one."
        )
    return values.ravel()


def _seconds(data: object, timestamps: Times) -> Floats | None:
    if timestamps is None:
        if isinstance(data, pd.Series) and isinstance(data.index, pd.DatetimeIndex):
            return epoch_seconds(data.index)
        return None
    return epoch_seconds(pd.DatetimeIndex(timestamps))
