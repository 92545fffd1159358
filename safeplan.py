"""The front door: every command of SafePlan ML.

Knows how commands are spelled, what they print and with which code they end. Each parses, calls one function
of a floor and prints; a floor is imported only when one of its commands runs.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitoring.cli import alert_commands, schedule_commands
from training.common.gc_tuning import freeze_objects, reduce_gc_frequency
from training.errors import ConfigurationError, GateRefused, SafePlanError, UnknownSensor
from training.kinds import Engine, Kind, Promotion

if TYPE_CHECKING:
    from training.operations.console import Row
    from training.outcomes import Outcome
    from training.workspace import Workspace

SOME_FAILED, BAD_USAGE, GATE_REFUSED = 1, 2, 3

app = typer.Typer(
    help="One tuned anomaly detector and one forecaster for every sensor, tracked and served with MLflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(alert_commands.app, name="alerts")
app.command()(schedule_commands.schedule)
app.command()(schedule_commands.replay)


class Form(StrEnum):
    """How a file lays out its readings."""

    AUTO = "auto"
    LONG = "long"
    WIDE = "wide"


class Decimal(StrEnum):
    """What stands before the fraction of a number."""

    AUTO = "auto"
    POINT = "point"
    COMMA = "comma"

    @property
    def sign(self) -> Literal[".", ","] | None:
        """The character, or None where the file tells."""
        return {"point": ".", "comma": ","}.get(self.value)  # type: ignore[return-value]


Names = Annotated[list[str] | None, typer.Argument(metavar="SENSOR", help="Ids or globs; all if none.")]
Name = Annotated[str, typer.Argument(metavar="SENSOR", help="The id of one sensor.")]
OneKind = Annotated[Kind, typer.Option("--kind", help="Which of the sensor's two models.")]
BothKinds = Annotated[list[Kind] | None, typer.Option("--kind", help="Only this kind; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Moment = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        metavar="TIME",
        help="A time in UTC, like 2026-01-31 or 2026-01-31T06:00.",
    ),
]


def main() -> None:
    """Run one command; every error we know ends in one line on stderr and its exit code."""
    try:
        app()
    except (ConfigurationError, UnknownSensor) as error:
        _exit_with_error(error, BAD_USAGE)
    except GateRefused as error:
        _exit_with_error(error, GATE_REFUSED)
    except SafePlanError as error:
        _exit_with_error(error, SOME_FAILED)


@app.command()
def demo() -> None:
    """Tell the whole story on real readings: a year of three weather stations, in the folder ./demo.

    Example: safeplan demo
    """
    from monitoring.cli.demo import run_demo

    run_demo(Path("demo"))


@app.command()
def load(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, CSV.gz or Parquet.")],
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="A column: theirs=ours, such as tag=sensor_id.")
    ] = None,
    form: Annotated[Form, typer.Option(help="A row a reading, or a column a sensor.")] = Form.AUTO,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of stamps without one, like Europe/Oslo.")
    ] = None,
    stamps: Annotated[str | None, typer.Option(help="How stamps are written, like '%d/%m/%Y %H:%M'.")] = None,
    decimal: Annotated[Decimal, typer.Option(help="What numbers are written with.")] = Decimal.AUTO,
    separator: Annotated[str | None, typer.Option(help="What stands between columns, like ';'.")] = None,
    encoding: Annotated[str | None, typer.Option(help="How text is encoded, like latin-1.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse sensors that are not known yet.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="New values win over stored ones.")] = False,
    refused: Annotated[Path | None, typer.Option(help="Write refused rows and reasons to this CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read files of readings; every row is accepted, corrected or refused with a reason.

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
    """Show each sensor's readings, its grade with the reasons, and whether it can be trained.

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
    """Show which version serves each sensor, how old it is, how good it was, and what has no model.

    Example: safeplan status --json
    """
    from training.operations.overview import describe_models
    from training.workspace import Workspace

    workspace = Workspace.here()
    outcomes = describe_models(workspace, workspace.fleet.match(names or ()), now=_now())
    _print_outcomes("status", outcomes, as_json)


