"""All conditions of one sensor: its new data, topic by topic.

Decides which topics a sensor has, and that an instrument fault explains an anomaly. Each kind of condition is
made in its own `*_conditions` module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

import pandas as pd

from monitoring.alerts.alert import AlertTopic, Condition
from monitoring.alerts.instrument_baseline import (
    MAX_RECENT_VALUES,
    ConstantRun,
    InstrumentHabit,
    InstrumentMemory,
    RecentValues,
    fit_habit,
)
from monitoring.alerts.kinds import AlertType, InstrumentProblem
from monitoring.alerts.rules import SensorRules
from monitoring.watch.anomaly_conditions import SeverityThresholds, anomaly_conditions, warning_threshold
from monitoring.watch.drift_conditions import drift_conditions
from monitoring.watch.forecast_conditions import HIGH, LOW, crossing_conditions
from monitoring.watch.instrument_conditions import (
    bad_quality_conditions,
    frozen_conditions,
    is_unusually_constant,
    no_data_conditions,
    range_conditions,
    spike_conditions,
    track_runs,
)
from monitoring.watch.limit_conditions import critical_crossings, limit_conditions
from monitoring.watch.measurements import followed_by, measure
from monitoring.watch.new_data import NewData
from training.common.arrays import equal_runs
from training.common.times import epoch_seconds
from training.data.limits import MIN_RATE_SECONDS, LimitKind, is_out_of_range
from training.data.sensors import Sensor

PastReader = Callable[[datetime], pd.DataFrame]  # the window of good readings before a time


@dataclass(frozen=True)
class SensorConditions:
    """The new conditions of one sensor, and the instrument memory for the next watch."""

    conditions: Mapping[AlertTopic, list[Condition]]
    memory: InstrumentMemory | None


def initial_memory(
    sensor: Sensor, past: PastReader, begin: datetime, rules: SensorRules
) -> InstrumentMemory | None:
    """The memory of an instrument that was not watched before; None without readings."""
    window = past(begin)
    if window.empty:
        return None
    values = window["value"].to_numpy(float)
    run = int(equal_runs(values).counts[-1])
    constant_run = ConstantRun(float(values[-1]), _to_datetime(window["timestamp"].iloc[-run]), run)
    habit = _fit_habit(sensor, window, begin.date(), rules)
    last = _to_datetime(window["timestamp"].iloc[-1])
    return InstrumentMemory(habit, last, constant_run, _recent_values(sensor, window))


def collect_conditions(
    sensor: Sensor,
    new_data: NewData,
    memory: InstrumentMemory | None,
    past: PastReader,
    rules: SensorRules,
    *,
    begin: datetime,
    now: datetime,
    thresholds: SeverityThresholds,
    width: float,
) -> SensorConditions:
    """The conditions in a sensor's new data until now; `begin` is the end of the data evaluated before."""
    habits = _daily_habits(sensor, new_data, memory, past, rules)
    constant_runs = track_runs(None if memory is None else memory.constant_run, new_data.readings)
    is_anomalous = {
        scored.at: scored.score >= warning_threshold(scored, thresholds) for scored in new_data.scored
    }
    explained = {
        reading.at
        for reading, run, habit in zip(new_data.readings, constant_runs, habits, strict=True)
        if rules.instrument.enabled
        and (is_unusually_constant(run, habit, sensor.unit) or is_out_of_range(sensor, reading.value))
    }
    recent = _values_before(sensor, memory, past, begin)
    measurements = measure(new_data.readings, recent, sensor)
    conditions_by_topic: dict[tuple[AlertType, str], list[Condition]] = {
        (AlertType.LIMIT, kind.value): conditions
        for kind, conditions in limit_conditions(measurements, sensor, rules.limit).items()
    }
    conditions_by_topic |= {
        (AlertType.ANOMALY, ""): anomaly_conditions(
            new_data.scored, rules.anomaly, thresholds, unit=sensor.unit, explained=explained
        ),
        (AlertType.DRIFT, ""): drift_conditions(new_data.checks),
    }
    for side, kind in ((HIGH, LimitKind.HIGH_HIGH), (LOW, LimitKind.LOW_LOW)):
        conditions = crossing_conditions(new_data.forecasts, sensor, side, rules.forecast, width=width)
        if rules.limit.enabled:
            conditions += critical_crossings(measurements, sensor, kind)
        conditions_by_topic[AlertType.FORECAST_WARNING, side] = sorted(conditions, key=lambda one: one.at)
    habit = habits[-1] if habits else None if memory is None else memory.habit
    instrument_conditions = {
        InstrumentProblem.FROZEN: frozen_conditions(
            new_data.readings, constant_runs, habits, is_anomalous, sensor, rules.instrument
        ),
        InstrumentProblem.OUT_OF_RANGE: range_conditions(new_data.readings, sensor, rules.instrument),
        InstrumentProblem.SPIKE: spike_conditions(measurements, habits, sensor, rules.instrument),
        InstrumentProblem.MARKED_BAD: bad_quality_conditions(new_data.readings, sensor),
        InstrumentProblem.NO_DATA: no_data_conditions(
            None if memory is None else max(memory.last, begin),
            [reading.at for reading in new_data.readings],
            None if habit is None else habit.step,
            rules.instrument,
            now=now,
        ),
    }
    conditions_by_topic |= {
        (AlertType.INSTRUMENT, problem.value): conditions
        for problem, conditions in instrument_conditions.items()
    }
    if new_data.readings:
        memory = InstrumentMemory(
            habits[-1], new_data.readings[-1].at, constant_runs[-1], followed_by(recent, measurements)
        )
    values = {reading.at: reading.value for reading in new_data.readings}
    conditions_by_alert_topic = {
        AlertTopic(kind, sensor.id, subject, sensor.platform): _with_values(conditions, values)
        for (kind, subject), conditions in conditions_by_topic.items()
        if rules.enabled(kind)
    }
    return SensorConditions(conditions_by_alert_topic, memory)


