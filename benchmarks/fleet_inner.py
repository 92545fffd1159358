"""Prophet's inner loop alone: trials x folds a second, by its Gram matrix and by its own fits.

The same histories, cut-offs, priors and horizons for both; what is compared besides speed is how far the
forecasts lie apart and whether our optimum is ever worse in Prophet's own objective.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from prophet import Prophet

from benchmarks.cpu import cpu_seconds
from benchmarks.fleet_readings import Cut
from training.forecasting.gram_fit import DesignSums
from training.forecasting.prophet_model import Curve, Priors, fit_curve
from training.forecasting.seasonality import Season, fourier_columns
from training.forecasting.time_grid import DAY, Floats, epoch_seconds

SEASONS = (Season("weekly", 3), Season("daily", 4))  # Prophet's defaults for so short a history
FOLDS = (0.6, 0.73, 0.86)  # share of the history before each cut-off
HORIZON = 24  # steps
PRIORS = [
    Priors("linear", changepoint_scale, season_scale)
    for changepoint_scale, season_scale in itertools.product((0.005, 0.05, 0.5), (0.1, 10.0))
]


@dataclass(frozen=True)
class Inner:
    """One sensor's loop, both ways."""

    sensor_id: str
    rows: int
    fits: int
    ours_a_second: float  # fits and forecasts, by CPU
    prophets_a_second: float
    farthest: float  # largest difference of a forecast, in standard deviations of the readings
    worse: int  # fits whose objective is worse than CmdStan's by more than a millionth

    def as_row(self) -> dict[str, Any]:
        """What the table shows."""
        return {
            "sensor": self.sensor_id,
            "rows": self.rows,
            "trials_x_folds": self.fits,
            "ours_a_cpu_s": round(self.ours_a_second, 1),
            "prophets_a_cpu_s": round(self.prophets_a_second, 2),
            "times": round(self.ours_a_second / self.prophets_a_second, 1),
            "farthest_in_sd": round(self.farthest, 4),
            "worse_optima": self.worse,
        }


def compare(cuts: Sequence[Cut]) -> list[Inner]:
    """Every cut's loop, both ways."""
    logging.getLogger("cmdstanpy").disabled = True
    logging.getLogger("prophet").setLevel(logging.ERROR)
    return [_compare(cut) for cut in cuts]


def _compare(cut: Cut) -> Inner:
    times, values = pd.DatetimeIndex(cut.values.index), cut.values.to_numpy(np.float64)
    ends = [int(share * len(values)) for share in FOLDS]
    begun = cpu_seconds()
    ours = _ours(times, values, ends)
    ours_took = cpu_seconds() - begun
    begun = cpu_seconds()
    theirs = _prophets(times, values, ends)
    theirs_took = cpu_seconds() - begun
    spread = float(values.std())
    apart = [np.abs(a - b["yhat"].to_numpy()).max() for (_, a), (_, b) in zip(ours, theirs, strict=True)]
    worse = sum(_worse(curve, model) for (curve, _), (model, _) in zip(ours, theirs, strict=True))
    return Inner(
        cut.sensor_id,
        len(values),
        len(ours),
        len(ours) / ours_took,
        len(theirs) / theirs_took,
        float(max(apart)) / spread,
        worse,
    )


def _ours(times: pd.DatetimeIndex, values: Floats, ends: Sequence[int]) -> list[tuple[Curve, Floats]]:
    seconds = epoch_seconds(times)
    days = seconds / DAY
    sums = DesignSums(days, fourier_columns(days, SEASONS))
    columns = np.arange(sums.seasons.shape[1])
    made = []
    for priors, end in itertools.product(PRIORS, ends):
        curve = fit_curve(sums, values, 0, end, priors=priors, seasons=SEASONS, columns=columns)
        made.append((curve, curve.at(seconds[end : end + HORIZON])))
    return made


def _prophets(
    times: pd.DatetimeIndex, values: Floats, ends: Sequence[int]
) -> list[tuple[Prophet, pd.DataFrame]]:
    """What `cross_validation` does at each cut-off, without its copying: fit, then forecast the horizon."""
    frame = pd.DataFrame({"ds": times, "y": values})
    made = []
    for priors, end in itertools.product(PRIORS, ends):
        model = Prophet(
            changepoint_prior_scale=priors.changepoint_scale,
            seasonality_prior_scale=priors.season_scale,
            yearly_seasonality=False,
            weekly_seasonality=3,
            daily_seasonality=4,
            scaling="minmax",
            uncertainty_samples=0,
        ).fit(frame.iloc[:end])
        made.append((model, model.predict(frame[["ds"]].iloc[end : end + HORIZON])))
    return made


def _worse(curve: Curve, model: Prophet) -> bool:
    theirs = {name: np.asarray(value).ravel() for name, value in model.params.items()}
    mine = curve.fitted
    of_theirs = _objective(
        model, theirs["k"][0], theirs["m"][0], theirs["delta"], theirs["beta"], theirs["sigma_obs"][0]
    )
    of_mine = _objective(model, mine.k, mine.m, mine.delta, mine.beta, mine.sigma)
    return of_mine > of_theirs + 1e-6 * abs(of_theirs)


def _objective(model: Prophet, k: float, m: float, delta: Floats, beta: Floats, sigma: float) -> float:
    """Prophet's Stan model, written out: minus its log density without constants."""
    history, changes = model.history, model.changepoints_t
    if history is None or changes is None:
        raise AssertionError("a fitted Prophet has a history and changepoints")
    features, scales, _, _ = model.make_all_seasonality_features(history)
    t = history["t"].to_numpy()
    trend = model.piecewise_linear(t, delta, k, m, changes)
    left = history["y_scaled"].to_numpy() - trend - features.to_numpy() @ beta
    priors = (k**2 + m**2) / 50 + np.abs(delta).sum() / model.changepoint_prior_scale
    priors += 2 * sigma**2 + (beta**2 / np.square(scales)).sum() / 2
    return float(len(t) * np.log(sigma) + left @ left / (2 * sigma**2) + priors)
