"""`safeplan schedule` and `safeplan replay`: the jobs that keep models fresh, and the past told again.

Knows how the commands are spelled, what they print and with which code they end. What runs is `schedule`'s
and `running`'s; what versions would have said, `replay`'s.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from monitoring.schedule.job_runs import JobRunStore

TIME_OPTION: dict[str, Any] = {
    "formats": ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    "metavar": "TIME",
    "help": "A time in UTC, like 2026-01-31 or 2026-01-31T06:00.",
}
EXIT_SOME_FAILED, EXIT_DONE_ELSEWHERE, EXIT_TIMED_OUT = 1, 4, 5


def schedule(
    once: Annotated[
        str | None, typer.Option("--once", metavar="JOB", help="Run one job now, and end.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show each job's last run and next time.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Run every job at its time until stopped, or one job now for cron, Airflow or Kubernetes.

    With --once: exit 0 done, 1 some failed, 4 another process is at it, 5 it was stuck and was ended.

    Example: safeplan schedule --once detect
    """
    from monitoring.schedule.job_process import JobRunner
    from monitoring.schedule.scheduler import JobScheduler
    from monitoring.schedule.settings import ScheduleSettings
    from training.operations.console import stderr_console
    from training.settings import load_settings
    from training.workspace import Workspace

    settings = load_settings(ScheduleSettings)
    runner = JobRunner(Workspace.here(), settings, clock=_now)
    if status:
        _show_status(runner.runs, settings, as_json)
    elif once is not None:
        raise typer.Exit(_run_once(runner, once, as_json))
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        stderr_console.print("running; stop with Ctrl-C. See: safeplan schedule --status")
        JobScheduler(runner, settings).run()


def replay(
    name: Annotated[str, typer.Argument(metavar="SENSOR", help="The id of one sensor.")],
    start: Annotated[datetime, typer.Option("--from", **TIME_OPTION)],
    end: Annotated[datetime | None, typer.Option("--to", **TIME_OPTION)] = None,
    versions: Annotated[
        list[int] | None,
        typer.Option("--version", min=1, help="May be repeated; champion and challenger if none."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Tell the past again by any version of a detector: scores, alerts it would have raised, events caught.

    Example: safeplan replay PT-1001 --version 1 --from 2026-01-31 --to 2026-02-02
    """
    from monitoring.retraining.replay import find_versions
    from monitoring.retraining.replay import replay as tell_again
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    sensor = workspace.fleet.sensor(name)
    chosen = find_versions(workspace, sensor, versions or ())
    replays = tell_again(workspace, sensor, chosen, start, end or _now())
    if as_json:
        show_json(
            {"command": "replay", "sensor_id": sensor.id, "versions": [one.as_dict() for one in replays]}
        )
        return
    show_rows([one.summary() for one in replays])
    show_rows([{"by version": one.version, **told} for one in replays for told in one.as_dict()["alerts"]])


def _run_once(runner: Any, name: str, as_json: bool) -> int:
    from monitoring.schedule.job_runs import RunStatus
    from monitoring.schedule.settings import parse_job_name
    from training.operations.console import show_json, show_rows, stderr_console
    from training.storage.leases import LeaseTaken

    job = parse_job_name(name)
    try:
        completed = runner.run_once(job)
    except LeaseTaken as error:
        stderr_console.print(str(error))
        return EXIT_DONE_ELSEWHERE
    row = {
        "job": completed.job.value,
        "due_at": completed.due_at,
        "status": completed.status.value,
        "detail": completed.detail,
    }
    if as_json:
        show_json({"command": "schedule", **row})
    else:
        show_rows([row])
    return {RunStatus.DONE: 0, RunStatus.TIMED_OUT: EXIT_TIMED_OUT}.get(completed.status, EXIT_SOME_FAILED)


def _show_status(runs: "JobRunStore", settings: Any, as_json: bool) -> None:
    from monitoring.schedule.settings import JobName, parse_cron, site_zone
    from training.operations.console import show_json, show_rows

    now = datetime.now(UTC)
    missed = runs.missed_since(_now() - timedelta(days=1))
    rows = []
    for job in JobName:
        job_rule, last = settings.rule(job), runs.last(job)
        next_time = parse_cron(job_rule.cron, site_zone()).get_next_fire_time(None, now)
        rows.append(
            {
                "job": job.value,
                "cron": job_rule.cron,
                "enabled": job_rule.enabled,
                "last": last and last.started_at,
                "status": last and last.status.value,
                "missed in 24 h": missed.get(job.value, 0),
                "next": next_time and next_time.astimezone(UTC).replace(tzinfo=None),
                "detail": last and last.detail,
            }
        )
    if as_json:
        show_json({"command": "schedule", "jobs": rows})
    else:
        show_rows(rows)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
