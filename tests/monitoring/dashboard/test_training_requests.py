"""A training started on the page continues without the page, with its progress in the database."""

import os
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from monitoring.dashboard import background_training
from monitoring.dashboard.training_requests import (
    Training,
    TrainingRequest,
    TrainingStore,
    seconds_left,
    start_training,
)
from tests.support.workspaces import ingest_readings, parse_time
from training.errors import ConfigurationError
from training.kinds import Kind, Promotion
from training.outcomes import Outcome, OutcomeStatus
from training.storage.leases import Owner

NOON = parse_time("2026-01-31T12:00")
REQUEST = TrainingRequest(("PT-1", "PT-2"), (Kind.DETECTOR, Kind.FORECASTER), trials=2)


@pytest.fixture
def training_store(engine):
    return TrainingStore(engine)


def outcome(sensor_id="PT-1", kind=Kind.DETECTOR, **fields):
    return Outcome(sensor_id, kind, **{"status": OutcomeStatus.PROMOTED, "version": 1, **fields})


def dead_process() -> Owner:
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return Owner(Owner.this_process().host, process.pid, "1")


def test_a_request_is_stored_with_its_user_and_read_back(training_store):
    request = TrainingRequest(("PT-1",), (Kind.FORECASTER,), trials=7, promotion=Promotion.MANUAL, fresh=True)

    made = training_store.add(request, by="ana", now=NOON)

    assert training_store.newest() == [made]
    assert (made.total, made.done, made.started_by, made.request) == (1, 0, "ana", request)


def test_progress_counts_the_stored_outcomes(training_store):
    training = training_store.add(REQUEST, by="ana", now=NOON)

    training_store.record_outcome(training.id, outcome(detail={"gate": "passed: skill +0.2"}), now=NOON)
    training_store.record_outcome(
        training.id, outcome("PT-2", status=OutcomeStatus.FAILED, version=None, error="12 good"), now=NOON
    )

    assert training_store.training(training.id).done == 2
    first, second = training_store.outcomes(training.id)
    assert (first["sensor_id"], first["kind"], first["gate"]) == ("PT-1", "detector", "passed: skill +0.2")
    assert (second["status"], second["error"]) == ("failed", "12 good")


def test_trainings_do_not_mix_their_outcomes(training_store):
    one, other = (
        training_store.add(REQUEST, by="ana", now=NOON),
        training_store.add(REQUEST, by="ole", now=NOON),
    )

    training_store.record_outcome(other.id, outcome(), now=NOON)

    assert [training.done for training in training_store.newest()] == [1, 0]
    assert training_store.outcomes(one.id) == []


def test_nothing_to_train_is_refused(training_store):
    with pytest.raises(ConfigurationError, match="select at least one"):
        training_store.add(TrainingRequest((), (Kind.DETECTOR,)), by="ana", now=NOON)


def test_an_unknown_training_is_an_error(training_store):
    with pytest.raises(ConfigurationError, match="no training with the id 7"):
        training_store.training(7)


def test_a_training_is_running_while_its_process_lives_and_until_it_has_finished(training_store):
    training = training_store.add(REQUEST, by="ana", now=NOON)

    assert training.is_running(NOON)
    assert not training.is_running(NOON + timedelta(minutes=2)), "its process has not started"
    claimed = training_store.claim(training.id, Owner.this_process())
    assert claimed.is_running(NOON + timedelta(days=1))
    assert not training_store.claim(training.id, dead_process()).is_running(NOON)
    training_store.finish(training.id, now=NOON)
    assert not training_store.training(training.id).is_running(NOON)


def test_the_time_left_is_estimated_from_the_models_done():
    training = Training(1, REQUEST, 4, NOON, "ana")
    later = NOON + timedelta(seconds=30)

    assert seconds_left(training, later) is None
    assert seconds_left(Training(1, REQUEST, 4, NOON, "ana", done=1), later) == 90


def test_a_second_training_waits_for_the_first(training_store, tmp_path):
    first = training_store.add(REQUEST, by="ana", now=NOON)
    training_store.claim(first.id, Owner.this_process())

    with pytest.raises(ConfigurationError, match="a training started by ana at 12:00 UTC is in progress"):
        start_training(training_store, REQUEST, by="ole", now=NOON, logs=tmp_path)
    assert len(training_store.newest()) == 1


def test_the_process_trains_as_the_command_does_and_stores_each_outcome(
    workspace, training_stub, monkeypatch
):
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "-9")
    monkeypatch.setenv("SAFEPLAN_GATE_MAX_RECALL_LOSS", "1")
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_RECALL", "0")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", 12)
    store = TrainingStore(workspace.engine)
    training = store.add(REQUEST, by="ana", now=NOON)

    background_training.run_training(workspace, training.id)

    ended = store.training(training.id)
    assert (ended.done, ended.error) == (4, None)
    assert ended.finished_at is not None
    result = {(row["sensor_id"], row["kind"]): row["status"] for row in store.outcomes(training.id)}
    assert result["PT-1", "detector"] == "promoted"
    assert result["PT-2", "detector"] == "failed"
    assert workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1


def test_a_training_that_fails_as_a_whole_stores_the_error(workspace):
    ingest_readings(workspace, "PT-1")
    store = TrainingStore(workspace.engine)
    training = store.add(TrainingRequest(("PT-9",), (Kind.DETECTOR,)), by="ana", now=NOON)

    background_training.run_training(workspace, training.id)

    assert "There is no sensor PT-9" in store.training(training.id).error


def test_an_interrupted_training_stores_the_exception(workspace, monkeypatch):
    ingest_readings(workspace, "PT-1")
    store = TrainingStore(workspace.engine)
    training = store.add(TrainingRequest(("PT-1",), (Kind.DETECTOR,)), by="ana", now=NOON)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(background_training, "train_fleet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        background_training.run_training(workspace, training.id)

    assert store.training(training.id).error.startswith("KeyboardInterrupt")


@pytest.mark.slow
def test_a_training_runs_in_a_process_of_its_own(workspace, monkeypatch):
    """A sensor with too few readings fails quickly."""
    ingest_readings(workspace, "PT-1", 12)
    store = TrainingStore(workspace.engine)

    started = start_training(
        store,
        TrainingRequest(("PT-1",), (Kind.DETECTOR,)),
        by="ana",
        now=NOON,
        logs=workspace.home / ".safeplan" / "trainings",
    )
    deadline = time.monotonic() + 300
    while store.training(started.id).finished_at is None and time.monotonic() < deadline:
        time.sleep(0.2)

    ended = store.training(started.id)
    assert ended.error is None
    assert "12 good readings" in store.outcomes(started.id)[0]["error"]
    assert Owner.parse(ended.owner).pid != os.getpid()
