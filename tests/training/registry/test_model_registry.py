"""The registry: names, aliases, roll-back, retention, and files held to their SHA-256."""

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature

from training.artifacts.model_files import DATA, MODEL_FOLDER, digest_folder, write_json
from training.errors import NoChampion, UntrustedModel
from training.kinds import Kind
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.registry.packaging import MLmodelTemplate
from training.registry.publishing import Publisher


@pytest.fixture
def registry(mlflow_client):
    return Registry(mlflow_client)


@pytest.fixture
def add_version(registry, tracker, tmp_path):
    """Register a version with a small file of its own."""

    def add(sensor_id="PT-1", kind=Kind.DETECTOR, content=1):
        package = tmp_path / f"{sensor_id}-{content}"
        files = package / DATA / MODEL_FOLDER
        files.mkdir(parents=True)
        write_json({"content": content}, files / "model.json")
        example = pd.DataFrame({"value": [1.0]})
        run = tracker.open(kind.experiment, sensor_id, {})
        shell = MLmodelTemplate.create(
            requirements=["mlflow"], signature=infer_signature(example, example), example=example
        )
        model = Publisher(tracker.client).upload_model(
            run, package, "probe", template=shell, example=example, params={}
        )
        tracker.finish(run.run_id)
        return registry.register(
            sensor_id,
            kind,
            source=model.source,
            run_id=run.run_id,
            model_id=model.model_id,
            tags={"sensor_id": sensor_id, "kind": kind.value, "model_sha256": digest_folder(files)},
        )

    return add


@pytest.mark.fault("two sensor ids with one slug", "two registered models, each its own sensor's")
def test_two_ids_with_one_slug_are_told_apart(registry):
    first = registry.create_model("PT 1", Kind.DETECTOR)
    second = registry.create_model("pt-1", Kind.DETECTOR)

    assert first == "pt-1-detector"
    assert second != first
    assert second.startswith("pt-1-")
    assert (registry.name("PT 1", Kind.DETECTOR), registry.name("pt-1", Kind.DETECTOR)) == (first, second)


def test_an_id_without_a_single_letter_has_a_name(registry):
    assert registry.create_model("°°", Kind.FORECASTER) == "sensor-forecaster"


def test_promotion_moves_the_alias_and_remembers_the_one_before(registry, add_version):
    first, second = add_version(content=1), add_version(content=2)

    registry.promote(first)
    registry.challenge(second)
    registry.promote(second)

    assert registry.champion("PT-1", Kind.DETECTOR).number == second.number
    assert registry.find("PT-1", Kind.DETECTOR, PREVIOUS).number == first.number
    assert registry.find("PT-1", Kind.DETECTOR, CHALLENGER) is None


def test_promoting_the_champion_again_keeps_the_previous_one(registry, add_version):
    first, second = add_version(content=1), add_version(content=2)
    registry.promote(first)
    registry.promote(second)

    registry.promote(second)

    assert registry.find("PT-1", Kind.DETECTOR, PREVIOUS).number == first.number


def test_rolling_back_twice_returns_to_where_it_was(registry, add_version):
    first, second = add_version(content=1), add_version(content=2)
    registry.promote(first)
    registry.promote(second)

    assert registry.rollback("PT-1", Kind.DETECTOR).number == first.number
    assert registry.rollback("PT-1", Kind.DETECTOR).number == second.number


@pytest.fixture
def interrupted_rollback(registry, add_version, mlflow_client):
    """A roll-back from version 2 to 1 that was killed before its last move."""
    first, second = add_version(content=1), add_version(content=2)
    registry.promote(first)
    registry.promote(second)
    mlflow_client.set_registered_model_tag(first.name, "rolling_back_from", "2")
    mlflow_client.set_registered_model_alias(first.name, CHAMPION, "1")
    return first.name


def test_a_roll_back_that_was_cut_off_says_so_when_what_it_left_is_deleted(
    registry, interrupted_rollback, mlflow_client
):
    mlflow_client.delete_model_version(interrupted_rollback, "2")

    with pytest.raises(NoChampion, match="no previous champion"):
        registry.rollback("PT-1", Kind.DETECTOR)

    assert registry.aliases(interrupted_rollback) == {CHAMPION: 1, PREVIOUS: 1}


