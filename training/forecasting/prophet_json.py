"""A fitted curve as the JSON that Prophet writes and reads, without importing Prophet.

Writes the same fields as `prophet.serialize.model_to_json`; a test compares them. Creating Prophet's own
object to write them would take 20 ms per model, after 2 s of import.
"""

import json
from functools import cache
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import pandas as pd

from training.common.arrays import Floats
from training.common.times import to_times
from training.errors import UntrustedModel
from training.forecasting.gram_fit import Solution
from training.forecasting.prophet_model import HISTORY_ROWS, Curve, Priors, changepoint_times
from training.forecasting.seasonality import PERIOD_DAYS, Season

# Prophet's values of the fields that we do not set.
PROPHET_DEFAULTS = {
    "n_changepoints": 0,
    "specified_changepoints": True,
    "changepoint_range": 0.8,
    "yearly_seasonality": False,
    "weekly_seasonality": False,
    "daily_seasonality": False,
    "seasonality_mode": "additive",
    "holidays_prior_scale": 10.0,
    "mcmc_samples": 0,
    "interval_width": 0.8,
    "uncertainty_samples": 0,
    "scaling": "minmax",
    "logistic_floor": False,
    "country_holidays": None,
    "holidays_mode": "additive",
    "train_holiday_names": None,
    "holidays": None,
    "extra_regressors": [[], {}],
    "fit_kwargs": {},
}
NUMBER_COLUMNS = ("y", "floor", "t", "y_scaled")  # columns of the history


def curve_to_json(curve: Curve, seconds: Floats, values: Floats) -> str:
    """JSON for `prophet.serialize.model_from_json`, with the last rows of the history only."""
    recent, times = values[-HISTORY_ROWS:], to_times(seconds[-HISTORY_ROWS:])
    names = [season.name for season in curve.seasons]
    fitted = curve.fitted
    params = {
        "k": [[fitted.k]],
        "m": [[fitted.m]],
        "delta": [fitted.delta.tolist()],
        "beta": [fitted.beta.tolist() or [0.0]],
        "sigma_obs": [[fitted.sigma]],
    }
    content = {
        **PROPHET_DEFAULTS,
        "growth": curve.priors.growth,
        "seasonality_prior_scale": curve.priors.season_scale,
        "changepoint_prior_scale": curve.priors.changepoint_scale,
        "y_scale": curve.scale,
        "y_min": curve.floor,
        "start": pd.Timestamp(curve.start, unit="s").timestamp(),
        "t_scale": pd.Timedelta(seconds=curve.span).total_seconds(),
        "component_modes": {
            "additive": [*names, "additive_terms", "extra_regressors_additive", "holidays"],
            "multiplicative": ["multiplicative_terms", "extra_regressors_multiplicative"],
        },
        "changepoints": _series(changepoint_times(curve)),
        "changepoints_t": curve.changes.tolist(),
        "history_dates": _series(times),
        "history": _history(curve, times, recent),
        "train_component_cols": _components(curve.seasons),
        "seasonalities": [
            names,
            {season.name: _season_settings(season, curve.priors) for season in curve.seasons},
        ],
        "params": params,
        "__prophet_version": _prophet_version(),
    }
    return json.dumps(content)


def curve_from_json(content: dict[str, Any]) -> Curve:
    """Read the JSON of a Prophet; its numbers are checked by `training.forecasting.file_validation`.

    Raises:
        UntrustedModel: it was not written by `curve_to_json`.
    """
    try:
        return _parse_curve(content)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UntrustedModel(f"not a Prophet file of SafePlan: {error!r}. Retrain this sensor.") from error


def _parse_curve(content: dict[str, Any]) -> Curve:
    names, settings = content["seasonalities"]
    params = {name: np.asarray(value, dtype=np.float64).ravel() for name, value in content["params"].items()}
    seasons = tuple(Season(str(name), int(settings[name]["fourier_order"])) for name in names)
    beta = params["beta"][: sum(2 * season.order for season in seasons)]
    if unknown := set(names) - set(PERIOD_DAYS):
        raise ValueError(f"unknown seasons {sorted(unknown)}")
    if content["scaling"] != "minmax" or content["growth"] not in ("flat", "linear"):
        raise ValueError(f"scaling {content['scaling']!r}, growth {content['growth']!r}")
    return Curve(
        Priors(
            content["growth"],
            float(content["changepoint_prior_scale"]),
            float(content["seasonality_prior_scale"]),
        ),
        seasons,
        start=float(content["start"]),
        span=float(content["t_scale"]),
        floor=float(content["y_min"]),
        scale=float(content["y_scale"]),
        changes=np.asarray(content["changepoints_t"], dtype=np.float64),
        fitted=Solution(
            float(params["k"][0]),
            float(params["m"][0]),
            params["delta"],
            beta,
            float(params["sigma_obs"][0]),
            objective=float("nan"),
        ),
    )


@cache
def _prophet_version() -> str:
    return installed("prophet")


def _season_settings(season: Season, priors: Priors) -> dict[str, Any]:
    return {
        "period": season.period,
        "fourier_order": season.order,
        "prior_scale": priors.season_scale,
        "mode": "additive",
        "condition_name": None,
    }


def _series(times: pd.DatetimeIndex) -> str:
    return json.dumps({"name": "ds", "index": list(range(len(times))), "data": _format_times(times)})


def _history(curve: Curve, times: pd.DatetimeIndex, values: Floats) -> str:
    scaled = ((times - pd.Timestamp(curve.start, unit="s")) / pd.Timedelta(seconds=curve.span)).to_numpy()
    floor = np.full(len(values), curve.floor)
    columns = (values, floor, scaled, (values - floor) / curve.scale)
    rows = zip(_format_times(times), *(column.tolist() for column in columns), strict=True)
    table = [dict(zip(("ds", *NUMBER_COLUMNS), row, strict=True)) for row in rows]
    return _table({"ds": "datetime", **dict.fromkeys(NUMBER_COLUMNS, "number")}, table)


def _components(seasons: tuple[Season, ...]) -> str:
    """Which column of the design belongs to which component; a row of zeros where there is no season."""
    names = sorted(season.name for season in seasons)
    fields = dict.fromkeys(("additive_terms", *names, "multiplicative_terms"), "integer")
    rows = [
        {**dict.fromkeys(fields, 0), "additive_terms": 1, season.name: 1}
        for season in seasons
        for _ in range(2 * season.order)
    ]
    return _table(fields, rows or [dict.fromkeys(fields, 0)])


def _table(fields: dict[str, str], rows: list[dict[str, Any]]) -> str:
    described = [{"name": name, "type": kind} for name, kind in fields.items()]
    return json.dumps({"schema": {"fields": described, "pandas_version": "1.4.0"}, "data": rows})


def _format_times(times: pd.DatetimeIndex) -> list[str]:
    texts: list[str] = np.datetime_as_string(times.to_numpy("datetime64[ms]")).tolist()
    return texts
