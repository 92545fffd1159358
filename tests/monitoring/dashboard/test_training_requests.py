"""A training started on the page goes on without the page, and its progress is in the database."""

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
from training.outcomes import Outcome
from training.storage.leases import Owner

NOON = parse_time("2026-01-31T12:00")
WISH = TrainingRequest(("PT-1", "PT-2"), (Kind.DETECTOR, Kind.FORECASTER), trials=2)


@pytest.fixture
def training_store(engine):
    return TrainingStore(engine)


def outcome(sensor_id="PT-1", kind=Kind.DETECTOR, **said):
    return Outcome(sensor_id, kind, **{"status": "promoted", "version": 1, **said})


def gone() -> Owner:
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return Owner(Owner.this_process().host, process.pid, "1")


def test_a_wish_is_kept_with_who_asked_and_comes_back_whole(training_store):
    wish = TrainingRequest(("PT-1",), (Kind.FORECASTER,), trials=7, promotion=Promotion.MANUAL, fresh=True)

    made = training_store.add(wish, by="ana", now=NOON)

    assert training_store.newest() == [made]
    assert (made.total, made.done, made.started_by, made.request) == (1, 0, "ana", wish)


def test_progress_is_counted_as_outcomes_are_noted(training_store):
    training = training_store.add(WISH, by="ana", now=NOON)

    training_store.note(training.id, outcome(detail={"gate": "passed: skill +0.2"}), now=NOON)
    training_store.note(
        training.id, outcome("PT-2", status="failed", version=None, error="12 good"), now=NOON
    )

    assert training_store.training(training.id).done == 2
    first, second = training_store.outcomes(training.id)
    assert (first["sensor_id"], first["kind"], first["gate"]) == ("PT-1", "detector", "passed: skill +0.2")
    assert (second["status"], second["error"]) == ("failed", "12 good")


def test_trainings_do_not_mix_their_outcomes(training_store):
    one, other = training_store.add(WISH, by="ana", now=NOON), training_store.add(WISH, by="ole", now=NOON)

    training_store.note(other.id, outcome(), now=NOON)

    assert [training.done for training in training_store.newest()] == [1, 0]
    assert training_store.outcomes(one.id) == []


def test_nothing_to_train_is_refused(training_store):
    with pytest.raises(ConfigurationError, match="at least one sensor"):
        training_store.add(TrainingRequest((), (Kind.DETECTOR,)), by="ana", now=NOON)


def test_a_training_that_nobody_asked_for_is_not_there(training_store):
    with pytest.raises(ConfigurationError, match="No training has the id 7"):
        training_store.training(7)


def test_a_training_runs_while_its_process_lives_and_until_it_has_ended(training_store):
    training = training_store.add(WISH, by="ana", now=NOON)

    assert training.is_running(NOON)
    assert not training.is_running(NOON + timedelta(minutes=2)), "its process never came"
    taken = training_store.take(training.id, Owner.this_process())
    assert taken.is_running(NOON + timedelta(days=1))
    assert not training_store.take(training.id, gone()).is_running(NOON)
    training_store.finish(training.id, now=NOON)
    assert not training_store.training(training.id).is_running(NOON)


def test_the_time_left_is_told_by_the_part_done():
    training = Training(1, WISH, 4, NOON, "ana")
    later = NOON + timedelta(seconds=30)

    assert seconds_left(training, later) is None
    assert seconds_left(Training(1, WISH, 4, NOON, "ana", done=1), later) == 90


def test_a_second_training_waits_for_the_first(training_store, tmp_path):
    first = training_store.add(WISH, by="ana", now=NOON)
    training_store.take(first.id, Owner.this_process())

    with pytest.raises(ConfigurationError, match="ana started a training at 12:00"):
        start_training(training_store, WISH, by="ole", now=NOON, logs=tmp_path)
    assert len(training_store.newest()) == 1


def test_the_process_trains_as_the_command_does_and_notes_each_outcome(workspace, training_stub, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "-9")
    monkeypatch.setenv("SAFEPLAN_GATE_MAX_RECALL_LOSS", "1")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", 12)
    store = TrainingStore(workspace.engine)
    training = store.add(WISH, by="ana", now=NOON)

    background_training.run_training(workspace, training.id)

    ended = store.training(training.id)
    assert (ended.done, ended.error) == (4, None)
    assert ended.finished_at is not None
    result = {(row["sensor_id"], row["kind"]): row["status"] for row in store.outcomes(training.id)}
    assert result["PT-1", "detector"] == "promoted"
    assert result["PT-2", "detector"] == "failed"
    assert workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1


def test_a_training_that_cannot_be_done_says_why(workspace):
    ingest_readings(workspace, "PT-1")
    store = TrainingStore(workspace.engine)
    training = store.add(TrainingRequest(("PT-9",), (Kind.DETECTOR,)), by="ana", now=NOON)

    background_training.run_training(workspace, training.id)

    assert "No sensor is called PT-9" in store.training(training.id).error


def test_a_training_that_is_cut_off_says_so(workspace, monkeypatch):
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
def test_the_process_outlives_nobody_and_is_told_who_started_it(workspace, monkeypatch):
    """Really another process: a sensor with too few readings fails quickly, in its own words."""
    ingest_readings(workspace, "PT-1", 12)
    store = TrainingStore(workspace.engine)

    begun = start_training(
        store,
        TrainingRequest(("PT-1",), (Kind.DETECTOR,)),
        by="ana",
        now=NOON,
        logs=workspace.home / ".safeplan" / "trainings",
    )
    until = time.monotonic() + 120
    while store.training(begun.id).finished_at is None and time.monotonic() < until:
        time.sleep(0.2)

    ended = store.training(begun.id)
    assert ended.error is None
    assert "12 good readings" in store.outcomes(begun.id)[0]["error"]
    assert Owner.parse(ended.owner).pid != os.getpid()
