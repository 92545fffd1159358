"""Windows of undrifted readings with later blocks to check, and the drifts that are put into copies of them.

A window is 28 days, a block 2 days, checked 0 to 8 days after the window; of a series shorter than 36 days a
block is a fortieth. All in seconds of the epoch.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.drift_data import Stretch

Floats = NDArray[np.float64]

DAY = 86_400.0
BLOCK = 2 * DAY
WINDOW = 14  # blocks
LAGS = (0, 1, 2, 3)  # blocks between window and check
SHORT = 40  # blocks that a short series is cut into
FILLED = 0.5  # of the readings that the window's blocks have, or nothing is checked

INJECTIONS = (
    "mean 0.5 sd",
    "mean 1 sd",
    "mean 2 sd",
    "mean 1 sd deseasonalised",
    "mean 2 sd deseasonalised",
    "spread x1.5",
    "spread x2",
    "slope to 1 sd",
)


@dataclass(frozen=True)
class Case:
    """One window and one later block of the same series, nothing known to have changed between."""

    stretch: Stretch
    number: int  # of the block
    lag: int  # blocks between
    window: pd.Series
    block: pd.Series
    begun: float
    length: float

    @property
    def season(self) -> float:
        """The standard deviation that the mean course of the day leaves in the window."""
        if self.window.index[-1] - self.window.index[0] < pd.Timedelta(days=3):
            return float(self.window.std())
        hours = pd.DatetimeIndex(self.window.index).hour
        return float((self.window - self.window.groupby(hours).transform("mean")).std())


def cases(stretch: Stretch, *, most: int, lags: Sequence[int] = LAGS) -> Iterator[Case]:
    """Up to `most` blocks of one series, evenly chosen, each behind a window at every lag."""
    seconds = pd.DatetimeIndex(stretch.readings.index).as_unit("us").asi8 / 1e6
    if len(seconds) < 100:
        return
    first, span = float(seconds[0]), float(seconds[-1] - seconds[0])
    length = BLOCK if span >= (WINDOW + 4) * BLOCK else span / SHORT
    blocks = np.arange(WINDOW + max(lags), int(span // length))
    if len(blocks) > most:
        blocks = blocks[np.linspace(0, len(blocks) - 1, most).astype(int)]
    for number in blocks.tolist():
        for lag in lags:
            begun = first + number * length
            end = begun - lag * length
            rows = np.searchsorted(seconds, [end - WINDOW * length, end, begun, begun + length])
            window = stretch.readings.iloc[rows[0] : rows[1]]
            block = stretch.readings.iloc[rows[2] : rows[3]]
            covered = len(window) and seconds[rows[0]] <= end - (WINDOW - 1) * length
            if covered and len(block) >= FILLED * len(window) / WINDOW and len(block) >= 12:
                yield Case(stretch, number, lag, window, block, begun, length)


def injected(case: Case, how: str) -> pd.Series:
    """A copy of the block with one drift in it; up or down by a coin that is the same at every run."""
    coin = zlib.crc32(f"{case.stretch.series} {case.number} {how}".encode()) % 2
    sign = 1.0 if coin else -1.0
    spread = float(case.window.std())
    if how.startswith("mean"):
        size = case.season if how.endswith("deseasonalised") else spread
        return case.block + sign * float(how.split()[1]) * size
    if how.startswith("spread"):
        middle = float(case.block.mean())
        return middle + float(how.split("x")[1]) * (case.block - middle)
    passed = pd.DatetimeIndex(case.block.index).as_unit("us").asi8 / 1e6 - case.begun
    return case.block + sign * spread * passed / case.length
