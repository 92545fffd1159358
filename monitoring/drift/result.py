"""One champion's check with all that its report and its row in a table need. Knows shapes only."""

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
    """One champion's check with what it rests on."""

    sensor: Sensor
    champion: ServingModel
    view: ChampionReadings
    comparison: DriftComparison
    check: DriftCheck

    @property
    def plotted_readings(self) -> Readings:
        """What came since, for pictures: what a stuck instrument repeats is the very thing to be seen."""
        stuck = self.comparison.kind is DriftKind.STUCK
        return self.view.unfiltered if stuck else self.view.since


def to_outcome(result: DriftCheckResult) -> Outcome:
    """The row of the command's table."""
    check, version = result.check, result.champion.version
    return Outcome(
        sensor_id=check.sensor_id,
        kind=version.kind,
        status=check.verdict.value,
        model=version.name,
        version=version.number,
        alias=CHAMPION,
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
    """What the command prints: a row a model, with what to do about it; failures are told elsewhere.

    The same advice on both models of a sensor is given once.
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
