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

SOME_FAILED = 1
UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

Id = Annotated[int, typer.Argument(metavar="ID", help="The alert's number.")]
By = Annotated[str, typer.Option(help="Who says so; SAFEPLAN_USER or this account if not given.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="SENSOR", help="Ids or globs; all if none.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
MOMENT: dict[str, Any] = {
    "formats": ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    "metavar": "TIME",
    "help": "A time in UTC, like 2026-01-31 or 2026-01-31T06:00.",
}
Moment = Annotated[datetime | None, typer.Option(**MOMENT)]


@app.callback()
def alerts(context: typer.Context) -> None:
    """List what is open, where no other command is given."""
    if context.invoked_subcommand is None:
        list_()


@app.command()
def watch(names: Names = None, as_of: Moment = None, as_json: AsJson = False) -> None:
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
        raise typer.Exit(SOME_FAILED)


@app.command("list")
def list_(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones as well.")] = False,
    since: Moment = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List alerts: open ones first, the worst and newest first.

    Example: safeplan alerts list 'PT-*' --all
    """
    from monitoring.watch.operator_actions import list_alerts
    from training.workspace import Workspace

    workspace = Workspace.here()
    chosen = None if not names else [sensor.id for sensor in workspace.fleet.match(names)]
    alive = None if everything else True
    _show(list_alerts(workspace, chosen, alive=alive, start=since, limit=limit), as_json)


@app.command()
def show(alert_id: Id, as_json: AsJson = False) -> None:
    """Show one alert and everything that happened to it.

    Example: safeplan alerts show 1
    """
    from monitoring.watch.operator_actions import as_dict, find_alert, history_of
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    found, events = find_alert(workspace, alert_id), history_of(workspace, alert_id)
    told = [
        {"at": e.at, "change": e.change.value, "severity": int(e.severity), "by": e.by, "what": e.detail}
        for e in events
    ]
    if as_json:
        show_json({"command": "alerts show", "alert": as_dict(found), "changes": told})
        return
    _show([found], as_json=False)
    show_rows(told)


@app.command()
def ack(ids: Annotated[list[int], typer.Argument(metavar="ID...")], by: By = "") -> None:
    """Acknowledge alerts: somebody has seen them.

    Example: safeplan alerts ack 1
    """
    from monitoring.watch.operator_actions import acknowledge
    from training.workspace import Workspace

    workspace = Workspace.here()
    _show([acknowledge(workspace, one, by=by or current_user(), now=_now()) for one in ids], as_json=False)


@app.command()
def shelve(
    alert_id: Id,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="Such as 30min or 4h.")] = "1h",
    by: By = "",
) -> None:
    """Tell nobody of an alert for some time; shelving always ends.

    Example: safeplan alerts shelve 1 --for 2h
    """
    from monitoring.watch.operator_actions import shelve as shelve_alert
    from training.workspace import Workspace

    now = _now()
    until = now + _duration(lasting)
    _show([shelve_alert(Workspace.here(), alert_id, until, by=by or current_user(), now=now)], as_json=False)


@app.command()
def unshelve(alert_id: Id, by: By = "") -> None:
    """Tell people of an alert again.

    Example: safeplan alerts unshelve 1
    """
    from monitoring.watch.operator_actions import unshelve as unshelve_alert
    from training.workspace import Workspace

    _show([unshelve_alert(Workspace.here(), alert_id, by=by or current_user(), now=_now())], as_json=False)


@app.command()
def verdict(
    alert_id: Id,
    said: Annotated[str, typer.Argument(metavar="VERDICT", help="confirm, false or maintenance.")],
    note: Annotated[str | None, typer.Option(help="What it was.")] = None,
    by: By = "",
) -> None:
    """Say what an alert was; the next training learns from it.

    Example: safeplan alerts verdict 1 confirm --note "cable cut"
    """
    from monitoring.alerts.kinds import Judgement
    from monitoring.watch.operator_actions import judge
    from training.workspace import Workspace

    if said not in set(Judgement):
        raise ConfigurationError(f"{said!r} is no verdict; say {', '.join(Judgement)}.")
    found = judge(Workspace.here(), alert_id, Judgement(said), by=by or current_user(), now=_now(), note=note)
    _show([found], as_json=False)


@app.command()
def maintenance(
    sensor: Annotated[str | None, typer.Option(help="The id of the sensor that is worked on.")] = None,
    platform: Annotated[str | None, typer.Option(help="Or the whole platform.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", **MOMENT)] = None,
    until: Moment = None,
    reason: Annotated[str, typer.Option(help="What is done.")] = "",
    cancel: Annotated[int | None, typer.Option(metavar="ID", help="Forget this window.")] = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Say when somebody works on a sensor or platform, where no alert begins; without options, list it.

    Example: safeplan alerts maintenance --sensor PT-1001 --from 2026-02-01 --until 2026-02-02
    """
    from monitoring.alerts.maintenance import Work, cancel_work, plan_work, works
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    if cancel is not None:
        cancel_work(workspace, cancel)
    elif sensor or platform:
        if until is None:
            raise ConfigurationError("Maintenance always ends; say when: --until TIME")
        named = None if sensor is None else workspace.fleet.sensor(sensor).id
        work = Work(start or _now(), until, reason, by or current_user(), sensor_id=named, platform=platform)
        plan_work(workspace, work, now=_now())
    rows = [vars(work) for work in works(workspace)]
    if as_json:
        show_json({"command": "alerts maintenance", "maintenance": rows})
    else:
        show_rows(rows)


@app.command()
def stats(
    days: Annotated[float, typer.Option(min=0.01, help="Of the past.")] = 7.0,
    as_of: Moment = None,
    as_json: AsJson = False,
) -> None:
    """Show how many alerts came, floods, the ten worst sensors, stale and chattering alerts, who was right.

    Example: safeplan alerts stats --days 30
    """
    from monitoring.reports.alert_statistics import alert_statistics
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    end = as_of or _now()
    found = alert_statistics(Workspace.here(), start=end - timedelta(days=days), end=end).as_dict()
    if as_json:
        show_json({"command": "alerts stats", **found})
        return
    tables = [found.pop("worst"), found.pop("precision")]
    show_rows([found])
    for table in tables:
        show_rows(table)


@app.command()
def thresholds(
    names: Names = None,
    share: Annotated[
        bool, typer.Option("--share", help="Share the budget out anew, by the past weeks, before.")
    ] = False,
    as_of: Moment = None,
    as_json: AsJson = False,
) -> None:
    """Show from which score on each sensor may call, its part of the alarm budget, and why.

    Example: safeplan alerts thresholds --share
    """
    from monitoring.watch.thresholds import share_budget, threshold_rows
    from training.operations.console import show_json, show_rows, stderr_console
    from training.workspace import Workspace

    workspace = Workspace.here()
    if share:
        stderr_console.print(str(share_budget(workspace, now=as_of or _now())))
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
    as_of: Moment = None,
    language: Annotated[str | None, typer.Option(help="en or pt; site.language if not given.")] = None,
) -> None:
    """Write the shift report for the hand-over.

    Example: safeplan alerts report shift.html --hours 8 --language pt
    """
    from monitoring.i18n.translation import words
    from monitoring.reports.shift_report import shift_report, write_report
    from training.workspace import Workspace

    end = as_of or _now()
    start = end - timedelta(hours=hours)
    write_report(shift_report(Workspace.here(), start=start, end=end, words=words(language)), file)
    typer.echo(f"wrote {file}")


@app.command()
def deliver(as_json: AsJson = False) -> None:
    """Send the messages that wait for their channels.

    Example: safeplan alerts deliver
    """
    from monitoring.notify.delivery import deliver as deliver_all
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    found = [vars(delivered) for delivered in deliver_all(Workspace.here(), clock=_now)]
    if as_json:
        show_json({"command": "alerts deliver", "channels": found})
    else:
        show_rows(found)
    if any(delivered["error"] for delivered in found):
        raise typer.Exit(SOME_FAILED)


def _show(found: "Sequence[Alert]", as_json: bool) -> None:
    from monitoring.watch.operator_actions import as_dict
    from training.operations.console import show_json, show_rows

    if as_json:
        show_json({"command": "alerts list", "alerts": [as_dict(alert) for alert in found]})
    else:
        show_rows([_row(alert) for alert in found], below="why")


def _row(alert: "Alert") -> dict[str, Any]:
    said = {"shelved until": alert.shelved_until, "verdict": alert.verdict and alert.verdict.value}
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
        **said,
        "why": [alert.evidence.reason] if alert.evidence.reason else [],
    }


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(min|h|d)", text.strip())
    if found is None:
        raise ConfigurationError(f"{text!r} is no length of time; write 30min, 4h or 1d.")
    return float(found[1]) * UNITS[found[2]]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
