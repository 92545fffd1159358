"""What a drift check leaves behind: rows, a run in `safeplan-drift`, tags on versions, reports.

Knows the order: the run first, so that rows can name it; then rows, tags and files; a run that was cut off is
left unfinished and says so. Leaves pages to `drift_evidently` and `drift_page`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.drift.comparison import DriftSettings
from monitoring.drift.report.charts import sparkline
from monitoring.drift.report.evidently_assets import LIBRARY, library
from monitoring.drift.report.html_page import fleet_page, measured
from monitoring.drift.result import Checked
from monitoring.drift.store import DriftCheckStore, Verdict
from training.common.formatting import format_count
from training.errors import RegistryError
from training.operations.console import to_json_value
from training.pipeline.recording import iso
from training.registry.model_registry import slug
from training.registry.publishing import Publisher, RunContent
from training.workspace import Workspace

EXPERIMENT = "safeplan-drift"
PAGE = "fleet.html"
CURVE = (760, 140)  # pixels, of a single model's readings
HISTORY = timedelta(days=90)
LONGEST_TAG = 250  # characters
COLUMNS = (
    *("sensor_id", "model_type", "model_version", "verdict", "kind", "origin", "since", "p_value", "cost"),
    *("readings", "reason", "advice"),
)
STRETCHES = ("start", "end", "train_start", "train_end")


def record(
    workspace: Workspace,
    checked: Sequence[Checked],
    *,
    now: datetime,
    settings: DriftSettings,
    html: Path | None,
) -> list[Checked]:
    """Keep the checks everywhere they are looked for; the same checks with the run's id."""
    run = workspace.tracker.open(EXPERIMENT, f"drift {now:%Y-%m-%d %H:%M}", {"checked_at": iso(now)})
    try:
        kept = [replace(one, check=replace(one.check, run_id=run.run_id)) for one in checked]
        store = DriftCheckStore(workspace.engine)
        store.save(one.check for one in kept)
        for one in kept:
            said = f"{one.check.verdict}: {one.check.reason}"[:LONGEST_TAG]
            workspace.registry.tag(one.champion.version, drift=said, drift_checked_at=iso(now))
        wanted = kept if html else _costliest(kept, settings.reports)
        files = reports(wanted, kept, store, now=now)
        publisher = Publisher(workspace.mlflow)
        if set(files) - {PAGE}:
            publisher.upload_shared(run, LIBRARY, library)
        page = RunContent(
            params={"false_alarm_rate": settings.false_alarm_rate, "current": settings.current},
            metrics=fleet_metrics(kept),
            tables={"checks": table_of(kept)},
            files={**files, "drift.json": json.dumps([details(one) for one in kept]).encode()},
        )
        publisher.log_content(run, page)
        if html is not None:
            write(files | {LIBRARY: library()}, html)
    except Exception:
        # Nothing more comes of this run; where MLflow itself is away, it stays marked as running.
        with suppress(RegistryError):
            workspace.tracker.finish(run.run_id, succeeded=False)
        raise
    workspace.tracker.finish(run.run_id)
    return kept


def fleet_metrics(checked: Sequence[Checked]) -> dict[str, float]:
    """The fleet in numbers: how many of each verdict, and how good the models were of late."""
    verdicts = Counter(one.check.verdict for one in checked)
    found = {str(verdict): float(verdicts[verdict]) for verdict in Verdict}
    found["checked"] = float(len(checked))
    found["stale"] = float(sum(bool(one.check.quality.get("stale")) for one in checked))
    for name in ("mase", "coverage", "alarms_per_day", "alarms_per_day_now"):
        told = [one.check.quality[name] for one in checked if one.check.quality.get(name) is not None]
        if told:
            found[f"mean_{name}"] = float(sum(told) / len(told))
    return found


def table_of(checked: Sequence[Checked]) -> pd.DataFrame:
    """One row a model, the same columns for each."""
    return pd.DataFrame(
        [[to_json_value(getattr(one.check, name)) for name in COLUMNS] for one in checked],
        columns=list(COLUMNS),
    )


def details(one: Checked) -> dict[str, Any]:
    """All that was measured of one model."""
    check = one.check
    named = {name: to_json_value(getattr(check, name)) for name in (*COLUMNS, *STRETCHES)}
    told: dict[str, Any] = to_json_value(named | {"measures": check.measures, "quality": check.quality})
    return told


def reports(
    wanted: Sequence[Checked], everyone: Sequence[Checked], store: DriftCheckStore, *, now: datetime
) -> dict[str, bytes]:
    """The fleet page and a report of each model wanted, by file name."""
    files: dict[str, bytes] = {}
    links: dict[tuple[str, str], str] = {}
    drawn = [one for one in wanted if len(one.view.window) and len(one.view.since)]
    if drawn:
        # Evidently takes seconds to import; a fleet without drift does without.
        from monitoring.drift.report.evidently_adapter import page_of, snapshot_of  # noqa: PLC0415

        for one in drawn:
            name = file_name(one)
            snapshot = snapshot_of(one.comparison, one.view.window, one.view.since)
            curve = sparkline(one.view.window, one.drawn, begun=one.check.since, size=CURVE)
            shown = curve + measured(one.check.measures)
            files[name] = page_of(_title(one), _lines(one), snapshot, shown=shown)
            links[one.check.sensor_id, one.check.model_type] = name
    history = store.history(since=now - HISTORY)
    files[PAGE] = fleet_page(everyone, history, links, now=now)
    return files


def file_name(one: Checked) -> str:
    """The report of one model, in letters that every system has: its registered model's name.

    Two ids with one slug have registered models of different names.
    """
    return f"{slug(one.champion.version.name)}.html"


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Put the files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _costliest(checked: Sequence[Checked], most: int) -> list[Checked]:
    drifted = [one for one in checked if one.comparison.drifted]
    return sorted(drifted, key=lambda one: -(one.check.cost or 0.0))[:most]


def _title(one: Checked) -> str:
    return f"{one.sensor.title}: {one.champion.version.kind} version {one.check.model_version}"


def _lines(one: Checked) -> dict[str, str]:
    check = one.check
    told = {
        "verdict": f"{check.verdict}: {check.reason}",
        "since": f"{check.since:%Y-%m-%d %H:%M} UTC" if check.since else "",
        "likely": str(check.origin or ""),
        "what to do": check.advice or "",
        "checked": f"{_from_to(check.start, check.end)}, {format_count(check.readings, 'reading')}",
        "trained on": _from_to(check.train_start, check.train_end),
        "false-alarm rate": f"{check.false_alarm_rate:.2%} a check",
    }
    return {key: text for key, text in told.items() if text}


def _from_to(start: datetime | None, end: datetime | None) -> str:
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC" if start and end else ""
