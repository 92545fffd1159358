"""The fleet trainer: every sensor ends in one outcome, and what was cut off goes on."""

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
from training.pipeline import fleet, parent_run
from training.pipeline.fleet import train_fleet
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ValidationStatus
from training.storage.database import leases, reading, writing
from training.storage.leases import Owner, lease

BOTH = list(Kind)


@pytest.fixture
def train(workspace, plan, training_stub):
    """Train sensors whose readings are already there; outcomes by sensor and kind."""

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


def test_a_sensor_with_too_few_readings_never_stops_the_rest(train, workspace):
    ingest_readings(workspace, "A-BAD", 12)
    ingest_readings(workspace, "PT-1")

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["A-BAD", Kind.FORECASTER].status == "failed"
    assert "12 good readings" in outcomes["A-BAD", Kind.FORECASTER].error
    assert "a forecaster needs 50" in outcomes["A-BAD", Kind.FORECASTER].error
    assert outcomes["PT-1", Kind.FORECASTER].status == "promoted"


def test_a_sensor_without_any_reading_says_what_to_run(train, workspace, monkeypatch, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "sensors.yaml").write_text("sensors: {PT-9: {}}", encoding="utf-8")

    outcome = train(kinds=[Kind.FORECASTER])["PT-9", Kind.FORECASTER]

    assert outcome.status == "failed"
    assert "safeplan load" in outcome.error


@pytest.mark.parametrize("error", [NotTrainable("flat for a year"), ZeroDivisionError("oops"), KeyError("x")])
def test_whatever_one_sensor_raises_costs_no_other_its_models(train, workspace, training_stub, error):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", seed=1)
    training_stub.fails["PT-1"] = error

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["PT-1", Kind.FORECASTER].failed
    assert str(error) in outcomes["PT-1", Kind.FORECASTER].error
    assert outcomes["PT-2", Kind.FORECASTER].status == "promoted"


def test_tags_that_someone_broke_in_the_ui_cost_one_sensor_only(train, workspace):
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
def test_half_an_upload_is_no_version_and_the_next_run_makes_it_whole(
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
    training_stub.seen.clear()
    second = train(kinds=[Kind.FORECASTER])

    (failed,) = [one for one in first.values() if one.failed]
    assert "No space left on device" in failed.error
    assert training_stub.trained == [(failed.sensor_id, "forecaster")]
    assert second[failed.sensor_id, Kind.FORECASTER].status == "promoted"
    assert [version.number for version in workspace.registry.versions(failed.sensor_id, Kind.FORECASTER)] == [
        1
    ]


@pytest.mark.fault("the registry goes away in a training", "the next run trains what is missing")
def test_a_registry_that_goes_away_is_said_and_the_next_run_trains_what_is_missing(
    train, workspace, training_stub, monkeypatch
):
    for number in (1, 2, 3):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    register = workspace.registry.register

    def away(sensor_id, *rest, **more):
        if sensor_id == "PT-2":
            raise RegistryError("cannot register a version: connection refused")
        return register(sensor_id, *rest, **more)

    monkeypatch.setattr(workspace.registry, "register", away)
    first = train(kinds=[Kind.FORECASTER])
    monkeypatch.setattr(workspace.registry, "register", register)
    training_stub.seen.clear()

    second = train(kinds=[Kind.FORECASTER])

    assert first["PT-2", Kind.FORECASTER].error == "cannot register a version: connection refused"
    assert training_stub.trained == [("PT-2", "forecaster")]
    assert {key[0]: o.status for key, o in second.items()} == {
        "PT-1": "unchanged",
        "PT-2": "promoted",
        "PT-3": "unchanged",
    }
    assert "RUNNING" not in {run.info.status for run in runs(workspace)}


def test_what_has_not_changed_is_not_trained_again(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train()
    training_stub.seen.clear()

    outcomes = train()

    assert training_stub.seen == []
    assert {o.status for o in outcomes.values()} == {"unchanged"}
    assert {(o.version, o.alias) for o in outcomes.values()} == {(1, CHAMPION)}
    assert outcomes["PT-1", Kind.FORECASTER].metrics["skill"] is not None


def test_fresh_trains_also_what_has_not_changed(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])

    outcome = train(kinds=[Kind.FORECASTER], fresh=True)["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.version) == ("promoted", 2)


def test_new_readings_make_a_challenger_that_is_compared_with_the_champion(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])
    ingest_readings(workspace, "PT-1", 230)

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    incumbent = training_stub.seen[-1].incumbent
    assert incumbent.train_end == parse_time(START) + timedelta(hours=199)
    assert incumbent.parameters
    assert (outcome.status, outcome.version) == ("promoted", 2)
    assert workspace.registry.find("PT-1", Kind.FORECASTER, PREVIOUS).number == 1


def test_a_challenger_that_the_gate_refuses_waits_and_the_champion_stays(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])
    ingest_readings(workspace, "PT-1", 230)
    training_stub.grades["mae"] = 1e6

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.alias) == ("refused", CHALLENGER)
    assert not outcome.failed
    assert "mean error 1e+06" in outcome.detail["gate"]
    assert workspace.registry.champion("PT-1", Kind.FORECASTER).number == 1
    assert workspace.registry.version("pt-1-forecaster", 2).tags["validation_status"] == "refused"


