"""Peers of one sensor type: starting points of searches, and parameters that new sensors borrow."""

from dataclasses import replace

import pytest

from tests.support.workspaces import ingest_readings, make_readings, make_task
from training.artifacts.model_files import read_json, write_json
from training.data.sensor_store import load_fleet, save_sensors
from training.data.sensors import Sensor
from training.kinds import Kind
from training.pipeline.fit import Incumbent, PeerModel, run_training_task
from training.pipeline.fleet import train_fleet
from training.pipeline.peer_models import PeerModels
from training.registry.registry_snapshot import RegistrySnapshot

BOTH = list(Kind)


def few_readings(rows=80):
    return make_readings(rows=rows).drop(columns="sensor_id").assign(data_quality=0)


@pytest.fixture
def peer_model(fitted_models):
    """A function that makes a peer with the parameters of a really trained model."""

    def make(kind, **changes):
        files, _ = fitted_models[kind]
        arguments = {
            "sensor_id": "PT-9",
            "parameters": read_json(files / "parameters.json"),
            "threshold": 0.6,
        }
        return PeerModel(**arguments | changes)

    return make


@pytest.mark.parametrize("kind", BOTH)
def test_a_sensor_with_few_readings_borrows_parameters(kind, tmp_path, peer_model):
    peer = peer_model(kind)

    result = run_training_task(make_task(kind, tmp_path, readings=few_readings(), peers=(peer,))).result

    assert result.borrowed_from == "PT-9"
    assert len(result.trials) == 0
    if kind is Kind.DETECTOR:
        assert result.threshold == 0.6
        assert result.parameters["forest_weight"] == peer.parameters["forest_weight"]


@pytest.mark.parametrize("kind", BOTH)
def test_a_sensor_with_enough_readings_searches_from_its_peers(kind, tmp_path, peer_model):
    peer = peer_model(kind)

    result = run_training_task(make_task(kind, tmp_path, readings=few_readings(260), peers=(peer,))).result

    assert result.borrowed_from is None
    assert len(result.trials) == 2


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_in_another_form_are_not_used(kind, tmp_path, peer_model):
    other_form = peer_model(kind, parameters={"structures": 7, "unknown": True})

    result = run_training_task(make_task(kind, tmp_path, readings=few_readings(), peers=(other_form,))).result

    assert result.borrowed_from is None
    assert len(result.trials) == 2


def test_a_search_that_starts_from_a_champion_has_fewer_trials(tmp_path, fitted_models):
    files, _ = fitted_models[Kind.FORECASTER]
    task = make_task(Kind.FORECASTER, tmp_path)
    tuning = task.plan.tuning.model_copy(update={"trials": 40, "retrials": 7})
    fresh = replace(task, plan=replace(task.plan, tuning=tuning))

    again = replace(fresh, incumbent=Incumbent(files, fresh.readings["timestamp"].iloc[-1]))

    assert (fresh.study.trials, again.study.trials) == (40, 7)


@pytest.fixture
def trained_workspace(workspace, plan, training_stub):
    """Three trained pressure sensors and a temperature sensor; a fourth pressure sensor is not trained."""
    sensors = [Sensor(id=f"PT-{number}", type="pressure") for number in range(4)]
    sensors.append(Sensor(id="TT-1", type="temperature"))
    save_sensors(workspace.engine, sensors)
    for number, sensor in enumerate(sensors):
        if sensor.id != "PT-3":
            ingest_readings(workspace, sensor.id, seed=number)
    fleet = load_fleet(workspace.engine)
    train_fleet(workspace, fleet.match(["PT-0", "PT-1", "PT-2", "TT-1"]), BOTH, plan, jobs=1)
    return workspace


def peers_in(workspace):
    snapshot = RegistrySnapshot.take(workspace.registry, workspace.tracker)
    return PeerModels(snapshot, load_fleet(workspace.engine).match(), workspace.model_cache)


def test_peers_are_champions_of_other_sensors_of_the_same_type(trained_workspace):
    result = peers_in(trained_workspace)

    for sensor_id, expected in (
        ("PT-0", {"PT-1", "PT-2"}),
        ("PT-3", {"PT-0", "PT-1", "PT-2"}),
        ("TT-1", set()),
    ):
        sensor = load_fleet(trained_workspace.engine).sensor(sensor_id)
        assert {peer.sensor_id for peer in result.of(sensor, Kind.DETECTOR)} == expected
    assert result.of(Sensor(id="X"), Kind.DETECTOR) == ()


def test_the_best_peer_comes_first(trained_workspace):
    run = trained_workspace.registry.champion("PT-1", Kind.FORECASTER).run_id
    trained_workspace.mlflow.log_metric(run, "skill", 0.99)

    (first, *_) = peers_in(trained_workspace).of(Sensor(id="PT-3", type="pressure"), Kind.FORECASTER)

    assert first.sensor_id == "PT-1"


def test_a_peer_whose_files_were_altered_is_not_used(trained_workspace, tmp_path):
    version = trained_workspace.registry.champion("PT-1", Kind.DETECTOR)
    (stored,) = (
        path
        for path in (tmp_path / "mlartifacts").rglob("model/parameters.json")
        if version.tags["model_sha256"]
        and trained_workspace.mlflow.get_run(version.run_id).outputs.model_outputs[0].model_id in str(path)
    )
    write_json({"forest_weight": 9.0}, stored)
    for cached in trained_workspace.model_cache.rglob("parameters.json"):
        cached.unlink()

    result = peers_in(trained_workspace).of(Sensor(id="PT-3", type="pressure"), Kind.DETECTOR)

    assert {peer.sensor_id for peer in result} == {"PT-0", "PT-2"}


def test_borrowed_parameters_are_marked_on_run_and_version(
    trained_workspace, plan, training_stub, monkeypatch
):
    train = training_stub.train

    def borrow(task, *args):
        return replace(train(task, *args), borrowed_from=task.peers[0].sensor_id)

    monkeypatch.setattr("training.pipeline.fit_detector.train_detector", borrow)
    ingest_readings(trained_workspace, "PT-3", 60)

    (outcome,) = train_fleet(
        trained_workspace, load_fleet(trained_workspace.engine).match(["PT-3"]), [Kind.DETECTOR], plan, jobs=1
    )

    version = trained_workspace.registry.champion("PT-3", Kind.DETECTOR)
    donor = version.tags["borrowed_from"]
    assert donor in {"PT-0", "PT-1", "PT-2"}
    assert trained_workspace.mlflow.get_run(version.run_id).data.tags["borrowed_from"] == donor
    assert outcome.detail["borrowed_from"] == donor
