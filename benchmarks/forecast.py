"""Compare the forecaster with common methods, in one run.

    python -m benchmarks.forecast --data ../shared/data/forecast --json forecast.json
    python -m benchmarks.forecast --data DIR --series 'steel.*' --origins 2 --peers ours Prophet

DIR holds `sets.csv` (file, step, horizon, season, week, history_days) and the files it names, each of
`series_id,timestamp,value` on the set's own grid. Per series there are five origins over the last fifth of
its readings; each forecaster gets the days of history before an origin, nothing else. Ours is tuned (40
trials) and fitted at each origin. Means are taken over origins, then series, then files; CPU-seconds are of
one forecast, search and fit included. A peer that fails, or answers with what is no number, answers with
yesterday again; how often is in the table, the reason in the JSON. Series that leave no origin, and those
without a change before their first one, which have no MASE, are named.
"""

import argparse
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from benchmarks.forecast_peers import LIMITS, PEERS, PeerForecast, PeerInput
from training.common.arrays import Floats
from training.forecasting.metrics import interval_measures, naive_scales, point_measures

WIDTH = 0.95
FALLBACK_PEER = "seasonal naive (day)"
NAIVE_PEERS = {"day": FALLBACK_PEER, "week": "seasonal naive (week)", "last": "last value"}
MEASURES = ["mase", "rmsse", "coverage", "scaled_winkler", "cpu_seconds"]


@dataclass(frozen=True)
class ForecastTask:
    """One series at one origin: what is asked, what came, and the scales of its errors."""

    file: str
    series_id: str
    origin: int
    peer_input: PeerInput
    truth: Floats
    scales: tuple[float, float]  # mean absolute and square change over a season, before the first origin


def read_tasks(
    folder: Path, *, pattern: str = "*", origins: int = 5
) -> Iterator[tuple[str, list[ForecastTask]]]:
    """Every series of the folder whose id matches, by file and id, with its origins."""
    for row in json.loads(pd.read_csv(folder / "sets.csv").to_json(orient="records")):
        readings = pd.read_csv(folder / row["file"], parse_dates=["timestamp"])
        for series_id, group in readings.groupby("series_id"):
            if fnmatch(str(series_id), pattern):
                values = group.set_index("timestamp")["value"].sort_index().asfreq(row["step"])
                yield f"{row['file']} {series_id}", list(_series_tasks(values, str(series_id), row, origins))


def _series_tasks(
    values: pd.Series, series_id: str, row: dict[str, Any], origins: int
) -> Iterator[ForecastTask]:
    horizon, season = int(row["horizon"]), int(row["season"])
    week = int(row["week"]) if row.get("week") else None
    numbers = values.to_numpy()
    known_rows = np.flatnonzero(~np.isnan(numbers))
    scales = naive_scales(numbers[: int(known_rows[int(0.8 * len(known_rows))])], season)
    memory: dict[str, Any] = {}
    for number, origin in enumerate(choose_origins(numbers, horizon=horizon, origins=origins)):
        history = values.iloc[: origin + 1]
        if row.get("history_days"):
            history = history.loc[history.index[-1] - pd.Timedelta(days=row["history_days"]) :]
        truth = numbers[origin + 1 : origin + 1 + horizon]
        arguments = PeerInput(history, horizon, season, week, WIDTH, memory)
        yield ForecastTask(row["file"], series_id, number, arguments, truth, scales)


def choose_origins(values: Floats, *, horizon: int, origins: int) -> list[int]:
    """Readings in the last fifth, evenly apart, after each of which at least half a horizon is known."""
    known_rows = ~np.isnan(values)
    rows = np.flatnonzero(known_rows)
    before = np.concatenate(([0], np.cumsum(known_rows)))
    late = rows[int(0.8 * len(rows)) :]
    late = late[late + horizon < len(values)]
    usable = late[before[late + 1 + horizon] - before[late + 1] >= horizon / 2]
    return [int(usable[i]) for i in np.linspace(0, len(usable) - 1, min(origins, len(usable))).astype(int)]


def run(series: list[ForecastTask], names: list[str], warmed: set[str] = set()) -> list[dict[str, Any]]:  # noqa: B006
    """All peers on one series, in a worker whose imports and compilation were paid before the clock runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of convergence and of short histories
        for name in [name for name in names if name not in warmed]:
            PEERS[name](_warm_up_input())
            warmed.add(name)
        return [measure_peer(name, task) for task in series for name in names]


def _warm_up_input() -> PeerInput:
    index = pd.date_range("2026-01-01", periods=240, freq="h")
    noise = np.random.default_rng(0).normal(0, 0.1, 240)
    history = pd.Series(np.sin(2 * np.pi * index.hour.to_numpy() / 24) + noise, index=index)
    return PeerInput(history, 24, 24, None, WIDTH)


def measure_peer(name: str, task: ForecastTask) -> dict[str, Any]:
    """One peer's measures on one task, with the CPU-seconds it took."""
    began = cpu_seconds()
    answer, failure = run_peer(name, task.peer_input)
    spent = cpu_seconds() - began
    absolute, square = task.scales
    point = point_measures(task.truth, answer.values, absolute_scale=absolute, square_scale=square)
    interval = interval_measures(task.truth, answer.lower, answer.upper, width=WIDTH)
    return {
        "peer": name,
        "file": task.file,
        "series_id": task.series_id,
        "origin": task.origin,
        **point,
        **interval,
        "scaled_winkler": interval["winkler"] / absolute if absolute > 0 else np.nan,
        "cpu_seconds": spent,
        "note": answer.note,
        "failure": failure,
    }


