"""A snapshot of many sensors equals what single queries return."""

import pytest

from tests.support.workspaces import make_task
from training.data.sensors import Sensor
from training.kinds import Kind, Promotion
from training.pipeline.fit import run_training_task
from training.pipeline.recording import Recorder
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from training.registry.registry_snapshot import ModelSnapshot, RegistrySnapshot

BOTH = list(Kind)


@pytest.fixture
def record(workspace, training_stub, tmp_path):
    """A function that registers one more version of a sensor's model."""

    def one(sensor_id, kind=Kind.FORECASTER, promotion=Promotion.MANAGED):
        candidate = run_training_task(make_task(kind, tmp_path, sensor=Sensor(id=sensor_id)))
        parent = workspace.tracker.open(kind.experiment, "parent", {}).run_id
        return Recorder(workspace.tracker, workspace.registry).record(candidate, parent, promotion, keep=10)

    return one


def snapshots(workspace, *sensor_ids):
    return RegistrySnapshot.take(workspace.registry, workspace.tracker).of(sensor_ids, BOTH)


def test_a_sensor_without_versions_has_an_empty_snapshot(workspace):
    assert snapshots(workspace, "PT-1") == {("PT-1", kind): ModelSnapshot() for kind in Kind}


def test_a_bulk_snapshot_equals_single_queries(workspace, record):
    record("PT-1")
    record("PT-1")
    record("PT-1", promotion=Promotion.MANUAL)
    last = record("PT-2", Kind.DETECTOR)

    result = snapshots(workspace, "PT-1", "PT-2", "PT-3")

    forecaster = result["PT-1", Kind.FORECASTER]
    assert [version.number for version in forecaster.versions] == [3, 2, 1]
    assert dict(forecaster.aliases) == {PREVIOUS: 1, CHAMPION: 2, CHALLENGER: 3}
    assert forecaster.champion == workspace.registry.champion("PT-1", Kind.FORECASTER)
    assert forecaster.aliases_of(forecaster.versions[1]) == [CHAMPION]
    assert result["PT-2", Kind.DETECTOR].metrics == last.metrics
    assert [key for key, snapshot in result.items() if snapshot.newest is None] == [
        ("PT-1", Kind.DETECTOR),
        ("PT-2", Kind.FORECASTER),
        ("PT-3", Kind.DETECTOR),
        ("PT-3", Kind.FORECASTER),
    ]


def test_two_ids_with_one_slug_have_separate_snapshots(workspace, record):
    record("PT-1")
    record("pt 1")

    result = snapshots(workspace, "PT-1", "pt 1", "pt/1")

    names = [result[sensor_id, Kind.FORECASTER].newest.name for sensor_id in ("PT-1", "pt 1")]
    assert len(set(names)) == 2
    assert result["pt/1", Kind.FORECASTER] == ModelSnapshot()


def test_a_version_registered_since_the_listing_is_included(workspace, record):
    taken_before = RegistrySnapshot.take(workspace.registry, workspace.tracker)
    record("PT-1")

    snapshot = taken_before.of(["PT-1"], BOTH)["PT-1", Kind.FORECASTER]

    assert snapshot.champion is not None
    assert snapshot.champion.number == 1


def test_a_kind_tag_edited_in_the_mlflow_ui_hides_no_sensor(workspace, record):
    record("PT-1")
    record("PT-2")
    workspace.mlflow.set_model_version_tag("pt-1-forecaster", "1", "kind", "edited")
    workspace.mlflow.set_registered_model_tag("pt-1-forecaster", "kind", "edited")

    result = snapshots(workspace, "PT-1", "PT-2")

    assert result["PT-2", Kind.FORECASTER].champion is not None
    assert result["PT-1", Kind.FORECASTER].champion is not None