@app.command()
def train(
    names: Names = None,
    kinds: BothKinds = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Optuna trials a sensor and kind.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0.01, help="Seconds of search a sensor, for all its kinds.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Workers on this machine, or a Ray cluster (RAY_ADDRESS).")
    ] = Engine.LOCAL,
    jobs: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one a core.")] = 0,
    promote: Annotated[
        Promotion, typer.Option(help="Who promotes: the gate, or a human later.")
    ] = Promotion.MANAGED,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train also what has not changed.")] = False,
    as_of: Moment = None,
    as_json: AsJson = False,
) -> None:
    """Tune, fit, grade and register the models of the sensors named; what was cut off goes on.

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
    """Search the best parameters of one model as a run of its own; nothing is registered.

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
    since: Moment = None,
    as_json: AsJson = False,
) -> None:
    """Score what was stored since the last scoring, and keep the scores.

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
        int | None, typer.Option(min=1, max=10_000, help="Steps ahead of each sensor.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast from the newest stored readings, and keep the forecasts.

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
    host: Annotated[str | None, typer.Option(help="Address to listen on; conf/serving.yaml if none.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="A file of bearer tokens, one a line.")] = None,
    allow_everyone: Annotated[
        bool, typer.Option("--allow-everyone", help="Let anyone who can reach it use it, without a token.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Register safeplan-fleet for mlflow models serve, and end.")
    ] = False,
) -> None:
    """Answer over HTTP for all sensors, following promotions; see docs/http.md.

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
        str | None, typer.Option(help="Address to listen on; conf/monitoring.yaml if none.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on.")] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Address of the MLflow UI, for links to runs and versions.")
    ] = None,
    allow_everyone: Annotated[
        bool, typer.Option("--allow-everyone", help="Let anyone who can reach it look, without a token.")
    ] = False,
) -> None:
    """Show the Predictions page in the browser; see docs/page.md.

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
        Path | None, typer.Option(metavar="DIR", help="Write the fleet page and a report a model there.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=1e-6, max=0.2, help="False alarms a check, like 0.01.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare readings since training with the window each champion was trained on.

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
        outcomes = check_fleet(workspace, selected, now=_now(), settings=settings, html=html, watch=advance)
    if not as_json:
        _print_rows("drift", drift_rows(outcomes), as_json=False, below="advice")
    failed = [one for one in outcomes if one.failed]
    if as_json or failed:
        _print_outcomes("drift", outcomes if as_json else failed, as_json)


@app.command()
def promote(
    name: Name,
    kind: OneKind,
    version: Annotated[
        int | None, typer.Option(min=1, help="Which one; the challenger if not given.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Promote also what the gate refused.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a version serve; the gate speaks first (exit 3 where it refuses).

    Example: safeplan promote PT-1001 --kind forecaster --version 1
    """
    from training.operations.promotion import promote_version
    from training.workspace import Workspace

    workspace = Workspace.here()
    outcome = promote_version(workspace, workspace.fleet.sensor(name), kind, number=version, anyway=anyway)
    _print_outcomes("promote", [outcome], as_json)


@app.command()
def rollback(name: Name, kind: OneKind, as_json: AsJson = False) -> None:
    """Give the champion's alias back to the version before it; twice undoes it.

    Example: safeplan rollback PT-1001 --kind forecaster
    """
    from training.operations.promotion import roll_back
    from training.workspace import Workspace

    workspace = Workspace.here()
    _print_outcomes("rollback", [roll_back(workspace, workspace.fleet.sensor(name), kind)], as_json)


@app.command()
def audit(
    name: Annotated[str | None, typer.Argument(metavar="SENSOR", help="Only what concerns it.")] = None,
    since: Moment = None,
    limit: Annotated[int, typer.Option(min=1, help="Entries at most, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show who promoted, rolled back, changed settings or spoke about an alert, newest first.

    Example: safeplan audit --since 2026-01-31
    """
    from training.registry.audit import entries, record_external_changes
    from training.workspace import Workspace

    workspace = Workspace.here()
    record_external_changes(workspace.engine, workspace.registry.listings(), now=_now())
    listed = entries(workspace.engine, sensor_id=name, since=since, limit=limit)
    _print_rows("audit", [deed.as_dict() for deed in listed], as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check the database, the registry, the models, the disk, the jobs and the messages, and say what to do.

    Example: safeplan doctor
    """
    from monitoring.schedule.scheduler_health import check_scheduler
    from serving.doctor import run_checks
    from training.workspace import Workspace

    workspace = Workspace.here()
    checks = [*run_checks(workspace), *check_scheduler(workspace, now=_now())]
    _print_rows("doctor", [check.as_dict() for check in checks], as_json)
    if any(check.is_problem for check in checks):
        raise typer.Exit(SOME_FAILED)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write, such as plant.zip.")],
    as_json: AsJson = False,
) -> None:
    """Write readings, predictions, models and settings into one archive, while everything goes on working.

    Example: safeplan backup plant-2026-01-31.zip
    """
    from training.operations.backup import back_up
    from training.workspace import Workspace

    _print_rows("backup", [back_up(Workspace.here(), to, now=_now()).summary], as_json)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that safeplan backup wrote.")],
    as_json: AsJson = False,
) -> None:
    """Put an archive into an installation that holds nothing yet; SQLite or PostgreSQL, whichever is set.

    Example: safeplan restore plant-2026-01-31.zip
    """
    from training.operations.backup import restore as put_back
    from training.workspace import Workspace

    _print_rows("restore", [put_back(Workspace.here(), source).summary], as_json)


# The numbers that each command's table shows; `--json` has all.
COLUMNS = {
    "train": ("skill", "mase", "coverage", "recall_mean", "false_alarms_per_day"),
    "tune": ("loss",),
    "status": ("age_days", "skill", "coverage", "recall_mean", "false_alarms_per_day"),
    "detect": ("readings", "anomalies", "episodes", "score"),
    "forecast": ("steps", "expected", "lower", "upper"),
}


def _print_outcomes(command: str, outcomes: "Sequence[Outcome]", as_json: bool) -> None:
    """Print what became of each sensor; exit 1 where any failed."""
    from training.operations.console import show_outcomes

    show_outcomes(command, outcomes, COLUMNS.get(command, ()), as_json=as_json)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


def _print_rows(command: str, rows: "Sequence[Row]", as_json: bool, below: str = "") -> None:
    """Print rows that are no outcomes; the lists of the key `below` come after the table, a line each."""
    from training.operations.console import show_json, show_rows

    if as_json:
        show_json({"command": command, command: rows})
    else:
        show_rows(rows, below=below)


def _audited_workspace(command: str) -> "Workspace":
    """The workspace of a command that changes something; what its settings are goes into the audit."""
    from training.common.users import current_user
    from training.registry.audit import record_settings_changes
    from training.workspace import Workspace

    workspace = Workspace.here()
    record_settings_changes(workspace.engine, command, who=current_user(), now=_now())
    return workspace


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _exit_with_error(error: SafePlanError, code: int) -> None:
    sys.stderr.write(f"safeplan: {error}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
