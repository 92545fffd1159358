"""A fitted forecaster in plain numbers: how it is learned from a grid of readings, and what it forecasts.

Knows rehearsing, the choice between Prophet and naive, and moments off the grid. Leaves readings as they come
to `forecaster`, files to `forecaster_files`.
"""

from collections.abc import Mapping
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

MIN_STATE_SLOTS = 2_000  # slots of readings that stay with the forecaster, more where its lags reach further
MAX_STEPS_AHEAD = 50_000  # steps ahead
SPARE_SLOTS = 64  # slots beyond a lag's reach, so that a gap at its end can be bridged
RANGE_MARGIN = 0.5  # of the readings' range, by which a forecast may leave it


@dataclass(frozen=True)
class FittedForecaster:
    """All that a forecast needs, and all that is kept in files."""

    state: TimeGrid  # the latest readings of the training
    members: tuple[Member, ...]  # at least one
    naives: tuple[Naive, ...]
    shares: tuple[float, ...]  # of each member, then each naive, in the forecast
    lowest: float  # no forecast goes below
    highest: float  # or above
    bands: Bands
    skill: float  # 1 - mean absolute error / that of the naive to beat, over the rehearsal
    rows: int  # readings learned from

    @property
    def method(self) -> str:
        """What is served: "prophet", or the name of the one naive that is."""
        return "prophet" if any(self.shares[: len(self.members)]) else self.naives[0].name

    @property
    def active_parts(self) -> list[tuple[float, Member | Naive]]:
        """What has a share in the forecast, with its share."""
        parts: tuple[Member | Naive, ...] = (*self.members, *self.naives)
        return [(share, part) for share, part in zip(self.shares, parts, strict=True) if share > 0]

    @property
    def required_slots(self) -> int:
        """Slots of readings that a forecast and its intervals look at."""
        return SPARE_SLOTS + self.lookback + max(part.memory for _, part in self.active_parts)

    @property
    def lookback(self) -> int:
        """Steps up to the newest reading whose errors tell how wide the next intervals are."""
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
        """The members' shares among themselves; equal where a naive is served."""
        member_part = self.shares[: len(self.members)]
        return (
            [share / sum(member_part) for share in member_part]
            if any(member_part)
            else [1 / len(member_part)] * len(member_part)
        )

    def paths(self, state: TimeGrid, origins: Ints, horizon: int) -> Floats:
        """The served forecasts after each origin slot: one row an origin, one column a step."""
        shares, parts = zip(*self.active_parts, strict=True)
        forecasts = blend(shares, [part.forecast(state, origins, horizon) for part in parts])
        # Newer readings may have left the range of the training for good.
        lowest = np.minimum(self.lowest, np.fmin.accumulate(state.values)[origins])
        highest = np.maximum(self.highest, np.fmax.accumulate(state.values)[origins])
        return np.minimum(np.maximum(forecasts, lowest[:, None]), highest[:, None])

    def stretch(self, state: TimeGrid) -> float:
        """How much wider than usual the next intervals are to be, by what went wrong of late."""
        recent = state.tail(self.required_slots)
        origin = len(recent) - 1 - self.lookback
        if origin < 0:
            return 1.0
        errors = recent.values[origin + 1 :] - self.paths(recent, np.array([origin]), self.lookback)[0]
        return float(interval_stretch(errors[None, :], self.bands.sizes)[0])


def fit_forecaster(
    grid: TimeGrid, parameters: ForecasterParameters, seasonality: Mapping[str, SeasonalityOption]
) -> FittedForecaster:
    """Rehearse over rolling origins, choose what to serve, learn its intervals, then fit to everything."""
    history = TrainingHistory.for_structures(grid, parameters.structures, seasonality)
    backtest = RollingBacktest(history, parameters.horizon_for(grid))
    structures, names, shares = parameters.counted(backtest.naives)
    naive, reference = select_baseline(backtest), backtest.reference_naive
    naive_error = backtest.error(backtest.forecast_naive(naive))
    lowest, highest = allowed_range(grid.values)
    fits = [backtest.fit_folds(structure) for structure in structures]
    paths = [*map(backtest.forecast_parts, fits), *map(backtest.forecast_naive, names)]
    trust = forecaster_share(
        backtest, np.clip(blend(shares, paths), lowest, highest), backtest.forecast_naive(reference)
    )
    names, shares = (*names, reference), (*(trust * share for share in shares), 1 - trust)
    served = np.clip(blend(shares, [*paths, backtest.forecast_naive(reference)]), lowest, highest)
    # A naive that never errs cannot be beaten, and without any rehearsal nothing was shown to beat it.
    skill = 1 - backtest.error(served) / naive_error if 0 < naive_error < np.inf else 0.0
    if skill <= 0:
        names, shares, served = (naive,), (*[0.0] * len(structures), 1.0), backtest.forecast_naive(naive)
    lookback = lookback_steps(backtest.horizon)
    recent = [
        *(backtest.forecast_recent(members, back=lookback) for members in fits),
        *(
            backtest.forecast_recent([backtest.naives[name]] * len(backtest.folds), back=lookback)
            for name in names
        ),
    ]
    fitted = FittedForecaster(
        state=grid,
        members=tuple(history.fit(structure, len(grid)) for structure in structures),
        naives=tuple(backtest.naives[name] for name in names),
        shares=shares,
        lowest=lowest,
        highest=highest,
        bands=fit_bands(
            backtest.truth - served,
            recent_errors=backtest.recent_truth(back=lookback)
            - np.clip(blend(shares, recent), lowest, highest),
            age=backtest.age,
            independent=backtest.independent,
            spread=float(np.nanstd(grid.values)),
        ),
        skill=skill,
        rows=len(history.rows),
    )
    return replace(fitted, state=grid.tail(fitted.memory))


def lookback_steps(horizon: int) -> int:
    """Half a horizon: what was forecast then has come, and is still fresh."""
    return max(1, horizon // 2)


def forecast_at(fitted: FittedForecaster, state: TimeGrid, seconds: Floats) -> Floats:
    """The served forecast at each moment: from the newest reading, inside the readings from a step before."""
    steps = (seconds - state.last) / state.step
    farthest = float(steps.max(initial=1.0))
    if farthest > MAX_STEPS_AHEAD:
        raise DataError(
            f"A forecast {farthest:.0f} steps ahead was asked for; the farthest is {MAX_STEPS_AHEAD}."
        )
    values = np.empty(len(seconds))
    ahead = steps > 0
    if ahead.any():
        recent = state.tail(fitted.required_slots)
        path = fitted.paths(recent, np.array([len(recent) - 1]), int(np.ceil(farthest)))[0]
        values[ahead] = np.interp(steps[ahead], np.arange(1, len(path) + 1), path)
    values[~ahead] = _one_step_forecasts(fitted, state, seconds[~ahead])
    return values


def allowed_range(values: Floats) -> tuple[float, float]:
    """How low and how high a forecast may go: a guard against runaway trends and lags, no more."""
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
