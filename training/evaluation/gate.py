"""The gate: whether a challenger has earned the champion's alias.

Knows what is compared and how much worse is too much. Both were graded on the same newest readings by
`fit`; the verdict is a pure function of those grades. Leaves aliases to `registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from pydantic import Field

from training.anomaly.extrapolation import extrapolation_reach
from training.kinds import Kind
from training.settings import Settings


class GateSettings(Settings, file="training", section="gate"):
    """What a challenger must show before it serves."""

    min_skill: float = Field(
        0.0, lt=1, description="forecast skill against the best naive that must be exceeded"
    )
    min_coverage: float = Field(0.8, ge=0, le=1, description="share of truths inside the 95 % band")
    max_error_growth: float = Field(
        0.05, ge=0, description="mean error may exceed the champion's by this share"
    )
    max_alarm_excess: float = Field(3.0, ge=1, description="false alarms a day, as a multiple of the budget")
    max_recall_loss: float = Field(
        0.05, ge=0, le=1, description="recall of injected faults below the champion's"
    )
    max_verdict_cost: float = Field(
        0.2, ge=0, le=1, description="recall that raising fewer alarms judged false may cost instead"
    )


@dataclass(frozen=True)
class GateDecision:
    """Whether the challenger may serve, and every reason for or against."""

    passed: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'refused'}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class GateCheck:
    """One condition with the sentence that states it."""

    passed: bool
    description: str


def evaluate_gate(
    kind: Kind,
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    settings: GateSettings,
) -> GateDecision:
    """Compare grades that were taken on the same newest readings; `champion` is None for a first version."""
    compare = check_detector if kind is Kind.DETECTOR else check_forecaster
    checks = compare(challenger, champion, settings)
    refusals = tuple(check.description for check in checks if not check.passed)
    return GateDecision(not refusals, refusals or tuple(check.description for check in checks))


def check_forecaster(
    challenger: Mapping[str, float], champion: Mapping[str, float] | None, settings: GateSettings
) -> list[GateCheck]:
    """Better than the naive forecast, honest in its band, and not worse than the champion."""
    skill, coverage, error = challenger["skill"], challenger["coverage"], challenger["mae"]
    checks = [
        GateCheck(skill > settings.min_skill, f"skill {skill:+.3f} against the naive forecast"),
        GateCheck(coverage >= settings.min_coverage, f"{coverage:.0%} of truths inside the band"),
    ]
    if champion is None:
        return [*checks, GateCheck(True, "no champion to compare with")]
    limit = champion["mae"] * (1 + settings.max_error_growth)
    return [*checks, GateCheck(error <= limit, f"mean error {error:.4g}, champion {champion['mae']:.4g}")]


def check_detector(
    challenger: Mapping[str, float], champion: Mapping[str, float] | None, settings: GateSettings
) -> list[GateCheck]:
    """Within the alarm budget, better than a plain robust z-score, and not blinder than the champion.

    What people said of real alarms weighs more than injected faults: a champion whose alarms were judged
    false loses to a challenger that would not have raised them, at the cost of some recall.
    """
    alarms, budget = challenger["false_alarms_per_day"], challenger["alarm_budget_per_day"]
    # Over a short judged window one or two alarms say nothing; three a window are always allowed.
    allowed = max(budget * settings.max_alarm_excess, 3 / max(challenger["judged_days"], 1e-9))
    recall, naive = challenger["recall_mean"], challenger["naive_recall_mean"]
    checks = [
        GateCheck(alarms <= allowed, f"{alarms:.2g} false alarms a day, at most {allowed:.2g} allowed"),
        GateCheck(
            recall >= naive - settings.max_recall_loss,
            f"finds {recall:.0%} of injected faults, a robust z-score {naive:.0%}",
        ),
    ]
    learned, lifetime = challenger.get("learned_days", inf), challenger.get("lifetime_days", 0.0)
    if extrapolation_reach(lifetime, learned_days=learned) > 0:
        description = (
            f"the alarm budget is extrapolated: learned from {learned:.2g} days to serve {lifetime:.2g}"
        )
        checks.append(GateCheck(True, description))
    if champion is None:
        return [*checks, GateCheck(True, "no champion to compare with")]
    champion_recall, allowed_loss = champion["recall_mean"], settings.max_recall_loss
    if has_better_feedback(challenger, champion):
        allowed_loss = max(allowed_loss, settings.max_verdict_cost)
    return [
        *checks,
        *check_label_feedback(challenger, champion),
        GateCheck(
            recall >= champion_recall - allowed_loss,
            f"finds {recall:.0%} of faults, champion {champion_recall:.0%}",
        ),
    ]


def check_label_feedback(challenger: Mapping[str, float], champion: Mapping[str, float]) -> list[GateCheck]:
    """What people confirmed is still caught, and what they called false is not raised more often."""
    checks = []
    if champion.get("verdicts_confirmed"):
        total, challenger_count, champion_count = (
            challenger["verdicts_confirmed"],
            challenger["verdicts_confirmed_caught"],
            champion["verdicts_confirmed_caught"],
        )
        description = f"catches {challenger_count:.0f} of {total:.0f} confirmed anomalies, champion {champion_count:.0f}"
        checks.append(GateCheck(challenger_count >= champion_count, description))
    if champion.get("verdicts_false"):
        total, challenger_count, champion_count = (
            challenger["verdicts_false"],
            challenger["verdicts_false_raised"],
            champion["verdicts_false_raised"],
        )
        description = (
            f"raises {challenger_count:.0f} of {total:.0f} alarms judged false, champion {champion_count:.0f}"
        )
        if champion.get("alarms_false"):
            judged = champion["alarms_confirmed"] + champion["alarms_false"]
            description += (
                f" ({champion['alarms_confirmed']:.0f} of its {judged:.0f} judged alarms were right)"
            )
        checks.append(GateCheck(challenger_count <= champion_count, description))
    return checks


def has_better_feedback(challenger: Mapping[str, float], champion: Mapping[str, float]) -> bool:
    """Whether a challenger raises fewer of the alarms that were judged false, and catches what was right."""
    fewer = challenger.get("verdicts_false_raised", 0) < champion.get("verdicts_false_raised", 0)
    challenger_caught, champion_caught = (
        m.get("verdicts_confirmed_caught", 0) for m in (challenger, champion)
    )
    return fewer and challenger_caught >= champion_caught
