"""Model files: native formats, an allow-list of types, a digest. Anything else is refused and never run."""

import io
import json
import pickle
import shutil
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import FunctionTransformer

from training.anomaly.detector import AnomalyDetector
from training.artifacts.model_files import (
    MAX_FILE_BYTES,
    check_digest,
    digest_folder,
    read_json,
    read_skops,
    write_json,
    write_skops,
)
from training.errors import UntrustedModel
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind

ROWS = np.random.default_rng(0).normal(size=(60, 2))


class PlantedPickle:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.fixture
def forest(tmp_path):
    """A small forest in a file."""
    path = tmp_path / "forest.skops"
    write_skops(IsolationForest(n_estimators=5, random_state=0).fit(ROWS), path)
    return path


@pytest.mark.parametrize(
    "fitted",
    [IsolationForest(n_estimators=5, random_state=0), LocalOutlierFactor(n_neighbors=5, novelty=True)],
)
def test_the_parts_of_a_detector_are_read_as_they_were_written(fitted, tmp_path):
    write_skops(fitted.fit(ROWS), tmp_path / "model.skops")

    again = read_skops(tmp_path / "model.skops")

    np.testing.assert_array_equal(again.score_samples(ROWS), fitted.score_samples(ROWS))


def test_arrays_are_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
    """Python's parser, which NumPy reads headers with, fails now and then in several threads (3.11)."""
    write_skops(IsolationForest(n_estimators=2, random_state=0).fit(ROWS), tmp_path / "model.skops")
    alone, together = threading.Lock(), []
    load = skops.io.load

    def observed_load(*args, **kwargs):
        together.append(not alone.acquire(blocking=False))
        time.sleep(0.01)
        result = load(*args, **kwargs)
        alone.release()
        return result

    monkeypatch.setattr(skops.io, "load", observed_load)
    with ThreadPoolExecutor(4) as readers:
        list(readers.map(read_skops, [tmp_path / "model.skops"] * 12))

    assert together == [False] * 12


@pytest.mark.attack(
    "a model file with a type that is not on the allow-list", "refused by the name of the type, not loaded"
)
def test_a_foreign_type_is_refused_by_name_when_read(tmp_path):
    (tmp_path / "model.skops").write_bytes(skops.io.dumps(FunctionTransformer(func=np.save)))

    with pytest.raises(UntrustedModel, match=r"numpy.*save"):
        read_skops(tmp_path / "model.skops")


def test_a_foreign_type_is_refused_when_written(tmp_path):
    with pytest.raises(UntrustedModel, match="not on the allow-list"):
        write_skops(FunctionTransformer(func=np.save), tmp_path / "model.skops")


@pytest.mark.attack("a pickle planted as a model file", "never unpickled; refused")
def test_a_planted_pickle_is_never_unpickled(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "model.skops").write_bytes(pickle.dumps(PlantedPickle(str(mark))))

    with pytest.raises(UntrustedModel, match="not a readable skops file"):
        read_skops(tmp_path / "model.skops")

    assert not mark.exists()


