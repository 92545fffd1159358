"""How many sensors stand is asked in bulk; the answer is that of asking one by one."""

import pytest

from tests.plant import assignment_for
from training.data.sensors import Sensor
from training.kinds import Kind, Promotion
from training.pipeline.fit import fit
from training.pipeline.recording import Recorder
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from training.registry.registry_snapshot import Standing, Standings

BOTH = list(Kind)


@pytest.fixture
def record(workspace, learning, tmp_path):
    """Register one more version of a sensor's model."""

    def one(sensor_id, kind=Kind.FORECASTER, promotion=Promotion.MANAGED):
        candidate = fit(assignment_for(kind, tmp_path, sensor=Sensor(id=sensor_id)))
        parent = workspace.tracker.start(kind.experiment, "parent", {})
        return Recorder(workspace.tracker, workspace.registry).record(candidate, parent, promotion, keep=10)

    return one


def standings(workspace, *sensor_ids):
    return Standings.now(workspace.registry, workspace.tracker).of(sensor_ids, BOTH)


def test_a_sensor_without_versions_stands_nowhere(workspace):
    assert standings(workspace, "PT-1") == {("PT-1", kind): Standing() for kind in Kind}


def test_many_stand_as_they_do_one_by_one(workspace, record):
    record("PT-1")
    record("PT-1")
    record("PT-1", promotion=Promotion.MANUAL)
    last = record("PT-2", Kind.DETECTOR)

    found = standings(workspace, "PT-1", "PT-2", "PT-3")

    one = found["PT-1", Kind.FORECASTER]
    assert [version.number for version in one.versions] == [3, 2, 1]
    assert dict(one.aliases) == {PREVIOUS: 1, CHAMPION: 2, CHALLENGER: 3}
    assert one.champion == workspace.registry.champion("PT-1", Kind.FORECASTER)
    assert one.aliases_of(one.versions[1]) == [CHAMPION]
    assert found["PT-2", Kind.DETECTOR].metrics == last.metrics
    assert [key for key, standing in found.items() if standing.newest is None] == [
        ("PT-1", Kind.DETECTOR),
        ("PT-2", Kind.FORECASTER),
        ("PT-3", Kind.DETECTOR),
        ("PT-3", Kind.FORECASTER),
    ]


def test_two_ids_with_one_slug_do_not_stand_for_each_other(workspace, record):
    record("PT-1")
    record("pt 1")

    found = standings(workspace, "PT-1", "pt 1", "pt/1")

    names = [found[sensor_id, Kind.FORECASTER].newest.name for sensor_id in ("PT-1", "pt 1")]
    assert len(set(names)) == 2
    assert found["pt/1", Kind.FORECASTER] == Standing()


def test_a_version_made_since_the_listing_is_seen(workspace, record):
    asked_before = Standings.now(workspace.registry, workspace.tracker)
    record("PT-1")

    standing = asked_before.of(["PT-1"], BOTH)["PT-1", Kind.FORECASTER]

    assert standing.champion is not None
    assert standing.champion.number == 1


def test_a_kind_that_someone_broke_in_the_ui_hides_no_other_sensor(workspace, record):
    record("PT-1")
    record("PT-2")
    workspace.mlflow.set_model_version_tag("pt-1-forecaster", "1", "kind", "broken")
    workspace.mlflow.set_registered_model_tag("pt-1-forecaster", "kind", "broken")

    found = standings(workspace, "PT-1", "PT-2")

    assert found["PT-2", Kind.FORECASTER].champion is not None
    assert found["PT-1", Kind.FORECASTER].champion is not None
