"""How sensors stand in the registry before they are trained: newest version, aliases, what its run came to.

Knows how to ask for many at once: one by one, asking took a fleet that has nothing to learn longer than
seeing that it has not. Decides nothing; what it means that a version stands is `fleet`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Listing, Registry, Version, plain_name
from training.registry.tracking import Tracker

ModelKey = tuple[str, Kind]


@dataclass(frozen=True)
class ModelSnapshot:
    """One sensor's models of one kind."""

    versions: tuple[Version, ...] = ()  # newest first
    aliases: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the newest version's run

    @property
    def newest(self) -> Version | None:
        """The version made last."""
        return self.versions[0] if self.versions else None

    @property
    def champion(self) -> Version | None:
        """The version that serves."""
        number = self.aliases.get(CHAMPION)
        return next((version for version in self.versions if version.number == number), None)

    def aliases_of(self, version: Version) -> list[str]:
        """The aliases that point at a version."""
        return sorted(alias for alias, number in self.aliases.items() if number == version.number)


@dataclass(frozen=True)
class RegistrySnapshot:
    """All that is registered as of one moment, read in handfuls."""

    registry: Registry
    tracker: Tracker
    listings: Mapping[ModelKey, Listing]

    @classmethod
    def take(cls, registry: Registry, tracker: Tracker) -> "RegistrySnapshot":
        """As the registry is now."""
        return cls(registry, tracker, registry.listings())

    def of(self, sensor_ids: Iterable[str], kinds: Sequence[Kind]) -> dict[ModelKey, ModelSnapshot]:
        """The standing of each of these sensors and kinds, by a few queries for all of them."""
        keys = [(sensor_id, kind) for sensor_id in sensor_ids for kind in kinds]
        names = {key: self.listings[key].name if key in self.listings else plain_name(*key) for key in keys}
        versions: dict[str, list[Version]] = {}
        for version in self.registry.versions_in(list(names.values())):
            versions.setdefault(version.name, []).append(version)
        snapshots = {}
        for key, name in names.items():
            sensor_versions = [version for version in versions.get(name, ()) if version.sensor_id == key[0]]
            snapshots[key] = self._model_snapshot(
                key, sorted(sensor_versions, key=lambda version: -version.number)
            )
        metrics = self._metrics(standing.versions[0] for standing in snapshots.values() if standing.versions)
        return {
            key: replace(standing, metrics=metrics.get(standing.versions[0].run_id, {}))
            if standing.versions
            else standing
            for key, standing in snapshots.items()
        }

    def _model_snapshot(self, key: ModelKey, versions: Sequence[Version]) -> ModelSnapshot:
        if not versions:
            return ModelSnapshot()
        # Another process may have trained this sensor for the first time since the listing.
        listing = self.listings.get(key)
        aliases = listing.aliases if listing else self.registry.aliases(versions[0].name)
        return ModelSnapshot(tuple(versions), aliases)

    def _metrics(self, versions: Iterable[Version]) -> dict[str, Mapping[str, float]]:
        runs: dict[Kind, list[str]] = {}
        for version in versions:
            runs.setdefault(version.kind, []).append(version.run_id)
        return {
            run_id: summary.metrics
            for kind, run_ids in runs.items()
            for run_id, summary in self.tracker.summaries(kind.experiment, run_ids).items()
        }
