"""Succession: whether a challenger that passed the gate takes the champion's place, after both are replayed.

Knows what is compared of two replays, and that a human decides where the mode says so. Grades on held-out
readings are the gate's; the replay asks what the control room would have seen.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.retraining.replay import Replay, replay
from training.common.users import current_user
from training.data.sensors import Sensor
from training.errors import DataError
from training.kinds import Kind, Promotion
from training.operations.promotion import promote_version
from training.outcomes import Outcome
from training.pipeline.recording import PASSED
from training.registry.model_registry import CHALLENGER, CHAMPION, Version
from training.workspace import Workspace

MORE = 1  # call more than the champion's is chance


@dataclass(frozen=True)
class Comparison:
    """What two versions would have raised over the same past."""

    champion: Replay
    challenger: Replay

    @property
    def better(self) -> bool:
        """Catches what the champion catches, raises no more of what was false, and is hardly louder."""
        ours, theirs = self.challenger, self.champion
        return (
            set(theirs.caught) <= set(ours.caught)
            and len(ours.raised) <= len(theirs.raised)
            and ours.calls <= theirs.calls + MORE
        )

    def __str__(self) -> str:
        ours, theirs = self.challenger, self.champion
        told = (
            f"version {ours.version} would have called {ours.calls} times, "
            f"version {theirs.version} {theirs.calls}"
        )
        if ours.confirmed:
            told += f"; of {len(ours.confirmed)} confirmed events {len(ours.caught)} and {len(theirs.caught)}"
        if ours.dismissed:
            told += f"; of {len(ours.dismissed)} judged false {len(ours.raised)} and {len(theirs.raised)}"
        return f"{'as good' if self.better else 'worse'}: {told}"


def settle(
    workspace: Workspace, sensor: Sensor, *, mode: Promotion, past: timedelta, now: datetime
) -> Outcome | None:
    """Replay a detector's challenger beside the champion, write down what came of it, and promote it or not.

    None where no challenger waits that the gate let pass, or nothing serves yet. Again changes nothing.
    """
    registry = workspace.registry
    champion = registry.find(sensor.id, Kind.DETECTOR, CHAMPION)
    challenger = registry.find(sensor.id, Kind.DETECTOR, CHALLENGER)
    if champion is None or challenger is None or challenger.tags.get("validation_status") != PASSED:
        return None
    try:
        theirs, ours = replay(workspace, sensor, [champion, challenger], now - past, now)
    except DataError as error:
        return _waiting(workspace, challenger, f"not replayed: {error}")
    found = Comparison(theirs, ours)
    if not found.better or mode is Promotion.MANUAL:
        return _waiting(workspace, challenger, str(found))
    registry.tag(challenger, replay=str(found))
    outcome = promote_version(
        workspace,
        sensor,
        Kind.DETECTOR,
        number=challenger.number,
        who=f"{current_user()}, by gate and replay",
        now=now,
    )
    return Outcome(**{**vars(outcome), "detail": {**outcome.detail, "replay": str(found)}})


def _waiting(workspace: Workspace, challenger: Version, told: str) -> Outcome:
    workspace.registry.tag(challenger, replay=told)
    return Outcome(
        sensor_id=challenger.sensor_id,
        kind=Kind.DETECTOR,
        status="waiting",
        model=challenger.name,
        version=challenger.number,
        alias=CHALLENGER,
        detail={"gate": challenger.tags["gate"], "replay": told},
    )