def _values_before(
    sensor: Sensor, memory: InstrumentMemory | None, past: PastReader, begin: datetime
) -> RecentValues:
    """The good readings before the new ones: from memory unless they are too few to measure a rate."""
    if memory is None:
        return RecentValues()
    recent = memory.recent
    if recent is None or (
        sensor.max_rate is not None
        and len(recent.seconds) == MAX_RECENT_VALUES
        and recent.seconds[-1] - recent.seconds[0] < MIN_RATE_SECONDS
    ):
        return _recent_values(sensor, past(begin))
    return recent


def _recent_values(sensor: Sensor, window: pd.DataFrame) -> RecentValues:
    values = window["value"].to_numpy(float)
    measured = ~sensor.physical_range.excludes(values)
    seconds = epoch_seconds(window["timestamp"])[measured]
    return RecentValues(tuple(seconds.tolist()), tuple(values[measured].tolist()))


def _with_values(conditions: list[Condition], values: Mapping[datetime, float]) -> list[Condition]:
    """The conditions with the value of the sensor at their time, where there is one."""
    return [
        replace(condition, value=values[condition.at])
        if condition.value is None and condition.at in values
        else condition
        for condition in conditions
    ]


def _daily_habits(
    sensor: Sensor, new_data: NewData, memory: InstrumentMemory | None, past: PastReader, rules: SensorRules
) -> list[InstrumentHabit]:
    """For each new reading, the habit at the beginning of its day."""
    habit = None if memory is None else memory.habit
    habits = []
    for reading in new_data.readings:
        day = reading.at.date()
        if habit is None or habit.day != day:
            habit = _fit_habit(sensor, past(datetime(day.year, day.month, day.day)), day, rules)  # noqa: DTZ001
        habits.append(habit)
    return habits


def _fit_habit(sensor: Sensor, window: pd.DataFrame, day: date, rules: SensorRules) -> InstrumentHabit:
    return fit_habit(window, day, declared=sensor.step, often=rules.instrument.frozen_habit)


def _to_datetime(stamp: pd.Timestamp) -> datetime:
    return stamp.to_pydatetime()
