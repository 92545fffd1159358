"""Calibrate raw scores: how rarely a sensor's ordinary readings score as high, and the alarm budget.

Everything is learned from held-out scores, because readings that a model was fitted to look more ordinary
than those it will see. Base detectors are combined in `ensemble`; docs/concepts/calibration.md has the
formulas.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from scipy.fft import irfft, next_fast_len, rfft

from training.common.arrays import Flags, Floats, Ints

TAIL_SHARE = 0.05  # share of the scores to whose excess the tail is fitted
MAX_KNOTS = 48  # knots of a curve
CURVE_WIDTH = 64  # the next power of two, for the binary search
MAX_ANOMALOUS_SHARE = 0.08  # of the readings may score 0.5, whatever the alarm budget
ORDINARY_RARITY = 1.0  # up to it scores stay below 0.3: nine in ten ordinary readings
MIN_BUDGET_RARITY = -float(np.log10(MAX_ANOMALOUS_SHARE))
DEFAULT_MIN_MEAN_EXCESS = 0.01  # the smallest mean excess accepted of a tail
EPISODE_END_READINGS = 16  # without an alarm
PARTS_PER_HALF = 2  # the difference between parts shows how much the future may differ
COMPARISON_QUANTILE = 0.9  # by which parts are compared
WIDENING_SHARES = (0.0, 0.5, 2.0)  # how far a part is moved out, as shares of its distance to the mean


class Rarity(BaseModel):
    """-log10 of the share of ordinary readings that score at least as high; linear beyond the last knot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: tuple[FiniteFloat, ...] = Field(min_length=1, max_length=MAX_KNOTS)
    rarities: tuple[FiniteFloat, ...]
    slope: FiniteFloat = Field(gt=0, description="rarity gained per unit of score beyond the last knot")

    @model_validator(mode="after")
    def _increasing(self) -> "Rarity":
        if len(self.scores) != len(self.rarities):
            raise ValueError("scores and rarities differ in number")
        if np.any(np.diff(self.scores) <= 0) or np.any(np.diff(self.rarities) < 0):
            raise ValueError("scores and rarities must increase")
        return self

    def of(self, scores: Floats) -> Floats:
        """The rarity of each score; strictly increasing beyond the highest ordinary score."""
        return self._curve.at(0, scores)

    def at(self, rarities: Floats) -> Floats:
        """The score of each rarity: the inverse of `of`."""
        inside = np.interp(rarities, self.rarities, self.scores)
        return inside + np.maximum(rarities - self.rarities[-1], 0.0) / self.slope

    @cached_property
    def _curve(self) -> "RarityCurves":
        return RarityCurves.of([self])


class RarityCurves(NamedTuple):
    """Rarities as arrays: one row per curve, so that scores of many curves are looked up at once."""

    knots: Floats  # (curves, CURVE_WIDTH) scores, increasing, infinite behind the last knot
    rarities: Floats  # (curves, CURVE_WIDTH); the last one repeats
    slopes: Floats  # beyond the last knot
    last: Floats  # score of the last knot

    @classmethod
    def of(cls, curves: Sequence[Rarity | None]) -> "RarityCurves":
        """The curves in this order; None leaves a row that must not be used."""
        knots = np.full((len(curves), CURVE_WIDTH), np.inf)
        rarities = np.zeros((len(curves), CURVE_WIDTH))
        slopes, last = np.zeros(len(curves)), np.zeros(len(curves))
        for row, curve in enumerate(curves):
            if curve is not None:
                count = len(curve.scores)
                knots[row, :count], rarities[row, :count] = curve.scores, curve.rarities
                rarities[row, count:] = curve.rarities[-1]
                slopes[row], last[row] = curve.slope, curve.scores[-1]
        return cls(knots, rarities, slopes, last)

    def at(self, curve: Ints | int, scores: Floats) -> Floats:
        """The rarity of each score on its curve, linear between knots and beyond the last; NaN stays NaN."""
        knots, rarities = self.knots.ravel(), self.rarities.ravel()
        left = np.zeros(len(scores), np.int64) + np.asarray(curve) * CURVE_WIDTH
        inside = np.maximum(scores, knots.take(left))
        # A binary search for the last knot at or below each score.
        step = CURVE_WIDTH // 2
        while step:
            left += step * (knots.take(left + step) <= inside)
            step //= 2
        low, low_rarity = knots.take(left), rarities.take(left)
        rise = (rarities.take(left + 1) - low_rarity) / (knots.take(left + 1) - low)
        beyond = self.slopes[curve] * np.maximum(scores - self.last[curve], 0.0)
        return np.asarray(low_rarity + rise * (inside - low) + beyond)


