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
from training.pipeline.fit import PeerModel
from training.registry.model_registry import Version
from training.registry.registry_snapshot import ModelSnapshot, RegistrySnapshot

log = logging.getLogger("safeplan.training")

MAX_COMPARED = 20  # siblings whose champions are compared
MAX_PEERS = 3  # of them, the best
RANKING_METRIC = {Kind.DETECTOR: "recall_mean", Kind.FORECASTER: "skill"}


class PeerModels:
    """The best champions of each type and kind, found when first asked for."""

    def __init__(self, registry_snapshot: RegistrySnapshot, sensors: Iterable[Sensor], cache: Path) -> None:
        self._snapshot = registry_snapshot
        self._cache = cache
        self._types: dict[str, list[str]] = {}
        for sensor in sensors:
            if sensor.type:
                self._types.setdefault(sensor.type, []).append(sensor.id)
        self._peers: dict[tuple[str, Kind], list[PeerModel]] = {}

    def of(self, sensor: Sensor, kind: Kind) -> tuple[PeerModel, ...]:
        """Others of the sensor's type, the best first; none where its type is not known."""
        if not sensor.type:
            return ()
        if (sensor.type, kind) not in self._peers:
            self._peers[sensor.type, kind] = self._best(sensor.type, kind)
        return tuple(s for s in self._peers[sensor.type, kind] if s.sensor_id != sensor.id)[:MAX_PEERS]

    def _best(self, type_: str, kind: Kind) -> list[PeerModel]:
        registered = [one for one in self._types[type_] if (one, kind) in self._snapshot.listings]
        snapshots = self._snapshot.of(registered[:MAX_COMPARED], [kind]).values()
        champions = sorted(
            ((standing, standing.champion) for standing in snapshots if standing.champion is not None),
            key=lambda pair: -_grade(pair[0], kind),
        )
        # One more than is taken: each may be asked for siblings other than itself.
        candidates = (self._peer(champion) for _, champion in champions[: MAX_PEERS + 1])
        return [sibling for sibling in candidates if sibling is not None]

    def _peer(self, champion: Version) -> PeerModel | None:
        try:
            files = self._snapshot.registry.fetch(champion, self._cache)
            parameters = read_json(files / "parameters.json")
        except UntrustedModel as error:
            log.warning("nothing is borrowed from %s: %s", champion.uri, error)
            return None
        threshold = champion.tags.get("threshold")
        return PeerModel(champion.sensor_id, parameters, float(threshold) if threshold else None)


def _grade(snapshot: ModelSnapshot, kind: Kind) -> float:
    """How good the newest version was on held-out readings; without a number it comes last."""
    return snapshot.metrics.get(RANKING_METRIC[kind], float("-inf"))
