"""`safeplan alerts`: watch, list, acknowledge, shelve and judge alerts; maintenance, thresholds, reports.

Parses, calls one function of the monitoring floor, and prints.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring.cli.site_time import TIME_OPTION, OptionalTime
from training.common.clock import utc_now
from training.common.users import current_user
from training.errors import ConfigurationError

if TYPE_CHECKING:
    from monitoring.alerts.alert import Alert
    from monitoring.i18n.translation import Translator

app = typer.Typer(
    help="List, acknowledge, shelve and judge alerts; maintenance windows, thresholds and reports.",
    rich_markup_mode=None,
    invoke_without_command=True,
)

EXIT_SOME_FAILED = 1
DURATION_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

AlertIdArgument = Annotated[int, typer.Argument(metavar="ID", help="The id of the alert.")]
AuthorOption = Annotated[str, typer.Option(help="User name; default: SAFEPLAN_USER or this account.")]
SensorNames = Annotated[
    list[str] | None, typer.Argument(metavar="SENSOR", help="Ids or glob patterns; default: all.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.callback()
def alerts(context: typer.Context) -> None:
    """Without a command: list the alerts that are not closed."""
    if context.invoked_subcommand is None:
        list_()


@app.command()
def watch(names: SensorNames = None, as_of: OptionalTime = None, as_json: JsonOption = False) -> None:
    """Turn new readings, scores, forecasts and drift checks into alerts.

    Example: safeplan alerts watch
    """
    from monitoring.watch.watcher import watch_fleet
    from training.operations.console import progress, show_outcomes
    from training.workspace import Workspace

    workspace = Workspace.here()
    chosen = workspace.fleet.match(names or ())
    with progress("watching", len(chosen)) as advance:
        outcomes = watch_fleet(workspace, chosen, now=as_of or utc_now(), watch=advance)
    show_outcomes("watch", outcomes, ("opened", "worsened", "closed"), as_json=as_json)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command("list")
def list_(
    names: SensorNames = None,
    everything: Annotated[bool, typer.Option("--all", help="Include closed alerts.")] = False,
    since: OptionalTime = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most this many.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts: open ones first, by severity, newest first.

    Example: safeplan alerts list 'PT-*' --all
    """
    from monitoring.watch.operator_actions import list_alerts
    from training.workspace import Workspace

    workspace = Workspace.here()
    chosen = None if not names else [sensor.id for sensor in workspace.fleet.match(names)]
    alive = None if everything else True
    _print_alerts(list_alerts(workspace, chosen, alive=alive, start=since, limit=limit), as_json)


@app.command()
def show(alert_id: AlertIdArgument, as_json: JsonOption = False) -> None:
    """Show one alert and its history.

    Example: safeplan alerts show 1
    """
    from monitoring.alerts.kinds import severity_name
    from monitoring.i18n.translation import load_translator
    from monitoring.notify.message import change_name
    from monitoring.watch.operator_actions import alert_history, alert_to_dict, find_alert
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    alert, events = find_alert(workspace, alert_id), alert_history(workspace, alert_id)
    sensor = workspace.fleet.get(alert.topic.sensor_id)
    _, unit = load_translator(), sensor.unit if sensor else None
    changes: list[dict[str, Any]] = [
        {
            "at": event.at,
            "change": event.change.value,
            "severity": int(event.severity),
            "by": event.by,
            "what": _.reason_text(event.reasons, event.detail, unit=unit),
        }
        for event in events
    ]
    if as_json:
        for event, change in zip(events, changes, strict=True):
            change["reasons"] = [reason.as_dict() for reason in event.reasons]
        show_json({"command": "alerts show", "alert": alert_to_dict(alert), "changes": changes})
        return
    _print_alerts([alert], as_json=False)
    show_rows(
        [
            {
                _("Time"): _.moment_with_zone(event.at),
                _("Change"): change_name(_, event.change),
                _("Severity"): severity_name(_, event.severity),
                _("By"): event.by,
                _("Why"): change["what"],
            }
            for event, change in zip(events, changes, strict=True)
        ]
    )


@app.command()
def ack(ids: Annotated[list[int], typer.Argument(metavar="ID...")], by: AuthorOption = "") -> None:
    """Acknowledge alerts; they are no longer escalated.

    Example: safeplan alerts ack 1
    """
    from monitoring.watch.operator_actions import acknowledge
    from training.workspace import Workspace

    workspace = Workspace.here()
    _print_alerts(
        [acknowledge(workspace, one, by=by or current_user(), now=utc_now()) for one in ids], as_json=False
    )


@app.command()
def shelve(
    alert_id: AlertIdArgument,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="For example 30min or 4h.")] = "1h",
    by: AuthorOption = "",
) -> None:
    """Send no notifications of an alert for a limited time.

    Example: safeplan alerts shelve 1 --for 2h
    """
    from monitoring.watch.operator_actions import shelve as shelve_alert
    from training.workspace import Workspace

    now = utc_now()
    until = now + _parse_duration(lasting)
    _print_alerts(
        [shelve_alert(Workspace.here(), alert_id, until, by=by or current_user(), now=now)], as_json=False
    )


