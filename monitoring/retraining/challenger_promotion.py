"""Succession: whether a challenger that passed the gate takes the champion's place, after both are replayed.

Knows what is compared of two replays, and that a human decides where the mode says so. Grades on held-out
readings are the gate's; the replay asks what the control room would have seen.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.retraining.replay import VersionReplay, replay
from training.common.users import current_user
from training.data.sensors import Sensor
from training.errors import DataError
from training.kinds import Kind, Promotion
from training.operations.promotion import promote_version
from training.outcomes import Outcome
from training.registry.model_registry import CHALLENGER, CHAMPION, ValidationStatus, Version
from training.workspace import Workspace

MAX_EXTRA_ALERTS = 1  # call more than the champion's is chance


@dataclass(frozen=True)
class ReplayComparison:
    """What two versions would have raised over the same past."""

    champion: VersionReplay
    challenger: VersionReplay

    @property
    def better(self) -> bool:
        """Catches what the champion catches, raises no more of what was false, and is hardly louder."""
        challenger, champion = self.challenger, self.champion
        return (
            set(champion.caught) <= set(challenger.caught)
            and len(challenger.raised) <= len(champion.raised)
            and challenger.alert_count <= champion.alert_count + MAX_EXTRA_ALERTS
        )

    def __str__(self) -> str:
        challenger, champion = self.challenger, self.champion
        text = (
            f"version {challenger.version} would have called {challenger.alert_count} times, "
            f"version {champion.version} {champion.alert_count}"
        )
        if challenger.confirmed:
            text += f"; of {len(challenger.confirmed)} confirmed events {len(challenger.caught)} and {len(champion.caught)}"
        if challenger.dismissed:
            text += f"; of {len(challenger.dismissed)} judged false {len(challenger.raised)} and {len(champion.raised)}"
        return f"{'as good' if self.better else 'worse'}: {text}"


def decide_promotion(
    workspace: Workspace, sensor: Sensor, *, mode: Promotion, past: timedelta, now: datetime
) -> Outcome | None:
    """Replay a detector's challenger beside the champion, write down what came of it, and promote it or not.

    None where no challenger waits that the gate let pass, or nothing serves yet. Again changes nothing.
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
        return _leave_waiting(workspace, challenger, f"not replayed: {error}")
    comparison = ReplayComparison(champion_replay, challenger_replay)
    if not comparison.better or mode is Promotion.MANUAL:
        return _leave_waiting(workspace, challenger, str(comparison))
    registry.tag(challenger, replay=str(comparison))
    outcome = promote_version(
        workspace,
        sensor,
        Kind.DETECTOR,
        number=challenger.number,
        who=f"{current_user()}, by gate and replay",
        now=now,
    )
    return Outcome(**{**vars(outcome), "detail": {**outcome.detail, "replay": str(comparison)}})


def _leave_waiting(workspace: Workspace, challenger: Version, comparison_text: str) -> Outcome:
    workspace.registry.tag(challenger, replay=comparison_text)
    return Outcome(
        sensor_id=challenger.sensor_id,
        kind=Kind.DETECTOR,
        status="waiting",
        model=challenger.name,
        version=challenger.number,
        alias=CHALLENGER,
        detail={"gate": challenger.tags["gate"], "replay": comparison_text},
    )
