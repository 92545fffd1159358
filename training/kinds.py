"""The two kinds of model of every sensor, the result of the gate, who promotes, and where training runs.

Holds names only; the models are in `training.anomaly` and `training.forecasting`.
"""

from enum import StrEnum


class Kind(StrEnum):
    """What a model does for a sensor.

    >>> Kind("detector").model_type
    'ANOMALY_DETECTOR'
    """

    DETECTOR = "detector"
    FORECASTER = "forecaster"

    @property
    def model_type(self) -> str:
        """The value in the column `model_type` of the tables."""
        return "ANOMALY_DETECTOR" if self is Kind.DETECTOR else "FORECASTER"

    @property
    def experiment(self) -> str:
        """The MLflow experiment that contains this kind's runs."""
        return f"safeplan-{self.value}s"


class Promotion(StrEnum):
    """Who promotes a new version to champion."""

    MANAGED = "managed"  # the gate
    MANUAL = "manual"  # an engineer; the challenger waits


class Engine(StrEnum):
    """Where models are trained."""

    LOCAL = "local"  # worker processes on this machine
    RAY = "ray"  # a Ray cluster


FALLBACK_RECIPE = (
    "rule-based fallback"  # the tag `recipe` of the version that serves where no detector passed
)


class GateStatus(StrEnum):
    """The result of the gate."""

    PASSED = "passed"
    REFUSED = "refused"
    FALLBACK = "fallback"  # a rule-based detector, because the detector was refused
