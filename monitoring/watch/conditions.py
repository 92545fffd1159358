"""All signs of one sensor: what came in since it was last looked at, topic by topic.

Knows which topics a sensor has, and that an instrument's fault explains what the detector found odd. Leaves
each kind of sign to its own module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from monitoring.alerts.alert import Sign, Topic
from monitoring.alerts.instrument_baseline import Habit, Memory, Standing, learn_habit, run_lengths
from monitoring.alerts.kinds import AlertType
from monitoring.alerts.rules import Rules
from monitoring.watch.anomaly_conditions import Thresholds, signs_of_anomalies, warning_threshold
from monitoring.watch.drift_conditions import signs_of_drift
from monitoring.watch.forecast_conditions import HIGH, LOW, signs_of_crossing
from monitoring.watch.instrument_conditions import (
    Trouble,
    signs_of_bad_marks,
    signs_of_freezing,
    signs_of_range,
    signs_of_silence,
    stand,
    unusual,
)
from monitoring.watch.new_data import News
from training.data.sensors import Sensor

Past = Callable[[datetime], pd.DataFrame]  # the window of good readings before a moment


@dataclass(frozen=True)
class Watched:
    """What one sensor says, and what is to be remembered of it."""

    signs: Mapping[Topic, list[Sign]]
    memory: Memory | None


def first_memory(sensor: Sensor, past: Past, begin: datetime, rules: Rules) -> Memory | None:
    """What is known of an instrument before it is looked at for the first time; None where it never spoke."""
    window = past(begin)
    if window.empty:
        return None
    values = window["value"].to_numpy(float)
    run = int(run_lengths(values)[-1])
    standing = Standing(float(values[-1]), _moment(window["timestamp"].iloc[-run]), run)
    habit = _learned(sensor, window, begin.date(), rules)
    return Memory(habit, _moment(window["timestamp"].iloc[-1]), standing)


def signs_of(
    sensor: Sensor,
    news: News,
    memory: Memory | None,
    past: Past,
    rules: Rules,
    *,
    begin: datetime,
    now: datetime,
    thresholds: Thresholds,
    width: float,
) -> Watched:
    """Everything new that a sensor says until now; `begin` is where looking at its readings goes on."""
    habits = _habits(sensor, news, memory, past, rules)
    standings = stand(None if memory is None else memory.standing, news.readings)
    odd = {scored.at: scored.score >= warning_threshold(scored, thresholds) for scored in news.scored}
    explained = {
        reading.at
        for reading, standing, habit in zip(news.readings, standings, habits, strict=True)
        if rules.instrument.enabled and unusual(standing, habit, sensor.unit)
    }
    found = {
        (AlertType.ANOMALY, ""): signs_of_anomalies(
            news.scored, rules.anomaly, thresholds, explained=explained
        ),
        (AlertType.DRIFT, ""): signs_of_drift(news.checks),
    }
    for side in (HIGH, LOW):
        found[AlertType.FORECAST_WARNING, side] = signs_of_crossing(
            news.forecasts, sensor, side, rules.forecast, width=width
        )
    habit = habits[-1] if habits else None if memory is None else memory.habit
    told = {
        Trouble.FROZEN: signs_of_freezing(news.readings, standings, habits, odd, sensor, rules.instrument),
        Trouble.OUT_OF_RANGE: signs_of_range(news.readings, sensor, rules.instrument),
        Trouble.MARKED_BAD: signs_of_bad_marks(news.readings, sensor),
        Trouble.SILENT: signs_of_silence(
            None if memory is None else max(memory.last, begin),
            [reading.at for reading in news.readings],
            None if habit is None else habit.step,
            rules.instrument,
            now=now,
        ),
    }
    found |= {(AlertType.INSTRUMENT, trouble.value): signs for trouble, signs in told.items()}
    newest = news.readings[-1].at if news.readings else None if memory is None else memory.last
    return Watched(
        signs={
            Topic(kind, sensor.id, subject, sensor.platform): signs
            for (kind, subject), signs in found.items()
            if rules.enabled(kind)
        },
        memory=None
        if habit is None or newest is None
        else Memory(habit, newest, standings[-1] if standings else memory.standing if memory else None),
    )


def _habits(sensor: Sensor, news: News, memory: Memory | None, past: Past, rules: Rules) -> list[Habit]:
    """For each new reading, the habits as of the beginning of its day."""
    habit = None if memory is None else memory.habit
    found = []
    for reading in news.readings:
        day = reading.at.date()
        if habit is None or habit.day != day:
            habit = _learned(sensor, past(datetime(day.year, day.month, day.day)), day, rules)  # noqa: DTZ001
        found.append(habit)
    return found


def _learned(sensor: Sensor, window: pd.DataFrame, day: date, rules: Rules) -> Habit:
    return learn_habit(window, day, declared=sensor.step, often=rules.instrument.frozen_habit)


def _moment(stamp: pd.Timestamp) -> datetime:
    return stamp.to_pydatetime()
