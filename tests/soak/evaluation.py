"""Evaluate a soak test: what grew, what callers received, and what was lost or stored twice.

A curve is flat if it did not grow over the longest life of its process, by a slope that single jumps do not
change. Measuring is in `tests.soak.measurements`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Note = dict[str, Any]
Curve = tuple[list[float], list[float]]  # minutes, values

# Allowed growth: what a process caches once, and the noise of its allocator.
GROWTH_LIMITS = {"mb": 30.0, "handles": 10.0, "threads": 5.0, "others_mb": 60.0}
UNITS = {
    "mb": "MB",
    "handles": "handles",
    "threads": "threads",
    "others_mb": "MB of permanent helper processes",
}
FLAT_ROWS = ("ml_predictions", "job_runs", "outbox", "leases", "drift_checks")
# The dashboard keeps three handles per session for two minutes after it ended; six sessions begin in that
# time.
READER_HANDLES = 18.0
SETTLED_SECONDS = 600.0  # lifetime of a dashboard process after which as many sessions end as begin
WARM_UP_SHARE = 0.3  # of a lifetime, in which caches are filled
RAW_ERROR = "drawn with an unhandled error"
RECOVERY_SECONDS = 90.0  # seconds after a fault in which requests may still fail


@dataclass(frozen=True)
class Growth:
    """The growth of one measurement after the warm-up."""

    what: str
    first: float
    last: float
    grown: float
    bar: float
    minutes: float

    @property
    def flat(self) -> bool:
        """Whether the growth is within its limit."""
        return self.grown <= self.bar


@dataclass(frozen=True)
class SoakResult:
    """The result of a soak test; `wrong` lists the conditions that do not hold."""

    minutes: float
    servers: bool
    faults: dict[str, int]
    growths: list[Growth]
    answers: dict[str, int]  # by status; 0: connection refused
    pages: dict[str, int]
    accounts: dict[str, Any]
    wrong: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for docs/reliability.md."""
        plain = {name: value for name, value in vars(self).items() if name != "growths"}
        return plain | {"growths": [vars(growth) | {"flat": growth.flat} for growth in self.growths]}


