"""The parent run of a retraining: start it, resume it after a crash, finish it with a table of its sensors.

A retraining resumes another one of the same sensors and plan whose process has ended. Does not train; that is
`training.pipeline.fleet`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlflow.entities import Run

from training.common.clock import utc_now
from training.common.times import iso, read_iso
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import Outcome, summary
from training.pipeline.plan import Plan
from training.pipeline.recording import sensor_table
from training.registry.mlflow_adapter import PARENT_RUN_TAG
from training.registry.publishing import Publisher, RunContent
from training.registry.tracking import OpenRun
from training.storage.leases import Owner
from training.workspace import Workspace

OWNER, SELECTION, AS_OF = "safeplan.owner", "safeplan.selection", "safeplan.as_of"


@dataclass(frozen=True)
class Retraining:
    """One parent run: sensors whose models of one kind are trained together, as of one time (naive UTC)."""

    kind: Kind
    run: OpenRun
    as_of: datetime

    @property
    def run_id(self) -> str:
        """The id of the parent run."""
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
    """Resume a retraining of the same sensors and plan whose process has ended, or start a new one."""
    selection = _selection(sensors, kind, plan, as_of, fresh=fresh)
    tracker = workspace.tracker
    for run in tracker.unfinished(kind.experiment, {SELECTION: selection}):
        if Owner.parse(run.data.tags[OWNER]).is_gone():
            tracker.tag(run.info.run_id, **{OWNER: str(Owner.this_process())})
            _clean_up_children(workspace, kind, run)
            return Retraining(kind, OpenRun.of(run), read_iso(run.data.tags[AS_OF]))
    moment = as_of or utc_now()
    tags = {OWNER: str(Owner.this_process()), SELECTION: selection, AS_OF: iso(moment)}
    name = f"{len(sensors)} {kind}s as of {moment:%Y-%m-%d %H:%M}"
    return Retraining(kind, tracker.open(kind.experiment, name, tags), moment)


def finish_retraining(workspace: Workspace, retraining: Retraining, outcomes: list[Outcome]) -> None:
    """Write the table of all sensors and the count of each status, and finish the run."""
    content = RunContent(
        metrics={f"sensors_{status}": float(count) for status, count in summary(outcomes).items()},
        tables={"sensors": sensor_table(outcomes)} if outcomes else {},
    )
    Publisher(workspace.mlflow).log_content(retraining.run, content)
    workspace.tracker.finish(retraining.run_id)


def _selection(
    sensors: Sequence[Sensor], kind: Kind, plan: Plan, as_of: datetime | None, *, fresh: bool
) -> str:
    ids = sorted(sensor.id for sensor in sensors)
    selection = [ids, kind.value, plan.digest, plan.promotion.value, str(as_of), fresh]
    return hashlib.sha256(json.dumps(selection).encode()).hexdigest()[:16]


def _clean_up_children(workspace: Workspace, kind: Kind, parent: Run) -> None:
    """Remove child runs that were interrupted before they registered a version; finish the others."""
    tracker = workspace.tracker
    for child in tracker.unfinished(kind.experiment, {PARENT_RUN_TAG: parent.info.run_id}):
        if workspace.registry.version_of_run(child.info.run_id) is None:
            tracker.discard(child.info.run_id)
        else:
            # A version that is incomplete is completed when this retraining reaches its sensor.
            tracker.finish(child.info.run_id)
