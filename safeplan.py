"""The command line of SafePlan ML: a command parses arguments, calls one function and prints the result.

A package is imported only when one of its commands runs, so that `safeplan --help` is fast. Output is
formatted in `training.operations.console`.
"""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitoring.cli import alert_commands, schedule_commands
from monitoring.cli.site_time import OptionalTime
from training.common.clock import utc_now
from training.common.gc_tuning import freeze_objects, reduce_gc_frequency
from training.errors import ConfigurationError, GateRefused, SafePlanError, UnknownSensor
from training.kinds import Engine, Kind, Promotion

if TYPE_CHECKING:
    from training.operations.console import Row
    from training.outcomes import Outcome
    from training.workspace import Workspace

SOME_FAILED, BAD_USAGE, GATE_REFUSED = 1, 2, 3

app = typer.Typer(
    help="Train, serve and monitor one anomaly detector and one forecaster per sensor, with MLflow.",
    no_args_is_help=True,
    context_settings={"max_content_width": 100},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(alert_commands.app, name="alerts")
app.command()(schedule_commands.schedule)
app.command()(schedule_commands.replay)


class Form(StrEnum):
    """The layout of a file."""

    AUTO = "auto"
    LONG = "long"
    WIDE = "wide"


class Decimal(StrEnum):
    """The decimal separator of a file."""

    AUTO = "auto"
    POINT = "point"
    COMMA = "comma"

    @property
    def sign(self) -> Literal[".", ","] | None:
        """The character, or None to detect it in the file."""
        return {"point": ".", "comma": ","}.get(self.value)  # type: ignore[return-value]


Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="SENSOR", help="Sensor ids or glob patterns. Default: all enabled sensors."),
]
Name = Annotated[str, typer.Argument(metavar="SENSOR", help="The id of a sensor.")]
OneKind = Annotated[Kind, typer.Option("--kind", help="The kind of model.")]
BothKinds = Annotated[
    list[Kind] | None, typer.Option("--kind", help="Only this kind of model; can be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def main() -> None:
    """Run one command; each expected error ends in one line on stderr and an exit code."""
    try:
        app()
    except (ConfigurationError, UnknownSensor) as error:
        _exit_with_error(error, BAD_USAGE)
    except GateRefused as error:
        _exit_with_error(error, GATE_REFUSED)
    except SafePlanError as error:
        _exit_with_error(error, SOME_FAILED)


def print_version(requested: bool) -> None:
    """Print the version of the program and end."""
    if requested:
        from importlib.metadata import version

        typer.echo(f"safeplan {version('safeplan')}")
        raise typer.Exit


@app.callback()
def common_options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    lang: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Language of alerts and reports: en or pt; also SAFEPLAN_LANG."),
    ] = None,
) -> None:
    """Options before the command."""
    if lang is not None:
        os.environ["SAFEPLAN_LANG"] = lang


@app.command()
def demo() -> None:
    """Load, train, promote, score and forecast real readings in the folder ./demo.

    The readings are one year of three weather stations in New York.

    Example: safeplan demo
    """
    from monitoring.cli.demo import run_demo

    run_demo(Path("demo"))


