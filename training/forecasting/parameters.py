"""Parameters of one sensor's forecaster: the structures it averages and how far ahead it is fitted.

Plain values that can be stored as JSON. Chosen by `training.tuning.forecaster_search`, used by
`training.forecasting.fitted_forecaster`.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.forecasting.structures import Structure
from training.forecasting.time_grid import DAY, TimeGrid

MAX_HORIZON = 288  # steps of a backtest; intervals further ahead are extrapolated


@dataclass(frozen=True)
class ForecasterParameters:
    """The structures and naive forecasts that are averaged, and the horizon; one listed twice counts twice.

    There is at least one structure: the Prophet whose components are shown.

    >>> ForecasterParameters.from_json(ForecasterParameters().to_json()) == ForecasterParameters()
    True
    """

    structures: tuple[Structure, ...] = (Structure(),)
    naives: tuple[str, ...] = ()
    horizon: int = 0  # steps ahead that intervals are fitted for; 0: one day, where the history allows

    def counted(
        self, naives: Collection[str]
    ) -> tuple[tuple[Structure, ...], tuple[str, ...], tuple[float, ...]]:
        """Distinct structures, distinct names among `naives`, and the shares of both in that order."""
        structures = Counter(self.structures)
        names = Counter(name for name in self.naives if name in naives)
        counts = [*structures.values(), *names.values()]
        return tuple(structures), tuple(names), tuple(count / sum(counts) for count in counts)

    def horizon_for(self, grid: TimeGrid) -> int:
        """Steps ahead of a backtest on these readings."""
        requested = self.horizon or min(max(12, round(DAY / grid.step)), MAX_HORIZON)
        return max(1, min(requested, int(grid.known.sum()) // 8))

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "structures": [asdict(structure) for structure in self.structures],
            "naives": list(self.naives),
            "horizon": self.horizon,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ForecasterParameters":
        """The inverse of `to_json`."""
        structures = tuple(Structure(**structure) for structure in content["structures"])
        return cls(structures, tuple(str(name) for name in content["naives"]), int(content["horizon"]))
