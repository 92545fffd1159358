"""The numbers of the drift benchmark: false-alarm rates, power, verdicts by the age of the window.

Every mean is taken within files, then over files, so that one file of many series counts no more than
another; `pooled` ones count every block alike.
"""

from typing import Any

import numpy as np
import pandas as pd

RATES = (0.05, 0.01)


def weights(rows: pd.DataFrame) -> pd.Series:
    """Equal weight for each file, and within it for each row; sums to 1."""
    sizes = rows.groupby("file")["file"].transform("size")
    return 1 / sizes / rows["file"].nunique()


def share(rows: pd.DataFrame, alarmed: pd.Series) -> float:
    """The weighed share of rows that alarm."""
    return float((weights(rows) * alarmed).sum()) if len(rows) else float("nan")


def threshold(undrifted: pd.DataFrame, rate: float, *, pooled: bool = False) -> float:
    """The score at or below which just this share of the undrifted blocks lies."""
    ordered = undrifted.assign(weight=1 / len(undrifted) if pooled else weights(undrifted))
    ordered = ordered.sort_values("score")
    within = ordered["weight"].cumsum() <= rate + 1e-12
    return float(ordered["score"][within].max()) if within.any() else -np.inf


def power(drifted: pd.DataFrame, limit: float, *, pooled: bool = False) -> pd.Series:
    """By injection, the share of blocks whose score is at or below a limit."""
    alarmed = drifted["score"] <= limit
    if pooled:
        return alarmed.groupby(drifted["how"]).mean()
    by_file = alarmed.groupby([drifted["how"], drifted["file"]]).mean()
    return by_file.groupby("how").mean()


def summarise(rows: pd.DataFrame, lags: tuple[int, ...]) -> dict[str, Any]:
    """All numbers of one method."""
    recent_rows = rows[rows["lag"].isin(lags)]
    undrifted, drifted = recent_rows[recent_rows["how"] == ""], recent_rows[recent_rows["how"] != ""]
    own = undrifted["verdict"] == "drifted"
    result: dict[str, Any] = {
        "blocks": len(undrifted),
        "series": undrifted["series"].nunique(),
        "false_alarms": share(undrifted, own),
        "false_alarms_pooled": float(own.mean()),
        "power": float(_power_by_injection(drifted, drifted["verdict"] == "drifted").mean()),
        "cpu_ms": 1000 * float(rows["cpu"].mean()),
    }
    for rate in RATES:
        result[f"observed_{rate}"] = _power_at_rate(undrifted, drifted, rate)
    return result


def summarise_stated(rows: pd.DataFrame, lags: tuple[int, ...]) -> dict[str, Any]:
    """False-alarm rates and power of a method whose score is a p-value, at the rates it states."""
    recent_rows = rows[rows["lag"].isin(lags)]
    undrifted, drifted = recent_rows[recent_rows["how"] == ""], recent_rows[recent_rows["how"] != ""]
    result: dict[str, Any] = {}
    for rate in RATES:
        alarmed = undrifted["score"] <= rate
        by_lag = {
            int(lag): share(undrifted[undrifted["lag"] == lag], alarmed[undrifted["lag"] == lag])
            for lag in lags
        }
        powers = power(drifted, rate)
        result[f"stated_{rate}"] = {
            "false_alarms": share(undrifted, alarmed),
            "pooled": float(alarmed.mean()),
            "by_lag": by_lag,
            "by_file": alarmed.groupby(undrifted["file"]).mean().to_dict(),
            "power": float(powers.mean()),
            "by_injection": powers.to_dict(),
        }
    return result


def ageing_table(rows: pd.DataFrame) -> pd.DataFrame:
    """By blocks between window and check: shares drifted and aged, and alarms of a plain rank test."""
    undrifted = rows[rows["how"] == ""]
    cried = undrifted["plain"] <= min(RATES)
    return pd.DataFrame(
        {
            "blocks": undrifted.groupby("lag").size(),
            "plain alarm": cried.groupby(undrifted["lag"]).mean(),
            "drifted": (undrifted["verdict"] == "drifted").groupby(undrifted["lag"]).mean(),
            "aged": (undrifted["verdict"] == "aged").groupby(undrifted["lag"]).mean(),
        }
    )


def _power_at_rate(undrifted: pd.DataFrame, drifted: pd.DataFrame, rate: float) -> dict[str, Any]:
    limit = threshold(undrifted, rate)
    powers = power(drifted, limit)
    pooled = power(drifted, threshold(undrifted, rate, pooled=True), pooled=True)
    return {
        "threshold": limit,
        "power": float(powers.mean()),
        "power_pooled": float(pooled.mean()),
        "by_injection": powers.to_dict(),
        "by_file": (drifted["score"] <= limit).groupby(drifted["file"]).mean().to_dict(),
    }


def _power_by_injection(drifted: pd.DataFrame, alarmed: pd.Series) -> pd.Series:
    return alarmed.groupby([drifted["how"], drifted["file"]]).mean().groupby("how").mean()
