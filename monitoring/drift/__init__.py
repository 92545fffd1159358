"""Drift of readings against the window a model was trained on.

Reading order for one comparison: `compare_frames`, `comparison`, `blocks`, `statistics`, `null_distribution`,
`judgement`, `kinds`; for a fleet: `fleet`, `champion_data`, `platform_peers`, `recording`, `report`. The
method is derived in docs/concepts/drift.md.
"""

from monitoring.drift.compare_frames import compare
from monitoring.drift.comparison import DriftSettings

__all__ = ["DriftSettings", "compare"]
