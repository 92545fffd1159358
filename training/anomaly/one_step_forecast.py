"""What the next reading should be, from the ones before it: how a slow signal shows a small fault.

Knows one robust linear prediction from spans of the past; leaves what an error means to `features`.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.robust_statistics import robust_spread

Floats = NDArray[np.float64]

FURTHEST = 20.0  # robust deviations beyond which a reading teaches nothing about the usual next step
ROUNDS = 3  # of reweighting, after which the weights hardly move
RIDGE = 1e-3
FINEST = 1e-4  # smallest spread of errors believed: a noiseless signal is foretold to the last bit


class NextStep(BaseModel):
    """Weights of the spans before a reading, newest first, and the usual size of the error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[FiniteFloat, ...] = Field(min_length=3, max_length=6)
    spread: FiniteFloat = Field(gt=0)

    def errors(self, spans: Floats) -> Floats:
        """How far each reading (first column) is from what the spans before it foretell, in usual errors."""
        # Term by term, because a matrix product rounds differently with the number of rows.
        foretold = sum(weight * spans[:, 1 + place] for place, weight in enumerate(self.weights))
        return np.asarray((spans[:, 0] - foretold) / self.spread)


def learn_next_step(spans: Floats) -> NextStep:
    """Least squares, large errors counting less (Huber)."""
    near = np.clip(spans, -FURTHEST, FURTHEST)
    asked, before = near[:, 0], near[:, 1:]
    if len(spans) < 30:
        last = (1.0, *[0.0] * (before.shape[1] - 1))
        return NextStep(weights=last, spread=max(robust_spread(asked - before[:, 0]), FINEST))
    trust = np.ones(len(spans))
    for _ in range(ROUNDS):
        gram = before.T @ (trust[:, None] * before) + RIDGE * len(spans) * np.eye(before.shape[1])
        weights = np.linalg.solve(gram, before.T @ (trust * asked))
        error = asked - before @ weights
        usual = 1.4826 * float(np.median(np.abs(error))) + FINEST
        trust = 1.0 / np.maximum(1.0, np.abs(error) / (2.0 * usual))
    return NextStep(weights=tuple(weights.tolist()), spread=max(robust_spread(error), FINEST))
