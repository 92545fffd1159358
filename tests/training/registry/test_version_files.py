"""The files of registered versions: fetched once, verified against their SHA-256."""

import mlflow
import pytest

from training.artifacts.model_files import digest_folder
from training.errors import UntrustedModel
from training.kinds import Kind
from training.registry.version_files import fetch_files


def test_fetched_files_are_those_that_were_registered(add_version, tmp_path):
    version = add_version(content=7)

    folder = fetch_files(version, tmp_path / "cache")

    assert (folder / "model.json").read_text() == '{"content": 7}'
    assert digest_folder(folder) == version.sha256


@pytest.mark.fault(
    "one byte of a registered model altered", "refused; the message advises to roll back or retrain"
)
def test_one_altered_byte_in_the_store_is_refused(add_version, tmp_path):
    version = add_version(content=7)
    for stored in (tmp_path / "mlartifacts").rglob("model.json"):
        stored.write_text('{"content": 8}')

    with pytest.raises(UntrustedModel, match="altered or truncated"):
        fetch_files(version, tmp_path / "cache")

    assert not any((tmp_path / "cache").rglob("model.json"))


@pytest.mark.fault("a damaged copy in the cache", "fetched again")
def test_a_damaged_copy_in_the_cache_is_fetched_again(add_version, tmp_path):
    version = add_version(content=7)
    cached = fetch_files(version, tmp_path / "cache") / "model.json"
    cached.write_text("{")

    fetch_files(version, tmp_path / "cache")

    assert cached.read_text() == '{"content": 7}'


def test_a_version_without_a_digest_is_refused(registry, tracker, tmp_path):
    registry.create_model("PT-1", Kind.DETECTOR)
    run_id = tracker.open("safeplan-detectors", "by hand", {}).run_id
    version = registry.register(
        "PT-1",
        Kind.DETECTOR,
        source=mlflow.get_run(run_id).info.artifact_uri,
        run_id=run_id,
        model_id=None,
        tags={},
    )

    with pytest.raises(UntrustedModel, match="no tag model_sha256"):
        fetch_files(version, tmp_path / "cache")