def fit_rarity(scores: Floats, *, min_mean_excess: float = DEFAULT_MIN_MEAN_EXCESS) -> Rarity:
    """Learn rarities from held-out scores in order of time: empirical quantiles with an exponential tail.

    Autocorrelated scores are worth fewer independent ones, so their tail starts earlier. Without
    `min_mean_excess` the first change of a dead sensor would be infinitely rare.

    >>> fit_rarity(np.linspace(0, 1, 1001)).of(np.array([0.9])).round(2)
    array([1.])
    """
    scores = merge_ties(scores)
    return _fit_sorted_rarity(np.sort(scores), effective_sample_size(scores), min_mean_excess)


def merge_ties(scores: Floats) -> Floats:
    """Scores rounded to twelve digits (absolute below 1), so that equal ones stay equal in any unit.

    Of a quantised sensor in other units, tied deviations differed by 1e-16; the slope of their tail by 19 %.
    """
    _, exponents = np.frexp(scores)
    quanta = np.ldexp(1.0, np.maximum(exponents, 0) - 40)
    return np.asarray(np.round(scores / quanta) * quanta)


def _fit_sorted_rarity(ordered: Floats, sample_size: float, min_mean_excess: float) -> Rarity:
    shares = np.unique(np.geomspace(min(5.0 / sample_size, 0.5), 1.0, MAX_KNOTS))[::-1]
    knots = np.quantile(ordered, 1.0 - shares)
    # Of tied knots the first is kept: a score that many readings share is not rare.
    distinct = np.append(True, np.diff(knots) > 1e-12 * max(1.0, abs(knots[-1])))
    knots, rarities = knots[distinct], -np.log10(shares[distinct])
    start = float(np.quantile(ordered, 1 - max(TAIL_SHARE, min(10.0 / sample_size, 0.5))))
    excess = ordered[ordered > start] - start
    mean_excess = float(excess.mean()) if excess.size else 0.0
    return Rarity(
        scores=tuple(knots.tolist()),
        rarities=tuple(rarities.tolist()),
        slope=1.0 / (np.log(10.0) * max(mean_excess, min_mean_excess)),
    )


