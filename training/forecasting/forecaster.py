"""The forecaster of one sensor: fit to readings, forecast, update with newer readings, save and load.

Where the backtest finds nothing better than a naive forecast, that one is served under its own name
(`method`). Parameters are chosen by `training.tuning.forecaster_search`, accuracy is measured by
`training.evaluation.backtest`.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.common.arrays import Floats
from training.common.times import epoch_seconds, to_times
from training.errors import DataError, NotTrainable
from training.forecasting import serialization
from training.forecasting.fitted_forecaster import FittedForecaster, fit_forecaster, forecast_at
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.prophet_adapter import to_prophet
from training.forecasting.structures import SeasonalityOption
from training.forecasting.summary import forecast_components, held_out_metrics, summarize_forecast
from training.forecasting.time_grid import TimeGrid, build_grid

if TYPE_CHECKING:
    from prophet import Prophet

MIN_READINGS = 10  # fewer cannot be backtested; the platform requires 50
MAX_SLOTS = 20_000  # slots fitted to: two years of hours, ten weeks of 5 minutes


class Forecaster:
    """Forecasts of one sensor, from irregular readings with gaps.

    >>> times = pd.date_range("2026-01-01", periods=240, freq="h")
    >>> values = 20 + np.sin(2 * np.pi * times.hour.to_numpy() / 24)
    >>> Forecaster().fit(times, values).forecast(6)["forecasted_values"].round(1).tolist()
    [20.0, 20.3, 20.5, 20.7, 20.9, 21.0]
    """

    def __init__(
        self,
        parameters: ForecasterParameters | None = None,
        *,
        interval_width: float = 0.95,
        yearly_seasonality: SeasonalityOption = "auto",
        weekly_seasonality: SeasonalityOption = "auto",
        daily_seasonality: SeasonalityOption = "auto",
        step: timedelta | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 < interval_width < 1:
            raise DataError(
                f"interval_width {interval_width} is invalid: expected a share between 0 and 1, such as 0.95"
            )
        self.parameters = parameters or ForecasterParameters()
        self.interval_width = interval_width
        self.seasonalities: dict[str, SeasonalityOption] = {
            "yearly": yearly_seasonality,
            "weekly": weekly_seasonality,
            "daily": daily_seasonality,
        }
        self.step = step
        self.seed = seed  # not used: fitting is deterministic; accepted because detectors take one
        self._fitted: FittedForecaster | None = None

    def fit(self, timestamps: Any, values: ArrayLike) -> "Forecaster":
        """Fit to readings in any order; values that are not finite are gaps.

        Raises:
            NotTrainable: fewer than 10 readings, or all at one time.
        """
        times, numbers = finite_readings(timestamps, values)
        grid = build_grid(times, numbers, step=self.step, slots=MAX_SLOTS)
        if (usable := int(grid.known.sum())) < MIN_READINGS:
            raise NotTrainable(
                f"{usable} usable readings in the last {len(grid)} steps of {grid.step:g} s: "
                f"a forecaster needs at least {MIN_READINGS}, better 50"
            )
        self._fitted = fit_forecaster(grid, self.parameters, self.seasonalities)
        return self

    @property
    def fitted(self) -> FittedForecaster:
        """The fitted forecaster.

        Raises:
            NotTrainable: `fit` was not called yet.
        """
        if self._fitted is None:
            raise NotTrainable("this forecaster is not fitted: call fit(timestamps, values) first")
        return self._fitted

    @property
    def method(self) -> str:
        """ "prophet", or the name of the naive forecast that is served because nothing beat it."""
        return self.fitted.method

    @property
    def skill(self) -> float:
        """1 - error / error of the naive reference over rolling origins; at most 0 where that is served."""
        return self.fitted.skill

    def forecast(self, periods: int, *, history: pd.Series | None = None) -> pd.DataFrame:
        """The next `periods` steps after the newest reading, in the training or in `history`."""
        state = self._state(history)
        steps = np.arange(1, periods + 1, dtype=np.float64)
        return self._frame(state, state.last + state.step * steps)

    def predict(self, times: pd.DatetimeIndex, *, history: pd.Series | None = None) -> pd.DataFrame:
        """Forecasts for any times, in their order.

        A time up to the newest reading gets the forecast made one step before it; a time before the readings
        that are kept gets Prophet's trend and seasons.

        Raises:
            DataError: a time is more than 50,000 steps ahead.
        """
        return self._frame(self._state(history), epoch_seconds(pd.DatetimeIndex(times)))

    def forecast_with_history(self, periods: int) -> pd.DataFrame:
        """The readings kept, each with its one-step forecast, then the next `periods` steps.

        The column `actual_values` contains the readings; NaN in gaps and in the future.
        """
        state = self._state(None)
        slots = np.arange(len(state) + periods)
        frame = self._frame(state, state.seconds_at(slots))
        frame["actual_values"] = np.concatenate((state.values, np.full(periods, np.nan)))
        return frame

    def forecast_summary(self, periods: int = 24) -> dict[str, Any]:
        """Direction, change, volatility and extremes of the next `periods` steps."""
        return summarize_forecast(
            self.forecast(periods), self.fitted.state, method=self.method, skill=self.skill
        )

    def calculate_metrics(self) -> dict[str, Any]:
        """MAPE, RMSE, MAE, MASE and coverage on the last tenth of the readings kept, fitted without them."""
        return held_out_metrics(
            self.fitted.state, self.parameters, self.seasonalities, interval_width=self.interval_width
        )

    def get_components(self) -> dict[str, pd.DataFrame]:
        """Prophet's components: the trend over the readings kept, and one cycle of each season."""
        return forecast_components(self.fitted)

    def prophet(self) -> "Prophet":
        """Prophet's own object of the first structure, for its plots and tools."""
        state = self.fitted.state
        seconds = state.seconds_at(np.flatnonzero(state.known))
        return to_prophet(self.fitted.members[0].curve, seconds, state.values[state.known])

    def save(self, folder: Path) -> None:
        """Write `forecaster.json` and, for plain Prophet to load, `prophet.json`, `prophet-2.json`, ..."""
        settings = serialization.ForecasterConfig(
            self.parameters,
            self.interval_width,
            self.seasonalities,
            self.seed,
            self.step.total_seconds() if self.step else None,
        )
        serialization.write(settings, self.fitted, folder)

    @classmethod
    def load(cls, folder: Path) -> "Forecaster":
        """Load a folder that `save` wrote.

        Raises:
            UntrustedModel: a file is missing, truncated or not written by `save`.
        """
        settings, fitted = serialization.read(folder)
        forecaster = cls(
            settings.parameters,
            interval_width=settings.interval_width,
            yearly_seasonality=settings.seasonalities["yearly"],
            weekly_seasonality=settings.seasonalities["weekly"],
            daily_seasonality=settings.seasonalities["daily"],
            step=timedelta(seconds=settings.step) if settings.step else None,
            seed=settings.seed,
        )
        forecaster._fitted = fitted
        return forecaster

    def _state(self, history: pd.Series | None) -> TimeGrid:
        state = self.fitted.state
        if history is None or not len(history):
            return state
        seconds = epoch_seconds(pd.DatetimeIndex(history.index))
        values = history.to_numpy(dtype=np.float64)
        return state.extended(seconds, values, slots=self.fitted.memory)

    def _frame(self, state: TimeGrid, seconds: Floats) -> pd.DataFrame:
        fitted = self.fitted
        values = forecast_at(fitted, state, seconds)
        steps = (seconds - state.last) / state.step
        stretch = fitted.stretch(state) if (steps > 0).any() else 1.0
        stretched = np.where(steps > 0, stretch, 1.0)
        lower, upper = fitted.bands.around(values, steps, self.interval_width, stretch=stretched)
        return pd.DataFrame(
            {
                "timestamps": to_times(seconds),
                "forecasted_values": values,
                "lower_bound": lower,
                "upper_bound": upper,
                "trend": fitted.trend(seconds),
            }
        )


def create_forecaster(
    interval_width: float = 0.95,
    yearly_seasonality: SeasonalityOption = "auto",
    weekly_seasonality: SeasonalityOption = "auto",
    daily_seasonality: SeasonalityOption = "auto",
) -> Forecaster:
    """A forecaster with default parameters, with the signature of the original system."""
    return Forecaster(
        interval_width=interval_width,
        yearly_seasonality=yearly_seasonality,
        weekly_seasonality=weekly_seasonality,
        daily_seasonality=daily_seasonality,
    )


def finite_readings(timestamps: Any, values: ArrayLike) -> tuple[pd.DatetimeIndex, Floats]:
    """Naive UTC times and values of the finite readings, in their order."""
    times = pd.DatetimeIndex(timestamps)
    if times.tz is not None:
        times = times.tz_convert("UTC").tz_localize(None)
    numbers = np.asarray(values, dtype=np.float64)
    if len(times) != len(numbers):
        raise DataError(
            f"{len(times)} timestamps with {len(numbers)} values: each value needs its own timestamp"
        )
    keep = np.isfinite(numbers) & times.notna()
    return times[keep], numbers[keep]
