"""Versions are read in bulk, and each only once."""

import pytest

from tests.support.workspaces import ingest_readings
from training.data.sensor_store import load_fleet
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.registry.model_registry import ValidationStatus
from training.registry.version_cache import VersionCache


@pytest.fixture
def trained(workspace, plan, training_stub):
    """Two sensors with a version of each kind."""
    for name in ("PT-1", "PT-2"):
        ingest_readings(workspace, name)
    train_fleet(workspace, load_fleet(workspace.engine).match(), list(Kind), plan, jobs=1)
    return workspace


@pytest.fixture
def queries(trained, monkeypatch):
    """The names of the models of each query for versions."""
    queried = []
    versions_in_registry = trained.registry.versions_in

    def versions_in(names):
        queried.append(list(names))
        return versions_in_registry(names)

    monkeypatch.setattr(trained.registry, "versions_in", versions_in)
    return queried


def test_versions_come_with_the_metrics_and_tags_of_their_runs(trained):
    cache = VersionCache(trained.registry, trained.tracker)

    records = cache.read([("pt-1-detector", 1), ("pt-2-forecaster", 1)])

    assert records["pt-1-detector", 1].version.sensor_id == "PT-1"
    assert records["pt-1-detector", 1].run.metrics["recall_mean"] >= 0
    assert records["pt-2-forecaster", 1].run.tags["grade"] in "ABCD"


def test_a_complete_version_is_read_once(trained, queries):
    cache = VersionCache(trained.registry, trained.tracker)

    cache.read([("pt-1-detector", 1)])
    cache.read([("pt-1-detector", 1), ("pt-2-detector", 1)])
    cache.read([("pt-1-detector", 1), ("pt-2-detector", 1)])

    assert queries == [["pt-1-detector"], ["pt-2-detector"]]


def test_versions_that_the_caller_knows_are_not_read(trained, queries):
    known = [listing.newest for listing in trained.registry.listings().values()]
    cache = VersionCache(trained.registry, trained.tracker)

    records = cache.read([("pt-1-detector", 1), ("pt-2-forecaster", 1)], known)

    assert queries == []
    assert {record.version.sensor_id for record in records.values()} == {"PT-1", "PT-2"}
    assert all(record.run.metrics for record in records.values())


def test_a_version_that_does_not_exist_is_left_out(trained):
    assert VersionCache(trained.registry, trained.tracker).read([("pt-1-detector", 9), ("nobody", 1)]) == {}


def test_a_pending_version_is_read_again(trained, queries):
    version = trained.registry.version("pt-1-detector", 1)
    trained.registry.tag(version, validation_status=ValidationStatus.PENDING)
    cache = VersionCache(trained.registry, trained.tracker)

    cache.read([("pt-1-detector", 1)])
    trained.registry.tag(version, validation_status="passed")
    records = cache.read([("pt-1-detector", 1)])

    assert len(queries) == 2
    assert records["pt-1-detector", 1].version.tags["validation_status"] == "passed"


def test_more_models_than_fit_into_one_query_are_all_read(trained, monkeypatch):
    for module, name in (("model_registry", "NAME_BATCH"), ("tracking", "RUN_BATCH")):
        monkeypatch.setattr(f"training.registry.{module}.{name}", 1)
    requested = [(f"pt-{number}-{kind}", 1) for number in (1, 2) for kind in Kind]

    records = VersionCache(trained.registry, trained.tracker).read(requested)

    assert set(records) == set(requested)
    assert all(record.run.metrics for record in records.values())
