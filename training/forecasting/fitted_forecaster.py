"""A fitted forecaster as plain numbers: how it is fitted to a grid of readings, and what it forecasts.

Judges Prophet and the naive forecasts over rolling origins and decides the share of each. Irregular
readings are handled by `training.forecasting.forecaster`, files by `training.forecasting.serialization`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.common.arrays import Floats, Ints
from training.errors import DataError
from training.forecasting.intervals import Bands, fit_bands, interval_stretch
from training.forecasting.naive_forecasts import Naive
from training.forecasting.naive_shrinkage import forecaster_share, select_baseline
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.rolling_origin import RollingBacktest, blend
from training.forecasting.structures import Member, SeasonalityOption, TrainingHistory
from training.forecasting.time_grid import TimeGrid

MIN_STATE_SLOTS = 2_000  # slots of readings kept in the forecaster; more where its lags need them
MAX_STEPS_AHEAD = 50_000
SPARE_SLOTS = 64  # slots before the longest lag, to bridge a gap there
RANGE_MARGIN = 0.5  # share of the readings' range by which a forecast may leave it


@dataclass(frozen=True)
class FittedForecaster:
    """Everything that a forecast needs and that is stored in files."""

    state: TimeGrid  # the newest training readings
    members: tuple[Member, ...]  # at least one
    naives: tuple[Naive, ...]
    shares: tuple[float, ...]  # in the forecast, of each member, then of each naive forecast
    lowest: float  # bounds of every forecast
    highest: float
    bands: Bands
    skill: float  # 1 - mean absolute error / that of the reference naive forecast, over the rolling origins
    rows: int  # readings fitted to

    @property
    def method(self) -> str:
        """ "prophet", or the name of the naive forecast that is served instead."""
        return "prophet" if any(self.shares[: len(self.members)]) else self.naives[0].name

    @property
    def active_parts(self) -> list[tuple[float, Member | Naive]]:
        """Members and naive forecasts with a share above 0, each with its share."""
        parts: tuple[Member | Naive, ...] = (*self.members, *self.naives)
        return [(share, part) for share, part in zip(self.shares, parts, strict=True) if share > 0]

    @property
    def required_slots(self) -> int:
        """Slots of readings that a forecast and its intervals depend on."""
        return SPARE_SLOTS + self.lookback + max(part.memory for _, part in self.active_parts)

    @property
    def lookback(self) -> int:
        """Newest steps whose errors decide how wide the next intervals are."""
        return lookback_steps(len(self.bands.sizes))

    @property
    def memory(self) -> int:
        """Slots of readings to keep."""
        return max(MIN_STATE_SLOTS, self.required_slots)

    def trend_and_seasons(self, seconds: Floats) -> Floats:
        """Prophet's trend and seasons, averaged over the members."""
        return blend(self.member_shares, [member.curve.at(seconds) for member in self.members])

    def trend(self, seconds: Floats) -> Floats:
        """Prophet's trend, averaged over the members."""
        return blend(self.member_shares, [member.curve.trend(seconds) for member in self.members])

    def season(self, seconds: Floats, name: str) -> Floats:
        """One of Prophet's seasons, averaged over the members."""
        return blend(self.member_shares, [member.curve.season(seconds, name) for member in self.members])

    @property
    def member_shares(self) -> list[float]:
        """The members' shares, scaled to a sum of 1; equal where a naive forecast is served."""
        member_part = self.shares[: len(self.members)]
        if not any(member_part):
            return [1 / len(member_part)] * len(member_part)
        return [share / sum(member_part) for share in member_part]

    def paths(self, state: TimeGrid, origins: Ints, horizon: int) -> Floats:
        """Forecasts after each origin slot: one row per origin, one column per step."""
        shares, parts = zip(*self.active_parts, strict=True)
        forecasts = blend(shares, [part.forecast(state, origins, horizon) for part in parts])
        # Readings after the training may have left its range for good.
        lowest = np.minimum(self.lowest, np.fmin.accumulate(state.values)[origins])
        highest = np.maximum(self.highest, np.fmax.accumulate(state.values)[origins])
        return np.minimum(np.maximum(forecasts, lowest[:, None]), highest[:, None])

    def stretch(self, state: TimeGrid) -> float:
        """Factor by which the next intervals are widened or narrowed, from the errors of the newest steps."""
        recent = state.tail(self.required_slots)
        origin = len(recent) - 1 - self.lookback
        if origin < 0:
            return 1.0
        errors = recent.values[origin + 1 :] - self.paths(recent, np.array([origin]), self.lookback)[0]
        return float(interval_stretch(errors[None, :], self.bands.sizes)[0])


