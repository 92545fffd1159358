"""Packed detectors on disk: the same scores after loading, and altered files are refused."""

import numpy as np
import pytest

from serving.recent_readings import Tail
from serving.vectorized.batch_scoring import score_batch
from serving.vectorized.packed_detector import DetectorArrays, PackedDetector
from serving.vectorized.packed_files import load_packed, save_packed
from serving.vectorized.runtime import ScoringRuntime
from training.errors import UntrustedModel


def test_a_packed_detector_scores_the_same_from_a_file(trained_detectors, tmp_path):
    detector, values = trained_detectors[1]
    arrays, runtime = DetectorArrays.of(detector), ScoringRuntime()
    history = Tail(detector.profile.last + 3600.0 * np.arange(1 - len(values), 1), values)
    case = (Tail(np.array([detector.profile.last + 3600.0]), np.array([24.0])), history)

    loaded = load_packed(tmp_path / "1.npz", save_packed(arrays, tmp_path / "1.npz"))

    first, second = (score_batch([PackedDetector.of(one, runtime)], [case])[0] for one in (arrays, loaded))
    np.testing.assert_array_equal(first.scores, second.scores)
    assert loaded.threshold == arrays.threshold
    assert loaded.profile == arrays.profile


def test_a_file_with_any_byte_altered_is_refused(trained_detectors, tmp_path):
    path = tmp_path / "1.npz"
    sha256 = save_packed(DetectorArrays.of(trained_detectors[3][0]), path)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UntrustedModel, match="altered"):
            load_packed(path, sha256)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UntrustedModel, match="cannot be read"):
        load_packed(tmp_path / "1.npz", "")
