"""Champions in batch commands: loaded once, loaded again when an alias moves, refused when altered."""

import shutil
import tempfile
from dataclasses import replace

import pytest

from serving.models.champions import Champions
from tests.support.workspaces import ingest_readings
from training.data.sensor_store import load_fleet
from training.errors import NoChampion, UntrustedModel
from training.kinds import Kind, Promotion
from training.pipeline.fleet import train_fleet


@pytest.fixture
def champions(workspace, plan, training_stub):
    """PT-1 has two versions of both kinds; the first ones serve."""
    ingest_readings(workspace, "PT-1")
    sensors = load_fleet(workspace.engine).match()
    train_fleet(workspace, sensors, list(Kind), plan, jobs=1)
    manual = replace(plan, promotion=Promotion.MANUAL)
    train_fleet(workspace, sensors, list(Kind), manual, jobs=1, fresh=True)
    return Champions(workspace.registry, workspace.model_cache)


def test_the_version_with_the_alias_serves(champions):
    assert champions.detector("PT-1").version.number == 1
    assert champions.forecaster("PT-1").version.number == 1
    assert champions.name("PT-1", Kind.DETECTOR) == "pt-1-detector"


def test_a_model_is_loaded_once(champions):
    assert champions.detector("PT-1") is champions.detector("PT-1")


def test_a_moved_alias_takes_effect_at_the_next_refresh(champions, workspace):
    before = champions.forecaster("PT-1").version.number
    workspace.registry.promote(workspace.registry.version("pt-1-forecaster", 2))

    not_yet = champions.forecaster("PT-1").version.number
    champions.refresh()

    assert (before, not_yet, champions.forecaster("PT-1").version.number) == (1, 1, 2)


def test_a_sensor_without_a_champion_raises_with_advice(champions):
    with pytest.raises(NoChampion, match="safeplan train 'PT-9'"):
        champions.detector("PT-9")
    assert champions.name("PT-9", Kind.DETECTOR) is None


def test_loading_versions_leaves_no_temporary_file(champions, workspace, tmp_path, monkeypatch):
    """An endpoint runs for months."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    champions.detector("PT-1")
    champions.forecaster("PT-1")

    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_its_cache_everything_is_fetched_again(champions, workspace):
    champions.detector("PT-1")
    shutil.rmtree(workspace.model_cache)

    again = Champions(workspace.registry, workspace.model_cache)

    assert again.detector("PT-1").version.number == 1


def test_an_altered_copy_in_the_cache_is_fetched_again(champions, workspace):
    champions.forecaster("PT-1")
    (cached,) = workspace.model_cache.glob("pt-1-forecaster/*/forecaster.json")
    cached.write_text("{}")

    again = Champions(workspace.registry, workspace.model_cache)

    assert len(again.forecaster("PT-1").model.forecast(3)) == 3


def test_an_altered_version_is_never_loaded(champions, workspace, tmp_path):
    shutil.rmtree(workspace.model_cache)
    for stored in (tmp_path / "mlartifacts").rglob("model/detector.json"):
        stored.write_text(stored.read_text() + " ")

    with pytest.raises(UntrustedModel, match="altered or truncated"):
        champions.detector("PT-1")
    assert champions.forecaster("PT-1").version.number == 1
