"""Find the best champions of sensors of the same type: starting points of a search, or parameters to borrow.

Only champions from before the retraining count, so that its results do not depend on the order in which
sensors finish. The parameters are used in `training.pipeline.fit_detector` and
`training.pipeline.fit_forecaster`.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from training.artifacts.model_files import read_json
from training.data.sensors import Sensor
from training.errors import UntrustedModel
from training.kinds import Kind
from training.pipeline.fit import PARAMETERS_FILE, PeerModel
from training.registry.model_registry import Version
from training.registry.registry_snapshot import ModelSnapshot, RegistrySnapshot
from training.registry.version_files import fetch_files

log = logging.getLogger("safeplan.training")

MAX_COMPARED = 20  # peers whose champions are compared
MAX_PEERS = 3  # the best of them
RANKING_METRIC = {Kind.DETECTOR: "recall_mean", Kind.FORECASTER: "skill"}


class PeerModels:
    """The best champions of each type and kind, read on first use."""

    def __init__(self, registry_snapshot: RegistrySnapshot, sensors: Iterable[Sensor], cache: Path) -> None:
        self._snapshot = registry_snapshot
        self._cache = cache
        self._types: dict[str, list[str]] = {}
        for sensor in sensors:
            if sensor.type:
                self._types.setdefault(sensor.type, []).append(sensor.id)
        self._peers: dict[tuple[str, Kind], list[PeerModel]] = {}

    def of(self, sensor: Sensor, kind: Kind) -> tuple[PeerModel, ...]:
        """The best peers of a sensor, best first; none if its type is not known."""
        if not sensor.type:
            return ()
        if (sensor.type, kind) not in self._peers:
            self._peers[sensor.type, kind] = self._best(sensor.type, kind)
        others = [peer for peer in self._peers[sensor.type, kind] if peer.sensor_id != sensor.id]
        return tuple(others[:MAX_PEERS])

    def _best(self, type_: str, kind: Kind) -> list[PeerModel]:
        registered = [id_ for id_ in self._types[type_] if (id_, kind) in self._snapshot.listings]
        snapshots = self._snapshot.of(registered[:MAX_COMPARED], [kind]).values()
        best_first = sorted(snapshots, key=lambda snapshot: -_grade(snapshot, kind))
        champions = [
            champion
            for snapshot in best_first
            if (champion := snapshot.champion) is not None and not champion.is_fallback
        ]
        # One more than needed: a sensor is not its own peer.
        candidates = map(self._peer, champions[: MAX_PEERS + 1])
        return [peer for peer in candidates if peer is not None]

    def _peer(self, champion: Version) -> PeerModel | None:
        try:
            files = fetch_files(champion, self._cache)
            parameters = read_json(files / PARAMETERS_FILE)
        except UntrustedModel as error:
            log.warning("parameters of %s not used: %s", champion.uri, error)
            return None
        threshold = champion.tags.get("threshold")
        return PeerModel(champion.sensor_id, parameters, float(threshold) if threshold else None)


def _grade(snapshot: ModelSnapshot, kind: Kind) -> float:
    """The newest version's metric on held-out readings; last in order if it has none."""
    return snapshot.metrics.get(RANKING_METRIC[kind], float("-inf"))
