"""Promotion by hand: the gate is checked, `anyway` overrides it, and a rollback undoes it."""

from dataclasses import replace

import pytest

from tests.support.workspaces import ingest_readings
from training.data.sensor_store import load_fleet
from training.data.sensors import Sensor
from training.errors import GateRefused, NoChampion, RegistryError
from training.kinds import Kind, Promotion
from training.operations.promotion import promote_version, roll_back
from training.pipeline.fleet import train_fleet
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS

PT_1 = Sensor(id="PT-1")


@pytest.fixture
def add(workspace, plan, training_stub):
    """A function that trains one more version of PT-1's forecaster."""
    ingest_readings(workspace, "PT-1")

    def train(*, good=True, promotion=Promotion.MANAGED):
        training_stub.grades = {"skill": 0.5 if good else -99.0}
        chosen = replace(plan, promotion=promotion)
        sensors = load_fleet(workspace.engine).match()
        (outcome,) = train_fleet(workspace, sensors, [Kind.FORECASTER], chosen, jobs=1, fresh=True)
        return outcome

    return train


def promote(workspace, **options):
    return promote_version(workspace, PT_1, Kind.FORECASTER, **options)


def aliases(workspace):
    return workspace.mlflow.get_registered_model("pt-1-forecaster").aliases


def test_a_waiting_challenger_is_promoted(workspace, add):
    add(promotion=Promotion.MANUAL)

    outcome = promote(workspace)

    assert (outcome.status, outcome.version, outcome.alias) == ("promoted", 1, CHAMPION)
    assert aliases(workspace) == {CHAMPION: 1}


def test_a_version_that_the_gate_refused_is_not_promoted(workspace, add):
    add()
    add(good=False)
    before = aliases(workspace)

    with pytest.raises(GateRefused, match=r"models:/pt-1-forecaster/2: refused: skill -99.*--anyway"):
        promote(workspace)

    assert aliases(workspace) == before == {CHAMPION: 1, CHALLENGER: 2}


def test_anyway_overrides_the_gate(workspace, add):
    add()
    add(good=False)

    assert promote(workspace, anyway=True).version == 2
    assert aliases(workspace) == {CHAMPION: 2, PREVIOUS: 1}


def test_an_older_version_can_be_promoted_by_its_number(workspace, add):
    add()
    add()

    assert promote(workspace, number=1).version == 1
    assert aliases(workspace)[CHAMPION] == 1


def test_a_version_that_does_not_exist_is_an_error(workspace, add):
    add()

    with pytest.raises(RegistryError, match="has no version 7"):
        promote(workspace, number=7)


def test_without_a_challenger_the_error_names_the_command_to_run(workspace, add):
    add()

    with pytest.raises(NoChampion, match="safeplan status 'PT-1'"):
        promote(workspace)


def test_a_rollback_returns_the_version_that_serves_now(workspace, add):
    add()
    add()

    outcome = roll_back(workspace, PT_1, Kind.FORECASTER)

    assert (outcome.status, outcome.version, outcome.alias) == ("rolled back", 1, CHAMPION)


def test_a_version_without_a_gate_decision_is_not_promoted(workspace, add):
    add()
    for tag in ("gate", "gate_status"):
        workspace.mlflow.delete_model_version_tag("pt-1-forecaster", "1", tag)

    with pytest.raises(GateRefused, match="the gate has not checked it"):
        promote(workspace, number=1)
