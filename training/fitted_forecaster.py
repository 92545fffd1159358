"""A fitted forecaster in plain numbers: how it is learned from a grid of readings, and what it forecasts.

Knows rehearsing, the choice between Prophet and naive, and moments off the grid. Leaves readings as they come,
frames and files to `forecaster` and `forecaster_files`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.forecaster_parameters import ForecasterParameters
from training.intervals import Bands, learn_bands
from training.naive import Naive, naives
from training.rolling import cut, mean_absolute, rehearse, rehearse_naive, truths
from training.structures import History, Member, Wanted
from training.timegrid import Floats, TimeGrid

KEPT = 2_000  # slots of readings that stay with the forecaster, more where its lags reach further
FARTHEST = 50_000  # steps ahead
TO_SPARE = 64  # slots beyond a lag's reach, so that a gap at its end can be bridged


@dataclass(frozen=True)
class Fitted:
    """All that a forecast needs, and all that is kept in files."""

    state: TimeGrid  # the latest readings of the training
    members: tuple[Member, ...]
    shares: tuple[float, ...]  # of each member in the forecast
    naive: Naive | None  # served in the members' place
    bands: Bands
    skill: float  # 1 - mean absolute error / that of the best naive, over the rehearsal
    rows: int  # readings learned from

    @property
    def reach(self) -> int:
        """Slots of readings that a forecast looks at."""
        return self.naive.memory if self.naive else max(member.memory for member in self.members)

    @property
    def memory(self) -> int:
        """Slots of readings to keep."""
        return max(KEPT, self.reach + TO_SPARE)


def learn(grid: TimeGrid, parameters: ForecasterParameters, wanted: Mapping[str, Wanted]) -> Fitted:
    """Rehearse over rolling origins, choose what to serve, learn its intervals, then fit to everything."""
    horizon = parameters.horizon_for(grid)
    history = History.for_structures(grid, parameters.structures, wanted)
    cuts = cut(grid, horizon=horizon)
    truth = truths(grid, cuts, horizon)
    simple = {n.name: n for n in naives(grid.step, len(grid))}
    naive_paths = {name: rehearse_naive(grid, naive, cuts, horizon) for name, naive in simple.items()}
    counted = parameters.counted()
    paths = [rehearse(history, structure, cuts, horizon) for structure in counted]
    ours = blend(parameters.shares(), paths)

    errors = {name: mean_absolute(path, truth) for name, path in naive_paths.items()}
    best = min(errors, key=lambda name: errors[name])
    error = mean_absolute(ours, truth)
    # A naive that never errs cannot be beaten, and without any rehearsal nothing was shown to beat it.
    skill = 1 - error / errors[best] if 0 < errors[best] < np.inf else 0.0
    served = naive_paths[best] if skill <= 0 else ours
    members = tuple(history.fit(structure, len(grid)) for structure in counted)
    fitted = Fitted(
        state=grid,
        members=members,
        shares=parameters.shares(),
        naive=simple[best] if skill <= 0 else None,
        bands=learn_bands(truth - served, spread=float(np.nanstd(grid.values))),
        skill=skill,
        rows=len(history.rows),
    )
    return replace(fitted, state=grid.tail(fitted.memory))


def forecast_at(fitted: Fitted, state: TimeGrid, seconds: Floats) -> Floats:
    """The served forecast at each moment: of the last origin ahead of it, of one step before within the state."""
    steps = (seconds - state.last) / state.step
    if len(steps) and steps.max() > FARTHEST:
        raise DataError(
            f"A forecast {steps.max():.0f} steps ahead was asked for; the farthest is {FARTHEST}."
        )
    horizon = max(1, int(np.ceil(steps.max(initial=1.0))))
    values = np.empty(len(seconds))
    ahead = steps > 0
    if ahead.any():
        recent = state.tail(fitted.reach + TO_SPARE)
        path = _served(fitted, recent, np.array([len(recent) - 1]), horizon)[0]
        values[ahead] = _off_grid(path, steps[ahead])
    if (~ahead).any():
        values[~ahead] = _one_step_before(fitted, state, seconds[~ahead])
    return values


def blend(shares: Sequence[float], parts: Sequence[Floats]) -> Floats:
    """The parts' average, weighted by their shares."""
    total = np.zeros_like(parts[0])
    for share, part in zip(shares, parts, strict=True):
        total += share * part
    return total


def _off_grid(path: Floats, steps: Floats) -> Floats:
    """A path's values between its steps; before the first, the first."""
    return np.interp(steps, np.arange(1, len(path) + 1), path)


def _served(fitted: Fitted, state: TimeGrid, origins: NDArray[np.int64], horizon: int) -> Floats:
    if fitted.naive:
        return fitted.naive.forecast(state.values, origins, horizon)
    return blend(fitted.shares, [member.forecast(state, origins, horizon) for member in fitted.members])


def _one_step_before(fitted: Fitted, state: TimeGrid, seconds: Floats) -> Floats:
    course = blend(fitted.shares, [member.curve.at(seconds) for member in fitted.members])
    slots = np.rint(state.slots_of(seconds)).astype(np.int64)
    inside = slots >= 1
    if inside.any():
        wanted, where = np.unique(slots[inside], return_inverse=True)
        course[inside] = _served(fitted, state, wanted - 1, 1)[where, 0]
    return course
