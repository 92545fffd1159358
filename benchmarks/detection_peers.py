"""Peer detectors: common methods at sensible settings, all causal.

Each peer is a function of the training values, the values to score and the period; it returns one score for
each of the latter. Windows end at the reading they score. Values come scaled by the training part's median
and robust spread, which none of the peers is hurt by.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from training.common.arrays import Floats

Peer = Callable[[Floats, Floats, int], Floats]


def robust_z(train: Floats, test: Floats, _: int) -> Floats:
    """Distance from the median; the spread is the same for all and changes no ranks."""
    return np.abs(test - np.median(train))


def rolling_z(train: Floats, test: Floats, period: int) -> Floats:
    """Distance from the mean of the readings before, in their standard deviations."""
    length = max(30, period)
    whole = pd.Series(np.concatenate([train, test]))
    before = whole.shift().rolling(length, min_periods=length // 2)
    z = (whole - before.mean()).abs() / (before.std() + 1e-3)
    return np.asarray(z.iloc[train.size :].fillna(0.0), dtype=np.float64)


def forest_raw(train: Floats, test: Floats, _: int) -> Floats:
    """Isolation Forest on single values."""
    return _forest(train[:, None], test[:, None])


def lof_raw(train: Floats, test: Floats, _: int) -> Floats:
    """LOF on single values."""
    return _lof(train[:, None], test[:, None])


def plain_ensemble(train: Floats, test: Floats, _: int) -> Floats:
    """The mean of both on bare values, each brought to [0, 1] by the training scores' range."""
    total = np.zeros(test.size)
    for score in (_forest, _lof):
        training_rows, queries = (score(train[:, None], part[:, None]) for part in (train, test))
        total += np.clip((queries - training_rows.min()) / max(np.ptp(training_rows), 1e-12), 0, 1)
    return total / 2


def forest_windows(train: Floats, test: Floats, period: int) -> Floats:
    """Isolation Forest on windows of one period."""
    return _forest(*_windows(train, test, period))


def lof_windows(train: Floats, test: Floats, period: int) -> Floats:
    """LOF on windows of one period."""
    return _lof(*_windows(train, test, period))


def sub_pca(train: Floats, test: Floats, period: int) -> Floats:
    """Distance of a window in the principal axes of training windows, small axes weighing most."""
    training_rows, queries = _windows(train, test, period)
    pca = PCA(random_state=0).fit(training_rows)
    axes = np.maximum(pca.explained_variance_, 1e-4 * pca.explained_variance_[0] + 1e-12)
    return np.asarray(np.sqrt((pca.transform(queries) ** 2 / axes).sum(axis=1)))


def sub_pca_residual(train: Floats, test: Floats, period: int) -> Floats:
    """What the axes that hold nine tenths of the training variance leave unexplained."""
    training_rows, queries = _windows(train, test, period)
    pca = PCA(n_components=0.9, svd_solver="full").fit(training_rows)
    return np.asarray(np.linalg.norm(queries - pca.inverse_transform(pca.transform(queries)), axis=1))


def kmeans_ad(train: Floats, test: Floats, period: int) -> Floats:
    """Distance of a window to the nearest of twenty typical ones."""
    training_rows, queries = _windows(train, test, period)
    centres = KMeans(n_clusters=min(20, len(training_rows) // 5), n_init=1, random_state=0).fit(training_rows)
    return np.asarray(centres.transform(queries).min(axis=1))


def matrix_profile(train: Floats, test: Floats, period: int) -> Floats:
    """Distance of a window's shape to the most similar one in training."""
    import stumpy  # noqa: PLC0415  half a minute of compilation that other peers need not wait for

    jitter = np.random.default_rng(0).normal(scale=1e-6, size=train.size + test.size)
    whole = np.concatenate([train, test]) + jitter
    length = min(period, train.size // 4)
    queries = whole[train.size - length + 1 :]
    return np.asarray(
        stumpy.stump(queries, length, whole[: train.size], ignore_trivial=False)[:, 0], np.float64
    )


def ecod(train: Floats, test: Floats, period: int) -> Floats:
    """Tail probabilities of every place in a window (PyOD)."""
    from pyod.models.ecod import ECOD  # noqa: PLC0415

    return _pyod(ECOD(), *_windows(train, test, period))


def hbos(train: Floats, test: Floats, period: int) -> Floats:
    """Histogram densities of every place in a window (PyOD)."""
    from pyod.models.hbos import HBOS  # noqa: PLC0415

    return _pyod(HBOS(), *_windows(train, test, period))


def holt_winters(train: Floats, test: Floats, period: int) -> Floats:
    """One-step error of additive Holt-Winters; its rates are those that erred least in training."""
    rates = [(a, b, g) for a in (0.05, 0.2, 0.5) for b in (0.0, 0.01) for g in (0.0, 0.1)]
    best = min(rates, key=lambda rate: np.median(_one_step_errors(train, rate, period)[2 * period :]))
    return _one_step_errors(np.concatenate([train, test]), best, period)[train.size :]


def _one_step_errors(values: Floats, rate: tuple[float, float, float], period: int) -> Floats:
    alpha, beta, gamma = rate
    level, slope, season = float(values[0]), 0.0, [0.0] * period
    errors = []
    for row, value in enumerate(values.tolist()):
        place = row % period
        error = value - (level + slope + season[place])
        errors.append(abs(error))
        level += slope + alpha * error
        slope += alpha * beta * error
        season[place] += gamma * (1 - alpha) * error
    return np.array(errors)


def _windows(train: Floats, test: Floats, period: int) -> tuple[Floats, Floats]:
    length = max(4, min(period, train.size // 4))
    windows = sliding_window_view(np.concatenate([train, test]), length)
    split = train.size - length + 1
    return windows[:split], windows[split:]


def _forest(training_rows: Floats, queries: Floats) -> Floats:
    return -np.asarray(IsolationForest(random_state=0).fit(training_rows).score_samples(queries))


def _lof(training_rows: Floats, queries: Floats) -> Floats:
    jitter = np.random.default_rng(0).normal(scale=1e-3, size=training_rows.shape)
    return -np.asarray(LocalOutlierFactor(novelty=True).fit(training_rows + jitter).score_samples(queries))


def _pyod(model: Any, training_rows: Floats, queries: Floats) -> Floats:
    return np.asarray(model.fit(training_rows).decision_function(queries), dtype=np.float64)


PEERS: Mapping[str, Peer] = {
    "robust z": robust_z,
    "rolling z": rolling_z,
    "IF raw": forest_raw,
    "LOF raw": lof_raw,
    "plain ensemble": plain_ensemble,
    "IF windows": forest_windows,
    "LOF windows": lof_windows,
    "Sub-PCA": sub_pca,
    "Sub-PCA residual": sub_pca_residual,
    "KMeansAD": kmeans_ad,
    "matrix profile": matrix_profile,
    "ECOD": ecod,
    "HBOS": hbos,
    "Holt-Winters": holt_winters,
}
