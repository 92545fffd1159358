"""Load the readings of one champion: its training window and the readings since, with scores or errors.

Applies the same quality rules as training. The comparison is in `comparison`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from monitoring.drift.blocks import MAX_BLOCKS
from monitoring.drift.comparison import DriftSettings
from monitoring.drift.statistics import Readings
from serving.models.champions import ServingDetector, ServingModel
from serving.recent_readings import Tail
from serving.vectorized.batch_scoring import ScoringCase, ScoringFailure, score_cases
from training.common.arrays import Floats
from training.common.times import epoch_seconds, read_iso
from training.data.readings import GOOD_QUALITY, ReadingStore
from training.data.sensors import Sensor
from training.quality.assessment import SensorQuality
from training.quality.fault_checks import QualitySettings
from training.quality.windows import Window, window_of
from training.reasons import Reason, ReasonCode

MAX_CURRENT_READINGS = 100_000  # newest readings since training
SCORE_WARMUP = timedelta(days=1)  # before the first block, history for its scores

# The window, the quality of the readings since, the good ones and all of them.
StoredReadings = tuple[Window, SensorQuality, Window, pd.DataFrame]


@dataclass(frozen=True)
class ChampionReadings:
    """The readings of one champion, with its scores or errors."""

    window: Readings
    since: Readings
    unfiltered: Readings  # since, including instrument faults
    step: float
    faults: tuple[Reason, ...]  # instrument faults since


@dataclass(frozen=True)
class ChampionReadingsLoader:
    """Loads the readings of champions; shared by all sensors of a check."""

    readings: ReadingStore
    settings: DriftSettings
    quality: QualitySettings
    last: dict[tuple[str, datetime, datetime, datetime], StoredReadings] = field(
        default_factory=dict, repr=False
    )

    def of(self, sensor: Sensor, champion: ServingModel, *, until: datetime) -> ChampionReadings:
        """The training window of a champion and the readings since, until `until`."""
        tags = champion.version.tags
        start, end = read_iso(tags["train_start"]), read_iso(tags["train_end"])
        # Only the newest blocks are compared; a forecaster's window of two years is not read whole.
        start = max(start, end - (MAX_BLOCKS + 1) * self.settings.current - SCORE_WARMUP)
        window, quality, since, stored = self._load_stored(sensor, start, end, until)
        faults = tuple(
            Reason(
                ReasonCode.DRIFT_INSTRUMENT_FAULT,
                {"kind": Reason(ReasonCode[f"KIND_{finding.kind.name}"]), "readings": finding.readings},
            )
            for finding in quality.findings
            if finding.kind.excluded and finding.readings
        )
        sent = pd.Series(stored["value"].to_numpy(np.float64), index=pd.DatetimeIndex(stored["timestamp"]))
        step = (sensor.step or window.step).total_seconds()
        window_and_current = self._apply_champion(champion, window, since)
        return ChampionReadings(*window_and_current, _without_scores(sent), step, faults)

    def _load_stored(self, sensor: Sensor, start: datetime, end: datetime, until: datetime) -> StoredReadings:
        """The readings of a window and since; cached for the second model of the same sensor and window."""
        cache_key = (sensor.id, start, end, until)
        if cache_key not in self.last:
            resolution = timedelta.resolution
            window_readings = self.readings.between(sensor.id, start, end + resolution, quality=GOOD_QUALITY)
            stored = self.readings.latest(
                sensor.id,
                MAX_CURRENT_READINGS,
                start=end + resolution,
                end=until + resolution,
                quality=GOOD_QUALITY,
            )
            _, window = window_of(window_readings, sensor, settings=self.quality)
            quality, since = window_of(stored, sensor, settings=self.quality)
            self.last.clear()
            self.last[cache_key] = window, quality, since, stored
        return self.last[cache_key]

    def _apply_champion(
        self, champion: ServingModel, window: Window, since: Window
    ) -> tuple[Readings, Readings]:
        both = pd.concat([window.values, since.values])
        scores = errors = np.full(len(both), np.nan)
        if isinstance(champion, ServingDetector):
            scores = _compute_scores(champion, both)
        elif len(both):
            predicted = champion.model.predict(pd.DatetimeIndex(both.index), history=both)
            errors = both.to_numpy() - predicted["forecasted_values"].to_numpy()
        seconds = epoch_seconds(both.index)
        all_readings = Readings(seconds, both.to_numpy(np.float64), scores, errors)
        split = len(window)
        return _slice(all_readings, slice(None, split)), _slice(all_readings, slice(split, None))


def _compute_scores(champion: ServingDetector, readings: pd.Series) -> Floats:
    if readings.empty:
        return np.empty(0)
    tail = Tail(epoch_seconds(readings.index), readings.to_numpy(np.float64), whole=False)
    [result] = score_cases([ScoringCase(champion.model, tail)])
    return np.full(len(readings), np.nan) if isinstance(result, ScoringFailure) else result.scores


def _without_scores(readings: pd.Series) -> Readings:
    nothing = np.full(len(readings), np.nan)
    return Readings(epoch_seconds(readings.index), readings.to_numpy(np.float64), nothing, nothing)


def _slice(readings: Readings, rows: slice) -> Readings:
    return Readings(
        readings.seconds[rows], readings.values[rows], readings.scores[rows], readings.errors[rows]
    )
