"""A robust linear forecast of the next reading from those before it; it shows small faults of slow signals.

Spans of readings and features of the errors are computed in `features`.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.robust_statistics import robust_spread
from training.common.arrays import Floats

MAX_SPANS = 6
MAX_DEVIATIONS = 20.0  # robust standard deviations at which readings are clipped for the fit
REWEIGHTING_ROUNDS = 3  # afterwards the weights hardly change
RIDGE_WEIGHT = 1e-3
MIN_SPREAD = 1e-4  # of errors: a signal without noise is forecast to the last digit


class NextStep(BaseModel):
    """The weights of the spans before a reading, newest first, and the spread of the error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[FiniteFloat, ...] = Field(min_length=3, max_length=MAX_SPANS)
    spread: FiniteFloat = Field(gt=0)

    def errors(self, spans: Floats) -> Floats:
        """How far each reading (first column) is from its forecast, in spreads of the error."""
        return forecast_errors(spans, np.asarray(self.weights), self.spread)


def forecast_errors(spans: Floats, weights: Floats, spreads: Floats | float) -> Floats:
    """(reading - forecast) / spread of each row of spans; `weights` of one row or of each row."""
    # Term by term, because a matrix product rounds differently with the number of rows.
    forecast = sum(weights[..., place] * spans[:, 1 + place] for place in range(spans.shape[1] - 1))
    return np.asarray((spans[:, 0] - forecast) / spreads)


def fit_next_step(spans: Floats) -> NextStep:
    """Least squares with Huber weights: large errors count less."""
    clipped = np.clip(spans, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    target, spans_before = clipped[:, 0], clipped[:, 1:]
    if len(spans) < 30:
        last = (1.0, *[0.0] * (spans_before.shape[1] - 1))
        return NextStep(weights=last, spread=max(robust_spread(target - spans_before[:, 0]), MIN_SPREAD))
    trust = np.ones(len(spans))
    for _ in range(REWEIGHTING_ROUNDS):
        gram = spans_before.T @ (trust[:, None] * spans_before) + RIDGE_WEIGHT * len(spans) * np.eye(
            spans_before.shape[1]
        )
        weights = np.linalg.solve(gram, spans_before.T @ (trust * target))
        error = target - spans_before @ weights
        usual = 1.4826 * float(np.median(np.abs(error))) + MIN_SPREAD
        trust = 1.0 / np.maximum(1.0, np.abs(error) / (2.0 * usual))
    return NextStep(weights=tuple(weights.tolist()), spread=max(robust_spread(error), MIN_SPREAD))
