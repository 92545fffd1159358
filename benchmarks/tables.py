"""Rewrite the tables of docs/benchmarks.md from benchmark results: `python -m benchmarks.tables FOLDER`.

FOLDER holds `detection.json`, `forecast.json`, `fleet.json`, `serving.json` and `drift.json`, written by
`--json` of each benchmark. A table whose file is missing stays as it is. Tables stand between
`<!-- table: NAME -->` and `<!-- end -->`.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
Results = dict[str, Any]


def detection_table(results: Results) -> str:
    """VUS-PR, recall and cost of each method, best first."""
    methods = sorted(results["methods"].items(), key=lambda item: -item[1]["vus_pr"])
    rows = [
        [
            name,
            f"{found['vus_pr']:.3f}",
            f"{found['auc_pr']:.3f}",
            f"{found['event_recall']:.3f}",
            f"{found['cpu_seconds']:.2g}",
        ]
        for name, found in methods
    ]
    return markdown(["method", "VUS-PR", "AUC-PR", "event recall", "CPU-seconds, all series"], rows)


def forecast_table(results: Results) -> str:
    """Error, coverage and cost of each forecaster, best first."""
    rows = [
        [
            found["peer"],
            f"{found['mase']:.3f}",
            f"{found['coverage_mean']:.1%}",
            f"{found['coverage_least']:.1%}",
            f"{found['cpu_seconds']:.2f}",
        ]
        for found in sorted(results["macro"], key=lambda found: found["mase"])
    ]
    return markdown(["forecaster", "MASE", "coverage", "least", "CPU-seconds a forecast"], rows)


def fleet_table(results: Results) -> str:
    """Trainings of whole fleets."""
    runs = [*results.get("sizes", ()), *results.get("nightly", ())]
    rows = [
        [
            f"{run['sensors']:,}" + (f", {run['run']}" if "run" in run else ""),
            f"{run['wall_s']:.1f} s",
            f"{run['then_s_a_sensor']:.2f} s",
            f"{run['cpu_s_a_sensor']:.2f}",
            f"{run['cores_busy']:.2f}",
            f"{run['parent_mb_late']:.0f}",
        ]
        for run in runs
    ]
    return markdown(
        ["sensors", "whole", "a sensor, after the start", "CPU-seconds a sensor", "cores busy", "parent, MB"],
        rows,
    )


def plain_table(results: Results) -> str:
    """Single sensors beside the libraries' own patterns."""
    pairs: dict[tuple[str, str], dict[str, Results]] = {}
    for row in results["plain"]:
        pairs.setdefault((row["readings"], row["sensor"]), {})[row["way"]] = row
    rows = [
        [
            f"{sensor}, {readings}",
            f"{ways['ours']['cpu_s']:.2f}",
            f"{ways['plain']['cpu_s']:.1f}",
            f"{ways['ours']['times_less']:.0f}",
            f"{ways['ours']['mae'] / ways['plain']['mae']:.2f}",
            f"{ways['ours']['recall_at_1_a_day']:.0%}",
            f"{ways['plain']['recall_at_1_a_day']:.0%}",
        ]
        for (readings, sensor), ways in pairs.items()
    ]
    return markdown(
        ["", "CPU-seconds", "theirs", "times less", "held-out error, theirs = 1", "faults found", "theirs"],
        rows,
    )


def serving_table(results: Results) -> str:
    """Latency as a multiple of an empty model's, and memory."""
    empty, mlflow, own = "mlflow, empty model", "mlflow, safeplan-fleet", "safeplan serve"
    rows = []
    for request, servers in results["speed"]["latency"].items():
        base = servers[empty]["p50_ms"]
        ratios = [f"{servers[name]['p50_ms'] / base:.2f} times" for name in (mlflow, own)]
        rows.append([request, f"{base:.1f} ms", *ratios])
    memory = results["speed"]["resident_mb"]
    rows.append(["resident, all loaded", *(f"{memory[name]:.0f} MB" for name in (empty, mlflow, own))])
    return markdown(["request", "empty model", "`mlflow models serve`", "`safeplan serve`"], rows)


def drift_table(results: Results) -> str:
    """False alarms and power at the stated rates, and of Evidently's defaults."""
    rows = []
    for rate in ("0.05", "0.01"):
        found = results["SafePlan"][f"stated_{rate}"]
        rows.append(
            [f"SafePlan, {float(rate):.0%} stated", f"{found['false_alarms']:.1%}", f"{found['power']:.3f}"]
        )
    other = results["methods"].get("Evidently default")
    if other:
        rows.append(["Evidently, defaults", f"{other['false_alarms']:.1%}", f"{other['power']:.3f}"])
    return markdown(["method", "alarms on undrifted blocks", "power"], rows)


TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {
    "detection": ("detection", detection_table),
    "forecast": ("forecast", forecast_table),
    "fleet": ("fleet", fleet_table),
    "plain": ("fleet", plain_table),
    "serving": ("serving", serving_table),
    "drift": ("drift", drift_table),
}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(markdown(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("--- |", "---|") for line in lines
    )


def replace_table(page: str, name: str, table: str) -> str:
    """The page with one table replaced.

    Raises:
        ValueError: the page has no such table.
    """
    pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(
            f"docs/benchmarks.md has no table {name}; mark its place with <!-- table: {name} -->."
        )
    return pattern.sub(lambda match: f"{match[1]}\n{table}\n\n{match[2]}", page)


def main() -> None:
    """Rewrite every table whose results are at hand."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with the benchmarks' JSON files")
    folder = parser.parse_args().folder
    page = PAGE.read_text(encoding="utf-8")
    for name, (file, render) in TABLES.items():
        path = folder / f"{file}.json"
        if path.exists():
            page = replace_table(page, name, render(json.loads(path.read_text(encoding="utf-8"))))
            print(f"{name}: from {path}")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
