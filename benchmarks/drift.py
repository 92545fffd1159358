"""Measure false alarms and power of the drift check.

    python -m benchmarks.drift --data ../shared/data --json drift.json

DATA is a folder with undrifted stretches and known changes (`drift_data` describes how it is read). Each
2-day block, 0 to 8 days after a 28-day window, is compared with the window unchanged (an alarm is false)
and with an injected drift (power). Means are taken within files, then over files; `pooled` weighs all
blocks equally. Evidently's methods run on the same blocks. Then: when each known change is found, and the
cost of checking 500 sensors.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from benchmarks.drift_data import (
    KnownChange,
    UndriftedSeries,
    known_changes,
    load_series,
    other_series,
    undrifted_series,
)
from benchmarks.drift_peers import PEERS
from benchmarks.drift_report import RATES, ageing_table, summarise, summarise_stated
from benchmarks.drift_scale import check_cost, show_cost
from benchmarks.drift_windows import INJECTIONS, LAGS, DriftCase, inject_drift, make_cases
from monitoring.drift.compare_frames import DriftSettings, compare

PARTS = ("fleet", "windows", "changes")
OURS = "SafePlan"
OLD_LAGS = (7, 14)  # blocks: two and four weeks
POWER_LAGS = (0, 3)  # where power is measured
SETTINGS = DriftSettings()

Judge = Callable[[DriftCase, pd.Series], dict[str, Any]]


def run_series(stretch: UndriftedSeries, *, max_blocks: int, peers: bool) -> list[dict[str, Any]]:
    """One row for each method, block and injection of one series."""
    rows = []
    for case in make_cases(stretch, max_blocks=max_blocks):
        injections = ("", *INJECTIONS) if case.lag in POWER_LAGS else ("",)
        for injection in injections:
            block = inject_drift(case, injection) if injection else case.block
            rows += [_row(case, injection) | found for found in _run_methods(case, block, peers=peers)]
    for case in make_cases(stretch, max_blocks=max_blocks, lags=OLD_LAGS):
        rows += [_row(case, "") | found for found in _run_methods(case, case.block, peers=False)]
    return rows


def _run_methods(case: DriftCase, block: pd.Series, *, peers: bool) -> Iterator[dict[str, Any]]:
    started = time.process_time()
    found = compare(case.window, block, settings=replace_current(case))
    plain = 1.0 if found.judgement is None else found.judgement.exchangeable_p
    p = 1.0 if found.p_value is None else found.p_value
    yield {
        "method": OURS,
        "score": p,
        "verdict": found.verdict.value,
        "kind": found.kind,
        "plain": plain,
        "cpu": time.process_time() - started,
    }
    for name, peer in PEERS.items() if peers else ():
        started = time.process_time()
        score, drifted = peer(case.window, block)
        result = {"method": name, "score": score, "verdict": "drifted" if drifted else "steady"}
        yield result | {"cpu": time.process_time() - started}


def replace_current(case: DriftCase) -> DriftSettings:
    """The settings with blocks as long as the case's."""
    return SETTINGS.model_copy(update={"current": pd.Timedelta(seconds=case.length).to_pytimedelta()})


def _row(case: DriftCase, injection: str) -> dict[str, Any]:
    return {
        "file": case.stretch.file,
        "series": case.stretch.series,
        "block": case.number,
        "lag": case.lag,
        "how": injection,
    }


def run_change(folder: Path, change: KnownChange) -> dict[str, Any]:
    """When a known change is first found, checking as readings come in, for at most two days of them."""
    series = load_series(folder, change)
    started = series.index[change.row]
    window = series[(series.index < started) & (series.index >= started - pd.Timedelta(days=28))]
    since = series[(series.index >= started) & (series.index <= started + pd.Timedelta(days=2))]
    result = {"file": change.file, "series": change.series, "row": change.row, "together": change.whole_file}
    for end in since.index[::4].append(since.index[-1:]):
        found = compare(window, since[since.index <= end], settings=SETTINGS)
        if found.drifted:
            hours = (end - started) / pd.Timedelta(hours=1)
            return result | {"found": True, "hours": hours, "reason": found.reason}
    return result | {"found": False, "hours": float("nan"), "reason": found.reason}


