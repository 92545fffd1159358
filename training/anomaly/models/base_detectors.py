"""The base detectors of the ensemble: Isolation Forest and LOF on points and on windows, and the deviation.

Fits them and computes their raw scores. Fitting by blocks is in `crossfit`, calibration in `ensemble`.
"""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from training.anomaly.crossfit import (
    MAX_DENSITY_ROWS,
    HeldOutLof,
    fit_forest,
    held_out_path_lengths,
)
from training.anomaly.features import Design
from training.anomaly.models.isolation_forest import Forest, isolation_score
from training.anomaly.models.local_outlier_factor import Neighbourhood
from training.anomaly.models.sklearn_adapter import fit_lof
from training.anomaly.profile import Profile
from training.common.arrays import Flags, Floats
from training.reasons import Reason, ReasonCode

BASE_DETECTORS = ("forest_points", "forest_windows", "density_points", "density_windows", "deviation")


class DetectorParameters(BaseModel):
    """The parameters of one sensor's detector.

    `contamination` only affects the labels of `detect_isolation_forest` and `detect_lof`, as in scikit-learn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contamination: float = Field(
        0.1, gt=0, le=0.5, description="share of training readings that are anomalous"
    )
    trees: int = Field(64, ge=8, le=400, multiple_of=4)
    neighbours: int = Field(20, ge=2, le=100)
    forest_weight: float = Field(1.0, ge=0, le=10)
    density_weight: float = Field(1.0, ge=0, le=10)
    deviation_weight: float = Field(1.5, ge=0, le=10)
    windows_share: float = Field(
        0.35,
        ge=0,
        le=1,
        description="share of the forest's and density's weight for windows; the rest: points",
    )
    alarms_per_day: float | None = Field(
        None, gt=0, description="false alarms allowed at a score of 0.5; none: one in 1,000 readings"
    )
    lifetime_days: float | None = Field(
        None, gt=0, description="days until the next training; none: longer than the training window"
    )

    def weights(self) -> Floats:
        """One weight per base detector, in the order of BASE_DETECTORS."""
        points = 1.0 - self.windows_share
        return np.array(
            [
                self.forest_weight * points,
                self.forest_weight * self.windows_share,
                self.density_weight * points,
                self.density_weight * self.windows_share,
                self.deviation_weight,
            ]
        )


def family_of(name: str) -> str:
    """`forest`, `density` or `deviation`."""
    return name.split("_", maxsplit=1)[0]


@dataclass(frozen=True)
class BaseDetectors:
    """The fitted scikit-learn objects by name, and the same as arrays for scoring."""

    forests: dict[str, IsolationForest]
    densities: dict[str, LocalOutlierFactor]
    skipped: dict[str, Reason]  # why a base detector was not fitted
    fast_forests: dict[str, Forest]
    fast_densities: dict[str, Neighbourhood]

    @classmethod
    def of(
        cls,
        forests: dict[str, IsolationForest],
        densities: dict[str, LocalOutlierFactor],
        skipped: dict[str, Reason],
    ) -> "BaseDetectors":
        """Prepare fitted objects for scoring; raises UntrustedModel where one from a file is inconsistent."""
        return cls(
            forests,
            densities,
            skipped,
            {name: Forest.of(forest) for name, forest in forests.items()},
            {name: Neighbourhood.of(density) for name, density in densities.items()},
        )

    def raw_scores(self, design: Design) -> Floats:
        """Raw scores, shape (rows, base detectors); NaN where a base detector is skipped."""
        raw_scores = np.full((len(design.points), len(BASE_DETECTORS)), np.nan)
        for column, name in enumerate(BASE_DETECTORS[:-1]):
            model = self.fast_forests.get(name) or self.fast_densities.get(name)
            if model is not None:
                usable, rows = input_rows(design, name)
                raw_scores[usable, column] = model.score(rows)
        raw_scores[:, -1] = design.deviation
        return raw_scores


def fit_base_detectors(
    design: Design,
    profile: Profile,
    parameters: DetectorParameters,
    *,
    seed: int,
    density_rows: int = MAX_DENSITY_ROWS,
) -> tuple[BaseDetectors, Floats]:
    """Fit each base detector on all rows; also return its raw scores of held-out blocks."""
    forests: dict[str, IsolationForest] = {}
    fast_forests: dict[str, Forest] = {}
    densities: dict[str, LocalOutlierFactor] = {}
    skipped: dict[str, Reason] = {}
    held_out = np.full((len(design.points), len(BASE_DETECTORS)), np.nan)
    for column, name in enumerate(BASE_DETECTORS[:-1]):
        usable, rows = input_rows(design, name)
        if reason := skip_reason(rows, name, profile):
            skipped[name] = reason
        elif family_of(name) == "forest":
            forests[name] = fit_forest(rows, trees=parameters.trees, seed=seed)
            forest = fast_forests[name] = Forest.of(forests[name])
            lengths = held_out_path_lengths(forest, rows).mean(axis=1)
            held_out[usable, column] = isolation_score(lengths, forest.normal_length)
        else:
            lof = HeldOutLof.fit(
                rows, profile, neighbours=parameters.neighbours, seed=seed, max_rows=density_rows
            )
            densities[name] = fit_lof(lof.sample, lof.near.nearest, neighbours=lof.neighbours)
            held_out[usable, column] = lof.lof(lof.neighbours)
    held_out[:, -1] = design.deviation
    fast_densities = {name: Neighbourhood.of(density) for name, density in densities.items()}
    return BaseDetectors(forests, densities, skipped, fast_forests, fast_densities), held_out


def input_rows(design: Design, name: str) -> tuple[Flags, Floats]:
    """The rows that a base detector can score, and their features."""
    if name.endswith("windows"):
        return design.full, design.windows[design.full]
    return np.ones(len(design.points), bool), design.points


def skip_reason(rows: Floats, name: str, profile: Profile) -> Reason | None:
    """Why a base detector cannot be fitted to these rows; None where it can."""
    if len(rows) < 16:
        return Reason(ReasonCode.SKIPPED_FEW_WINDOWS, {"count": len(rows)})
    if family_of(name) == "density" and profile.constant:
        return Reason(ReasonCode.SKIPPED_CONSTANT)
    return None
