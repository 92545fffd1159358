"""The result of checking one champion, with the data that reports and command output need."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from monitoring.drift.champion_data import ChampionReadings
from monitoring.drift.comparison import DriftComparison
from monitoring.drift.kinds import DriftKind
from monitoring.drift.statistics import Readings
from monitoring.drift.store import DriftCheck
from serving.models.champions import ServingModel
from training.data.sensors import Sensor
from training.outcomes import Outcome
from training.registry.model_registry import CHAMPION


@dataclass(frozen=True)
class DriftCheckResult:
    """One champion's check and the data it is based on."""

    sensor: Sensor
    champion: ServingModel
    view: ChampionReadings
    comparison: DriftComparison
    check: DriftCheck

    @property
    def plotted_readings(self) -> Readings:
        """The readings since, for charts; of a stuck instrument, including the repeated values."""
        stuck = self.comparison.kind is DriftKind.STUCK
        return self.view.unfiltered if stuck else self.view.since


def to_outcome(result: DriftCheckResult) -> Outcome:
    """The row of the command's table."""
    check = result.check
    return result.champion.version.outcome(
        check.verdict,
        CHAMPION,
        metrics={"p_value": check.p_value, "cost": check.cost, "readings": check.readings, **check.quality},
        detail={
            "drift": check.kind,
            "origin": check.origin,
            "since": check.since,
            "reason": check.reason,
            "advice": check.advice,
            "start": check.start,
            "end": check.end,
            "run_id": check.run_id,
        },
    )


def drift_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The rows that `safeplan drift` prints: one per model, without failures.

    The same advice for both models of a sensor is shown once.
    """
    rows, shown_advice = [], set()
    for outcome in outcomes:
        if outcome.failed:
            continue
        advice = outcome.detail.get("advice")
        is_new = bool(advice) and (outcome.sensor_id, advice) not in shown_advice
        shown_advice.add((outcome.sensor_id, advice))
        rows.append(
            {
                "sensor": outcome.sensor_id,
                "model": f"{outcome.kind.value} v{outcome.version}" if outcome.kind else "",
                "verdict": outcome.status,
                "since": outcome.detail.get("since"),
                "cost": outcome.metrics.get("cost"),
                "what": outcome.detail.get("reason", ""),
                "advice": [advice] if is_new else [],
            }
        )
    return rows
