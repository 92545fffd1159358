"""Read the registered versions, aliases and metrics of many sensors in a few queries.

Queried one by one, a fleet without new data took longer to read than to compare. What a snapshot means for a
training is decided in `training.pipeline.fleet`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Listing, Registry, Version, plain_name
from training.registry.tracking import RunSummary, Tracker
from training.registry.version_cache import EMPTY_SUMMARY

ModelKey = tuple[str, Kind]


@dataclass(frozen=True)
class ModelSnapshot:
    """One sensor's models of one kind."""

    versions: tuple[Version, ...] = ()  # newest first
    aliases: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the newest version's run

    @property
    def newest(self) -> Version | None:
        """The newest version, or None."""
        return self.versions[0] if self.versions else None

    @property
    def champion(self) -> Version | None:
        """The version with the champion alias, or None."""
        number = self.aliases.get(CHAMPION)
        return next((version for version in self.versions if version.number == number), None)

    def aliases_of(self, version: Version) -> list[str]:
        """The aliases that point at a version."""
        return sorted(alias for alias, number in self.aliases.items() if number == version.number)


@dataclass(frozen=True)
class RegistrySnapshot:
    """The registered models at one moment; versions and metrics are read on demand."""

    registry: Registry
    tracker: Tracker
    listings: Mapping[ModelKey, Listing]

    @classmethod
    def take(cls, registry: Registry, tracker: Tracker) -> "RegistrySnapshot":
        """The registry as it is now."""
        return cls(registry, tracker, registry.listings())

    def of(self, sensor_ids: Iterable[str], kinds: Sequence[Kind]) -> dict[ModelKey, ModelSnapshot]:
        """The models of each of these sensors and kinds, by a few queries for all of them."""
        keys = [(sensor_id, kind) for sensor_id in sensor_ids for kind in kinds]
        names = {key: self.listings[key].name if key in self.listings else plain_name(*key) for key in keys}
        versions: dict[str, list[Version]] = {}
        for version in self.registry.versions_in(list(names.values())):
            versions.setdefault(version.name, []).append(version)
        newest_first = {
            key: sorted(
                (version for version in versions.get(name, ()) if version.sensor_id == key[0]),
                key=lambda version: -version.number,
            )
            for key, name in names.items()
        }
        runs = self.tracker.summaries_of(of_key[0] for of_key in newest_first.values() if of_key)
        return {key: self._model_snapshot(key, of_key, runs) for key, of_key in newest_first.items()}

    def _model_snapshot(
        self, key: ModelKey, versions: Sequence[Version], runs: Mapping[str, RunSummary]
    ) -> ModelSnapshot:
        if not versions:
            return ModelSnapshot()
        # Another process may have trained this sensor for the first time since the listing.
        listing = self.listings.get(key)
        aliases = listing.aliases if listing else self.registry.aliases(versions[0].name)
        return ModelSnapshot(tuple(versions), aliases, runs.get(versions[0].run_id, EMPTY_SUMMARY).metrics)