def fit_forecaster(
    grid: TimeGrid, parameters: ForecasterParameters, seasonality: Mapping[str, SeasonalityOption]
) -> FittedForecaster:
    """Backtest over rolling origins, choose the shares, fit the intervals, then fit to all readings."""
    history = TrainingHistory.for_structures(grid, parameters.structures, seasonality)
    backtest = RollingBacktest(history, parameters.horizon_for(grid))
    structures, names, shares = parameters.counted(backtest.naives)
    fits = [backtest.fit_folds(structure) for structure in structures]
    served = _choose_shares(backtest, fits, names, shares)
    lowest, highest = allowed_range(grid.values)
    fitted = FittedForecaster(
        state=grid,
        members=tuple(history.fit(structure, len(grid)) for structure in structures),
        naives=tuple(backtest.naives[name] for name in served.names),
        shares=served.shares,
        lowest=lowest,
        highest=highest,
        bands=fit_bands(
            backtest.truth - served.paths,
            recent_errors=_recent_errors(backtest, fits, served),
            weights=backtest.weights,
            independent=backtest.independent,
            spread=float(np.nanstd(grid.values)),
        ),
        skill=served.skill,
        rows=len(history.rows),
    )
    return replace(fitted, state=grid.tail(fitted.memory))


@dataclass(frozen=True)
class _ServedForecast:
    """The naive forecasts and all shares that are served, and what they forecast from each origin."""

    names: tuple[str, ...]
    shares: tuple[float, ...]  # of the members, then of the naive forecasts
    paths: Floats
    skill: float


def _choose_shares(
    backtest: RollingBacktest, fits: list[list[Member]], names: tuple[str, ...], shares: tuple[float, ...]
) -> _ServedForecast:
    """Blend the average with the naive reference, or serve a naive forecast where that has no skill."""
    naive, reference = select_baseline(backtest), backtest.forecast_naive(backtest.reference_naive)
    paths = [*map(backtest.forecast_parts, fits), *map(backtest.forecast_naive, names)]
    bounds = allowed_range(backtest.history.grid.values)
    share = forecaster_share(backtest, np.clip(blend(shares, paths), *bounds), reference)
    shares = (*(share * part for part in shares), 1 - share)
    blended = np.clip(blend(shares, [*paths, reference]), *bounds)
    naive_paths = backtest.forecast_naive(naive)
    naive_error = backtest.error(naive_paths)
    # Nothing beats a naive forecast without errors, and without an origin nothing is known to beat it.
    skill = 1 - backtest.error(blended) / naive_error if 0 < naive_error < np.inf else 0.0
    if skill <= 0:
        return _ServedForecast((naive,), (*[0.0] * len(fits), 1.0), naive_paths, skill)
    return _ServedForecast((*names, backtest.reference_naive), shares, blended, skill)


def _recent_errors(backtest: RollingBacktest, fits: list[list[Member]], served: _ServedForecast) -> Floats:
    """Errors of the served forecast over the newest steps up to each origin."""
    back = lookback_steps(backtest.horizon)
    parts: list[Sequence[Member | Naive]] = [
        *fits,
        *([backtest.naives[name]] * len(backtest.folds) for name in served.names),
    ]
    recent = [backtest.forecast_recent(part, back=back) for part in parts]
    bounds = allowed_range(backtest.history.grid.values)
    return backtest.recent_truth(back=back) - np.clip(blend(served.shares, recent), *bounds)


def lookback_steps(horizon: int) -> int:
    """Half a horizon: old enough to have errors, new enough to be relevant."""
    return max(1, horizon // 2)


def forecast_at(fitted: FittedForecaster, state: TimeGrid, seconds: Floats) -> Floats:
    """The forecast for each time; for times up to the newest reading, the forecast one step earlier.

    Raises:
        DataError: a time is more than 50,000 steps ahead.
    """
    steps = (seconds - state.last) / state.step
    farthest = float(steps.max(initial=1.0))
    if farthest > MAX_STEPS_AHEAD:
        raise DataError(f"cannot forecast {farthest:.0f} steps ahead: the limit is {MAX_STEPS_AHEAD:,}")
    values = np.empty(len(seconds))
    ahead = steps > 0
    if ahead.any():
        recent = state.tail(fitted.required_slots)
        path = fitted.paths(recent, np.array([len(recent) - 1]), int(np.ceil(farthest)))[0]
        values[ahead] = np.interp(steps[ahead], np.arange(1, len(path) + 1), path)
    values[~ahead] = _one_step_forecasts(fitted, state, seconds[~ahead])
    return values


def allowed_range(values: Floats) -> tuple[float, float]:
    """Bounds of a forecast, wide enough to stop only runaway trends and lags."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low - RANGE_MARGIN * (high - low), high + RANGE_MARGIN * (high - low)


def _one_step_forecasts(fitted: FittedForecaster, state: TimeGrid, seconds: Floats) -> Floats:
    values = fitted.trend_and_seasons(seconds)
    slots = np.rint(state.slots_of(seconds)).astype(np.int64)
    inside = slots >= 1
    if inside.any():
        needed_slots, positions = np.unique(slots[inside], return_inverse=True)
        values[inside] = fitted.paths(state, needed_slots - 1, 1)[positions, 0]
    return values
