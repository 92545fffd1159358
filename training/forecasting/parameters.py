"""The settings of one sensor's forecaster: what it averages, and how far ahead it looks.

Plain values that survive JSON; `forecaster_tuning` finds them, `fitted_forecaster` uses them.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.forecasting.structures import Structure
from training.forecasting.time_grid import DAY, TimeGrid

MAX_HORIZON = 288  # steps that are rehearsed; beyond, intervals are extrapolated


@dataclass(frozen=True)
class ForecasterParameters:
    """The structures and naives whose forecasts are averaged, and the horizon; named twice counts twice.

    There is at least one structure: the Prophet that is saved, drawn and asked for its components.

    >>> ForecasterParameters.from_json(ForecasterParameters().to_json()) == ForecasterParameters()
    True
    """

    structures: tuple[Structure, ...] = (Structure(),)
    naives: tuple[str, ...] = ()
    horizon: int = 0  # steps ahead that intervals are learned for; 0 means a day's, where the history allows

    def counted(
        self, naives: Collection[str]
    ) -> tuple[tuple[Structure, ...], tuple[str, ...], tuple[float, ...]]:
        """Structures and naives once each, then their shares in that order; without naives not offered."""
        structures = Counter(self.structures)
        names = Counter(name for name in self.naives if name in naives)
        counts = [*structures.values(), *names.values()]
        return tuple(structures), tuple(names), tuple(count / sum(counts) for count in counts)

    def horizon_for(self, grid: TimeGrid) -> int:
        """The steps to rehearse on these readings."""
        requested = self.horizon or min(max(12, round(DAY / grid.step)), MAX_HORIZON)
        return max(1, min(requested, int(grid.known.sum()) // 8))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "structures": [asdict(structure) for structure in self.structures],
            "naives": list(self.naives),
            "horizon": self.horizon,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ForecasterParameters":
        """What `to_json` gave."""
        structures = tuple(Structure(**structure) for structure in content["structures"])
        return cls(structures, tuple(str(name) for name in content["naives"]), int(content["horizon"]))
