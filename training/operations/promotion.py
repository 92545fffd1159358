"""Promote a version or roll back to the previous champion, and record it in the audit log.

Moves the same aliases as the MLflow UI. The gate decided when the version was registered
(`training.evaluation.gate`); here its decision is only read.
"""

from datetime import datetime

from training.common.clock import utc_now
from training.common.users import current_user
from training.data.sensors import Sensor
from training.errors import GateRefused, NoChampion
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus
from training.registry.audit import PROMOTED, ROLLED_BACK, AuditEntry, record_entry
from training.registry.model_registry import CHALLENGER, CHAMPION, Version, gate_detail
from training.workspace import Workspace


def promote_version(
    workspace: Workspace,
    sensor: Sensor,
    kind: Kind,
    *,
    number: int | None = None,
    anyway: bool = False,
    who: str | None = None,
    now: datetime | None = None,
) -> Outcome:
    """Make a version, or the challenger, the champion; `who` is the user of this process if not given.

    Raises:
        GateRefused: the gate refused this version when it was trained, and `anyway` is not set.
        NoChampion: there is no challenger, and no number was given.
    """
    version = _select_version(workspace, sensor, kind, number)
    decision = version.tags.get("gate", "the gate has not checked it")
    if not version.gate_passed and not anyway:
        raise GateRefused(f"{version.uri}: {decision}. To promote it nevertheless, use --anyway.")
    before = workspace.registry.find(sensor.id, kind, CHAMPION)
    workspace.registry.promote(version)
    reasons = version.tags.get("gate_reasons")
    _audit_move(
        workspace, PROMOTED, version, before, who, now, gate=decision, gate_reasons=reasons, anyway=anyway
    )
    return version.outcome(OutcomeStatus.PROMOTED, CHAMPION, detail=gate_detail(version))


def roll_back(
    workspace: Workspace,
    sensor: Sensor,
    kind: Kind,
    *,
    who: str | None = None,
    now: datetime | None = None,
) -> Outcome:
    """Make the previous champion the champion again; `who` is the user of this process if not given.

    Raises:
        NoChampion: there is no champion, or no previous one.
    """
    before = workspace.registry.find(sensor.id, kind, CHAMPION)
    version = workspace.registry.rollback(sensor.id, kind)
    _audit_move(workspace, ROLLED_BACK, version, before, who, now)
    return version.outcome(OutcomeStatus.ROLLED_BACK, CHAMPION, detail=gate_detail(version))


def _select_version(workspace: Workspace, sensor: Sensor, kind: Kind, number: int | None) -> Version:
    registry = workspace.registry
    if number is not None:
        return registry.version(registry.name(sensor.id, kind), number)
    challenger = registry.find(sensor.id, kind, CHALLENGER)
    if challenger is None:
        raise NoChampion(
            f"{sensor.id} has no {kind} challenger to promote. See: safeplan status '{sensor.id}'"
        )
    return challenger


def _audit_move(
    workspace: Workspace,
    action: str,
    version: Version,
    before: Version | None,
    who: str | None,
    now: datetime | None,
    **detail: object,
) -> None:
    entry = AuditEntry(
        now or utc_now(),
        who or current_user(),
        action,
        version.sensor_id,
        version.name,
        version.number,
        {"before": None if before is None else before.number, **detail},
    )
    record_entry(workspace.engine, entry)
