"""What sensors of one type know of each other: where searches start, and what a newcomer borrows."""

from dataclasses import replace

import pytest

from tests.plant import assignment_for, readings, send
from training.artifacts.model_files import read_json, write_json
from training.data.sensor_sources import save
from training.data.sensors import Fleet, Sensor
from training.kinds import Kind
from training.pipeline.fit import Incumbent, Sibling, fit
from training.pipeline.fleet import train_fleet
from training.pipeline.peer_models import Siblings
from training.registry.registry_snapshot import Standings

BOTH = list(Kind)


def few(rows=80):
    return readings(rows=rows).drop(columns="sensor_id").assign(data_quality=0)


@pytest.fixture
def sibling_of(really_learned):
    """A champion elsewhere, with the parameters that were really learned."""

    def made(kind, **changes):
        files, _ = really_learned[kind]
        given = {"sensor_id": "PT-9", "parameters": read_json(files / "parameters.json"), "threshold": 0.6}
        return Sibling(**given | changes)

    return made


@pytest.mark.parametrize("kind", BOTH)
def test_a_sensor_with_little_history_borrows_and_says_so(kind, tmp_path, sibling_of):
    sibling = sibling_of(kind)

    lesson = fit(assignment_for(kind, tmp_path, readings=few(), siblings=(sibling,))).lesson

    assert lesson.borrowed_from == "PT-9"
    assert len(lesson.trials) == 0
    if kind is Kind.DETECTOR:
        assert lesson.threshold == 0.6
        assert lesson.parameters["forest_weight"] == sibling.parameters["forest_weight"]


@pytest.mark.parametrize("kind", BOTH)
def test_a_sensor_with_enough_of_its_own_searches_from_its_siblings(kind, tmp_path, sibling_of):
    sibling = sibling_of(kind)

    lesson = fit(assignment_for(kind, tmp_path, readings=few(260), siblings=(sibling,))).lesson

    assert lesson.borrowed_from is None
    assert len(lesson.trials) == 2


@pytest.mark.parametrize("kind", BOTH)
def test_what_another_program_wrote_is_neither_borrowed_nor_started_from(kind, tmp_path, sibling_of):
    strange = sibling_of(kind, parameters={"structures": 7, "unknown": True})

    lesson = fit(assignment_for(kind, tmp_path, readings=few(), siblings=(strange,))).lesson

    assert lesson.borrowed_from is None
    assert len(lesson.trials) == 2


def test_a_search_that_starts_from_the_champion_takes_fewer_trials(tmp_path, really_learned):
    files, _ = really_learned[Kind.FORECASTER]
    assignment = assignment_for(Kind.FORECASTER, tmp_path)
    tuning = assignment.plan.tuning.model_copy(update={"trials": 40, "retrials": 7})
    fresh = replace(assignment, plan=replace(assignment.plan, tuning=tuning))

    again = replace(fresh, incumbent=Incumbent(files, fresh.readings["timestamp"].iloc[-1]))

    assert (fresh.study.trials, again.study.trials) == (40, 7)


@pytest.fixture
def house(workspace, plan, learning):
    """Three pressures and a temperature, trained; the last pressure has sent little and is not."""
    known = [Sensor(id=f"PT-{n}", type="pressure") for n in range(4)] + [
        Sensor(id="TT-1", type="temperature")
    ]
    save(workspace.engine, known)
    for number, sensor in enumerate(known):
        if sensor.id != "PT-3":
            send(workspace, sensor.id, seed=number)
    fleet = Fleet.of(workspace.engine)
    train_fleet(workspace, fleet.match(["PT-0", "PT-1", "PT-2", "TT-1"]), BOTH, plan, jobs=1)
    return workspace


def siblings_in(house):
    standings = Standings.now(house.registry, house.tracker)
    return Siblings(standings, Fleet.of(house.engine).match(), house.model_cache)


def test_siblings_are_champions_of_the_same_type_and_not_oneself(house):
    found = siblings_in(house)

    for asked, expected in (("PT-0", {"PT-1", "PT-2"}), ("PT-3", {"PT-0", "PT-1", "PT-2"}), ("TT-1", set())):
        sensor = Fleet.of(house.engine).sensor(asked)
        assert {sibling.sensor_id for sibling in found.of(sensor, Kind.DETECTOR)} == expected
    assert found.of(Sensor(id="X"), Kind.DETECTOR) == ()


def test_the_best_sibling_comes_first(house):
    run = house.registry.champion("PT-1", Kind.FORECASTER).run_id
    house.mlflow.log_metric(run, "skill", 0.99)

    (first, *_) = siblings_in(house).of(Sensor(id="PT-3", type="pressure"), Kind.FORECASTER)

    assert first.sensor_id == "PT-1"


def test_a_sibling_whose_files_were_altered_lends_nothing(house, tmp_path):
    version = house.registry.champion("PT-1", Kind.DETECTOR)
    (stored,) = (
        path
        for path in (tmp_path / "mlartifacts").rglob("model/parameters.json")
        if version.tags["model_sha256"]
        and house.mlflow.get_run(version.run_id).outputs.model_outputs[0].model_id in str(path)
    )
    write_json({"forest_weight": 9.0}, stored)
    for kept in house.model_cache.rglob("parameters.json"):
        kept.unlink()

    found = siblings_in(house).of(Sensor(id="PT-3", type="pressure"), Kind.DETECTOR)

    assert {sibling.sensor_id for sibling in found} == {"PT-0", "PT-2"}


def test_who_borrowed_is_marked_on_run_and_version(house, plan, learning, monkeypatch):
    learn = learning.learn

    def borrowing(assignment, *rest):
        lesson = learn(assignment, *rest)
        return replace(lesson, borrowed_from=assignment.siblings[0].sensor_id)

    monkeypatch.setattr("training.pipeline.fit_detector.learn_detector", borrowing)
    send(house, "PT-3", 60)

    (outcome,) = train_fleet(house, Fleet.of(house.engine).match(["PT-3"]), [Kind.DETECTOR], plan, jobs=1)

    version = house.registry.champion("PT-3", Kind.DETECTOR)
    lender = version.tags["borrowed_from"]
    assert lender in {"PT-0", "PT-1", "PT-2"}
    assert house.mlflow.get_run(version.run_id).data.tags["borrowed_from"] == lender
    assert outcome.detail["borrowed_from"] == lender
