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

from serving.models.acceptance import Library, Model
from serving.models.serving_state import Record
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.detector import AnomalyDetector
from training.errors import NoChampion, RegistryError, SafePlanError, UntrustedModel
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Listing, Registry, Version
from training.settings import Settings

log = logging.getLogger("safeplan.serving")

Key = tuple[str, Kind]

LONGEST_TAG = 500  # characters of a reason that are kept on a version
OPENED_AT_ONCE = 3  # versions that aliases have moved to


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


Serving = ServingDetector | ServingForecaster


@dataclass
class Tally:
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
        record: Record | None = None,
        settings: CacheSettings | None = None,
    ) -> None:
        self.registry = registry
        self.library = Library(registry, cache)
        self.record = record
        self.settings = settings or CacheSettings()
        self.tally = Tally()
        self.away: str | None = None  # why the registry cannot be reached
        self.last_contact: datetime | None = None
        self._listings: Mapping[Key, Listing] = {}
        self._loaded: OrderedDict[Key, Serving] = OrderedDict()
        self._failed: dict[tuple[str, int], tuple[datetime, SafePlanError]] = {}
        self._missed: set[tuple[str, int]] = (
            set()
        )  # could not be fetched once; that may be the network's fault
        self._locks: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()
        self._find_out()

    def refresh(self) -> None:
        """Ask the registry, by one query, where every alias points now, and let what has moved take over.

        Raises:
            RegistryError: it is away; everything goes on as before.
        """
        try:
            self._listings = self.registry.listings()
        except RegistryError as error:
            if self.away is None:
                log.warning("the registry is out of reach: %s", error)
            self.away = str(error)
            raise
        if self.away is not None:
            log.info("the registry is back")
            # What it could not say while it was away it can be asked again at once.
            self._failed = {
                key: failed for key, failed in self._failed.items() if isinstance(failed[1], UntrustedModel)
            }
        self.away, self.last_contact = None, _now()
        moved = [key for key in list(self._loaded) if self._has_moved(key)]
        # Several at once, since most of it is waiting for the registry; in no order, since of several workers
        # that open the same versions each so finds many packed already.
        random.shuffle(moved)
        if moved:
            with ThreadPoolExecutor(OPENED_AT_ONCE, thread_name_prefix="opening") as opening:
                list(opening.map(self._follow, moved))
        standing = {f"models:/{one.name}/{one.aliases.get(CHAMPION)}" for one in self._listings.values()}
        self.tally.refused = {uri: why for uri, why in self.tally.refused.items() if uri in standing}
        if self.record is not None:
            self.record.keep(self._listings, self.loaded().values())

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
        found = self._serving((sensor_id, Kind.DETECTOR))
        assert isinstance(found, ServingDetector)
        return found

    def forecaster(self, sensor_id: str) -> ServingForecaster:
        """The forecaster that serves a sensor.

        Raises:
            NoChampion: no version carries the alias.
            UntrustedModel: its files are not those that were registered.
        """
        found = self._serving((sensor_id, Kind.FORECASTER))
        assert isinstance(found, ServingForecaster)
        return found

    def loaded(self) -> dict[Key, Serving]:
        """What is in memory now."""
        with self._lock:
            return dict(self._loaded)

    def serving(self) -> list[Key]:
        """Every sensor and kind that a version carries the alias of."""
        return list(self.numbers())

    @property
    def listings(self) -> Mapping[Key, Listing]:
        """Where every alias pointed when the registry was last asked."""
        return self._listings

    def numbers(self) -> dict[Key, int]:
        """The version that each alias of a champion names, by sensor and kind."""
        return {key: one.aliases[CHAMPION] for key, one in self._listings.items() if CHAMPION in one.aliases}

    def _find_out(self) -> None:
        try:
            self.refresh()
        except RegistryError:
            remembered = None if self.record is None else self.record.listings()
            if not remembered:
                raise
            self._listings = remembered

    def _serving(self, key: Key) -> Serving:
        found = self._loaded.get(key)
        if found is not None:
            with self._lock:
                if key in self._loaded:
                    self._loaded.move_to_end(key)
            return found
        number = self._number(key)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # Of many requests for a sensor that is not loaded one loads it; those for others do not wait.
        with lock:
            return self._loaded.get(key) or self._taken_over(key, self._first(key, number))

    def _first(self, key: Key, number: int) -> Serving:
        """The version the alias names, or the one that served last where that one cannot."""
        try:
            return self._opened(key, number)
        except RegistryError:
            last = None if self.record is None else self.record.served(key)
            if last is None or last == number:
                raise
            return self._opened(key, last)

    def _has_moved(self, key: Key) -> bool:
        """Whether the alias names something else than what serves."""
        listing, current = self._listings.get(key), self._loaded.get(key)
        named = None if listing is None else f"models:/{listing.name}/{listing.aliases.get(CHAMPION)}"
        return current is not None and current.version.uri != named

    def _follow(self, key: Key) -> None:
        listing = self._listings.get(key)
        number = None if listing is None else listing.aliases.get(CHAMPION)
        if number is None:
            with self._lock:
                self._loaded.pop(key, None)
            return
        try:
            self._taken_over(key, self._opened(key, number))
        except SafePlanError as error:
            log.debug("%s of %s stays: %s", key[1], key[0], error)
        else:
            self.tally.count("takeovers")

    def _opened(self, key: Key, number: int) -> Serving:
        name = self._listings[key].name
        failed = self._failed.get((name, number))
        if failed is not None and (_now() - failed[0]).total_seconds() < self.settings.retry_after:
            raise failed[1]
        try:
            serving = self._open(key, name, number)
        except SafePlanError as error:
            self._note_failure(name, number, error)
            raise
        # Whatever one version's files set off, the others must be followed; the log has the trace.
        except Exception as error:
            log.exception("models:/%s/%d could not be opened", name, number)
            told = RegistryError(f"models:/{name}/{number} cannot be opened: {type(error).__name__}: {error}")
            self._note_failure(name, number, told)
            raise told from error
        self._missed.discard((name, number))
        if self._failed.pop((name, number), None) is not None:
            self._tag(name, number, "accepted")
        self.tally.count("loads")
        return serving

    def _open(self, key: Key, name: str, number: int) -> Serving:
        version = self._version(name, number)
        sensor_id, kind = key
        if (version.sensor_id, version.kind) != key:
            raise UntrustedModel(
                f"{version.uri} says it is the {version.kind} of {version.sensor_id or 'nobody'}, "
                f"not the {kind} of {sensor_id}. Roll back."
            )
        return serving_of(version, self.library.open(version))

    def _version(self, name: str, number: int) -> Version:
        remembered = None if self.away is None else self.library.remembered(name, number)
        return remembered or self.registry.version(name, number)

    def _taken_over(self, key: Key, serving: Serving) -> Serving:
        with self._lock:
            self._loaded[key] = serving
            self._loaded.move_to_end(key)
            # Two kinds a sensor.
            while len(self._loaded) > 2 * self.settings.sensors:
                self._loaded.popitem(last=False)
                self.tally.count("evictions")
        listing = self._listings.get(key)
        if listing is not None:
            needed = {serving.version.number, *listing.aliases.values()}
            self.library.forget_others(listing.name, needed, now=_now().timestamp())
        return serving

    def _note_failure(self, name: str, number: int, error: SafePlanError) -> None:
        """Say why a version does not serve: in the log, in the metrics and on the version itself.

        One that could not be fetched is tried again at the next look before anything is said of it.
        """
        missed = self.away is None and not isinstance(error, UntrustedModel)
        if missed and (name, number) not in self._missed:
            self._missed.add((name, number))
            log.warning("models:/%s/%d could not be opened, and is tried again: %s", name, number, error)
            return
        before = self._failed.get((name, number))
        self._failed[name, number] = (_now(), error)
        if self.away is not None or (before is not None and str(before[1]) == str(error)):
            return
        uri = f"models:/{name}/{number}"
        self.tally.count("refusals")
        self.tally.refused[uri] = str(error)
        log.error("%s does not serve: %s", uri, error)
        self._tag(name, number, f"refused: {error}"[:LONGEST_TAG])

    def _tag(self, name: str, number: int, word: str) -> None:
        try:
            self.registry.tag(self.registry.version(name, number), serving=word)
        except RegistryError as error:
            log.warning("models:/%s/%d could not be tagged: %s", name, number, error)

    def _number(self, key: Key) -> int:
        listing = self._listings.get(key)
        if listing is None or CHAMPION not in listing.aliases:
            sensor_id, kind = key
            raise NoChampion(
                f"{sensor_id} has no {kind} champion. Run: safeplan train '{sensor_id}' --kind {kind}"
            )
        return listing.aliases[CHAMPION]


def serving_of(version: Version, model: Model) -> Serving:
    """A version and its model, from now on."""
    if isinstance(model, Forecaster):
        return ServingForecaster(version, model, _now())
    return ServingDetector(version, model, _now())


def _now() -> datetime:
    return datetime.now(UTC)
