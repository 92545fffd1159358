"""Scored together or alone, a reading gets one score: the packed detectors say what the detectors say."""

import numpy as np
import pandas as pd
import pytest

from serving.recent_readings import NOTHING, Tail
from serving.vectorized import packed_forest
from serving.vectorized.batch_scoring import Case, Unjudged, judge, judge_alone, judge_together
from serving.vectorized.packed_detector import PackedDetector, Packing
from serving.vectorized.packed_files import load, save
from serving.vectorized.packed_forest import Grove, packed
from serving.vectorized.parameter_table import Shelf
from training.anomaly.detector import AnomalyDetector
from training.errors import UntrustedModel

HOUR = 3600.0


def made(rows, *, course=0.0, decimals=3, seed=0):
    times = pd.date_range("2026-01-01", periods=rows, freq="h")
    values = 20 + course * np.sin(2 * np.pi * times.hour.to_numpy() / 24)
    values = (values + np.random.default_rng(seed).normal(0, 0.3, rows)).round(decimals)
    return AnomalyDetector(seed=seed).fit(pd.Series(values, index=times)), values


@pytest.fixture(scope="module")
def learned():
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
    found = []
    for detector, values in learned:
        rows = int(chance.integers(1, 30))
        steps = np.cumsum(np.where(chance.random(rows) < 0.1, 30, 1))
        asked = 20 + chance.normal(0, 0.5, rows)
        asked[chance.random(rows) < 0.1] = chance.choice([1e9, -1e9, 0.0, 35.0])
        if chance.random() < 0.3:
            asked[:] = asked[0]
        past = tail_behind(detector, values).newest(int(chance.choice([0, 1, 5, 40, 500])) or 1)
        found.append(
            (Tail(detector.profile.last + HOUR * steps, asked), NOTHING if chance.random() < 0.2 else past)
        )
    return found


@pytest.mark.parametrize("seed", range(12))
def test_together_they_score_as_each_alone(learned, seed):
    cases = cases_of(learned, seed)
    models = [PackedDetector.of(Packing.of(detector)) for detector, _ in learned]

    together = judge([Case(model, *case) for model, case in zip(models, cases, strict=True)])

    for (detector, _), case, found in zip(learned, cases, together, strict=True):
        alone = judge_alone(detector, *case)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-7)
        np.testing.assert_allclose(found.averages, alone.averages, rtol=1e-6, atol=1e-6)
        scale = np.abs(case[0].values).max() + 1
        np.testing.assert_allclose(found.deviations / scale, alone.deviations / scale, atol=1e-6)
        assert list(found.reasons) == list(alone.reasons)


def test_neighbours_in_a_request_do_not_matter(learned):
    cases = cases_of(learned, 99)
    models = [PackedDetector.of(Packing.of(detector)) for detector, _ in learned]
    asked = [Case(model, *case) for model, case in zip(models, cases, strict=True)]

    for alone, found in zip(asked, judge(asked), strict=True):
        np.testing.assert_array_equal(judge([alone])[0].scores, found.scores)


def test_a_packed_detector_is_the_same_from_a_file(learned, tmp_path):
    detector, values = learned[1]
    packing = Packing.of(detector)
    case = (Tail(np.array([detector.profile.last + HOUR]), np.array([24.0])), tail_behind(detector, values))

    again = load(tmp_path / "1.npz", save(packing, tmp_path / "1.npz"))

    first, second = (judge_together([PackedDetector.of(one)], [case], 64)[0] for one in (packing, again))
    np.testing.assert_array_equal(first.scores, second.scores)


def test_an_altered_file_is_refused_whatever_byte_it_is(learned, tmp_path):
    path = tmp_path / "1.npz"
    sha256 = save(Packing.of(learned[3][0]), path)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UntrustedModel):
            load(path, sha256)


def test_a_forest_that_leads_out_of_itself_is_refused(learned):
    forest = packed(learned[0][0].voices.fast_forests["forest_points"])
    inner = np.flatnonzero(forest.nodes["inner"])
    for field, value in (("beyond", 60_000), ("feature", 200), ("inner", 2)):
        nodes = forest.nodes.copy()
        nodes[field][inner[-1]] = value
        with pytest.raises(UntrustedModel):
            packed_forest.check(type(forest)(nodes, forest.roots, forest.normal_length, forest.depth), 8)


def test_memory_of_forests_no_longer_used_is_used_again(learned, monkeypatch):
    forest = packed(learned[0][0].voices.fast_forests["forest_points"])
    monkeypatch.setattr(packed_forest, "BLOCK", 3 * len(forest.nodes))
    place = Grove()
    place.blocks.append(
        packed_forest.Block(np.empty(packed_forest.BLOCK, packed_forest.NODE), [(0, packed_forest.BLOCK)])
    )

    for _ in range(20):
        place.plant(forest)
    kept = [place.plant(forest) for _ in range(3)]

    assert len(place.blocks) == 1
    assert sorted(plot.start for plot in kept) == [0, len(forest.nodes), 2 * len(forest.nodes)]


def test_rows_of_the_shelf_are_used_again_and_widened():
    shelf = Shelf()
    places = [shelf.put({"size": number, "course": np.ones(2)}) for number in range(100)]
    del places[7]
    again = shelf.put({"size": 7, "course": np.full(5, 3.0)})

    assert again.row == 7
    assert shelf.table("size")[:100].tolist() == list(range(100))
    assert shelf.table("course")[[6, 7]].tolist() == [[1, 1, 0, 0, 0], [3, 3, 3, 3, 3]]


def test_one_sensor_that_cannot_be_judged_costs_the_others_nothing(learned, caplog):
    detector, values = learned[0]
    good = PackedDetector.of(Packing.of(detector))
    bad = PackedDetector.of(Packing.of(detector))
    bad.surroundings.update(dict.fromkeys(bad.surroundings, "nonsense"))
    case = (Tail(np.array([detector.profile.last + HOUR]), np.array([20.0])), tail_behind(detector, values))

    found = judge([Case(good, *case), Case(bad, *case), Case(good, *case)])

    assert isinstance(found[1], Unjudged)
    assert found[0].scores == found[2].scores
    assert "could not be judged" in caplog.text
