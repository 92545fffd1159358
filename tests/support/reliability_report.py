"""Collect the fault and attack tests while they run, and write docs/reliability.md.

A test marked `fault(what, then)` or `attack(what, then)` names what it forces and the outcome. The fixture
`record_losses` counts what was lost and doubled. `make reliability` writes the page; `make test` compares
it with the run. After a run of a few files, `python -m tests.support.reliability_report --add` updates their
lines.
"""

import json
import re
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRIALS_FILE = ROOT / ".reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
LONG_RUNS_FOLDER = ROOT / "docs" / "long_runs"
KINDS = {"fault": "Faults", "attack": "Attacks"}

INTRODUCTION = """\
# Reliability

Failures and attacks that are tried against SafePlan ML at each change, and their outcome. Each line is a
test, run as many times as shown. `make reliability` writes this page; `make test` compares it with the tests.
"""

LONG_RUNS = """\
Endpoint, scheduler, page and MLflow server as real processes on PostgreSQL, readings of three sensors every
ten seconds, retraining every eight minutes, retention of eight minutes, at least one fault per minute:
`python -m tests.soak --postgres URL --into DIR`.
Growth is the median slope over all pairs of times, without the first third, times the minutes."""

FUZZ = """\
At least ten minutes of each, by Hypothesis; at each change the same tests generate a few hundred. To repeat:
`SAFEPLAN_FUZZ_EXAMPLES=3000 python -m pytest tests/serving/models/test_tampered_models.py` and the same with
`tests/serving/http/test_request_fuzzing.py`."""


@dataclass
class Trial:
    """One failure or attack, over all tests and parameters that try it."""

    kind: str
    what: str
    then: str
    times: int = 0
    lost: int | None = None  # None: this test does not count
    doubled: int | None = None
    tests: set[str] = field(default_factory=set)


@pytest.fixture
def record_losses(record_property: Any) -> Any:
    """Record what a fault cost: `record_losses(lost=0, doubled=0)`; both must be 0."""

    def account(*, lost: int, doubled: int) -> None:
        record_property("lost", lost)
        record_property("doubled", doubled)
        assert (lost, doubled) == (0, 0), f"{lost} lost, {doubled} doubled"

    return account


def attach_markers(items: list[pytest.Item]) -> None:
    """Attach each marker to its test, so that it reaches the process that collects reports."""
    for item in items:
        for kind in KINDS:
            for marker in item.iter_markers(kind):
                what, then = marker.args
                item.user_properties.append((kind, (what, then)))