def main() -> None:
    """Read the command line, run everything, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with undrifted and changed series")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    parser.add_argument("--blocks", type=int, default=24, help="most blocks checked of each series")
    parser.add_argument("--others", action="store_true", help="also what nobody calls undrifted, apart")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts; all if none")
    parser.add_argument("--sensors", type=int, default=500, help="in the fleet whose check is measured")
    asked = parser.parse_args()
    document: dict[str, Any] = {}
    if "fleet" in asked.only:
        document["fleet"] = check_cost(asked.sensors)
        show_cost(document["fleet"])
    if "windows" in asked.only:
        document |= run_windows(asked, parser)
    if "changes" in asked.only and (changes := known_changes(asked.data)):
        table = pd.DataFrame([run_change(asked.data, change) for change in changes])
        document["known_changes"] = show_changes(table)
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")


def run_windows(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """False alarms and power on the folder's series."""
    stretches = undrifted_series(asked.data)
    if not stretches:
        parser.error(f"{asked.data} names no undrifted stretches; see benchmarks/drift_data.py for its form")
    rows = _run(stretches, asked.blocks, asked.jobs, peers=True)
    document = show_methods(rows, "undrifted stretches")
    if asked.others:
        more = other_series(asked.data, stretches)
        document["others"] = show_methods(_run(more, asked.blocks, asked.jobs, peers=False), "other series")
    return document


def _run(stretches: list[UndriftedSeries], max_blocks: int, jobs: int, *, peers: bool) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of ties and empty bins
        runs = joblib.Parallel(n_jobs=jobs)(
            joblib.delayed(run_series)(stretch, most=max_blocks, peers=peers) for stretch in stretches
        )
    return pd.DataFrame([row for run in runs for row in run])


def show_methods(rows: pd.DataFrame, what: str) -> dict[str, Any]:
    """Print the tables of one set of series; all numbers as plain values."""
    ours = rows[rows["method"] == OURS]
    methods = {
        str(name): summarise(some, LAGS) for name, some in rows.groupby("method", sort=False) if len(some)
    }
    promises, ages = summarise_stated(ours, LAGS), ageing_table(ours)
    first = methods[OURS]
    print(
        f"{what}: {first['blocks']} blocks of {first['series']} series, 0 to 8 days behind 28-day windows\n"
    )
    columns = {
        name: {
            "false alarms": summary["false_alarms"],
            "pooled": summary["false_alarms_pooled"],
            "power": summary["power"],
            **{f"power at {rate:.0%}": summary[f"observed_{rate}"]["power"] for rate in RATES},
            **{f"pooled at {rate:.0%}": summary[f"observed_{rate}"]["power_pooled"] for rate in RATES},
            "ms": summary["cpu_ms"],
        }
        for name, summary in methods.items()
    }
    print(
        f"each method at its own threshold, and at the threshold with exactly this false-alarm rate\n\n"
        f"{pd.DataFrame(columns).T.round(3).to_string()}\n"
    )
    for rate in RATES:
        result = promises[f"stated_{rate}"]
        lags = "  ".join(f"{2 * lag}-{2 * lag + 2} d {value:.3f}" for lag, value in result["by_lag"].items())
        print(
            f"{OURS}, stated {rate:.0%}: observed {result['false_alarms']:.4f} "
            f"(pooled {result['pooled']:.4f}; {lags}), power {result['power']:.3f}"
        )
    powers = pd.DataFrame(
        {f"{OURS} at an observed {rate:.0%}": first[f"observed_{rate}"]["by_injection"] for rate in RATES}
        | {f"{OURS} at a stated {rate:.0%}": promises[f"stated_{rate}"]["by_injection"] for rate in RATES}
    )
    print(f"\n{powers.round(3).to_string()}\n\n{OURS}, by file\n")
    files = pd.DataFrame(
        {
            "false alarms, 5 % stated": promises["stated_0.05"]["by_file"],
            "1 % stated": promises["stated_0.01"]["by_file"],
            "power at an observed 5 %": first["observed_0.05"]["by_file"],
            "1 %": first["observed_0.01"]["by_file"],
        }
    )
    print(f"{files.round(3).to_string()}\n\nwhat undrifted blocks are called, by blocks behind the window\n")
    print(f"{ages.round(3).to_string()}\n")
    return {"methods": methods, OURS: promises, "ageing": ages.to_dict(orient="index")}


def show_changes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Print which known changes were found; one marked for a whole file counts as found in any series."""
    # Found ones first: the reason shown is the one given where it was found.
    table = table.sort_values("hours", kind="stable")
    by_change = table.groupby(["file", "row", table["series"].where(~table["together"], "any series")])
    summary = by_change.agg(found=("found", "any"), hours=("hours", "min"), reason=("reason", "first"))
    print(f"known changes, checked as readings come in for two days\n\n{summary.to_string()}\n")
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return found


if __name__ == "__main__":
    main()