@app.command()
def load(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, CSV.gz or Parquet files.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="Rename a column, such as tag=sensor_id; can be repeated."),
    ] = None,
    form: Annotated[
        Form, typer.Option(help="long: one row per reading; wide: one column per sensor.")
    ] = Form.AUTO,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of timestamps without one, such as Europe/Oslo.")
    ] = None,
    stamps: Annotated[
        str | None, typer.Option(help="Format of timestamps, such as '%d/%m/%Y %H:%M'.")
    ] = None,
    decimal: Annotated[Decimal, typer.Option(help="Decimal separator of numbers.")] = Decimal.AUTO,
    separator: Annotated[str | None, typer.Option(help="Separator between columns, such as ';'.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Text encoding, such as latin-1.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse readings of unknown sensors.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace stored values by new ones with the same timestamp.")
    ] = False,
    refused: Annotated[
        Path | None, typer.Option(help="Write refused rows with reasons to this CSV file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load readings from files; each row is accepted, corrected or refused with a reason.

    Example: safeplan load readings.csv.gz --map tag=sensor_id --timezone America/Sao_Paulo
    """
    from training.ingest.layouts import Layout, parse_column_map
    from training.ingest.load_files import load_files
    from training.operations.console import bytes_progress, show_load
    from training.workspace import Workspace

    layout = Layout(
        form=form.value,
        columns=parse_column_map(columns or ()),
        zone=timezone,
        stamps=stamps,
        decimal=decimal.sign,
        separator=separator,
        encoding=encoding,
    )
    with bytes_progress("loading") as advance:
        report = load_files(
            files,
            Workspace.here().readings,
            now=datetime.now(UTC),
            layout=layout,
            strict=strict,
            replace=replace,
            refused_to=refused,
            progress=advance,
        )
    show_load(report, as_json=as_json)
    if report.unreadable:
        raise typer.Exit(SOME_FAILED)


@app.command()
def sensors(names: Names = None, as_json: AsJson = False) -> None:
    """Show each sensor's readings, data quality grade with reasons, and trainable models.

    Example: safeplan sensors 'PT-*'
    """
    from training.operations.overview import describe_sensors
    from training.reasons import render
    from training.workspace import Workspace

    workspace = Workspace.here()
    rows = describe_sensors(workspace, workspace.fleet.match(names or ()))
    rows = [{**row, "reasons": [render(reason) for reason in row["reasons"]]} for row in rows]
    _print_rows("sensors", rows, as_json, below="reasons")


@app.command()
def status(names: Names = None, as_json: AsJson = False) -> None:
    """Show how many sensors are monitored, the status of each, and its champions with age and metrics.

    Example: safeplan status --json
    """
    from monitoring.cli.status_command import show_status
    from training.workspace import Workspace

    workspace = Workspace.here()
    show_status(workspace, workspace.fleet.match(names or ()), now=utc_now(), as_json=as_json)


@app.command()
def train(
    names: Names = None,
    kinds: BothKinds = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Optuna trials per sensor and kind.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0.01, help="Seconds of search per sensor, for all kinds together.")
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Where to train: worker processes of this machine, or a Ray cluster (RAY_ADDRESS)."
        ),
    ] = Engine.LOCAL,
    jobs: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one per core.")] = 0,
    promote: Annotated[
        Promotion, typer.Option(help="managed: promote what passes the gate; manual: leave it as challenger.")
    ] = Promotion.MANAGED,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Also train models whose data has not changed.")
    ] = False,
    as_of: OptionalTime = None,
    as_json: AsJson = False,
) -> None:
    """Tune, train, evaluate and register models; promote those that pass the gate.

    Resumes an interrupted training run; skips sensors whose data has not changed.

    Example: safeplan train 'PT-*' --kind forecaster --trials 60
    """
    reduce_gc_frequency()
    if engine is Engine.LOCAL and jobs != 1:
        from training.pipeline.worker_pool import warm_up

        warm_up()
    from training.operations.console import progress
    from training.pipeline.fleet import train_fleet
    from training.pipeline.plan import Plan

    freeze_objects()
    workspace = _audited_workspace("train")
    selected = workspace.fleet.match(names or ())
    selected_kinds = list(dict.fromkeys(kinds or Kind))
    plan = Plan.from_conf(
        trials=trials, budget_seconds=budget and budget / len(selected_kinds), promotion=promote
    )
    with progress("training", len(selected) * len(selected_kinds)) as advance:
        outcomes = train_fleet(
            workspace,
            selected,
            selected_kinds,
            plan,
            as_of=as_of,
            jobs=jobs,
            engine=engine,
            fresh=fresh,
            watch=advance,
        )
    _print_outcomes("train", outcomes, as_json)


@app.command()
def tune(
    name: Name,
    kind: OneKind = Kind.FORECASTER,
    trials: Annotated[int | None, typer.Option(min=1, help="Optuna trials.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search the best parameters of one model as an MLflow run; nothing is registered.

    Example: safeplan tune PT-1001 --kind detector --trials 100
    """
    from training.pipeline.plan import Plan
    from training.pipeline.tune_command import tune_sensor
    from training.workspace import Workspace

    workspace = Workspace.here()
    outcome = tune_sensor(workspace, workspace.fleet.sensor(name), kind, Plan.from_conf(trials=trials))
    _print_outcomes("tune", [outcome], as_json)


@app.command()
def detect(
    names: Names = None,
    since: OptionalTime = None,
    as_json: AsJson = False,
) -> None:
    """Score readings stored since the last run of this command, and store the scores.

    Example: safeplan detect 'PT-*' --since 2026-01-31
    """
    from serving.batch import detect_fleet
    from training.operations.console import progress

    workspace = _audited_workspace("detect")
    selected = workspace.fleet.match(names or ())
    with progress("detecting", len(selected)) as advance:
        outcomes = detect_fleet(workspace, selected, since=since, watch=advance)
    _print_outcomes("detect", outcomes, as_json)


@app.command()
def forecast(
    names: Names = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Number of steps to forecast.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast from each sensor's newest readings, and store the forecasts.

    Example: safeplan forecast PT-1001 --horizon 48
    """
    from serving.batch import forecast_fleet
    from training.operations.console import progress

    workspace = _audited_workspace("forecast")
    selected = workspace.fleet.match(names or ())
    with progress("forecasting", len(selected)) as advance:
        outcomes = forecast_fleet(workspace, selected, horizon=horizon, watch=advance)
    _print_outcomes("forecast", outcomes, as_json)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: conf/serving.yaml.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Server processes.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="File with bearer tokens, one per line.")] = None,
    allow_everyone: Annotated[
        bool, typer.Option("--allow-everyone", help="Listen on other addresses without a token.")
    ] = False,
    register: Annotated[
        bool,
        typer.Option(
            "--register", help="Register the model safeplan-fleet for mlflow models serve, and exit."
        ),
    ] = False,
) -> None:
    """Serve scores and forecasts of all sensors over HTTP; see docs/http.md.

    A promotion takes effect while the server runs.

    Example: safeplan serve --port 8080
    """
    from serving.fleet_registration import register_fleet_model
    from serving.http.server_process import ServerSettings
    from serving.http.server_process import serve as serve_fleet
    from training.settings import load_settings
    from training.workspace import Workspace

    if register:
        version = register_fleet_model(Workspace.here())
        typer.echo(f"registered {version.uri}" if version else "safeplan-fleet is up to date")
        return
    options = {"host": host, "port": port, "workers": workers, "tokens": tokens}
    given = {name: value for name, value in options.items() if value is not None}
    if allow_everyone:
        given["allow_everyone"] = True
    serve_fleet(load_settings(ServerSettings).model_copy(update=given))


@app.command()
def dashboard(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: conf/monitoring.yaml.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on.")] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Address of the MLflow UI for links to runs and versions.")
    ] = None,
    allow_everyone: Annotated[
        bool, typer.Option("--allow-everyone", help="Listen on other addresses without a token.")
    ] = False,
) -> None:
    """Serve the dashboard with readings, alerts, forecasts and models; see docs/page.md.

    Example: safeplan dashboard --mlflow http://127.0.0.1:5000
    """
    from monitoring.dashboard.dashboard_state import PageSettings
    from monitoring.dashboard.server import serve_dashboard
    from training.settings import load_settings

    options = {"host": host, "port": port, "mlflow": mlflow, "allow_everyone": allow_everyone or None}
    given = {name: value for name, value in options.items() if value is not None}
    serve_dashboard(load_settings(PageSettings).model_copy(update=given))


@app.command()
def drift(
    names: Names = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write HTML reports to this folder: one of the fleet, one per drifted model."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-6, max=0.2, help="Share of checks without drift that may report drift, such as 0.01."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the readings since training with each champion's training window.

    Example: safeplan drift 'PT-*' --html drift
    """
    from monitoring.drift.comparison import DriftSettings
    from monitoring.drift.fleet import check_fleet
    from monitoring.drift.result import drift_rows
    from training.operations.console import progress
    from training.settings import load_settings
    from training.workspace import Workspace

    workspace = Workspace.here()
    selected = workspace.fleet.match(names or ())
    settings = load_settings(DriftSettings)
    if rate is not None:
        settings = settings.model_copy(update={"false_alarm_rate": rate})
    with progress("checking", 2 * len(selected)) as advance:
        outcomes = check_fleet(
            workspace, selected, now=utc_now(), settings=settings, html=html, watch=advance
        )
    if not as_json:
        _print_rows("drift", drift_rows(outcomes), as_json=False, below="advice")
    failed = [outcome for outcome in outcomes if outcome.failed]
    if as_json or failed:
        _print_outcomes("drift", outcomes if as_json else failed, as_json)


@app.command()
def promote(
    name: Name,
    kind: OneKind,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version number. Default: the challenger.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Promote a version that the gate refused.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Promote a version to champion if it passed the gate (exit code 3 if it did not).

    Example: safeplan promote PT-1001 --kind forecaster --version 1
    """
    from training.operations.promotion import promote_version
    from training.workspace import Workspace

    workspace = Workspace.here()
    outcome = promote_version(workspace, workspace.fleet.sensor(name), kind, number=version, anyway=anyway)
    _print_outcomes("promote", [outcome], as_json)


@app.command()
def rollback(name: Name, kind: OneKind, as_json: AsJson = False) -> None:
    """Make the previous champion the champion again; a second rollback undoes the first.

    Example: safeplan rollback PT-1001 --kind forecaster
    """
    from training.operations.promotion import roll_back
    from training.workspace import Workspace

    workspace = Workspace.here()
    _print_outcomes("rollback", [roll_back(workspace, workspace.fleet.sensor(name), kind)], as_json)


@app.command()
def audit(
    name: Annotated[
        str | None, typer.Argument(metavar="SENSOR", help="Only entries about this sensor.")
    ] = None,
    since: OptionalTime = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of entries.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show who promoted, rolled back, changed settings or answered an alert, and when.

    Example: safeplan audit --since 2026-01-31
    """
    from training.registry.audit import entries, record_external_changes
    from training.workspace import Workspace

    workspace = Workspace.here()
    record_external_changes(workspace.engine, workspace.registry.listings(), now=utc_now())
    listed = entries(workspace.engine, sensor_id=name, since=since, limit=limit)
    _print_rows("audit", [entry.as_dict() for entry in listed], as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check database, registry, models, disk, jobs and messages, and show what to do.

    Exit code 1 if there is a problem.

    Example: safeplan doctor
    """
    from monitoring.schedule.scheduler_health import check_scheduler
    from serving.doctor import run_checks
    from training.workspace import Workspace

    workspace = Workspace.here()
    checks = [*run_checks(workspace), *check_scheduler(workspace, now=utc_now())]
    _print_rows("doctor", [check.as_dict() for check in checks], as_json)
    if any(check.is_problem for check in checks):
        raise typer.Exit(SOME_FAILED)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write, such as plant.zip.")],
    as_json: AsJson = False,
) -> None:
    """Write readings, predictions, models and settings to one archive while in use.

    Example: safeplan backup plant-2026-01-31.zip
    """
    from training.operations.backup import back_up
    from training.workspace import Workspace

    _print_rows("backup", [back_up(Workspace.here(), to, now=utc_now()).summary], as_json)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that safeplan backup wrote.")],
    as_json: AsJson = False,
) -> None:
    """Restore an archive into an empty installation, on SQLite or PostgreSQL.

    Example: safeplan restore plant-2026-01-31.zip
    """
    from training.operations.backup import restore as restore_archive
    from training.workspace import Workspace

    _print_rows("restore", [restore_archive(Workspace.here(), source).summary], as_json)


# The metrics in each command's table; `--json` has all.
COLUMNS = {
    "train": ("skill", "mase", "coverage", "recall_mean", "false_alarms_per_day"),
    "tune": ("loss",),
    "detect": ("readings", "anomalies", "episodes", "score"),
    "forecast": ("steps", "expected", "lower", "upper"),
}


def _print_outcomes(command: str, outcomes: "Sequence[Outcome]", as_json: bool) -> None:
    """Print the outcomes; exit with code 1 if any failed."""
    from training.operations.console import show_outcomes

    show_outcomes(command, outcomes, COLUMNS.get(command, ()), as_json=as_json)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


def _print_rows(command: str, rows: "Sequence[Row]", as_json: bool, below: str = "") -> None:
    """Print rows; the sentences of the key `below` follow the table, one per line."""
    from training.operations.console import show_json, show_rows

    if as_json:
        show_json({"command": command, command: rows})
    else:
        show_rows(rows, below=below)


def _audited_workspace(command: str) -> "Workspace":
    """The workspace of a command that changes something; changed settings go into the audit log."""
    from training.common.users import current_user
    from training.registry.audit import record_settings_changes
    from training.workspace import Workspace

    workspace = Workspace.here()
    record_settings_changes(workspace.engine, command, who=current_user(), now=utc_now())
    return workspace


def _exit_with_error(error: SafePlanError, code: int) -> None:
    sys.stderr.write(f"safeplan: {error}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
