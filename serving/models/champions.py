"""Champions: the loaded model that serves each sensor, as the aliases say.

Knows which versions carry the alias, loads them when first asked for, opens a new one beside the old, and
lets it take over only when it has shown what it must. A version that fails is refused: the old one stays, the
reason becomes a tag. Leaves the checks to `acceptance`, polling to `follower`, scoring to `scoring`.
"""

import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from serving.models.acceptance import Model, ModelLoader
from serving.models.serving_state import ServingState
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.detector import AnomalyDetector
from training.errors import NoChampion, RegistryError, SafePlanError, UntrustedModel
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Listing, Registry, Version
from training.settings import Settings

log = logging.getLogger("safeplan.serving")

ModelKey = tuple[str, Kind]

MAX_TAG_LENGTH = 500  # characters of a reason that are kept on a version
OPENING_THREADS = 3  # versions that aliases have moved to


class CacheSettings(Settings, file="serving", section="cache"):
    """How many models stay in memory."""

    sensors: int = Field(1_000, ge=1, description="sensors whose models stay loaded, the latest asked for")
    retry_after: float = Field(
        30.0, gt=0, description="seconds until a model that did not load is tried anew"
    )


@dataclass(frozen=True)
class ServingDetector:
    """A sensor's detector, ready to score."""

    version: Version
    model: PackedDetector | AnomalyDetector
    since: datetime


@dataclass(frozen=True)
class ServingForecaster:
    """A sensor's forecaster, ready to forecast."""

    version: Version
    model: Forecaster
    since: datetime


ServingModel = ServingDetector | ServingForecaster


@dataclass
class ModelEventCounts:
    """What has happened since the start, for metrics."""

    loads: int = 0
    takeovers: int = 0
    refusals: int = 0
    evictions: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # uri: reason, of versions whose alias still stands
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, event: str) -> None:
        """One more; safe for several threads."""
        with self._lock:
            setattr(self, event, getattr(self, event) + 1)


