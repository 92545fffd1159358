"""What is known of registered versions and the runs they came from, asked for in bulk and once.

Knows that a complete version and its run change no more, apart from notes that others leave on them. Leaves
what people are told of it to `overview`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from training.kinds import Kind
from training.pipeline.recording import PENDING
from training.registry.model_registry import Registry, Version
from training.registry.tracking import RunSummary, Tracker

Entry = tuple[str, int]  # a registered model's name and a version's number

NOTHING = RunSummary({}, {})


@dataclass(frozen=True)
class Page:
    """One version and its run."""

    version: Version
    run: RunSummary


@dataclass
class ModelBook:
    """Versions by name and number; safe to be asked again, by one thread at a time."""

    registry: Registry
    tracker: Tracker
    _pages: dict[Entry, Page] = field(default_factory=dict)

    def read(self, wanted: Iterable[Entry], known: Iterable[Version] = ()) -> Mapping[Entry, Page]:
        """These versions, as far as they exist; those not asked for are forgotten.

        Of those that are `known` only the runs are asked for.

        Raises:
            RegistryError: MLflow is away, and some of them were not known yet.
        """
        entries = set(wanted)
        missing = entries - self._pages.keys()
        if missing:
            found = [version for version in known if (version.name, version.number) in missing]
            names = sorted({name for name, _ in missing - {(v.name, v.number) for v in found}})
            if names:
                found += [v for v in self.registry.versions_in(names) if (v.name, v.number) in missing]
            runs = self._runs(found)
            self._pages |= {(v.name, v.number): Page(v, runs.get(v.run_id, NOTHING)) for v in found}
        read = {entry: page for entry, page in self._pages.items() if entry in entries}
        self._pages = {entry: page for entry, page in read.items() if _complete(page.version)}
        return read

    def _runs(self, versions: Iterable[Version]) -> dict[str, RunSummary]:
        by_kind: dict[Kind, set[str]] = defaultdict(set)
        for version in versions:
            if version.run_id:
                by_kind[version.kind].add(version.run_id)
        found: dict[str, RunSummary] = {}
        for kind, run_ids in by_kind.items():
            found |= self.tracker.summaries(kind.experiment, sorted(run_ids))
        return found


def _complete(version: Version) -> bool:
    return version.tags.get("validation_status") != PENDING
