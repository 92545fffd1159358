"""`safeplan alerts`: what is odd now, and what people say to it.

Knows how these commands are spelled and what they print. Each calls one function of the floor.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.common.formatting import format_value
from training.common.users import current_user
from training.errors import ConfigurationError

if TYPE_CHECKING:
    from monitoring.alerts.alert import Alert

app = typer.Typer(
    help="Alerts: what is odd now, what became of it, and what people say to it.",
    rich_markup_mode=None,
    invoke_without_command=True,
)

EXIT_SOME_FAILED = 1
DURATION_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

AlertIdArgument = Annotated[int, typer.Argument(metavar="ID", help="The alert's number.")]
AuthorOption = Annotated[str, typer.Option(help="Who says so; SAFEPLAN_USER or this account if not given.")]
SensorNames = Annotated[list[str] | None, typer.Argument(metavar="SENSOR", help="Ids or globs; all if none.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
TIME_OPTION: dict[str, Any] = {
    "formats": ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    "metavar": "TIME",
    "help": "A time in UTC, like 2026-01-31 or 2026-01-31T06:00.",
}
OptionalTime = Annotated[datetime | None, typer.Option(**TIME_OPTION)]


@app.callback()
def alerts(context: typer.Context) -> None:
    """List what is open, where no other command is given."""
    if context.invoked_subcommand is None:
        list_()


@app.command()
def watch(names: SensorNames = None, as_of: OptionalTime = None, as_json: JsonOption = False) -> None:
    """Turn what was read, scored, forecast and checked since the last time into alerts.

    Example: safeplan alerts watch
    """
    from monitoring.watch.watcher import watch_fleet
    from training.operations.console import progress, show_outcomes
    from training.workspace import Workspace

    workspace = Workspace.here()
    chosen = workspace.fleet.match(names or ())
    with progress("watching", len(chosen)) as advance:
        outcomes = watch_fleet(workspace, chosen, now=as_of or _now(), watch=advance)
    show_outcomes("watch", outcomes, ("opened", "worsened", "closed"), as_json=as_json)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command("list")
def list_(
    names: SensorNames = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones as well.")] = False,
    since: OptionalTime = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts: open ones first, the worst and newest first.

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
    """Show one alert and everything that happened to it.

    Example: safeplan alerts show 1
    """
    from monitoring.watch.operator_actions import alert_history, alert_to_dict, find_alert
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    alert, events = find_alert(workspace, alert_id), alert_history(workspace, alert_id)
    changes = [
        {"at": e.at, "change": e.change.value, "severity": int(e.severity), "by": e.by, "what": e.detail}
        for e in events
    ]
    if as_json:
        show_json({"command": "alerts show", "alert": alert_to_dict(alert), "changes": changes})
        return
    _print_alerts([alert], as_json=False)
    show_rows(changes)


@app.command()
def ack(ids: Annotated[list[int], typer.Argument(metavar="ID...")], by: AuthorOption = "") -> None:
    """Acknowledge alerts: somebody has seen them.

    Example: safeplan alerts ack 1
    """
    from monitoring.watch.operator_actions import acknowledge
    from training.workspace import Workspace

    workspace = Workspace.here()
    _print_alerts(
        [acknowledge(workspace, one, by=by or current_user(), now=_now()) for one in ids], as_json=False
    )


@app.command()
def shelve(
    alert_id: AlertIdArgument,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="Such as 30min or 4h.")] = "1h",
    by: AuthorOption = "",
) -> None:
    """Tell nobody of an alert for some time; shelving always ends.

    Example: safeplan alerts shelve 1 --for 2h
    """
    from monitoring.watch.operator_actions import shelve as shelve_alert
    from training.workspace import Workspace

    now = _now()
    until = now + _parse_duration(lasting)
    _print_alerts(
        [shelve_alert(Workspace.here(), alert_id, until, by=by or current_user(), now=now)], as_json=False
    )


@app.command()
def unshelve(alert_id: AlertIdArgument, by: AuthorOption = "") -> None:
    """Tell people of an alert again.

    Example: safeplan alerts unshelve 1
    """
    from monitoring.watch.operator_actions import unshelve as unshelve_alert
    from training.workspace import Workspace

    _print_alerts(
        [unshelve_alert(Workspace.here(), alert_id, by=by or current_user(), now=_now())], as_json=False
    )


@app.command()
def verdict(
    alert_id: AlertIdArgument,
    said: Annotated[str, typer.Argument(metavar="VERDICT", help="confirm, false or maintenance.")],
    note: Annotated[str | None, typer.Option(help="What it was.")] = None,
    by: AuthorOption = "",
) -> None:
    """Say what an alert was; the next training learns from it.

    Example: safeplan alerts verdict 1 confirm --note "cable cut"
    """
    from monitoring.alerts.kinds import AlertVerdict
    from monitoring.watch.operator_actions import set_verdict
    from training.workspace import Workspace

    if said not in set(AlertVerdict):
        raise ConfigurationError(f"{said!r} is no verdict; say {', '.join(AlertVerdict)}.")
    alert = set_verdict(
        Workspace.here(), alert_id, AlertVerdict(said), by=by or current_user(), now=_now(), note=note
    )
    _print_alerts([alert], as_json=False)


@app.command()
def maintenance(
    sensor: Annotated[str | None, typer.Option(help="The id of the sensor that is worked on.")] = None,
    platform: Annotated[str | None, typer.Option(help="Or the whole platform.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", **TIME_OPTION)] = None,
    until: OptionalTime = None,
    reason: Annotated[str, typer.Option(help="What is done.")] = "",
    cancel: Annotated[int | None, typer.Option(metavar="ID", help="Forget this window.")] = None,
    by: AuthorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say when somebody works on a sensor or platform, where no alert begins; without options, list it.

    Example: safeplan alerts maintenance --sensor PT-1001 --from 2026-02-01 --until 2026-02-02
    """
    from monitoring.alerts.maintenance import (
        MaintenanceWindow,
        add_maintenance,
        cancel_maintenance,
        list_maintenance,
    )
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    if cancel is not None:
        cancel_maintenance(workspace, cancel)
    elif sensor or platform:
        if until is None:
            raise ConfigurationError("Maintenance always ends; say when: --until TIME")
        named = None if sensor is None else workspace.fleet.sensor(sensor).id
        work = MaintenanceWindow(
            start or _now(), until, reason, by or current_user(), sensor_id=named, platform=platform
        )
        add_maintenance(workspace, work, now=_now())
    rows = [vars(work) for work in list_maintenance(workspace)]
    if as_json:
        show_json({"command": "alerts maintenance", "maintenance": rows})
    else:
        show_rows(rows)


