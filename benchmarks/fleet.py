"""Cost of tuning and retraining a fleet: against the plain pattern, by size, at night, and of the inner loop.

    python -m benchmarks.fleet --json fleet.json
    python -m benchmarks.fleet --only sizes nightly --sizes 10 100 --json fleet.json
    python -m benchmarks.fleet --only plain --series 1 --data ../shared/data/forecast --json fleet.json

Parts: `plain` trains single sensors both ways (60 days hourly, 14 days of 5 minutes) with CPU-seconds by
phase and their grades; `sizes` runs `safeplan train` over whole fleets; `nightly` runs it again,
unchanged and a day later; `inner` is Prophet's fit alone; `ray` kills one of two cluster nodes. DIR is a
folder of the forecast benchmark's form.
"""

import argparse
import importlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.fleet_baseline import GradedRun, train_baseline
from benchmarks.fleet_prophet_fit import compare_fits
from benchmarks.fleet_ray import train_on_two_nodes
from benchmarks.fleet_readings import FIVE_MINUTES, HOUR, SensorSeries, make_fleet, single_sensors
from benchmarks.fleet_runs import ingest_readings, prepare_home, run_train, without_last_day
from benchmarks.fleet_safeplan import train_safeplan
from training.kinds import Kind
from training.pipeline.plan import Plan
from training.pipeline.worker_pool import ONE_THREAD, PRELOADED
from training.workspace import Workspace

Rows = list[dict[str, Any]]
READING_SETS = (("60 days hourly", HOUR, 60.0), ("14 days of 5 min", FIVE_MINUTES, 14.0))
PHASES = ("read", "features", "tune", "grade", "fit", "log")


def compare_pipelines(arguments: argparse.Namespace) -> Rows:
    """The same sensors by the plain pattern and by ours, each in this process, one after the other."""
    # Workers are forked from a process that has these already, and the plain pattern's are imported above.
    for module in PRELOADED:
        importlib.import_module(module)
    rows: Rows = []
    chosen = [
        (name, step, cut)
        for name, step, days in READING_SETS
        for cut in single_sensors(step, days=days, count=arguments.series, data=arguments.data)
    ]
    # One sensor thrown away pays what either way pays once: libraries loaded at first use, queries compiled.
    first = next(make_fleet(1))
    with tempfile.TemporaryDirectory(prefix="safeplan-fleet-") as folder:
        comparison = PipelineComparison.create(Path(folder), [first, *(cut for _, _, cut in chosen)])
        comparison.train(first, HOUR)
        for name, step, cut in chosen:
            baseline, safeplan_run = comparison.train(cut, step)
            rows += [_row(name, cut, "plain", baseline), _row(name, cut, "ours", safeplan_run)]
            rows[-1]["times_less"] = round(rows[-2]["cpu_s"] / rows[-1]["cpu_s"], 1)
    return rows


def train_fleets(arguments: argparse.Namespace) -> Rows:
    """Whole fleets of each size through the command line."""
    rows: Rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="safeplan-fleet-") as folder:
            prepare_home(Path(folder), list(make_fleet(size)))
            rows.append(run_train(Path(folder), size, jobs=arguments.jobs).as_row())
    return rows


def retrain_nightly(arguments: argparse.Namespace) -> Rows:
    """A fleet trained, then again with the same readings, then with a day more of each."""
    cuts = list(make_fleet(arguments.fleet))
    with tempfile.TemporaryDirectory(prefix="safeplan-fleet-") as folder:
        home = Path(folder)
        prepare_home(home, [without_last_day(cut) for cut in cuts])
        rows: Rows = []
        for name, arriving in (("first", False), ("unchanged", False), ("a day more", True)):
            if arriving:
                ingest_readings(Workspace(home), cuts)
            rows.append({"run": name, **run_train(home, arguments.fleet, jobs=arguments.jobs).as_row()})
    return rows


def compare_prophet_fits(arguments: argparse.Namespace) -> Rows:
    """Prophet's fit by its Gram matrix and by CmdStan."""
    cuts = [
        cut
        for _, step, days in READING_SETS
        for cut in single_sensors(step, days=days, count=arguments.series, data=arguments.data)
    ]
    return [found.as_row() for found in compare_fits(cuts)]


def train_on_ray(arguments: argparse.Namespace) -> Rows:
    """A fleet on two local nodes, one killed during the training."""
    with tempfile.TemporaryDirectory(prefix="safeplan-fleet-") as folder:
        return [train_on_two_nodes(Path(folder), arguments.cluster)]


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "inner": compare_prophet_fits,
    "plain": compare_pipelines,
    "nightly": retrain_nightly,
    "sizes": train_fleets,
    "ray": train_on_ray,
}


@dataclass(frozen=True)
class PipelineComparison:
    """One installation in which single sensors are trained by the plain pattern, then by ours."""

    workspace: Workspace
    parent_runs: dict[Kind, str]

    @classmethod
    def create(cls, home: Path, cuts: list[SensorSeries]) -> "PipelineComparison":
        """An installation of its own that holds the readings of these sensors."""
        prepare_home(home, cuts)
        workspace = Workspace(home)
        tracker = workspace.tracker
        parents = {kind: tracker.open(kind.experiment, "benchmark", {}).run_id for kind in Kind}
        tracker.experiment("plain")
        mlflow.set_experiment("plain")
        return cls(workspace, parents)

    def train(self, cut: SensorSeries, step: timedelta) -> tuple[GradedRun, GradedRun]:
        """The results of the plain pattern and of ours."""
        baseline = train_baseline(self.workspace.engine, cut.sensor_id, step)
        return baseline, train_safeplan(self.workspace, cut.sensor_id, Plan.from_conf(), self.parent_runs)


def _row(name: str, cut: SensorSeries, pipeline: str, graded: GradedRun) -> dict[str, Any]:
    return {
        "readings": name,
        "sensor": cut.sensor_id,
        "way": pipeline,
        "cpu_s": round(sum(graded.seconds.values()), 2),
        **{phase: round(graded.seconds.get(phase, 0.0), 3) for phase in PHASES},
        "mae": graded.metrics["mae"],
        "recall": graded.metrics["recall_mean"],
        "alarms_a_day": graded.metrics["false_alarms_per_day"],
        "recall_at_1_a_day": graded.metrics["recall_at_budget"],
    }


def main() -> None:
    """Run the parts asked for, print a table for each, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="parts to run")
    parser.add_argument("--data", type=Path, help="series of other origin for the single sensors")
    parser.add_argument("--series", type=int, default=2, help="single sensors of each step")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000], help="fleets")
    parser.add_argument("--fleet", type=int, default=100, help="sensors of the nightly fleet")
    parser.add_argument("--cluster", type=int, default=200, help="sensors trained on two Ray nodes")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--json", type=Path, help="where to write every result")
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    # Of this process too, whose numeric libraries are loaded already: threads that wait for work spin, and
    # were counted with what either way costs, a third of ours.
    threadpool_limits(1)
    content: dict[str, Any] = {"load_before": os.getloadavg()[0], "cores": os.cpu_count()}
    for part in arguments.only:
        content[part] = PARTS[part](arguments)
        print(f"\n{part}\n{pd.DataFrame(content[part]).to_string(index=False)}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
