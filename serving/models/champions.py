"""Champions: the loaded model that serves each sensor, following the registry's aliases.

Loads a champion at its first use. When an alias moves, the new version is loaded beside the old one and takes
over once it passes the checks; a version that fails is refused: the old one keeps serving and the error
becomes a tag. Moves of aliases are noticed in `alias_poller`; the checks are in `acceptance`, scoring is in
`serving.scoring`.
"""

import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from serving.models.acceptance import Model, ModelLoader
from serving.models.alias_poller import AliasPoller, ModelKey
from serving.models.serving_state import ServingState
from serving.vectorized.packed_detector import PackedDetector
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.profile_detector import ProfileDetector
from training.errors import NoChampion, RegistryError, SafePlanError, UntrustedModel
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Listing, Registry, Version
from training.settings import Settings

log = logging.getLogger("safeplan.serving")

MAX_TAG_LENGTH = 500  # characters of the tag `serving`
LOADING_THREADS = 3


class ServingStatus(StrEnum):
    """The beginning of a version's tag `serving`; a refusal is followed by the error."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class CacheSettings(Settings, file="serving", section="cache"):
    """The models in memory."""

    sensors: int = Field(1_000, ge=1, description="sensors whose models stay in memory, most recently used")
    retry_after: float = Field(
        30.0, gt=0, description="seconds before a model that failed to load is tried again"
    )


@dataclass(frozen=True)
class ServingDetector:
    """A sensor's detector in memory, serving since `since` (UTC)."""

    version: Version
    model: PackedDetector | ProfileDetector
    since: datetime


@dataclass(frozen=True)
class ServingForecaster:
    """A sensor's forecaster in memory, serving since `since` (UTC)."""

    version: Version
    model: Forecaster
    since: datetime


ServingModel = ServingDetector | ServingForecaster


@dataclass
class ModelEventCounts:
    """Events since the start, for metrics."""

    loads: int = 0
    takeovers: int = 0
    refusals: int = 0
    evictions: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # URI: error, of current champions only
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, event: str) -> None:
        """Add one; safe for several threads."""
        with self._lock:
            setattr(self, event, getattr(self, event) + 1)


