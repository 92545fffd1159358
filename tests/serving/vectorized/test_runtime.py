"""Packed detectors share memory and threads through a runtime, and nothing else."""

import subprocess
import sys

import numpy as np

from serving.recent_readings import Tail
from serving.vectorized.batch_scoring import ScoringCase, score_cases
from serving.vectorized.packed_detector import DetectorArrays, PackedDetector
from serving.vectorized.runtime import ScoringRuntime


def test_importing_starts_no_thread():
    code = "import threading, serving.vectorized.batch_scoring; print(threading.active_count())"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "1\n"


def test_detectors_of_two_runtimes_score_in_one_call(trained_detectors):
    detector, values = trained_detectors[0]
    history = Tail(detector.profile.last + 3600.0 * np.arange(1 - len(values), 1), values)
    scored = Tail(np.array([detector.profile.last + 3600.0]), np.array([24.0]))
    models = [PackedDetector.of(DetectorArrays.of(detector), ScoringRuntime()) for _ in range(2)]

    first, second = score_cases([ScoringCase(model, scored, history) for model in models])

    assert first.scores == second.scores
