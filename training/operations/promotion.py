"""Promotion and roll-back by hand: the same aliases that a click in the MLflow UI moves.

Knows what the gate said when the version was registered, and that every move goes into the audit. Leaves
judging to `gate` and aliases to `registry`.
"""

from datetime import UTC, datetime

from training.common.users import current_user
from training.data.sensors import Sensor
from training.errors import GateRefused, NoChampion
from training.kinds import Kind
from training.outcomes import Outcome
from training.registry.audit import PROMOTED, ROLLED_BACK, AuditEntry, record_entry
from training.registry.model_registry import CHALLENGER, CHAMPION, Version
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
    verdict = version.tags.get("gate", "refused: it was never judged")
    if not version.gate_passed and not anyway:
        raise GateRefused(f"{version.uri}: {verdict}. Promote it all the same with --anyway.")
    before = workspace.registry.find(sensor.id, kind, CHAMPION)
    workspace.registry.promote(version)
    _audit_move(workspace, PROMOTED, version, before, who, now, gate=verdict, anyway=anyway)
    return _outcome(version, "promoted")


def roll_back(
    workspace: Workspace,
    sensor: Sensor,
    kind: Kind,
    *,
    who: str | None = None,
    now: datetime | None = None,
) -> Outcome:
    """Return to the champion before; `who` is the user of this process if not given.

    Raises:
        NoChampion: there is none.
    """
    before = workspace.registry.find(sensor.id, kind, CHAMPION)
    version = workspace.registry.rollback(sensor.id, kind)
    _audit_move(workspace, ROLLED_BACK, version, before, who, now)
    return _outcome(version, "rolled back")


def _select_version(workspace: Workspace, sensor: Sensor, kind: Kind, number: int | None) -> Version:
    registry = workspace.registry
    if number is not None:
        return registry.version(registry.name(sensor.id, kind), number)
    challenger = registry.find(sensor.id, kind, CHALLENGER)
    if challenger is None:
        raise NoChampion(
            f"{sensor.id} has no {kind} waiting to be promoted. See: safeplan status '{sensor.id}'"
        )
    return challenger


def _audit_move(
    workspace: Workspace,
    action: str,
    version: Version,
    before: Version | None,
    who: str | None,
    now: datetime | None,
    **more: object,
) -> None:
    entry = AuditEntry(
        now or datetime.now(UTC),
        who or current_user(),
        action,
        version.sensor_id,
        version.name,
        version.number,
        {"before": None if before is None else before.number, **more},
    )
    record_entry(workspace.engine, entry)


def _outcome(version: Version, status: str) -> Outcome:
    return Outcome(
        sensor_id=version.sensor_id,
        kind=version.kind,
        status=status,
        model=version.name,
        version=version.number,
        alias=CHAMPION,
        detail={"gate": version.tags.get("gate", "")},
    )
