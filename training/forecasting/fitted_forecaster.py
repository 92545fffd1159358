"""A fitted forecaster in plain numbers: how it is learned from a grid of readings, and what it forecasts.

Knows rehearsing, the choice between Prophet and naive, and moments off the grid. Leaves readings as they come
to `forecaster`, files to `forecaster_files`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.forecasting.intervals import Bands, learn_bands, stretch_of
from training.forecasting.naive_forecasts import Naive
from training.forecasting.naive_shrinkage import plainest_naive, trust_in
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.rolling_origin import Rehearsal, blend
from training.forecasting.structures import History, Member, Wanted
from training.forecasting.time_grid import Floats, TimeGrid

KEPT = 2_000  # slots of readings that stay with the forecaster, more where its lags reach further
FARTHEST = 50_000  # steps ahead
TO_SPARE = 64  # slots beyond a lag's reach, so that a gap at its end can be bridged
MARGIN = 0.5  # of the readings' range, by which a forecast may leave it


@dataclass(frozen=True)
class Fitted:
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
    def serving(self) -> list[tuple[float, Member | Naive]]:
        """What has a share in the forecast, with its share."""
        parts: tuple[Member | Naive, ...] = (*self.members, *self.naives)
        return [(share, part) for share, part in zip(self.shares, parts, strict=True) if share > 0]

    @property
    def reach(self) -> int:
        """Slots of readings that a forecast and its intervals look at."""
        return TO_SPARE + self.back + max(part.memory for _, part in self.serving)

    @property
    def back(self) -> int:
        """Steps up to the newest reading whose errors tell how wide the next intervals are."""
        return looked_back(len(self.bands.sizes))

    @property
    def memory(self) -> int:
        """Slots of readings to keep."""
        return max(KEPT, self.reach)

    def course(self, seconds: Floats) -> Floats:
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
        own = self.shares[: len(self.members)]
        return [share / sum(own) for share in own] if any(own) else [1 / len(own)] * len(own)

    def paths(self, state: TimeGrid, origins: NDArray[np.int64], horizon: int) -> Floats:
        """The served forecasts after each origin slot: one row an origin, one column a step."""
        shares, parts = zip(*self.serving, strict=True)
        made = blend(shares, [part.forecast(state, origins, horizon) for part in parts])
        # Newer readings may have left the range of the training for good.
        lowest = np.minimum(self.lowest, np.fmin.accumulate(state.values)[origins])
        highest = np.maximum(self.highest, np.fmax.accumulate(state.values)[origins])
        return np.minimum(np.maximum(made, lowest[:, None]), highest[:, None])

    def stretch(self, state: TimeGrid) -> float:
        """How much wider than usual the next intervals are to be, by what went wrong of late."""
        recent = state.tail(self.reach)
        origin = len(recent) - 1 - self.back
        if origin < 0:
            return 1.0
        errors = recent.values[origin + 1 :] - self.paths(recent, np.array([origin]), self.back)[0]
        return float(stretch_of(errors[None, :], self.bands.sizes)[0])


def learn(grid: TimeGrid, parameters: ForecasterParameters, wanted: Mapping[str, Wanted]) -> Fitted:
    """Rehearse over rolling origins, choose what to serve, learn its intervals, then fit to everything."""
    history = History.for_structures(grid, parameters.structures, wanted)
    rehearsal = Rehearsal(history, parameters.horizon_for(grid))
    structures, names, shares = parameters.counted(rehearsal.naives)
    naive, usual = plainest_naive(rehearsal), rehearsal.usual_naive
    naive_error = rehearsal.error(rehearsal.of_naive(naive))
    lowest, highest = allowed_range(grid.values)
    fits = [rehearsal.fits(structure) for structure in structures]
    paths = [*map(rehearsal.made, fits), *map(rehearsal.of_naive, names)]
    trust = trust_in(rehearsal, np.clip(blend(shares, paths), lowest, highest), rehearsal.of_naive(usual))
    names, shares = (*names, usual), (*(trust * share for share in shares), 1 - trust)
    made = np.clip(blend(shares, [*paths, rehearsal.of_naive(usual)]), lowest, highest)
    # A naive that never errs cannot be beaten, and without any rehearsal nothing was shown to beat it.
    skill = 1 - rehearsal.error(made) / naive_error if 0 < naive_error < np.inf else 0.0
    if skill <= 0:
        names, shares, made = (naive,), (*[0.0] * len(structures), 1.0), rehearsal.of_naive(naive)
    back = looked_back(rehearsal.horizon)
    lately = [
        *(rehearsal.lately(members, back=back) for members in fits),
        *(rehearsal.lately([rehearsal.naives[name]] * len(rehearsal.cuts), back=back) for name in names),
    ]
    fitted = Fitted(
        state=grid,
        members=tuple(history.fit(structure, len(grid)) for structure in structures),
        naives=tuple(rehearsal.naives[name] for name in names),
        shares=shares,
        lowest=lowest,
        highest=highest,
        bands=learn_bands(
            rehearsal.truth - made,
            lately=rehearsal.came_lately(back=back) - np.clip(blend(shares, lately), lowest, highest),
            age=rehearsal.age,
            independent=rehearsal.independent,
            spread=float(np.nanstd(grid.values)),
        ),
        skill=skill,
        rows=len(history.rows),
    )
    return replace(fitted, state=grid.tail(fitted.memory))


def looked_back(horizon: int) -> int:
    """Half a horizon: what was forecast then has come, and is still fresh."""
    return max(1, horizon // 2)


def forecast_at(fitted: Fitted, state: TimeGrid, seconds: Floats) -> Floats:
    """The served forecast at each moment: from the newest reading, inside the readings from a step before."""
    steps = (seconds - state.last) / state.step
    farthest = float(steps.max(initial=1.0))
    if farthest > FARTHEST:
        raise DataError(f"A forecast {farthest:.0f} steps ahead was asked for; the farthest is {FARTHEST}.")
    values = np.empty(len(seconds))
    ahead = steps > 0
    if ahead.any():
        recent = state.tail(fitted.reach)
        path = fitted.paths(recent, np.array([len(recent) - 1]), int(np.ceil(farthest)))[0]
        values[ahead] = np.interp(steps[ahead], np.arange(1, len(path) + 1), path)
    values[~ahead] = _one_step_before(fitted, state, seconds[~ahead])
    return values


def allowed_range(values: Floats) -> tuple[float, float]:
    """How low and how high a forecast may go: a guard against runaway trends and lags, no more."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low - MARGIN * (high - low), high + MARGIN * (high - low)


def _one_step_before(fitted: Fitted, state: TimeGrid, seconds: Floats) -> Floats:
    values = fitted.course(seconds)
    slots = np.rint(state.slots_of(seconds)).astype(np.int64)
    inside = slots >= 1
    if inside.any():
        wanted, where = np.unique(slots[inside], return_inverse=True)
        values[inside] = fitted.paths(state, wanted - 1, 1)[where, 0]
    return values