@app.command()
def unshelve(alert_id: AlertIdArgument, by: AuthorOption = "") -> None:
    """Send notifications of an alert again.

    Example: safeplan alerts unshelve 1
    """
    from monitoring.watch.operator_actions import unshelve as unshelve_alert
    from training.workspace import Workspace

    _print_alerts(
        [unshelve_alert(Workspace.here(), alert_id, by=by or current_user(), now=utc_now())], as_json=False
    )


@app.command()
def accept(ids: Annotated[list[int], typer.Argument(metavar="ID...")], by: AuthorOption = "") -> None:
    """Accept the new level of alerts as the normal one, which closes them.

    Example: safeplan alerts accept 1
    """
    from monitoring.watch.operator_actions import accept_level
    from training.workspace import Workspace

    workspace = Workspace.here()
    _print_alerts(
        [accept_level(workspace, one, by=by or current_user(), now=utc_now()) for one in ids], as_json=False
    )


@app.command()
def verdict(
    alert_id: AlertIdArgument,
    value: Annotated[str, typer.Argument(metavar="VERDICT", help="confirm, false or maintenance.")],
    note: Annotated[str | None, typer.Option(help="Comment, such as the cause.")] = None,
    by: AuthorOption = "",
) -> None:
    """Confirm an alert, or mark it as a false alarm or maintenance; the next training uses it.

    Example: safeplan alerts verdict 1 confirm --note "cable cut"
    """
    from monitoring.alerts.kinds import AlertVerdict
    from monitoring.watch.operator_actions import set_verdict
    from training.workspace import Workspace

    if value not in set(AlertVerdict):
        raise ConfigurationError(f"{value!r} is not a verdict; use one of {', '.join(AlertVerdict)}.")
    alert = set_verdict(
        Workspace.here(), alert_id, AlertVerdict(value), by=by or current_user(), now=utc_now(), note=note
    )
    _print_alerts([alert], as_json=False)


