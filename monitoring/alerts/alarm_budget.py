"""Share the alarm budget: the alert threshold of each sensor with which all together stay within the budget.

Pure functions of the alerts that each sensor would have raised. Past scores are read, and thresholds stored,
in `monitoring.watch.thresholds`. The method is derived in docs/concepts/alarm-budget.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.common.arrays import Floats
from training.reasons import Reason, ReasonCode, render_all
from training.storage.alert_verdicts import VerdictCounts

DETECTOR_THRESHOLD = 0.0  # does not raise the detector's own threshold
THRESHOLD_STEP = 0.01


@dataclass(frozen=True)
class BudgetClaim:
    """What one sensor requests of the budget: its alerts a day as a function of the threshold."""

    sensor_id: str
    judged: VerdictCounts
    rate: Callable[[float], float]
    lowest: float = 0.3  # no lower score raises an alert

    def threshold_within(self, granted: float, highest: float) -> float:
        """The lowest threshold with at most `granted` alerts a day; `highest` where there is none."""
        if self.rate(DETECTOR_THRESHOLD) <= granted:
            return DETECTOR_THRESHOLD
        threshold = highest
        # Downwards: a higher threshold may split one long alert into two.
        steps = np.arange(round(highest / THRESHOLD_STEP) - 1, round(self.lowest / THRESHOLD_STEP), -1)
        for candidate in (steps * THRESHOLD_STEP).tolist():
            if self.rate(candidate) > granted:
                break
            threshold = round(candidate, 2)
        return threshold


@dataclass(frozen=True)
class BudgetShare:
    """One sensor's share of the budget."""

    sensor_id: str
    threshold: float  # DETECTOR_THRESHOLD, or the lowest score that raises an alert
    per_day: float  # granted alerts a day
    alerts_per_day: float  # those past scores would have raised with the threshold
    reasons: tuple[Reason, ...]

    @property
    def reason(self) -> str:
        """The reasons as English text."""
        return render_all(self.reasons)


def allocate_shares(
    claims: Sequence[BudgetClaim], per_day: float, *, highest: float, certain: bool = True
) -> list[BudgetShare]:
    """Share `per_day` alerts a day: every sensor gets what it requests, or else its fair share.

    A fair share grows with the sensor's past precision. With `certain`, scores from `highest` on raise alerts
    whatever the budget is, and are deducted from it first; only then can the shares exceed the budget.
    """
    requested = np.array([claim.rate(DETECTOR_THRESHOLD) for claim in claims])
    minimum = np.array([claim.rate(highest) if certain else 0.0 for claim in claims])
    minimum = np.minimum(minimum, requested)
    weights = np.array([claim.judged.smoothed_precision for claim in claims])
    granted = fair_shares(requested, minimum, weights, per_day)
    shares = []
    for claim, requested_rate, share in zip(claims, requested.tolist(), granted.tolist(), strict=True):
        threshold = claim.threshold_within(share, highest)
        expected = claim.rate(threshold)
        reasons = _share_reasons(claim.judged, requested_rate, share, threshold, expected)
        shares.append(BudgetShare(claim.sensor_id, threshold, share, expected, reasons))
    return shares


def fair_shares(requested: Floats, minimum: Floats, weights: Floats, total: float) -> Floats:
    """Shares between `minimum` and `requested`, in proportion to the weights, with at most this total.

    A sensor whose request is granted gets exactly that: rounded down, a share of a third would not cover a
    rate of a third, and the sensor's threshold would rise for nothing.

    >>> fair_shares(np.array([1.0, 8.0, 8.0]), np.zeros(3), np.array([1.0, 1.0, 3.0]), 9.0).round(9)
    array([1., 2., 6.])
    """
    if requested.sum() <= total:
        return requested
    # Bisect the share per weight (water filling); 60 halvings are exact to the last bit.
    low, high = 0.0, float((requested / weights).max())
    for _ in range(60):
        middle = (low + high) / 2
        if np.clip(middle * weights, minimum, requested).sum() > total:
            high = middle
        else:
            low = middle
    return np.clip(low * weights, minimum, requested)


def _share_reasons(
    judged: VerdictCounts, requested: float, granted: float, threshold: float, expected: float
) -> tuple[Reason, ...]:
    # Two digits: the rates are estimates from some weeks of scores.
    rates = {"requested": requested, "granted": granted, "expected": expected}
    values = {name: float(f"{rate:.2g}") for name, rate in rates.items()}
    if threshold == DETECTOR_THRESHOLD:
        share = Reason(ReasonCode.BUDGET_GRANTED, {"requested": values["requested"]})
    else:
        share = Reason(ReasonCode.BUDGET_RAISED, {**values, "threshold": threshold})
    count = judged.confirmed + judged.false
    if not count:
        return share, Reason(ReasonCode.BUDGET_NO_VERDICTS)
    return share, Reason(ReasonCode.BUDGET_PRECISION, {"confirmed": judged.confirmed, "judged": count})
