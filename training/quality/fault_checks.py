"""One sensor's readings on the table, looked at for one fault after another.

Knows in which order to look and what each fault takes away. How a fault is found is `instrument_faults`', how
it is told `episodes`'; the verdict is `quality`'s.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from pydantic import Field

from training.common.arrays import Flags, Floats, IndexRuns, true_runs
from training.common.formatting import format_duration, format_percent, format_value
from training.common.sampling import MICROSECOND, infer_step, microseconds, regularity, resolution_of
from training.data.sensors import Sensor
from training.quality.fault_report import (
    FaultDescriber,
    FaultFinding,
    FaultKind,
    InstrumentFault,
    collect_findings,
    describe_excursion,
    describe_range,
    describe_standstill,
    to_datetime,
)
from training.quality.instrument_faults import find_excursions, find_standstills
from training.settings import Settings

NEAR_ZERO_SHARE = 0.02  # share of a sensor's usual size below which it is at rest rather than somewhere
TIED_SHARE = 0.5  # share of readings that repeat the one before, from which it is worth knowing
MIN_REGULARITY = 0.8  # share of intervals that fit the step, below which it is worth knowing


class QualitySettings(Settings, file="training", section="quality"):
    """When a reading is the instrument's doing and not the process's."""

    still_readings: int = Field(20, ge=3, description="fewer equal readings in a row are never called frozen")
    still_duration: timedelta = Field(timedelta(minutes=10), description="nor is a shorter time")
    still_factor: float = Field(5, gt=1, description="frozen: this many times longer than by habit")
    still_habit: int = Field(5, ge=2, description="what was seen this often in the window is a habit")
    spike_beyond: float = Field(
        0.5, gt=0, description="spike: outside the sensor's range by this share of it"
    )
    spike_steepness: float = Field(
        3, gt=1, description="spike: this many times any ordinary jump there and back"
    )
    spike_share: float = Field(
        0.002, ge=0, le=1, description="what is more frequent is no spike but behaviour"
    )
    dropout_readings: int = Field(
        3, ge=1, le=3, description="more readings at zero are a stop, not a dropout"
    )
    dropout_duration: timedelta = Field(timedelta(minutes=10), description="and so is a longer time at zero")
    gap_steps: float = Field(5, gt=1, description="a gap is a silence of more than this many steps")
    episodes: int = Field(50, ge=1, description="episodes told of each kind, the largest; all are counted")


class FaultChecks:
    """Each look adds its findings, and takes the readings that an instrument spoilt out of `good`."""

    def __init__(self, frame: pd.DataFrame, sensor: Sensor, settings: QualitySettings) -> None:
        self.sensor = sensor
        self.settings = settings
        self.findings: list[FaultFinding] = []
        self.good = frame["value"]
        self.step = sensor.step
        self.resolution = 0.0
        self.check_validity(frame["data_quality"].to_numpy() != 0)
        self.check_step()
        self.check_gaps()
        self.check_excursions()
        self.check_standstills()
        self.check_resolution()

    def check_validity(self, marked: Flags) -> None:
        """What needs no comparison: no value, outside the physical range, marked bad on arrival."""
        values = self.good.to_numpy()
        low, high = physical_range(self.sensor)
        missing = ~np.isfinite(values)
        outside = ~missing & ((values < low) | (values > high))
        for kind, flags in (
            (FaultKind.MISSING, missing),
            (FaultKind.OUT_OF_RANGE, outside),
            (FaultKind.MARKED_BAD, marked & ~missing & ~outside),
        ):
            self.add_findings(kind, true_runs(flags), describe_range(values, self.sensor.unit))
        self.good = self.good[~(missing | outside | marked)]

    def check_step(self) -> None:
        """The declared step, unless the readings say another; and whether they keep it."""
        seen = infer_step(self.index)
        self.step = self.sensor.step or seen
        if seen is None or self.step is None:
            return
        if not 0.5 <= seen / self.step <= 2:
            self.add_remark(
                FaultKind.WRONG_STEP,
                f"declared every {format_duration(self.step)}, sends every {format_duration(seen)}",
            )
            self.step = seen
        fitting_share = regularity(microseconds(self.index), self.step // MICROSECOND)
        if fitting_share < MIN_REGULARITY:
            self.add_remark(
                FaultKind.IRREGULAR,
                f"{format_percent(1 - fitting_share, 1)} of the intervals fit no multiple of {format_duration(self.step)}",
            )

    def check_gaps(self) -> None:
        """Where nothing usable came for many steps."""
        if self.step is None:
            return
        step = self.step // MICROSECOND
        stamps = microseconds(self.index)
        intervals = np.diff(stamps)
        before = np.flatnonzero(intervals > self.settings.gap_steps * step)
        self.add_findings(
            FaultKind.GAP,
            IndexRuns(before, before + 1),
            lambda first, last: format_duration(int(stamps[last] - stamps[first]) * MICROSECOND),
            counts=np.maximum(1, np.round(intervals[before] / step).astype(np.int64) - 1),
        )

    def check_excursions(self) -> None:
        """Spikes, and dropouts to zero and back."""
        if self.step is None:
            return
        values, stamps = overflow_safe(self.good), microseconds(self.index)
        runs = find_excursions(
            stamps,
            values,
            max_readings=self.settings.dropout_readings,
            duration=self.settings.dropout_duration // MICROSECOND,
            max_gap=int(self.settings.gap_steps * (self.step // MICROSECOND)),
            beyond=self.settings.spike_beyond,
            steepness=self.settings.spike_steepness,
        )
        at_zero = near_zero(values)[runs.firsts] & near_zero(values)[runs.lasts]
        dropouts, spikes = runs.where(at_zero), runs.where(~at_zero & (runs.counts == 1))
        if len(spikes.firsts) > max(3, self.settings.spike_share * len(values)):
            spikes = spikes.where(spikes.counts < 0)
        describe = describe_excursion(self.good.to_numpy(), self.sensor.unit)
        self.add_findings(FaultKind.DROPOUT, dropouts, describe)
        self.add_findings(FaultKind.SPIKE, spikes, describe)
        self.good = self.good[~(dropouts.covers(len(values)) | spikes.covers(len(values)))]

    def check_standstills(self) -> None:
        """Frozen somewhere, stuck at a limit, or at rest near zero.

        Near zero, and at an end of a percentage, a process stands still by itself: a stopped pump, an open
        valve. That is told and stays. Of a frozen stretch the first reading stays: it was the last live one.
        """
        values = self.good.to_numpy()
        if len(values) == 0:
            return
        stamps = microseconds(self.index)
        runs = find_standstills(
            stamps,
            values,
            min_readings=self.settings.still_readings,
            duration=self.settings.still_duration // MICROSECOND,
            factor=self.settings.still_factor,
            habit=self.settings.still_habit,
        )
        at_limit = np.isin(values[runs.firsts], [values.min(), values.max(), *physical_range(self.sensor)])
        at_rest = near_zero(values)[runs.firsts]
        if self.sensor.unit in {"%", "percent", "pct"}:
            at_rest |= at_limit
        describe = describe_standstill(values, stamps, self.sensor.unit)
        self.add_findings(FaultKind.AT_REST, runs.where(at_rest), describe)
        self.add_findings(FaultKind.STUCK, runs.where(at_limit & ~at_rest), describe)
        self.add_findings(FaultKind.FROZEN, runs.where(~at_limit & ~at_rest), describe)
        not_live = runs.where(~at_rest)
        self.good = self.good[~IndexRuns(not_live.firsts + 1, not_live.lasts).covers(len(values))]

    def check_resolution(self) -> None:
        """How fine the values are, and whether they move at all."""
        values = self.good.to_numpy()
        self.resolution = resolution_of(values)
        if len(values) < 2:
            return
        repeats = float(np.mean(values[1:] == values[:-1]))
        if self.resolution == 0:
            self.add_remark(
                FaultKind.CONSTANT, f"never moved from {format_value(values[0], self.sensor.unit)}"
            )
        elif repeats >= TIED_SHARE:
            self.add_remark(
                FaultKind.TIED,
                f"{format_percent(repeats, 1)} of the readings repeat the one before; "
                f"the rest moves in steps of {format_value(self.resolution, self.sensor.unit)}",
            )

    @property
    def index(self) -> pd.DatetimeIndex:
        """When the good readings came."""
        return pd.DatetimeIndex(self.good.index)

    def add_findings(
        self, kind: FaultKind, runs: IndexRuns, describe: FaultDescriber, *, counts: np.ndarray | None = None
    ) -> None:
        """Add what was found of one kind in the readings still good."""
        self.findings += collect_findings(
            kind, runs, microseconds(self.index), describe, limit=self.settings.episodes, counts=counts
        )

    def add_remark(self, kind: FaultKind, detail: str) -> None:
        """Add something that holds for the whole of the readings."""
        stamps, total = microseconds(self.index), len(self.good)
        fault = InstrumentFault(kind, to_datetime(stamps[0]), to_datetime(stamps[-1]), total, detail)
        self.findings.append(FaultFinding(kind, 1, total, (fault,)))


def physical_range(sensor: Sensor) -> tuple[float, float]:
    """The physical range; without end where it is not declared."""
    low = -np.inf if sensor.low is None else sensor.low
    high = np.inf if sensor.high is None else sensor.high
    return low, high


def near_zero(values: Floats) -> Flags:
    """Which values are next to nothing, measured by the sensor's own size."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.bool_)
    size = float(np.quantile(np.abs(values), 0.995))
    return np.asarray(np.abs(values) <= NEAR_ZERO_SHARE * size)


def overflow_safe(values: pd.Series) -> Floats:
    """The values, brought down where their differences would leave the numbers a computer has."""
    raw = values.to_numpy()
    return raw / 16 if len(raw) and np.abs(raw).max() > 1e300 else raw
