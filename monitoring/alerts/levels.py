"""The level of a sensor's newest readings, and its normal band before they became anomalous.

A detector adapts to a lasting step: its score falls while the step is still there. Whether an alert is over
is therefore judged by the readings (`life_cycle`), with what is kept here between two watches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from training.anomaly.normal_band import NormalBand

LEVEL_READINGS = 5  # the level is their median: neither a spike nor noise moves it
# A score rises some readings after the change. A band this many readings older does not contain the change:
# 15 of 128 readings with a step would widen the band to 0.9 of the step.
BAND_AGE_READINGS = 16


@dataclass(frozen=True)
class ObservedReading:
    """A value of a sensor with its time, or a level since a time."""

    at: datetime
    value: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"at": self.at.isoformat(), "value": self.value}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> "ObservedReading | None":
        """The inverse of `as_dict`; None for None."""
        return None if content is None else cls(datetime.fromisoformat(content["at"]), content["value"])


@dataclass(frozen=True)
class LevelMemory:
    """The newest scored readings, and the normal band some readings ago."""

    recent: tuple[ObservedReading, ...] = ()
    band: NormalBand | None = None  # of a reading 16 to 32 readings ago, none of them anomalous
    next_band: NormalBand | None = None
    age: int = 0  # normal readings since `next_band`

    def add(self, reading: ObservedReading, band: NormalBand | None, *, normal: bool) -> "LevelMemory":
        """The memory with one more reading; `band` is that of the readings before it."""
        recent = (*self.recent, reading)[-LEVEL_READINGS:]
        if not normal or band is None:
            return replace(self, recent=recent)
        if self.band is None:
            return LevelMemory(recent, band, band)
        if self.age + 1 < BAND_AGE_READINGS:
            return replace(self, recent=recent, age=self.age + 1)
        return LevelMemory(recent, self.next_band, band)

    @property
    def level(self) -> float | None:
        """The median of the newest readings; None without readings."""
        return median(reading.value for reading in self.recent) if self.recent else None

    @property
    def spread(self) -> float:
        """The range of the newest readings."""
        values = [reading.value for reading in self.recent]
        return max(values) - min(values) if values else 0.0

    def inside_since(self, band: NormalBand) -> datetime | None:
        """The first of the newest readings that are inside the band without a break."""
        since = None
        for reading in reversed(self.recent):
            if reading.value not in band:
                break
            since = reading.at
        return since

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        bands = {"band": self.band, "next_band": self.next_band}
        return {
            "recent": [reading.as_dict() for reading in self.recent],
            "age": self.age,
            **{name: None if band is None else band.as_dict() for name, band in bands.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> "LevelMemory":
        """The inverse of `as_dict`; empty for None."""
        if content is None:
            return cls()
        recent = (ObservedReading.from_dict(one) for one in content["recent"])
        band, next_band = (
            None if content[name] is None else NormalBand.from_dict(content[name])
            for name in ("band", "next_band")
        )
        return cls(tuple(one for one in recent if one is not None), band, next_band, content["age"])
