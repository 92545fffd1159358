"""Compare the detector with common methods on labelled series.

    python -m benchmarks.detection --data ../shared/data/anomaly --json detection.json

DATA is a folder of `*.csv.gz` or `*.csv` with `series_id,timestamp,value,label` (1 anomalous, 0 normal, empty
not judged). Of each series the first 30 % (200 to 10,000 readings) is learned from without labels, the rest
is scored causally. Means are taken within each file, then over files. Ours is the class the platform
registers, tuned and fitted as `safeplan train` does.
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.detection_measures import at_budget, auc_pr, evaluate_threshold, vus_pr
from benchmarks.detection_peers import PEERS
from training.anomaly.detector import AnomalyDetector
from training.common.arrays import Floats
from training.tuning.detector_search import tune_detector
from training.tuning.study import StudyPlan

OURS = "SafePlan"
TRAINING_SHARE, MIN_TRAINING_READINGS, MAX_TRAINING_READINGS = 0.3, 200, 10_000
MIN_PERIOD, MAX_PERIOD = 10, 100  # of the period, in readings
MEASURES = ["vus_pr", "auc_pr", "event_recall", "delay", "false_alarms_per_day"]
CALIBRATION_MEASURES = [
    "recall_at_half",
    "false_alarms_per_day_at_half",
    "share_above_half",
    "promised_above_half",
]


@dataclass(frozen=True)
class DetectionTask:
    """One labelled series, split where training ends."""

    file: str
    series: str
    readings: pd.Series
    labels: NDArray[np.float64]  # NaN: not judged
    training_size: int

    @property
    def period(self) -> int:
        """The strongest period of the training part, in readings; 100 where there is none."""
        return strongest_period(self.readings.to_numpy()[: self.training_size])


def read_tasks(folder: Path, *, sample: int | None = None) -> Iterator[DetectionTask]:
    """Every series of every file; with `sample`, that many of each file, evenly chosen."""
    for path in sorted([*folder.glob("*.csv.gz"), *folder.glob("*.csv")]):
        table = pd.read_csv(path, parse_dates=["timestamp"], dtype={"series_id": str})
        names = table["series_id"].unique()
        if sample is not None and sample < len(names):
            names = names[np.linspace(0, len(names) - 1, sample).astype(int)]
        for name in names:
            rows = table[(table["series_id"] == name) & np.isfinite(table["value"])]
            rows = rows.sort_values("timestamp", kind="stable").drop_duplicates("timestamp")
            learned = int(np.clip(TRAINING_SHARE * len(rows), MIN_TRAINING_READINGS, MAX_TRAINING_READINGS))
            if len(rows) > learned:
                readings = pd.Series(
                    rows["value"].to_numpy(np.float64), index=pd.DatetimeIndex(rows["timestamp"])
                )
                yield DetectionTask(
                    path.name.split(".")[0], str(name), readings, rows["label"].to_numpy(np.float64), learned
                )


def strongest_period(values: Floats) -> int:
    """The lag of the highest local maximum of the autocorrelation, up to 300; clipped to 10-100."""
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 2 * values.size)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum))[: min(400, values.size // 2)]
    inner = correlation[4:-1]
    peaks = np.flatnonzero((inner > correlation[3:-2]) & (inner > correlation[5:])) + 4
    if not peaks.size:
        return MAX_PERIOD
    best = int(peaks[np.argmax(correlation[peaks])])
    return int(np.clip(best, MIN_PERIOD, MAX_PERIOD)) if best <= 300 else MAX_PERIOD


def run_ours(task: DetectionTask, *, trials: int) -> tuple[Floats, dict[str, float]]:
    """Tune and fit on the training part, score the rest with the readings before as history."""
    learn, rest = task.readings[: task.training_size], task.readings[task.training_size :]
    tuned = tune_detector(learn, plan=StudyPlan(trials=trials)).parameters if trials else None
    detector = AnomalyDetector(tuned).fit(learn)
    scores = detector.score(rest, history=learn)
    return scores, {"promised_above_half": detector.promised_share(0.5)}


def run_peer(name: str, task: DetectionTask) -> Floats:
    """A peer's scores of the rest; values scaled robustly, as its docs advise."""
    values = task.readings.to_numpy()
    learn = values[: task.training_size]
    spread = float(np.subtract(*np.quantile(learn, [0.75, 0.25]))) or float(learn.std()) or 1.0
    scaled = (values - np.median(learn)) / spread
    scores = PEERS[name](scaled[: task.training_size], scaled[task.training_size :], task.period)
    return np.nan_to_num(scores, nan=float(np.nanmin(scores)))


