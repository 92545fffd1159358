"""Process of a training started on the page: `python -m monitoring.dashboard.background_training ID`.

Trains as `safeplan train` does and stores each outcome. The process is started in `training_requests`.
"""

import logging
import sys

from monitoring.dashboard.training_requests import TrainingStore
from training.common.clock import utc_now
from training.data.sensor_store import load_fleet
from training.errors import SafePlanError
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.storage.leases import Owner
from training.workspace import Workspace

log = logging.getLogger("safeplan.page")


def run_training(workspace: Workspace, training_id: int) -> None:
    """Run one training to its end; store each outcome, and the error that ended it early."""
    store = TrainingStore(workspace.engine)
    training = store.claim(training_id, Owner.this_process())
    request = training.request
    try:
        fleet = load_fleet(workspace.engine)
        train_fleet(
            workspace,
            [fleet.sensor(sensor_id) for sensor_id in request.sensor_ids],
            request.kinds,
            Plan.from_conf(trials=request.trials, promotion=request.promotion),
            fresh=request.fresh,
            watch=lambda outcome: store.record_outcome(training_id, outcome, now=utc_now()),
        )
    except SafePlanError as error:
        store.finish(training_id, now=utc_now(), error=str(error))
        return
    # The page shows that it ended, the log shows why.
    except BaseException as error:
        log.exception("training %d was interrupted", training_id)
        store.finish(training_id, now=utc_now(), error=f"{type(error).__name__}: {error}")
        raise
    store.finish(training_id, now=utc_now())


if __name__ == "__main__":
    run_training(Workspace.here(), int(sys.argv[1]))
