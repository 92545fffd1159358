"""What is known of registered versions and the runs they came from, asked for in bulk and once.

Knows that a complete version and its run change no more, apart from notes that others leave on them. Leaves
what people are told of it to `overview`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from training.kinds import Kind
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
    """Versions by name and number; safe to be asked again, by one thread at a time."""

    registry: Registry
    tracker: Tracker
    _records: dict[VersionKey, VersionRecord] = field(default_factory=dict)

    def read(
        self, requested: Iterable[VersionKey], known: Iterable[Version] = ()
    ) -> Mapping[VersionKey, VersionRecord]:
        """These versions, as far as they exist; those not asked for are forgotten.

        Of those that are `known` only the runs are asked for.

        Raises:
            RegistryError: MLflow is away, and some of them were not known yet.
        """
        entries = set(requested)
        missing = entries - self._records.keys()
        if missing:
            versions = [version for version in known if (version.name, version.number) in missing]
            names = sorted({name for name, _ in missing - {(v.name, v.number) for v in versions}})
            if names:
                versions += [v for v in self.registry.versions_in(names) if (v.name, v.number) in missing]
            runs = self._runs(versions)
            self._records |= {
                (v.name, v.number): VersionRecord(v, runs.get(v.run_id, EMPTY_SUMMARY)) for v in versions
            }
        records = {entry: page for entry, page in self._records.items() if entry in entries}
        self._records = {entry: page for entry, page in records.items() if _is_complete(page.version)}
        return records

    def _runs(self, versions: Iterable[Version]) -> dict[str, RunSummary]:
        by_kind: dict[Kind, set[str]] = defaultdict(set)
        for version in versions:
            if version.run_id:
                by_kind[version.kind].add(version.run_id)
        summaries: dict[str, RunSummary] = {}
        for kind, run_ids in by_kind.items():
            summaries |= self.tracker.summaries(kind.experiment, sorted(run_ids))
        return summaries


def _is_complete(version: Version) -> bool:
    return version.validation_status is not ValidationStatus.PENDING