@app.command()
def maintenance(
    sensor: Annotated[str | None, typer.Option(help="The id of a sensor.")] = None,
    platform: Annotated[str | None, typer.Option(help="A whole platform instead.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", **TIME_OPTION)] = None,
    until: OptionalTime = None,
    reason: Annotated[str, typer.Option(help="The work that is done.")] = "",
    cancel: Annotated[int | None, typer.Option(metavar="ID", help="Delete this window.")] = None,
    by: AuthorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Add a maintenance window, during which no alert begins; without options, list all windows.

    Example: safeplan alerts maintenance --sensor PT-1001 --from 2026-02-01 --until 2026-02-02
    """
    from monitoring.alerts.maintenance import (
        MaintenanceWindow,
        add_maintenance,
        cancel_maintenance,
        list_maintenance,
    )
    from monitoring.i18n.translation import load_translator
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    if cancel is not None:
        cancel_maintenance(workspace, cancel)
    elif sensor or platform:
        if until is None:
            raise ConfigurationError("A maintenance window needs an end: --until TIME")
        sensor_id = None if sensor is None else workspace.fleet.sensor(sensor).id
        work = MaintenanceWindow(
            start or utc_now(), until, reason, by or current_user(), sensor_id=sensor_id, platform=platform
        )
        add_maintenance(workspace, work, now=utc_now())
    windows = list_maintenance(workspace)
    if as_json:
        show_json({"command": "alerts maintenance", "maintenance": [vars(work) for work in windows]})
        return
    _ = load_translator()
    show_rows(
        [
            {
                _("No."): work.id,
                _("Sensor"): work.sensor_id,
                _("Platform"): work.platform,
                _("From"): _.moment_with_zone(work.start),
                _("Until"): _.moment_with_zone(work.end),
                _("Work"): work.reason,
                _("By"): work.made_by,
            }
            for work in windows
        ]
    )


@app.command()
def stats(
    days: Annotated[float, typer.Option(min=0.01, help="Length of the period.")] = 7.0,
    as_of: OptionalTime = None,
    as_json: JsonOption = False,
) -> None:
    """Show alert statistics: rates, floods, the ten worst sensors, stale and chattering alerts, precision.

    Example: safeplan alerts stats --days 30
    """
    from monitoring.reports.alert_statistics import alert_statistics
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    end = as_of or utc_now()
    statistics = alert_statistics(Workspace.here(), start=end - timedelta(days=days), end=end).as_dict()
    if as_json:
        show_json({"command": "alerts stats", **statistics})
        return
    tables = [statistics.pop("worst"), statistics.pop("precision")]
    show_rows([statistics])
    for table in tables:
        show_rows(table)


@app.command()
def thresholds(
    names: SensorNames = None,
    share: Annotated[
        bool, typer.Option("--share", help="First share the alarm budget again by the past weeks.")
    ] = False,
    as_of: OptionalTime = None,
    as_json: JsonOption = False,
) -> None:
    """Show each sensor's alert threshold and its share of the alarm budget.

    Example: safeplan alerts thresholds --share
    """
    from monitoring.i18n.translation import load_translator
    from monitoring.watch.thresholds import allocate_budget, threshold_rows
    from training.operations.console import show_json, show_rows, stderr_console
    from training.workspace import Workspace

    workspace = Workspace.here()
    if share:
        stderr_console.print(str(allocate_budget(workspace, now=as_of or utc_now())))
    chosen = None if not names else [sensor.id for sensor in workspace.fleet.match(names)]
    rows = threshold_rows(workspace, chosen)
    if as_json:
        for row in rows:
            row["reasons"] = [reason.as_dict() for reason in row["reasons"]]
        show_json({"command": "alerts thresholds", "thresholds": rows})
    else:
        translator = load_translator()
        texts = [translator.reason_text(row.pop("reasons"), row["reason"]) for row in rows]
        show_rows([{**row, "reason": [text]} for row, text in zip(rows, texts, strict=True)], below="reason")


@app.command()
def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="shift.html, shift.xlsx or shift.pdf")],
    hours: Annotated[float, typer.Option(min=0.1, help="Length of the shift.")] = 8.0,
    as_of: OptionalTime = None,
    language: Annotated[str | None, typer.Option(help="en or pt; default: site.language.")] = None,
    by: AuthorOption = "",
) -> None:
    """Write the shift report for the handover.

    Example: safeplan alerts report shift.html --hours 8 --language pt
    """
    from monitoring.i18n.translation import load_translator
    from monitoring.reports.report_files import write_report
    from monitoring.reports.shift_report import build_shift_report
    from training.workspace import Workspace

    end = as_of or utc_now()
    start = end - timedelta(hours=hours)
    shift = build_shift_report(
        Workspace.here(), start=start, end=end, author=by or current_user(), words=load_translator(language)
    )
    write_report(shift, file)
    typer.echo(f"wrote {file}")


@app.command()
def deliver(as_json: JsonOption = False) -> None:
    """Send the notifications that are waiting.

    Example: safeplan alerts deliver
    """
    from monitoring.notify.delivery import deliver as deliver_all
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    results = [vars(result) for result in deliver_all(Workspace.here(), clock=utc_now)]
    if as_json:
        show_json({"command": "alerts deliver", "channels": results})
    else:
        show_rows(results)
    if any(result["error"] for result in results):
        raise typer.Exit(EXIT_SOME_FAILED)


def _print_alerts(shown_alerts: "Sequence[Alert]", as_json: bool) -> None:
    from monitoring.alerts.evidence_text import evidence_text
    from monitoring.i18n.translation import load_translator
    from monitoring.watch.operator_actions import alert_to_dict
    from training.operations.console import show_json, show_rows, stdout_console
    from training.workspace import Workspace

    if as_json:
        show_json({"command": "alerts list", "alerts": [alert_to_dict(alert) for alert in shown_alerts]})
        return
    translator, fleet = load_translator(), Workspace.here().fleet
    if not shown_alerts:
        stdout_console.print(translator("No alerts."))
    rows = []
    for alert in shown_alerts:
        sensor = fleet.get(alert.topic.sensor_id)
        unit = sensor.unit if sensor else None
        text = evidence_text(translator, alert, unit)
        rows.append({**_alert_row(translator, alert, unit), "why": [text] if text else []})
    show_rows(rows, below="why")


def _alert_row(_: "Translator", alert: "Alert", unit: str | None) -> dict[str, Any]:
    from monitoring.alerts.kinds import (
        AlertChange,
        severity_label,
        state_name,
        verdict_name,
    )
    from monitoring.notify.message import alert_name, change_name

    value, score = alert.evidence.value, alert.evidence.score
    settled = alert.settled is not None
    return {
        _("No."): alert.id,
        _("Severity"): severity_label(_, alert.severity),
        _("Type"): alert_name(_, alert),
        _("Sensor"): alert.topic.sensor_id,
        _("State"): change_name(_, AlertChange.SETTLED) if settled else state_name(_, alert.state),
        _("Repeats"): alert.repeats or None,
        _("Since"): _.moment_with_zone(alert.began_at),
        _("Last seen"): _.moment_with_zone(alert.last_at),
        _("Value"): None if value is None else _.quantity(value, unit),
        _("Score"): None if score is None else _.number(score, 3),
        _("Acknowledged by"): alert.acknowledged_by,
        _("Shelved until"): alert.shelved_until and _.moment_with_zone(alert.shelved_until),
        _("Verdict"): alert.verdict and verdict_name(_, alert.verdict),
    }


def _parse_duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(min|h|d)", text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is not a duration; use for example 30min, 4h or 1d.")
    return float(match[1]) * DURATION_UNITS[match[2]]
