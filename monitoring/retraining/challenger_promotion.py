"""Decide whether a challenger that passed the gate replaces the champion, after both replayed the same past.

The gate (`training.evaluation.gate`) compares metrics on held-out readings; the replay compares the alerts
that the control room would have seen. Replaying is in `replay`, moving aliases in
`training.operations.promotion`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring.retraining.replay import VersionReplay, replay
from training.common.users import current_user
from training.data.sensors import Sensor
from training.errors import DataError
from training.kinds import Kind, Promotion
from training.operations.promotion import promote_version
from training.outcomes import Outcome, OutcomeStatus
from training.reasons import Reason, ReasonCode, dump_reasons, render
from training.registry.model_registry import CHALLENGER, CHAMPION, ValidationStatus, Version
from training.workspace import Workspace

MAX_EXTRA_ALERTS = 1  # more than the champion raises; one is chance


@dataclass(frozen=True)
class ReplayComparison:
    """The alerts that two versions would have raised over the same past."""

    champion: VersionReplay
    challenger: VersionReplay

    @property
    def is_as_good(self) -> bool:
        """Finds every event the champion finds, repeats no more dismissed ones, and hardly alerts more."""
        challenger, champion = self.challenger, self.champion
        return (
            set(champion.caught) <= set(challenger.caught)
            and len(challenger.raised) <= len(champion.raised)
            and challenger.alert_count <= champion.alert_count + MAX_EXTRA_ALERTS
        )

    @property
    def reason(self) -> Reason:
        """The result and the counts it rests on."""
        challenger, champion = self.challenger, self.champion
        counts = {
            "challenger": challenger.version,
            "alerts": challenger.alert_count,
            "champion": champion.version,
            "champion_alerts": champion.alert_count,
        }
        reasons = [Reason(ReasonCode.REPLAY_ALERTS, counts)]
        if challenger.confirmed:
            counts = {
                "caught": len(challenger.caught),
                "confirmed": len(challenger.confirmed),
                "champion": len(champion.caught),
            }
            reasons.append(Reason(ReasonCode.REPLAY_CONFIRMED, counts))
        if challenger.dismissed:
            counts = {
                "raised": len(challenger.raised),
                "dismissed": len(challenger.dismissed),
                "champion": len(champion.raised),
            }
            reasons.append(Reason(ReasonCode.REPLAY_DISMISSED, counts))
        code = ReasonCode.REPLAY_AS_GOOD if self.is_as_good else ReasonCode.REPLAY_WORSE
        return Reason(code, {"reasons": reasons})


def decide_promotion(
    workspace: Workspace, sensor: Sensor, *, mode: Promotion, past: timedelta, now: datetime
) -> Outcome | None:
    """Replay a detector's challenger and champion, tag the challenger with the result, and promote it or not.

    None if there is no challenger that passed the gate, or no champion. Idempotent.
    """
    registry = workspace.registry
    champion = registry.find(sensor.id, Kind.DETECTOR, CHAMPION)
    challenger = registry.find(sensor.id, Kind.DETECTOR, CHALLENGER)
    if champion is None or challenger is None or challenger.validation_status is not ValidationStatus.PASSED:
        return None
    try:
        champion_replay, challenger_replay = replay(
            workspace, sensor, [champion, challenger], now - past, now
        )
    except DataError as error:
        reason = Reason(ReasonCode.REPLAY_IMPOSSIBLE, {"error": str(error)})
        return _leave_waiting(workspace, challenger, reason)
    comparison = ReplayComparison(champion_replay, challenger_replay)
    if not comparison.is_as_good or mode is Promotion.MANUAL:
        return _leave_waiting(workspace, challenger, comparison.reason)
    _tag_replay(workspace, challenger, comparison.reason)
    outcome = promote_version(
        workspace,
        sensor,
        Kind.DETECTOR,
        number=challenger.number,
        who=f"{current_user()}, by gate and replay",
        now=now,
    )
    detail = {**outcome.detail, "replay": render(comparison.reason)}
    return replace(outcome, detail=detail)


def _leave_waiting(workspace: Workspace, challenger: Version, reason: Reason) -> Outcome:
    _tag_replay(workspace, challenger, reason)
    detail = {"gate": challenger.tags["gate"], "replay": render(reason)}
    return challenger.outcome(OutcomeStatus.WAITING, CHALLENGER, detail=detail)


def _tag_replay(workspace: Workspace, challenger: Version, reason: Reason) -> None:
    reasons = dump_reasons([reason]) or ""
    workspace.registry.tag(challenger, replay=render(reason), replay_reasons=reasons)
