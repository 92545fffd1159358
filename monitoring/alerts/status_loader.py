"""Load the status of many sensors: newest readings and scores, alerts and sampling steps, by four queries.

What a sensor is monitored by comes from the registry (`coverage_of`), so that a model moved there counts. The
judgement is in `sensor_status`.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from monitoring.alerts.alert import Alert
from monitoring.alerts.rules import AlertRules, InstrumentRules
from monitoring.alerts.sensor_status import (
    Coverage,
    Monitor,
    SensorCondition,
    StatusInputs,
    judge_status,
)
from monitoring.alerts.store import AlertStore
from monitoring.alerts.watch_store import load_memories
from serving.predictions.store import PredictionStore
from training.data.limits import SEVERITY_OF_LIMIT, MeasuredReading, most_severe_limit
from training.data.readings import GOOD_QUALITY, ReadingStore
from training.data.sensors import Sensor
from training.errors import RegistryError
from training.evaluation.gate import GateSettings
from training.kinds import FALLBACK_RECIPE, Kind
from training.operations.overview import describe_models
from training.outcomes import Outcome, OutcomeStatus
from training.settings import load_settings
from training.storage.database import reading
from training.workspace import Workspace

log = logging.getLogger("safeplan.monitoring")

SILENCE_OF_UNKNOWN_STEP = timedelta(days=1)  # where nothing is known about how often a sensor sends
LIMIT_FIELDS = ("critical_low", "critical_high", "warning_low", "warning_high", "max_rate")
SCORE_COLUMNS = ("anomaly_score", "threshold", "historical_average", "historical_std")
DetectorOutcomes = Mapping[str, Outcome]  # by sensor


def load_statuses(
    engine: Engine, sensors: Sequence[Sensor], detectors: DetectorOutcomes | None, *, now: datetime
) -> dict[str, SensorCondition]:
    """The status of each sensor at a time (naive UTC), in the order of the sensors.

    `detectors` are the outcomes of `training.operations.overview.describe_models`; None where the registry
    cannot be read.
    """
    return judge_statuses(
        sensors,
        rows=load_newest_rows(engine),
        alerts=AlertStore(engine).find(alive=True),
        steps=load_steps(engine, sensors),
        detectors=detectors,
        now=now,
    )


def judge_statuses(
    sensors: Iterable[Sensor],
    *,
    rows: pd.DataFrame,
    alerts: Collection[Alert],
    steps: Mapping[str, timedelta],
    detectors: DetectorOutcomes | None,
    now: datetime,
) -> dict[str, SensorCondition]:
    """The status of each sensor from what is known of all: `rows` as `load_newest_rows` returns them."""
    rules, min_recall = AlertRules.from_conf(), load_settings(GateSettings).min_recall
    alerts_by_sensor: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        alerts_by_sensor[alert.topic.sensor_id].append(alert)
    row_by_sensor = rows.to_dict("index")
    conditions = {}
    for sensor in sensors:
        outcome = None if detectors is None else detectors.get(sensor.id)
        unknown = detectors is None
        coverage = (
            Coverage(Monitor.UNKNOWN) if unknown else coverage_of(sensor, outcome, min_recall=min_recall)
        )
        inputs = _inputs(
            sensor,
            row_by_sensor.get(sensor.id, {}),
            tuple(alerts_by_sensor.get(sensor.id, ())),
            steps.get(sensor.id),
            rules.of(sensor).instrument,
            coverage,
            now,
        )
        conditions[sensor.id] = judge_status(inputs)
    return conditions


def coverage_of(sensor: Sensor, outcome: Outcome | None, *, min_recall: float) -> Coverage:
    """What monitors a sensor, given the outcome of its detector."""
    if outcome is None or outcome.status != OutcomeStatus.SERVING:
        has_limits = any(getattr(sensor, name) is not None for name in LIMIT_FIELDS)
        return Coverage(Monitor.LIMITS if has_limits else Monitor.NOTHING, min_recall=min_recall)
    is_fallback = outcome.detail.get("recipe") == FALLBACK_RECIPE
    monitor = Monitor.FALLBACK if is_fallback else Monitor.DETECTOR
    return Coverage(monitor, outcome.version, outcome.metrics.get("recall_mean"), min_recall)


def detectors_of(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """The outcomes of detectors, by sensor."""
    return {outcome.sensor_id: outcome for outcome in outcomes if outcome.kind is Kind.DETECTOR}


def load_detectors(
    workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime
) -> dict[str, Outcome] | None:
    """The outcomes of the sensors' detectors; None where the registry cannot be read."""
    try:
        return detectors_of(describe_models(workspace, sensors, now=now))
    except RegistryError as error:
        log.warning("what monitors the sensors is not known: %s", error)
        return None


def load_newest_rows(engine: Engine) -> pd.DataFrame:
    """Each sensor's newest reading and score by two queries: `timestamp, value, data_quality, scored_at` and
    `SCORE_COLUMNS`, by `sensor_id`.
    """
    scores = PredictionStore(engine).newest_scores().set_index("sensor_id")
    scores = scores.rename(columns={"timestamp": "scored_at"}).reindex(columns=["scored_at", *SCORE_COLUMNS])
    readings = ReadingStore(engine).newest()[["timestamp", "value", "data_quality"]]
    return readings.join(scores, how="outer")


def load_steps(engine: Engine, sensors: Sequence[Sensor]) -> dict[str, timedelta]:
    """The normal time between two readings of each sensor: declared, else as the watch has learned it."""
    with reading(engine) as connection:
        memories = load_memories(connection, [sensor.id for sensor in sensors if sensor.step is None])
    steps = {sensor.id: sensor.step for sensor in sensors if sensor.step is not None}
    learned = {id_: memory.habit.step for id_, memory in memories.items() if memory.habit.step is not None}
    return steps | learned


def _inputs(
    sensor: Sensor,
    row: Mapping[Any, Any],
    alerts: tuple[Alert, ...],
    step: timedelta | None,
    rules: InstrumentRules,
    coverage: Coverage,
    now: datetime,
) -> StatusInputs:
    value = _number(row.get("value"))
    quality = row.get("data_quality")
    limit = None if value is None else most_severe_limit(sensor, MeasuredReading(value))
    silence = max(rules.silent_steps * step, rules.silent_least) if step else SILENCE_OF_UNKNOWN_STEP
    return StatusInputs(
        now=now,
        coverage=coverage,
        silent_after=silence,
        reading_at=_time(row.get("timestamp")),
        value=value,
        is_good=quality is None or pd.isna(quality) or int(quality) == GOOD_QUALITY,
        step=step,
        low=sensor.low,
        high=sensor.high,
        limit_severity=0 if limit is None else SEVERITY_OF_LIMIT[limit.kind],
        limit_reason=None if limit is None else limit.reason,
        scored_at=_time(row.get("scored_at")),
        score=_number(row.get("anomaly_score")),
        threshold=_number(row.get("threshold")),
        average=_number(row.get("historical_average")),
        deviation=_number(row.get("historical_std")),
        alerts=alerts,
    )


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _time(value: Any) -> datetime | None:
    return None if value is None or pd.isna(value) else pd.Timestamp(value).to_pydatetime()
