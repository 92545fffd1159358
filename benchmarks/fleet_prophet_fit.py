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
from benchmarks.fleet_readings import SensorSeries
from training.common.arrays import Floats
from training.common.times import epoch_seconds
from training.forecasting.gram_fit import DesignSums
from training.forecasting.prophet_model import Curve, Priors, fit_curve
from training.forecasting.seasonality import Season, fourier_columns
from training.forecasting.time_grid import DAY

SEASONS = (Season("weekly", 3), Season("daily", 4))  # Prophet's defaults for so short a history
FOLDS = (0.6, 0.73, 0.86)  # share of the history before each cut-off
HORIZON = 24  # steps
PRIORS = [
    Priors("linear", changepoint_scale, season_scale)
    for changepoint_scale, season_scale in itertools.product((0.005, 0.05, 0.5), (0.1, 10.0))
]


@dataclass(frozen=True)
class InnerLoopResult:
    """One sensor's loop, both ways."""

    sensor_id: str
    rows: int
    fits: int
    ours_a_second: float  # fits and forecasts, by CPU
    prophets_a_second: float
    max_difference: float  # largest difference of a forecast, in standard deviations of the readings
    worse_fits: int  # fits whose objective is worse than CmdStan's by more than a millionth

    def as_row(self) -> dict[str, Any]:
        """What the table shows."""
        return {
            "sensor": self.sensor_id,
            "rows": self.rows,
            "trials_x_folds": self.fits,
            "ours_a_cpu_s": round(self.ours_a_second, 1),
            "prophets_a_cpu_s": round(self.prophets_a_second, 2),
            "times": round(self.ours_a_second / self.prophets_a_second, 1),
            "farthest_in_sd": round(self.max_difference, 4),
            "worse_optima": self.worse_fits,
        }


def compare_fits(cuts: Sequence[SensorSeries]) -> list[InnerLoopResult]:
    """Every cut's loop, both ways."""
    logging.getLogger("cmdstanpy").disabled = True
    logging.getLogger("prophet").setLevel(logging.ERROR)
    return [_compare_sensor(cut) for cut in cuts]


def _compare_sensor(cut: SensorSeries) -> InnerLoopResult:
    times, values = pd.DatetimeIndex(cut.values.index), cut.values.to_numpy(np.float64)
    ends = [int(share * len(values)) for share in FOLDS]
    started = cpu_seconds()
    ours = _fit_ours(times, values, ends)
    ours_seconds = cpu_seconds() - started
    started = cpu_seconds()
    prophet_fits = _fit_prophet(times, values, ends)
    prophet_seconds = cpu_seconds() - started
    spread = float(values.std())
    differences = [
        np.abs(a - b["yhat"].to_numpy()).max() for (_, a), (_, b) in zip(ours, prophet_fits, strict=True)
    ]
    worse = sum(_is_worse(curve, model) for (curve, _), (model, _) in zip(ours, prophet_fits, strict=True))
    return InnerLoopResult(
        cut.sensor_id,
        len(values),
        len(ours),
        len(ours) / ours_seconds,
        len(prophet_fits) / prophet_seconds,
        float(max(differences)) / spread,
        worse,
    )


def _fit_ours(times: pd.DatetimeIndex, values: Floats, ends: Sequence[int]) -> list[tuple[Curve, Floats]]:
    seconds = epoch_seconds(times)
    days = seconds / DAY
    sums = DesignSums(days, fourier_columns(days, SEASONS))
    columns = np.arange(sums.seasons.shape[1])
    fits = []
    for priors, end in itertools.product(PRIORS, ends):
        curve = fit_curve(sums, values, 0, end, priors=priors, seasons=SEASONS, columns=columns)
        fits.append((curve, curve.at(seconds[end : end + HORIZON])))
    return fits


def _fit_prophet(
    times: pd.DatetimeIndex, values: Floats, ends: Sequence[int]
) -> list[tuple[Prophet, pd.DataFrame]]:
    """What `cross_validation` does at each cut-off, without its copying: fit, then forecast the horizon."""
    frame = pd.DataFrame({"ds": times, "y": values})
    fits = []
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
        fits.append((model, model.predict(frame[["ds"]].iloc[end : end + HORIZON])))
    return fits


def _is_worse(curve: Curve, model: Prophet) -> bool:
    prophet_fits = {name: np.asarray(value).ravel() for name, value in model.params.items()}
    mine = curve.fitted
    of_theirs = _objective(
        model,
        prophet_fits["k"][0],
        prophet_fits["m"][0],
        prophet_fits["delta"],
        prophet_fits["beta"],
        prophet_fits["sigma_obs"][0],
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