class TrialCollector:
    """Collects trials from the reports of all workers, and writes them at the end of the run."""

    def __init__(self) -> None:
        self.trials: dict[tuple[str, str], Trial] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that passed."""
        if report.when != "call" or not report.passed:
            return
        costs: dict[str, int] = defaultdict(int)
        for name, value in report.user_properties:
            if name in ("lost", "doubled"):
                costs[name] += int(value)  # type: ignore[call-overload]
        for kind, value in report.user_properties:
            if kind in KINDS:
                what, then = value  # type: ignore[misc]
                trial = self.trials.setdefault((kind, what), Trial(kind, what, then))
                trial.times += 1
                if costs:
                    trial.lost = (trial.lost or 0) + costs["lost"]
                    trial.doubled = (trial.doubled or 0) + costs["doubled"]
                trial.tests.add(report.nodeid.split("::")[0])

    def pytest_sessionfinish(self) -> None:
        """Write the trials for the page and for the comparison."""
        trials = [asdict(trial) | {"tests": sorted(trial.tests)} for trial in self.trials.values()]
        TRIALS_FILE.write_text(json.dumps(trials, indent=2, sort_keys=True), encoding="utf-8")


def render_page(trials: list[dict[str, Any]]) -> str:
    """The tables, sorted so that a run on any machine writes the same."""
    parts = [INTRODUCTION]
    for kind, title in KINDS.items():
        rows = sorted((one for one in trials if one["kind"] == kind), key=lambda one: one["what"])
        parts.append(f"\n## {title}\n\n| tried | times | what happens | lost | doubled | test |")
        parts.append("|---|---|---|---|---|---|")
        parts += [
            f"| {one['what']} | {one['times']} | {one['then']} | {_format_count(one['lost'])} "
            f"| {_format_count(one['doubled'])} | {', '.join(f'`{path}`' for path in one['tests'])} |"
            for one in rows
        ]
    return "\n".join([*parts, *_long_runs()]) + "\n"


def _long_runs() -> list[str]:
    """What runs too long for every change: kept in docs/long_runs as it was measured, the failed ones too."""
    parts = ["", "## Soaked", "", LONG_RUNS]
    for path in sorted(LONG_RUNS_FOLDER.glob("soak-*.json")):
        parts += _render_soak(path.stem, json.loads(path.read_text(encoding="utf-8")))
    parts += [
        "",
        "## Bad inputs made up",
        "",
        FUZZ,
        "",
        "| into | inputs | minutes | crashes, 500s, hangs | when |",
    ]
    parts += ["|---|---|---|---|---|"]
    parts += [
        f"| {one['into']} | {one['inputs']} | {one['minutes']} | {one['failed']} | {one['when']} |"
        for one in json.loads((LONG_RUNS_FOLDER / "fuzz.json").read_text(encoding="utf-8"))
    ]
    return parts


def _render_soak(name: str, result: dict[str, Any]) -> list[str]:
    accounts, answers = result["accounts"], result["answers"]
    faults = ", ".join(f"{what} ({times})" for what, times in sorted(result["faults"].items()))
    asked, answered, away = sum(answers.values()), answers.get("200", 0), answers.get("0", 0)
    pages = ", ".join(f"{count} {state}" for state, count in sorted(result["pages"].items()))
    return [
        f"\n### {result['title']}\n",
        f"![curves](long_runs/{name}.svg)\n",
        f"* {result['minutes']:g} minutes, {sum(result['faults'].values())} faults: {faults}.",
        f"* {accounts['readings']} readings: {accounts['lost']} lost, {accounts['doubled']} doubled, "
        f"{accounts['unscored']} without a score in the end.",
        f"* {accounts['alert_changes']} changes of {accounts['alerts']} alerts: {accounts['messages']} "
        f"messages, {accounts['messages_again']} sent again, {accounts['messages_waiting']} waiting.",
        f"* {asked} requests: {answered} answered, {away} while nobody listened, {asked - answered - away} "
        f"otherwise. The page: {pages}.",
        f"* What did not hold: {'; '.join(result['wrong']) or 'nothing'}.\n",
        "| in the longest life | at first | in the end | grown by the slope | allowed | minutes |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one['what']} | {one['first']:g} | {one['last']:g} | {one['grown']:g} | {one['bar']:.0f} "
            f"| {one['minutes']:g} |"
            for one in result["growths"]
            if one["first"] or one["last"]
        ),
    ]


def _format_count(counted: int | None) -> str:
    return "-" if counted is None else str(counted)


def parse_page(text: str) -> list[dict[str, Any]]:
    """The tables of a page that was written, as they were found."""
    trials: list[dict[str, Any]] = []
    kind = ""
    for line in text.splitlines():
        if line.startswith("## "):
            kind = next((kind for kind, title in KINDS.items() if line == f"## {title}"), "")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if kind and len(cells) == 6 and cells[1].isdigit():
            what, times, then, lost, doubled, tests = cells
            numbers = {"lost": lost, "doubled": doubled}
            trials.append(
                {"kind": kind, "what": what, "then": then, "times": int(times)}
                | {name: None if cell == "-" else int(cell) for name, cell in numbers.items()}
                | {"tests": [path.strip("`") for path in tests.split(", ")]}
            )
    return trials


def merge_trials(before: list[dict[str, Any]], run: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The known trials, updated with those of a run of a few files."""
    fresh = {(one["kind"], one["what"]) for one in run}
    return [one for one in before if (one["kind"], one["what"]) not in fresh] + run


def main() -> None:
    """Write the page from the last run; `--add` keeps what it did not try, `--check` holds the page to it."""
    trials = json.loads(TRIALS_FILE.read_text(encoding="utf-8"))
    if "--add" in sys.argv:
        trials = merge_trials(parse_page(PAGE.read_text(encoding="utf-8")), trials)
    written = render_page(trials)
    if "--check" not in sys.argv:
        PAGE.write_text(written, encoding="utf-8")
    elif _comparable(PAGE.read_text(encoding="utf-8")) != _comparable(written):
        sys.exit("docs/reliability.md differs from what the tests do. Run: make reliability")


def _comparable(text: str) -> str:
    """Without the numbers: where no PostgreSQL runs, its tests are skipped, and each schema adds some."""
    return re.sub(r"\| \d+ ", "| ", text)


if __name__ == "__main__":
    main()
