"""Model files as an attacker would write them are refused, or behave like valid ones.

`SAFEPLAN_FUZZ_EXAMPLES` sets the number of files that each test generates; thousands before a release.
"""

import copy
import io
import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.models.acceptance import load_detector, load_forecaster, pack_verified
from serving.vectorized.runtime import ScoringRuntime
from tests.support.workspaces import parse_time
from training.anomaly.detector import AnomalyDetector
from training.anomaly.models.base_detectors import DetectorParameters
from training.errors import UntrustedModel
from training.kinds import Kind
from training.registry.model_registry import Version

EXAMPLES = int(os.environ.get("SAFEPLAN_FUZZ_EXAMPLES", "40"))
# Overflows on the way to a score of 1 make numpy warn; they are no fault.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
law = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
VERSION = Version(
    name="pt-1-detector",
    number=1,
    sensor_id="PT-1",
    kind=Kind.DETECTOR,
    run_id="",
    created=parse_time("2026-01-01"),
    tags={},
)
NASTY: list[Any] = [
    *(None, True, -1, 0, 1, 2, 3, 10**4, 10**9, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e-300, 1e300, -1e300),
    *("", "x", "os.system", "[[[[", [], {}, [[]], [1e300], {"x": 1}, [0.0] * 5_000, "9" * 5_000),
]


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory):
    """A small detector's folder."""
    folder = tmp_path_factory.mktemp("detector")
    random = np.random.default_rng(0)
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(300) / 24) + random.normal(0, 0.5, 300)
    AnomalyDetector(DetectorParameters(trees=8)).fit(values).save(folder)
    return folder


