"""Windows: one sensor's good readings over a time range, the only input of a model's training.

Which readings are good is decided in `training.quality.assessment`; features are computed by the models.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from pydantic import Field

from training.common.formatting import format_count, format_duration
from training.common.sampling import Stamps, microseconds, resolution_of
from training.data.sensors import Sensor
from training.errors import DataError, NotTrainable
from training.kinds import Kind
from training.quality.assessment import SensorQuality, assess_readings
from training.quality.fault_checks import QualitySettings
from training.reasons import render_all
from training.settings import Settings

DEFAULT_STEP = timedelta(hours=1)  # of a sensor with one reading and no declared step


class WindowSettings(Settings, file="training", section="window"):
    """How much history a model learns from, and how many readings it needs.

    A forecaster learns from more than two years, because a yearly season is visible from its second year on.
    """

    detector_days: float = Field(
        60, gt=0, description="history of a detector in days, up to the newest reading"
    )
    forecaster_days: float = Field(800, gt=0, description="history of a forecaster in days")
    detector_rows: int = Field(10_000, ge=30, description="most readings a detector learns from; the newest")
    forecaster_rows: int = Field(20_000, ge=50, description="most readings a forecaster learns from")
    detector_minimum: int = Field(30, ge=2, description="fewest good readings a detector needs")
    forecaster_minimum: int = Field(50, ge=2, description="fewest good readings a forecaster needs")

    def history(self, kind: Kind) -> timedelta:
        """The history of this kind of model."""
        return timedelta(days=self.detector_days if kind is Kind.DETECTOR else self.forecaster_days)

    def rows(self, kind: Kind) -> int:
        """The most readings this kind of model learns from."""
        return self.detector_rows if kind is Kind.DETECTOR else self.forecaster_rows

    def minimum(self, kind: Kind) -> int:
        """The fewest good readings this kind of model needs."""
        return self.detector_minimum if kind is Kind.DETECTOR else self.forecaster_minimum


@dataclass(frozen=True, eq=False)
class Window:
    """One sensor's good readings over a time range, as received."""

    sensor_id: str
    step: timedelta
    values: pd.Series = field(repr=False)  # float64, oldest first, indexed by naive UTC

    def __len__(self) -> int:
        return len(self.values)

    @property
    def start(self) -> datetime:
        """The first reading's time."""
        return self._time(0)

    @property
    def end(self) -> datetime:
        """The last reading's time."""
        return self._time(-1)

    @property
    def stamps(self) -> Stamps:
        """The times of the readings in microseconds since 1970."""
        return microseconds(pd.DatetimeIndex(self.values.index))

    @cached_property
    def resolution(self) -> float:
        """The difference between neighbouring values that the sensor can send; 0 if all are equal."""
        return resolution_of(self.values.to_numpy())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of times and values, the same for equal readings on any machine and with any pandas."""
        values = self.values.to_numpy() + 0.0  # -0.0 equals 0.0 and must have the same digest
        return hashlib.sha256(
            b"safeplan window 1\0" + self.stamps.astype("<i8").tobytes() + values.astype("<f8").tobytes()
        ).hexdigest()

    def capped(self, rows: int) -> "Window":
        """The newest readings, at most `rows`."""
        return self if len(self) <= rows else replace(self, values=self.values.iloc[-rows:])

    def _time(self, position: int) -> datetime:
        if not len(self):
            raise DataError(f"{self.sensor_id}: a window without good readings has no start and no end.")
        return pd.Timestamp(self.values.index[position]).to_pydatetime(warn=False)


def training_window(
    readings: pd.DataFrame,
    sensor: Sensor,
    kind: Kind,
    settings: WindowSettings | None = None,
    *,
    quality_settings: QualitySettings | None = None,
) -> tuple[SensorQuality, Window]:
    """The window that one model of this sensor learns from: its newest history, within the limits.

    Raises:
        NotTrainable: there are too few good readings; the message gives their number and what to do.
    """
    settings = settings or WindowSettings()
    history = settings.history(kind)
    last = pd.DatetimeIndex(readings["timestamp"]).max()
    start = None if pd.isna(last) else last - history
    quality, window = window_of(readings, sensor, start=start, settings=quality_settings)
    require_minimum(window, kind, quality=quality, history=history, settings=settings)
    return quality, window.capped(settings.rows(kind))


def window_of(
    readings: pd.DataFrame,
    sensor: Sensor,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    settings: QualitySettings | None = None,
) -> tuple[SensorQuality, Window]:
    """The quality of all readings from `start` on and before `end`, and the good ones among them."""
    times = pd.DatetimeIndex(readings["timestamp"])
    inside = np.ones(len(readings), dtype=np.bool_)
    if start is not None:
        inside &= times >= pd.Timestamp(start)
    if end is not None:
        inside &= times < pd.Timestamp(end)
    quality = assess_readings(readings[inside], sensor, settings)
    return quality, Window(sensor.id, quality.step or DEFAULT_STEP, quality.good)


def require_minimum(
    window: Window,
    kind: Kind,
    *,
    quality: SensorQuality | None = None,
    history: timedelta | None = None,
    settings: WindowSettings | None = None,
) -> Window:
    """The window itself, if it has enough readings for a model of this kind.

    The error message contains the reasons of `quality` and the length of `history`, where given.

    Raises:
        NotTrainable: the window has fewer good readings than this kind needs.
    """
    minimum = (settings or WindowSettings()).minimum(kind)
    if len(window) >= minimum:
        return window
    span = f" in the last {format_duration(history)}" if history else ""
    faults = f" ({render_all(quality.reasons)})" if quality and quality.received > len(window) else ""
    raise NotTrainable(
        f"{window.sensor_id}: {format_count(len(window), 'good reading')}{span}{faults}; "
        f"a {kind.value} needs {minimum}: collect more, or change window.{kind.value}_days or "
        f"window.{kind.value}_minimum in conf/training.yaml."
    )