def run_peer(name: str, arguments: PeerInput) -> tuple[PeerForecast, str]:
    """A peer's forecast, or yesterday's readings with the reason why the peer gave no usable one."""
    try:
        answer = PEERS[name](arguments)
    except Exception as error:  # noqa: BLE001  peers fail in ways of their own, and one failure must not end the run
        return PEERS[FALLBACK_PEER](arguments), repr(error)
    if not all(np.isfinite(part).all() for part in (answer.values, answer.lower, answer.upper)):
        return PEERS[FALLBACK_PEER](arguments), "answered with what is no number"
    return answer, ""


def cpu_seconds() -> float:
    """CPU time of this process and of those it started and waited for (Prophet fits in one of its own)."""
    return sum(os.times()[:4])


def macro_means(results: pd.DataFrame) -> pd.DataFrame:
    """Mean over origins, then series, then files: one row a peer, best first; then MASE file by file."""
    by_series = results.groupby(["peer", "file", "series_id"])[MEASURES].mean()
    by_file = by_series.groupby(["peer", "file"]).mean()
    total = by_file.groupby("peer").mean()
    total["coverage_mean"] = by_series.groupby("peer")["coverage"].mean()
    total["coverage_least"] = by_series.groupby("peer")["coverage"].min()
    total["failures"] = (results["failure"] != "").groupby(results["peer"]).sum()
    return total.join(by_file["mase"].unstack("file")).sort_values("mase")


def compare_to_naive(results: pd.DataFrame) -> pd.DataFrame:
    """Our MASE series by series, its ratio to the naive ones' that ran, and our coverage; the worst first.

    Above 1 we lose. Both without any error is a draw.
    """
    series = [results["file"], results["series_id"]]
    mean = results.groupby([*series, results["peer"]])[["mase", "coverage"]].mean().unstack("peer")
    mase = mean["mase"]
    ran = {short: name for short, name in NAIVE_PEERS.items() if name in mase}
    ratios = {
        f"by {short}": (mase["ours"] / mase[name]).mask((mase["ours"] == 0) & (mase[name] == 0), 1.0)
        for short, name in ran.items()
    }
    table = pd.DataFrame(
        {"ours": mase["ours"], **{short: mase[name] for short, name in ran.items()}, **ratios}
    )
    table["coverage"] = mean["coverage"]["ours"]
    return table.sort_values("by day", ascending=False)


def coverage_notes(
    series_tasks: list[list[ForecastTask]], results: pd.DataFrame, empty: list[str]
) -> list[str]:
    """What is missing from the means, a line each."""
    lines = [f"{len(series_tasks)} series, {sum(map(len, series_tasks))} origins", "", *LIMITS]
    if empty:
        lines.append(f"no origin in the last fifth with half a horizon known after it: {', '.join(empty)}")
    unscaled = sorted(set(results[results["mase"].isna()]["series_id"]))
    if unscaled:
        lines.append(f"no MASE, for nothing changes before the first origin: {', '.join(unscaled)}")
    return lines


def main() -> None:
    """Run, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with sets.csv and its files")
    parser.add_argument("--json", type=Path, help="where to write every result")
    parser.add_argument("--series", default="*", help="only series whose id matches this glob")
    parser.add_argument("--origins", type=int, default=5, help="origins a series")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), help=f"of: {', '.join(PEERS)}")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()

    named = dict(read_tasks(arguments.data, pattern=arguments.series, origins=arguments.origins))
    series_tasks, empty = [t for t in named.values() if t], [name for name, t in named.items() if not t]
    if not series_tasks:
        parser.error(
            f"{arguments.data}/sets.csv names no series with an origin that matches {arguments.series!r}"
        )
    runs = joblib.Parallel(n_jobs=arguments.jobs, return_as="generator")(
        joblib.delayed(run)(series, arguments.peers) for series in series_tasks
    )
    judged = track(runs, total=len(series_tasks), console=Console(stderr=True))
    results = pd.DataFrame(row for rows in judged for row in rows)
    table = macro_means(results)
    print(*coverage_notes(series_tasks, results, empty), "", sep="\n")
    print(table.round(3).to_string())
    if {"ours", FALLBACK_PEER} <= set(arguments.peers):
        print(compare_to_naive(results).round(3).to_string())
    if arguments.json:
        content = {
            "limits": LIMITS,
            "macro": json.loads(table.reset_index().to_json(orient="records")),
            "results": json.loads(results.to_json(orient="records")),
        }
        arguments.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
