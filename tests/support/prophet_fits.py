"""Series for the tests of the Prophet fit, and our fit of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.common.times import epoch_seconds
from training.forecasting.gram_fit import DesignSums
from training.forecasting.prophet_model import Curve, Priors, fit_curve
from training.forecasting.seasonality import Season, fourier_columns
from training.forecasting.time_grid import DAY

SEASONS = (Season("weekly", 3), Season("daily", 4))  # in the order in which Prophet adds its own


@dataclass(frozen=True)
class FitCase:
    """One series with a daily cycle, a bend in its trend and noise."""

    rows: int
    seed: int

    def frame(self) -> pd.DataFrame:
        rng = np.random.default_rng(self.seed)
        times = pd.date_range("2026-01-01", periods=self.rows, freq="h")
        hours = np.arange(self.rows)
        bend = np.maximum(hours - self.rows // 2, 0) * 0.02 * (self.seed % 3 - 1)
        daily = np.sin(2 * np.pi * hours / 24 + self.seed)
        return pd.DataFrame({"ds": times, "y": 1000 + bend + daily + rng.normal(0, 0.4, self.rows)})


CASES = [FitCase(rows, seed) for rows, seed in ((90, 0), (336, 1), (500, 2))]


def fit_ours(frame: pd.DataFrame, priors: Priors, seasons: tuple[Season, ...] = SEASONS) -> Curve:
    days = epoch_seconds(pd.DatetimeIndex(frame["ds"])) / DAY
    sums = DesignSums(days, fourier_columns(days, seasons))
    columns = np.arange(sums.seasons.shape[1])
    return fit_curve(
        sums, frame["y"].to_numpy(), 0, len(frame), priors=priors, seasons=seasons, columns=columns
    )
