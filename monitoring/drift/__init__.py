"""Drift of readings against the window a model was trained on.

Reading order for one comparison: `detection`, `comparison`, `blocks`, `statistics`, `null_distribution`,
`judgement`, `kinds`; for a fleet: `fleet`, `champion_data`, `platform_peers`, `recording`, `report`. The
method is derived in docs/concepts/drift.md.
"""

from monitoring.drift.comparison import DriftSettings
from monitoring.drift.detection import compare

__all__ = ["DriftSettings", "compare"]
