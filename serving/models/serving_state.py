"""The last serving versions in a JSON file, for a restart while the registry is unreachable.

Reads and writes the file. `champions` decides when a version from it serves.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.kinds import Kind
from training.registry.model_registry import Listing, Version

log = logging.getLogger("safeplan.serving")

ModelKey = tuple[str, Kind]


class ServingState:
    """The last known aliases and serving versions; several workers may write the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[str, Any] = self._read()

    def listings(self) -> dict[ModelKey, Listing]:
        """The aliases as last read from the registry."""
        return {
            (row["sensor_id"], Kind(row["kind"])): Listing(**row | {"kind": Kind(row["kind"])})
            for row in self._written["listings"]
        }

    def last_served(self, key: ModelKey) -> int | None:
        """The number of the version that last served a sensor."""
        number = self._written["served"].get(f"{key[1]} {key[0]}")
        return None if number is None else int(number)

    def save(self, listings: Mapping[ModelKey, Listing], serving: Iterable[Version]) -> None:
        """Write aliases and serving versions to the file, if they have changed."""
        served = {f"{version.kind} {version.sensor_id}": version.number for version in serving}
        content = {
            "listings": [
                {
                    "sensor_id": listing.sensor_id,
                    "kind": listing.kind.value,
                    "name": listing.name,
                    "aliases": dict(listing.aliases),
                }
                for listing in listings.values()
            ],
            "served": self._written["served"] | served,
        }
        if content == self._written:
            return
        self._written = content
        part = self.path.with_suffix(f".{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content), encoding="utf-8")
            part.replace(self.path)
        except OSError as error:
            log.warning("the serving versions could not be written to %s: %s", self.path, error)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        written = content if isinstance(content, dict) else {}
        return {"listings": written.get("listings", []), "served": written.get("served", {})}
