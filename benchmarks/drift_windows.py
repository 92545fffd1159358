"""Windows of undrifted readings with later blocks to check, and the drifts that are put into copies of them.

A window is 28 days, a block 2 days, checked 0 to 8 days after the window; of a series shorter than 36 days a
block is a fortieth. All in seconds of the epoch.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.drift_data import UndriftedSeries

DAY = 86_400.0
BLOCK_SECONDS = 2 * DAY
WINDOW_BLOCKS = 14  # blocks
LAGS = (0, 1, 2, 3)  # blocks between window and check
SHORT_SERIES_BLOCKS = 40  # blocks that a short series is cut into
MIN_FILLED_SHARE = 0.5  # of the readings that the window's blocks have, or nothing is checked

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
class DriftCase:
    """One window and one later block of the same series, nothing known to have changed between."""

    stretch: UndriftedSeries
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


def make_cases(
    stretch: UndriftedSeries, *, max_blocks: int, lags: Sequence[int] = LAGS
) -> Iterator[DriftCase]:
    """Up to `most` blocks of one series, evenly chosen, each behind a window at every lag."""
    seconds = pd.DatetimeIndex(stretch.readings.index).as_unit("us").asi8 / 1e6
    if len(seconds) < 100:
        return
    first, span = float(seconds[0]), float(seconds[-1] - seconds[0])
    length = BLOCK_SECONDS if span >= (WINDOW_BLOCKS + 4) * BLOCK_SECONDS else span / SHORT_SERIES_BLOCKS
    blocks = np.arange(WINDOW_BLOCKS + max(lags), int(span // length))
    if len(blocks) > max_blocks:
        blocks = blocks[np.linspace(0, len(blocks) - 1, max_blocks).astype(int)]
    for number in blocks.tolist():
        for lag in lags:
            start = first + number * length
            end = start - lag * length
            rows = np.searchsorted(seconds, [end - WINDOW_BLOCKS * length, end, start, start + length])
            window = stretch.readings.iloc[rows[0] : rows[1]]
            block = stretch.readings.iloc[rows[2] : rows[3]]
            covered = len(window) and seconds[rows[0]] <= end - (WINDOW_BLOCKS - 1) * length
            if covered and len(block) >= MIN_FILLED_SHARE * len(window) / WINDOW_BLOCKS and len(block) >= 12:
                yield DriftCase(stretch, number, lag, window, block, start, length)


def inject_drift(case: DriftCase, injection: str) -> pd.Series:
    """A copy of the block with one drift in it; up or down by a coin that is the same at every run."""
    coin = zlib.crc32(f"{case.stretch.series} {case.number} {injection}".encode()) % 2
    sign = 1.0 if coin else -1.0
    spread = float(case.window.std())
    if injection.startswith("mean"):
        size = case.season if injection.endswith("deseasonalised") else spread
        return case.block + sign * float(injection.split()[1]) * size
    if injection.startswith("spread"):
        middle = float(case.block.mean())
        return middle + float(injection.split("x")[1]) * (case.block - middle)
    passed = pd.DatetimeIndex(case.block.index).as_unit("us").asi8 / 1e6 - case.begun
    return case.block + sign * spread * passed / case.length