def leaves(result: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside, including lists and objects."""
    if path:
        yield path
    inside = (
        result.items() if isinstance(result, dict) else enumerate(result) if isinstance(result, list) else ()
    )
    for key, value in itertools.islice(inside, 200):
        yield from leaves(value, (*path, key))


def put(result: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace the value at a path."""
    for key in path[:-1]:
        result = result[key]
    result[path[-1]] = value


def spoil(written: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """A JSON file with one to three replaced values; long lists are not preferred."""
    spoilt = copy.deepcopy(written)
    by_key: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for path in leaves(written):
        by_key.setdefault(tuple("*" if isinstance(key, int) else key for key in path), []).append(path)
    places = sorted(by_key)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(by_key[data.draw(st.sampled_from(places))]))
        try:
            put(spoilt, path, data.draw(st.sampled_from(NASTY) | st.floats() | st.integers()))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier replacement removed the path
    return spoilt


def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.rmtree(tmp_path / "planted", ignore_errors=True)
    return Path(shutil.copytree(folder, tmp_path / "planted"))


def numbers_or_refusal(use: Callable[[], Any]) -> bool:
    """Whether finite numbers were returned; the only alternative is a refusal."""
    try:
        numbers = np.asarray(use(), dtype=np.float64)
    except UntrustedModel:
        return False
    assert np.isfinite(numbers).all()
    return True


@pytest.mark.attack(
    "a forecaster's JSON with any values in it: a Prophet JSON bomb among them",
    "refused in one sentence before it computes, or it forecasts numbers",
)
@law
@given(data=st.data())
def test_any_values_in_a_forecasters_json(fitted_models, tmp_path, data):
    folder = copied(fitted_models[Kind.FORECASTER][0], tmp_path)
    path = data.draw(st.sampled_from(sorted(folder.glob("*.json"))))
    path.write_text(json.dumps(spoil(json.loads(path.read_text()), data)))

    def use() -> Any:
        made = load_forecaster(replace(VERSION, kind=Kind.FORECASTER), folder).forecast(50)
        return made[["lower_bound", "forecasted_values", "upper_bound"]]

    numbers_or_refusal(use)


@pytest.mark.attack(
    "a detector's JSON with any values in it", "refused in one sentence, or it scores in [0, 1]"
)
@law
@given(data=st.data())
def test_any_values_in_a_detectors_json(detector_folder, tmp_path, data):
    folder = copied(detector_folder, tmp_path)
    path = folder / "detector.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()), data)))

    def use() -> Any:
        scores = load_detector(VERSION, folder).score([20.0, 99.0, -1e9])
        assert ((scores >= 0) & (scores <= 1)).all()
        return scores

    numbers_or_refusal(use)


@pytest.mark.attack(
    "a skops file with any values and bytes in it: tree indices out of range among them",
    "refused in one sentence, or it scores in [0, 1]; the process lives on",
)
@law
@given(data=st.data())
def test_any_values_in_a_skops_file(detector_folder, tmp_path, data):
    folder = copied(detector_folder, tmp_path)
    path = data.draw(st.sampled_from(sorted(folder.glob("*.skops"))))
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    if data.draw(st.booleans()):
        content["schema.json"] = json.dumps(spoil(json.loads(content["schema.json"]), data)).encode()
    else:
        name = data.draw(st.sampled_from(sorted(name for name in content if name.endswith(".npy"))))
        content[name] = altered(content[name], data)
    rewrite(path, content)

    def use() -> Any:
        detector = load_detector(VERSION, folder)
        pack_verified(VERSION, detector, ScoringRuntime())
        scores = detector.score([20.0, 99.0, -1e9])
        assert ((scores >= 0) & (scores <= 1)).all()
        return scores

    numbers_or_refusal(use)


def altered(array: bytes, data: st.DataObject) -> bytes:
    """An array's file with a few changed bytes, its header included."""
    result = bytearray(array)
    for _ in range(data.draw(st.integers(1, 8))):
        result[data.draw(st.integers(0, len(result) - 1))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    return bytes(result)


def rewrite(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, written in content.items():
            archive.writestr(name, written)


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10**6), ("right_child", -5), ("left_child", 0), ("feature", 99), ("threshold", np.nan)],
)
@pytest.mark.attack(
    "a planted skops file whose trees lead out of themselves, in a circle or to no feature",
    "refused before a reading is scored",
)
def test_a_planted_tree_is_refused(detector_folder, tmp_path, field, value):
    """scikit-learn would follow such indices unchecked, into arbitrary memory."""
    folder = copied(detector_folder, tmp_path)
    path = next(folder.glob("forest*.skops"))
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name in sorted(name for name in content if name.endswith(".npy")):
        nodes = np.load(io.BytesIO(content[name]))
        if nodes.dtype.names and field in nodes.dtype.names:
            nodes[field][0] = value
            written = io.BytesIO()
            np.save(written, nodes)
            content[name] = written.getvalue()
    rewrite(path, content)

    with pytest.raises(UntrustedModel, match=r"tree"):
        load_detector(VERSION, folder)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("prophet.json", ("seasonalities", 1, "daily", "fourier_order"), 10**9),
        ("forecaster.json", ("state", "step"), 1e-12),
        ("forecaster.json", ("naives", 0, "season"), 0),
        ("forecaster.json", ("autoregressions", 0, "lags"), [10**12]),
        ("forecaster.json", ("bands", "sizes"), []),
    ],
)
@pytest.mark.attack(
    "a Prophet JSON bomb: a billion harmonics, steps of a picosecond, lags of ages",
    "refused before anything of that size is made",
)
def test_a_small_json_that_asks_for_gigabytes_is_refused(fitted_models, tmp_path, name, path, value):
    folder = copied(fitted_models[Kind.FORECASTER][0], tmp_path)
    written = json.loads((folder / name).read_text())
    put(written, path, value)
    (folder / name).write_text(json.dumps(written))

    with pytest.raises(UntrustedModel):
        load_forecaster(replace(VERSION, kind=Kind.FORECASTER), folder)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 50_000, '{"growth": NaN}', "{}" + " " * (65 * 2**20)]
)
@pytest.mark.attack("a Prophet JSON nested without end, or larger than any honest one", "refused")
def test_a_prophet_json_without_end_is_refused(fitted_models, tmp_path, text):
    folder = copied(fitted_models[Kind.FORECASTER][0], tmp_path)
    (folder / "prophet.json").write_text(text)

    with pytest.raises(UntrustedModel):
        load_forecaster(replace(VERSION, kind=Kind.FORECASTER), folder)
