"""Search one sensor's readings for instrument faults, one check after the other.

Each check adds its findings and removes the readings it excludes, which the next check does not see. Faults
are found in arrays by `training.quality.instrument_faults`; the grade is given in `training.quality.grades`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from pydantic import Field

from training.common.arrays import Flags, Floats, IndexRuns, Ints, true_runs
from training.common.sampling import MICROSECOND, Stamps, infer_step, microseconds, regularity, resolution_of
from training.data.sensors import Sensor
from training.quality.fault_report import (
    FaultDescriber,
    FaultFinding,
    FaultKind,
    InstrumentFault,
    collect_finding,
    describe_excursion,
    describe_gap,
    describe_range,
    describe_standstill,
)
from training.quality.instrument_faults import NO_RUNS, find_excursions, find_standstills
from training.reasons import Reason, ReasonCode
from training.settings import Settings

NEAR_ZERO_SHARE = 0.02  # share of a sensor's usual size, below which a value counts as zero
TIED_SHARE = 0.5  # share of readings equal to the one before, from which on it is reported
MIN_REGULARITY = 0.8  # share of intervals that fit the step, below which it is reported


class QualitySettings(Settings, file="training", section="quality"):
    """When a reading is attributed to the instrument and not to the process."""

    still_readings: int = Field(20, ge=3, description="fewest equal readings in a row that count as frozen")
    still_duration: timedelta = Field(
        timedelta(minutes=10), description="shortest time without a change that counts as frozen"
    )
    still_factor: float = Field(
        5, gt=1, description="frozen: this many times as long as the sensor's normal standstills"
    )
    still_habit: int = Field(
        5, ge=2, description="a standstill seen this often in the window is normal for the sensor"
    )
    spike_beyond: float = Field(
        0.5, gt=0, description="spike: outside the sensor's range by this share of the range"
    )
    spike_steepness: float = Field(
        3, gt=1, description="spike: this many times the largest ordinary jump away and back"
    )
    spike_share: float = Field(
        0.002, ge=0, le=1, description="largest share of readings that are spikes; more are normal behaviour"
    )
    dropout_readings: int = Field(
        3, ge=1, le=3, description="most readings at zero in a dropout; more are a stop"
    )
    dropout_duration: timedelta = Field(
        timedelta(minutes=10), description="longest time at zero in a dropout; longer is a stop"
    )
    gap_steps: float = Field(5, gt=1, description="a gap is more than this many steps without a reading")
    episodes: int = Field(
        50, ge=1, description="episodes with details of each kind, the largest; all are counted"
    )


class FaultChecks:
    """The findings of all checks; `good` holds the readings that no check excluded."""

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
        """Exclude readings without a value, outside the physical range, or marked bad on arrival."""
        values = self.good.to_numpy()
        low, high = self.sensor.physical_range
        missing = ~np.isfinite(values)
        outside = ~missing & ((values < low) | (values > high))
        for kind, flags in (
            (FaultKind.MISSING, missing),
            (FaultKind.OUT_OF_RANGE, outside),
            (FaultKind.MARKED_BAD, marked & ~missing & ~outside),
        ):
            self.add_finding(kind, true_runs(flags), describe_range(values, self.sensor.unit))
        self.good = self.good[~(missing | outside | marked)]

    def check_step(self) -> None:
        """Use the declared step unless the readings contradict it; report irregular sampling."""
        observed = infer_step(self.index)
        self.step = self.sensor.step or observed
        if observed is None or self.step is None:
            return
        if not 0.5 <= observed / self.step <= 2:
            steps = {"declared": self.step.total_seconds(), "observed": observed.total_seconds()}
            self.add_remark(FaultKind.WRONG_STEP, Reason(ReasonCode.FAULT_WRONG_STEP, steps))
            self.step = observed
        fitting_share = regularity(self.stamps, self.step // MICROSECOND)
        if fitting_share < MIN_REGULARITY:
            values = {"share": 1 - fitting_share, "step": self.step.total_seconds()}
            self.add_remark(FaultKind.IRREGULAR, Reason(ReasonCode.FAULT_IRREGULAR, values))

    def check_gaps(self) -> None:
        """Report where no good reading came for many steps."""
        if self.step is None:
            return
        step = self.step // MICROSECOND
        intervals = np.diff(self.stamps)
        before = np.flatnonzero(intervals > self.settings.gap_steps * step)
        missing = np.maximum(1, np.round(intervals[before] / step).astype(np.int64) - 1)
        self.add_finding(
            FaultKind.GAP, IndexRuns(before, before + 1), describe_gap(self.stamps), counts=missing
        )

    def check_excursions(self) -> None:
        """Exclude spikes, and dropouts to zero and back."""
        if self.step is None:
            return
        values = overflow_safe(self.good)
        runs = find_excursions(
            self.stamps,
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
            spikes = NO_RUNS
        describe = describe_excursion(self.good.to_numpy(), self.sensor.unit)
        self.add_finding(FaultKind.DROPOUT, dropouts, describe)
        self.add_finding(FaultKind.SPIKE, spikes, describe)
        self.good = self.good[~(dropouts.covers(len(values)) | spikes.covers(len(values)))]

    def check_standstills(self) -> None:
        """Exclude values that are frozen or stuck at a limit; report those at rest.

        Near zero, and at an end of a percentage, a process rests by itself: a stopped pump, an open valve. Of
        a frozen run the first reading is good: it was the last live one.
        """
        values = self.good.to_numpy()
        if len(values) == 0:
            return
        runs = find_standstills(
            self.stamps,
            values,
            min_readings=self.settings.still_readings,
            duration=self.settings.still_duration // MICROSECOND,
            factor=self.settings.still_factor,
            habit=self.settings.still_habit,
        )
        at_limit = np.isin(values[runs.firsts], [values.min(), values.max(), *self.sensor.physical_range])
        at_rest = near_zero(values)[runs.firsts]
        if self.sensor.unit in {"%", "percent", "pct"}:
            at_rest |= at_limit
        describe = describe_standstill(values, self.stamps, self.sensor.unit)
        self.add_finding(FaultKind.AT_REST, runs.where(at_rest), describe)
        self.add_finding(FaultKind.STUCK, runs.where(at_limit & ~at_rest), describe)
        self.add_finding(FaultKind.FROZEN, runs.where(~at_limit & ~at_rest), describe)
        not_live = runs.where(~at_rest)
        self.good = self.good[~IndexRuns(not_live.firsts + 1, not_live.lasts).covers(len(values))]

    def check_resolution(self) -> None:
        """Measure the resolution of the values; report values that never change or often repeat."""
        values = self.good.to_numpy()
        self.resolution = resolution_of(values)
        if len(values) < 2:
            return
        repeats = float(np.mean(values[1:] == values[:-1]))
        unit = self.sensor.unit
        if self.resolution == 0:
            value = {"value": float(values[0]), "unit": unit}
            self.add_remark(FaultKind.CONSTANT, Reason(ReasonCode.FAULT_CONSTANT, value))
        elif repeats >= TIED_SHARE:
            tied = {"share": repeats, "resolution": self.resolution, "unit": unit}
            self.add_remark(FaultKind.TIED, Reason(ReasonCode.FAULT_TIED, tied))

    @property
    def index(self) -> pd.DatetimeIndex:
        """The times of the good readings."""
        return pd.DatetimeIndex(self.good.index).as_unit("us")

    @property
    def stamps(self) -> Stamps:
        """The times of the good readings in microseconds since 1970."""
        return microseconds(self.index)

    def add_finding(
        self, kind: FaultKind, runs: IndexRuns, describe: FaultDescriber, *, counts: Ints | None = None
    ) -> None:
        """Add a finding for these runs of the readings still good, if there are any."""
        if len(runs.firsts):
            counts = runs.counts if counts is None else counts
            limit = self.settings.episodes
            self.findings.append(collect_finding(kind, runs, counts, self.index, describe, limit=limit))

    def add_remark(self, kind: FaultKind, detail: Reason) -> None:
        """Add a finding that applies to all good readings."""
        first, last, total = self.index[0].to_pydatetime(), self.index[-1].to_pydatetime(), len(self.good)
        fault = InstrumentFault(kind, first, last, total, detail)
        self.findings.append(FaultFinding(kind, 1, total, (fault,)))


def near_zero(values: Floats) -> Flags:
    """Which values count as zero, relative to the sensor's usual size."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.bool_)
    size = float(np.quantile(np.abs(values), 0.995))
    return np.asarray(np.abs(values) <= NEAR_ZERO_SHARE * size)


def overflow_safe(values: pd.Series) -> Floats:
    """The values, scaled down where their differences would be infinite."""
    raw = values.to_numpy()
    return raw / 16 if len(raw) and np.abs(raw).max() > 1e300 else raw
