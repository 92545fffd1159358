"""Decide whether a challenger may replace the champion, from metrics of both on the same newest readings.

A pure function of the metrics that `training.pipeline.fit` measured. Does not move aliases; that is
`training.registry.model_registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from pydantic import Field

from training.anomaly.extrapolation import extrapolation_reach
from training.kinds import GateStatus, Kind
from training.reasons import Reason, ReasonCode, render
from training.settings import Settings

Metrics = Mapping[str, float]

MIN_ALLOWED_ALARMS = 3  # in a backtest of any length, because a rate cannot be measured from fewer
SECONDS_PER_DAY = 86_400


class GateSettings(Settings, file="training", section="gate"):
    """What a challenger must achieve before it is promoted."""

    min_skill: float = Field(
        0.0, lt=1, description="forecast skill over the best naive forecast that must be exceeded"
    )
    min_coverage: float = Field(
        0.8, ge=0, le=1, description="share of readings that must lie inside the 95 % forecast interval"
    )
    max_error_growth: float = Field(
        0.05, ge=0, description="mean error may exceed the champion's by this share"
    )
    max_alarm_excess: float = Field(3.0, ge=1, description="false alarms a day, as a multiple of the budget")
    min_recall: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of injected faults that a detector must find, whatever the champion finds",
    )
    max_recall_loss: float = Field(
        0.05, ge=0, le=1, description="recall of injected faults may be this much below the champion's"
    )
    max_verdict_cost: float = Field(
        0.2,
        ge=0,
        le=1,
        description="recall a challenger may lose instead if it repeats fewer dismissed alarms",
    )


@dataclass(frozen=True)
class GateDecision:
    """Whether the challenger may be promoted: all reasons if it may, the unmet conditions if not."""

    status: GateStatus
    reasons: tuple[Reason, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may be promoted."""
        return self.status is not GateStatus.REFUSED

    @property
    def reason(self) -> Reason:
        """Status and reasons as one reason."""
        return Reason(GATE_CODES[self.status], {"reasons": self.reasons})

    def __str__(self) -> str:
        return render(self.reason)


GATE_CODES = {
    GateStatus.PASSED: ReasonCode.GATE_PASSED,
    GateStatus.REFUSED: ReasonCode.GATE_REFUSED,
    GateStatus.FALLBACK: ReasonCode.GATE_FALLBACK,
}


@dataclass(frozen=True)
class GateCheck:
    """One condition: whether it is met, and the figures it rests on."""

    passed: bool
    reason: Reason


def evaluate_gate(
    kind: Kind, challenger: Metrics, champion: Metrics | None, settings: GateSettings
) -> GateDecision:
    """Check the challenger's metrics; `champion` is None for a first version.

    A metric that is NaN fails its check.
    """
    check = check_detector if kind is Kind.DETECTOR else check_forecaster
    checks = check(challenger, champion, settings)
    failures = tuple(check.reason for check in checks if not check.passed)
    if failures:
        return GateDecision(GateStatus.REFUSED, failures)
    return GateDecision(GateStatus.PASSED, tuple(check.reason for check in checks))


def decide_fallback(
    refused: GateDecision, fallback: Metrics, detector: Metrics | None, settings: GateSettings
) -> GateDecision | None:
    """Whether the rule-based fallback serves where a detector was refused; None if the champion stays.

    `detector` are the metrics of the champion, None if there is none or it is a fallback itself. It stays if
    it finds `min_recall` of the injected faults, or more of them than the fallback.
    """
    recall = fallback["recall_mean"]
    if detector is not None and detector["recall_mean"] >= min(settings.min_recall, recall):
        return None
    grade = {"recall": recall, "alarms": fallback["false_alarms_per_day"]}
    reasons = (
        Reason(ReasonCode.GATE_FALLBACK_GRADE, grade),
        Reason(ReasonCode.GATE_DETECTOR_REFUSED, {"reasons": refused.reasons}),
    )
    return GateDecision(GateStatus.FALLBACK, reasons)


def check_forecaster(
    challenger: Metrics, champion: Metrics | None, settings: GateSettings
) -> list[GateCheck]:
    """Better than the best naive forecast, an interval that holds, and no worse than the champion."""
    skill, coverage, error = challenger["skill"], challenger["coverage"], challenger["mae"]
    checks = [
        GateCheck(skill > settings.min_skill, Reason(ReasonCode.GATE_SKILL, {"skill": skill})),
        GateCheck(
            coverage >= settings.min_coverage, Reason(ReasonCode.GATE_COVERAGE, {"coverage": coverage})
        ),
    ]
    if champion is None:
        return [*checks, GateCheck(True, Reason(ReasonCode.GATE_NO_CHAMPION))]
    reason = Reason(ReasonCode.GATE_ERROR, {"error": error, "champion": champion["mae"]})
    return [*checks, GateCheck(error <= champion["mae"] * (1 + settings.max_error_growth), reason)]


