"""Scored together or alone, a reading gets one score: the packed detectors say what the detectors say."""

import numpy as np
import pandas as pd
import pytest

from serving.recent_readings import EMPTY_TAIL, Tail
from serving.vectorized import packed_forest
from serving.vectorized.batch_scoring import (
    ScoringCase,
    ScoringFailure,
    score_batch,
    score_cases,
    score_unpacked,
)
from serving.vectorized.packed_detector import DetectorArrays, PackedDetector
from serving.vectorized.packed_files import load_packed, save_packed
from serving.vectorized.packed_forest import ForestArena, pack_forest
from serving.vectorized.parameter_table import ParameterTable
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.detector import AnomalyDetector
from training.errors import UntrustedModel

HOUR = 3600.0


def made(rows, *, course=0.0, decimals=3, seed=0):
    times = pd.date_range("2026-01-01", periods=rows, freq="h")
    values = 20 + course * np.sin(2 * np.pi * times.hour.to_numpy() / 24)
    values = (values + np.random.default_rng(seed).normal(0, 0.3, rows)).round(decimals)
    return AnomalyDetector(seed=seed).fit(pd.Series(values, index=times)), values


@pytest.fixture(scope="module")
def trained_detectors():
    """Detectors of sensors unlike each other, with what they learned from: the windows differ in length."""
    return [
        made(900),
        made(900, course=3, seed=1),
        made(200, seed=2),
        made(60, seed=3),
        made(900, decimals=0, seed=4),
        made(900, course=3, seed=5),
    ]


def tail_behind(detector, values):
    return Tail(detector.profile.last + HOUR * np.arange(1 - len(values), 1), values)


def cases_of(learned, seed):
    """Readings behind each sensor's past: absurd ones, frozen ones, gaps, and pasts of any length."""
    chance = np.random.default_rng(seed)
    result = []
    for detector, values in learned:
        rows = int(chance.integers(1, 30))
        steps = np.cumsum(np.where(chance.random(rows) < 0.1, 30, 1))
        asked = 20 + chance.normal(0, 0.5, rows)
        asked[chance.random(rows) < 0.1] = chance.choice([1e9, -1e9, 0.0, 35.0])
        if chance.random() < 0.3:
            asked[:] = asked[0]
        past = tail_behind(detector, values).newest(int(chance.choice([0, 1, 5, 40, 500])) or 1)
        result.append(
            (Tail(detector.profile.last + HOUR * steps, asked), EMPTY_TAIL if chance.random() < 0.2 else past)
        )
    return result


@pytest.mark.parametrize("seed", range(12))
def test_together_they_score_as_each_alone(trained_detectors, seed):
    cases = cases_of(trained_detectors, seed)
    runtime = ScoringRuntime()
    models = [PackedDetector.of(DetectorArrays.of(detector), runtime) for detector, _ in trained_detectors]

    together = score_cases([ScoringCase(model, *case) for model, case in zip(models, cases, strict=True)])

    for (detector, _), case, result in zip(trained_detectors, cases, together, strict=True):
        alone = score_unpacked(detector, *case)
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-7)
        np.testing.assert_allclose(result.averages, alone.averages, rtol=1e-6, atol=1e-6)
        scale = np.abs(case[0].values).max() + 1
        np.testing.assert_allclose(result.deviations / scale, alone.deviations / scale, atol=1e-6)
        assert result.texts == alone.texts
        assert [r and r.code for r in result.reasons] == [r and r.code for r in alone.reasons]


def test_neighbours_in_a_request_do_not_matter(trained_detectors):
    cases = cases_of(trained_detectors, 99)
    runtime = ScoringRuntime()
    models = [PackedDetector.of(DetectorArrays.of(detector), runtime) for detector, _ in trained_detectors]
    asked = [ScoringCase(model, *case) for model, case in zip(models, cases, strict=True)]

    for alone, result in zip(asked, score_cases(asked), strict=True):
        np.testing.assert_array_equal(score_cases([alone])[0].scores, result.scores)


def test_a_packed_detector_is_the_same_from_a_file(trained_detectors, tmp_path):
    detector, values = trained_detectors[1]
    packing = DetectorArrays.of(detector)
    case = (Tail(np.array([detector.profile.last + HOUR]), np.array([24.0])), tail_behind(detector, values))

    again = load_packed(tmp_path / "1.npz", save_packed(packing, tmp_path / "1.npz"))

    runtime = ScoringRuntime()
    first, second = (score_batch([PackedDetector.of(one, runtime)], [case])[0] for one in (packing, again))
    np.testing.assert_array_equal(first.scores, second.scores)


def test_an_altered_file_is_refused_whatever_byte_it_is(trained_detectors, tmp_path):
    path = tmp_path / "1.npz"
    sha256 = save_packed(DetectorArrays.of(trained_detectors[3][0]), path)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UntrustedModel):
            load_packed(path, sha256)


def test_a_forest_that_leads_out_of_itself_is_refused(trained_detectors):
    forest = pack_forest(trained_detectors[0][0].base_detectors.fast_forests["forest_points"])
    inner = np.flatnonzero(forest.nodes["inner"])
    for field, value in (("beyond", 60_000), ("feature", 200), ("inner", 2)):
        nodes = forest.nodes.copy()
        nodes[field][inner[-1]] = value
        with pytest.raises(UntrustedModel):
            packed_forest.check_forest(
                type(forest)(nodes, forest.roots, forest.normal_length, forest.depth), 8
            )


def test_memory_of_forests_no_longer_used_is_used_again(trained_detectors, monkeypatch):
    forest = pack_forest(trained_detectors[0][0].base_detectors.fast_forests["forest_points"])
    monkeypatch.setattr(packed_forest, "BLOCK_NODES", 3 * len(forest.nodes))
    place = ForestArena()
    place.blocks.append(
        packed_forest.NodeBlock(
            np.empty(packed_forest.BLOCK_NODES, packed_forest.NODE_DTYPE), [(0, packed_forest.BLOCK_NODES)]
        )
    )

    for _ in range(20):
        place.add(forest)
    kept = [place.add(forest) for _ in range(3)]

    assert len(place.blocks) == 1
    assert sorted(plot.start for plot in kept) == [0, len(forest.nodes), 2 * len(forest.nodes)]


def test_rows_of_the_shelf_are_used_again_and_widened():
    shelf = ParameterTable()
    places = [shelf.put({"size": number, "course": np.ones(2)}) for number in range(100)]
    del places[7]
    again = shelf.put({"size": 7, "course": np.full(5, 3.0)})

    assert again.row == 7
    assert shelf.column("size")[:100].tolist() == list(range(100))
    assert shelf.column("course")[[6, 7]].tolist() == [[1, 1, 0, 0, 0], [3, 3, 3, 3, 3]]


def test_one_sensor_that_cannot_be_judged_costs_the_others_nothing(trained_detectors, caplog):
    detector, values = trained_detectors[0]
    runtime = ScoringRuntime()
    good, bad = (PackedDetector.of(DetectorArrays.of(detector), runtime) for _ in range(2))
    bad.lofs.update(dict.fromkeys(bad.lofs, "nonsense"))
    case = (Tail(np.array([detector.profile.last + HOUR]), np.array([20.0])), tail_behind(detector, values))

    result = score_cases([ScoringCase(good, *case), ScoringCase(bad, *case), ScoringCase(good, *case)])

    assert isinstance(result[1], ScoringFailure)
    assert result[0].scores == result[2].scores
    assert "could not be judged" in caplog.text
