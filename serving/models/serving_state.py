"""What served last, on disk: so that a restart while the registry is away changes nothing.

Knows one small JSON file. Decides nothing.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from training.kinds import Kind
from training.registry.model_registry import Listing, Version

log = logging.getLogger("safeplan.serving")

ModelKey = tuple[str, Kind]


class HasVersion(Protocol):
    """What is serving."""

    @property
    def version(self) -> Version:
        """As registered."""


class ServingState:
    """Where the aliases pointed, and which versions served; several workers may write the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[str, Any] = self._read()

    def listings(self) -> dict[ModelKey, Listing]:
        """Where the aliases pointed when the registry was last reached."""
        return {
            (one["sensor_id"], Kind(one["kind"])): Listing(**one | {"kind": Kind(one["kind"])})
            for one in self._written["listings"]
        }

    def last_served(self, key: ModelKey) -> int | None:
        """The number of the version that served a sensor last."""
        number = self._written["served"].get(f"{key[1]} {key[0]}")
        return None if number is None else int(number)

    def save(self, listings: Mapping[ModelKey, Listing], serving: Iterable[HasVersion]) -> None:
        """Write down how things are, if they have changed."""
        served = {f"{one.version.kind} {one.version.sensor_id}": one.version.number for one in serving}
        content = {
            "listings": [
                {
                    "sensor_id": one.sensor_id,
                    "kind": one.kind.value,
                    "name": one.name,
                    "aliases": dict(one.aliases),
                }
                for one in listings.values()
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
            log.warning("what serves could not be written down in %s: %s", self.path, error)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        written = content if isinstance(content, dict) else {}
        return {"listings": written.get("listings", []), "served": written.get("served", {})}
