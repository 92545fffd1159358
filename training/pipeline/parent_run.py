"""The parent run of a retraining: opened once, adopted after a crash, closed with a table of its sensors.

Knows which retraining is the same as one that was cut off, and what a cut-off one leaves behind. Trains
nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow.entities import Run

from training.common.times import iso, read_iso
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import Outcome, summary
from training.pipeline.plan import Plan
from training.pipeline.recording import sensor_table
from training.registry.publishing import Publisher, RunContent
from training.registry.tracking import OpenRun
from training.storage.leases import Owner
from training.workspace import Workspace

OWNER, SELECTION, AS_OF = "safeplan.owner", "safeplan.selection", "safeplan.as_of"


@dataclass(frozen=True)
class Retraining:
    """One parent run: the sensors of one kind that are trained together, as of one moment (naive UTC)."""

    kind: Kind
    run: OpenRun
    as_of: datetime

    @property
    def run_id(self) -> str:
        """The parent of its sensors' runs."""
        return self.run.run_id


def resume_or_start(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    kind: Kind,
    plan: Plan,
    *,
    as_of: datetime | None,
    fresh: bool,
) -> Retraining:
    """Go on with a retraining of the same sensors and plan whose process is gone, or begin one."""
    selection = _selection(sensors, kind, plan, as_of, fresh=fresh)
    tracker = workspace.tracker
    for run in tracker.unfinished(kind.experiment, {SELECTION: selection}):
        if Owner.parse(run.data.tags[OWNER]).is_gone():
            tracker.tag(run.info.run_id, **{OWNER: str(Owner.this_process())})
            _clean_up_children(workspace, kind, run)
            return Retraining(kind, OpenRun.of(run), read_iso(run.data.tags[AS_OF]))
    moment = as_of or datetime.now(UTC).replace(tzinfo=None)
    tags = {OWNER: str(Owner.this_process()), SELECTION: selection, AS_OF: iso(moment)}
    name = f"{len(sensors)} {kind}s as of {moment:%Y-%m-%d %H:%M}"
    return Retraining(kind, tracker.open(kind.experiment, name, tags), moment)


def finish_retraining(workspace: Workspace, retraining: Retraining, outcomes: list[Outcome]) -> None:
    """Write the table of all sensors and how many ended how, and finish the run."""
    content = RunContent(
        metrics={f"sensors_{status}": float(count) for status, count in summary(outcomes).items()},
        tables={"sensors": sensor_table(outcomes)} if outcomes else {},
    )
    Publisher(workspace.mlflow).log_content(retraining.run, content)
    workspace.tracker.finish(retraining.run_id)


def _selection(
    sensors: Sequence[Sensor], kind: Kind, plan: Plan, as_of: datetime | None, *, fresh: bool
) -> str:
    selection = [
        sorted(s.id for s in sensors),
        kind.value,
        plan.digest,
        plan.promotion.value,
        str(as_of),
        fresh,
    ]
    return hashlib.sha256(json.dumps(selection).encode()).hexdigest()[:16]


def _clean_up_children(workspace: Workspace, kind: Kind, parent: Run) -> None:
    """Remove child runs that were cut off before their version; a registered one is finished later."""
    tracker = workspace.tracker
    for child in tracker.unfinished(kind.experiment, {"mlflow.parentRunId": parent.info.run_id}):
        if workspace.registry.version_of_run(child.info.run_id) is None:
            tracker.discard(child.info.run_id)
        else:
            # The version is complete, or its fingerprint will be met again and it is completed then.
            tracker.finish(child.info.run_id)
