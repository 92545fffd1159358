"""What works for sensors of the same type: where a search may start, and what a newcomer borrows.

Knows which champions are siblings and which of them do best. What is made of their parameters is
`fit_detector`'s and `fit_forecaster`'s. Only champions that stood before a retraining began count, so that
its results do not depend on who finished first.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from training.artifacts.model_files import read_json
from training.data.sensors import Sensor
from training.errors import UntrustedModel
from training.kinds import Kind
from training.pipeline.fit import Sibling
from training.registry.model_registry import Version
from training.registry.registry_snapshot import Standing, Standings

log = logging.getLogger("safeplan.training")

ASKED = 20  # siblings whose champions are compared
TAKEN = 3  # of them, the best
MEASURE = {Kind.DETECTOR: "recall_mean", Kind.FORECASTER: "skill"}


class Siblings:
    """The best champions of each type and kind, found when first asked for."""

    def __init__(self, standings: Standings, sensors: Iterable[Sensor], cache: Path) -> None:
        self._standings = standings
        self._cache = cache
        self._types: dict[str, list[str]] = {}
        for sensor in sensors:
            if sensor.type:
                self._types.setdefault(sensor.type, []).append(sensor.id)
        self._found: dict[tuple[str, Kind], list[Sibling]] = {}

    def of(self, sensor: Sensor, kind: Kind) -> tuple[Sibling, ...]:
        """Others of the sensor's type, the best first; none where its type is not known."""
        if not sensor.type:
            return ()
        if (sensor.type, kind) not in self._found:
            self._found[sensor.type, kind] = self._best(sensor.type, kind)
        return tuple(s for s in self._found[sensor.type, kind] if s.sensor_id != sensor.id)[:TAKEN]

    def _best(self, type_: str, kind: Kind) -> list[Sibling]:
        registered = [one for one in self._types[type_] if (one, kind) in self._standings.listings]
        stands = self._standings.of(registered[:ASKED], [kind]).values()
        champions = sorted(
            ((standing, standing.champion) for standing in stands if standing.champion is not None),
            key=lambda pair: -_grade(pair[0], kind),
        )
        # One more than is taken: each may be asked for siblings other than itself.
        found = (self._sibling(champion) for _, champion in champions[: TAKEN + 1])
        return [sibling for sibling in found if sibling is not None]

    def _sibling(self, champion: Version) -> Sibling | None:
        try:
            files = self._standings.registry.fetch(champion, self._cache)
            parameters = read_json(files / "parameters.json")
        except UntrustedModel as error:
            log.warning("nothing is borrowed from %s: %s", champion.uri, error)
            return None
        threshold = champion.tags.get("threshold")
        return Sibling(champion.sensor_id, parameters, float(threshold) if threshold else None)


def _grade(standing: Standing, kind: Kind) -> float:
    """How good the newest version was on held-out readings; without a number it comes last."""
    return standing.metrics.get(MEASURE[kind], float("-inf"))
