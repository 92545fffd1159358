"""The model registry: names, aliases, rollback and retention."""

from datetime import UTC, datetime

import pytest

from training.errors import NoChampion
from training.kinds import Kind
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Version


@pytest.mark.fault("two sensor ids with one slug", "two registered models, one per sensor")
def test_two_ids_with_one_slug_have_two_models(registry):
    first = registry.create_model("PT 1", Kind.DETECTOR)
    second = registry.create_model("pt-1", Kind.DETECTOR)

    assert first == "pt-1-detector"
    assert second != first
    assert second.startswith("pt-1-")
    assert (registry.name("PT 1", Kind.DETECTOR), registry.name("pt-1", Kind.DETECTOR)) == (first, second)


def test_an_id_without_letters_has_a_name(registry):
    assert registry.create_model("°°", Kind.FORECASTER) == "sensor-forecaster"


def test_promotion_moves_the_champion_alias_and_sets_previous(registry, add_version):
    first, second = add_version(content=1), add_version(content=2)

    registry.promote(first)
    registry.set_challenger(second)
    registry.promote(second)

    assert registry.champion("PT-1", Kind.DETECTOR).number == second.number
    assert registry.find("PT-1", Kind.DETECTOR, PREVIOUS).number == first.number
    assert registry.find("PT-1", Kind.DETECTOR, CHALLENGER) is None


def test_promoting_the_champion_again_keeps_previous(registry, add_version):
    first, second = add_version(content=1), add_version(content=2)
    registry.promote(first)
    registry.promote(second)

    registry.promote(second)

    assert registry.find("PT-1", Kind.DETECTOR, PREVIOUS).number == first.number


def test_a_second_rollback_undoes_the_first(registry, add_version):
    first, second = add_version(content=1), add_version(content=2)
    registry.promote(first)
    registry.promote(second)

    assert registry.rollback("PT-1", Kind.DETECTOR).number == first.number
    assert registry.rollback("PT-1", Kind.DETECTOR).number == second.number


@pytest.fixture
def interrupted_rollback(registry, add_version, mlflow_client):
    """A rollback from version 2 to 1 that was killed before its last alias change."""
    first, second = add_version(content=1), add_version(content=2)
    registry.promote(first)
    registry.promote(second)
    mlflow_client.set_registered_model_tag(first.name, "rolling_back_from", "2")
    mlflow_client.set_registered_model_alias(first.name, CHAMPION, "1")
    return first.name


def test_an_interrupted_rollback_fails_if_the_former_champion_was_deleted(
    registry, interrupted_rollback, mlflow_client
):
    mlflow_client.delete_model_version(interrupted_rollback, "2")

    with pytest.raises(NoChampion, match="no previous champion"):
        registry.rollback("PT-1", Kind.DETECTOR)

    assert registry.aliases(interrupted_rollback) == {CHAMPION: 1, PREVIOUS: 1}


def test_a_promotion_ends_an_interrupted_rollback(registry, add_version, interrupted_rollback, mlflow_client):
    third = add_version(content=3)

    registry.promote(third)
    # The state after the promotion of a fourth version was killed between its two alias changes.
    mlflow_client.set_registered_model_alias(interrupted_rollback, PREVIOUS, "3")

    with pytest.raises(NoChampion, match="no previous champion"):
        registry.rollback("PT-1", Kind.DETECTOR)
    assert registry.aliases(interrupted_rollback) == {CHAMPION: 3, PREVIOUS: 3}


def test_a_rollback_without_a_previous_version_fails_and_changes_nothing(registry, add_version):
    registry.promote(add_version())

    with pytest.raises(NoChampion, match="no previous"):
        registry.rollback("PT-1", Kind.DETECTOR)

    assert registry.champion("PT-1", Kind.DETECTOR).number == 1


def test_the_error_for_a_missing_champion_names_the_command_to_run(registry):
    with pytest.raises(NoChampion, match="safeplan train 'PT-9' --kind forecaster"):
        registry.champion("PT-9", Kind.FORECASTER)


def test_retention_never_deletes_a_version_with_an_alias(registry, add_version):
    versions = [add_version(content=n) for n in range(5)]
    registry.promote(versions[0])
    registry.promote(versions[1])

    deleted = registry.delete_old_versions("PT-1", Kind.DETECTOR, keep=2)

    assert deleted == [3]
    assert [v.number for v in registry.versions("PT-1", Kind.DETECTOR)] == [5, 4, 2, 1]


def test_listings_have_every_sensor_with_its_aliases(registry, add_version):
    registry.promote(add_version("PT-1"))
    add_version("TT-2", Kind.FORECASTER)

    listings = registry.listings()

    assert listings["PT-1", Kind.DETECTOR].aliases == {CHAMPION: 1}
    assert listings["TT-2", Kind.FORECASTER].aliases == {}


def test_an_alias_moved_in_the_mlflow_ui_takes_effect(registry, add_version, mlflow_client):
    add_version(content=1)
    second = add_version(content=2)

    mlflow_client.set_registered_model_alias(second.name, CHAMPION, str(second.number))

    assert registry.champion("PT-1", Kind.DETECTOR).number == 2


@pytest.mark.parametrize(
    ("tags", "passed"),
    [
        ({"gate_status": "passed", "gate": "passed: skill +0.2"}, True),
        ({"gate_status": "refused", "gate": "refused: skill -0.1"}, False),
        ({"gate": "passed: skill +0.2"}, True),  # 0.1.0 wrote only the text
        ({"gate": "refused: skill -0.1"}, False),
        ({}, False),
    ],
)
def test_the_gate_status_is_read_from_its_tag_or_from_the_text_of_0_1_0(tags, passed):
    version = Version("PT-1", Kind.DETECTOR, "pt-1-detector", 1, "run", datetime.now(UTC), tags)

    assert version.gate_passed is passed