class Scale(BaseModel):
    """Converts the ensemble's surprise to a score in [0, 1] that means the same on each sensor.

    A score of 0.5 is as rare on ordinary readings as the alarm budget allows, 0.3 ten times as frequent but
    no more frequent than one reading in ten, 0.7 ten times as rare as 0.5, 0.9 a hundred times; beyond, it
    approaches 1 and still increases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rarity: Rarity
    budget: FiniteFloat = Field(ge=MIN_BUDGET_RARITY, description="rarity of readings that score 0.5")

    def of(self, surprise: Floats) -> Floats:
        """The score of each surprise."""
        return score_rarities(self.rarity.of(surprise), self.budget)

    @property
    def limit(self) -> float:
        """The surprise that scores 0.5."""
        return float(self.rarity.at(np.array([self.budget]))[0])

    def share_above(self, score: float) -> float:
        """The expected share of ordinary readings with at least this score, for scores from 0.3 to 0.9."""
        if score >= 0.5:
            return float(10.0 ** -(self.budget + (score - 0.5) / 0.2))
        look_budget = float(look_rarity(self.budget))
        return float(10.0 ** -(look_budget + (score - 0.3) / 0.2 * (self.budget - look_budget)))


def score_rarities(rarity: Floats, budget: Floats | float) -> Floats:
    """The score of each rarity, where readings as rare as `budget` score 0.5."""
    steps, look = rarity - budget, look_rarity(budget)
    ordinary = 0.3 * np.maximum(rarity, 0.0) / look
    doubtful = 0.3 + 0.2 * (rarity - look) / (budget - look)
    beyond = np.maximum(steps - 2.0, 0.0)
    certain = 0.9 + 0.1 * (1.0 - 1.0 / (1.0 + 2.0 * beyond))
    return np.select(
        [rarity < look, steps < 0.0, steps <= 2.0], [ordinary, doubtful, 0.5 + 0.2 * steps], certain
    )


def look_rarity(budget: Floats | float) -> Floats:
    """The rarity that scores 0.3."""
    return np.maximum(np.asarray(budget) - 1.0, ORDINARY_RARITY)


def widen_surprises(halves: Sequence[Floats]) -> Floats:
    """Surprises of the halves three times, with parts above the mean moved out by each WIDENING_SHARES.

    Parts of the training that differ may differ more from it later: not at all, by half as much again or
    three times as much, equally likely. Each of `halves` is in order of time.

    >>> widen_surprises([np.array([0.0, 0.0, 4.0, 4.0])]).tolist()
    [0.0, 0.0, 4.0, 4.0, 0.0, 0.0, 5.0, 5.0, 0.0, 0.0, 8.0, 8.0]
    """
    parts = [part for half in halves for part in np.array_split(half, PARTS_PER_HALF)]
    levels = np.array([np.quantile(part, COMPARISON_QUANTILE) for part in parts])
    further = np.maximum(levels - levels.mean(), 0.0)
    return np.concatenate(
        [part + share * far for share in WIDENING_SHARES for part, far in zip(parts, further, strict=True)]
    )


def fit_far_scale(near: Scale, halves: Sequence[Floats], *, episodes_per_reading: float) -> Scale:
    """The scale of readings far from the training, from the surprises of its halves.

    The budget counts alarms and holds for held-out readings nearby and for the halves. The number of readings
    in alarm follows from the widened surprises: a level that moves for good raises one alarm, which lasts.
    """
    seen_scale = fit_scale(np.concatenate(halves), episodes_per_reading=episodes_per_reading)
    # Each copy counts in the effective sample size; once changed nothing (docs/experiments/detection.md).
    rarity = fit_rarity(widen_surprises(halves))
    budget = float(rarity.of(np.array([max(near.limit, seen_scale.limit)]))[0])
    return Scale(rarity=rarity, budget=max(budget, MIN_BUDGET_RARITY))


def interpolate_scales(near: Scale, far: Scale, share: float) -> Scale:
    """The scale whose surprise at each score lies at this share of the way from `near` to `far`."""
    # Rounding can make a mean smaller than both numbers.
    budget = max((1.0 - share) * near.budget + share * far.budget, MIN_BUDGET_RARITY)
    beyond = max(0.0, *(scale.rarity.rarities[-1] - scale.budget for scale in (near, far)))
    rarities = np.union1d(np.linspace(0.0, budget + beyond, MAX_KNOTS - 1), budget)
    near_surprises, far_surprises = (
        scale.rarity.at(_equivalent_rarities(rarities, budget, scale.budget)) for scale in (near, far)
    )
    # Rounding must not make the surprises decrease.
    surprises = np.maximum.accumulate((1.0 - share) * near_surprises + share * far_surprises)
    distinct = np.append(True, np.diff(surprises) > 0)
    rarities, surprises = rarities[distinct], surprises[distinct]
    return Scale(
        rarity=Rarity(
            scores=tuple(surprises.tolist()),
            rarities=tuple(rarities.tolist()),
            slope=1.0 / ((1.0 - share) / near.rarity.slope + share / far.rarity.slope),
        ),
        budget=budget,
    )


def _equivalent_rarities(rarities: Floats, budget: float, other: float) -> Floats:
    """The rarities that have the same scores under the other budget."""
    knots, equivalent = ((0.0, float(look_rarity(one)), one) for one in (budget, other))
    return np.asarray(np.interp(rarities, knots, equivalent) + np.maximum(rarities - budget, 0.0))


def fit_scale(surprise: Floats, *, episodes_per_reading: float) -> Scale:
    """Learn the surprise that meets the alarm budget; an alarm is an episode of any number of readings.

    `surprise` is of held-out readings in order of time.
    """
    surprise = merge_ties(surprise)
    ordered, sample_size = np.sort(surprise), effective_sample_size(surprise)
    rarity = _fit_sorted_rarity(ordered, sample_size, DEFAULT_MIN_MEAN_EXCESS)
    rarest = min(5.0 / sample_size, MAX_ANOMALOUS_SHARE)
    shares = np.geomspace(rarest, MAX_ANOMALOUS_SHARE, 24)
    limits = np.quantile(ordered, 1.0 - shares)
    rates = np.array([max(count_episodes(surprise > limit), 1) for limit in limits]) / surprise.size
    within = np.flatnonzero(np.maximum.accumulate(rates) <= episodes_per_reading)
    share = shares[within[-1]] if within.size else shares[0] * episodes_per_reading / rates[0]
    return Scale(rarity=rarity, budget=max(-float(np.log10(share)), MIN_BUDGET_RARITY))


def count_episodes(alarmed: Flags) -> int:
    """The number of alarms: one lasts until sixteen readings in a row are without an alarm."""
    rows = np.flatnonzero(alarmed)
    return int(np.count_nonzero(np.diff(rows) > EPISODE_END_READINGS)) + min(rows.size, 1)


def effective_sample_size(scores: Floats) -> float:
    """The number of independent scores that autocorrelated ones are worth for their tail, at least four.

    n divided by the square root of the autocorrelation time of the ranks. Dividing by the time itself, which
    is right for a mean, gave longer tails that found fewer faults.
    """
    ranks = np.empty(scores.size)
    ranks[np.argsort(scores, kind="stable")] = np.arange(scores.size)
    ranks -= ranks.mean()
    length = next_fast_len(2 * ranks.size, real=True)  # a prime length takes ten times as long
    spectrum = rfft(ranks, length)
    correlation = irfft(spectrum * np.conj(spectrum), length)[: max(ranks.size // 2, 1)]
    if correlation[0] <= 0:
        return max(float(scores.size), 4.0)
    below = np.flatnonzero(correlation < 0.1 * correlation[0])
    lags = correlation[1 : below[0] if below.size else None] / correlation[0]
    return max(scores.size / float(np.sqrt(1.0 + 2.0 * lags.sum())), 4.0)
