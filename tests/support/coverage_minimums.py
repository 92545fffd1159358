"""Holds line coverage to its floors: detector 90 %, forecaster 85 %, the rest 80 %.

Reads what `pytest --cov` wrote to .coverage; `make test` runs it after the tests.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import grimp

# A kind is made of its tuning and whatever that imports.
FLOORS = {"detector": 90.0, "forecaster": 85.0}
PACKAGES = {"detector": "anomaly", "forecaster": "forecasting"}
FLOOR_OF_THE_REST = 80.0

Counts = dict[str, float]


def main() -> int:
    """Print each group's coverage; 1 where a floor is missed."""
    files = _coverage_by_file()
    graph = grimp.build_graph("training")
    groups = {
        kind: {f"training.{package}.{kind}", *graph.find_upstream_modules(f"training.tuning.{kind}_search")}
        for kind, package in PACKAGES.items()
    }
    named = {path: path.removesuffix(".py").replace("/", ".") for path in files}
    missed = [
        _below(kind, floor, [files[path] for path in files if named[path] in groups[kind]])
        for kind, floor in FLOORS.items()
    ]
    rest = [files[path] for path in files if not any(named[path] in group for group in groups.values())]
    missed.append(_below("the rest", FLOOR_OF_THE_REST, rest))
    return int(any(missed))


def _coverage_by_file() -> dict[str, Counts]:
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "coverage", "json", "-q", "-o", report.name]
        subprocess.run(command, check=True)
        files = json.loads(Path(report.name).read_text(encoding="utf-8"))["files"]
    return {path: found["summary"] for path, found in files.items()}


def _below(group: str, floor: float, counts: list[Counts]) -> bool:
    lines = sum(count["num_statements"] for count in counts)
    share = 100 * sum(count["covered_lines"] for count in counts) / max(lines, 1)
    print(f"coverage of {group}: {share:.1f} % of {lines:.0f} lines (at least {floor:g} %)")
    return share < floor


if __name__ == "__main__":
    sys.exit(main())
