"""Drift of readings against the window a model was trained on.

Reading order: `detection`, `comparison`, `judgement`, `null_distribution`, `statistics`, `kinds`, `fleet`.
"""

from monitoring.drift.comparison import DriftSettings
from monitoring.drift.detection import compare

__all__ = ["DriftSettings", "compare"]
