"""What is known of versions is asked for in bulk, and once."""

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
    """The names of the models whose versions were asked for, once for each query."""
    seen = []
    really = trained.registry.versions_in

    def versions_in(names):
        seen.append(list(names))
        return really(names)

    monkeypatch.setattr(trained.registry, "versions_in", versions_in)
    return seen


def test_versions_come_with_the_metrics_and_tags_of_their_runs(trained):
    book = VersionCache(trained.registry, trained.tracker)

    pages = book.read([("pt-1-detector", 1), ("pt-2-forecaster", 1)])

    assert pages["pt-1-detector", 1].version.sensor_id == "PT-1"
    assert pages["pt-1-detector", 1].run.metrics["recall_mean"] >= 0
    assert pages["pt-2-forecaster", 1].run.tags["grade"] in "ABCD"


def test_what_is_known_is_not_asked_for_again(trained, queries):
    book = VersionCache(trained.registry, trained.tracker)

    book.read([("pt-1-detector", 1)])
    book.read([("pt-1-detector", 1), ("pt-2-detector", 1)])
    book.read([("pt-1-detector", 1), ("pt-2-detector", 1)])

    assert queries == [["pt-1-detector"], ["pt-2-detector"]]


def test_what_the_listings_brought_along_is_not_asked_for(trained, queries):
    dashboard_workspace = [listing.newest for listing in trained.registry.listings().values()]
    book = VersionCache(trained.registry, trained.tracker)

    pages = book.read([("pt-1-detector", 1), ("pt-2-forecaster", 1)], dashboard_workspace)

    assert queries == []
    assert {page.version.sensor_id for page in pages.values()} == {"PT-1", "PT-2"}
    assert all(page.run.metrics for page in pages.values())


def test_a_version_that_does_not_exist_is_left_out(trained):
    assert VersionCache(trained.registry, trained.tracker).read([("pt-1-detector", 9), ("nobody", 1)]) == {}


def test_a_version_that_is_not_complete_is_looked_at_again(trained, queries):
    version = trained.registry.version("pt-1-detector", 1)
    trained.registry.tag(version, validation_status=ValidationStatus.PENDING)
    book = VersionCache(trained.registry, trained.tracker)

    book.read([("pt-1-detector", 1)])
    trained.registry.tag(version, validation_status="passed")
    pages = book.read([("pt-1-detector", 1)])

    assert len(queries) == 2
    assert pages["pt-1-detector", 1].version.tags["validation_status"] == "passed"


def test_more_models_than_one_query_takes_are_all_found(trained, monkeypatch):
    for module, name in (("model_registry", "NAMES_AT_ONCE"), ("tracking", "RUNS_AT_ONCE")):
        monkeypatch.setattr(f"training.registry.{module}.{name}", 1)
    wanted = [(f"pt-{number}-{kind}", 1) for number in (1, 2) for kind in Kind]

    pages = VersionCache(trained.registry, trained.tracker).read(wanted)

    assert set(pages) == set(wanted)
    assert all(page.run.metrics for page in pages.values())
