"""What sensors of one type know of each other: where searches start, and what a newcomer borrows."""

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


def small_plan(rows=80):
    return make_readings(rows=rows).drop(columns="sensor_id").assign(data_quality=0)


@pytest.fixture
def peer_model(fitted_models):
    """A champion elsewhere, with the parameters that were really learned."""

    def made(kind, **changes):
        files, _ = fitted_models[kind]
        given = {"sensor_id": "PT-9", "parameters": read_json(files / "parameters.json"), "threshold": 0.6}
        return PeerModel(**given | changes)

    return made


@pytest.mark.parametrize("kind", BOTH)
def test_a_sensor_with_little_history_borrows_and_says_so(kind, tmp_path, peer_model):
    sibling = peer_model(kind)

    lesson = run_training_task(make_task(kind, tmp_path, readings=small_plan(), peers=(sibling,))).result

    assert lesson.borrowed_from == "PT-9"
    assert len(lesson.trials) == 0
    if kind is Kind.DETECTOR:
        assert lesson.threshold == 0.6
        assert lesson.parameters["forest_weight"] == sibling.parameters["forest_weight"]


@pytest.mark.parametrize("kind", BOTH)
def test_a_sensor_with_enough_of_its_own_searches_from_its_siblings(kind, tmp_path, peer_model):
    sibling = peer_model(kind)

    lesson = run_training_task(
        make_task(kind, tmp_path, readings=small_plan(260), peers=(sibling,))
    ).result

    assert lesson.borrowed_from is None
    assert len(lesson.trials) == 2


@pytest.mark.parametrize("kind", BOTH)
def test_what_another_program_wrote_is_neither_borrowed_nor_started_from(kind, tmp_path, peer_model):
    strange = peer_model(kind, parameters={"structures": 7, "unknown": True})

    lesson = run_training_task(make_task(kind, tmp_path, readings=small_plan(), peers=(strange,))).result

    assert lesson.borrowed_from is None
    assert len(lesson.trials) == 2


def test_a_search_that_starts_from_the_champion_takes_fewer_trials(tmp_path, fitted_models):
    files, _ = fitted_models[Kind.FORECASTER]
    assignment = make_task(Kind.FORECASTER, tmp_path)
    tuning = assignment.plan.tuning.model_copy(update={"trials": 40, "retrials": 7})
    fresh = replace(assignment, plan=replace(assignment.plan, tuning=tuning))

    again = replace(fresh, incumbent=Incumbent(files, fresh.readings["timestamp"].iloc[-1]))

    assert (fresh.study.trials, again.study.trials) == (40, 7)


@pytest.fixture
def trained_workspace(workspace, plan, training_stub):
    """Three pressures and a temperature, trained; the last pressure has sent little and is not."""
    dashboard_workspace = [Sensor(id=f"PT-{n}", type="pressure") for n in range(4)] + [
        Sensor(id="TT-1", type="temperature")
    ]
    save_sensors(workspace.engine, dashboard_workspace)
    for number, sensor in enumerate(dashboard_workspace):
        if sensor.id != "PT-3":
            ingest_readings(workspace, sensor.id, seed=number)
    fleet = load_fleet(workspace.engine)
    train_fleet(workspace, fleet.match(["PT-0", "PT-1", "PT-2", "TT-1"]), BOTH, plan, jobs=1)
    return workspace


def siblings_in(house):
    standings = RegistrySnapshot.take(house.registry, house.tracker)
    return PeerModels(standings, load_fleet(house.engine).match(), house.model_cache)


def test_siblings_are_champions_of_the_same_type_and_not_oneself(trained_workspace):
    result = siblings_in(trained_workspace)

    for asked, expected in (("PT-0", {"PT-1", "PT-2"}), ("PT-3", {"PT-0", "PT-1", "PT-2"}), ("TT-1", set())):
        sensor = load_fleet(trained_workspace.engine).sensor(asked)
        assert {sibling.sensor_id for sibling in result.of(sensor, Kind.DETECTOR)} == expected
    assert result.of(Sensor(id="X"), Kind.DETECTOR) == ()


def test_the_best_sibling_comes_first(trained_workspace):
    run = trained_workspace.registry.champion("PT-1", Kind.FORECASTER).run_id
    trained_workspace.mlflow.log_metric(run, "skill", 0.99)

    (first, *_) = siblings_in(trained_workspace).of(Sensor(id="PT-3", type="pressure"), Kind.FORECASTER)

    assert first.sensor_id == "PT-1"


def test_a_sibling_whose_files_were_altered_lends_nothing(trained_workspace, tmp_path):
    version = trained_workspace.registry.champion("PT-1", Kind.DETECTOR)
    (stored,) = (
        path
        for path in (tmp_path / "mlartifacts").rglob("model/parameters.json")
        if version.tags["model_sha256"]
        and trained_workspace.mlflow.get_run(version.run_id).outputs.model_outputs[0].model_id in str(path)
    )
    write_json({"forest_weight": 9.0}, stored)
    for kept in trained_workspace.model_cache.rglob("parameters.json"):
        kept.unlink()

    result = siblings_in(trained_workspace).of(Sensor(id="PT-3", type="pressure"), Kind.DETECTOR)

    assert {sibling.sensor_id for sibling in result} == {"PT-0", "PT-2"}


def test_who_borrowed_is_marked_on_run_and_version(trained_workspace, plan, training_stub, monkeypatch):
    learn = training_stub.learn

    def borrowing(assignment, *rest):
        lesson = learn(assignment, *rest)
        return replace(lesson, borrowed_from=assignment.peers[0].sensor_id)

    monkeypatch.setattr("training.pipeline.fit_detector.train_detector", borrowing)
    ingest_readings(trained_workspace, "PT-3", 60)

    (outcome,) = train_fleet(
        trained_workspace, load_fleet(trained_workspace.engine).match(["PT-3"]), [Kind.DETECTOR], plan, jobs=1
    )

    version = trained_workspace.registry.champion("PT-3", Kind.DETECTOR)
    lender = version.tags["borrowed_from"]
    assert lender in {"PT-0", "PT-1", "PT-2"}
    assert trained_workspace.mlflow.get_run(version.run_id).data.tags["borrowed_from"] == lender
    assert outcome.detail["borrowed_from"] == lender
