"""The faults of the plant day: what each does to a signal, when, and what the operator must learn of it.

Minutes count from the beginning of the day. The faults are those of a trial on live sensors; the outcome of
each is measured in `operator_day`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.operator_plant import MINUTES_PER_DAY, SENSORS, Signal, stop_pump
from training.common.arrays import Floats

HOUR = 60
SILENCE_RULE = 10  # minutes without a reading after which a sensor counts as silent (silent_least)
SimulatedPlant = Mapping[str, Signal]


@dataclass(frozen=True)
class PlantFault:
    """A fault of one sensor, and the longest time until it must be reported, in minutes."""

    name: str
    sensor_id: str
    start: int
    minutes: int
    within: int
    alert_type: str  # of the alert that describes it correctly
    distort: Callable[[Signal], Floats]  # the faulty readings; NaN: never arrived
    permanent: bool = False  # until the end of the day, and after it

    @property
    def end(self) -> int:
        """The minute of the first reading after the fault."""
        return self.start + self.minutes


@dataclass(frozen=True)
class PumpStop:
    """A stop of the pump for some hours, announced to the platform or not."""

    name: str
    start: int
    minutes: int
    announced: bool

    @property
    def end(self) -> int:
        """The minute of the restart."""
        return self.start + self.minutes


LIMIT, PROCESS, INSTRUMENT = "LIMIT", "ANOMALY", "INSTRUMENT"

FAULTS = (
    PlantFault(
        "stuck for 22 min on a coarse flow meter",
        "FT-201",
        8 * HOUR + 5,
        22,
        within=20,  # longer than its habitual runs of equal readings
        alert_type=INSTRUMENT,
        distort=lambda signal: np.full_like(signal.level, signal.values[0]),
    ),
    PlantFault(
        "two single samples of +10 bar",
        "PT-201",
        8 * HOUR + 10,
        13,
        within=2,
        alert_type=INSTRUMENT,
        distort=lambda signal: signal.values + 10 * np.isin(np.arange(signal.level.size), (0, 12)),
    ),
    PlantFault(
        "step of +3 degC for 15 min",
        "TT-201",
        8 * HOUR + 15,
        15,
        within=10,
        alert_type=PROCESS,
        distort=lambda signal: signal.values + 3,
    ),
    PlantFault(
        "degC sent as degF, beyond the critical limit",
        "TT-202",
        8 * HOUR + 20,
        20,
        within=1,
        alert_type=LIMIT,
        distort=lambda signal: signal.values * 1.8 + 32,
    ),
    PlantFault(
        "communication lost for 18 min",
        "TT-101",
        8 * HOUR + 25,
        18,
        within=SILENCE_RULE + 2,
        alert_type=INSTRUMENT,
        distort=lambda signal: np.full_like(signal.level, np.nan),
    ),
    PlantFault(
        "ramp of +0.2 bar/min to +5.5 bar",
        "PT-101",
        8 * HOUR + 30,
        30,
        within=10,
        alert_type=PROCESS,
        distort=lambda signal: signal.values + np.minimum(0.2 * np.arange(1, signal.level.size + 1), 5.5),
    ),
    PlantFault(
        "noise x 4 for 17 min",
        "VT-201",
        8 * HOUR + 35,
        17,
        within=10,
        alert_type=PROCESS,
        distort=lambda signal: signal.level + 4 * signal.noise,
    ),
    PlantFault(
        "overload, current x 1.5 and +0.8 A, for 15 min",
        "IT-201",
        8 * HOUR + 40,
        15,
        within=10,
        alert_type=PROCESS,
        distort=lambda signal: signal.values * 1.5 + 0.8,
    ),
    PlantFault(
        "one reading out of range",
        "FT-201",
        11 * HOUR,
        1,
        within=2,
        alert_type=INSTRUMENT,
        distort=lambda signal: np.full_like(signal.level, 350.0),
    ),
    PlantFault(
        "persistent step of +4 bar",
        "PT-102",
        19 * HOUR,
        5 * HOUR,
        within=10,
        alert_type=PROCESS,
        distort=lambda signal: signal.values + 4,
        permanent=True,
    ),
)
STOPS = (
    PumpStop("stop of the pump, not announced", 13 * HOUR, 60, announced=False),
    PumpStop("stop of the pump, announced", 16 * HOUR, 60, announced=True),
)


def plant_day_readings(
    plant: SimulatedPlant, *, faults: Sequence[PlantFault] = FAULTS, stops: Sequence[PumpStop] = STOPS
) -> dict[str, Floats]:
    """The readings of each sensor, whose last day has the faults and stops."""
    readings = {}
    for sensor_id, undisturbed in plant.items():
        response, length = SENSORS[sensor_id].stop, undisturbed.level.size
        midnight = length - MINUTES_PER_DAY
        running = np.ones(length, bool)
        for stop in stops:
            running[midnight + stop.start : midnight + stop.end] = False
        signal = undisturbed if response is None else stop_pump(undisturbed, response, running)
        values = signal.values
        for fault in faults:
            if fault.sensor_id == sensor_id:
                during = slice(midnight + fault.start, midnight + fault.end)
                values[during] = fault.distort(Signal(signal.level[during], signal.noise[during]))
        readings[sensor_id] = signal.rounded(values)
    return readings