@app.command()
def stats(
    days: Annotated[float, typer.Option(min=0.01, help="Of the past.")] = 7.0,
    as_of: OptionalTime = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many alerts came, floods, the ten worst sensors, stale and chattering alerts, who was right.

    Example: safeplan alerts stats --days 30
    """
    from monitoring.reports.alert_statistics import alert_statistics
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    end = as_of or _now()
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
        bool, typer.Option("--share", help="Share the budget out anew, by the past weeks, before.")
    ] = False,
    as_of: OptionalTime = None,
    as_json: JsonOption = False,
) -> None:
    """Show from which score on each sensor may call, its part of the alarm budget, and why.

    Example: safeplan alerts thresholds --share
    """
    from monitoring.watch.thresholds import allocate_budget, threshold_rows
    from training.operations.console import show_json, show_rows, stderr_console
    from training.workspace import Workspace

    workspace = Workspace.here()
    if share:
        stderr_console.print(str(allocate_budget(workspace, now=as_of or _now())))
    chosen = None if not names else [sensor.id for sensor in workspace.fleet.match(names)]
    rows = threshold_rows(workspace, chosen)
    if as_json:
        show_json({"command": "alerts thresholds", "thresholds": rows})
    else:
        show_rows([{**row, "reason": [row["reason"]]} for row in rows], below="reason")


@app.command()
def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="shift.html or shift.xlsx")],
    hours: Annotated[float, typer.Option(min=0.1, help="How long the shift was.")] = 8.0,
    as_of: OptionalTime = None,
    language: Annotated[str | None, typer.Option(help="en or pt; site.language if not given.")] = None,
) -> None:
    """Write the shift report for the hand-over.

    Example: safeplan alerts report shift.html --hours 8 --language pt
    """
    from monitoring.i18n.translation import load_translator
    from monitoring.reports.shift_report import build_shift_report, write_report
    from training.workspace import Workspace

    end = as_of or _now()
    start = end - timedelta(hours=hours)
    write_report(
        build_shift_report(Workspace.here(), start=start, end=end, words=load_translator(language)), file
    )
    typer.echo(f"wrote {file}")


@app.command()
def deliver(as_json: JsonOption = False) -> None:
    """Send the messages that wait for their channels.

    Example: safeplan alerts deliver
    """
    from monitoring.notify.delivery import deliver as deliver_all
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    results = [vars(delivered) for delivered in deliver_all(Workspace.here(), clock=_now)]
    if as_json:
        show_json({"command": "alerts deliver", "channels": results})
    else:
        show_rows(results)
    if any(delivered["error"] for delivered in results):
        raise typer.Exit(EXIT_SOME_FAILED)


def _print_alerts(shown_alerts: "Sequence[Alert]", as_json: bool) -> None:
    from monitoring.watch.operator_actions import alert_to_dict
    from training.operations.console import show_json, show_rows

    if as_json:
        show_json({"command": "alerts list", "alerts": [alert_to_dict(alert) for alert in shown_alerts]})
    else:
        show_rows([_alert_row(alert) for alert in shown_alerts], below="why")


def _alert_row(alert: "Alert") -> dict[str, Any]:
    optional_fields = {"shelved until": alert.shelved_until, "verdict": alert.verdict and alert.verdict.value}
    return {
        "id": alert.id,
        "severity": int(alert.severity),
        "type": alert.topic.type.value,
        "sensor": alert.topic.sensor_id,
        "what": alert.topic.subject,
        "state": alert.state.value,
        "since": alert.began_at,
        "last": alert.last_at,
        "value": None if alert.evidence.value is None else format_value(alert.evidence.value),
        "score": alert.evidence.score,
        "acknowledged by": alert.acknowledged_by,
        **optional_fields,
        "why": [alert.evidence.reason] if alert.evidence.reason else [],
    }


def _parse_duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(min|h|d)", text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is no length of time; write 30min, 4h or 1d.")
    return float(match[1]) * DURATION_UNITS[match[2]]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