def test_a_promotion_ends_a_roll_back_that_was_cut_off(
    registry, add_version, interrupted_rollback, mlflow_client
):
    third = add_version(content=3)

    registry.promote(third)
    # As a promotion of a fourth would leave it, killed between its two moves.
    mlflow_client.set_registered_model_alias(interrupted_rollback, PREVIOUS, "3")

    with pytest.raises(NoChampion, match="no previous champion"):
        registry.rollback("PT-1", Kind.DETECTOR)
    assert registry.aliases(interrupted_rollback) == {CHAMPION: 3, PREVIOUS: 3}


def test_nothing_to_roll_back_to_is_said_and_changes_nothing(registry, add_version):
    registry.promote(add_version())

    with pytest.raises(NoChampion, match="no previous"):
        registry.rollback("PT-1", Kind.DETECTOR)

    assert registry.champion("PT-1", Kind.DETECTOR).number == 1


def test_no_champion_says_what_to_run(registry):
    with pytest.raises(NoChampion, match="safeplan train 'PT-9' --kind forecaster"):
        registry.champion("PT-9", Kind.FORECASTER)


def test_retention_never_deletes_a_version_with_an_alias(registry, add_version):
    versions = [add_version(content=n) for n in range(5)]
    registry.promote(versions[0])
    registry.promote(versions[1])

    gone = registry.retire("PT-1", Kind.DETECTOR, keep=2)

    assert gone == [3]
    assert [v.number for v in registry.versions("PT-1", Kind.DETECTOR)] == [5, 4, 2, 1]


def test_one_query_lists_every_sensor_with_its_aliases(registry, add_version):
    registry.promote(add_version("PT-1"))
    add_version("TT-2", Kind.FORECASTER)

    listings = registry.listings()

    assert listings["PT-1", Kind.DETECTOR].aliases == {CHAMPION: 1}
    assert listings["TT-2", Kind.FORECASTER].aliases == {}


def test_an_alias_moved_by_a_human_in_the_ui_is_what_counts(registry, add_version, mlflow_client):
    add_version(content=1)
    second = add_version(content=2)

    mlflow_client.set_registered_model_alias(second.name, CHAMPION, str(second.number))

    assert registry.champion("PT-1", Kind.DETECTOR).number == 2


def test_fetched_files_are_those_that_were_registered(registry, add_version, tmp_path):
    version = add_version(content=7)

    folder = registry.fetch(version, tmp_path / "cache")

    assert (folder / "model.json").read_text() == '{"content": 7}'
    assert digest_folder(folder) == version.sha256


@pytest.mark.fault("one byte of a registered model altered", "refused; roll back or retrain, it says")
def test_one_altered_byte_in_the_store_is_refused(registry, add_version, tmp_path):
    version = add_version(content=7)
    for stored in (tmp_path / "mlartifacts").rglob("model.json"):
        stored.write_text('{"content": 8}')

    with pytest.raises(UntrustedModel, match="altered or truncated"):
        registry.fetch(version, tmp_path / "cache")

    assert not any((tmp_path / "cache").rglob("model.json"))


@pytest.mark.fault("a damaged copy in the cache", "fetched anew")
def test_a_damaged_copy_in_the_cache_is_fetched_anew(registry, add_version, tmp_path):
    version = add_version(content=7)
    kept = registry.fetch(version, tmp_path / "cache") / "model.json"
    kept.write_text("{")

    registry.fetch(version, tmp_path / "cache")

    assert kept.read_text() == '{"content": 7}'


def test_a_version_without_a_digest_is_refused(registry, tracker, tmp_path):
    registry.create_model("PT-1", Kind.DETECTOR)
    run_id = tracker.start("safeplan-detectors", "by hand", {})
    made = registry.register(
        "PT-1",
        Kind.DETECTOR,
        source=mlflow.get_run(run_id).info.artifact_uri,
        run_id=run_id,
        model_id=None,
        tags={},
    )

    with pytest.raises(UntrustedModel, match="no model_sha256"):
        registry.fetch(made, tmp_path / "cache")
