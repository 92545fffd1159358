"""Naive forecasts: the last reading, or the reading one season earlier.

Candidates beside Prophet, and the reference of its skill (`training.forecasting.naive_shrinkage`).
"""

from dataclasses import dataclass

import numpy as np

from training.common.arrays import Floats, Ints
from training.forecasting.time_grid import DAY, TimeGrid

SEASONAL_NAIVE_DAILY, LAST_VALUE = "seasonal naive (daily)", "last value"
SEASON_SECONDS = {"daily": DAY, "weekly": 7 * DAY}  # seconds


@dataclass(frozen=True)
class Naive:
    """Repeats the last reading (`season` 1), or the last season (`season` slots)."""

    name: str
    season: int

    @property
    def memory(self) -> int:
        """Slots of readings that a forecast depends on, with a margin for gaps."""
        return 3 * self.season + 64

    def forecast(self, grid: TimeGrid, origins: Ints, horizon: int) -> Floats:
        """The next values after each origin slot: one row per origin, one column per step.

        Where the slot one season earlier is empty, the season before that is used, else the last reading.
        """
        last = _carry_forward(grid.values)[origins]
        if self.season == 1:
            return np.repeat(last[:, None], horizon, axis=1)
        steps = np.arange(1, horizon + 1)
        cycles = -(-steps // self.season)
        earlier = origins[:, None] + steps - cycles * self.season
        repeated = _carry_forward_by_season(grid.values, self.season)[np.maximum(earlier, 0)]
        repeated[earlier < 0] = np.nan
        return np.where(np.isnan(repeated), last[:, None], repeated)


def supported_naives(grid: TimeGrid) -> dict[str, Naive]:
    """The naive forecasts that a history supports, by name: it must span two seasons."""
    slots_by_season = {name: round(length / grid.step) for name, length in SEASON_SECONDS.items()}
    seasonal = [
        Naive(f"seasonal naive ({name})", slots)
        for name, slots in slots_by_season.items()
        if 2 <= slots <= len(grid) / 2
    ]
    return {naive.name: naive for naive in (Naive(LAST_VALUE, 1), *seasonal)}


def _carry_forward(values: Floats) -> Floats:
    """The latest reading at each slot; before the first reading, the first."""
    known = ~np.isnan(values)
    first = int(np.argmax(known))
    latest = np.maximum.accumulate(np.where(known, np.arange(len(values)), first))
    carried: Floats = values[latest]
    return carried


def _carry_forward_by_season(values: Floats, season: int) -> Floats:
    """The latest reading at the same position in the season; NaN where there is none."""
    cycles = -(-len(values) // season)
    padded = np.full(cycles * season, np.nan)
    padded[: len(values)] = values
    table = padded.reshape(cycles, season)
    latest = np.maximum.accumulate(np.where(np.isnan(table), 0, np.arange(cycles)[:, None]), axis=0)
    carried: Floats = np.take_along_axis(table, latest, axis=0).ravel()[: len(values)]
    return carried
