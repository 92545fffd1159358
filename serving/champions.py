"""Champions: the loaded model that serves each sensor, as the aliases say.

Knows which versions carry the alias, keeps what it loaded until the alias moves, and loads only files whose
SHA-256 is the registered one. Leaves scoring to `scoring`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.detector import AnomalyDetector
from training.errors import NoChampion
from training.forecaster import Forecaster
from training.kinds import Kind
from training.registry import CHAMPION, Listing, Registry, Version


@dataclass(frozen=True)
class ServingDetector:
    """A sensor's detector, ready to score."""

    version: Version
    model: AnomalyDetector


@dataclass(frozen=True)
class ServingForecaster:
    """A sensor's forecaster, ready to forecast."""

    version: Version
    model: Forecaster


class Champions:
    """Loads champions when first asked for, and again when an alias has moved.

    `cache` is a folder of checked copies of registered files; it may be deleted at any time.
    """

    def __init__(self, registry: Registry, cache: Path) -> None:
        self.registry = registry
        self.cache = cache
        self._listings: Mapping[tuple[str, Kind], Listing] = {}
        self._detectors: dict[str, ServingDetector] = {}
        self._forecasters: dict[str, ServingForecaster] = {}
        self.refresh()

    def refresh(self) -> None:
        """Ask the registry, by one query, where every alias points now."""
        self._listings = self.registry.listings()

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
        number = self._number(sensor_id, Kind.DETECTOR)
        known = self._detectors.get(sensor_id)
        if known is None or known.version.number != number:
            version, files = self._fetched(sensor_id, Kind.DETECTOR, number)
            known = self._detectors[sensor_id] = ServingDetector(version, AnomalyDetector.load(files))
        return known

    def forecaster(self, sensor_id: str) -> ServingForecaster:
        """The forecaster that serves a sensor.

        Raises:
            NoChampion: no version carries the alias.
            UntrustedModel: its files are not those that were registered.
        """
        number = self._number(sensor_id, Kind.FORECASTER)
        known = self._forecasters.get(sensor_id)
        if known is None or known.version.number != number:
            version, files = self._fetched(sensor_id, Kind.FORECASTER, number)
            known = self._forecasters[sensor_id] = ServingForecaster(version, Forecaster.load(files))
        return known

    def _number(self, sensor_id: str, kind: Kind) -> int:
        listing = self._listings.get((sensor_id, kind))
        if listing is None or CHAMPION not in listing.aliases:
            raise NoChampion(
                f"{sensor_id} has no {kind} champion. Run: safeplan train '{sensor_id}' --kind {kind}"
            )
        return listing.aliases[CHAMPION]

    def _fetched(self, sensor_id: str, kind: Kind, number: int) -> tuple[Version, Path]:
        version = self.registry.version(self._listings[sensor_id, kind].name, number)
        return version, self.registry.fetch(version, self.cache)