def check_detector(challenger: Metrics, champion: Metrics | None, settings: GateSettings) -> list[GateCheck]:
    """Within the alarm budget, recall above the floor and no worse than a robust z-score's or the champion's.

    Verdicts on real alarms outweigh injected faults: a challenger that repeats fewer dismissed alarms than
    the champion may lose more recall.
    """
    alarms, budget = challenger["false_alarms_per_day"], challenger["alarm_budget_per_day"]
    allowed = max(
        budget * settings.max_alarm_excess, MIN_ALLOWED_ALARMS / max(challenger["judged_days"], 1e-9)
    )
    recall, naive = challenger["recall_mean"], challenger["naive_recall_mean"]
    checks = [
        GateCheck(
            alarms <= allowed,
            Reason(ReasonCode.GATE_FALSE_ALARMS, {"alarms": alarms, "allowed": allowed}),
        ),
        GateCheck(
            recall >= naive - settings.max_recall_loss,
            Reason(ReasonCode.GATE_RECALL, {"recall": recall, "naive": naive}),
        ),
    ]
    if not recall >= settings.min_recall:
        required = {"recall": recall, "required": settings.min_recall}
        checks.append(GateCheck(False, Reason(ReasonCode.GATE_MIN_RECALL, required)))
    learned, lifetime = challenger.get("learned_days", inf), challenger.get("lifetime_days", 0.0)
    if extrapolation_reach(lifetime, learned_days=learned) > 0:
        durations = {"learned": learned * SECONDS_PER_DAY, "lifetime": lifetime * SECONDS_PER_DAY}
        checks.append(GateCheck(True, Reason(ReasonCode.GATE_BUDGET_EXTRAPOLATED, durations)))
    if champion is None:
        return [*checks, GateCheck(True, Reason(ReasonCode.GATE_NO_CHAMPION))]
    allowed_loss = settings.max_recall_loss
    if has_better_feedback(challenger, champion):
        allowed_loss = max(allowed_loss, settings.max_verdict_cost)
    reason = Reason(ReasonCode.GATE_RECALL_CHAMPION, {"recall": recall, "champion": champion["recall_mean"]})
    return [
        *checks,
        *check_label_feedback(challenger, champion),
        GateCheck(recall >= champion["recall_mean"] - allowed_loss, reason),
    ]


def check_label_feedback(challenger: Metrics, champion: Metrics) -> list[GateCheck]:
    """As many confirmed anomalies found as by the champion, and no more dismissed alarms repeated."""
    checks = []
    if champion.get("verdicts_confirmed"):
        caught, champion_caught = (m["verdicts_confirmed_caught"] for m in (challenger, champion))
        values = {
            "caught": caught,
            "confirmed": challenger["verdicts_confirmed"],
            "champion": champion_caught,
        }
        checks.append(GateCheck(caught >= champion_caught, Reason(ReasonCode.GATE_CONFIRMED_CAUGHT, values)))
    if champion.get("verdicts_false"):
        raised, champion_raised = (m["verdicts_false_raised"] for m in (challenger, champion))
        values = {
            "raised": raised,
            "dismissed": challenger["verdicts_false"],
            "champion": champion_raised,
        }
        code = ReasonCode.GATE_FALSE_RAISED
        if champion.get("alarms_false"):
            confirmed = champion["alarms_confirmed"]
            values |= {"right": confirmed, "judged": confirmed + champion["alarms_false"]}
            code = ReasonCode.GATE_FALSE_RAISED_JUDGED
        checks.append(GateCheck(raised <= champion_raised, Reason(code, values)))
    return checks


def has_better_feedback(challenger: Metrics, champion: Metrics) -> bool:
    """Whether a challenger repeats fewer dismissed alarms and finds as many confirmed anomalies."""
    raised, champion_raised = (m.get("verdicts_false_raised", 0) for m in (challenger, champion))
    caught, champion_caught = (m.get("verdicts_confirmed_caught", 0) for m in (challenger, champion))
    return raised < champion_raised and caught >= champion_caught