def measure(task: DetectionTask, scores: Floats) -> dict[str, float]:
    """All measures of one run; those of events are NaN where the rest holds none."""
    judged = ~np.isnan(task.labels[task.training_size :])
    labels = task.labels[task.training_size :][judged] == 1
    scores = scores[judged]
    normal = int(np.count_nonzero(~labels))
    days = normal * step_seconds(task) / 86_400
    at_threshold = at_budget(scores, labels)
    half = evaluate_threshold(scores, labels, 0.5)
    result = {
        "event_recall": at_threshold.recall,
        "delay": at_threshold.delay,
        "false_alarms_per_day": at_threshold.false_episodes / days if days else float("nan"),
        "recall_at_half": half.recall,
        "false_alarms_per_day_at_half": half.false_episodes / days if days else float("nan"),
        "share_above_half": float(np.mean(scores[~labels] >= 0.5)) if normal else float("nan"),
    }
    if not labels.any():
        return result
    return result | {
        "vus_pr": vus_pr(scores, labels, longest_buffer=task.period),
        "auc_pr": auc_pr(scores, labels),
    }


def step_seconds(task: DetectionTask) -> float:
    """The median step between readings."""
    return float(np.median(np.diff(task.readings.index.to_numpy("datetime64[ns]")).astype(np.int64))) / 1e9


def run_task(task: DetectionTask, names: list[str], trials: int) -> list[dict[str, Any]]:
    """One row for each method on one series."""
    rows = []
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peers warn of convergence, ties and empty bins
            start = time.process_time()
            scores, notes = run_ours(task, trials=trials) if name == OURS else (run_peer(name, task), {})
            seconds = time.process_time() - start
        result = {"method": name, "file": task.file, "series": task.series, "cpu_seconds": seconds}
        rows.append(result | measure(task, scores) | notes)
    return rows


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Means within files, then over files; CPU-seconds in total. Best VUS-PR first."""
    by_file = rows.groupby(["method", "file"])[MEASURES].mean()
    table = by_file.groupby("method").mean()
    table["cpu_seconds"] = rows.groupby("method")["cpu_seconds"].sum()
    return table.sort_values("vus_pr", ascending=False)


def warm_up(names: list[str], trials: int) -> None:
    """Imports and compilation, paid before the clock runs."""
    wave = np.sin(np.arange(400) / 5) + np.random.default_rng(0).normal(0, 0.1, 400)
    index = pd.date_range("2026-01-01", periods=400, freq="min")
    run_task(
        DetectionTask("warm-up", "wave", pd.Series(wave, index=index), np.zeros(400), 200), names, trials
    )


def run(task: DetectionTask, names: list[str], trials: int, warmed: set[str] = set()) -> list[dict[str, Any]]:  # noqa: B006
    """`run_task` in a worker that has been warmed up once."""
    if not warmed:
        warm_up(names, trials)
        warmed.update(names)
    return run_task(task, names, trials)


def main() -> None:
    """Read the command line, run everything, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled series")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    parser.add_argument("--series", type=int, help="at most this many series of each file, for a quick run")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trials", type=int, default=40, help="of our tuning; 0: defaults")
    parser.add_argument("--only", nargs="*", help=f"methods to run, of: {OURS}, {', '.join(PEERS)}")
    arguments = parser.parse_args()
    names = arguments.only or [OURS, *PEERS]
    tasks = list(read_tasks(arguments.data, sample=arguments.series))
    if not tasks:
        parser.error(
            f"{arguments.data} holds no labelled series (*.csv.gz with series_id,timestamp,value,label)"
        )
    runs = joblib.Parallel(n_jobs=arguments.jobs)(
        joblib.delayed(run)(task, names, arguments.trials) for task in tasks
    )
    rows = pd.DataFrame([row for task_rows in runs for row in task_rows])
    table = summarise(rows)
    by_file = rows.pivot_table(index="method", columns="file", values="vus_pr").loc[table.index]
    calibration = (
        rows[rows["method"] == OURS].groupby("file")[CALIBRATION_MEASURES].mean() if OURS in names else None
    )
    print(f"{len(tasks)} series; macro means over files; delay in readings; cpu_seconds in total\n")
    print(table.round(3).to_string(), "\n\nVUS-PR by file\n")
    print(by_file.round(3).to_string())
    if calibration is not None:
        print(f"\n{OURS} at its own threshold of 0.5\n\n{calibration.round(4).to_string()}")
    if arguments.json:
        document = {
            "methods": json.loads(table.to_json(orient="index")),
            "vus_pr_by_file": json.loads(by_file.to_json(orient="index")),
            "series": json.loads(rows.to_json(orient="records")),
        }
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
