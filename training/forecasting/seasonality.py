"""Prophet's seasons: which of them a history supports, and their Fourier columns.

Knows periods and harmonics. Leaves what the columns weigh to `gram`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.common.arrays import Floats
from training.forecasting.time_grid import DAY

PERIOD_DAYS = {"daily": 1.0, "weekly": 7.0, "yearly": 365.25}  # days, as Prophet has them


@dataclass(frozen=True)
class Season:
    """One of Prophet's seasons: so many harmonics of a period in days."""

    name: str
    order: int

    @property
    def period(self) -> float:
        """Days."""
        return PERIOD_DAYS[self.name]


def is_supported(name: str, days: Floats, *, step: float) -> bool:
    """Whether readings at these times (days, ascending) show a season: each quarter of a turn twice at least.

    A step (seconds) that takes fewer than four readings a turn shows none.

    >>> supported("daily", np.arange(48) / 24, step=3600), supported("daily", np.arange(40) / 24, step=3600)
    (True, False)
    """
    period = PERIOD_DAYS[name]
    quarters = np.floor(4 * days / period).astype(np.int64)
    seen = quarters[np.flatnonzero(np.diff(quarters, prepend=-1))]
    return step * 4 <= period * DAY and int(np.bincount(seen % 4, minlength=4).min()) >= 2


def highest_order(name: str, *, step: float) -> int:
    """The fastest harmonic that this step (seconds) can tell from a slower one."""
    return max(1, int(PERIOD_DAYS[name] * DAY / step / 2 - 0.5))


def fourier_columns(days: Floats, seasons: Sequence[Season]) -> Floats:
    """Sine and cosine of each harmonic in turn, the seasons side by side, as Prophet orders them."""
    blocks = [_harmonics(days, season) for season in seasons]
    return np.hstack(blocks) if blocks else np.zeros((len(days), 0))


def _harmonics(days: Floats, season: Season) -> Floats:
    # One sine and cosine a row; each further harmonic is a product. Angles of 20,000 days are themselves
    # exact to 1e-11 only, so the 1e-14 that this loses is not missed.
    first = np.exp(2j * np.pi / season.period * days)
    columns = np.empty((2 * season.order, len(days)))
    turning = first
    for harmonic in range(season.order):
        columns[2 * harmonic], columns[2 * harmonic + 1] = turning.imag, turning.real
        turning = turning * first
    return columns.T
