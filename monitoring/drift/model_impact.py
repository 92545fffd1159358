"""The recent accuracy of a model, and the cost of a drift in forecast errors and alarms.

Reads stored predictions and the model's output on the checked block. The measures are in `accuracy`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from monitoring.drift.accuracy import alarm_rate, forecast_accuracy
from monitoring.drift.champion_data import ChampionReadings
from monitoring.drift.comparison import DriftComparison, DriftSettings
from monitoring.drift.statistics import Readings
from serving.models.champions import ServingDetector, ServingModel
from serving.predictions.store import PredictionStore
from training.anomaly.calibration import count_episodes
from training.common.times import to_seconds
from training.pipeline.plan import DetectorSettings

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class RecentPerformance:
    """Measures the recent performance of champions."""

    predictions: PredictionStore
    settings: DriftSettings
    detector_settings: DetectorSettings

    def of(
        self, champion: ServingModel, comparison: DriftComparison, view: ChampionReadings, *, age: timedelta
    ) -> dict[str, Any]:
        """The figures of one champion: its age, and its accuracy or its alarms over the checked block."""
        numbers: dict[str, Any] = {"age_days": age / ONE_DAY, "stale": age > self.settings.stale_after}
        if comparison.start is None or comparison.end is None:
            return numbers
        start, end = comparison.start, comparison.end + timedelta.resolution
        stored = self.predictions.between(
            champion.version.sensor_id, start, end, model_type=champion.version.kind.model_type
        )
        stored = stored[stored["model_version"] == str(champion.version.number)]
        block = view.since.between(to_seconds(start), to_seconds(end))
        if isinstance(champion, ServingDetector):
            alarms = count_episodes(block.scores >= champion.model.threshold)
            numbers["alarms_per_day_now"] = alarms / max((end - start) / ONE_DAY, 1e-9)
            return numbers | alarm_rate(stored, budget=self.detector_settings.alarms_per_day)
        numbers |= {
            "error_in_window": mean_absolute_error(view.window),
            "error_now": mean_absolute_error(block),
        }
        return numbers | forecast_accuracy(stored, view.since, view.window, step=view.step)


def mean_absolute_error(readings: Readings) -> float | None:
    """The mean absolute one-step forecast error."""
    errors = np.abs(readings.errors[np.isfinite(readings.errors)])
    return float(errors.mean()) if len(errors) else None


def compute_cost(quality: Mapping[str, Any]) -> float:
    """The cost that ranks the drifts of a fleet: growth of the forecast error plus alarms above the budget.

    One alarm a day above a budget of one costs as much as a forecast error that doubled.

    >>> compute_cost({"error_in_window": 2.0, "error_now": 3.0})
    0.5
    >>> compute_cost({"alarms_per_day_now": 3.0, "alarm_budget_per_day": 1.0})
    2.0
    """
    error_before, error_now = quality.get("error_in_window"), quality.get("error_now")
    error_growth = error_now / error_before - 1 if error_before and error_now is not None else 0.0
    alarms, budget = quality.get("alarms_per_day_now"), quality.get("alarm_budget_per_day")
    excess = alarms / budget - 1 if budget and alarms is not None else 0.0
    return max(float(error_growth), 0.0) + max(float(excess), 0.0)
