"""The settings of one sensor's forecaster: which structures it averages, and how far ahead it looks.

Plain values that survive JSON; `forecaster_tuning` finds them, `fitted_forecaster` uses them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.structures import Structure
from training.timegrid import DAY, TimeGrid

LONGEST_HORIZON = 288  # steps that are rehearsed; beyond, intervals are extrapolated


@dataclass(frozen=True)
class ForecasterParameters:
    """The structures whose forecasts are averaged (one that is named twice counts twice), and the horizon.

    >>> ForecasterParameters.from_json(ForecasterParameters().to_json()) == ForecasterParameters()
    True
    """

    structures: tuple[Structure, ...] = (Structure(),)
    horizon: int = 0  # steps ahead that intervals are learned for; 0 means a day's, where the history allows

    def counted(self) -> tuple[Structure, ...]:
        """Each structure once, in the order of first mention."""
        return tuple(Counter(self.structures))

    def shares(self) -> tuple[float, ...]:
        """Each counted structure's share in the average."""
        return tuple(count / len(self.structures) for count in Counter(self.structures).values())

    def horizon_for(self, grid: TimeGrid) -> int:
        """The steps to rehearse on these readings."""
        wanted = self.horizon or min(max(12, round(DAY / grid.step)), LONGEST_HORIZON)
        return max(1, min(wanted, int(grid.known.sum()) // 8))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"structures": [asdict(structure) for structure in self.structures]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ForecasterParameters":
        """What `to_json` gave."""
        structures = tuple(Structure(**structure) for structure in content["structures"])
        return cls(structures, int(content["horizon"]))