def read_notes(path: Path) -> list[Note]:
    """All measurements of a soak test."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def evaluate_soak(notes: Sequence[Note]) -> SoakResult:
    """Check the measurements of a soak test against all conditions."""
    begins = notes[0]
    faults = Counter(n["name"] for n in notes if n["what"] == "fault" and n["state"] == "begins")
    growths = list(_growths(notes))
    accounts = next((n for n in notes if n["what"] == "account"), {})
    answers = Counter(str(n["status"]) for n in notes if n["what"] == "answer")
    pages = Counter(_page_outcome(n) for n in notes if n["what"] == "page")
    wrong = [
        f"{growth.what} grew by {growth.grown:.0f}, the limit is {growth.bar:.0f}"
        for growth in growths
        if not growth.flat
    ]
    wrong += [f"{n['name']}: {n['error']}" for n in notes if n["what"] == "fault" and n["state"] == "failed"]
    wrong += [f"{n['of']}: {n['error']}" for n in notes if n["what"] == "trouble"]
    wrong += list(_account_errors(accounts))
    wrong += list(_caller_errors(notes))
    return SoakResult(
        minutes=begins["minutes"],
        servers=begins["servers"],
        faults=dict(faults),
        growths=growths,
        answers=dict(answers),
        pages=dict(pages),
        accounts={key: value for key, value in accounts.items() if key not in ("t", "what")},
        wrong=wrong,
    )


def _growths(notes: Sequence[Note]) -> Iterator[Growth]:
    for role, life in longest_lives(notes).items():
        young = role == "page" and life[-1]["t"] - life[0]["t"] < SETTLED_SECONDS
        for name, base_limit in GROWTH_LIMITS.items():
            bar = base_limit + READER_HANDLES if young and name == "handles" else base_limit
            yield measure_growth(f"{role}: {UNITS[name]}", life, lambda n, name=name: n[name], bar)
    files = [n for n in notes if n["what"] == "files" and n["temporary"] >= 0]
    yield measure_growth("temporary files", files, lambda n: n["temporary"], 10.0)
    rows = [n for n in notes if n["what"] == "rows"]
    span = notes[-1]["t"] / 60
    # Until the first rows reach the end of their retention, a table only grows.
    for table in FLAT_ROWS if span > 20 else ():
        measured = [n for n in rows if table in n]
        base_limit = float(np.median([n[table] for n in measured]))
        yield measure_growth(
            f"rows of {table}", measured, lambda n, table=table: n[table], 10 + 0.2 * base_limit
        )


def longest_lives(notes: Sequence[Note]) -> dict[str, list[Note]]:
    """By role, the measurements of the process that lived longest."""
    lives: dict[tuple[str, int], list[Note]] = {}
    for n in notes:
        if n["what"] == "process":
            lives.setdefault((n["role"], n["pid"]), []).append(n)
    longest: dict[str, list[Note]] = {}
    for (role, _), life in lives.items():
        if len(life) > len(longest.get(role, ())):
            longest[role] = life
    return longest


def measure_growth(what: str, measured: Sequence[Note], value: Callable[[Note], float], bar: float) -> Growth:
    """The median slope of all pairs of measurements, times the time between the first and the last."""
    steady = measured[int(WARM_UP_SHARE * len(measured)) :]
    minutes = np.array([n["t"] / 60 for n in steady])
    values = np.array([float(value(n)) for n in steady])
    earlier, later = np.triu_indices(len(steady), 1)
    slope = float(np.median((values[later] - values[earlier]) / (minutes[later] - minutes[earlier])))
    span = float(minutes[-1] - minutes[0])
    return Growth(what, values[0], values[-1], round(slope * span, 2), bar, round(span, 1))


def _account_errors(accounts: Note) -> Iterator[str]:
    if not accounts:
        yield "it was interrupted before the end"
        return
    for name in ("lost", "doubled", "unscored", "alert_changes_doubled", "messages_waiting"):
        if accounts[name]:
            yield f"{name}: {accounts[name]}"
    if accounts["messages"] < accounts["alert_changes"]:
        yield f"{accounts['alert_changes']} changes of alerts, {accounts['messages']} messages"
    if accounts["mlflow"]["champions"] != 2 * 3:
        yield f"{accounts['mlflow']['champions']} champions, expected 6"


def _caller_errors(notes: Sequence[Note]) -> Iterator[str]:
    """Status 500 and unhandled errors never; refused requests not long after a fault."""
    ends = [n["t"] for n in notes if n["what"] == "fault" and n["state"] != "begins"]
    raw = [n for n in notes if n["what"] == "page" and _page_outcome(n) == RAW_ERROR]
    if raw:
        first = f"first at {raw[0]['t']:.0f} s on {raw[0]['view']}: {'; '.join(raw[0]['exceptions'])}"
        yield f"the dashboard showed an unhandled error {len(raw)} times, {first}"
    for n in notes:
        after = n["t"] - max((end for end in [0.0, *ends] if end <= n["t"]), default=0.0)
        if n["what"] == "answer" and n["status"] in (500, 502):
            yield f"the endpoint answered {n['status']} at {n['t']:.0f} s: {n['error']}"
        refused = n["what"] == "answer" and n["status"] != 200
        unreachable = n["what"] == "page" and n["state"] != "drawn"
        if (refused or unreachable) and after > RECOVERY_SECONDS and not _fault_active(notes, n["t"]):
            error = n.get("error") or n.get("exceptions")
            yield f"{n['what']} failed {after:.0f} s after a fault: {error}"


def _fault_active(notes: Sequence[Note], moment: float) -> bool:
    states = [n["state"] for n in notes if n["what"] == "fault" and n["t"] <= moment]
    return bool(states) and states[-1] == "begins"


def _page_outcome(n: Note) -> str:
    return RAW_ERROR if n["state"] == "drawn" and n["exceptions"] else str(n["state"])
