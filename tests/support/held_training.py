"""A dashboard whose trainings wait for the test: `python -m tests.support.held_training dashboard ...`.

A training process started by it claims its training and then waits until the file `release-training` exists
in SAFEPLAN_HOME: a training is in progress for exactly as long as the test needs, on any machine.
"""

import sys
import time

import safeplan
from monitoring.dashboard import training_requests
from monitoring.dashboard.background_training import run_training
from training.storage.leases import Owner
from training.workspace import Workspace

RELEASE_FILE = "release-training"


def run_held_training(training_id: int) -> None:
    """Claim a training, wait for the test, train."""
    workspace = Workspace.here()
    training_requests.TrainingStore(workspace.engine).claim(training_id, Owner.this_process())
    while not (workspace.home / RELEASE_FILE).exists():
        time.sleep(0.1)
    run_training(workspace, training_id)


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        run_held_training(int(sys.argv[1]))
    else:
        training_requests.PROCESS_MODULE = "tests.support.held_training"
        safeplan.main()