@pytest.mark.attack("a pickle hidden in an array of a model file", "never unpickled; refused")
def test_an_array_in_the_archive_that_is_a_pickle_is_never_unpickled(forest, tmp_path):
    """NumPy's format can contain pickled objects."""
    mark, smuggled = tmp_path / "mark", io.BytesIO()
    np.save(smuggled, np.array([PlantedPickle(str(mark))], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(forest) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(forest, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, smuggled.getvalue() if name.endswith(".npy") else data)

    with pytest.raises(UntrustedModel):
        read_skops(forest)

    assert not mark.exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.fault("a truncated model file", "refused; the version before keeps serving")
def test_a_file_truncated_anywhere_is_refused(forest, share):
    whole = forest.read_bytes()
    forest.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(UntrustedModel):
        read_skops(forest)


@pytest.mark.attack("a model file that names its own loader", "refused")
def test_a_loader_that_the_archive_names_itself_is_refused(forest):
    with zipfile.ZipFile(forest) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(content["schema.json"])
    schema |= {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}
    with zipfile.ZipFile(forest, "w") as archive:
        for name, data in (content | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, data)

    with pytest.raises(UntrustedModel):
        read_skops(forest)


@pytest.mark.parametrize("read", [read_skops, read_json])
@pytest.mark.attack("a model file or JSON above the size limit", "refused unopened")
def test_a_file_above_the_size_limit_is_not_opened(read, tmp_path):
    with (tmp_path / "model").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)

    with pytest.raises(UntrustedModel, match="64 MB"):
        read(tmp_path / "model")


@pytest.mark.attack("a model file that unpacks into gigabytes", "refused without unpacking it")
def test_a_small_archive_that_expands_to_a_large_one_is_not_unpacked(forest):
    with zipfile.ZipFile(forest, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(MAX_FILE_BYTES + 1))
    assert forest.stat().st_size < 1_000_000

    with pytest.raises(UntrustedModel, match=r"expands to 6\d MB"):
        read_skops(forest)


@pytest.mark.parametrize("read", [read_skops, read_json])
def test_a_missing_file_is_named(read, tmp_path):
    with pytest.raises(UntrustedModel, match=r"model\.x is missing"):
        read(tmp_path / "model.x")


def test_json_is_read_as_it_was_written(tmp_path):
    content = {"b": [1, 2.5, None], "a": {"nested": "text °C"}, "tiny": 5e-324}

    write_json(content, tmp_path / "x.json")

    assert read_json(tmp_path / "x.json") == content


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_not_written(tmp_path, number):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": number}, tmp_path / "x.json")


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "[1]", "7", "", '{"a":', "[" * 100_000, "\xff"]
)
def test_anything_but_a_json_object_of_finite_numbers_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")

    with pytest.raises(UntrustedModel, match=r"x\.json"):
        read_json(tmp_path / "x.json")


@pytest.fixture
def folder(tmp_path):
    """A folder with two files, one in a subfolder."""
    (tmp_path / "m" / "deep").mkdir(parents=True)
    (tmp_path / "m" / "a.json").write_text("{}")
    (tmp_path / "m" / "deep" / "b.json").write_text("[]")
    return tmp_path / "m"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: (m / "a.json").write_text("{ }"),
        lambda m: (m / "a.json").rename(m / "c.json"),
        lambda m: (m / "deep" / "b.json").unlink(),
        lambda m: (m / "more").write_text(""),
        lambda m: (m / "deep" / "b.json").rename(m / "b.json"),
    ],
    ids=["altered", "renamed", "removed", "added", "moved"],
)
@pytest.mark.fault("a model whose files were altered, renamed, added or removed", "refused by its SHA-256")
def test_any_change_of_a_folder_changes_its_digest_and_is_refused(folder, change):
    before = digest_folder(folder)
    check_digest(folder, before, model="models:/m/1")

    change(folder)

    with pytest.raises(UntrustedModel, match=r"models:/m/1.*altered or truncated"):
        check_digest(folder, before, model="models:/m/1")


def test_the_digest_does_not_depend_on_where_the_folder_is(folder, tmp_path):
    before = digest_folder(folder)

    assert digest_folder(folder.rename(tmp_path / "elsewhere")) == before


LOADS = {Kind.DETECTOR: AnomalyDetector.load, Kind.FORECASTER: Forecaster.load}


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_model_with_any_file_truncated_is_refused(fitted_models, tmp_path, kind, share):
    folder, _ = fitted_models[kind]
    for path in sorted(folder.iterdir()):
        if path.name == "parameters.json":
            continue  # not part of the model: the next search starts from it
        broken = tmp_path / path.stem
        shutil.copytree(folder, broken)
        (broken / path.name).write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

        with pytest.raises(UntrustedModel):
            LOADS[kind](broken)
