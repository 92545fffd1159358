"""Record a drift check: rows, a run in the experiment `safeplan-drift`, tags on versions, reports.

The run is opened first, so that rows can refer to it; an interrupted run stays unfinished. Pages are rendered
by `report`.
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
from monitoring.drift.report.charts import render_sparkline
from monitoring.drift.report.html_page import render_fleet_page
from monitoring.drift.report.wording import render_measures, report_title, summary_lines
from monitoring.drift.result import DriftCheckResult
from monitoring.drift.store import DriftCheckStore
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import load_translator
from training.common.times import iso
from training.errors import RegistryError, write_errors
from training.operations.console import to_json_value
from training.registry.model_registry import slug
from training.registry.publishing import Publisher, RunContent
from training.workspace import Workspace

EXPERIMENT = "safeplan-drift"
FLEET_PAGE = "fleet.html"
CURVE_SIZE = (760, 140)  # pixels, of a model's own report
HISTORY_LENGTH = timedelta(days=90)
MAX_TAG_LENGTH = 250  # characters
CHECK_COLUMNS = (
    *("sensor_id", "model_type", "model_version", "verdict", "kind", "origin", "since", "p_value", "cost"),
    *("readings", "reason", "advice"),
)
INTERVAL_COLUMNS = ("start", "end", "train_start", "train_end")


def record_checks(
    workspace: Workspace,
    checked: Sequence[DriftCheckResult],
    *,
    now: datetime,
    settings: DriftSettings,
    html: Path | None,
) -> list[DriftCheckResult]:
    """Store the checks as rows, run, tags and files; returns the checks with the run's id."""
    run = workspace.tracker.open(EXPERIMENT, f"drift {now:%Y-%m-%d %H:%M}", {"checked_at": iso(now)})
    try:
        saved = [replace(one, check=replace(one.check, run_id=run.run_id)) for one in checked]
        store = DriftCheckStore(workspace.engine)
        store.save(one.check for one in saved)
        for result in saved:
            tag_value = f"{result.check.verdict}: {result.check.reason}"[:MAX_TAG_LENGTH]
            workspace.registry.tag(result.champion.version, drift=tag_value, drift_checked_at=iso(now))
        reported = saved if html else _costliest(saved, settings.reports)
        files = render_reports(reported, saved, store, now=now)
        publisher = Publisher(workspace.mlflow)
        if html is not None or set(files) - {FLEET_PAGE}:
            # Evidently takes seconds to import and is not needed without model reports.
            from monitoring.drift.report.evidently_adapter import LIBRARY_FILE, read_library  # noqa: PLC0415

            publisher.upload_shared(run, LIBRARY_FILE, read_library)
        content = RunContent(
            params={"false_alarm_rate": settings.false_alarm_rate, "current": settings.current},
            metrics=fleet_metrics(saved),
            tables={"checks": checks_table(saved)},
            files={**files, "drift.json": json.dumps([check_details(one) for one in saved]).encode()},
        )
        publisher.log_content(run, content)
        if html is not None:
            write_files(files | {LIBRARY_FILE: read_library()}, html)
    except Exception:
        # If MLflow itself is unreachable, the run stays marked as running.
        with suppress(RegistryError):
            workspace.tracker.finish(run.run_id, succeeded=False)
        raise
    workspace.tracker.finish(run.run_id)
    return saved


def fleet_metrics(checked: Sequence[DriftCheckResult]) -> dict[str, float]:
    """The number of checks by verdict, and the mean recent accuracy of the models."""
    verdicts = Counter(one.check.verdict for one in checked)
    metrics = {str(verdict): float(verdicts[verdict]) for verdict in DriftVerdict}
    metrics["checked"] = float(len(checked))
    metrics["stale"] = float(sum(bool(one.check.quality.get("stale")) for one in checked))
    for name in ("mase", "coverage", "alarms_per_day", "alarms_per_day_now"):
        values = [one.check.quality[name] for one in checked if one.check.quality.get(name) is not None]
        if values:
            metrics[f"mean_{name}"] = float(sum(values) / len(values))
    return metrics


def checks_table(checked: Sequence[DriftCheckResult]) -> pd.DataFrame:
    """One row per model."""
    return pd.DataFrame(
        [[to_json_value(getattr(one.check, name)) for name in CHECK_COLUMNS] for one in checked],
        columns=list(CHECK_COLUMNS),
    )


def check_details(result: DriftCheckResult) -> dict[str, Any]:
    """All measures of one model."""
    check = result.check
    named = {name: to_json_value(getattr(check, name)) for name in (*CHECK_COLUMNS, *INTERVAL_COLUMNS)}
    values: dict[str, Any] = to_json_value(named | {"measures": check.measures, "quality": check.quality})
    return values


def render_reports(
    reported: Sequence[DriftCheckResult],
    results: Sequence[DriftCheckResult],
    store: DriftCheckStore,
    *,
    now: datetime,
) -> dict[str, bytes]:
    """The fleet page and the reports of the models in `reported`, in the site's language, by file name."""
    words = load_translator()
    files: dict[str, bytes] = {}
    links: dict[tuple[str, str], str] = {}
    drawable = [one for one in reported if len(one.view.window) and len(one.view.since)]
    if drawable:
        # Evidently takes seconds to import and is not needed without drift.
        from monitoring.drift.report.evidently_adapter import page_of, snapshot_of  # noqa: PLC0415

        for result in drawable:
            name = report_file_name(result)
            snapshot = snapshot_of(result.comparison, result.view.window, result.view.since)
            curve = render_sparkline(
                result.view.window, result.plotted_readings, begun=result.check.since, size=CURVE_SIZE
            )
            extra_html = curve + render_measures(words, result.check.measures)
            files[name] = page_of(
                report_title(words, result), summary_lines(words, result), snapshot, shown=extra_html
            )
            links[result.check.sensor_id, result.check.model_type] = name
    history = store.history(since=now - HISTORY_LENGTH)
    files[FLEET_PAGE] = render_fleet_page(results, history, links, now=now, words=words)
    return files


def report_file_name(result: DriftCheckResult) -> str:
    """The file name of one model's report, from its registered model's name, which is unique."""
    return f"{slug(result.champion.version.name)}.html"


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files into a folder.

    Raises:
        UnwritableFile: a file or the folder cannot be written.
    """
    with write_errors("The drift report", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


def _costliest(checked: Sequence[DriftCheckResult], limit: int) -> list[DriftCheckResult]:
    drifted = [one for one in checked if one.comparison.drifted]
    return sorted(drifted, key=lambda one: -(one.check.cost or 0.0))[:limit]