class Champions:
    """Loads champions at their first use, and again when an alias has moved; safe for several threads.

    `cache` is a folder of checked copies of registered files; it may be deleted at any time. With a
    `serving_state`, the last serving version survives a restart while the registry is unreachable or the new
    version is refused.
    """

    def __init__(
        self,
        registry: Registry,
        cache: Path,
        *,
        serving_state: ServingState | None = None,
        settings: CacheSettings | None = None,
        runtime: ScoringRuntime | None = None,
    ) -> None:
        self.registry = registry
        self.loader = ModelLoader(cache, runtime or ScoringRuntime())
        self.serving_state = serving_state
        self.settings = settings or CacheSettings()
        self.event_counts = ModelEventCounts()
        self.aliases = AliasPoller(registry, serving_state)
        self._loaded: OrderedDict[ModelKey, ServingModel] = OrderedDict()
        self._failed: dict[tuple[str, int], tuple[datetime, SafePlanError]] = {}
        # Versions that could not be fetched once: possibly a fault of the network.
        self._fetch_failures: set[tuple[str, int]] = set()
        self._locks: dict[ModelKey, threading.Lock] = {}
        self._lock = threading.Lock()
        try:
            self.refresh()
        except RegistryError:
            if not self.aliases.restore():
                raise

    def refresh(self) -> None:
        """Read all aliases by one query and switch the sensors whose champion has changed.

        Raises:
            RegistryError: the registry is unreachable; the current models keep serving.
        """
        recovered = self.aliases.poll()
        if recovered:
            # Errors of the outage need no pause before the next try.
            self._failed = {
                key: failed for key, failed in self._failed.items() if isinstance(failed[1], UntrustedModel)
            }
        moved = self.aliases.moved({key: model.version for key, model in self.loaded().items()})
        # In parallel, because loading mostly waits for the registry; in random order, so that workers that
        # load the same versions find many already packed by the others.
        random.shuffle(moved)
        if moved:
            with ThreadPoolExecutor(LOADING_THREADS, thread_name_prefix="loading") as pool:
                list(pool.map(self._switch_version, moved))
        current_uris = set(self.aliases.champion_uris().values())
        self.event_counts.refused = {
            uri: error for uri, error in self.event_counts.refused.items() if uri in current_uris
        }
        if self.serving_state is not None:
            self.serving_state.save(self.listings, [model.version for model in self.loaded().values()])

    def name(self, sensor_id: str, kind: Kind) -> str | None:
        """The name of a sensor's registered model of a kind, or None."""
        listing = self.listings.get((sensor_id, kind))
        return None if listing is None else listing.name

    def get(self, key: ModelKey) -> ServingModel:
        """The model of this kind that serves a sensor.

        Raises:
            NoChampion: no version has the alias.
            UntrustedModel: the version was refused.
        """
        loaded = self._loaded.get(key)
        if loaded is not None:
            with self._lock:
                if key in self._loaded:
                    self._loaded.move_to_end(key)
            return loaded
        number = self._champion_number(key)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # One of several requests for an unloaded sensor loads it; requests for other sensors do not wait.
        with lock:
            return self._loaded.get(key) or self._take_over(key, self._load_current_or_last(key, number))

    def detector(self, sensor_id: str) -> ServingDetector:
        """The detector that serves a sensor, as `get`."""
        serving = self.get((sensor_id, Kind.DETECTOR))
        assert isinstance(serving, ServingDetector)
        return serving

    def forecaster(self, sensor_id: str) -> ServingForecaster:
        """The forecaster that serves a sensor, as `get`."""
        serving = self.get((sensor_id, Kind.FORECASTER))
        assert isinstance(serving, ServingForecaster)
        return serving

    def loaded(self) -> dict[ModelKey, ServingModel]:
        """The models in memory."""
        with self._lock:
            return dict(self._loaded)

    def keys_with_champion(self) -> list[ModelKey]:
        """Every sensor and kind with a champion."""
        return list(self.champion_versions())

    @property
    def listings(self) -> Mapping[ModelKey, Listing]:
        """The aliases as last read from the registry."""
        return self.aliases.listings

    def champion_versions(self) -> dict[ModelKey, int]:
        """The champions' version numbers, by sensor and kind."""
        return self.aliases.champion_versions()

    @property
    def unreachable_reason(self) -> str | None:
        """The error while the registry cannot be reached."""
        return self.aliases.unreachable_reason

    @property
    def last_contact(self) -> datetime | None:
        """When the registry last answered (UTC)."""
        return self.aliases.last_contact

    def _load_current_or_last(self, key: ModelKey, number: int) -> ServingModel:
        """The champion, or the version that served last where the champion does not load."""
        try:
            return self._load_version(key, number)
        except RegistryError:
            last = None if self.serving_state is None else self.serving_state.last_served(key)
            if last is None or last == number:
                raise
            return self._load_version(key, last)

    def _switch_version(self, key: ModelKey) -> None:
        listing = self.listings.get(key)
        number = None if listing is None else listing.aliases.get(CHAMPION)
        if number is None:
            with self._lock:
                self._loaded.pop(key, None)
            return
        try:
            self._take_over(key, self._load_version(key, number))
        except SafePlanError as error:
            log.debug("the %s of %s keeps serving: %s", key[1], key[0], error)
        else:
            self.event_counts.count("takeovers")

    def _load_version(self, key: ModelKey, number: int) -> ServingModel:
        name = self.listings[key].name
        failed = self._failed.get((name, number))
        if failed is not None and (datetime.now(UTC) - failed[0]).total_seconds() < self.settings.retry_after:
            raise failed[1]
        try:
            serving = self._checked_version(key, name, number)
        except SafePlanError as error:
            self._record_failure(name, number, error)
            raise
        # Any error of one version's files: the other aliases must be followed.
        except Exception as error:
            log.exception("models:/%s/%d could not be loaded", name, number)
            wrapped = RegistryError(
                f"models:/{name}/{number} cannot be loaded: {type(error).__name__}: {error}"
            )
            self._record_failure(name, number, wrapped)
            raise wrapped from error
        self._fetch_failures.discard((name, number))
        if self._failed.pop((name, number), None) is not None:
            self._tag(name, number, ServingStatus.ACCEPTED)
        self.event_counts.count("loads")
        return serving

    def _checked_version(self, key: ModelKey, name: str, number: int) -> ServingModel:
        version = self._version(name, number)
        sensor_id, kind = key
        if (version.sensor_id, version.kind) != key:
            raise UntrustedModel(
                f"{version.uri} is tagged as the {version.kind} of {version.sensor_id or 'no sensor'}, "
                f"not as the {kind} of {sensor_id}. Roll back."
            )
        return new_serving_model(version, self.loader.open(version))

    def _version(self, name: str, number: int) -> Version:
        stored = None if self.unreachable_reason is None else self.loader.load_metadata(name, number)
        return stored or self.registry.version(name, number)

    def _take_over(self, key: ModelKey, serving: ServingModel) -> ServingModel:
        with self._lock:
            self._loaded[key] = serving
            self._loaded.move_to_end(key)
            # Two kinds per sensor.
            while len(self._loaded) > 2 * self.settings.sensors:
                self._loaded.popitem(last=False)
                self.event_counts.count("evictions")
        listing = self.listings.get(key)
        if listing is not None:
            needed = {serving.version.number, *listing.aliases.values()}
            self.loader.prune(listing.name, needed, now=datetime.now(UTC).timestamp())
        return serving

    def _record_failure(self, name: str, number: int, error: SafePlanError) -> None:
        """Report why a version does not serve: in the log, in the metrics and in the version's tag.

        A version whose files could not be fetched is tried once more before it is reported.
        """
        fetch_failed = self.unreachable_reason is None and not isinstance(error, UntrustedModel)
        if fetch_failed and (name, number) not in self._fetch_failures:
            self._fetch_failures.add((name, number))
            log.warning("models:/%s/%d could not be loaded, and is tried again: %s", name, number, error)
            return
        previous = self._failed.get((name, number))
        self._failed[name, number] = (datetime.now(UTC), error)
        if self.unreachable_reason is not None or (previous is not None and str(previous[1]) == str(error)):
            return
        uri = f"models:/{name}/{number}"
        self.event_counts.count("refusals")
        self.event_counts.refused[uri] = str(error)
        log.error("%s does not serve: %s", uri, error)
        self._tag(name, number, f"{ServingStatus.REFUSED}: {error}"[:MAX_TAG_LENGTH])

    def _tag(self, name: str, number: int, status: str) -> None:
        try:
            self.registry.tag(self.registry.version(name, number), serving=status)
        except RegistryError as error:
            log.warning("models:/%s/%d could not be tagged: %s", name, number, error)

    def _champion_number(self, key: ModelKey) -> int:
        listing = self.listings.get(key)
        if listing is None or CHAMPION not in listing.aliases:
            sensor_id, kind = key
            raise NoChampion(
                f"{sensor_id} has no {kind} champion. Run: safeplan train '{sensor_id}' --kind {kind}"
            )
        return listing.aliases[CHAMPION]


def new_serving_model(version: Version, model: Model) -> ServingModel:
    """A version with its loaded model, serving from now on."""
    if isinstance(model, Forecaster):
        return ServingForecaster(version, model, datetime.now(UTC))
    return ServingDetector(version, model, datetime.now(UTC))
