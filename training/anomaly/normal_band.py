"""The normal band of a sensor: the range that holds 99 % of the readings before a time.

Made from mean and standard deviation, as they are stored with each scored reading. The one definition of
"normal" of an alert, of messages, reports and charts. Does not judge readings; that is `detector`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

BAND_SHARE = 0.99
BAND_DEVIATIONS = 2.576  # standard deviations on each side that hold 99 % of a normal distribution
ROUNDING = 1e-9


@dataclass(frozen=True)
class NormalBand:
    """A range of normal readings around their mean."""

    level: float
    half_width: float

    @classmethod
    def of(cls, mean: float | None, deviation: float | None) -> "NormalBand | None":
        """The band of readings with this mean and standard deviation; None where either is unknown.

        >>> band = NormalBand.of(10.0, 1.0)
        >>> (round(band.low, 1), round(band.high, 1), 12.0 in band, 13.0 in band)
        (7.4, 12.6, True, False)
        """
        if mean is None or deviation is None or not (math.isfinite(mean) and math.isfinite(deviation)):
            return None
        # The mean of equal readings differs from them in the last bits.
        return cls(float(mean), max(BAND_DEVIATIONS * float(deviation), ROUNDING * abs(float(mean))))

    @property
    def low(self) -> float:
        """The lower end."""
        return self.level - self.half_width

    @property
    def high(self) -> float:
        """The upper end."""
        return self.level + self.half_width

    def __contains__(self, value: float) -> bool:
        return abs(value - self.level) <= self.half_width

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"level": self.level, "half_width": self.half_width}

    @classmethod
    def from_dict(cls, content: Mapping[str, float]) -> "NormalBand":
        """The inverse of `as_dict`."""
        return cls(content["level"], content["half_width"])
