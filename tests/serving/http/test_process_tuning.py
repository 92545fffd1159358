"""Entry points tune the process; constructing the service does not."""

import gc
import os
import subprocess
import sys

import pytest

from serving.http import process_tuning
from serving.scoring.fleet_service import FleetService


def process_state():
    return sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count(), dict(os.environ)


def test_constructing_and_warming_a_service_leaves_the_process_as_it_is(trained_workspace):
    trained_workspace.registry.listings()  # MLflow's client sets environment variables at its first call
    before = process_state()

    service = FleetService(trained_workspace)
    service.warm_up()
    service.close()

    assert process_state() == before


def test_a_tuned_process_switches_threads_early_and_collects_rarely():
    program = (
        "import gc, os, sys; from serving.http.process_tuning import tune_server_process;"
        "tune_server_process();"
        "print(sys.getswitchinterval(), gc.get_threshold()[0], os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    )

    output = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60)

    interval, threshold, timeout = output.split()
    assert float(interval) == pytest.approx(process_tuning.SWITCH_INTERVAL_SECONDS)
    assert (threshold, timeout) == ("20000", "5")


def test_only_a_tuned_process_leaves_out_the_creation_times_of_counters():
    """Importing our metrics must not change those of another program in the same process."""
    program = (
        "from prometheus_client import CollectorRegistry, Counter, generate_latest;"
        "from serving.http import metrics, process_tuning;"
        "registry = CollectorRegistry(); Counter('rows', 'Rows.', registry=registry);"
        "shown = lambda: b'rows_created' in generate_latest(registry);"
        "before = shown(); process_tuning.tune_server_process(); print(before, shown())"
    )

    output = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60)

    assert output.split() == ["True", "False"]


def test_a_timeout_in_the_environment_wins(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"):
        monkeypatch.setenv(name, "3")

    process_tuning.limit_registry_waits()

    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_loaded_models_are_excluded_from_collections_once_warm(service):
    calls = []

    service.warm_up(lambda: calls.append(service.warm))

    assert calls == [False]
    assert service.warm
