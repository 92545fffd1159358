"""Hourly test readings with a daily profile, from a seed."""

import numpy as np
import pandas as pd

DAYS = 30  # of the window
START = "2026-01-01"


def hourly_series(days: int = 32, *, seed: int = 0, noise: float = 0.8) -> pd.Series:
    """An undrifted series: 20 with a daily profile of 5 and white noise."""
    times = pd.date_range(START, periods=24 * days, freq="h", name="timestamp")
    noise_values = np.random.default_rng(seed).normal(0, noise, len(times))
    return pd.Series(20 + 5 * np.sin(2 * np.pi * times.hour.to_numpy() / 24) + noise_values, times)


def split_window(days: int = 32, *, seed: int = 0) -> tuple[pd.Series, pd.Series]:
    """The window of 30 days, and the readings after it."""
    series = hourly_series(days, seed=seed)
    return series[: 24 * DAYS], series[24 * DAYS :]
