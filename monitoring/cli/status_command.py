"""The output of `safeplan status`: how many sensors are monitored, the status of each, then its models.

The status is judged in `monitoring.alerts.sensor_status`, models are described in
`training.operations.overview`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monitoring.alerts.sensor_status import (
    SensorCondition,
    SensorStatus,
    count_monitored,
    count_statuses,
    status_name,
)
from monitoring.alerts.status_loader import detectors_of, load_statuses
from monitoring.i18n.translation import Translator
from training.data.sensors import Sensor
from training.operations.console import show_json, show_outcomes, show_rows, stdout_console
from training.operations.overview import describe_models
from training.outcomes import summary
from training.reasons import render_all
from training.workspace import Workspace

STATUS_METRICS = ("age_days", "skill", "coverage", "recall_mean", "false_alarms_per_day")


def show_status(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime, as_json: bool) -> None:
    """Print the status of sensors at a time (naive UTC) and of their models."""
    outcomes = describe_models(workspace, sensors, now=now)
    conditions = load_statuses(workspace.engine, sensors, detectors_of(outcomes), now=now)
    if as_json:
        document = {
            "command": "status",
            "monitoring": monitoring_summary(conditions),
            "statuses": [{"sensor_id": name, **one.as_dict()} for name, one in conditions.items()],
            "summary": summary(outcomes),
            "sensors": [outcome.as_dict() for outcome in outcomes],
        }
        show_json(document)
        return
    stdout_console.print(summary_text(conditions))
    units = {sensor.id: sensor.unit for sensor in sensors}
    most_urgent_first = sorted(conditions.items(), key=lambda item: item[1].rank)
    show_rows([_row(sensor_id, condition, units[sensor_id]) for sensor_id, condition in most_urgent_first])
    stdout_console.print()
    show_outcomes("status", outcomes, STATUS_METRICS, as_json=False)


def monitoring_summary(conditions: Mapping[str, SensorCondition]) -> dict[str, Any]:
    """How many sensors there are, how many are monitored, and how many have each status."""
    return {
        "sensors": len(conditions),
        "monitored": count_monitored(conditions.values()),
        "by_status": {status.value: count for status, count in count_statuses(conditions.values()).items()},
    }


def summary_text(conditions: Mapping[str, SensorCondition]) -> str:
    """The first line: `8 of 10 sensors monitored: 1 alarm, 7 normal, 2 weakly monitored`."""
    words = Translator()
    counts = [
        f"{count} {status_name(words, status)}"
        for status, count in count_statuses(conditions.values()).items()
        if count
    ]
    monitored = count_monitored(conditions.values())
    return f"{monitored} of {len(conditions)} sensors monitored: {', '.join(counts)}"


def _row(sensor_id: str, condition: SensorCondition, unit: str) -> dict[str, Any]:
    reasons = list(condition.reasons)
    coverage = condition.coverage.reason
    if condition.monitoring is not SensorStatus.NORMAL and coverage is not None and coverage not in reasons:
        reasons.append(coverage)
    return {
        "sensor": sensor_id,
        "status": f"{condition.symbol} {status_name(Translator(), condition.status)}",
        "since": condition.since,
        "monitored_by": condition.coverage.monitor.value,
        "recall": condition.coverage.recall,
        "reason": render_all(reasons, unit=unit),
    }