def test_with_manual_promotion_the_challenger_waits_for_a_human(train, workspace):
    ingest_readings(workspace, "PT-1")

    outcome = train(kinds=[Kind.FORECASTER], promotion=Promotion.MANUAL)["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.alias) == ("waiting", CHALLENGER)
    assert workspace.registry.find("PT-1", Kind.FORECASTER, CHAMPION) is None


def test_training_as_of_a_moment_sees_nothing_later(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1", 300)

    train(kinds=[Kind.FORECASTER], as_of=parse_time(START) + timedelta(hours=150))

    seen = training_stub.seen[-1].readings["timestamp"]
    assert seen.max() == parse_time(START) + timedelta(hours=150)
    assert workspace.registry.version("pt-1-forecaster", 1).tags["train_end"] == "2026-01-07T06:00:00Z"


def test_two_trainings_of_one_sensor_at_once_one_does_it_and_the_other_says_so(train, workspace):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", seed=1)

    with lease(workspace.engine, "train forecaster PT-1"):
        outcomes = train(kinds=[Kind.FORECASTER])

    assert "train forecaster PT-1 is being done by process" in outcomes["PT-1", Kind.FORECASTER].error
    assert outcomes["PT-2", Kind.FORECASTER].status == "promoted"


def test_no_lease_is_left_behind(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "A-BAD", 12)
    training_stub.fails["PT-1"] = RuntimeError("no")

    train()

    with reading(workspace.engine) as connection:
        assert connection.execute(select(leases)).all() == []


def test_a_kind_that_is_named_twice_is_trained_once(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")

    train(kinds=[Kind.FORECASTER, Kind.FORECASTER])

    assert training_stub.trained == [("PT-1", "forecaster")]
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


@pytest.mark.fault("a champion whose files were altered, at its retraining", "trained anew")
def test_a_champion_whose_files_were_altered_is_trained_anew(train, workspace, tmp_path):
    """Its error message says: retrain. That must help even where no reading has changed."""
    ingest_readings(workspace, "PT-1")
    train(kinds=[Kind.FORECASTER])
    (stored,) = (tmp_path / "mlartifacts").rglob("model/forecaster.json")
    stored.write_text(stored.read_text()[:-20], encoding="utf-8")

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    assert (outcome.status, outcome.version) == ("promoted", 2)


def test_old_versions_go_and_those_with_an_alias_stay(train, workspace, plan):
    ingest_readings(workspace, "PT-1")
    keep_two = replace(plan, retention=plan.retention.model_copy(update={"keep_versions": 2}))

    for _ in range(4):
        train_fleet(
            workspace, load_fleet(workspace.engine).match(), [Kind.FORECASTER], keep_two, jobs=1, fresh=True
        )

    assert [v.number for v in workspace.registry.versions("PT-1", Kind.FORECASTER)] == [4, 3]


class PowerCut(BaseException):
    """Nothing in the program may catch this."""


def power_cut(*_):
    raise PowerCut


@pytest.fixture
def dead_owner(monkeypatch):
    """What this process left behind is seen as another's that is gone."""
    monkeypatch.setattr(parent_run.Owner, "is_gone", lambda _: True)


@pytest.mark.usefixtures("dead_owner")
def test_a_retraining_that_was_cut_off_goes_on_in_its_own_parent_run(train, workspace, training_stub):
    for number in (1, 2, 3):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    training_stub.fails["PT-2"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    (before,) = (run for run in runs(workspace) if run.info.status == "RUNNING")
    training_stub.fails.clear()
    training_stub.seen.clear()

    outcomes = train(kinds=[Kind.FORECASTER])

    assert training_stub.trained == [("PT-2", "forecaster"), ("PT-3", "forecaster")]
    assert outcomes["PT-1", Kind.FORECASTER].status == "unchanged"
    parents = [run for run in runs(workspace) if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.run_id for run in parents] == [before.info.run_id]
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


@pytest.mark.usefixtures("dead_owner")
def test_a_fresh_retraining_that_was_cut_off_does_not_begin_anew(train, workspace, training_stub):
    for number in (1, 2):
        ingest_readings(workspace, f"PT-{number}", seed=number)
    train(kinds=[Kind.FORECASTER])
    training_stub.fails["PT-2"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER], fresh=True)
    training_stub.fails.clear()
    training_stub.seen.clear()

    outcomes = train(kinds=[Kind.FORECASTER], fresh=True)

    assert training_stub.trained == [("PT-2", "forecaster")]
    assert {key[0]: o.version for key, o in outcomes.items()} == {"PT-1": 2, "PT-2": 2}


@pytest.mark.usefixtures("dead_owner")
def test_a_resumed_retraining_sees_the_readings_of_its_own_moment(train, workspace, training_stub):
    now = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)
    for sensor in ("PT-1", "PT-2"):
        ingest_readings(workspace, sensor, start=now - timedelta(hours=200))
    training_stub.fails["PT-2"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    training_stub.fails.clear()
    ingest_readings(workspace, "PT-1", 1, start=now + timedelta(hours=2))

    outcomes = train(kinds=[Kind.FORECASTER])

    assert outcomes["PT-1", Kind.FORECASTER].status == "unchanged"


@pytest.mark.usefixtures("dead_owner")
def test_a_version_that_was_cut_off_before_its_alias_is_finished_not_trained_again(
    train, workspace, training_stub, monkeypatch
):
    ingest_readings(workspace, "PT-1")
    promote = workspace.registry.promote
    monkeypatch.setattr(workspace.registry, "promote", power_cut)
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    half = workspace.registry.version("pt-1-forecaster", 1)
    monkeypatch.setattr(workspace.registry, "promote", promote)
    training_stub.seen.clear()

    outcome = train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER]

    assert half.tags["validation_status"] == ValidationStatus.PENDING
    assert training_stub.seen == []
    assert (outcome.status, outcome.version, outcome.alias) == ("promoted", 1, CHAMPION)
    assert {run.info.status for run in runs(workspace)} == {"FINISHED"}


def test_a_retraining_that_another_live_process_runs_is_not_adopted(train, workspace, training_stub):
    ingest_readings(workspace, "PT-1")
    training_stub.fails["PT-1"] = PowerCut()
    with pytest.raises(PowerCut):
        train(kinds=[Kind.FORECASTER])
    training_stub.fails.clear()

    train(kinds=[Kind.FORECASTER])

    parents = [run for run in runs(workspace) if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(run.info.status for run in parents) == ["FINISHED", "RUNNING"]


def test_the_parent_run_counts_and_lists_its_sensors(train, workspace):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "A-BAD", 12)

    train(kinds=[Kind.FORECASTER])

    (parent,) = (run for run in runs(workspace) if "mlflow.parentRunId" not in run.data.tags)
    table = workspace.mlflow.load_table(parent.info.experiment_id, "sensors.json", [parent.info.run_id])
    assert parent.data.metrics["sensors_promoted"] == 1
    assert parent.data.metrics["sensors_failed"] == 1
    assert set(table["sensor_id"]) == {"PT-1", "A-BAD"}


def test_leases_of_a_killed_process_do_not_block(train, workspace):
    ingest_readings(workspace, "PT-1")
    gone = Owner(Owner.this_process().host, 2**22 + 1, "1")
    with writing(workspace.engine) as connection:
        until = datetime.now(UTC) + timedelta(hours=1)
        connection.execute(
            insert(leases).values(name="train forecaster PT-1", owner=str(gone), expires_at=until)
        )

    assert train(kinds=[Kind.FORECASTER])["PT-1", Kind.FORECASTER].status == "promoted"


def test_the_watcher_is_called_once_for_each_outcome(workspace, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    seen = []

    outcomes = train_fleet(
        workspace, load_fleet(workspace.engine).match(), BOTH, plan, jobs=1, watch=seen.append
    )

    assert seen == outcomes
    assert fleet.FAILED not in {o.status for o in outcomes}


def test_the_process_that_writes_imports_no_models():
    """scikit-learn and skops take it seconds; only workers need them."""
    reported = (
        "import sys, training.pipeline.fleet; "
        "print(sorted({'sklearn', 'skops', 'prophet'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", reported], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
