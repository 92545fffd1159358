"""Cache of registered versions and their runs, read in bulk.

A complete version and its run do not change, so each is read once. What is shown of them is decided in
`training.operations.overview`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from training.registry.model_registry import Registry, ValidationStatus, Version
from training.registry.tracking import RunSummary, Tracker

VersionKey = tuple[str, int]  # a registered model's name and a version's number

EMPTY_SUMMARY = RunSummary({}, {})


@dataclass(frozen=True)
class VersionRecord:
    """One version and its run."""

    version: Version
    run: RunSummary


@dataclass
class VersionCache:
    """Versions by name and number; use one instance from one thread at a time."""

    registry: Registry
    tracker: Tracker
    _records: dict[VersionKey, VersionRecord] = field(default_factory=dict)

    def read(
        self, requested: Iterable[VersionKey], known: Iterable[Version] = ()
    ) -> Mapping[VersionKey, VersionRecord]:
        """The requested versions that exist; all others are dropped from the cache.

        For versions that are `known`, only the runs are read.

        Raises:
            RegistryError: MLflow does not answer, and a requested version is not in the cache.
        """
        keys = set(requested)
        missing = keys - self._records.keys()
        if missing:
            versions = [version for version in known if (version.name, version.number) in missing]
            names = sorted({name for name, _ in missing - {(v.name, v.number) for v in versions}})
            if names:
                versions += [v for v in self.registry.versions_in(names) if (v.name, v.number) in missing]
            runs = self.tracker.summaries_of(versions)
            self._records |= {
                (v.name, v.number): VersionRecord(v, runs.get(v.run_id, EMPTY_SUMMARY)) for v in versions
            }
        records = {key: record for key, record in self._records.items() if key in keys}
        self._records = {key: record for key, record in records.items() if _is_complete(record.version)}
        return records


def _is_complete(version: Version) -> bool:
    return version.validation_status is not ValidationStatus.PENDING
