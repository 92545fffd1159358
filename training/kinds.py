"""The two kinds of model every sensor has, their names elsewhere, who promotes them, and where they learn.

Knows how a kind is called in tables, experiments, registered models and sentences. Knows no model.
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
        """The word of the `ml_predictions` table."""
        return "ANOMALY_DETECTOR" if self is Kind.DETECTOR else "FORECASTER"

    @property
    def experiment(self) -> str:
        """The MLflow experiment that holds this kind's runs."""
        return f"safeplan-{self.value}s"


class Promotion(StrEnum):
    """Who moves the champion's alias after a training."""

    MANAGED = "managed"  # the gate
    MANUAL = "manual"  # a human; the challenger waits


class Engine(StrEnum):
    """Where sensors' models are learned."""

    LOCAL = "local"  # worker processes on this machine
    RAY = "ray"  # a Ray cluster