class Champions:
    """Loads champions when first asked for, and again when an alias has moved; safe for several threads.

    `cache` is a folder of checked copies of registered files; it may be deleted at any time. With a `record`,
    a sensor whose new version is refused, or whose registry is away at the start, keeps what served last.
    """

    def __init__(
        self,
        registry: Registry,
        cache: Path,
        *,
        record: ServingState | None = None,
        settings: CacheSettings | None = None,
    ) -> None:
        self.registry = registry
        self.library = ModelLoader(registry, cache)
        self.serving_state = record
        self.settings = settings or CacheSettings()
        self.event_counts = ModelEventCounts()
        self.unreachable_reason: str | None = None  # why the registry cannot be reached
        self.last_contact: datetime | None = None
        self._listings: Mapping[ModelKey, Listing] = {}
        self._loaded: OrderedDict[ModelKey, ServingModel] = OrderedDict()
        self._failed: dict[tuple[str, int], tuple[datetime, SafePlanError]] = {}
        self._fetch_failures: set[tuple[str, int]] = (
            set()
        )  # could not be fetched once; that may be the network's fault
        self._locks: dict[ModelKey, threading.Lock] = {}
        self._lock = threading.Lock()
        self._load_initial_listings()

    def refresh(self) -> None:
        """Ask the registry, by one query, where every alias points now, and let what has moved take over.

        Raises:
            RegistryError: it is away; everything goes on as before.
        """
        try:
            self._listings = self.registry.listings()
        except RegistryError as error:
            if self.unreachable_reason is None:
                log.warning("the registry is out of reach: %s", error)
            self.unreachable_reason = str(error)
            raise
        if self.unreachable_reason is not None:
            log.info("the registry is back")
            # What it could not say while it was away it can be asked again at once.
            self._failed = {
                key: failed for key, failed in self._failed.items() if isinstance(failed[1], UntrustedModel)
            }
        self.unreachable_reason, self.last_contact = None, _now()
        moved = [key for key in list(self._loaded) if self._has_moved(key)]
        # Several at once, since most of it is waiting for the registry; in no order, since of several workers
        # that open the same versions each so finds many packed already.
        random.shuffle(moved)
        if moved:
            with ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="opening") as pool:
                list(pool.map(self._switch_version, moved))
        current_uris = {f"models:/{one.name}/{one.aliases.get(CHAMPION)}" for one in self._listings.values()}
        self.event_counts.refused = {
            uri: why for uri, why in self.event_counts.refused.items() if uri in current_uris
        }
        if self.serving_state is not None:
            self.serving_state.save(self._listings, self.loaded().values())

    def name(self, sensor_id: str, kind: Kind) -> str | None:
        """The registered model of a sensor and kind, or None where there is none."""
        listing = self._listings.get((sensor_id, kind))
        return None if listing is None else listing.name

    def detector(self, sensor_id: str) -> ServingDetector:
        """The detector that serves a sensor.

        Raises:
            NoChampion: no version carries the alias.
            UntrustedModel: its files are not those that were registered.
        """
        serving = self._get_serving((sensor_id, Kind.DETECTOR))
        assert isinstance(serving, ServingDetector)
        return serving

    def forecaster(self, sensor_id: str) -> ServingForecaster:
        """The forecaster that serves a sensor.

        Raises:
            NoChampion: no version carries the alias.
            UntrustedModel: its files are not those that were registered.
        """
        serving = self._get_serving((sensor_id, Kind.FORECASTER))
        assert isinstance(serving, ServingForecaster)
        return serving

    def loaded(self) -> dict[ModelKey, ServingModel]:
        """What is in memory now."""
        with self._lock:
            return dict(self._loaded)

    def keys_with_champion(self) -> list[ModelKey]:
        """Every sensor and kind that a version carries the alias of."""
        return list(self.champion_versions())

    @property
    def listings(self) -> Mapping[ModelKey, Listing]:
        """Where every alias pointed when the registry was last asked."""
        return self._listings

    def champion_versions(self) -> dict[ModelKey, int]:
        """The version that each alias of a champion names, by sensor and kind."""
        return {key: one.aliases[CHAMPION] for key, one in self._listings.items() if CHAMPION in one.aliases}

    def _load_initial_listings(self) -> None:
        try:
            self.refresh()
        except RegistryError:
            stored = None if self.serving_state is None else self.serving_state.listings()
            if not stored:
                raise
            self._listings = stored

    def _get_serving(self, key: ModelKey) -> ServingModel:
        loaded = self._loaded.get(key)
        if loaded is not None:
            with self._lock:
                if key in self._loaded:
                    self._loaded.move_to_end(key)
            return loaded
        number = self._champion_number(key)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # Of many requests for a sensor that is not loaded one loads it; those for others do not wait.
        with lock:
            return self._loaded.get(key) or self._take_over(key, self._open_current_or_last(key, number))

    def _open_current_or_last(self, key: ModelKey, number: int) -> ServingModel:
        """The version the alias names, or the one that served last where that one cannot."""
        try:
            return self._open_version(key, number)
        except RegistryError:
            last = None if self.serving_state is None else self.serving_state.last_served(key)
            if last is None or last == number:
                raise
            return self._open_version(key, last)

    def _has_moved(self, key: ModelKey) -> bool:
        """Whether the alias names something else than what serves."""
        listing, current = self._listings.get(key), self._loaded.get(key)
        named = None if listing is None else f"models:/{listing.name}/{listing.aliases.get(CHAMPION)}"
        return current is not None and current.version.uri != named

    def _switch_version(self, key: ModelKey) -> None:
        listing = self._listings.get(key)
        number = None if listing is None else listing.aliases.get(CHAMPION)
        if number is None:
            with self._lock:
                self._loaded.pop(key, None)
            return
        try:
            self._take_over(key, self._open_version(key, number))
        except SafePlanError as error:
            log.debug("%s of %s stays: %s", key[1], key[0], error)
        else:
            self.event_counts.count("takeovers")

    def _open_version(self, key: ModelKey, number: int) -> ServingModel:
        name = self._listings[key].name
        failed = self._failed.get((name, number))
        if failed is not None and (_now() - failed[0]).total_seconds() < self.settings.retry_after:
            raise failed[1]
        try:
            serving = self._load_version(key, name, number)
        except SafePlanError as error:
            self._record_failure(name, number, error)
            raise
        # Whatever one version's files set off, the others must be followed; the log has the trace.
        except Exception as error:
            log.exception("models:/%s/%d could not be opened", name, number)
            wrapped = RegistryError(
                f"models:/{name}/{number} cannot be opened: {type(error).__name__}: {error}"
            )
            self._record_failure(name, number, wrapped)
            raise wrapped from error
        self._fetch_failures.discard((name, number))
        if self._failed.pop((name, number), None) is not None:
            self._tag(name, number, "accepted")
        self.event_counts.count("loads")
        return serving

    def _load_version(self, key: ModelKey, name: str, number: int) -> ServingModel:
        version = self._version(name, number)
        sensor_id, kind = key
        if (version.sensor_id, version.kind) != key:
            raise UntrustedModel(
                f"{version.uri} says it is the {version.kind} of {version.sensor_id or 'nobody'}, "
                f"not the {kind} of {sensor_id}. Roll back."
            )
        return new_serving_model(version, self.library.open(version))

    def _version(self, name: str, number: int) -> Version:
        stored = None if self.unreachable_reason is None else self.library.load_metadata(name, number)
        return stored or self.registry.version(name, number)

    def _take_over(self, key: ModelKey, serving: ServingModel) -> ServingModel:
        with self._lock:
            self._loaded[key] = serving
            self._loaded.move_to_end(key)
            # Two kinds a sensor.
            while len(self._loaded) > 2 * self.settings.sensors:
                self._loaded.popitem(last=False)
                self.event_counts.count("evictions")
        listing = self._listings.get(key)
        if listing is not None:
            needed = {serving.version.number, *listing.aliases.values()}
            self.library.prune(listing.name, needed, now=_now().timestamp())
        return serving

    def _record_failure(self, name: str, number: int, error: SafePlanError) -> None:
        """Say why a version does not serve: in the log, in the metrics and on the version itself.

        One that could not be fetched is tried again at the next look before anything is said of it.
        """
        fetch_failed = self.unreachable_reason is None and not isinstance(error, UntrustedModel)
        if fetch_failed and (name, number) not in self._fetch_failures:
            self._fetch_failures.add((name, number))
            log.warning("models:/%s/%d could not be opened, and is tried again: %s", name, number, error)
            return
        previous = self._failed.get((name, number))
        self._failed[name, number] = (_now(), error)
        if self.unreachable_reason is not None or (previous is not None and str(previous[1]) == str(error)):
            return
        uri = f"models:/{name}/{number}"
        self.event_counts.count("refusals")
        self.event_counts.refused[uri] = str(error)
        log.error("%s does not serve: %s", uri, error)
        self._tag(name, number, f"refused: {error}"[:MAX_TAG_LENGTH])

    def _tag(self, name: str, number: int, status: str) -> None:
        try:
            self.registry.tag(self.registry.version(name, number), serving=status)
        except RegistryError as error:
            log.warning("models:/%s/%d could not be tagged: %s", name, number, error)

    def _champion_number(self, key: ModelKey) -> int:
        listing = self._listings.get(key)
        if listing is None or CHAMPION not in listing.aliases:
            sensor_id, kind = key
            raise NoChampion(
                f"{sensor_id} has no {kind} champion. Run: safeplan train '{sensor_id}' --kind {kind}"
            )
        return listing.aliases[CHAMPION]


def new_serving_model(version: Version, model: Model) -> ServingModel:
    """A version and its model, from now on."""
    if isinstance(model, Forecaster):
        return ServingForecaster(version, model, _now())
    return ServingDetector(version, model, _now())


def _now() -> datetime:
    return datetime.now(UTC)
