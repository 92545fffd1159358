"""`safeplan schedule` and `safeplan replay`: run scheduled jobs; replay the past with other model versions.

Parses, calls one function, prints and sets the exit code. Jobs run in `monitoring.schedule`; replays in
`monitoring.retraining.replay`.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring.cli.site_time import TIME_OPTION
from training.common.clock import utc_now

if TYPE_CHECKING:
    from monitoring.schedule.job_run_store import JobRunStore

EXIT_SOME_FAILED, EXIT_DONE_ELSEWHERE, EXIT_TIMED_OUT = 1, 4, 5


def schedule(
    once: Annotated[
        str | None, typer.Option("--once", metavar="JOB", help="Run one job now and exit.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show each job's last run and next time.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Run the scheduled jobs until stopped, or one job now for cron, Airflow or Kubernetes.

    With --once: exit code 0 done, 1 some failed, 4 running in another process, 5 timed out and stopped.

    Example: safeplan schedule --once detect
    """
    from monitoring.schedule.job_runner import JobRunner
    from monitoring.schedule.scheduler import JobScheduler
    from monitoring.schedule.settings import ScheduleSettings
    from training.operations.console import stderr_console
    from training.settings import load_settings
    from training.workspace import Workspace

    settings = load_settings(ScheduleSettings)
    runner = JobRunner(Workspace.here(), settings, clock=utc_now)
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
        typer.Option("--version", min=1, help="Can be repeated; default: champion and challenger."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Replay past readings with versions of a detector: scores, alerts they would have raised, events found.

    Example: safeplan replay PT-1001 --version 1 --from 2026-01-31 --to 2026-02-02
    """
    from monitoring.retraining.replay import find_versions
    from monitoring.retraining.replay import replay as replay_versions
    from training.operations.console import show_json, show_rows
    from training.workspace import Workspace

    workspace = Workspace.here()
    sensor = workspace.fleet.sensor(name)
    chosen = find_versions(workspace, sensor, versions or ())
    replays = replay_versions(workspace, sensor, chosen, start, end or utc_now())
    if as_json:
        show_json({"command": "replay", "sensor_id": sensor.id, "versions": [r.as_dict() for r in replays]})
        return
    show_rows([result.summary() for result in replays])
    show_rows([{"by version": r.version, **alert} for r in replays for alert in r.as_dict()["alerts"]])


def _run_once(runner: Any, name: str, as_json: bool) -> int:
    from monitoring.schedule.job_run_store import RunStatus
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
    from training.common.times import to_naive_utc
    from training.operations.console import show_json, show_rows

    now = datetime.now(UTC)
    missed = runs.missed_since(utc_now() - timedelta(days=1))
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
                "next": next_time and to_naive_utc(next_time),
                "detail": last and last.detail,
            }
        )
    if as_json:
        show_json({"command": "schedule", "jobs": rows})
    else:
        show_rows(rows)
