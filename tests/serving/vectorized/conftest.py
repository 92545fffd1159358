"""Fitted detectors of different sensors."""

import numpy as np
import pandas as pd
import pytest

from training.anomaly.detector import AnomalyDetector


def fit(
    rows: int, *, amplitude: float = 0.0, decimals: int = 3, seed: int = 0
) -> tuple[AnomalyDetector, np.ndarray]:
    """A detector of hourly readings with a daily cycle, and the readings."""
    times = pd.date_range("2026-01-01", periods=rows, freq="h")
    values = 20 + amplitude * np.sin(2 * np.pi * times.hour.to_numpy() / 24)
    values = (values + np.random.default_rng(seed).normal(0, 0.3, rows)).round(decimals)
    return AnomalyDetector(seed=seed).fit(pd.Series(values, index=times)), values


@pytest.fixture(scope="session")
def trained_detectors() -> list[tuple[AnomalyDetector, np.ndarray]]:
    """Detectors with their training values; their windows differ in length."""
    return [
        fit(900),
        fit(900, amplitude=3, seed=1),
        fit(200, seed=2),
        fit(60, seed=3),
        fit(900, decimals=0, seed=4),
        fit(900, amplitude=3, seed=5),
    ]
