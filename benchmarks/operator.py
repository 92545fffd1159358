"""What an operator gets to know of known faults, and at what price.

    python -m benchmarks.operator --json operator.json --data ../shared/data/raw

Four parts: a simulated day of ten one-minute sensors with faults and stops; the same faults in readings of a
real pump rig and a real well; 67 days of a real water plant; recall of injected faults on twenty one-minute
sensors. Without DATA only the first runs. DATA holds `*.csv.gz` with `series_id,timestamp,value` and, of the
water plant, `label`.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from benchmarks.operator_day import (
    HISTORY_MINUTES,
    DayRecord,
    plant_workspace,
    report_faults,
    run_plant_day,
    stop_messages,
    to_rows,
    unexplained_calls,
)
from benchmarks.operator_faults import STOPS
from benchmarks.operator_messages import MessageSink
from benchmarks.operator_plant import MINUTES_PER_DAY, Signal, simulate_plant
from benchmarks.operator_real import real_plant
from benchmarks.operator_recall import grade_sensor, minute_sensors
from benchmarks.operator_replay import read_water_plant, replay
from training.kinds import Kind
from training.workspace import Workspace

PARTS = ("day", "real", "replay", "recall")
COLUMNS = ("name", "detected", "reported_after", "severity", "type", "normal_minutes", "cleared_after")


@contextmanager
def installation(*, with_plant: bool) -> Iterator[tuple[Workspace, MessageSink]]:
    """An empty installation in a temporary folder, with the operator's channel."""
    with (
        tempfile.TemporaryDirectory(prefix="safeplan-operator-") as folder,
        MessageSink() as sink,
        plant_workspace(Path(folder), sink, with_sensors=with_plant) as workspace,
    ):
        yield workspace, sink


def run_day(plant: Mapping[str, Signal], trials: int, *, every_minute: bool) -> dict[str, Any]:
    """One day of a plant."""
    with installation(with_plant=True) as (workspace, sink):
        record = run_plant_day(
            workspace, sink, plant, trials=trials, kinds=tuple(Kind), every_minute=every_minute
        )
        return summarise_day(record)


def summarise_day(record: DayRecord) -> dict[str, Any]:
    """The day as plain values."""
    calls = [
        {"sensor_id": alert.topic.sensor_id, "type": alert.topic.type, "change": event.change, "at": event.at}
        for alert, event in unexplained_calls(record)
    ]
    return {
        "faults": to_rows(report_faults(record)),
        "stops": {
            stop.name: [f"{m.at:%H:%M} {m.title}" for m in stop_messages(record, stop)] for stop in STOPS
        },
        "unexplained_calls": calls,
        "messages": len(record.messages),
        "detectors": {
            outcome.sensor_id: {
                "status": str(outcome.status),
                "recall": outcome.metrics.get("recall_mean"),
                "gate": outcome.detail.get("gate"),
            }
            for outcome in record.trained
            if outcome.kind is Kind.DETECTOR
        },
        "runs": record.runs,
        "cpu_ms_per_run": {
            phase: 1000 * seconds / record.runs for phase, seconds in record.cpu_seconds.items()
        },
    }


def run_recall(data: Path, trials: int, jobs: int) -> dict[str, Any]:
    """Recall by sensor and its mean by kind."""
    sensors = dict(minute_sensors(data))
    grades = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(grade_sensor)(readings, trials=trials) for readings in sensors.values()
    )
    table = pd.DataFrame(grades, index=list(sensors))
    return {"sensors": table.to_dict("index"), "mean": table.mean().to_dict()}


def run_replay(data: Path, trials: int) -> dict[str, Any]:
    """The water plant."""
    with installation(with_plant=False) as (workspace, sink):
        return vars(replay(workspace, sink, read_water_plant(data), trials=trials))


def print_day(title: str, day: Mapping[str, Any]) -> None:
    """The table of one day."""
    table = pd.DataFrame(day["faults"])
    table["messages"] = table["messages"].map(" ".join)
    print(f"\n{title}\n{table[[*COLUMNS, 'messages']].to_string(index=False)}")
    for name, messages in day["stops"].items():
        print(f"{name}: {len(messages)} messages")
    print(f"calls without a fault: {len(day['unexplained_calls'])}")


def main() -> None:
    """Read the command line, run the parts, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where to write all numbers")
    parser.add_argument("--data", type=Path, help="folder with the readings of real plants")
    parser.add_argument("--trials", type=int, default=40, help="of each tuning")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the part recall")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="parts to run")
    arguments = parser.parse_args()
    data, trials = arguments.data, arguments.trials
    if data is None and arguments.only not in (None, ["day"]):
        parser.error("these parts need --data")
    available = ("day",) if data is None else PARTS
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "day": lambda: run_day(simulate_plant(HISTORY_MINUTES + MINUTES_PER_DAY), trials, every_minute=True),
        "real": lambda: run_day(real_plant(data), trials, every_minute=False),
        "replay": lambda: run_replay(data, trials),
        "recall": lambda: run_recall(data, trials, arguments.jobs),
    }
    results = {}
    for name in arguments.only or available:
        results[name] = parts[name]()
        if "faults" in results[name]:
            print_day(name, results[name])
        else:
            print(f"\n{name}\n{json.dumps(results[name], indent=1, default=str)}")
        arguments.json.write_text(json.dumps(results, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
