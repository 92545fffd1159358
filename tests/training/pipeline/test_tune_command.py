"""The command tune: the best parameters as a run, and nothing registered."""

import pytest

from tests.support.workspaces import ingest_readings
from training.data.sensors import Sensor
from training.errors import NotTrainable
from training.kinds import Kind
from training.pipeline.tune_command import tune_sensor


@pytest.mark.parametrize("kind", list(Kind))
def test_a_search_is_a_finished_run_with_its_trials_and_registers_nothing(
    workspace, plan, training_stub, kind
):
    ingest_readings(workspace, "PT-1")

    outcome = tune_sensor(workspace, Sensor(id="PT-1"), kind, plan)

    run = workspace.mlflow.get_run(outcome.detail["run_id"])
    assert (outcome.status, outcome.kind) == ("tuned", kind)
    assert run.info.status == "FINISHED"
    assert run.data.tags["tuning"] == "only"
    assert run.data.metrics["trials"] >= 2
    assert set(run.data.params) == {str(name) for name in outcome.detail["parameters"]}
    assert "trials.json" in {file.path for file in workspace.mlflow.list_artifacts(run.info.run_id)}
    assert workspace.registry.listings() == {}


def test_the_error_for_a_sensor_without_readings_names_the_command_to_run(workspace, plan):
    with pytest.raises(NotTrainable, match="safeplan load"):
        tune_sensor(workspace, Sensor(id="PT-1"), Kind.DETECTOR, plan)
