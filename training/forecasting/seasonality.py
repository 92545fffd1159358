"""Prophet's seasons: which of them a history supports, and their Fourier columns.

The weights of the columns are fitted by `training.forecasting.gram_fit`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.common.arrays import Floats
from training.forecasting.time_grid import DAY

PERIOD_DAYS = {"daily": 1.0, "weekly": 7.0, "yearly": 365.25}  # Prophet's periods


@dataclass(frozen=True)
class Season:
    """One of Prophet's seasons: `order` harmonics of a period."""

    name: str
    order: int

    @property
    def period(self) -> float:
        """The period in days."""
        return PERIOD_DAYS[self.name]


def is_supported(name: str, days: Floats, *, step: float) -> bool:
    """Whether readings at these times (days, ascending) cover each quarter of a season at least twice.

    A step (seconds) with fewer than four readings per season supports none.

    >>> [is_supported("daily", np.arange(hours) / 24, step=3600) for hours in (48, 40)]
    [True, False]
    """
    period = PERIOD_DAYS[name]
    quarters = np.floor(4 * days / period).astype(np.int64)
    seen = quarters[np.flatnonzero(np.diff(quarters, prepend=-1))]
    return step * 4 <= period * DAY and int(np.bincount(seen % 4, minlength=4).min()) >= 2


def highest_order(name: str, *, step: float) -> int:
    """The highest harmonic that this step (seconds) can represent."""
    return max(1, int(PERIOD_DAYS[name] * DAY / step / 2 - 0.5))


def fourier_columns(days: Floats, seasons: Sequence[Season]) -> Floats:
    """Sine and cosine of each harmonic, season after season, in Prophet's order."""
    blocks = [_harmonics(days, season) for season in seasons]
    return np.hstack(blocks) if blocks else np.zeros((len(days), 0))


def _harmonics(days: Floats, season: Season) -> Floats:
    # Each further harmonic is a product. Angles of 20,000 days are exact to 1e-11 only, so the 1e-14 lost
    # here does not matter.
    first = np.exp(2j * np.pi / season.period * days)
    columns = np.empty((2 * season.order, len(days)))
    power = first
    for harmonic in range(season.order):
        columns[2 * harmonic], columns[2 * harmonic + 1] = power.imag, power.real
        power = power * first
    return columns.T
