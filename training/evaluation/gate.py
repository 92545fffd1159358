"""The gate: whether a challenger has earned the champion's alias.

Knows what is compared and how much worse is too much. Both were graded on the same newest readings by
`fit`; the verdict is a pure function of those grades. Leaves aliases to `registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from pydantic import Field

from training.anomaly.extrapolation import reach_of
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
class Verdict:
    """Whether the challenger may serve, and every reason for or against."""

    passed: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'refused'}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Check:
    """One condition with the sentence that states it."""

    holds: bool
    sentence: str


def judge(
    kind: Kind,
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    settings: GateSettings,
) -> Verdict:
    """Compare grades that were taken on the same newest readings; `champion` is None for a first version."""
    compare = judge_detector if kind is Kind.DETECTOR else judge_forecaster
    checks = compare(challenger, champion, settings)
    refusals = tuple(check.sentence for check in checks if not check.holds)
    return Verdict(not refusals, refusals or tuple(check.sentence for check in checks))


def judge_forecaster(
    challenger: Mapping[str, float], champion: Mapping[str, float] | None, settings: GateSettings
) -> list[Check]:
    """Better than the naive forecast, honest in its band, and not worse than the champion."""
    skill, coverage, error = challenger["skill"], challenger["coverage"], challenger["mae"]
    checks = [
        Check(skill > settings.min_skill, f"skill {skill:+.3f} against the naive forecast"),
        Check(coverage >= settings.min_coverage, f"{coverage:.0%} of truths inside the band"),
    ]
    if champion is None:
        return [*checks, Check(True, "no champion to compare with")]
    limit = champion["mae"] * (1 + settings.max_error_growth)
    return [*checks, Check(error <= limit, f"mean error {error:.4g}, champion {champion['mae']:.4g}")]


def judge_detector(
    challenger: Mapping[str, float], champion: Mapping[str, float] | None, settings: GateSettings
) -> list[Check]:
    """Within the alarm budget, better than a plain robust z-score, and not blinder than the champion.

    What people said of real alarms weighs more than injected faults: a champion whose alarms were judged
    false loses to a challenger that would not have raised them, at the cost of some recall.
    """
    alarms, budget = challenger["false_alarms_per_day"], challenger["alarm_budget_per_day"]
    # Over a short judged window one or two alarms say nothing; three a window are always allowed.
    allowed = max(budget * settings.max_alarm_excess, 3 / max(challenger["judged_days"], 1e-9))
    recall, naive = challenger["recall_mean"], challenger["naive_recall_mean"]
    checks = [
        Check(alarms <= allowed, f"{alarms:.2g} false alarms a day, at most {allowed:.2g} allowed"),
        Check(
            recall >= naive - settings.max_recall_loss,
            f"finds {recall:.0%} of injected faults, a robust z-score {naive:.0%}",
        ),
    ]
    learned, lifetime = challenger.get("learned_days", inf), challenger.get("lifetime_days", 0.0)
    if reach_of(lifetime, learned_days=learned) > 0:
        told = f"the alarm budget is extrapolated: learned from {learned:.2g} days to serve {lifetime:.2g}"
        checks.append(Check(True, told))
    if champion is None:
        return [*checks, Check(True, "no champion to compare with")]
    before, cost = champion["recall_mean"], settings.max_recall_loss
    if is_righter(challenger, champion):
        cost = max(cost, settings.max_verdict_cost)
    return [
        *checks,
        *checks_of_verdicts(challenger, champion),
        Check(recall >= before - cost, f"finds {recall:.0%} of faults, champion {before:.0%}"),
    ]


def checks_of_verdicts(challenger: Mapping[str, float], champion: Mapping[str, float]) -> list[Check]:
    """What people confirmed is still caught, and what they called false is not raised more often."""
    checks = []
    if champion.get("verdicts_confirmed"):
        of, ours, theirs = (
            challenger["verdicts_confirmed"],
            challenger["verdicts_confirmed_caught"],
            champion["verdicts_confirmed_caught"],
        )
        told = f"catches {ours:.0f} of {of:.0f} confirmed anomalies, champion {theirs:.0f}"
        checks.append(Check(ours >= theirs, told))
    if champion.get("verdicts_false"):
        of, ours, theirs = (
            challenger["verdicts_false"],
            challenger["verdicts_false_raised"],
            champion["verdicts_false_raised"],
        )
        told = f"raises {ours:.0f} of {of:.0f} alarms judged false, champion {theirs:.0f}"
        if champion.get("alarms_false"):
            judged = champion["alarms_confirmed"] + champion["alarms_false"]
            told += f" ({champion['alarms_confirmed']:.0f} of its {judged:.0f} judged alarms were right)"
        checks.append(Check(ours <= theirs, told))
    return checks


def is_righter(challenger: Mapping[str, float], champion: Mapping[str, float]) -> bool:
    """Whether a challenger raises fewer of the alarms that were judged false, and catches what was right."""
    fewer = challenger.get("verdicts_false_raised", 0) < champion.get("verdicts_false_raised", 0)
    caught, before = (m.get("verdicts_confirmed_caught", 0) for m in (challenger, champion))
    return fewer and caught >= before
