"""Training a fleet: every sensor ends in one outcome, and an interrupted retraining is resumed."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from sqlalchemy import insert, select

from tests.support.workspaces import START, ingest_readings, parse_time
from training.data.sensor_store import load_fleet
from training.errors import NotTrainable, RegistryError
from training.kinds import Kind, Promotion
from training.outcomes import OutcomeStatus
from training.pipeline import parent_run
from training.pipeline.fleet import train_fleet
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ValidationStatus
from training.storage.database import leases, reading, writing
from training.storage.leases import Owner, lease

BOTH = list(Kind)


@pytest.fixture
def train(workspace, plan, training_stub):
    """A function that trains sensors and returns their outcomes by sensor and kind."""

    def run(*names, kinds=BOTH, promotion=Promotion.MANAGED, jobs=1, **options):
        outcomes = train_fleet(
            workspace,
            load_fleet(workspace.engine).match(names),
            kinds,
            replace(plan, promotion=promotion),
            jobs=jobs,
            **options,
        )
        result = {(outcome.sensor_id, outcome.kind): outcome for outcome in outcomes}
        assert len(result) == len(outcomes)
        return result

    return run


def runs(workspace, kind=Kind.FORECASTER):
    experiment = workspace.tracker.experiment(kind.experiment)
    return workspace.mlflow.search_runs([experiment])


def test_every_sensor_and_kind_ends_in_a_champion(train, workspace):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", seed=1)

    outcomes = train()

    assert {key: (o.status, o.version, o.alias) for key, o in outcomes.items()} == {
        (sensor, kind): ("promoted", 1, CHAMPION) for sensor in ("PT-1", "PT-2") for kind in Kind
    }
    assert {run.info.status for kind in Kind for run in runs(workspace, kind)} == {"FINISHED"}


def test_a_sensor_with_too_few_readings_does_not_stop_the_others(train, workspace):
    ingest_readings(workspace, "A-BAD", 12)
    ingest_readings(workspace, "PT-1")

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["A-BAD", Kind.FORECASTER].status == "failed"
    assert "12 good readings" in outcomes["A-BAD", Kind.FORECASTER].error
    assert "a forecaster needs 50" in outcomes["A-BAD", Kind.FORECASTER].error
    assert outcomes["PT-1", Kind.FORECASTER].status == "promoted"


def test_the_error_for_a_sensor_without_readings_names_the_command_to_run(train, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "sensors.yaml").write_text("sensors: {PT-9: {}}", encoding="utf-8")

    outcome = train(kinds=[Kind.FORECASTER])["PT-9", Kind.FORECASTER]

    assert outcome.status == "failed"
    assert "safeplan load" in outcome.error


@pytest.mark.parametrize("error", [NotTrainable("flat for a year"), ZeroDivisionError("oops"), KeyError("x")])
def test_an_error_of_one_sensor_does_not_stop_the_others(train, workspace, training_stub, error):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", seed=1)
    training_stub.failures["PT-1"] = error

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["PT-1", Kind.FORECASTER].failed
    assert str(error) in outcomes["PT-1", Kind.FORECASTER].error
    assert outcomes["PT-2", Kind.FORECASTER].status == "promoted"


def test_tags_edited_in_the_mlflow_ui_affect_one_sensor_only(train, workspace):
    for sensor in ("PT-1", "PT-2"):
        ingest_readings(workspace, sensor)
    train(kinds=[Kind.FORECASTER])
    workspace.mlflow.set_model_version_tag("pt-1-forecaster", "1", "train_end", "yesterday")

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["PT-1", Kind.FORECASTER].failed
    assert outcomes["PT-2", Kind.FORECASTER].status == "unchanged"


@pytest.mark.fault(
    "half of a model's files uploaded when the disk is full",
    "never registered; the next run trains what is missing",
)
def test_an_incomplete_upload_is_not_registered_and_the_next_run_completes_it(
    train, workspace, training_stub, monkeypatch
):
    for number in (1, 2, 3):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    upload, uploads = LocalArtifactRepository.log_artifacts, []

    def half(repository, folder, artifact_path=None):
        if not (Path(folder) / "MLmodel").exists():
            return upload(repository, folder, artifact_path)
        uploads.append(folder)
        if len(uploads) == 2:
            (Path(folder) / "MLmodel").unlink()
            upload(repository, folder, artifact_path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return upload(repository, folder, artifact_path)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", half)
    first = train(kinds=[Kind.FORECASTER])
    training_stub.tasks.clear()
    second = train(kinds=[Kind.FORECASTER])

    (failed,) = [outcome for outcome in first.values() if outcome.failed]
    assert "No space left on device" in failed.error
    assert training_stub.trained == [(failed.sensor_id, "forecaster")]
    assert second[failed.sensor_id, Kind.FORECASTER].status == "promoted"
    versions = workspace.registry.versions(failed.sensor_id, Kind.FORECASTER)
    assert [version.number for version in versions] == [1]


@pytest.mark.fault("the registry stops answering during a training", "the next run trains what is missing")
def test_after_a_registry_failure_the_next_run_trains_what_is_missing(
    train, workspace, training_stub, monkeypatch
):
    for number in (1, 2, 3):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    register = workspace.registry.register

    def fail_once(sensor_id, *args, **kwargs):
        if sensor_id == "PT-2":
            raise RegistryError("cannot register a version: connection refused")
        return register(sensor_id, *args, **kwargs)

    monkeypatch.setattr(workspace.registry, "register", fail_once)
    first = train(kinds=[Kind.FORECASTER])
    monkeypatch.setattr(workspace.registry, "register", register)
    training_stub.tasks.clear()

    second = train(kinds=[Kind.FORECASTER])

    assert first["PT-2", Kind.FORECASTER].error == "cannot register a version: connection refused"
    assert training_stub.trained == [("PT-2", "forecaster")]
    assert {key[0]: o.status for key, o in second.items()} == {
        "PT-1": "unchanged",
        "PT-2": "promoted",
        "PT-3": "unchanged",
    }
    assert "RUNNING" not in {run.info.status for run in runs(workspace)}


def test_a_model_whose_input_has_not_changed_is_not_trained_again(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train()
    training_stub.tasks.clear()

    outcomes = train()

    assert training_stub.tasks == []
    assert {o.status for o in outcomes.values()} == {"unchanged"}
    assert {(o.version, o.alias) for o in outcomes.values()} == {(1, CHAMPION)}
    assert outcomes["PT-1", Kind.FORECASTER].metrics["skill"] is not None


def test_fresh_also_trains_models_whose_input_has_not_changed(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])

    outcome = train(kinds=[Kind.FORECASTER], fresh=True)["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.version) == ("promoted", 2)


def test_new_readings_give_a_challenger_that_is_compared_with_the_champion(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])
    ingest_readings(workspace, "PT-1", 230)

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    incumbent = training_stub.tasks[-1].incumbent
    assert incumbent.train_end == parse_time(START) + timedelta(hours=199)
    assert incumbent.parameters
    assert (outcome.status, outcome.version) == ("promoted", 2)
    assert workspace.registry.find("PT-1", Kind.FORECASTER, PREVIOUS).number == 1


def test_a_refused_challenger_does_not_replace_the_champion(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])
    ingest_readings(workspace, "PT-1", 230)
    training_stub.grades["mae"] = 1e6

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.alias) == ("refused", CHALLENGER)
    assert not outcome.failed
    assert "mean error 1,000,000" in outcome.detail["gate"]
    assert workspace.registry.champion("PT-1", Kind.FORECASTER).number == 1
    assert workspace.registry.version("pt-1-forecaster", 2).tags["validation_status"] == "refused"


def test_with_manual_promotion_the_challenger_waits(train, workspace):
    ingest_readings(workspace, "PT-1")

    outcome = train(kinds=[Kind.FORECASTER], promotion=Promotion.MANUAL)["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.alias) == ("waiting", CHALLENGER)
    assert workspace.registry.find("PT-1", Kind.FORECASTER, CHAMPION) is None


def test_training_as_of_a_time_uses_no_later_readings(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1", 300)

    train(kinds=[Kind.FORECASTER], as_of=parse_time(START) + timedelta(hours=150))

    times = training_stub.tasks[-1].readings["timestamp"]
    assert times.max() == parse_time(START) + timedelta(hours=150)
    assert workspace.registry.version("pt-1-forecaster", 1).tags["train_end"] == "2026-01-07T06:00:00Z"


def test_a_sensor_that_another_process_trains_fails_with_its_process_id(train, workspace):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", seed=1)

    with lease(workspace.engine, "train forecaster PT-1"):
        outcomes = train(kinds=[Kind.FORECASTER])

    assert "train forecaster PT-1 is being done by process" in outcomes["PT-1", Kind.FORECASTER].error
    assert outcomes["PT-2", Kind.FORECASTER].status == "promoted"


def test_all_leases_are_released(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "A-BAD", 12)
    training_stub.failures["PT-1"] = RuntimeError("no")

    train()

    with reading(workspace.engine) as connection:
        assert connection.execute(select(leases)).all() == []


def test_a_kind_that_is_named_twice_is_trained_once(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")

    train(kinds=[Kind.FORECASTER, Kind.FORECASTER])

    assert training_stub.trained == [("PT-1", "forecaster")]
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


@pytest.mark.fault("a champion whose files were altered, at its retraining", "trained again")
def test_a_champion_whose_files_were_altered_is_trained_again(train, workspace, tmp_path):
    """Its error message advises to retrain, which must help even if the readings have not changed."""
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])
    (stored,) = (tmp_path / "mlartifacts").rglob("model/forecaster.json")
    stored.write_text(stored.read_text()[:-20], encoding="utf-8")

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.version) == ("promoted", 2)


def test_old_versions_without_an_alias_are_deleted(train, workspace, plan):
    ingest_readings(workspace, "PT-1")
    keep_two = replace(plan, retention=plan.retention.model_copy(update={"keep_versions": 2}))

    for _ in range(4):
        train_fleet(
            workspace, load_fleet(workspace.engine).match(), [Kind.FORECASTER], keep_two, jobs=1, fresh=True
        )

    assert [v.number for v in workspace.registry.versions("PT-1", Kind.FORECASTER)] == [4, 3]


class PowerCut(BaseException):
    """The simulated end of the process; no code may catch it."""


def power_cut(*_):
    raise PowerCut


@pytest.fixture
def dead_owner(monkeypatch):
    """Treat what this process left as left by a process that has ended."""
    monkeypatch.setattr(parent_run.Owner, "is_gone", lambda _: True)


@pytest.mark.usefixtures("dead_owner")
def test_an_interrupted_retraining_is_resumed_in_its_parent_run(train, workspace, training_stub):
    for number in (1, 2, 3):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    training_stub.failures["PT-2"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    (before,) = (run for run in runs(workspace) if run.info.status == "RUNNING")
    training_stub.failures.clear()
    training_stub.tasks.clear()

    outcomes = train(kinds=[Kind.FORECASTER])

    assert training_stub.trained == [("PT-2", "forecaster"), ("PT-3", "forecaster")]
    assert outcomes["PT-1", Kind.FORECASTER].status == "unchanged"
    parents = [run for run in runs(workspace) if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.run_id for run in parents] == [before.info.run_id]
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


@pytest.mark.usefixtures("dead_owner")
def test_an_interrupted_fresh_retraining_is_resumed(train, workspace, training_stub):
    for number in (1, 2):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    train(kinds=[Kind.FORECASTER])
    training_stub.failures["PT-2"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER], fresh=True)
    training_stub.failures.clear()
    training_stub.tasks.clear()

    outcomes = train(kinds=[Kind.FORECASTER], fresh=True)

    assert training_stub.trained == [("PT-2", "forecaster")]
    assert {key[0]: o.version for key, o in outcomes.items()} == {"PT-1": 2, "PT-2": 2}


@pytest.mark.usefixtures("dead_owner")
def test_a_resumed_retraining_uses_the_readings_of_its_own_time(train, workspace, training_stub):
    now = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)
    for sensor in ("PT-1", "PT-2"):
        ingest_readings(workspace, sensor, start=now - timedelta(hours=200))
    training_stub.failures["PT-2"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    training_stub.failures.clear()
    ingest_readings(workspace, "PT-1", 1, start=now + timedelta(hours=2))

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["PT-1", Kind.FORECASTER].status == "unchanged"


@pytest.mark.usefixtures("dead_owner")
def test_a_version_that_lacks_its_alias_is_completed_not_trained_again(
    train, workspace, training_stub, monkeypatch
):
    ingest_readings(workspace, "PT-1")
    promote = workspace.registry.promote
    monkeypatch.setattr(workspace.registry, "promote", power_cut)
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    pending = workspace.registry.version("pt-1-forecaster", 1)
    monkeypatch.setattr(workspace.registry, "promote", promote)
    training_stub.tasks.clear()

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    assert pending.tags["validation_status"] == ValidationStatus.PENDING
    assert training_stub.tasks == []
    assert (outcome.status, outcome.version, outcome.alias) == ("promoted", 1, CHAMPION)
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


def test_a_retraining_of_a_live_process_is_not_resumed(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    training_stub.failures["PT-1"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    training_stub.failures.clear()

    train(kinds=[Kind.FORECASTER])

    parents = [run for run in runs(workspace) if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(run.info.status for run in parents) == ["FINISHED", "RUNNING"]


def test_the_parent_run_has_counts_and_a_table_of_its_sensors(train, workspace):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "A-BAD", 12)

    train(kinds=[Kind.FORECASTER])

    (parent,) = (run for run in runs(workspace) if "mlflow.parentRunId" not in run.data.tags)
    table = workspace.mlflow.load_table(parent.info.experiment_id, "sensors.json", [parent.info.run_id])
    assert parent.data.metrics["sensors_promoted"] == 1
    assert parent.data.metrics["sensors_failed"] == 1
    assert set(table["sensor_id"]) == {"PT-1", "A-BAD"}


def test_a_lease_of_a_killed_process_does_not_block(train, workspace):
    ingest_readings(workspace, "PT-1")
    dead = Owner(Owner.this_process().host, 2**22 + 1, "1")
    with writing(workspace.engine) as connection:
        until = datetime.now(UTC) + timedelta(hours=1)
        connection.execute(
            insert(leases).values(name="train forecaster PT-1", owner=str(dead), expires_at=until)
        )

    assert train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER].status == "promoted"


def test_the_callback_receives_every_outcome(workspace, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    received = []

    outcomes = train_fleet(
        workspace, load_fleet(workspace.engine).match(), BOTH, plan, jobs=1, watch=received.append
    )

    assert received == outcomes
    assert OutcomeStatus.FAILED not in {outcome.status for outcome in outcomes}


def test_the_recording_process_imports_no_model_libraries():
    """scikit-learn and skops take seconds to import; only workers need them."""
    code = (
        "import sys, training.pipeline.fleet; "
        "print(sorted({'sklearn', 'skops', 'prophet'} & set(sys.modules)))"
    )

    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert completed.stdout.strip() == "[]"
