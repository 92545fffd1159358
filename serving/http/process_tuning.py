"""Settings of a process that answers requests: threads, garbage collection, registry timeouts, metrics.

Called by entry points before they build a `FleetService`. Constructing objects changes none of these.
"""

import gc
import os
import sys

from prometheus_client import disable_created_metrics

from training.common.gc_tuning import freeze_objects, reduce_gc_frequency

# By default MLflow's client waits 120 s for an answer and tries seven times: an outage of the registry of
# 15 s would stop the poller for minutes.
MLFLOW_CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}

# Seconds until a computing thread releases the GIL. Loading a version waits for the network or the disk about
# thirty times; under load it would wait for the GIL after each, 5 ms with Python's default.
SWITCH_INTERVAL_SECONDS = 0.001


def tune_server_process() -> None:
    """Tune this process for answering requests; values set in the environment win."""
    limit_registry_waits()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    reduce_gc_frequency()  # one large answer creates ten times as many objects as Python's default threshold
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter


def limit_registry_waits() -> None:
    """Make MLflow's client give up after seconds; values set in the environment win."""
    for name, value in MLFLOW_CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def exclude_models_from_gc() -> None:
    """Leave the loaded models out of later collections: one over a fleet takes 0.2 s, without any answer."""
    gc.collect()
    freeze_objects()
